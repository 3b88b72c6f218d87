//! `poetry.lock` of lock versions 1 and 2 (poetry 1.0 and later).

use super::lines::TableLines;
use super::python::without_credentials;
use super::reading::{Entry, Reading, digest};
use super::{Format, SkipKind};
use crate::error::{IndexError, IndexLimits};
use crate::toml_doc::{self, get, items};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest};
use toml::de::DeValue;

/// Reads a `poetry.lock`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::PoetryLock.name();
    let top = toml_doc::parse(what, text)?;
    let metadata = get(&top, "metadata");
    let version = metadata.and_then(|m| toml_doc::text(m, "lock-version"));
    // The first lock files did not say which version they are.
    let known = version.is_none_or(|v| v.starts_with("1.") || v.starts_with("2."));
    if !known || metadata.is_none() {
        let found = version.unwrap_or("none");
        let because = format!("versions 1 and 2 are known, found {found}");
        return Err(IndexError::malformed(what, "metadata.lock-version", because));
    }
    let (packages, length) = toml_doc::list(what, &top, "package")?;
    limits.check_entries(what, length)?;
    let lines = TableLines::new(text, &["[[package]]"]);
    for (index, entry) in packages.enumerate() {
        let line = lines.of(index, toml_doc::text(entry, "name").unwrap_or(""));
        package(entry, metadata, line, reading);
    }
    Ok(())
}

fn package(
    entry: &DeValue<'_>,
    metadata: Option<&DeValue<'_>>,
    line: Option<u32>,
    reading: &mut Reading,
) {
    let text = |key: &str| toml_doc::text(entry, key).unwrap_or("");
    let (name, version) = (text("name"), text("version"));
    let of_source = |key: &str| get(entry, "source").and_then(|s| toml_doc::text(s, key));
    let elsewhere = match of_source("type") {
        None | Some("legacy" | "pypi") => None,
        Some("git") => Some((SkipKind::Elsewhere, "it is a git checkout")),
        Some("url") => Some((SkipKind::Elsewhere, "it is an archive at an address")),
        Some("file" | "directory") => Some((SkipKind::Elsewhere, "it lies on this machine")),
        Some(_) => Some((SkipKind::Unreadable, "its source is of an unknown kind")),
    };
    if let Some((kind, because)) = elsewhere {
        reading.skip(kind, &format!("{name} {version}"), because, line);
        return;
    }
    let entry_of = Entry { ecosystem: Ecosystem::Pypi, name, version, line };
    let Some(listed) = reading.list(entry_of) else { return };
    listed.from = of_source("url").map(without_credentials);
    listed.dev = is_dev(entry);
    let older = |table: &str| {
        let of_all = metadata.and_then(|m| get(m, table));
        of_all.into_iter().flat_map(|files| items(files, name))
    };
    for file in items(entry, "files").chain(older("files")) {
        let digest = toml_doc::text(file, "hash").and_then(digest);
        listed.add_file(toml_doc::text(file, "file"), digest.into_iter().collect());
    }
    // Before lock version 1.1: digests alone.
    for hash in older("hashes").filter_map(DeValue::as_str) {
        let digest = ExpectedDigest::from_hex(Algorithm::Sha256, hex_part(hash)).ok();
        listed.add_file(None, digest.into_iter().collect());
    }
}

fn hex_part(hash: &str) -> &str {
    hash.strip_prefix("sha256:").unwrap_or(hash)
}

/// Whether no group but those for development names it: `category` until poetry 1.4, `groups` since
/// 2.0.
fn is_dev(entry: &DeValue<'_>) -> bool {
    let mut groups = items(entry, "groups").map(DeValue::as_str).peekable();
    match groups.peek() {
        Some(_) => groups.all(|g| g != Some("main")),
        None => toml_doc::text(entry, "category") == Some("dev"),
    }
}
