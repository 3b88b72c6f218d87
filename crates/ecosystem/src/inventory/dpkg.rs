//! dpkg's `status`: what is installed (dpkg(1), deb822(5)).

use super::reading::{Entry, Reading};
use super::{Format, SkipKind};
use crate::debian::{Deb822Limits, parse_paragraphs, split_source};
use crate::error::{IndexError, IndexLimits};
use countersign_core::Ecosystem;

/// Reads a `status` file. Packages of which only the configuration is left are not installed.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let limits = Deb822Limits {
        max_bytes: limits.max_bytes,
        max_paragraphs: limits.max_entries,
        ..Deb822Limits::default()
    };
    let paragraphs = parse_paragraphs(text, &limits)
        .map_err(|e| IndexError::malformed(Format::DpkgStatus.name(), "the text", e))?;
    for paragraph in paragraphs {
        let field = |name: &str| paragraph.get(name).unwrap_or("");
        let (name, version) = (field("Package"), field("Version"));
        let line = u32::try_from(paragraph.line()).ok();
        let status = field("Status");
        // `status.d` of images without dpkg has no such field (distroless).
        let state = status.split_whitespace().nth(2).unwrap_or(status);
        if matches!(state, "config-files" | "not-installed") {
            let because = "it is removed, and only its configuration is left";
            reading.skip(SkipKind::Own, name, because, line);
            continue;
        }
        let entry = Entry { ecosystem: Ecosystem::Debian, name, version, line };
        let (source, source_version) = split_source(field("Source"), name, version);
        let architecture = field("Architecture");
        let Some(listed) = reading.list(entry) else { continue };
        if !architecture.is_empty() {
            listed.purl = listed.purl.clone().with_qualifier("arch", architecture);
        }
        listed.source = Some((source, source_version));
    }
    Ok(())
}
