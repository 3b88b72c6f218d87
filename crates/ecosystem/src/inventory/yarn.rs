//! `yarn.lock` of berry (yarn 2 and later), which is YAML; that of yarn 1 is read beside it.

use super::npm::{Package, is_version, skip_source, split_name};
use super::reading::Reading;
use super::{Format, SkipKind, yaml, yarn_classic};
use crate::error::{IndexError, IndexLimits};

/// The metadata versions that are known: yarn 2 wrote 4, the newest yarn 4 writes 10.
const KNOWN: [&str; 7] = ["4", "5", "6", "7", "8", "9", "10"];

/// Reads a `yarn.lock`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    if !text.lines().any(|l| l.trim_end() == "__metadata:") {
        return yarn_classic::read(text, limits, reading);
    }
    let what = Format::YarnLock.name();
    for document in yaml::parse(what, text, limits)? {
        let version = document.get("__metadata").and_then(|m| m.text_of("version"));
        if !version.is_some_and(|v| KNOWN.contains(&v)) {
            let found = version.unwrap_or("none");
            let because = format!("versions 4 to 10 are known, found {found}");
            return Err(IndexError::malformed(what, "__metadata.version", because));
        }
        for (key, entry) in document.entries().iter().filter(|(k, _)| k != "__metadata") {
            let resolution = entry.text_of("resolution").unwrap_or("");
            let version = entry.text_of("version").unwrap_or("");
            package(key, resolution, version, entry.line, reading);
        }
    }
    Ok(())
}

/// `name@npm:1.0.0`, `name@workspace:.`, `name@patch:name@npm%3A1.0.0#…`, `name@https://…`.
///
/// berry's own checksum is that of the archive that it packs anew: no registry knows it.
fn package(key: &str, resolution: &str, version: &str, line: u32, reading: &mut Reading) {
    let line = Some(line);
    let Some((name, source)) = split_name(resolution) else {
        reading.skip(SkipKind::Unreadable, key, "it has no resolution", line);
        return;
    };
    if source.starts_with("patch:") {
        let because = "it is a patch; the package that is patched has an entry of its own";
        reading.skip(SkipKind::Own, &format!("{name}@{source}"), because, line);
        return;
    }
    let Some(npm) = source.strip_prefix("npm:") else {
        skip_source(name, source, line, reading);
        return;
    };
    // `npm:1.0.0::__archiveUrl=…` names another registry's tarball.
    let (resolved_version, archive) = match npm.split_once("::") {
        Some((version, binding)) => (version, archive_of(binding)),
        None => (npm, None),
    };
    if !is_version(resolved_version) {
        let what = format!("{name} {resolved_version}");
        reading.skip(SkipKind::Unreadable, &what, "it has no version", line);
        return;
    }
    let resolved = archive.as_deref();
    Package { name, version: resolved_version, resolved, line, ..Package::default() }.list(reading);
    if version != resolved_version && is_version(version) {
        Package { name, version, line, ..Package::default() }.list(reading);
    }
}

fn archive_of(binding: &str) -> Option<String> {
    let value = binding.split('&').find_map(|p| p.strip_prefix("__archiveUrl="))?;
    crate::text::percent_decode(value)
}
