//! `poetry.lock` of lock versions 1 and 2 (poetry 1.0 and later).

use super::lines::TableLines;
use super::python::without_credentials;
use super::reading::{Entry, Reading, digest};
use super::{Format, SkipKind};
use crate::error::{IndexError, IndexLimits};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest};
use toml::{Table, Value};

/// Reads a `poetry.lock`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::PoetryLock.name();
    let top: Table = text
        .parse()
        .map_err(|e: toml::de::Error| IndexError::malformed(what, "the text", e.message()))?;
    let metadata = top.get("metadata");
    let version = metadata.and_then(|m| m.get("lock-version")).and_then(Value::as_str);
    // The first lock files did not say which version they are.
    let known = version.is_none_or(|v| v.starts_with("1.") || v.starts_with("2."));
    if !known || metadata.is_none() {
        let found = version.unwrap_or("none");
        let because = format!("versions 1 and 2 are known, found {found}");
        return Err(IndexError::malformed(what, "metadata.lock-version", because));
    }
    let packages = match top.get("package") {
        None => return Ok(()),
        Some(value) => value
            .as_array()
            .ok_or_else(|| IndexError::malformed(what, "package", "it is not a list"))?,
    };
    limits.check_entries(what, packages.len())?;
    let lines = TableLines::new(text, &["[[package]]"]);
    for (index, entry) in packages.iter().enumerate() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("");
        let line = lines.of(index, text("name"));
        package(entry, metadata, line, reading);
    }
    Ok(())
}

fn package(entry: &Value, metadata: Option<&Value>, line: Option<u32>, reading: &mut Reading) {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("");
    let (name, version) = (text("name"), text("version"));
    let source = entry.get("source");
    let of_source = |key: &str| source.and_then(|s| s.get(key)).and_then(Value::as_str);
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
    let older = || metadata?.get("files")?.get(name)?.as_array();
    let files = entry.get("files").and_then(Value::as_array).or_else(older);
    for file in files.into_iter().flatten() {
        let text = |key: &str| file.get(key).and_then(Value::as_str);
        listed.add_file(text("file"), text("hash").and_then(digest).into_iter().collect());
    }
    // Before lock version 1.1: digests alone.
    let oldest = || metadata?.get("hashes")?.get(name)?.as_array();
    for hash in oldest().into_iter().flatten().filter_map(Value::as_str) {
        let digest = ExpectedDigest::from_hex(Algorithm::Sha256, hex_part(hash)).ok();
        listed.add_file(None, digest.into_iter().collect());
    }
}

fn hex_part(hash: &str) -> &str {
    hash.strip_prefix("sha256:").unwrap_or(hash)
}

/// Whether no group but those for development names it: `category` until poetry 1.4, `groups` since
/// 2.0.
fn is_dev(entry: &Value) -> bool {
    let groups = entry.get("groups").and_then(Value::as_array);
    match groups {
        Some(groups) => !groups.is_empty() && groups.iter().all(|g| g.as_str() != Some("main")),
        None => entry.get("category").and_then(Value::as_str) == Some("dev"),
    }
}
