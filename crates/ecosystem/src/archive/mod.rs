//! Package archives, walked once, read-only and under limits.
//!
//! Nothing is unpacked. Each entry is handed to a visitor as a stream; memory stays bounded
//! whatever the archive's size (a few decoder windows, the names of the entries and, for ZIP, one
//! small record an entry). What is wrong with an archive is a [`Problem`], not an error: an error
//! means only that the bytes could not be read or that the visitor gave up.
//!
//! The readers here are strict where unpackers are known to disagree (ZIP's local headers against
//! its central directory, tar's pax records against its headers, data after the end): each
//! disagreement is a problem, since what one tool shows another may not install.

mod deb;
mod decode;
mod manifest;
mod path;
mod problem;
mod symlinks;
mod tar;
mod tar_header;
#[cfg(test)]
mod tests;
mod watch;
mod zip;

pub(crate) use decode::{Codec, decoder};
pub use manifest::{ManifestEntry, walk_with_manifest};
pub use problem::{Problem, ProblemCode};

use std::io::{self, Read, Seek, SeekFrom};
use watch::{Stop, Watch};

/// The kinds of archive that packages come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveKind {
    /// ZIP (wheels, some source distributions).
    Zip,
    /// tar, gzip (npm packages, crates, source distributions).
    TarGz,
    /// tar, bzip2.
    TarBz2,
    /// tar, xz.
    TarXz,
    /// tar, Zstandard.
    TarZst,
    /// tar, not compressed.
    Tar,
    /// A Debian binary package: an `ar` archive of two tars (deb(5)).
    Deb,
}

impl ArchiveKind {
    /// The kind that a file's name promises.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        const ENDINGS: &[(&str, ArchiveKind)] = &[
            (".whl", ArchiveKind::Zip),
            (".zip", ArchiveKind::Zip),
            (".egg", ArchiveKind::Zip),
            (".tar.gz", ArchiveKind::TarGz),
            (".tgz", ArchiveKind::TarGz),
            (".crate", ArchiveKind::TarGz),
            (".tar.bz2", ArchiveKind::TarBz2),
            (".tbz2", ArchiveKind::TarBz2),
            (".tbz", ArchiveKind::TarBz2),
            (".tar.xz", ArchiveKind::TarXz),
            (".txz", ArchiveKind::TarXz),
            (".tar.zst", ArchiveKind::TarZst),
            (".tzst", ArchiveKind::TarZst),
            (".tar", ArchiveKind::Tar),
            (".deb", ArchiveKind::Deb),
            (".udeb", ArchiveKind::Deb),
            (".ddeb", ArchiveKind::Deb),
        ];
        let name = name.to_ascii_lowercase();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| *kind)
    }

    /// The kind that the first bytes of a file show; 262 bytes are enough.
    #[must_use]
    pub fn sniff(start: &[u8]) -> Option<Self> {
        match start {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            [b'B', b'Z', b'h', ..] => Some(Self::TarBz2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::TarXz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::TarZst),
            s if s.starts_with(b"!<arch>\n") => Some(Self::Deb),
            s if s.get(257..262) == Some(b"ustar") => Some(Self::Tar),
            _ => None,
        }
    }
}

/// Bounds of a walk. Each stops an attack on whoever unpacks or scans the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries in all; against millions of empty files that exhaust inodes and memory.
    pub max_entries: u64,
    /// Unpacked bytes in all; against bombs that fill the disk.
    pub max_unpacked_bytes: u64,
    /// Unpacked bytes of one entry; against a single file that fills the disk.
    pub max_entry_bytes: u64,
    /// Unpacked bytes for each byte of the archive, once more than [`Limits::ratio_from_bytes`]
    /// are unpacked; against bombs that stay under the absolute limits.
    pub max_ratio: u64,
    /// Unpacked bytes below which the ratio is not looked at: small texts compress very well.
    pub ratio_from_bytes: u64,
    /// Bytes of one path or link target; against names that no file system takes and that fill
    /// memory.
    pub max_path_len: usize,
    /// Bytes of all paths and link targets together; against an archive that is all names.
    pub max_names_bytes: u64,
    /// Components of a path; against nesting that overflows the stack of a recursive unpacker.
    pub max_depth: usize,
    /// Bytes that a decoder may ask for; against a stream that names a 4 GiB dictionary.
    pub max_decoder_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 200_000,
            max_unpacked_bytes: 8 << 30,
            max_entry_bytes: 4 << 30,
            max_ratio: 200,
            ratio_from_bytes: 64 << 20,
            max_path_len: 4096,
            max_names_bytes: 32 << 20,
            max_depth: 128,
            max_decoder_memory: 128 << 20,
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points, as the archive spells it.
        target: String,
    },
    /// A hard link to another entry.
    Hardlink {
        /// The entry it links to, as the archive spells it.
        target: String,
    },
    /// A character or block device.
    Device,
    /// A FIFO or a socket.
    Fifo,
    /// A kind that unpackers do not agree upon.
    Other,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as the archive's bytes spell it.
    pub raw_path: Vec<u8>,
    /// The normalized path: `/`-separated, no empty or `.` components, no leading `/`. In a
    /// Debian package it starts with `control/` or `data/`. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Unix permission bits with set-id and sticky bits, 0 when the archive has none.
    pub mode: u32,
    /// Unpacked size in bytes, as the archive announces it.
    pub size: u64,
}

