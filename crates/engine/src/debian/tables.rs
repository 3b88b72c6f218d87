//! Tables of verified lists: made once for each list, kept in the state folder by its digest.

use super::table::{Table, TableWriter};
use crate::http_client::Failure;
use countersign_core::{ReasonCode, Sha256Digest};
use countersign_ecosystem::debian::{
    self, Deb822Error, PackageRecord, PackagesLimits, SourceRecord,
};
use parking_lot::Mutex;
use sha2::Digest as _;
use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Tables that are open at a time; each holds a file descriptor.
const MAX_OPEN: usize = 64;
/// A table that nobody has opened for so long belongs to a list of the past.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Binary packages (`Packages`).
    Packages,
    /// Source packages (`Sources`).
    Sources,
}

/// A list to make a table of.
pub(crate) struct List<'a> {
    /// What it is of.
    pub kind: Kind,
    /// Its name: the suffix says how it is packed, and people see it in messages.
    pub name: &'a str,
    /// The digest of the list once it is unpacked, where a Release file names it.
    pub plain: Option<Sha256Digest>,
    /// What to do about a list that cannot be used.
    pub remedy: &'a str,
}

/// The tables of one state folder.
pub(crate) struct Tables {
    folder: PathBuf,
    open: Mutex<HashMap<Sha256Digest, Arc<Table>>>,
    /// One list is read at a time: unpacking takes a dozen megabytes of memory, and whoever waits
    /// for a table mostly waits for that very one.
    making: Mutex<()>,
}

impl Tables {
    /// Tables in `<state>/cache/debian/tables`.
    pub(crate) fn new(state: &Path) -> Self {
        let folder = state.join("cache/debian/tables");
        Self { folder, open: Mutex::default(), making: Mutex::default() }
    }

    fn path(&self, list: &Sha256Digest) -> PathBuf {
        self.folder.join(format!("{list}.table"))
    }

    /// The table of the list with that digest, if it was made. Reads files.
    pub(crate) fn known(&self, list: &Sha256Digest) -> Option<Arc<Table>> {
        if let Some(table) = self.open.lock().get(list) {
            return Some(table.clone());
        }
        let path = self.path(list);
        match Table::open(&path) {
            Ok(table) => {
                // Its last use, by which forgotten tables are told.
                let _ = File::options()
                    .write(true)
                    .open(&path)
                    .and_then(|f| f.set_modified(SystemTime::now()));
                Some(self.keep(list, table))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a table of packages is made again");
                let _ = std::fs::remove_file(&path);
                None
            }
        }
    }

    fn keep(&self, list: &Sha256Digest, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        let mut open = self.open.lock();
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        open.insert(*list, table.clone());
        table
    }

    /// The table that is kept under `key`, made of the list that `source` opens where there is none.
    pub(crate) fn known_or_made(
        &self,
        key: &Sha256Digest,
        list: &List<'_>,
        source: impl FnOnce() -> Result<File, Failure>,
    ) -> Result<Arc<Table>, Failure> {
        if let Some(table) = self.known(key) {
            return Ok(table);
        }
        let _one = self.making.lock();
        match self.known(key) {
            Some(table) => Ok(table),
            None => self.read_into_table(key, list, source()?),
        }
    }

    /// Reads a list to its end and makes its table, which is kept under `key`. The records count
    /// only if the list is the one that its Release file names. Reads and writes files.
    pub(crate) fn make(
        &self,
        key: &Sha256Digest,
        list: &List<'_>,
        source: File,
    ) -> Result<Arc<Table>, Failure> {
        let _one = self.making.lock();
        self.read_into_table(key, list, source)
    }

