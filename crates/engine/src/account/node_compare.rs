//! A package's files as they lie on the disk, or in a zip of yarn's, against a tarball's manifest.

use super::node_tree::MAX_DEPTH;
use countersign_core::Sha256Digest;
use countersign_ecosystem::archive::{ArchiveKind, Limits, ManifestEntry, walk_with_manifest};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// How a comparison ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compared {
    Same,
    /// What is different.
    Differs(String),
    /// Why it could not be compared.
    NotDone(String),
}

/// The tarball's files by their path in the package. Clients drop the first folder, whatever its name.
fn wanted(manifest: &[ManifestEntry]) -> BTreeMap<&str, Sha256Digest> {
    manifest.iter().filter_map(|e| Some((e.path.split_once('/')?.1, e.sha256))).collect()
}

/// npm renames .gitignore (npm-packlist); other clients do not.
fn renamed(path: &str) -> Option<String> {
    path.strip_suffix(".gitignore").map(|stem| format!("{stem}.npmignore"))
}

/// The first difference between a package's folder and its tarball's manifest.
pub(crate) fn differs(folder: &Path, manifest: &[ManifestEntry]) -> Option<String> {
    let wanted = wanted(manifest);
    for (path, digest) in &wanted {
        let other = renamed(path).filter(|o| !wanted.contains_key(o.as_str()));
        let read = std::fs::read(folder.join(path))
            .or_else(|e| other.map_or(Err(e), |o| std::fs::read(folder.join(o))));
        let Ok(bytes) = read else {
            // Of .gitignore and .npmignore npm keeps the latter.
            if renamed(path).is_some_and(|o| wanted.contains_key(o.as_str())) {
                continue;
            }
            return Some(format!("{path} of the admitted tarball is not there"));
        };
        if Sha256Digest::of(&bytes) != *digest && with_carriage_return(&bytes) != Some(*digest) {
            return Some(format!("{path} differs from the admitted tarball"));
        }
    }
    let named: Vec<String> = wanted.keys().filter_map(|p| renamed(p)).collect();
    let extra = files_below(folder, "", 0)
        .into_iter()
        .find(|f| !wanted.contains_key(f.as_str()) && !named.contains(f));
    extra.map(|f| format!("{f} is not in the admitted tarball"))
}

/// The digest of a program as it was before the client took the carriage return out of its first
/// line.
fn with_carriage_return(bytes: &[u8]) -> Option<Sha256Digest> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    if !bytes.starts_with(b"#!") {
        return None;
    }
    let (line, rest) = bytes.split_at(end);
    Some(Sha256Digest::of(&[line, b"\r", rest].concat()))
}

/// The files of a package's own folder, without the packages that lie below it.
fn files_below(folder: &Path, prefix: &str, depth: usize) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) && depth < MAX_DEPTH {
            if prefix.is_empty() && name == "node_modules" {
                continue;
            }
            out.extend(files_below(&entry.path(), &format!("{prefix}{name}/"), depth + 1));
        } else {
            out.push(format!("{prefix}{name}"));
        }
    }
    out
}

/// A package in a zip of yarn's cache.
#[derive(Debug, Clone)]
pub(crate) struct Zipped {
    pub name: String,
    pub version: String,
    /// Each file below `node_modules/<name>/`.
    files: BTreeMap<String, Sha256Digest>,
}

/// Largest package.json that is read out of a zip, in bytes.
const MAX_PACKAGE_JSON: u64 = 8 << 20;

/// Reads a zip that yarn made of a tarball: all files lie below `node_modules/<name>/`.
pub(crate) fn read_zip(path: &Path) -> Result<Zipped, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut manifests: Vec<(String, Vec<u8>)> = Vec::new();
    let (summary, entries) =
        walk_with_manifest(file, ArchiveKind::Zip, &Limits::default(), &mut |entry, content| {
            let depth = entry.path.matches('/').count();
            if entry.path.ends_with("/package.json") && depth <= 3 {
                let mut text = Vec::new();
                content.take(MAX_PACKAGE_JSON).read_to_end(&mut text)?;
                manifests.push((entry.path.clone(), text));
            }
            Ok(())
        })
        .map_err(|e| e.to_string())?;
    if !summary.complete {
        return Err("the zip cannot be read to its end".to_owned());
    }
    for (path, text) in &manifests {
        let Some(folder) = path.strip_suffix("package.json") else { continue };
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(text) else { continue };
        let word = |key: &str| json.get(key).and_then(|v| v.as_str()).map(str::to_owned);
        let (Some(name), Some(version)) = (word("name"), word("version")) else { continue };
        // An alias lies below another name, and is known by its own.
        let own = folder.strip_prefix("node_modules/").is_some_and(|f| {
            let parts = f.trim_end_matches('/').split('/').count();
            parts == if f.starts_with('@') { 2 } else { 1 }
        });
        if !own {
            continue;
        }
        let mut files = BTreeMap::new();
        for entry in &entries {
            let Some(inside) = entry.path.strip_prefix(folder) else {
                return Err(format!("{} lies beside the package", entry.path));
            };
            if files.insert(inside.to_owned(), entry.sha256).is_some() {
                return Err(format!("{inside} is in it twice"));
            }
        }
        return Ok(Zipped { name, version, files });
    }
    Err("it holds no package".to_owned())
}

/// The first difference between a zip's files and a tarball's manifest.
pub(crate) fn zip_differs(zip: &Zipped, manifest: &[ManifestEntry]) -> Option<String> {
    let wanted = wanted(manifest);
    for (path, digest) in &wanted {
        match zip.files.get(*path) {
            Some(found) if found == digest => {}
            Some(_) => return Some(format!("{path} differs from the admitted tarball")),
            None => return Some(format!("{path} of the admitted tarball is not there")),
        }
    }
    let extra = zip.files.keys().find(|f| !wanted.contains_key(f.as_str()));
    extra.map(|f| format!("{f} is not in the admitted tarball"))
}
