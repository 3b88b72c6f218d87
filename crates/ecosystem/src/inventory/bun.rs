//! `bun.lock`, bun's text lock file (versions 0 to 2): JSON with comments and trailing commas.
//!
//! ```text
//! "packages": {
//!   "a": ["a@1.0.0", "registry or nothing", { … }, "sha512-…"],
//!   "b": ["b@workspace:packages/b"],
//!   "c": ["c@git+https://…#commit", { … }, "commit"],
//! }
//! ```

use super::node::Node;
use super::npm::{Package, is_version, skip_source, split_name};
use super::reading::Reading;
use super::{Format, SkipKind, json};
use crate::error::{IndexError, IndexLimits};
use crate::npm::parse_integrity;

/// Reads a `bun.lock`.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::BunLock.name();
    let document = json::parse(what, text, limits, true)?;
    let version = document.text_of("lockfileVersion").unwrap_or("none");
    if !matches!(version, "0" | "1" | "2") {
        let because = format!("versions 0 to 2 are known, found {version}");
        return Err(IndexError::malformed(what, "lockfileVersion", because));
    }
    for (key, entry) in document.get("packages").map(Node::entries).unwrap_or_default() {
        let line = Some(entry.line);
        let first = entry.items().first().and_then(Node::text);
        let Some((name, version)) = first.and_then(split_name) else {
            reading.skip(SkipKind::Unreadable, key, "it names no package", line);
            continue;
        };
        if !is_version(version) {
            skip_source(name, version, line, reading);
            continue;
        }
        let text = |at: usize| entry.items().get(at).and_then(Node::text).filter(|t| !t.is_empty());
        let integrity = text(3).map(parse_integrity).unwrap_or_default();
        let package = Package { name, version, resolved: text(1), integrity, dev: false, line };
        package.list(reading);
    }
    Ok(())
}
