//! Where there is something to audit: known documents and environments below a path.

use super::system;
use countersign_ecosystem::inventory::{Format, detect};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How deep folders are looked into, and how many: what lies beyond is reported.
const MAX_DEPTH: usize = 16;
const MAX_FOLDERS: usize = 50_000;

/// What lies at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceKind {
    /// A document.
    Document(Format),
    /// A Python environment: its `site-packages` folders.
    Python(Vec<PathBuf>),
    /// A `node_modules` folder.
    Modules,
    /// dpkg's status of a system, and the release that it is of.
    Dpkg(Option<String>),
    /// Something that should be looked at and cannot be.
    Unknown(String),
}

/// A place that has something to audit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where it is.
    pub path: PathBuf,
    /// What is there.
    pub kind: PlaceKind,
}

/// Why a path cannot be audited at all.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It cannot be looked at.
    #[error("`{path}` cannot be read: {because}")]
    Unreadable {
        /// The path.
        path: String,
        /// Why.
        because: String,
    },
    /// There is nothing that can be audited.
    #[error(
        "there is nothing to audit in `{path}`: no lock file, requirements file, environment or SBOM; name a file or \
         another folder"
    )]
    Nothing {
        /// The path.
        path: String,
    },
}

/// Finds what can be audited at these paths, sorted, each once.
///
/// # Errors
/// When a path cannot be read, or holds nothing to audit.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Place>, FindError> {
    let mut all = BTreeSet::new();
    for path in paths {
        let shown = || path.display().to_string();
        let meta = std::fs::metadata(path)
            .map_err(|e| FindError::Unreadable { path: shown(), because: e.to_string() })?;
        if meta.is_dir() {
            let found = folder(path);
            if found.is_empty() {
                return Err(FindError::Nothing { path: shown() });
            }
            all.extend(found);
        } else {
            all.insert(named_file(path));
        }
    }
    Ok(all.into_iter().collect())
}

/// What a file is that the user names: whatever its name, requirements are read as such.
fn named_file(path: &Path) -> Place {
    let name = file_name(path);
    let head = head(path);
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let kind = match detect(&name, &head) {
        Some(Format::DpkgStatus) => PlaceKind::Dpkg(system::release_beside(path)),
        Some(format) => PlaceKind::Document(format),
        None if matches!(extension.as_deref(), Some("txt" | "in")) => {
            PlaceKind::Document(Format::Requirements)
        }
        None => PlaceKind::Unknown(unknown(&name).unwrap_or_else(|| {
            "it is no lock file, requirements file or SBOM that is known".to_owned()
        })),
    };
    Place { path: path.to_path_buf(), kind }
}

/// Lock files that are known and not read: what to do instead.
fn unknown(name: &str) -> Option<String> {
    let advice = match name {
        "bun.lockb" => "write bun's text lock file: `bun install --save-text-lockfile`",
        "Pipfile.lock" => "write its versions out: `pipenv requirements --hash > requirements.txt`",
        "pdm.lock" => "write its versions out: `pdm export -o requirements.txt`",
        _ => return None,
    };
    Some(format!("its format is not read; {advice}"))
}

fn folder(path: &Path) -> Vec<Place> {
    if let Some(places) = system::of_root(path) {
        return places;
    }
    if file_name(path) == "node_modules" {
        return vec![Place { path: path.to_path_buf(), kind: PlaceKind::Modules }];
    }
    if matches!(file_name(path).as_str(), "site-packages" | "dist-packages") {
        let kind = PlaceKind::Python(vec![path.to_path_buf()]);
        return vec![Place { path: path.to_path_buf(), kind }];
    }
    let root = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut walk = Walk { places: Vec::new(), folders: 0, root };
    walk.folder(path, 0);
    walk.places
}

struct Walk {
    places: Vec<Place>,
    folders: usize,
    /// Where the walk began, without links.
    root: PathBuf,
}

impl Walk {
    fn add(&mut self, path: &Path, kind: PlaceKind) {
        self.places.push(Place { path: path.to_path_buf(), kind });
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        self.folders += 1;
        if self.folders == MAX_FOLDERS {
            let because = format!("there are more than {MAX_FOLDERS} folders; name those to audit");
            self.add(path, PlaceKind::Unknown(because));
        }
        if self.folders >= MAX_FOLDERS {
            return;
        }
        if path.join("pyvenv.cfg").is_file() {
            self.add(path, PlaceKind::Python(sites(path)));
            return;
        }
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) => {
                self.add(path, PlaceKind::Unknown(format!("it cannot be read: {e}")));
                return;
            }
        };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            // A link to a folder leads out, or round in circles.
            match entry.file_type() {
                Ok(t) if t.is_dir() => self.inner(&path, &name, depth + 1),
                Ok(t) if t.is_file() || (t.is_symlink() && path.is_file()) => {
                    self.file(&path, &name);
                }
                _ => {}
            }
        }
    }

    fn inner(&mut self, path: &Path, name: &str, depth: usize) {
        if name == "node_modules" {
            self.add(path, PlaceKind::Modules);
            return;
        }
        // Hidden folders and caches (bford.info/cachedir) hold no projects, but environments.
        let passed = name.starts_with('.') || path.join("CACHEDIR.TAG").is_file();
        if passed && !path.join("pyvenv.cfg").is_file() {
            return;
        }
        if depth > MAX_DEPTH {
            let because = "it lies too deep; name it to audit it".to_owned();
            self.add(path, PlaceKind::Unknown(because));
            return;
        }
        self.folder(path, depth);
    }

    /// A file by its name alone: others are not opened. A link that leads out is not followed: what
    /// lies in a folder may not choose what else of the machine is read and shown.
    fn file(&mut self, path: &Path, name: &str) {
        let inside = || path.canonicalize().is_ok_and(|p| p.starts_with(&self.root));
        if let Some(format) = detect(name, b"") {
            let kind = match inside() {
                true => PlaceKind::Document(format),
                false => {
                    PlaceKind::Unknown("it leads out of the folder; name it to audit it".to_owned())
                }
            };
            self.add(path, kind);
        } else if let Some(because) = unknown(name) {
            self.add(path, PlaceKind::Unknown(because));
        }
    }
}

/// The `site-packages` of a virtual environment: of any Python below `lib`.
fn sites(environment: &Path) -> Vec<PathBuf> {
    let mut out = BTreeSet::new();
    for lib in ["lib", "lib64"] {
        let Ok(entries) = std::fs::read_dir(environment.join(lib)) else { continue };
        for entry in entries.flatten() {
            let site = entry.path().join("site-packages");
            // `lib64` is a link to `lib` by custom.
            out.extend(site.canonicalize().ok().filter(|s| s.is_dir()));
        }
    }
    out.extend(environment.join("Lib/site-packages").canonicalize().ok());
    out.into_iter().collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The first bytes of a file; none where it cannot be read, which reading it will tell.
fn head(path: &Path) -> Vec<u8> {
    use std::io::Read as _;
    let mut out = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(64 << 10).read_to_end(&mut out);
    }
    out
}
