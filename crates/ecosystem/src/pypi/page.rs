//! A project page: the list of a project's files.

use super::filename::{FileKind, parse_file_name_for};
use super::{html, json, normalize_name, validate_name};
use crate::error::{IndexError, IndexLimits};
use crate::text::is_web;
use crate::version::compare;
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest, Timestamp};
use std::collections::HashSet;
use url::Url;

pub(super) const WHAT: &str = "the project page";

/// A project's page, as an upstream tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProjectPage {
    /// The project's normalized name (PEP 503).
    pub name: String,
    /// Its files, in the upstream's order.
    pub files: Vec<IndexFile>,
    /// How many files were left out: foreign or unsafe names, other schemes than http(s), digests
    /// that are none.
    pub rejected: usize,
    /// The project's status and its reason, when the index tells them (PEP 792): `quarantined`.
    pub status: Option<String>,
    /// The publisher's or the index's reason for the status.
    pub status_reason: Option<String>,
}

/// One file of a project page. All of it is the upstream's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The file's name, checked to belong to the project.
    pub file_name: String,
    /// Where its bytes are: absolute, http or https, without a fragment.
    pub url: Url,
    /// The digests that its bytes should have; those of unknown algorithms are left out.
    pub digests: Vec<ExpectedDigest>,
    /// The Python versions that it supports (PEP 345, `Requires-Python`).
    pub requires_python: Option<String>,
    /// Why it was yanked (PEP 592); empty when no reason is given, `None` when it was not.
    pub yanked: Option<String>,
    /// When it was uploaded (PEP 700).
    pub upload_time: Option<Timestamp>,
    /// Its size in bytes (PEP 700).
    pub size: Option<u64>,
    /// Digests of its separate metadata file (PEP 658, PEP 714); empty when there is such a file
    /// and no digest of it, `None` when there is none.
    pub core_metadata: Option<Vec<ExpectedDigest>>,
    /// Whether there is a detached OpenPGP signature (PEP 503), when the index tells.
    pub gpg_sig: Option<bool>,
    /// Where its provenance object is (PEP 740).
    pub provenance: Option<Url>,
    /// What kind of distribution it is, by its name.
    pub kind: FileKind,
    /// The version in its name, normalized where PEP 440 knows it.
    pub version: Option<String>,
}

/// What one entry of a page says, before it is checked.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub(super) file_name: String,
    pub(super) url: String,
    pub(super) digests: Vec<(String, String)>,
    pub(super) requires_python: Option<String>,
    pub(super) yanked: Option<String>,
    pub(super) upload_time: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) core_metadata: Option<Vec<(String, String)>>,
    pub(super) gpg_sig: Option<bool>,
    pub(super) provenance: Option<String>,
}

/// Reads a project page: PEP 691/700 JSON or PEP 503 HTML, told apart by the first character,
/// since content types lie. `page_url` is the URL that answered: relative links start there, and
/// its last segment names the project.
///
/// # Errors
/// When the page is over a limit, malformed, of an unknown major version, or about another project.
pub fn parse_project(
    content_type: &str,
    body: &[u8],
    page_url: &Url,
    limits: &IndexLimits,
) -> Result<ProjectPage, IndexError> {
    limits.check_bytes(WHAT, body.len())?;
    let name = project_of(page_url)?;
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let first = text.iter().copied().find(|b| !b.is_ascii_whitespace());
    let declared = content_type.to_ascii_lowercase();
    let mut page = match first {
        Some(b'{') => json::parse(text, page_url, name, limits)?,
        Some(_) if first == Some(b'<') || declared.contains("html") => {
            html::parse(text, page_url, name, limits)?
        }
        Some(_) => {
            return Err(IndexError::malformed(WHAT, "the start", "it is neither JSON nor HTML"));
        }
        // An empty answer must not read as a project without files.
        None => return Err(IndexError::malformed(WHAT, "the start", "it is empty")),
    };
    page.drop_duplicates();
    Ok(page)
}

/// The project's name in the page's URL: its last segment that is no index file.
fn project_of(page_url: &Url) -> Result<String, IndexError> {
    page_url
        .path_segments()
        .and_then(|segments| segments.rev().find(|s| !s.is_empty() && !s.starts_with("index.")))
        .filter(|name| validate_name(name))
        .map(normalize_name)
        .ok_or_else(|| {
            IndexError::malformed(WHAT, page_url.path(), "the URL does not end with a project name")
        })
}

impl ProjectPage {
    /// Checks an entry and takes it in, or counts it as rejected.
    pub(super) fn take(&mut self, raw: RawFile, base: &Url) {
        match check(&self.name, raw, base) {
            Some(file) => self.files.push(file),
            None => self.rejected += 1,
        }
    }

    /// Keeps the first of several files of one name: which of them a client would take is its own.
    fn drop_duplicates(&mut self) {
        let mut seen = HashSet::new();
        let before = self.files.len();
        self.files.retain(|f| seen.insert(f.file_name.clone()));
        self.rejected += before - self.files.len();
    }

    /// The distinct versions of the files, oldest first (PEP 700, `versions`).
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        let mut out: Vec<&str> = self.files.iter().filter_map(|f| f.version.as_deref()).collect();
        out.sort_by(|a, b| {
            compare(Ecosystem::Pypi, a, b).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
        });
        out.dedup();
        out.into_iter().map(str::to_owned).collect()
    }

    /// The file of that name.
    #[must_use]
    pub fn file(&self, file_name: &str) -> Option<&IndexFile> {
        self.files.iter().find(|f| f.file_name == file_name)
    }
}

fn check(project: &str, raw: RawFile, base: &Url) -> Option<IndexFile> {
    let dist = parse_file_name_for(project, &raw.file_name)?;
    let mut url = base.join(&raw.url).ok().filter(is_web)?;
    let mut said = raw.digests;
    said.extend(pairs(url.fragment().unwrap_or("")));
    let digests = read_digests(&said)?;
    url.set_fragment(None);
    let core_metadata = match raw.core_metadata {
        Some(pairs) => Some(read_digests(&pairs)?),
        None => None,
    };
    Some(IndexFile {
        file_name: raw.file_name,
        url,
        digests,
        requires_python: raw
            .requires_python
            .map(|t| crate::text::clean(&t))
            .filter(|t| !t.is_empty()),
        yanked: raw.yanked.map(|t| crate::text::clean(&t)),
        upload_time: raw.upload_time.and_then(|t| Timestamp::parse(&t)),
        size: raw.size,
        core_metadata,
        gpg_sig: raw.gpg_sig,
        provenance: raw.provenance.and_then(|p| base.join(&p).ok()).filter(is_web),
        kind: dist.kind,
        version: Some(dist.version),
    })
}

/// The digests of known algorithms; `None` when one is malformed or two of one algorithm differ,
/// for a digest that cannot be compared must not pass as one that was never given.
fn read_digests(pairs: &[(String, String)]) -> Option<Vec<ExpectedDigest>> {
    let mut out: Vec<ExpectedDigest> = Vec::new();
    for (name, value) in pairs {
        if let Some(algorithm) = Algorithm::from_name(name) {
            let digest = ExpectedDigest::from_hex(algorithm, value).ok()?;
            match out.iter().find(|d| d.algorithm() == algorithm) {
                Some(other) if *other != digest => return None,
                Some(_) => {}
                None => out.push(digest),
            }
        }
    }
    Some(out)
}

/// `name=value` pairs with `&` between them.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