impl Entry {
    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }
}

/// The outcome of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Entries that were seen.
    pub entries: u64,
    /// Bytes that were unpacked.
    pub unpacked_bytes: u64,
    /// What is wrong with the archive, in the order in which it was seen.
    pub problems: Vec<Problem>,
    /// Problems beyond the first thousand of their code, which are only counted.
    pub problems_left_out: u64,
    /// Whether the walk reached the archive's end. If not, the last problem says why.
    pub complete: bool,
}

impl Summary {
    /// Whether a problem of that code was found.
    #[must_use]
    pub fn has(&self, code: ProblemCode) -> bool {
        self.problems.iter().any(|p| p.code == code)
    }
}

/// Why an archive could not be walked; says nothing about the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes could not be read from where they are kept.
    #[error("could not read the archive: {0}")]
    Io(#[from] io::Error),
    /// The visitor gave up.
    #[error("the archive's walk was given up: {0}")]
    Visitor(String),
}

/// What a walk calls for each entry, with its content (empty for all but regular files). What the
/// visitor leaves unread is read for it, so that limits and checksums are applied all the same.
pub type Visitor<'v> = dyn FnMut(&Entry, &mut dyn Read) -> Result<(), ArchiveError> + 'v;

pub(crate) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// Walks an archive once, from its beginning, and calls `visitor` for each entry.
///
/// ZIP entries come in the order of their bytes in the archive, all others as they are stored.
///
/// # Errors
/// When the reader fails, or the visitor does. What is wrong with the archive itself is in the
/// summary's problems.
pub fn walk<R: Read + Seek>(
    mut reader: R,
    kind: ArchiveKind,
    limits: &Limits,
    visitor: &mut Visitor<'_>,
) -> Result<Summary, ArchiveError> {
    walk_dyn(&mut reader, kind, limits, visitor)
}

fn walk_dyn(
    reader: &mut dyn ReadSeek,
    kind: ArchiveKind,
    limits: &Limits,
    visitor: &mut Visitor<'_>,
) -> Result<Summary, ArchiveError> {
    let len = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut watch = Watch::new(limits, len, kind == ArchiveKind::Deb);
    let mut source = watch::Source::new(reader);
    let outcome = match kind {
        ArchiveKind::Zip => zip::walk_zip(&mut source, len, &mut watch, visitor),
        ArchiveKind::Deb => deb::walk_deb(&mut source, &mut watch, visitor),
        ArchiveKind::TarGz => tar::walk_compressed(&mut source, Codec::Gzip, &mut watch, visitor),
        ArchiveKind::TarBz2 => tar::walk_compressed(&mut source, Codec::Bzip2, &mut watch, visitor),
        ArchiveKind::TarXz => tar::walk_compressed(&mut source, Codec::Xz, &mut watch, visitor),
        ArchiveKind::TarZst => tar::walk_compressed(&mut source, Codec::Zstd, &mut watch, visitor),
        ArchiveKind::Tar => tar::walk_compressed(&mut source, Codec::Plain, &mut watch, visitor),
    };
    match outcome {
        Ok(()) => Ok(watch.finish(None)),
        Err(Stop::Fatal(problem)) => Ok(watch.finish(Some(problem))),
        Err(Stop::Error(e)) => Err(e),
    }
}
