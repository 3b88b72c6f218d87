//! The bodies of answers: bytes in memory, a stream, or a file that is read while it is sent.

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::fs::File;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// Bytes of a file that are read at a time.
const CHUNK: usize = 256 * 1024;

/// The body of an answer.
pub(crate) struct Body {
    kind: Kind,
    /// Told what was sent, and that it ended, when it is dropped.
    witness: Option<Box<dyn Witness>>,
}

/// Who wants to know how much of a body was handed over. Dropped with the body, sent or not.
pub(crate) trait Witness: Send {
    /// So many bytes were handed over.
    fn sent(&mut self, bytes: usize);
    /// Whether the body waits for its own source, not for the client.
    fn waits(&mut self, waits: bool);
}

enum Kind {
    Empty,
    Full(Bytes),
    Stream(countersign_engine::ByteStream),
    File(FileBody),
}

impl Body {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Empty, witness: None }
    }

    /// Bytes that are in memory.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full(bytes), witness: None }
    }

    /// Bytes as they come.
    pub(crate) fn stream(stream: countersign_engine::ByteStream) -> Self {
        Self { kind: Kind::Stream(stream), witness: None }
    }

    /// `length` bytes of a file from `start` on.
    pub(crate) fn file(file: File, start: u64, length: u64) -> Self {
        let body = FileBody { file: Arc::new(file), at: start, left: length, reading: None };
        Self { kind: Kind::File(body), witness: None }
    }

    /// The same body, watched.
    pub(crate) fn watched(mut self, witness: Box<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let polled = match &mut this.kind {
            Kind::Empty => return Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.kind = Kind::Empty;
                Poll::Ready(Some(Ok(bytes)))
            }
            Kind::Stream(stream) => stream.as_mut().poll_next(cx),
            Kind::File(file) => file.poll_chunk(cx),
        };
        if let Some(witness) = &mut this.witness {
            match &polled {
                Poll::Ready(Some(Ok(bytes))) => witness.sent(bytes.len()),
                Poll::Pending => witness.waits(true),
                Poll::Ready(_) => {}
            }
            if polled.is_ready() {
                witness.waits(false);
            }
        }
        polled.map(|next| next.map(|r| r.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream(_) => false,
            Kind::File(file) => file.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
            Kind::File(file) => SizeHint::with_exact(file.left),
        }
    }
}

/// A part of a file. What the system has in its cache is read where the answer is sent; only what
/// must come from the disk goes to another thread.
struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 && self.reading.is_none() {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            let want = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            match read_cached(&self.file, self.at, want) {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(self.advance(bytes)))),
                Ok(None) => {
                    let (file, at) = (self.file.clone(), self.at);
                    self.reading =
                        Some(tokio::task::spawn_blocking(move || read_some(&file, at, want)));
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = match Pin::new(reading).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(read) => read.map_err(io::Error::other).and_then(|r| r),
        };
        self.reading = None;
        Poll::Ready(Some(read.map(|bytes| self.advance(bytes))))
    }

    fn advance(&mut self, bytes: Bytes) -> Bytes {
        self.at += bytes.len() as u64;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        bytes
    }
}

/// Reads up to `want` bytes without waiting for a disk; `None` when they would have to be waited
/// for, or nobody can tell.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, at: u64, want: usize) -> io::Result<Option<Bytes>> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut buffer = vec![0u8; want];
    let mut parts = [io::IoSliceMut::new(&mut buffer)];
    match preadv2(file, &mut parts, at, ReadWriteFlags::NOWAIT) {
        Ok(0) => Err(short()),
        Ok(n) => {
            buffer.truncate(n);
            Ok(Some(Bytes::from(buffer)))
        }
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_file: &File, _at: u64, _want: usize) -> io::Result<Option<Bytes>> {
    Ok(None)
}

/// Reads up to `want` bytes, waiting for the disk.
fn read_some(file: &File, at: u64, want: usize) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0u8; want];
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Err(short()),
            Ok(n) => {
                buffer.truncate(n);
                return Ok(Bytes::from(buffer));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was when admitted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::io::Write as _;

    fn a_file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_sent_whole_in_several_frames() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 77).map(|i| (i % 251) as u8).collect();
        let (start, length) = (5usize, 3 * CHUNK);
        let body = Body::file(a_file(&bytes), start as u64, length as u64);
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        let got = body.collect().await.unwrap().to_bytes();
        assert_eq!(got, &bytes[start..start + length]);
    }

    #[tokio::test]
    async fn what_must_be_waited_for_is_read_on_another_thread() {
        let bytes = vec![7u8; 1000];
        let file = a_file(&bytes);
        assert_eq!(read_some(&file, 990, 100).unwrap().len(), 10);
        assert!(read_some(&file, 1000, 1).is_err());
        let reading = Some(tokio::task::spawn_blocking(move || Ok(Bytes::from(bytes))));
        let body = FileBody { file: Arc::new(file), at: 0, left: 1000, reading };
        let body = Body { kind: Kind::File(body), witness: None };
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 1000);
    }

    #[tokio::test]
    async fn a_file_that_was_cut_short_is_an_error_not_a_short_answer() {
        let body = Body::file(a_file(b"0123456789"), 0, 11);
        assert!(body.collect().await.is_err());
    }
}
