//! Package specs of the command line and of `package.json`: `name@what`.

use super::name::validate_name;
use crate::version::is_valid;
use countersign_core::Ecosystem;

/// A package spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmSpec {
    /// The name under which it is installed, when the spec tells one.
    pub name: Option<String>,
    /// What it asks for.
    pub kind: NpmSpecKind,
}

/// What a package spec asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NpmSpecKind {
    /// One exact version.
    Exact(String),
    /// A range of versions; a name alone asks for `*`.
    Range(String),
    /// A dist-tag.
    Tag(String),
    /// Another package under this name: `npm:real@1`.
    Alias {
        /// The real package's name.
        name: String,
        /// What is asked of it: a version, a range or a tag.
        kind: Box<NpmSpecKind>,
    },
    /// A tarball at a URL: it bypasses the registry.
    Url(String),
    /// A git repository: it bypasses the registry.
    Git(String),
    /// A tarball or folder of this machine: it bypasses the registry.
    LocalPath(String),
    /// Nothing that can be read; never to be taken as harmless.
    Invalid(String),
}

/// Prefixes that name a forge: `github:user/repo`.
const FORGES: [&str; 5] = ["github", "gitlab", "bitbucket", "gist", "sourcehut"];
/// Hosts whose two-segment https URLs are repositories to npm, not tarballs.
const FORGE_HOSTS: [&str; 4] = ["github.com", "gitlab.com", "bitbucket.org", "git.sr.ht"];

/// Tells what a package spec asks for.
#[must_use]
pub fn classify_spec(text: &str) -> NpmSpec {
    let text = text.trim();
    let unnamed = |kind| NpmSpec { name: None, kind };
    if is_url(text) || is_file(text) || is_scp(text) {
        return unnamed(by_source(text).unwrap_or_else(|| invalid(text)));
    }
    let at = text.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(i, _)| i);
    let (name, what) = match at.and_then(|at| text.split_at_checked(at)) {
        Some((name, rest)) => (name, rest.strip_prefix('@').unwrap_or(rest).trim()),
        None => (text, ""),
    };
    if !validate_name(name) {
        // `user/repo`, `user/repo#v1`, `some/folder`.
        return unnamed(by_source(text).unwrap_or_else(|| invalid(text)));
    }
    if at.is_none() && is_archive(name) && !name.starts_with('@') {
        return unnamed(NpmSpecKind::LocalPath(text.to_owned()));
    }
    let kind = match what.get(..4).filter(|p| p.eq_ignore_ascii_case("npm:")) {
        Some(_) => alias(what.get(4..).unwrap_or("")).unwrap_or_else(|| invalid(what)),
        None => by_source(what).unwrap_or_else(|| from_registry(what)),
    };
    NpmSpec { name: Some(name.to_owned()), kind }
}

fn invalid(text: &str) -> NpmSpecKind {
    NpmSpecKind::Invalid(text.to_owned())
}

/// The target of an alias, which must be a registry's package.
fn alias(target: &str) -> Option<NpmSpecKind> {
    let at =
        target.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(target.len(), |(i, _)| i);
    let (name, rest) = target.split_at_checked(at)?;
    let what = rest.strip_prefix('@').unwrap_or(rest).trim();
    if !validate_name(name) || by_source(what).is_some() {
        return None;
    }
    let kind = match from_registry(what) {
        NpmSpecKind::Invalid(_) => return None,
        kind => Box::new(kind),
    };
    Some(NpmSpecKind::Alias { name: name.to_owned(), kind })
}

fn from_registry(what: &str) -> NpmSpecKind {
    let owned = what.to_owned();
    let exact = what.trim_start_matches(['=', ' ']);
    if what.is_empty() {
        NpmSpecKind::Range("*".to_owned())
    } else if is_valid(Ecosystem::Npm, exact) {
        NpmSpecKind::Exact(exact.trim_start_matches(['v', 'V', ' ']).to_owned())
    } else if is_range(what) {
        NpmSpecKind::Range(owned)
    } else if what.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!'()*".contains(&b)) {
        NpmSpecKind::Tag(owned)
    } else {
        NpmSpecKind::Invalid(owned)
    }
}

fn is_range(what: &str) -> bool {
    let starts = what.starts_with(|c: char| c.is_ascii_digit() || "^~<>=*xXvV|".contains(c));
    starts && what.len() <= 256 && nodejs_semver::Range::parse(what).is_ok()
}

/// What does not come from a registry: folders, URLs, repositories.
fn by_source(what: &str) -> Option<NpmSpecKind> {
    let owned = || what.to_owned();
    if is_file(what) {
        return Some(NpmSpecKind::LocalPath(owned()));
    }
    if let Some((scheme, rest)) = what.split_once(':').filter(|_| is_url(what)) {
        let scheme = scheme.to_ascii_lowercase();
        return Some(match scheme.as_str() {
            "http" | "https" if is_repository(rest) => NpmSpecKind::Git(owned()),
            "http" | "https" => NpmSpecKind::Url(owned()),
            "git" | "ssh" => NpmSpecKind::Git(owned()),
            forge if FORGES.contains(&forge) || forge.starts_with("git+") => {
                NpmSpecKind::Git(owned())
            }
            _ => NpmSpecKind::Invalid(owned()),
        });
    }
    if is_scp(what) {
        return Some(NpmSpecKind::Git(owned()));
    }
    if !what.contains(['/', '\\']) {
        return is_archive(what).then(|| NpmSpecKind::LocalPath(owned()));
    }
    let path = what.split('#').next().unwrap_or(what);
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('.')
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let is_shorthand = path.split_once('/').is_some_and(|(user, repo)| part(user) && part(repo));
    Some(if is_shorthand && !is_archive(path) {
        NpmSpecKind::Git(owned())
    } else {
        NpmSpecKind::LocalPath(owned())
    })
}

