//! `pylock.toml` (PEP 751, lock version 1.0).

use super::lines::TableLines;
use super::reading::{Entry, Reading, file_name, named_digest};
use super::{Format, SkipKind};
use crate::error::{IndexError, IndexLimits};
use countersign_core::{Ecosystem, ExpectedDigest};
use toml::{Table, Value};

/// Reads a `pylock.toml`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::PyLock.name();
    let top: Table = text
        .parse()
        .map_err(|e: toml::de::Error| IndexError::malformed(what, "the text", e.message()))?;
    let version = top.get("lock-version").and_then(Value::as_str).unwrap_or("none");
    // Minor versions only add (PEP 751, `lock-version`).
    if version != "1" && !version.starts_with("1.") {
        let because = format!("version 1 is known, found {version}");
        return Err(IndexError::malformed(what, "lock-version", because));
    }
    let packages = match top.get("packages") {
        None => return Ok(()),
        Some(value) => value
            .as_array()
            .ok_or_else(|| IndexError::malformed(what, "packages", "it is not a list"))?,
    };
    limits.check_entries(what, packages.len())?;
    let lines = TableLines::new(text, &["[[packages]]"]);
    for (index, entry) in packages.iter().enumerate() {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or("");
        package(entry, name, lines.of(index, name), reading);
    }
    Ok(())
}

fn package(entry: &Value, name: &str, line: Option<u32>, reading: &mut Reading) {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let version = text("version").unwrap_or("");
    let elsewhere = [
        ("vcs", "it is a version control checkout"),
        ("directory", "it lies on this machine"),
        ("archive", "it is an archive at an address"),
    ];
    if let Some((_, because)) = elsewhere.iter().find(|(key, _)| entry.get(key).is_some()) {
        reading.skip(SkipKind::Elsewhere, &format!("{name} {version}"), *because, line);
        return;
    }
    if version.is_empty() {
        let because = "it names no exact version";
        reading.skip(SkipKind::Unpinned, name, because, line);
        return;
    }
    let entry_of = Entry { ecosystem: Ecosystem::Pypi, name, version, line };
    let Some(listed) = reading.list(entry_of) else { return };
    listed.from = text("index").map(super::python::without_credentials);
    let wheels = entry.get("wheels").and_then(Value::as_array).into_iter().flatten();
    for file in entry.get("sdist").into_iter().chain(wheels) {
        let text = |key: &str| file.get(key).and_then(Value::as_str);
        let address = text("url").or_else(|| text("path"));
        let name = text("name").or_else(|| address.and_then(file_name));
        listed.add_file(name, hashes(file));
    }
}

fn hashes(file: &Value) -> Vec<ExpectedDigest> {
    let table = file.get("hashes").and_then(Value::as_table);
    table
        .into_iter()
        .flatten()
        .filter_map(|(name, hex)| named_digest(name, hex.as_str()?))
        .collect()
}
