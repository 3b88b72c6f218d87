//! `node_modules`: the packages that lie there, with the digests of npm's own record where that
//! names the same version.

use super::environment::listed;
use super::source::{Document, bytes};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::inventory::{ListedFile, SkipKind};
use countersign_ecosystem::npm::{LockedPackage, may_be_listed, parse_package_lock};
use countersign_ecosystem::version::is_valid;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How deep packages may nest, and how many there may be: what lies beyond is reported.
const MAX_DEPTH: usize = 64;
const MAX_PACKAGES: usize = 200_000;

#[derive(Deserialize)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
}

struct Tree {
    document: Document,
    /// What npm wrote down, by path from the folder that holds `node_modules`.
    recorded: HashMap<PathBuf, LockedPackage>,
    root: PathBuf,
}

/// Reads a `node_modules` folder. The packages count, not npm's record of them: a package that was
/// put there by hand is in no record.
pub(super) fn read(path: &Path) -> Document {
    let mut document = Document::new(path, "node_modules");
    let record = path.join(".package-lock.json");
    let mut recorded = HashMap::new();
    if record.is_file() {
        let read = bytes(&record)
            .and_then(|b| parse_package_lock(&b).map_err(|e| format!("it is malformed: {e}")));
        match read {
            Ok(list) => recorded.extend(list.into_iter().map(|p| (PathBuf::from(&p.path), p))),
            Err(because) => document.problem = Some(format!("`.package-lock.json`: {because}")),
        }
    }
    document.tells_dev = !recorded.is_empty();
    let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut tree = Tree { document, recorded, root };
    tree.folder(path, 0);
    tree.document
}

impl Tree {
    fn folder(&mut self, modules: &Path, depth: usize) {
        if depth > MAX_DEPTH || self.document.listed.len() > MAX_PACKAGES {
            let because = "it nests too deep, or holds too many packages".to_owned();
            self.document.problem = Some(because);
            return;
        }
        let mut entries: Vec<_> = match std::fs::read_dir(modules) {
            Ok(entries) => entries.flatten().collect(),
            Err(e) => {
                self.document.problem = Some(format!("`{}`: {e}", modules.display()));
                return;
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            match entry.file_type() {
                Ok(t) if t.is_dir() => self.entry(&path, &name, depth),
                Ok(t) if t.is_symlink() && !name.starts_with('.') => self.link(&path, modules),
                _ => {}
            }
        }
    }

    fn entry(&mut self, path: &Path, name: &str, depth: usize) {
        if name == ".pnpm" {
            // pnpm keeps each package in a `node_modules` of its own, and links to it.
            let parts = std::fs::read_dir(path).into_iter().flatten().flatten();
            let mut parts: Vec<PathBuf> = parts.map(|e| e.path().join("node_modules")).collect();
            parts.sort();
            for part in parts.into_iter().filter(|p| p.is_dir()) {
                self.folder(&part, depth + 1);
            }
        } else if name.starts_with('@') {
            self.folder(path, depth + 1);
        } else if !name.starts_with('.') {
            self.package(path);
            let inner = path.join("node_modules");
            if inner.is_dir() {
                self.folder(&inner, depth + 1);
            }
        }
    }

    /// A link into this tree leads to a package that is seen where it lies; others to folders of
    /// this machine.
    fn link(&mut self, path: &Path, modules: &Path) {
        let target = path.canonicalize().ok();
        let inside = target.as_ref().is_some_and(|t| t.iter().any(|part| part == ".pnpm"))
            || target
                .zip(modules.canonicalize().ok())
                .is_some_and(|(target, modules)| target.starts_with(modules));
        if !inside {
            let what = self.shown(path);
            self.document.skip(SkipKind::Own, &what, "it is a link to a folder of this machine");
        }
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn package(&mut self, path: &Path) {
        let manifest = path.join("package.json");
        if !manifest.is_file() && holds_only_modules(path) {
            return;
        }
        let read = bytes(&manifest).ok().and_then(|b| serde_json::from_slice::<Manifest>(&b).ok());
        let named = read.and_then(|m| Some((m.name?, m.version?)));
        let usable = named.filter(|(n, v)| may_be_listed(n) && is_valid(Ecosystem::Npm, v));
        let Some((name, version)) = usable else {
            let what = self.shown(path);
            let because = "its package.json gives no name and version";
            self.document.skip(SkipKind::Unreadable, &what, because);
            return;
        };
        let mut entry = listed(Purl::new(Ecosystem::Npm, &name, Some(&version)));
        let recorded = path.strip_prefix(&self.root).ok().and_then(|p| self.recorded.get(p));
        if let Some(r) =
            recorded.filter(|r| r.name == name && r.version.as_deref() == Some(version.as_str()))
        {
            entry.from.clone_from(&r.resolved);
            entry.dev = r.dev;
            let digests = r.integrity.clone();
            if !digests.is_empty() {
                entry.files.push(ListedFile { name: None, digests });
            }
        }
        self.document.listed.push(entry);
    }
}

/// Whether a folder is only the way to packages that lie deeper.
fn holds_only_modules(path: &Path) -> bool {
    let mut entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.all(|e| e.file_name() == "node_modules")
}
