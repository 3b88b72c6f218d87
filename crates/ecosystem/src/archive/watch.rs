//! The watch over a walk: counts against limits, names seen, problems found.

use super::path::{self, PathFacts};
use super::symlinks::Resolver;
use super::{
    ArchiveError, Entry, EntryKind, Limits, Problem, ProblemCode, ReadSeek, Summary, Visitor,
};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Problems of one code that are listed; further ones are counted.
const LISTED_PER_CODE: u32 = 1000;
const SET_ID: u32 = 0o6000;

/// Why a walk ends early.
pub(super) enum Stop {
    /// The archive is at fault.
    Fatal(Problem),
    /// The bytes' keeper or the visitor is.
    Error(ArchiveError),
}

impl Stop {
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::Fatal(Problem::whole(ProblemCode::NotAnArchive, detail))
    }

    pub(super) fn truncated(detail: impl Into<String>) -> Self {
        Self::Fatal(Problem::whole(ProblemCode::Truncated, detail))
    }
}

impl From<io::Error> for Stop {
    /// Sorts an error of a decoder from one of the source.
    fn from(e: io::Error) -> Self {
        if e.get_ref().is_some_and(|inner| inner.is::<SourceFailed>()) {
            return Self::Error(ArchiveError::Io(e));
        }
        let memory = e.get_ref().and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>());
        if matches!(memory, Some(liblzma::stream::Error::MemLimit)) {
            let detail = "a compressed stream asks for more memory than the limit";
            return Self::Fatal(Problem::whole(ProblemCode::TooLarge, detail));
        }
        match e.kind() {
            io::ErrorKind::UnexpectedEof => Self::truncated("the archive ends in the middle"),
            _ => Self::malformed(format!("the archive cannot be unpacked: {e}")),
        }
    }
}

/// Marks an error as the source's own, so that it is not taken for a malformed archive.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SourceFailed(io::Error);

/// The archive's bytes; its errors are marked.
pub(super) struct Source<'r> {
    inner: &'r mut dyn ReadSeek,
}

impl<'r> Source<'r> {
    pub(super) fn new(inner: &'r mut dyn ReadSeek) -> Self {
        Self { inner }
    }
}

fn mark(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::Interrupted => e,
        kind => io::Error::new(kind, SourceFailed(e)),
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(mark)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to).map_err(mark)
    }
}

/// A 128-bit name: what is kept of a path to find it again, so that long names cost no memory.
type Key = [u8; 16];

fn key(text: &str) -> Key {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut out = [0; 16];
    out.iter_mut().zip(digest).for_each(|(o, d)| *o = d);
    out
}

/// The common first component of all paths, as far as seen.
enum Root {
    None,
    One(String),
    Many,
}

/// Counts, names and problems of one walk.
pub(super) struct Watch<'l> {
    pub(super) limits: &'l Limits,
    source_len: u64,
    is_deb: bool,
    entries: u64,
    unpacked: u64,
    names_bytes: u64,
    problems: Vec<Problem>,
    listed: HashMap<ProblemCode, u32>,
    left_out: u64,
    /// Each path seen, and whether it is a directory.
    seen: HashMap<Key, bool>,
    /// The case-folded form of each file's path, with the path that had it first.
    folded: HashMap<Key, Key>,
    symlinks: HashMap<String, String>,
    root: Root,
}

impl<'l> Watch<'l> {
    pub(super) fn new(limits: &'l Limits, source_len: u64, is_deb: bool) -> Self {
        Self {
            limits,
            source_len,
            is_deb,
            entries: 0,
            unpacked: 0,
            names_bytes: 0,
            problems: Vec::new(),
            listed: HashMap::new(),
            left_out: 0,
            seen: HashMap::new(),
            folded: HashMap::new(),
            symlinks: HashMap::new(),
            root: Root::None,
        }
    }

    pub(super) fn report(&mut self, problem: Problem) {
        let listed = self.listed.entry(problem.code).or_default();
        if *listed >= LISTED_PER_CODE {
            self.left_out += 1;
            return;
        }
        *listed += 1;
        self.problems.push(problem);
    }

    pub(super) fn report_at(&mut self, code: ProblemCode, path: &str, detail: impl Into<String>) {
        self.report(Problem::at(code, path, detail));
    }

    /// Ends the walk: resolves the symlinks, which may point to what came after them.
    pub(super) fn finish(mut self, fatal: Option<Problem>) -> Summary {
        self.resolve_symlinks();
        let complete = fatal.is_none();
        // A fatal problem is always listed, whatever the number of its code.
        self.problems.extend(fatal);
        Summary {
            entries: self.entries,
            unpacked_bytes: self.unpacked,
            problems: self.problems,
            problems_left_out: self.left_out,
            complete,
        }
    }

