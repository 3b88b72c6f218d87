//! A source package's description (`.dsc`): what its uploader says it is (Debian Policy, section
//! 5.4).

use super::deb822::{Deb822Error, Deb822Limits, parse_paragraphs};

/// Bytes of a description. The largest in Debian have about 50 KiB.
const MAX_BYTES: usize = 1 << 20;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// What a description says. Its signature is its uploader's, by a key that no list of the archive
/// names, and is not verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dsc {
    /// The source package's name.
    pub source: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// Whether it carries a signature, verified or not.
    pub signed: bool,
}

/// Reads a description, with or without a cleartext signature around it.
///
/// # Errors
/// When it is too large, no text, not one well-formed paragraph, or names no source and version.
pub fn parse_dsc(bytes: &[u8]) -> Result<Dsc, Deb822Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Deb822Error::TooLarge { what: "bytes", limit: MAX_BYTES as u64 });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Deb822Error::NotUtf8)?;
    let (text, signed) = match text.trim_start().strip_prefix(BEGIN) {
        Some(rest) => (signed_text(rest), true),
        None => (text.to_owned(), false),
    };
    let limits =
        Deb822Limits { max_bytes: MAX_BYTES, max_paragraphs: 1, ..Deb822Limits::default() };
    let paragraphs = parse_paragraphs(&text, &limits)?;
    let paragraph = match paragraphs.as_slice() {
        [one] => one,
        [] => return Err(Deb822Error::missing(0, "Source")),
        [_, ..] => return Err(Deb822Error::TooLarge { what: "paragraphs", limit: 1 }),
    };
    Ok(Dsc {
        source: paragraph.require("Source")?.to_owned(),
        version: paragraph.require("Version")?.to_owned(),
        signed,
    })
}

/// The text between the armour's headers and the signature, dash escapes undone (RFC 9580,
/// section 7).
fn signed_text(rest: &str) -> String {
    let mut out = String::with_capacity(rest.len());
    // What is left of the first line, and then headers (`Hash: SHA512`) up to an empty line.
    let body = rest.lines().skip(1).skip_while(|l| !l.trim().is_empty());
    for line in body.take_while(|l| l.trim_end() != SIGNATURE) {
        out.push_str(line.strip_prefix("- ").unwrap_or(line));
        out.push('\n');
    }
    out
}
