//! `pylock.toml` (PEP 751, lock version 1.0).

use super::lines::TableLines;
use super::reading::{Entry, Reading, file_name, named_digest};
use super::{Format, SkipKind};
use crate::error::{IndexError, IndexLimits};
use crate::toml_doc::{self, get, items};
use countersign_core::{Ecosystem, ExpectedDigest};
use toml::de::DeValue;

/// Reads a `pylock.toml`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::PyLock.name();
    let top = toml_doc::parse(what, text)?;
    let version = toml_doc::text(&top, "lock-version").unwrap_or("none");
    // Minor versions only add (PEP 751, `lock-version`).
    if version != "1" && !version.starts_with("1.") {
        let because = format!("version 1 is known, found {version}");
        return Err(IndexError::malformed(what, "lock-version", because));
    }
    let (packages, length) = toml_doc::list(what, &top, "packages")?;
    limits.check_entries(what, length)?;
    let lines = TableLines::new(text, &["[[packages]]"]);
    for (index, entry) in packages.enumerate() {
        let name = toml_doc::text(entry, "name").unwrap_or("");
        package(entry, name, lines.of(index, name), reading);
    }
    Ok(())
}

fn package(entry: &DeValue<'_>, name: &str, line: Option<u32>, reading: &mut Reading) {
    let text = |key: &str| toml_doc::text(entry, key);
    let version = text("version").unwrap_or("");
    let elsewhere = [
        ("vcs", "it is a version control checkout"),
        ("directory", "it lies on this machine"),
        ("archive", "it is an archive at an address"),
    ];
    if let Some((_, because)) = elsewhere.iter().find(|(key, _)| get(entry, key).is_some()) {
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
    for file in get(entry, "sdist").into_iter().chain(items(entry, "wheels")) {
        let text = |key: &str| toml_doc::text(file, key);
        let address = text("url").or_else(|| text("path"));
        let name = text("name").or_else(|| address.and_then(file_name));
        listed.add_file(name, hashes(file));
    }
}

fn hashes(file: &DeValue<'_>) -> Vec<ExpectedDigest> {
    let table = get(file, "hashes").and_then(DeValue::as_table);
    let all = table.into_iter().flatten();
    all.filter_map(|(name, hex)| named_digest(name.get_ref(), hex.get_ref().as_str()?)).collect()
}
