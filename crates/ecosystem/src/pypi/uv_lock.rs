//! `uv.lock`: what uv will fetch, with digests.

use crate::error::{IndexError, IndexLimits};
use crate::toml_doc;
use countersign_core::{Algorithm, ExpectedDigest, normalize_pypi_name};
use toml::de::DeValue;

const WHAT: &str = "the uv lock file";

/// Where a locked distribution comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// A package index.
    Registry,
    /// A git checkout.
    Git,
    /// An archive at a URL.
    Url,
    /// An archive or folder of this machine.
    Path,
    /// A folder of this machine, installed in place.
    Editable,
    /// A project that is not installed itself.
    Virtual,
    /// A source that is not known here; never to be taken as harmless.
    Unknown,
}

/// One package of a `uv.lock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedDist {
    /// The project's normalized name.
    pub name: String,
    /// The version, as written; `None` for a project that computes its own.
    pub version: Option<String>,
    /// Where it comes from.
    pub source: SourceKind,
    /// The address or path of the source, as written.
    pub location: String,
    /// The index's address, when it comes from an index.
    pub registry: Option<String>,
    /// The files that may be fetched.
    pub files: Vec<LockedFile>,
}

/// One file of a locked distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFile {
    /// Its URL, path or file name, as written.
    pub url: String,
    /// Its digest.
    pub digest: Option<ExpectedDigest>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// Reads a `uv.lock` of version 1.
///
/// # Errors
/// When it is over the default limits, no TOML, or lacks what every version 1 has.
pub fn parse_uv_lock(text: &str) -> Result<Vec<LockedDist>, IndexError> {
    let limits = IndexLimits::default();
    limits.check_bytes(WHAT, text.len())?;
    let top = toml_doc::parse(WHAT, text)?;
    match toml_doc::number(&top, "version") {
        Some(1) => {}
        other => {
            let found = other.map_or_else(|| "none".to_owned(), |v| v.to_string());
            let because = format!("version 1 is known, found {found}");
            return Err(IndexError::malformed(WHAT, "version", because));
        }
    }
    let (packages, length) = toml_doc::list(WHAT, &top, "package")?;
    limits.check_entries(WHAT, length)?;
    packages.enumerate().map(|(at, p)| package(at, p)).collect()
}

fn package(at: usize, value: &DeValue<'_>) -> Result<LockedDist, IndexError> {
    let place = format!("package {}", at + 1);
    let name = toml_doc::text(value, "name")
        .filter(|n| super::validate_name(n))
        .ok_or_else(|| IndexError::malformed(WHAT, &place, "it has no valid name"))?;
    let (source, location) = source(toml_doc::get(value, "source"));
    let mut files = Vec::new();
    let wheels = toml_doc::items(value, "wheels");
    for entry in toml_doc::get(value, "sdist").into_iter().chain(wheels) {
        let file = file(entry).ok_or_else(|| {
            IndexError::malformed(WHAT, name, "a file has no URL or a broken hash")
        })?;
        files.push(file);
    }
    Ok(LockedDist {
        name: normalize_pypi_name(name),
        version: toml_doc::text(value, "version").map(str::to_owned),
        source,
        registry: (source == SourceKind::Registry).then(|| location.clone()),
        location,
        files,
    })
}

fn source(value: Option<&DeValue<'_>>) -> (SourceKind, String) {
    const KINDS: [(&str, SourceKind); 7] = [
        ("registry", SourceKind::Registry),
        ("git", SourceKind::Git),
        ("url", SourceKind::Url),
        ("path", SourceKind::Path),
        ("directory", SourceKind::Path),
        ("editable", SourceKind::Editable),
        ("virtual", SourceKind::Virtual),
    ];
    KINDS
        .iter()
        .find_map(|(key, kind)| Some((*kind, toml_doc::text(value?, key)?.to_owned())))
        .unwrap_or((SourceKind::Unknown, String::new()))
}

/// A file entry; `None` when it names nothing or its hash is none. The digest of a direct URL's
/// file stands in its `hash` too, with no URL of its own.
fn file(entry: &DeValue<'_>) -> Option<LockedFile> {
    let text = |key: &str| toml_doc::text(entry, key);
    let digest = match text("hash") {
        None => None,
        Some(hash) => {
            let (algorithm, hex) = hash.split_once(':')?;
            Some(ExpectedDigest::from_hex(Algorithm::from_name(algorithm)?, hex).ok()?)
        }
    };
    let url = ["url", "path", "filename"].iter().find_map(|key| text(key)).unwrap_or("");
    if url.is_empty() && digest.is_none() {
        return None;
    }
    let size = toml_doc::number(entry, "size").and_then(|n| u64::try_from(n).ok());
    Some(LockedFile { url: url.to_owned(), digest, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_files_and_sources_are_read() {
        let sha = "1".repeat(64);
        let text = format!(
            r#"version = 1
requires-python = ">=3.12"
[[package]]
name = "Demo_x"
version = "1.0"
source = {{ registry = "https://registry.example/simple" }}
sdist = {{ url = "https://files.example/demo_x-1.0.tar.gz", hash = "sha256:{sha}", size = 12 }}
wheels = [ {{ url = "https://files.example/demo_x-1.0-py3-none-any.whl", hash = "sha256:{sha}" }} ]
[[package]]
name = "g"
version = "2"
source = {{ git = "https://git.example/g?rev=1#abc" }}
[[package]]
name = "d"
version = "3"
source = {{ url = "https://files.example/d.tar.gz" }}
sdist = {{ hash = "sha256:{sha}" }}
[[package]]
name = "me"
source = {{ editable = "." }}
"#
        );
        let locked = parse_uv_lock(&text).unwrap();
        let kinds: Vec<_> = locked.iter().map(|l| (l.name.as_str(), l.source)).collect();
        assert_eq!(
            kinds,
            [
                ("demo-x", SourceKind::Registry),
                ("g", SourceKind::Git),
                ("d", SourceKind::Url),
                ("me", SourceKind::Editable),
            ]
        );
        assert_eq!(locked[0].registry.as_deref(), Some("https://registry.example/simple"));
        assert_eq!(locked[0].files.len(), 2);
        assert_eq!(locked[0].files[0].size, Some(12));
        assert_eq!(locked[0].files[1].digest.as_ref().unwrap().to_hex(), sha);
        assert!(locked[2].files[0].digest.is_some());
        assert_eq!(locked[3].version, None);
    }

    #[test]
    fn what_is_no_lock_is_an_error() {
        for text in [
            "",
            "version = 2",
            "version = 1\npackage = 3",
            "version = 1\n[[package]]\n",
            "version = 1\n[[package]]\nname = 'a'\nsdist = { url = 'u', hash = 'sha256:1' }\n",
            "not toml at all",
            "version = 1\n[[package]]\nname = '../a'\n",
        ] {
            assert!(parse_uv_lock(text).is_err(), "{text}");
        }
        let deep = format!("version = 1\nx = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse_uv_lock(&deep).is_err());
    }
}
