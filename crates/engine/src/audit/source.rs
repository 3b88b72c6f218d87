//! From places to lists: each document read under limits, each environment walked.

use super::places::{Place, PlaceKind};
use super::{environment, modules};
use countersign_ecosystem::IndexError;
use countersign_ecosystem::inventory::{Format, Inventory, Listed, SkipKind, Skipped, parse};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;
/// How many documents may include each other, in all.
const MAX_INCLUDED: usize = 1000;

/// Why a document was not read, in words for people.
pub type Problem = String;

/// One document or environment, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: &'static str,
    /// The versions that it lists.
    pub listed: Vec<Listed>,
    /// What it lists and cannot be judged.
    pub skipped: Vec<Skipped>,
    /// Whether it tells what only development needs.
    pub tells_dev: bool,
    /// Why it was not read, or not to its end.
    pub problem: Option<Problem>,
}

impl Document {
    pub(super) fn new(path: &Path, kind: &'static str) -> Self {
        let (listed, skipped) = (Vec::new(), Vec::new());
        Self { path: path.to_path_buf(), kind, listed, skipped, tells_dev: false, problem: None }
    }

    fn failed(path: &Path, kind: &'static str, problem: Problem) -> Self {
        Self { problem: Some(problem), ..Self::new(path, kind) }
    }

    fn of(path: &Path, inventory: Inventory) -> Self {
        let format = inventory.format;
        Self {
            listed: inventory.listed,
            skipped: inventory.skipped,
            tells_dev: format.tells_dev(),
            ..Self::new(path, format.name())
        }
    }

    /// The path as the user would write it, without `./`.
    pub(super) fn shown(&self) -> String {
        self.path.strip_prefix(".").unwrap_or(&self.path).display().to_string()
    }

    pub(super) fn skip(&mut self, kind: SkipKind, what: &str, because: &str) {
        // Names of files may hold anything.
        let what = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.skipped.push(Skipped { what, kind, because: because.to_owned(), line: None });
    }
}

/// Whether an entry that was skipped leaves something open that an audit should answer.
pub(super) fn should_be_judged(skipped: &Skipped) -> bool {
    matches!(skipped.kind, SkipKind::Unpinned | SkipKind::Unreadable)
}

/// Reads everything that was found, and what requirement files include, in the order of their
/// paths. What cannot be read is a document with a problem.
#[must_use]
pub fn read(places: &[Place]) -> Vec<Document> {
    let mut out = Vec::new();
    let mut seen: BTreeSet<PathBuf> = places.iter().filter_map(|p| canonical(&p.path)).collect();
    for place in places {
        let path = &place.path;
        match &place.kind {
            PlaceKind::Document(format) => document(path, *format, &mut seen, &mut out),
            PlaceKind::Dpkg(release) => out.push(dpkg(path, release.as_deref())),
            PlaceKind::Python(sites) => out.push(environment::read(path, sites)),
            PlaceKind::Modules => out.push(modules::read(path)),
            PlaceKind::Unknown(because) => {
                out.push(Document::failed(path, "unknown", because.clone()));
            }
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

fn canonical(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

fn document(path: &Path, format: Format, seen: &mut BTreeSet<PathBuf>, out: &mut Vec<Document>) {
    let mut open = vec![path.to_path_buf()];
    while let Some(path) = open.pop() {
        let inventory = match inventory(&path, format) {
            Ok(inventory) => inventory,
            Err(problem) => {
                out.push(Document::failed(&path, format.name(), problem));
                continue;
            }
        };
        let includes = inventory.includes.clone();
        let mut document = Document::of(&path, inventory);
        for include in includes {
            match included(&path, &include.path) {
                Err(because) => document.skipped.push(Skipped {
                    what: include.path,
                    kind: SkipKind::Unreadable,
                    because,
                    line: include.line,
                }),
                Ok(target) => {
                    let fresh = canonical(&target).is_some_and(|t| seen.insert(t));
                    if fresh && seen.len() < MAX_INCLUDED {
                        open.push(target);
                    }
                }
            }
        }
        out.push(document);
    }
}

/// The file that a requirements file includes. It must be below the working folder or beside the
/// including file: a document may not choose what else of the machine is read.
fn included(from: &Path, path: &str) -> Result<PathBuf, String> {
    if path.contains("://") {
        return Err("it lies at an address, and is not fetched".to_owned());
    }
    let folder = from.parent().unwrap_or(Path::new(""));
    let target = folder.join(path);
    let resolved = canonical(&target).ok_or("it is not there")?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let allowed = [Some(PathBuf::from(".")), Some(folder.to_path_buf())];
    let inside = allowed.into_iter().flatten().filter_map(|f| canonical(&f));
    if !inside.into_iter().any(|f| resolved.starts_with(f)) {
        return Err("it lies outside this folder; name it to audit it".to_owned());
    }
    Ok(target)
}

fn inventory(path: &Path, format: Format) -> Result<Inventory, Problem> {
    let bytes = bytes(path)?;
    parse(format, &bytes).map_err(|e| match e {
        // The rest of that error's text is about upstreams.
        IndexError::Malformed { at, because, .. } => {
            format!("it is malformed at `{at}`: {because}")
        }
        IndexError::TooManyEntries { limit, .. } => format!("it has more than {limit} entries"),
        other => other.to_string(),
    })
}

/// The bytes of a file, up to the limit.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |e: std::io::Error| format!("it cannot be read: {e}");
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err("it is no file".to_owned());
    }
    if meta.len() > MAX_DOCUMENT {
        return Err(format!("it is larger than {MAX_DOCUMENT} bytes"));
    }
    let mut out = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(MAX_DOCUMENT).read_to_end(&mut out).map_err(unreadable)?;
    Ok(out)
}

fn dpkg(path: &Path, release: Option<&str>) -> Document {
    let kind = Format::DpkgStatus;
    match inventory(path, kind) {
        Err(problem) => Document::failed(path, kind.name(), problem),
        Ok(inventory) => {
            let mut document = Document::of(path, inventory);
            for listed in &mut document.listed {
                listed.release = release.map(str::to_owned);
            }
            document
        }
    }
}
