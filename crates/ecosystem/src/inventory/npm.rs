//! npm's lock files, and what all of npm's kin have in common.

use super::node::Node;
use super::python::without_credentials;
use super::reading::{Entry, Reading};
use super::{Format, SkipKind};
use crate::error::{IndexError, IndexLimits};
use crate::npm::{LockedPackage, name_from_tarball_path, parse_package_lock};
use crate::version::is_valid;
use countersign_core::{Ecosystem, ExpectedDigest};
use std::collections::HashMap;
use url::Url;

/// A package as a lock file of npm's kin gives it.
#[derive(Default)]
pub(super) struct Package<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// The address of its tarball, where the document gives one.
    pub(super) resolved: Option<&'a str>,
    pub(super) integrity: Vec<ExpectedDigest>,
    pub(super) dev: bool,
    pub(super) line: Option<u32>,
}

impl Package<'_> {
    /// Lists the package. Where the address is the tarball of another package or version, that one
    /// is what will be installed: it is listed as well.
    pub(super) fn list(self, reading: &mut Reading) {
        let other = self.resolved.and_then(tarball).filter(|(name, version)| {
            // Registries may differ in the case of old names, never in their letters.
            !name.eq_ignore_ascii_case(self.name) || version != self.version
        });
        let names = [Some((self.name.to_owned(), self.version.to_owned())), other];
        for (name, version) in names.into_iter().flatten() {
            let entry = Entry {
                ecosystem: Ecosystem::Npm,
                name: &name,
                version: &version,
                line: self.line,
            };
            if let Some(listed) = reading.list(entry) {
                listed.from = self.resolved.map(without_credentials);
                listed.dev = self.dev;
                listed.add_file(None, self.integrity.clone());
            }
        }
    }
}

/// The package and version in a tarball's address.
fn tarball(address: &str) -> Option<(String, String)> {
    let url = Url::parse(address).ok()?;
    name_from_tarball_path(url.path())
}

/// `name@rest`, where the name may begin with a scope's `@`.
pub(super) fn split_name(text: &str) -> Option<(&str, &str)> {
    let at = text.get(1..)?.find('@')? + 1;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Whether a version's text is one of a registry, not an address, a folder or a checkout.
pub(super) fn is_version(text: &str) -> bool {
    is_valid(Ecosystem::Npm, text)
}

/// What a text that is no version stands for.
pub(super) fn source_kind(text: &str) -> (SkipKind, &'static str) {
    let begins = |all: &[&str]| all.iter().any(|p| text.starts_with(p));
    let git =
        begins(&["git+", "git:", "git@", "git ssh", "github:", "gitlab:", "bitbucket:", "gist:"])
            || text.split('#').next().is_some_and(|t| t.ends_with(".git"))
            || text.contains("codeload.");
    if git {
        (SkipKind::Elsewhere, "it is a git checkout")
    } else if begins(&["workspace:", "link:", "portal:"]) {
        (SkipKind::Own, "it is a folder of this project")
    } else if begins(&["file:"]) || text.starts_with('.') {
        (SkipKind::Elsewhere, "it lies on this machine")
    } else if begins(&["http:", "https:"]) {
        (SkipKind::Elsewhere, "it is an archive at an address")
    } else {
        (SkipKind::Unreadable, "its source is of an unknown kind")
    }
}

/// Skips what comes from no registry.
pub(super) fn skip_source(name: &str, source: &str, line: Option<u32>, reading: &mut Reading) {
    let (kind, because) = source_kind(source);
    reading.skip(kind, &format!("{name}@{}", without_credentials(source)), because, line);
}

/// Reads a `package-lock.json`.
pub(super) fn package_lock(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let locked = parse_package_lock(text.as_bytes())?;
    let tree = super::json::parse(Format::PackageLock.name(), text, limits, false)?;
    let mut lines = HashMap::new();
    if let Some(packages) = tree.get("packages") {
        lines.extend(packages.entries().iter().map(|(k, n)| (k.to_string(), n.line)));
    } else {
        nested_lines(&tree, "", &mut lines);
    }
    for package in locked {
        let line = lines.get(&package.path).copied();
        locked_package(&package, line, reading);
    }
    Ok(())
}

/// The lines of version 1, by the path where each is installed.
fn nested_lines(node: &Node<'_>, parent: &str, lines: &mut HashMap<String, u32>) {
    for (name, entry) in node.get("dependencies").map(Node::entries).unwrap_or_default() {
        let path = format!("{parent}node_modules/{name}");
        nested_lines(entry, &format!("{path}/"), lines);
        lines.insert(path, entry.line);
    }
}

fn locked_package(package: &LockedPackage, line: Option<u32>, reading: &mut Reading) {
    let name = package.name.as_str();
    let what = || format!("{name} in {}", package.path);
    if package.is_local() {
        reading.skip(SkipKind::Own, &what(), "it is a folder of this project", line);
        return;
    }
    let version = package.version.as_deref().unwrap_or("");
    if version.is_empty() {
        // Optional packages for other systems are there without a version.
        let (kind, because) = match package.resolved.as_deref() {
            None if package.optional => (SkipKind::Own, "it is optional and not resolved"),
            _ => (SkipKind::Unreadable, "it has no version"),
        };
        reading.skip(kind, &what(), because, line);
        return;
    }
    if !is_version(version) {
        skip_source(name, version, line, reading);
        return;
    }
    let resolved = package.resolved.as_deref();
    if let Some(source) = resolved.filter(|r| not_a_registry(r, package)) {
        skip_source(name, source, line, reading);
        return;
    }
    let dev = package.dev;
    Package { name, version, resolved, integrity: package.integrity.clone(), dev, line }
        .list(reading);
}

/// Whether an address is a checkout, a file, or a tarball that no digest binds to a version.
fn not_a_registry(resolved: &str, package: &LockedPackage) -> bool {
    let web = resolved.starts_with("https://") || resolved.starts_with("http://");
    let git = source_kind(resolved).1 == source_kind("git+").1;
    !web || git || (tarball(resolved).is_none() && package.integrity.is_empty())
}
