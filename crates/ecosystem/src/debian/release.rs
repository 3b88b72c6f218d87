//! Release files (Debian's repository format, "Release files"), after their signature is verified.

use super::deb822::{Deb822Error, Deb822Limits, Paragraph, parse_paragraphs};
use countersign_core::{Sha256Digest, Timestamp};
use std::collections::BTreeMap;

/// What a Release file says. Only as trustworthy as the signature that covered its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who publishes it (`Debian`).
    pub origin: Option<String>,
    /// A label (`Debian-Security`).
    pub label: Option<String>,
    /// The suite (`stable`).
    pub suite: Option<String>,
    /// The code name (`bookworm`).
    pub codename: Option<String>,
    /// The release's version (`12.14`).
    pub version: Option<String>,
    /// When it was made: to be kept, against replay of an older one.
    pub date: Option<Timestamp>,
    /// When it stops being valid.
    pub valid_until: Option<Timestamp>,
    /// Whether indexes can also be fetched by their digest.
    pub acquire_by_hash: bool,
    /// The components (`main`).
    pub components: Vec<String>,
    /// The architectures (`amd64`).
    pub architectures: Vec<String>,
    /// The SHA-256 digest and the size in bytes of each index, by its path below the Release file.
    pub sha256: BTreeMap<String, (Sha256Digest, u64)>,
    /// The SHA-512 digest of each index in lower-case hexadecimal, by its path: apt asks by it where
    /// a file has one ([`Release::sha256`] is what bytes are compared with).
    pub sha512: BTreeMap<String, String>,
    /// Whether it lists only MD5 or SHA-1 digests, which prove nothing.
    pub weak_only: bool,
}

/// Reads the text of a Release file, or the signed text of an `InRelease` file.
///
/// # Errors
/// When it is not one well-formed paragraph, or a date or digest cannot be read.
pub fn parse_release(text: &str) -> Result<Release, Deb822Error> {
    let limits = Deb822Limits { max_paragraphs: 1, ..Deb822Limits::default() };
    let paragraph = parse_paragraphs(text, &limits)?
        .into_iter()
        .next()
        .ok_or(Deb822Error::missing(0, "Date"))?;
    let owned = |name| paragraph.get(name).map(str::to_owned);
    let words = |name| -> Vec<String> {
        paragraph.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let sha256 = digests(paragraph.get("SHA256").unwrap_or_default())?;
    let has = |name| paragraph.get(name).is_some_and(|v| !v.is_empty());
    Ok(Release {
        origin: owned("Origin"),
        label: owned("Label"),
        suite: owned("Suite"),
        codename: owned("Codename"),
        version: owned("Version"),
        date: time(&paragraph, "Date")?,
        valid_until: time(&paragraph, "Valid-Until")?,
        acquire_by_hash: paragraph
            .get("Acquire-By-Hash")
            .is_some_and(|v| v.eq_ignore_ascii_case("yes")),
        components: words("Components"),
        architectures: words("Architectures"),
        sha512: sha512(paragraph.get("SHA512").unwrap_or_default())?,
        weak_only: sha256.is_empty() && !has("SHA512") && (has("MD5Sum") || has("SHA1")),
        sha256,
    })
}

fn time(paragraph: &Paragraph, name: &str) -> Result<Option<Timestamp>, Deb822Error> {
    let Some(text) = paragraph.get(name) else { return Ok(None) };
    match Timestamp::parse_rfc2822(text) {
        Some(time) => Ok(Some(time)),
        None => Err(Deb822Error::bad_value(name, text)),
    }
}

fn sha512(text: &str) -> Result<BTreeMap<String, String>, Deb822Error> {
    let mut out = BTreeMap::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (&[digest, _, path], true) = (words.as_slice(), line.is_ascii()) else {
            return Err(Deb822Error::bad_value("SHA512", line));
        };
        if digest.len() != 128 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Deb822Error::bad_value("SHA512", line));
        }
        out.insert(path.to_owned(), digest.to_ascii_lowercase());
    }
    Ok(out)
}

/// Lines of `digest size path`.
fn digests(text: &str) -> Result<BTreeMap<String, (Sha256Digest, u64)>, Deb822Error> {
    let mut out = BTreeMap::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let bad = || Deb822Error::bad_value("SHA256", line);
        let mut words = line.split_whitespace();
        let (Some(digest), Some(size), Some(path), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad());
        };
        let digest: Sha256Digest = digest.parse().map_err(|_| bad())?;
        let size: u64 = size.parse().map_err(|_| bad())?;
        match out.insert(path.to_owned(), (digest, size)) {
            Some(other) if other != (digest, size) => return Err(bad()),
            _ => {}
        }
    }
    Ok(out)
}
