//! Work on large documents, away from the threads that serve: whoever asks for something else
//! meanwhile does not wait for it.

use crate::engine::Engine;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Documents from this size on, in bytes, take milliseconds to judge.
const LARGE: usize = 1 << 20;

impl Engine {
    /// Does work on a document of that many bytes. Of large ones no more are worked on at a time than
    /// there are processors, since each takes a multiple of its text in memory.
    pub(crate) async fn heavy<T>(&self, bytes: usize, work: impl FnOnce() -> T + Send) -> T {
        let can_move = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        if bytes < LARGE || !can_move {
            return work();
        }
        // It is never closed, and without a turn the work is done all the same.
        let _turn = self.inner.scanners.acquire().await;
        tokio::task::block_in_place(work)
    }
}