    /// Counts unpacked bytes against the limits of the whole archive.
    pub(super) fn unpacked(&mut self, bytes: u64) -> Result<(), Stop> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        let limits = self.limits;
        if self.unpacked > limits.max_unpacked_bytes {
            let detail = format!("unpacks to more than {} bytes", limits.max_unpacked_bytes);
            return Err(Stop::Fatal(Problem::whole(ProblemCode::TooLarge, detail)));
        }
        let allowed = self.source_len.saturating_mul(limits.max_ratio);
        if self.unpacked > limits.ratio_from_bytes && self.unpacked > allowed {
            let detail = format!(
                "{} bytes unpack to more than {} times as many",
                self.source_len, limits.max_ratio
            );
            return Err(Stop::Fatal(Problem::whole(ProblemCode::Ratio, detail)));
        }
        Ok(())
    }

    /// Counts a name of `len` bytes against the limits.
    pub(super) fn name_of_len(&mut self, len: usize) -> Result<(), Stop> {
        if len > self.limits.max_path_len {
            let detail = format!("a path of {len} bytes; at most {}", self.limits.max_path_len);
            return Err(Stop::Fatal(Problem::whole(ProblemCode::PathTooLong, detail)));
        }
        self.names_bytes = self.names_bytes.saturating_add(len as u64);
        if self.names_bytes > self.limits.max_names_bytes {
            let detail = format!("names of more than {} bytes", self.limits.max_names_bytes);
            return Err(Stop::Fatal(Problem::whole(ProblemCode::TooManyEntries, detail)));
        }
        Ok(())
    }

    pub(super) fn check_entry_count(&self, count: u64) -> Result<(), Stop> {
        if count <= self.limits.max_entries {
            return Ok(());
        }
        let detail = format!("more than {} entries", self.limits.max_entries);
        Err(Stop::Fatal(Problem::whole(ProblemCode::TooManyEntries, detail)))
    }

    /// Makes an entry of what a header says, under `prefix`, and reports what is wrong with it.
    pub(super) fn admit(
        &mut self,
        raw_path: Vec<u8>,
        prefix: &str,
        kind: EntryKind,
        mode: u32,
        size: u64,
    ) -> Result<Entry, Stop> {
        self.entries += 1;
        self.check_entry_count(self.entries)?;
        self.name_of_len(raw_path.len())?;
        let facts = path::examine(&raw_path);
        let path = under(prefix, &facts.normalized);
        self.judge_path(&facts, &path)?;
        let entry = Entry { raw_path, path, kind, mode: mode & 0o7777, size };
        if size > self.limits.max_entry_bytes {
            return Err(self.entry_too_large(&entry.path));
        }
        self.judge_name(&entry);
        self.judge_kind(&entry, prefix)?;
        Ok(entry)
    }

    fn entry_too_large(&self, path: &str) -> Stop {
        let detail = format!("larger than {} bytes", self.limits.max_entry_bytes);
        Stop::Fatal(Problem::at(ProblemCode::TooLarge, path, detail))
    }

    fn judge_path(&mut self, facts: &PathFacts, path: &str) -> Result<(), Stop> {
        use ProblemCode as C;
        let checks = [
            (facts.climbs, C::PathTraversal, "the path has a `..` component"),
            (facts.absolute, C::AbsolutePath, "the path is absolute"),
            (facts.confusable, C::UnicodeConfusablePath, "the path has characters that hide text"),
            (facts.control, C::ControlCharacterPath, "the path has control characters"),
            (facts.backslash, C::BackslashPath, "the path has a backslash"),
            (facts.undecodable, C::UndecodablePath, "the path is not UTF-8"),
        ];
        for (found, code, detail) in checks {
            if found {
                self.report_at(code, path, detail);
            }
        }
        if facts.depth > self.limits.max_depth {
            let detail =
                format!("{} directories deep; at most {}", facts.depth, self.limits.max_depth);
            return Err(Stop::Fatal(Problem::whole(C::Depth, detail)));
        }
        Ok(())
    }

    fn judge_name(&mut self, entry: &Entry) {
        let path = entry.path.as_str();
        if path.is_empty() {
            return;
        }
        self.note_root(path);
        let is_dir = entry.kind == EntryKind::Dir;
        let this = key(path);
        match self.seen.insert(this, is_dir) {
            Some(true) if is_dir => return,
            Some(_) => {
                self.report_at(ProblemCode::DuplicateName, path, "the path occurs more than once");
                return;
            }
            None => {}
        }
        // Debian packages are for file systems that know case, and use it.
        // HOLE: names that differ only by Unicode normalization, which macOS takes for one, are
        // not compared; normalizing the folded form would close it.
        if !is_dir && !self.is_deb {
            let first = *self.folded.entry(key(&path.to_lowercase())).or_insert(this);
            if first != this {
                let detail = "differs from another path only by case";
                self.report_at(ProblemCode::CaseCollision, path, detail);
            }
        }
        if !self.symlinks.is_empty() && path::ancestors(path).any(|a| self.symlinks.contains_key(a))
        {
            let detail = "the path goes through a symlink of the archive";
            self.report_at(ProblemCode::SymlinkInPath, path, detail);
        }
    }

    fn note_root(&mut self, path: &str) {
        let first = path.split('/').next().unwrap_or_default();
        match &self.root {
            Root::None => self.root = Root::One(first.to_owned()),
            Root::One(root) if root != first => self.root = Root::Many,
            _ => {}
        }
    }

    fn judge_kind(&mut self, entry: &Entry, prefix: &str) -> Result<(), Stop> {
        let path = entry.path.as_str();
        match &entry.kind {
            EntryKind::File if entry.mode & SET_ID != 0 => {
                let detail =
                    format!("mode {:o} gives the file's owner's or group's rights", entry.mode);
                self.report_at(ProblemCode::Setuid, path, detail);
            }
            EntryKind::Device => self.report_at(ProblemCode::DeviceFile, path, "a device"),
            EntryKind::Fifo => self.report_at(ProblemCode::DeviceFile, path, "a FIFO or socket"),
            EntryKind::Symlink { target } => {
                self.name_of_len(target.len())?;
                self.symlinks.insert(path.to_owned(), target.clone());
            }
            EntryKind::Hardlink { target } => {
                self.name_of_len(target.len())?;
                let known = self.seen.contains_key(&key(&link_target(prefix, target)));
                let facts = path::examine(target.as_bytes());
                if !known || facts.climbs || (facts.absolute && !self.is_deb) {
                    let detail = format!("links to `{}`, no earlier entry", path::shown(target));
                    self.report_at(ProblemCode::HardlinkOutside, path, detail);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn resolve_symlinks(&mut self) {
        let links = std::mem::take(&mut self.symlinks);
        let root_depth = match &self.root {
            _ if self.is_deb => 1,
            Root::One(_) if self.entries > 1 => 1,
            _ => 0,
        };
        let mut resolver = Resolver::new(&links, root_depth, self.is_deb);
        let mut paths: Vec<&String> = links.keys().collect();
        paths.sort_unstable();
        for path in paths {
            let target = links.get(path).map(String::as_str).unwrap_or_default();
            match resolver.leads_outside(path, target) {
                Some(false) => {}
                Some(true) => {
                    let detail = format!("leads to `{}`, outside the package", path::shown(target));
                    self.report_at(ProblemCode::SymlinkOutside, path, detail);
                }
                None => {
                    let detail = "more symlinks than can be followed";
                    self.report_at(ProblemCode::SymlinkOutside, path, detail);
                    return;
                }
            }
        }
    }
}

/// The normalized path that a hard link's target names, under the same prefix as the link.
pub(super) fn link_target(prefix: &str, target: &str) -> String {
    under(prefix, &path::normalize(target))
}

fn under(prefix: &str, path: &str) -> String {
    match path {
        "" => prefix.trim_end_matches('/').to_owned(),
        path => format!("{prefix}{path}"),
    }
}

/// An entry's content as the visitor sees it: counted against the limits.
struct Content<'a, 'l> {
    inner: &'a mut dyn Read,
    watch: &'a mut Watch<'l>,
    path: &'a str,
    taken: u64,
    stopped: Option<Stop>,
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ended = || io::Error::other("the archive's walk has ended");
        if self.stopped.is_some() {
            return Err(ended());
        }
        let n = match self.inner.read(buf) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                self.stopped = Some(Stop::from(e));
                return Err(ended());
            }
        };
        self.taken = self.taken.saturating_add(n as u64);
        if self.taken > self.watch.limits.max_entry_bytes {
            self.stopped = Some(self.watch.entry_too_large(self.path));
        } else if let Err(stop) = self.watch.unpacked(n as u64) {
            self.stopped = Some(stop);
        }
        if self.stopped.is_some() { Err(ended()) } else { Ok(n) }
    }
}

/// Hands an entry to the visitor and reads what it left; returns the content's length.
pub(super) fn deliver(
    entry: &Entry,
    content: &mut dyn Read,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<u64, Stop> {
    let mut content = Content { inner: content, watch, path: &entry.path, taken: 0, stopped: None };
    let visited = visitor(entry, &mut content);
    // What stopped the content comes first: the visitor's error is then only its echo.
    if let Some(stop) = content.stopped.take() {
        return Err(stop);
    }
    visited.map_err(Stop::Error)?;
    let drained = io::copy(&mut content, &mut io::sink());
    if let Some(stop) = content.stopped.take() {
        return Err(stop);
    }
    drained?;
    Ok(content.taken)
}

/// Exactly so many bytes of a stream: fewer are an error, not an early end.
pub(super) struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Exact<R> {
    pub(super) fn new(inner: R, len: u64) -> Self {
        Self { inner, left: len }
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..want).filter(|b| !b.is_empty()) else { return Ok(0) };
        let n = self.inner.read(buf)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}
