//! Advisory feeds: where they lie, the index that is built of them, and how old they are.

use countersign_core::{Sha256Digest, Timestamp};
pub use countersign_scan::advisory::FeedMeta;
use countersign_scan::advisory::{
    FeedError, FeedIndex, FeedLimits, IndexBuilder, PackageAdvisories, ReadAt, parse_record,
};
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A feed that cannot be used; names the file and the next step.
#[derive(Debug, thiserror::Error)]
#[error("feed `{place}`: {because}")]
pub struct FeedProblem {
    /// The feed's place, without credentials.
    pub place: String,
    /// What is wrong and what to do.
    pub because: String,
}

/// The index file, read where it lies: only its key table is held in memory.
#[derive(Debug)]
pub struct FileAt {
    file: File,
    len: u64,
}

impl ReadAt for FileAt {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// The feeds as one index.
pub struct Feeds {
    index: FeedIndex<FileAt>,
    identity: String,
    folder: PathBuf,
}

impl Feeds {
    /// What the feeds hold and how old they are.
    #[must_use]
    pub fn meta(&self) -> &FeedMeta {
        self.index.meta()
    }

    /// What tells this index from others: it follows from what the index was built from.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The index of another identity, where it is still kept beside this one.
    pub(crate) fn earlier(&self, identity: &str) -> Option<Self> {
        // An identity comes from a record: it names a file of this folder or nothing.
        let plain = !identity.is_empty() && identity.bytes().all(|b| b.is_ascii_hexdigit());
        let path = self.folder.join(format!("{identity}.index"));
        let index = if plain { open_index(&path)? } else { return None };
        Some(Self { index, identity: identity.to_owned(), folder: self.folder.clone() })
    }

