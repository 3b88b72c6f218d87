//! The store's lock file: one process at a time creates, repairs or publishes.

use crate::error::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a process waits for another to finish publishing, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes the lock, or gives up after a minute. It is released when the file is dropped, and by the
/// system when the process dies, so no lock is ever stale.
pub(crate) async fn exclusive(path: PathBuf) -> Result<File, StoreError> {
    crate::store::blocking(move || wait(&path)).await
}

fn wait(path: &Path) -> Result<File, StoreError> {
    let err = |e: &std::io::Error| StoreError::io(path, e);
    let mut open = OpenOptions::new();
    let file = open.create(true).truncate(false).write(true).open(path).map_err(|e| err(&e))?;
    let since = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(err(&e)),
            Err(TryLockError::WouldBlock) if since.elapsed() > PATIENCE => {
                return Err(StoreError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}