/// A word of letters (with `+` inside) before a colon, of two letters at least: one is a drive.
fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphabetic() || b == b'+')
            && !scheme.eq_ignore_ascii_case("npm")
            && !scheme.eq_ignore_ascii_case("file")
    })
}

fn is_file(text: &str) -> bool {
    let drive = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && text.as_bytes().get(1) == Some(&b':');
    text.starts_with(['.', '/', '\\'])
        || text.starts_with("~/")
        || drive
        || text.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("file:"))
}

/// `user@host.name:path`, as scp and git write it.
fn is_scp(text: &str) -> bool {
    text.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?))).is_some_and(
        |(user, (host, path))| {
            !user.is_empty()
                && !path.is_empty()
                && host.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
        },
    )
}

fn is_archive(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    [".tgz", ".tar.gz", ".tar"].iter().any(|ending| lower.ends_with(ending))
}

/// Whether what follows `https:` is a repository: it ends with `.git`, or is `user/repo` on a
/// forge.
fn is_repository(rest: &str) -> bool {
    let path = rest.split(['#', '?']).next().unwrap_or("").trim_end_matches('/');
    if path.ends_with(".git") {
        return true;
    }
    let mut parts = path.trim_start_matches('/').split('/');
    let host = parts.next().unwrap_or("").rsplit('@').next().unwrap_or("").to_ascii_lowercase();
    let host = host.strip_prefix("www.").unwrap_or(&host);
    FORGE_HOSTS.contains(&host) && parts.count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn registry_specs_are_told_apart() {
        use NpmSpecKind::{Exact, Range, Tag};
        for (text, name, kind) in [
            ("lodash", "lodash", Range("*".into())),
            ("lodash@", "lodash", Range("*".into())),
            ("lodash@4.17.4", "lodash", Exact("4.17.4".into())),
            ("lodash@=v4.17.4", "lodash", Exact("4.17.4".into())),
            ("@s/n", "@s/n", Range("*".into())),
            ("@s/n@1.0.0-rc.1", "@s/n", Exact("1.0.0-rc.1".into())),
            ("@s/n@^1.2", "@s/n", Range("^1.2".into())),
            ("x@>=1 <2 || 3.x", "x", Range(">=1 <2 || 3.x".into())),
            ("x@1", "x", Range("1".into())),
            ("x@latest", "x", Tag("latest".into())),
            ("x@next-11", "x", Tag("next-11".into())),
            ("x@v", "x", Tag("v".into())),
        ] {
            let got = classify_spec(text);
            assert_eq!(got, NpmSpec { name: Some(name.into()), kind }, "{text}");
        }
        let alias = classify_spec("a@npm:@s/real@1.0.0");
        let kind = Box::new(Exact("1.0.0".into()));
        assert_eq!(alias.name.as_deref(), Some("a"));
        assert_eq!(alias.kind, NpmSpecKind::Alias { name: "@s/real".into(), kind });
        let NpmSpecKind::Alias { name, kind } = classify_spec("a@npm:real").kind else { panic!() };
        assert_eq!((name.as_str(), *kind), ("real", Range("*".into())));
    }

    #[test]
    fn side_doors_are_told_apart() {
        for (text, name, want) in [
            ("./dir", None, "path"),
            ("../x", None, "path"),
            ("/abs", None, "path"),
            ("~/x", None, "path"),
            ("file:x", None, "path"),
            ("a@file:../x", Some("a"), "path"),
            ("a@./x", Some("a"), "path"),
            ("file.tgz", None, "path"),
            ("a/b/c", None, "path"),
            ("a/b.tgz", None, "path"),
            ("C:\\x", None, "path"),
            ("https://files.example/x.tgz", None, "url"),
            ("a@https://files.example/x-1.0.0.tgz", Some("a"), "url"),
            ("https://files.example/a/b.git#v1", None, "git"),
            ("https://github.com/u/r", None, "git"),
            ("https://github.com/u/r/archive/v1.tar.gz", None, "url"),
            ("github:u/r", None, "git"),
            ("u/r", None, "git"),
            ("u/r#semver:^1", None, "git"),
            ("a@u/r", Some("a"), "git"),
            ("git+ssh://git@git.example/u/r.git", None, "git"),
            ("git://git.example/u/r", None, "git"),
            ("git@git.example:u/r.git", None, "git"),
            ("a@npm:./x", Some("a"), "invalid"),
            ("a@npm:u/r", Some("a"), "invalid"),
            ("ftp://files.example/x", None, "invalid"),
            ("a@$%", Some("a"), "invalid"),
            ("", None, "invalid"),
            ("-g", None, "invalid"),
        ] {
            let got = classify_spec(text);
            let kind = match got.kind {
                NpmSpecKind::LocalPath(_) => "path",
                NpmSpecKind::Url(_) => "url",
                NpmSpecKind::Git(_) => "git",
                NpmSpecKind::Invalid(_) => "invalid",
                other => panic!("{text}: {other:?}"),
            };
            assert_eq!((got.name.as_deref(), kind), (name, want), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_classified(text in "\\PC{0,30}|[@a-z./:#^~<>=* -]{0,12}@[a-z0-9./:#^~<>=*| -]{0,12}") {
            let spec = classify_spec(&text);
            prop_assert!(spec.name.is_none_or(|n| validate_name(&n)));
        }
    }
}
