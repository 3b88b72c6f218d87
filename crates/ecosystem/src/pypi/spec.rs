//! One requirement, as a requirements file or a command line spells it.

use super::{normalize_name, validate_name};
use pep440_rs::Version;
use std::str::FromStr;

/// What a requirement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// One exact version: `name==1.2`.
    Pinned {
        /// The project's normalized name.
        name: String,
        /// The extras asked for.
        extras: Vec<String>,
        /// The version, as written.
        version: String,
        /// The environment marker (PEP 508), unread.
        marker: Option<String>,
    },
    /// A project under a specifier, which may be empty: `name>=1`.
    Named {
        /// The project's normalized name.
        name: String,
        /// The extras asked for.
        extras: Vec<String>,
        /// The version specifier, as written.
        specifier: String,
        /// The environment marker (PEP 508), unread.
        marker: Option<String>,
    },
    /// An archive at a URL: it bypasses the index.
    Url {
        /// The project's normalized name, when the requirement tells it.
        name: Option<String>,
        /// The URL as written, with its fragment.
        url: String,
    },
    /// A version control checkout: it bypasses the index.
    Vcs {
        /// The project's normalized name, when the requirement tells it.
        name: Option<String>,
        /// The URL as written (`git+https://…`).
        url: String,
    },
    /// A file or folder of this machine: it bypasses the index.
    LocalPath {
        /// The project's normalized name, when the requirement tells it.
        name: Option<String>,
        /// The path or `file:` URL as written.
        path: String,
    },
    /// Nothing that can be read; never to be taken as harmless.
    Unreadable {
        /// The text as written.
        text: String,
    },
}

