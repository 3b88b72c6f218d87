//! What people have written down against findings: VEX documents, and waivers that are kept in files.
//!
//! The configuration names the places. They are read when the engine opens, and again when one of the
//! files changed.

use crate::config::Config;
use countersign_core::{Sha256Digest, Timestamp, VexSource};
use countersign_policy::{FileWaiver, PolicyFile, read_waivers};
use countersign_scan::vex::{self, VexSet};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A place that cannot be used; names it and the next step.
#[derive(Debug, thiserror::Error)]
#[error("`{place}`: {because}")]
pub struct ExemptionProblem {
    /// The place.
    pub place: String,
    /// What is wrong and what to do.
    pub because: String,
}

/// VEX documents and waiver files, read.
#[derive(Debug, Default)]
pub struct Exemptions {
    /// What the VEX documents state.
    pub vex: VexSet,
    /// The waivers of files, also those that have ended.
    pub waivers: Vec<FileWaiver>,
    /// The digest of everything that was read; empty where no place is configured.
    identity: String,
    /// The files as they were then: paths, sizes and times.
    files: String,
}

/// Deepest folder below a place that is looked into: stops loops of links.
const MAX_DEPTH: usize = 8;
/// The most documents of all places.
const MAX_DOCUMENTS: usize = 100_000;

/// The files that the configuration leads to.
struct Places {
    vex: Vec<(PathBuf, VexSource)>,
    waivers: Vec<PathBuf>,
}

impl Exemptions {
    /// Reads all places of a configuration. A place that is not there, or a document that cannot be
    /// read, is an error: a claim that silently does not count may hide that another one does.
    ///
    /// # Errors
    /// With the place, and what is wrong with it.
    pub fn read(config: &Config, now: Timestamp) -> Result<Self, ExemptionProblem> {
        let places = Places::of(config)?;
        let mut out = Self { files: places.fingerprint()?, ..Self::default() };
        let mut digests = String::new();
        for (path, source) in &places.vex {
            let problem = |because: String| ExemptionProblem { place: shown(path), because };
            let bytes = read_file(path)?;
            let document = vex::parse(&bytes).map_err(|e| problem(e.to_string()))?;
            digests.push_str(&format!("{} {}\n", source.name(), Sha256Digest::of(&bytes)));
            out.vex.add(document, *source);
        }
        for path in &places.waivers {
            let problem = |because: String| ExemptionProblem { place: shown(path), because };
            let bytes = read_file(path)?;
            let text = String::from_utf8(bytes).map_err(|e| problem(e.to_string()))?;
            digests.push_str(&format!("waivers {}\n", Sha256Digest::of(text.as_bytes())));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let read = read_waivers(&PolicyFile::new(name, text), now);
            out.waivers.extend(read.map_err(|errors| {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                problem(format!("the waivers cannot be used:\n{}", lines.join("\n")))
            })?);
        }
        if !digests.is_empty() {
            out.identity = Sha256Digest::of(digests.as_bytes()).to_hex();
        }
        Ok(out)
    }

    /// What tells these documents from others; empty where there are none.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether the files of a configuration are others than those that were read, or cannot be found.
    #[must_use]
    pub fn is_behind(&self, config: &Config) -> bool {
        let now = Places::of(config).and_then(|p| p.fingerprint());
        now.map_or(true, |files| files != self.files)
    }
}

impl Places {
    fn of(config: &Config) -> Result<Self, ExemptionProblem> {
        let mut vex = Vec::new();
        let sources = [(&config.vex.own, VexSource::Own), (&config.vex.vendor, VexSource::Vendor)];
        for (places, source) in sources {
            for place in places {
                let mut files = Vec::new();
                gather(Path::new(place), 0, &mut files)?;
                files.sort();
                vex.extend(files.into_iter().map(|f| (f, source)));
            }
        }
        Ok(Self { vex, waivers: config.waivers.iter().map(PathBuf::from).collect() })
    }

    fn fingerprint(&self) -> Result<String, ExemptionProblem> {
        let mut out = String::new();
        for path in self.vex.iter().map(|(p, _)| p).chain(&self.waivers) {
            let m = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
            let time = format!("{}.{}", m.mtime(), m.mtime_nsec());
            out.push_str(&format!("{} {} {time}\n", path.display(), m.len()));
        }
        Ok(out)
    }
}

/// The JSON documents at a place: the file itself, or those of a folder and the folders in it.
fn gather(place: &Path, depth: usize, into: &mut Vec<PathBuf>) -> Result<(), ExemptionProblem> {
    let meta = std::fs::metadata(place).map_err(|e| unreadable(place, &e))?;
    if meta.is_file() {
        into.push(place.to_path_buf());
        return Ok(());
    }
    for entry in std::fs::read_dir(place).map_err(|e| unreadable(place, &e))? {
        let path = entry.map_err(|e| unreadable(place, &e))?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() && depth < MAX_DEPTH {
            gather(&path, depth + 1, into)?;
        } else if path.extension().is_some_and(|e| e == "json") && path.is_file() {
            into.push(path);
        }
        if into.len() > MAX_DOCUMENTS {
            let because = format!("there are more than {MAX_DOCUMENTS} documents; name fewer");
            return Err(ExemptionProblem { place: shown(place), because });
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, ExemptionProblem> {
    let file = std::fs::File::open(path).map_err(|e| unreadable(path, &e))?;
    let mut bytes = Vec::new();
    // One byte more than allowed lets the parser say that it is too large.
    let limit = vex::MAX_DOCUMENT as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn unreadable(path: &Path, e: &std::io::Error) -> ExemptionProblem {
    let because = format!("cannot be read: {e}; check the path in the configuration");
    ExemptionProblem { place: shown(path), because }
}
