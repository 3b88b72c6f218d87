//! CycloneDX in JSON (ECMA-424), specification versions 1.4 to 1.6.

use super::node::Node;
use super::reading::{Reading, named_digest};
use super::spdx::list_purl;
use super::{Format, SkipKind, json};
use crate::error::{IndexError, IndexLimits};
use countersign_core::Ecosystem;

const KNOWN: [&str; 3] = ["1.4", "1.5", "1.6"];

/// Reads a CycloneDX document. Components within components are listed as the others are.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::CycloneDx.name();
    let document = json::parse(what, text, limits, false)?;
    if document.text_of("bomFormat") != Some("CycloneDX") {
        return Err(IndexError::malformed(what, "bomFormat", "it is not `CycloneDX`"));
    }
    let version = document.text_of("specVersion").unwrap_or("none");
    if !KNOWN.contains(&version) {
        let because = format!("versions 1.4 to 1.6 are known, found {version}");
        return Err(IndexError::malformed(what, "specVersion", because));
    }
    let components = document.get("components").map(Node::items).unwrap_or_default();
    let system = components
        .iter()
        .find(|c| c.text_of("type") == Some("operating-system"))
        .filter(|c| c.text_of("name") == Some("debian"))
        .and_then(|c| c.text_of("version"));
    for component in components {
        walk(component, system, reading);
    }
    // What the document is about may hold its parts too.
    let root = document.get("metadata").and_then(|m| m.get("component"));
    for component in root.and_then(|r| r.get("components")).map(Node::items).unwrap_or_default() {
        walk(component, system, reading);
    }
    Ok(())
}

/// Lists a component and those within it; the reader of JSON bounds how deep they lie.
fn walk(component: &Node<'_>, system: Option<&str>, reading: &mut Reading) {
    one(component, system, reading);
    for inner in component.get("components").map(Node::items).unwrap_or_default() {
        walk(inner, system, reading);
    }
}

fn one(component: &Node<'_>, system: Option<&str>, reading: &mut Reading) {
    let line = Some(component.line);
    let text = |key: &str| component.text_of(key).unwrap_or("");
    let name = format!("{} {}", text("name"), text("version"));
    match component.get("purl").map(|p| (p.line, p.text().unwrap_or(""))) {
        Some((line, purl)) => {
            let Some(listed) = list_purl(purl, Some(line), reading) else { return };
            if listed.release.is_none() && listed.purl.ecosystem() == Ecosystem::Debian {
                listed.release = system.map(str::to_owned);
            }
            let digests = component
                .get("hashes")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|h| named_digest(h.text_of("alg")?, h.text_of("content")?));
            listed.add_file(None, digests.collect());
        }
        None if matches!(text("type"), "library" | "framework") => {
            reading.skip(SkipKind::Unreadable, &name, "it has no purl", line);
        }
        None => {
            let because = format!("it is of type `{}`, and has no purl", text("type"));
            reading.skip(SkipKind::Elsewhere, &name, because, line);
        }
    }
}