    /// Whether these feeds say something else about a package than `earlier` ones.
    pub(crate) fn differ_on(
        &self,
        earlier: &Self,
        ecosystem: countersign_core::Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> bool {
        self.index.fingerprint(ecosystem, name, release)
            != earlier.index.fingerprint(ecosystem, name, release)
    }

    pub(crate) fn package(
        &self,
        ecosystem: countersign_core::Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Result<PackageAdvisories, FeedError> {
        self.index.package(ecosystem, name, release)
    }

    /// What tells one state of these feeds' files from another: their paths, sizes and times.
    ///
    /// # Errors
    /// When a place holds no feed or cannot be read.
    pub fn fingerprint(places: &[PathBuf]) -> Result<String, FeedProblem> {
        let mut files = Vec::new();
        for place in places {
            files.extend(list(place)?);
        }
        identity(&files)
    }

    /// Whether the index of these feeds, as their files are now, is there: opening it is then quick
    /// and takes little memory.
    ///
    /// # Errors
    /// When a place holds no feed or cannot be read.
    pub fn is_built(folder: &Path, places: &[PathBuf]) -> Result<bool, FeedProblem> {
        Ok(folder.join(format!("{}.index", Self::fingerprint(places)?)).is_file())
    }

    /// Opens the index of these feeds, building it first where none was built of exactly them.
    ///
    /// # Errors
    /// When a place holds no feed, or a feed cannot be read. Nothing that was there is changed.
    pub fn open(
        folder: &Path,
        places: &[PathBuf],
        now: Timestamp,
    ) -> Result<Option<Self>, FeedProblem> {
        let mut files = Vec::new();
        for place in places {
            files.extend(list(place)?);
        }
        if files.is_empty() {
            return Ok(None);
        }
        let built_of = identity(&files)?;
        let path = folder.join(format!("{built_of}.index"));
        let feeds = |index| Self { index, identity: built_of.clone(), folder: folder.to_owned() };
        if let Some(index) = open_index(&path) {
            return Ok(Some(feeds(index)));
        }
        let bytes = build(&files, now)?;
        if identity(&files)? != built_of {
            return Err(FeedProblem {
                place: "all feeds".to_owned(),
                because: "a file changed while it was read; try again when it is whole".to_owned(),
            });
        }
        let problem = |e: &dyn std::fmt::Display| FeedProblem {
            place: path.display().to_string(),
            because: format!(
                "the index cannot be written: {e}; free some space or choose another --state"
            ),
        };
        std::fs::create_dir_all(folder).map_err(|e| problem(&e))?;
        write_whole(folder, &path, &bytes).map_err(|e| problem(&e))?;
        drop_older(folder, &path);
        open_index(&path)
            .map(|index| Some(feeds(index)))
            .ok_or_else(|| problem(&"it cannot be read back"))
    }
}

fn open_index(path: &Path) -> Option<FeedIndex<FileAt>> {
    let file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    match FeedIndex::open(FileAt { file, len }) {
        Ok(index) => Some(index),
        Err(error) => {
            // A damaged or older index is no loss: it is built again from the feeds themselves.
            tracing::warn!(%error, "the feeds' index is built again");
            None
        }
    }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut temp = tempfile::NamedTempFile::new_in(folder)?;
    temp.write_all(bytes)?;
    temp.as_file().sync_all()?;
    temp.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// How many indexes are kept: runs with other feeds come back to theirs.
const KEPT_INDEXES: usize = 4;

fn drop_older(folder: &Path, newest: &Path) {
    let mut old: Vec<(i64, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "index") && p != newest)
        .filter_map(|p| Some((p.metadata().ok()?.mtime(), p)))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(KEPT_INDEXES - 1);
    for (_, path) in old.into_iter().take(surplus) {
        // Another run may have taken it away already.
        let _ = std::fs::remove_file(path);
    }
}

/// What a file of a folder of feeds is, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A zip of records.
    Zip,
    /// A record, the KEV catalogue, or likelihoods.
    Json,
    /// Likelihoods.
    Csv,
    /// Records, one a line.
    Lines,
}

fn kind_of(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let kinds = [
        (".zip", Kind::Zip),
        (".json", Kind::Json),
        (".csv", Kind::Csv),
        (".csv.gz", Kind::Csv),
        (".jsonl", Kind::Lines),
    ];
    kinds.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| kind)
}

/// The feed files at a place: the file itself, or the feeds in a folder.
fn list(place: &Path) -> Result<Vec<PathBuf>, FeedProblem> {
    let problem = |because: String| FeedProblem { place: place.display().to_string(), because };
    let meta = std::fs::metadata(place).map_err(|e| {
        problem(format!(
            "cannot be read: {e}; check the path, or remove it with `countersign feed remove`"
        ))
    })?;
    if meta.is_file() {
        return Ok(vec![place.to_path_buf()]);
    }
    let mut out = Vec::new();
    for entry in std::fs::read_dir(place).map_err(|e| problem(format!("cannot be read: {e}")))? {
        let path = entry.map_err(|e| problem(format!("cannot be read: {e}")))?.path();
        if kind_of(&path).is_some() && path.is_file() {
            out.push(path);
        }
    }
    if out.is_empty() {
        return Err(problem(
            "holds no feed: zip archives and JSON records of the OSV schema, the KEV catalogue \
             (.json), EPSS (.csv, .csv.gz, .json)"
                .to_owned(),
        ));
    }
    out.sort();
    Ok(out)
}

fn identity(files: &[PathBuf]) -> Result<String, FeedProblem> {
    let mut text = format!("{} ", countersign_scan::advisory::FORMAT_VERSION);
    for f in files {
        let m = std::fs::metadata(f).map_err(|e| FeedProblem {
            place: f.display().to_string(),
            because: format!("cannot be read: {e}"),
        })?;
        text.push_str(&format!("{} {} {}.{} ", f.display(), m.len(), m.mtime(), m.mtime_nsec()));
    }
    Ok(Sha256Digest::of(text.as_bytes()).to_hex().chars().take(32).collect())
}

/// Largest single file that is read as a record, a catalogue or a list, in bytes.
const MAX_JSON: u64 = 256 << 20;

fn build(files: &[PathBuf], now: Timestamp) -> Result<Vec<u8>, FeedProblem> {
    let mut builder = IndexBuilder::new();
    let mut loose = false;
    for path in files {
        let problem = |because: String| FeedProblem { place: path.display().to_string(), because };
        let unreadable = |e: io::Error| problem(format!("cannot be read: {e}"));
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let file = File::open(path).map_err(unreadable)?;
        // A file that the user names may be called anything: then it counts as an archive.
        let kind = kind_of(path).unwrap_or(Kind::Zip);
        let again =
            |e: FeedError| problem(format!("{e}; fetch it again with `countersign feed sync`"));
        if kind == Kind::Zip {
            let added = builder.add_zip(&name, BufReader::new(file), &FeedLimits::default());
            added.map_err(again)?;
            continue;
        }
        let mut bytes = Vec::new();
        file.take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_JSON {
            return Err(problem(format!("it is larger than {MAX_JSON} bytes; make a zip of it")));
        }
        match kind {
            Kind::Csv => builder.add_epss(&bytes).map_err(again)?,
            Kind::Lines => drop(builder.add_lines(&name, &bytes).map_err(again)?),
            Kind::Json | Kind::Zip => {
                add_json(&mut builder, &bytes, &mut loose).map_err(|e| {
                    let known = "a zip of OSV records, one OSV record, the KEV catalogue, or EPSS";
                    problem(format!("{e}; a feed is {known}"))
                })?;
            }
        }
    }
    builder
        .finish(now)
        .map_err(|e| FeedProblem { place: "all feeds".to_owned(), because: e.to_string() })
}

fn add_json(builder: &mut IndexBuilder, bytes: &[u8], loose: &mut bool) -> Result<(), FeedError> {
    match parse_record(bytes) {
        Ok(record) => {
            if !*loose {
                builder.begin_source("single records");
                *loose = true;
            }
            builder.add_record(&record);
            Ok(())
        }
        Err(not_a_record) => {
            builder.add_kev(bytes).or_else(|_| builder.add_epss(bytes)).map_err(|_| not_a_record)
        }
    }
}