    fn read_into_table(
        &self,
        key: &Sha256Digest,
        list: &List<'_>,
        source: File,
    ) -> Result<Arc<Table>, Failure> {
        let internal = |e: io::Error| {
            Failure::new(
                crate::pipeline::disk_reason(&e),
                format!("`{}` cannot be written: {e}", self.folder.display()),
            )
        };
        private_folder(&self.folder).map_err(internal)?;
        self.forget_old();
        let temporary =
            tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder).map_err(internal)?;
        let writer = temporary.reopen().and_then(TableWriter::new).map_err(internal)?;
        let digest = fill(writer, list, source)?;
        if list.plain.is_some_and(|named| named != digest) {
            return Err(Failure::new(
                ReasonCode::IndexUntrusted,
                format!(
                    "`{}` is not the list that its signed Release file names{}",
                    list.name, list.remedy
                ),
            ));
        }
        let path = self.path(key);
        temporary.persist(&path).map_err(|e| internal(e.error))?;
        let table = Table::open(&path).map_err(internal)?;
        tracing::debug!(list = list.name, packages = table.count(), "a list was read");
        Ok(self.keep(key, table))
    }

    fn forget_old(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let used = entry.metadata().and_then(|m| m.modified()).ok();
            if used.and_then(|t| t.elapsed().ok()).is_some_and(|age| age > FORGOTTEN) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn note(&self, path: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        let name = Sha256Digest::of(path.as_os_str().as_bytes());
        self.folder.join(format!("{name}.seen"))
    }

    /// The digest that a list of this machine had when it was last read in this very state.
    pub(crate) fn seen(&self, path: &Path, state: &FileState) -> Option<Sha256Digest> {
        let text = std::fs::read_to_string(self.note(path)).ok()?;
        let (kept, digest) = text.trim_end().rsplit_once(' ')?;
        (kept == state.words()).then(|| digest.parse().ok()).flatten()
    }

    /// Notes the digest of a list of this machine, with the state that it had before it was read.
    pub(crate) fn note_seen(&self, path: &Path, state: &FileState, digest: &Sha256Digest) {
        // A file that changed a moment ago could change again without a change of its time.
        if !state.is_settled() {
            return;
        }
        let written = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder).and_then(
            |mut file| {
                file.write_all(format!("{} {digest}\n", state.words()).as_bytes())?;
                file.persist(self.note(path)).map(drop).map_err(|e| e.error)
            },
        );
        if let Err(error) = written {
            tracing::debug!(%error, "what was read of a list is not noted");
        }
    }
}

/// What tells that a file is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    size: u64,
    inode: u64,
    /// Nanoseconds since 1970 of the last change, of content or of name, rights and times.
    changed: i64,
}

impl FileState {
    pub(crate) fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let changed = meta.ctime().wrapping_mul(1_000_000_000).wrapping_add(meta.ctime_nsec());
        Self { size: meta.size(), inode: meta.ino(), changed }
    }

    fn words(&self) -> String {
        format!("{} {} {}", self.size, self.inode, self.changed)
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        now.saturating_sub(self.changed) > 1_000_000_000
    }
}

/// Creates a folder and its parents, for the owner alone.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes the records of a list into a table; the digest of the unpacked list.
fn fill(mut writer: TableWriter, list: &List<'_>, source: File) -> Result<Sha256Digest, Failure> {
    let unusable = |because: &dyn std::fmt::Display| {
        Failure::new(
            ReasonCode::IndexMalformed,
            format!("`{}` cannot be read: {because}{}", list.name, list.remedy),
        )
    };
    let reader = debian::decompress_index(list.name, source).map_err(|e| unusable(&e))?;
    let mut hashing = HashingReader { inner: reader, sha256: sha2::Sha256::new() };
    {
        let buffered = BufReader::with_capacity(256 * 1024, &mut hashing);
        let mut add = |record: &PackageRecord| writer.add(record).map_err(|e| unusable(&e));
        match list.kind {
            Kind::Packages => {
                for record in debian::parse_packages(buffered, PackagesLimits::default()) {
                    add(&record.map_err(|e: Deb822Error| unusable(&e))?)?;
                }
            }
            Kind::Sources => {
                for record in debian::parse_sources(buffered, PackagesLimits::default()) {
                    for file in source_files(&record.map_err(|e: Deb822Error| unusable(&e))?) {
                        add(&file)?;
                    }
                }
            }
        }
    }
    io::copy(&mut hashing, &mut io::sink()).map_err(|e| unusable(&e))?;
    writer.finish().map_err(|e| unusable(&e))?;
    Ok(Sha256Digest(hashing.sha256.finalize().into()))
}

/// Each file of a source package as a record of its own, of the architecture `source`.
fn source_files(source: &SourceRecord) -> Vec<PackageRecord> {
    let record = |file: &debian::SourceFile| PackageRecord {
        package: source.package.clone(),
        version: source.version.clone(),
        architecture: "source".to_owned(),
        filename: source.path_of(file),
        size: file.size,
        sha256: Some(file.sha256),
        source: source.package.clone(),
        source_version: source.version.clone(),
    };
    source.files.iter().map(record).collect()
}

struct HashingReader<R> {
    inner: R,
    sha256: sha2::Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}
