//! `pnpm-lock.yaml` of lock file versions 5, 6 and 9.

use super::node::Node;
use super::npm::{Package, is_version, skip_source, split_name};
use super::reading::Reading;
use super::{Format, SkipKind, yaml};
use crate::error::{IndexError, IndexLimits};
use crate::npm::parse_integrity;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Reads a `pnpm-lock.yaml`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::PnpmLock.name();
    let documents = yaml::parse(what, text, limits)?;
    if documents.is_empty() {
        return Err(IndexError::malformed(what, "the text", "it is empty"));
    }
    for document in &documents {
        let version = document.text_of("lockfileVersion").unwrap_or("none");
        let major = match version.split('.').next() {
            Some("5") => 5,
            Some("6" | "7") => 6,
            Some("9") => 9,
            _ => {
                let because = format!("versions 5, 6 and 9 are known, found {version}");
                return Err(IndexError::malformed(what, "lockfileVersion", because));
            }
        };
        let needed = (major == 9).then(|| needed(document));
        for (key, entry) in document.get("packages").map(Node::entries).unwrap_or_default() {
            package(major, key, entry, needed.as_ref(), reading);
        }
    }
    Ok(())
}

fn package(
    major: u32,
    key: &str,
    entry: &Node<'_>,
    needed: Option<&HashSet<Cow<'_, str>>>,
    reading: &mut Reading,
) {
    let line = Some(entry.line);
    let resolution = entry.get("resolution");
    let of = |key: &str| resolution.and_then(|r| r.text_of(key));
    let id = without_peers(key);
    let parts = if major == 5 { slashes(id) } else { split_name(id.trim_start_matches('/')) };
    // An archive at an address has its name and version beside the key.
    let (name, version) = match parts.filter(|(_, version)| is_version(version)) {
        Some(parts) => parts,
        None => {
            let named = parts.map_or(id, |(name, _)| name);
            let source = of("repo").map(|_| "git:").or_else(|| of("tarball"));
            let source = source.or_else(|| of("directory").map(|_| "file:"));
            let source = source.or_else(|| parts.map(|(_, source)| source)).unwrap_or(id);
            skip_source(entry.text_of("name").unwrap_or(named), source, line, reading);
            return;
        }
    };
    if of("type").is_some_and(|t| t == "git" || t == "directory") {
        let because = "it is a git checkout or a folder under a version's name";
        reading.skip(SkipKind::Unreadable, id, because, line);
        return;
    }
    let integrity = of("integrity").map(parse_integrity).unwrap_or_default();
    let dev = match needed {
        Some(needed) => !needed.contains(id),
        None => entry.says("dev"),
    };
    Package { name, version, resolved: of("tarball"), integrity, dev, line }.list(reading);
}

/// A key without the peers that it was resolved with: `a@1.0.0(b@2.0.0)`.
fn without_peers(key: &str) -> &str {
    key.split('(').next().unwrap_or(key)
}

/// Version 5: `/@scope/name/1.0.0_peers`, without the slash for another registry's.
fn slashes(key: &str) -> Option<(&str, &str)> {
    let (path, version) = key.rsplit_once('/')?;
    let version = version.split('_').next().unwrap_or(version);
    let path = path.strip_prefix('/').unwrap_or(path);
    let start = match path.rsplit_once('/') {
        Some((before, _)) => {
            let scope = before.rfind('/').map_or(0, |at| at + 1);
            match before.get(scope..) {
                Some(s) if s.starts_with('@') => scope,
                _ => before.len() + 1,
            }
        }
        None => 0,
    };
    Some((path.get(start..)?, version))
}

/// Version 9 does not say what only development needs: the packages that the projects reach without
/// their `devDependencies`, as keys of `packages`.
fn needed<'a>(document: &'a Node<'a>) -> HashSet<Cow<'a, str>> {
    let snapshots: HashMap<&str, &Node<'_>> = document
        .get("snapshots")
        .map(Node::entries)
        .unwrap_or_default()
        .iter()
        .map(|(key, node)| (key.as_ref(), node))
        .collect();
    let mut open: Vec<String> = Vec::new();
    let projects = document.get("importers").map(Node::entries).unwrap_or_default();
    for (_, project) in projects {
        for kind in ["dependencies", "optionalDependencies"] {
            for (name, entry) in project.get(kind).map(Node::entries).unwrap_or_default() {
                let version = entry.text_of("version").or_else(|| entry.text());
                open.extend(version.and_then(|v| snapshot(&snapshots, name, v)));
            }
        }
    }
    let mut seen: HashSet<String> = HashSet::new();
    let mut keys = HashSet::new();
    while let Some(key) = open.pop() {
        let Some((known, node)) = snapshots.get_key_value(key.as_str()) else { continue };
        keys.insert(Cow::Borrowed(without_peers(known)));
        if !seen.insert(key) {
            continue;
        }
        for kind in ["dependencies", "optionalDependencies"] {
            for (name, version) in node.get(kind).map(Node::entries).unwrap_or_default() {
                open.extend(version.text().and_then(|v| snapshot(&snapshots, name, v)));
            }
        }
    }
    keys
}

/// The snapshot that `name: version` leads to; an alias writes the whole key as its version.
fn snapshot(snapshots: &HashMap<&str, &Node<'_>>, name: &str, version: &str) -> Option<String> {
    let plain = format!("{name}@{version}");
    if snapshots.contains_key(plain.as_str()) {
        return Some(plain);
    }
    snapshots.contains_key(version).then(|| version.to_owned())
}
