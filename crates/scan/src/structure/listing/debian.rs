//! Debian: a package's control file against its paragraph in the archive's `Packages` file.

use super::Listing;
use countersign_ecosystem::debian::{Deb822Limits, parse_paragraphs};

/// Fields that apt and dpkg act on (Debian Policy, chapters 5 and 7). An archive may override section
/// and priority, and adds where the file lies.
const RELATIONS: [&str; 6] =
    ["Depends", "Pre-Depends", "Conflicts", "Breaks", "Replaces", "Provides"];
const FIELDS: [&str; 3] = ["Architecture", "Essential", "Multi-Arch"];

pub(super) fn of_control(text: &[u8]) -> Option<Listing> {
    let text = std::str::from_utf8(text).ok()?;
    let limits = Deb822Limits { max_bytes: 4 << 20, max_paragraphs: 1, ..Deb822Limits::default() };
    let paragraphs = parse_paragraphs(text, &limits).ok()?;
    let paragraph = paragraphs.first()?;
    let mut out = Listing::default();
    for field in FIELDS {
        if let Some(value) = paragraph.get(field) {
            out.put("fields", field, value.trim());
        }
    }
    for field in RELATIONS {
        let Some(value) = paragraph.get(field) else { continue };
        for relation in value.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            let name = relation.split([' ', '(', '|', ':']).next().unwrap_or(relation);
            let rest: String = relation.chars().filter(|c| !c.is_whitespace()).collect();
            let place = if field == "Depends" { String::new() } else { format!("{field} ") };
            out.put("dependencies", &format!("{place}{rest}"), name);
        }
    }
    Some(out)
}