const VCS: [&str; 4] = ["git", "hg", "svn", "bzr"];
const ARCHIVES: [&str; 7] = [".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".tar"];

/// Tells what one requirement asks for (PEP 508, and the URLs and paths that installers take
/// beside it).
#[must_use]
pub fn classify_spec(text: &str) -> Spec {
    let text = text.trim();
    if let Some(spec) = by_url(None, text) {
        return spec;
    }
    let Some((name, extras, rest)) = split_name(text) else {
        return by_path(text);
    };
    if let Some(url) = rest.strip_prefix('@') {
        // `;` may stand in a URL; a marker needs a blank before it (PEP 508).
        let url = url.trim();
        let url = url.split_once(" ;").map_or(url, |(u, _)| u.trim_end());
        return by_url(Some(name), url).unwrap_or_else(|| unreadable(text));
    }
    let (specifier, marker) = match rest.split_once(';') {
        Some((s, m)) => (s.trim(), Some(m.trim().to_owned()).filter(|m| !m.is_empty())),
        None => (rest, None),
    };
    let specifier =
        specifier.strip_prefix('(').and_then(|s| s.strip_suffix(')')).unwrap_or(specifier).trim();
    if !specifier.is_empty() && !specifier.starts_with(['=', '<', '>', '!', '~']) {
        return by_path(text);
    }
    match pin(specifier) {
        Some(version) => Spec::Pinned { name, extras, version, marker },
        None if readable(specifier) => {
            Spec::Named { name, extras, specifier: specifier.to_owned(), marker }
        }
        None => unreadable(text),
    }
}

fn unreadable(text: &str) -> Spec {
    Spec::Unreadable { text: text.to_owned() }
}

/// The exact version among the clauses of a specifier: `==1.2` or `===1.2`, not `==1.*`.
fn pin(specifier: &str) -> Option<String> {
    specifier.split(',').map(str::trim).find_map(|clause| {
        if let Some(version) = clause.strip_prefix("===") {
            let version = version.trim();
            return (!version.is_empty()).then(|| version.to_owned());
        }
        let version = clause.strip_prefix("==")?.trim();
        Version::from_str(version).is_ok().then(|| version.to_owned())
    })
}

fn readable(specifier: &str) -> bool {
    specifier.is_empty() || pep440_rs::VersionSpecifiers::from_str(specifier).is_ok()
}

/// The name, the extras, and what follows them.
fn split_name(text: &str) -> Option<(String, Vec<String>, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    if !validate_name(name) || ARCHIVES.iter().any(|a| name.to_ascii_lowercase().ends_with(a)) {
        return None;
    }
    let rest = rest.trim_start();
    let Some(inner) = rest.strip_prefix('[') else {
        return Some((normalize_name(name), Vec::new(), rest));
    };
    let (extras, rest) = inner.split_once(']')?;
    let extras: Vec<String> =
        extras.split(',').map(|e| e.trim().to_owned()).filter(|e| !e.is_empty()).collect();
    if !extras.iter().all(|e| validate_name(e)) {
        return None;
    }
    Some((normalize_name(name), extras, rest.trim_start()))
}

/// A requirement that is, or points by `@` to, a URL.
fn by_url(name: Option<String>, text: &str) -> Option<Spec> {
    let (scheme, rest) = text.split_once(':')?;
    let schemelike = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    // One letter is a drive of Windows.
    if scheme.len() < 2 || !scheme.bytes().all(schemelike) {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let name = name.or_else(|| egg_name(text));
    let outer = scheme.split('+').next().unwrap_or("");
    if scheme == "file" {
        return Some(Spec::LocalPath { name, path: text.to_owned() });
    }
    if VCS.contains(&outer) || scheme == "ssh" {
        return Some(Spec::Vcs { name, url: text.to_owned() });
    }
    rest.starts_with("//").then(|| Spec::Url { name, url: text.to_owned() })
}

/// The project in a URL's `#egg=name` fragment.
fn egg_name(url: &str) -> Option<String> {
    let (_, fragment) = url.split_once('#')?;
    let egg = fragment.split('&').find_map(|part| part.strip_prefix("egg="))?;
    split_name(egg.trim()).map(|(name, _, _)| name)
}

fn by_path(text: &str) -> Spec {
    let lower = text.to_ascii_lowercase();
    let bare = lower.split(['[', ';']).next().unwrap_or("").trim_end();
    let is_path = text.starts_with(['.', '/', '~'])
        || bare.contains(['/', '\\'])
        || ARCHIVES.iter().any(|a| bare.ends_with(a));
    if text.is_empty() || !is_path {
        return unreadable(text);
    }
    Spec::LocalPath { name: None, path: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exact_pins_are_found() {
        for (text, want) in [
            ("jinja2==2.4.1", Some(("jinja2", "2.4.1"))),
            (
                "Zope.Interface [a, b] == 5.0 ; python_version < '4'",
                Some(("zope-interface", "5.0")),
            ),
            ("x (==1.0)", Some(("x", "1.0"))),
            ("x===2004d", Some(("x", "2004d"))),
            ("x>=1,==1.2", Some(("x", "1.2"))),
            ("x==1.*", None),
            ("x>=1", None),
            ("x", None),
            ("x~=1.4", None),
        ] {
            let got = match classify_spec(text) {
                Spec::Pinned { name, version, .. } => Some((name, version)),
                Spec::Named { .. } => None,
                other => panic!("{text}: {other:?}"),
            };
            let got = got.as_ref().map(|(n, v)| (n.as_str(), v.as_str()));
            assert_eq!(got, want, "{text}");
        }
        let Spec::Pinned { extras, marker, .. } = classify_spec("x[a,b]==1 ; os_name == 'nt'")
        else {
            panic!()
        };
        assert_eq!(extras, ["a", "b"]);
        assert_eq!(marker.as_deref(), Some("os_name == 'nt'"));
    }

    #[test]
    fn side_doors_are_told_apart() {
        for (text, want, name) in [
            ("x @ https://files.example/x-1.0.tar.gz ; os_name == 'nt'", "url", Some("x")),
            ("x@https://files.example/x.zip", "url", Some("x")),
            ("https://files.example/x.zip#egg=X_y", "url", Some("x-y")),
            ("git+https://git.example/a/b@v1#egg=b&subdirectory=c", "vcs", Some("b")),
            ("x @ git+ssh://git@git.example/a", "vcs", Some("x")),
            ("git+file:///a", "vcs", None),
            ("hg+http://hg.example/a", "vcs", None),
            ("x @ file:///tmp/x", "path", Some("x")),
            ("file:./x", "path", None),
            ("./x", "path", None),
            ("../x[extra]", "path", None),
            ("~/x", "path", None),
            (".", "path", None),
            ("a/b", "path", None),
            ("a\\b", "path", None),
            ("C:\\x", "path", None),
            ("x-1.0-py3-none-any.whl", "path", None),
            ("x.tar.gz", "path", None),
            ("x 1.0", "unreadable", None),
            ("x==", "unreadable", None),
            ("x==1.0.bad!", "unreadable", None),
            ("x @ y", "unreadable", None),
            ("x[a", "unreadable", None),
            ("", "unreadable", None),
            ("-x", "unreadable", None),
        ] {
            let (kind, got) = match classify_spec(text) {
                Spec::Url { name, .. } => ("url", name),
                Spec::Vcs { name, .. } => ("vcs", name),
                Spec::LocalPath { name, .. } => ("path", name),
                Spec::Unreadable { .. } => ("unreadable", None),
                other => panic!("{text}: {other:?}"),
            };
            assert_eq!((kind, got.as_deref()), (want, name), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_classified(text in "\\PC{0,40}|[a-z]{1,4}[\\[\\]@=<>~;:/. -]{0,8}[a-z0-9.]{0,8}") {
            if let Spec::Pinned { version, .. } = classify_spec(&text) {
                prop_assert!(!version.contains('*') || text.contains("==="));
            }
        }
    }
}
