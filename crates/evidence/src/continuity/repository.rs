//! The repository that a package's metadata claims, beside the one that was verified.

use super::{Earlier, change, origin};
use countersign_core::{Change, Evidence};

/// What differs when the metadata claims another repository than the verified one.
///
/// No alarm: another way to write the same address; a repository that was renamed, whose earlier
/// versions came from the claimed one with the same id; a difference that the version before had as
/// well, which somebody looked at then; a claim that is no address of a repository.
#[must_use]
pub fn metadata_repository(
    claimed: &str,
    evidence: &[Evidence],
    earlier: Option<(&Earlier<'_>, Option<&str>)>,
) -> Option<Change> {
    let now = origin(evidence)?;
    let verified = now.repository.as_deref()?;
    let (said, is) = (normal(claimed)?, normal(verified)?);
    if said == is {
        return None;
    }
    if let Some((earlier, claimed_then)) = earlier
        && let Some(then) = origin(earlier.evidence)
    {
        let same_id = now.repository_id.is_some() && now.repository_id == then.repository_id;
        let name_then = then.repository.as_deref().and_then(normal);
        let renamed = same_id && name_then.as_ref() == Some(&said);
        let as_before = claimed_then.and_then(normal).as_ref() == Some(&said)
            && (same_id || name_then.as_ref() == Some(&is));
        if renamed || as_before {
            return None;
        }
    }
    let detail = format!("its metadata names {claimed}, and it was built from {verified}");
    Some(change("metadata-repository", detail))
}

/// Hosts that npm's short forms stand for (`npm help package.json`, "repository").
const SHORT: [(&str, &str); 3] =
    [("github", "github.com"), ("gitlab", "gitlab.com"), ("bitbucket", "bitbucket.org")];

/// A repository's host and path, in one spelling; `None` for what is none.
///
/// Host and path are compared in lower case, as the forges do. What leads into the repository (a
/// branch, a folder of it) is cut off.
fn normal(address: &str) -> Option<String> {
    let address = address.trim();
    let address = address.strip_prefix("git+").unwrap_or(address);
    let address = address.split(['#', '?']).next().unwrap_or_default();
    let (host, path) = if let Some((scheme, rest)) = address.split_once("://") {
        if !["https", "http", "git", "ssh"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let (authority, path) = rest.split_once('/')?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // `ssh://git@host:owner/name`, where the port should be.
        match host.split_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                (host.to_owned(), path.to_owned())
            }
            Some((host, first)) if !first.is_empty() => {
                (host.to_owned(), format!("{first}/{path}"))
            }
            _ => (host.trim_end_matches(':').to_owned(), path.to_owned()),
        }
    } else if let Some((head, path)) = address.split_once(':') {
        match SHORT.iter().find(|(short, _)| *short == head) {
            Some((_, host)) => ((*host).to_owned(), path.to_owned()),
            // The form of scp: `git@host:owner/name`.
            None => (head.rsplit_once('@')?.1.to_owned(), path.to_owned()),
        }
    } else {
        // `owner/name` is GitHub's, for npm.
        (SHORT.first()?.1.to_owned(), address.to_owned())
    };
    let host = host.to_ascii_lowercase();
    let host = host.strip_prefix("www.").unwrap_or(&host);
    let path = inside(&path.to_ascii_lowercase());
    let parts: Vec<&str> = path.split('/').collect();
    let good = |p: &&str| !p.is_empty() && !p.chars().any(char::is_whitespace);
    if parts.len() < 2 || !parts.iter().all(good) || !host.contains('.') {
        return None;
    }
    Some(format!("{host}/{path}"))
}

