//! Decompressors, with bounded memory, and what gzip hides between its members.

use flate2::bufread::GzDecoder;
use std::cell::Cell;
use std::io::{self, BufRead, Read};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952), any number of members.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz, any number of streams.
    Xz,
    /// The older `.lzma` form.
    Lzma,
    /// Zstandard (RFC 8878).
    Zstd,
    /// LZ4's frame format.
    Lz4,
}

impl Codec {
    /// The codec that a file's name promises by its last suffix.
    pub(crate) fn of_file_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("gz") => Self::Gzip,
            Some("bz2") => Self::Bzip2,
            Some("xz") => Self::Xz,
            Some("lzma") => Self::Lzma,
            Some("zst") => Self::Zstd,
            Some("lz4") => Self::Lz4,
            _ => Self::Plain,
        }
    }
}

/// What a gzip file held besides its first member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GzipExtras {
    /// Further members.
    pub(crate) members: u32,
    /// Bytes after the last member that are neither zero nor a member.
    pub(crate) garbage: bool,
}

/// A decompressor over `input` that asks for at most `memory` bytes.
pub(crate) fn decoder<'a, R: BufRead + 'a>(
    codec: Codec,
    input: R,
    memory: u64,
    extras: Option<&'a Cell<GzipExtras>>,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match codec {
        Codec::Plain => Box::new(input),
        Codec::Gzip => Box::new(GzipMembers { current: Some(GzDecoder::new(input)), extras }),
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Codec::Xz => {
            // What is in the archive was compared with its digest, which says more than its own checksums.
            let flags = liblzma::stream::CONCATENATED | liblzma::stream::IGNORE_CHECK;
            let stream = liblzma::stream::Stream::new_stream_decoder(memory, flags)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Codec::Lzma => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(memory)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Codec::Zstd => {
            let mut zstd = zstd::stream::read::Decoder::with_buffer(input)?;
            // The smallest window log that the format knows is 10, the largest 31.
            zstd.window_log_max(memory.max(1024).ilog2().min(31))?;
            Box::new(zstd)
        }
        Codec::Lz4 => Box::new(Lz4Frames(lz4_flex::frame::FrameDecoder::new(input))),
    })
}

/// All members of a gzip file, one after the other (RFC 1952, section 2.2).
struct GzipMembers<'a, R> {
    current: Option<GzDecoder<R>>,
    extras: Option<&'a Cell<GzipExtras>>,
}

impl<R: BufRead> GzipMembers<'_, R> {
    fn note(&self, change: impl FnOnce(&mut GzipExtras)) {
        if let Some(cell) = self.extras {
            let mut extras = cell.get();
            change(&mut extras);
            cell.set(extras);
        }
    }

    /// Looks behind a member's end: another member, zero padding, or garbage.
    fn next_member(&mut self, mut input: R) -> io::Result<()> {
        loop {
            let buf = input.fill_buf()?;
            match buf {
                [] => return Ok(()),
                [0, ..] => {
                    let zeros = buf.iter().take_while(|b| **b == 0).count();
                    input.consume(zeros);
                }
                [0x1f, ..] => {
                    self.note(|e| e.members = e.members.saturating_add(1));
                    self.current = Some(GzDecoder::new(input));
                    return Ok(());
                }
                _ => {
                    self.note(|e| e.garbage = true);
                    return Ok(());
                }
            }
        }
    }
}

impl<R: BufRead> Read for GzipMembers<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while let Some(current) = &mut self.current {
            let n = current.read(buf)?;
            if n > 0 {
                return Ok(n);
            }
            if let Some(ended) = self.current.take() {
                self.next_member(ended.into_inner())?;
            }
        }
        Ok(0)
    }
}

/// All frames of an LZ4 file: the decoder answers 0 at the end of each.
// HOLE: lz4_flex takes a stream that ends between two blocks for a complete one; whoever needs to
// know compares the digest of what was unpacked, as apt's signed lists allow.
struct Lz4Frames<R: Read>(lz4_flex::frame::FrameDecoder<R>);

impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf)? {
            0 => self.0.read(buf),
            n => Ok(n),
        }
    }
}
