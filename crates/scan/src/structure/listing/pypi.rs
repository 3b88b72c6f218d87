//! Python: a wheel's metadata against the digest that the index gives of it (PEP 658), and a source
//! distribution's against a wheel's of the same version (PEP 643).

use super::Listing;
use crate::structure::contents::Contents;
use countersign_core::{Sha256Digest, normalize_pypi_name};
use std::collections::BTreeMap;

pub(super) fn of_wheel(contents: &Contents) -> Option<Listing> {
    let mut files = contents.in_top_directory("METADATA");
    let (_, file) = files.rfind(|(top, _)| top.ends_with(".dist-info"))?;
    let mut out = of_metadata(&file.content);
    out.put("metadata", "METADATA", &Sha256Digest::of(&file.content).to_hex());
    Some(out)
}

/// What a source distribution promises of every wheel that is built of it: nothing before metadata
/// version 2.2, and no field that it calls dynamic.
pub(super) fn of_source(contents: &Contents) -> Option<Listing> {
    let (_, file) = contents.in_top_directory("PKG-INFO").next_back()?;
    let text = String::from_utf8_lossy(&file.content).into_owned();
    let version = headers(&text).find(|(key, _)| key == "metadata-version");
    let (major, minor) = version.as_ref()?.1.split_once('.')?;
    if (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?) < (2, 2) {
        return None;
    }
    let mut out = of_metadata(&file.content);
    for (_, field) in headers(&text).filter(|(key, _)| key == "dynamic") {
        match field.to_ascii_lowercase().as_str() {
            "requires-dist" => drop(out.0.remove("dependencies")),
            "requires-python" => drop(out.0.remove("python")),
            _ => {}
        }
    }
    Some(out)
}

/// The fields that an installer acts on (the core metadata specification).
pub(super) fn of_metadata(content: &[u8]) -> Listing {
    let text = String::from_utf8_lossy(content);
    let mut out = Listing::default();
    for what in ["dependencies", "python"] {
        out.0.insert(what.to_owned(), BTreeMap::new());
    }
    for (key, value) in headers(&text) {
        match key.as_str() {
            "requires-dist" => {
                let (name, rest) = requirement(&value);
                let marker = rest.split_once(';').map_or("", |(_, marker)| marker.trim());
                let place = if marker.is_empty() { String::new() } else { format!("{marker} ") };
                let wanted = rest.split(';').next().unwrap_or_default();
                let wanted: String = wanted
                    .chars()
                    .filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')'))
                    .collect();
                out.put("dependencies", &format!("{}{name}", place.replace('"', "'")), &wanted);
            }
            "requires-python" => out.put("python", "Requires-Python", &value),
            _ => {}
        }
    }
    out
}

/// A requirement's name, normalized, and what follows it (PEP 508).
fn requirement(text: &str) -> (String, &str) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (normalize_pypi_name(name), rest)
}

fn headers(text: &str) -> impl Iterator<Item = (String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().to_owned()))
}