/// The path of a repository without what leads into it, `.git` and slashes around it.
fn inside(path: &str) -> String {
    let path = path.trim_matches('/');
    let cut = ["/-/", "/tree/", "/blob/", "/src/", ".git/"];
    let end = cut.iter().filter_map(|c| path.find(c)).min().unwrap_or(path.len());
    let path = path.get(..end).unwrap_or(path);
    path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::{Claim, EvidenceState};

    fn built_from(repository: &str, id: &str) -> Vec<Evidence> {
        let claim = Claim {
            repository: Some(repository.into()),
            repository_id: Some(id.into()),
            ..Claim::default()
        };
        let state = EvidenceState::Verified { claim: Box::new(claim) };
        vec![Evidence { kind: "npm-provenance".into(), source: "upstream".into(), state }]
    }

    const HERE: &str = "https://forge.example/Owner/name";

    #[test]
    fn the_same_repository_in_other_words_is_no_alarm() {
        for claimed in [
            "https://forge.example/Owner/name",
            "http://forge.example/Owner/name",
            "git+https://forge.example/Owner/name.git",
            "https://forge.example/Owner/name.git/",
            "https://forge.example/Owner/name/",
            "git://forge.example/Owner/name.git",
            "git+ssh://git@forge.example/Owner/name.git",
            "ssh://git@forge.example:22/Owner/name.git",
            "ssh://git@forge.example:Owner/name.git",
            "git@forge.example:Owner/name.git",
            "https://user@forge.example/Owner/name",
            "https://www.forge.example/Owner/name",
            "https://FORGE.example/owner/NAME",
            "https://forge.example/Owner/name#readme",
            "https://forge.example/Owner/name?tab=x",
            // A folder of a repository that holds several packages.
            "https://forge.example/Owner/name/tree/main/packages/x",
            "https://forge.example/Owner/name.git/packages/x",
            "https://forge.example/Owner/name/-/tree/main/packages/x",
            "https://forge.example/Owner/name/blob/main/README.md",
        ] {
            let found = metadata_repository(claimed, &built_from(HERE, "1"), None);
            assert_eq!(found, None, "{claimed}");
        }
        let on_github = built_from("https://github.com/owner/name", "1");
        for claimed in ["owner/name", "github:owner/name", "git@github.com:owner/name.git"] {
            assert_eq!(metadata_repository(claimed, &on_github, None), None, "{claimed}");
        }
        let grouped = built_from("https://forge.example/group/team/name", "1");
        let claimed = "https://forge.example/group/team/name/-/blob/main/x";
        assert_eq!(metadata_repository(claimed, &grouped, None), None);
    }

    #[test]
    fn what_is_no_address_of_a_repository_claims_nothing() {
        for claimed in [
            "",
            "none",
            "https://forge.example/",
            "https://docs.example",
            "file:///x/y",
            "a b/c d",
            "https://forge.example/Owner",
            "://",
            "git@",
            ":",
            "@:/",
            "https:///a/b",
        ] {
            let found = metadata_repository(claimed, &built_from(HERE, "1"), None);
            assert_eq!(found, None, "{claimed}");
        }
        assert_eq!(metadata_repository("https://forge.example/a/b", &[], None), None);
    }

    #[test]
    fn another_repository_is_told() {
        for claimed in [
            "https://forge.example/other/name",
            "https://forge.example/owner/name2",
            "https://other.example/owner/name",
            "owner/name",
            "https://forge.example/owner/name/sub",
        ] {
            let found = metadata_repository(claimed, &built_from(HERE, "1"), None);
            let found = found.unwrap_or_else(|| panic!("{claimed}"));
            assert_eq!(found.kind, "metadata-repository");
            assert!(found.detail.contains(claimed) && found.detail.contains(HERE), "{found:?}");
        }
    }

    proptest::proptest! {
        /// Metadata is anybody's to write.
        #[test]
        fn any_text_is_read_without_harm(claimed in ".{0,80}") {
            let found = metadata_repository(&claimed, &built_from(HERE, "1"), None);
            proptest::prop_assert!(found.is_none_or(|c| c.detail.chars().count() < 300));
        }

        #[test]
        fn every_spelling_of_one_repository_is_the_same(
            owner in "[A-Za-z0-9][A-Za-z0-9-]{0,10}",
            name in "[A-Za-z0-9][A-Za-z0-9_-]{0,10}",
            spelling in 0_usize..6,
        ) {
            let path = format!("{owner}/{name}");
            let claimed = match spelling {
                0 => format!("https://forge.example/{path}"),
                1 => format!("git+https://forge.example/{path}.git"),
                2 => format!("git@forge.example:{path}.git"),
                3 => format!("git+ssh://git@forge.example/{path}.git#main"),
                4 => format!("HTTP://Forge.example/{}/", path.to_uppercase()),
                _ => format!("git://forge.example/{path}/tree/main/packages/a"),
            };
            let evidence = built_from(&format!("https://forge.example/{path}"), "1");
            proptest::prop_assert_eq!(metadata_repository(&claimed, &evidence, None), None);
        }
    }

    #[test]
    fn a_rename_and_what_was_so_before_are_no_alarm() {
        let old = "https://forge.example/old/name";
        let before = built_from(old, "1");
        let earlier = Earlier { version: "1.0.0", evidence: &before };
        // Renamed: the metadata still has the old name, the id is the same.
        let renamed = built_from(HERE, "1");
        assert_eq!(metadata_repository(old, &renamed, Some((&earlier, None))), None);
        // Somebody took the old name over, or it comes from elsewhere.
        let elsewhere = built_from(HERE, "2");
        assert!(metadata_repository(old, &elsewhere, Some((&earlier, None))).is_some());
        // It was so before: a package that is built from a fork, say.
        let claimed = "https://forge.example/upstream/name";
        let built = built_from(HERE, "3");
        let as_before = Earlier { version: "1.0.0", evidence: &built };
        assert_eq!(metadata_repository(claimed, &built, Some((&as_before, Some(claimed)))), None);
        // Now it is, and was not.
        assert!(metadata_repository(claimed, &built, Some((&as_before, Some(HERE)))).is_some());
        assert!(metadata_repository(claimed, &built, Some((&as_before, None))).is_some());
    }
}
