//! npm package names, and the tarball paths that hold them.

use crate::text::percent_decode;
use crate::version::is_valid;
use countersign_core::Ecosystem;

/// Longest package name (npm, "package.json", `name`).
const MAX_NAME: usize = 214;

/// Whether the text is a package name that a registry may hold. Upper-case letters are allowed:
/// packages of before 2015 have them.
#[must_use]
pub fn validate_name(name: &str) -> bool {
    if name.len() > MAX_NAME {
        return false;
    }
    match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(s, n)| is_part(s) && is_part(n)),
        None => {
            is_part(name)
                && !name.starts_with('_')
                && !["node_modules", "favicon.ico"].iter().any(|n| name.eq_ignore_ascii_case(n))
        }
    }
}

/// Whether a lock file may list the name: as [`validate_name`], and also with dashes first. The
/// registry took such names, which are typing errors come true (`npm install --no-audit`), and
/// malicious packages have them.
#[must_use]
pub fn may_be_listed(name: &str) -> bool {
    let rest = name.trim_start_matches('-');
    validate_name(name) || (name.len() <= MAX_NAME && !rest.starts_with('@') && validate_name(rest))
}

/// One half of a name: characters that a URL carries as they are, no dot or dash first.
fn is_part(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with(['.', '-'])
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!'()*".contains(&b))
}

/// The package and version in a tarball's path: `/lodash/-/lodash-4.17.4.tgz`,
/// `/@s/n/-/n-1.0.0.tgz`, `/@s%2fn/-/@s/n-1.0.0.tgz`, after any prefix and without query.
///
/// `None` when the path names no tarball, or its file belongs to another package than its folder.
#[must_use]
pub fn name_from_tarball_path(path: &str) -> Option<(String, String)> {
    let path = percent_decode(path.split(['?', '#']).next()?)?;
    if path.contains('\\') || path.split('/').any(|s| matches!(s, "." | "..")) {
        return None;
    }
    let (folder, file) = path.rsplit_once("/-/")?;
    let mut segments = folder.rsplit('/');
    let base = segments.next()?;
    let scope = segments.next().filter(|s| s.starts_with('@'));
    let name = scope.map_or_else(|| base.to_owned(), |scope| format!("{scope}/{base}"));
    let file = match (scope, file.split_once('/')) {
        (Some(scope), Some((first, rest))) if first == scope => rest,
        (_, None) => file,
        _ => return None,
    };
    let version = file.strip_suffix(".tgz")?.strip_prefix(base)?.strip_prefix('-')?;
    (validate_name(&name) && is_valid(Ecosystem::Npm, version)).then(|| (name, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_follow_the_rules() {
        for name in ["lodash", "JSONStream", "@s/n", "@S/.n".replace('.', "").as_str(), "a.b_c~d"] {
            assert!(validate_name(name), "{name}");
        }
        let long = "a".repeat(215);
        for name in [
            "",
            ".a",
            "_a",
            "-a",
            "a/b",
            "@a",
            "@/a",
            "@a/",
            "@a/b/c",
            "@a/.b",
            "a b",
            "a%2fb",
            "../a",
            "node_modules",
            "Favicon.ico",
            "a\n",
            "ä",
            "@s/n@1",
            &long,
        ] {
            assert!(!validate_name(name), "{name}");
        }
    }

    #[test]
    fn lock_files_may_list_names_with_dashes_first() {
        for (name, want) in [
            ("-d3-ushape", true),
            ("--no-audit", true),
            ("lodash", true),
            ("-", false),
            ("-.a", false),
            ("-_a", false),
            ("@s/-a", false),
            ("-@s/a", false),
            ("-../a", false),
        ] {
            assert_eq!(may_be_listed(name), want, "{name}");
        }
    }

    #[test]
    fn tarball_paths_tell_name_and_version() {
        for (path, want) in [
            ("/lodash/-/lodash-4.17.4.tgz", Some(("lodash", "4.17.4"))),
            ("/@s/n/-/n-1.0.0.tgz", Some(("@s/n", "1.0.0"))),
            ("/@s%2fn/-/n-1.0.0-rc.1.tgz", Some(("@s/n", "1.0.0-rc.1"))),
            ("/%40s%2Fn/-/n-1.0.0.tgz", Some(("@s/n", "1.0.0"))),
            ("/npm/repo/@s/n/-/@s/n-1.0.0.tgz?x=1", Some(("@s/n", "1.0.0"))),
            ("/a/b/is-3/-/is-3-1.0.0.tgz", Some(("is-3", "1.0.0"))),
            ("/lodash/-/other-1.0.0.tgz", None),
            ("/lodash/-/lodash-.tgz", None),
            ("/lodash/-/lodash-latest.tgz", None),
            ("/lodash/-/../evil/-/evil-1.0.0.tgz", None),
            ("/lodash/-/lodash-1.0.0.tgz/x", None),
            ("/@t/n/-/@s/n-1.0.0.tgz", None),
            ("/lodash", None),
            ("/-/lodash-1.0.0.tgz", None),
            ("/lodash/-/lodash-1.0.0%zz.tgz", None),
        ] {
            let got = name_from_tarball_path(path);
            let got = got.as_ref().map(|(n, v)| (n.as_str(), v.as_str()));
            assert_eq!(got, want, "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_a_path_names_is_valid(path in "(/[@a-z%2f.-]{0,6}){0,4}/-/[@a-z/%.-]{0,6}-[0-9].0.0.tgz|\\PC{0,30}") {
            if let Some((name, version)) = name_from_tarball_path(&path) {
                prop_assert!(validate_name(&name) && is_valid(Ecosystem::Npm, &version));
            }
        }
    }
}
