//! A package's own control file and its file name.

use super::deb822::{Deb822Error, Deb822Limits, parse_paragraphs};

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The package's name.
    pub package: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
}

/// Reads a package's `control` file.
///
/// # Errors
/// When it is not one well-formed paragraph with the three fields.
pub fn parse_control(bytes: &[u8]) -> Result<Control, Deb822Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Deb822Error::NotUtf8)?;
    let limits = Deb822Limits { max_bytes: 4 << 20, max_paragraphs: 1, ..Deb822Limits::default() };
    let paragraphs = parse_paragraphs(text, &limits)?;
    let paragraph = match paragraphs.as_slice() {
        [one] => one,
        [] => return Err(Deb822Error::missing(0, "Package")),
        [_, ..] => return Err(Deb822Error::TooLarge { what: "paragraphs", limit: 1 }),
    };
    Ok(Control {
        package: paragraph.require("Package")?.to_owned(),
        version: paragraph.require("Version")?.to_owned(),
        architecture: paragraph.require("Architecture")?.to_owned(),
    })
}

/// The package, version and architecture that a package's path or URL names by its last component
/// (`pool/main/h/hello/hello_2.10-3_amd64.deb`), with percent-encoding undone: apt's cache spells
/// an epoch's colon `%3a`, and archives leave the epoch out.
#[must_use]
pub fn deb_file_name(path: &str) -> Option<(String, String, String)> {
    let name = path.rsplit('/').next()?;
    let stem = [".deb", ".udeb", ".ddeb"].iter().find_map(|s| name.strip_suffix(s))?;
    let decoded = percent_decode(stem)?;
    let mut parts = decoded.split('_');
    let (Some(package), Some(version), Some(architecture), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    // The letters of names, versions and architectures (Debian Policy, sections 5.6.7 and 5.6.12).
    let only = |text: &str, extra: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    let good = only(package, "+-.") && only(version, "+-.~:") && only(architecture, "-");
    good.then(|| (package.to_owned(), version.to_owned(), architecture.to_owned()))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let (digits, after) = tail.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| !d.contains('+'))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(out).ok()
}
