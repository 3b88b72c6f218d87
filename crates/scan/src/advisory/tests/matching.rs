//! Which versions a record affects.

use super::*;
use Ecosystem::{Cargo, Debian, Npm, Pypi};
use countersign_core::FindingKind;

#[test]
fn ranges_are_evaluated_in_the_ecosystems_order() {
    for (ecosystem, range, affected, clear) in [
        (Npm, "i0 f1.2.3", "0.0.0 0.0.1-a 1.2.2 1.2.3-rc.1", "1.2.3 1.2.4-0 2.0.0"),
        (Npm, "i1.0.0 f2.0.0", "1.0.0 1.9.9 2.0.0-beta.1", "1.0.0-rc.1 0.9.0 2.0.0"),
        // Unordered events of two branches.
        (Pypi, "f5.2 i4.0 f4.3 i5.0", "4.0 4.2.9 5.0 5.1.post1", "3.9 4.3 4.9 5.2 6.0"),
        (Pypi, "i0 l1.11.0", "0 1.11 1.11.0 1.11.0rc1", "1.11.0.post1 1.11.1"),
        (Pypi, "i1.0 l1.0", "1.0 1", "0.9 1.0.1"),
        (Pypi, "i0 f1!1.0", "2024.1 1!0.9", "1!1.0 1!1.0.1 2!0"),
        (Pypi, "i0 f2.0", "2.0.dev1 2.0a1 2.0rc1 1.0+cu118", "2.0 2.0+local 2.0.post1"),
        (Pypi, "i2.0 f2.1", "2.0+local 2.0.0", "2.0rc1 2.1+local"),
        (Cargo, "i0.0.0-0 f0.9.0", "0.0.0-0 0.0.0 0.8.9 0.9.0-alpha", "0.9.0 1.0.0"),
        (Cargo, "i0.8.7-0", "0.8.7 0.8.7-rc.1 99.0.0", "0.8.6"),
        (
            Debian,
            "i0 f2:1.20.11-1+deb11u6",
            "1.30-1 2:1.20.11-1 2:1.20.11-1+deb11u6~x",
            "2:1.20.11-1+deb11u6 2:1.20.11-1+deb11u10 3:0",
        ),
        (Debian, "i0 f1.0-1", "1.0~rc1-1 0.9-1 1.0-0", "1.0-1 1.0-1+b1 1:0.1"),
        // Within the limit only; the smallest limit that has not been reached holds.
        (Npm, "i1.0.0 x3.0.0", "1.0.0 2.9.9", "0.9.0 3.0.0"),
        (Npm, "i1.0.0 x2.0.0 x3.0.0", "2.5.0", "3.0.0"),
        (Npm, "i1.0.0 x2.0.0 x*", "1.0.0 99.0.0", "0.1.0"),
        // A fix and an introduction at one version: affected from there on.
        (Npm, "i0 f1.0.0 i1.0.0", "0.1.0 1.0.0 1.0.1", ""),
        // No beginning: read as wide as it can be.
        (Npm, "f1.0.0", "0.0.1", "1.0.0"),
    ] {
        let r = [record("GHSA-1", ecosystem, json!({"ranges": events(range)}))];
        for version in affected.split_whitespace() {
            let m = ask(&r, ecosystem, version);
            assert_eq!(m.findings.len(), 1, "{ecosystem} {range}: {version} is affected");
        }
        for version in clear.split_whitespace() {
            let m = ask(&r, ecosystem, version);
            assert!(m.is_clear(), "{ecosystem} {range}: {version} is not affected");
        }
    }
}

#[test]
fn listed_versions_match_by_meaning_and_join_the_ranges() {
    let r = [record(
        "PYSEC-1",
        Pypi,
        json!({"versions": ["0.8.0-alpha2", "1.0"], "ranges": events("i3.0 f4.0")}),
    )];
    for v in ["0.8.0a2", "1.0", "1.0.0", "3.5"] {
        assert_eq!(ask(&r, Pypi, v).findings.len(), 1, "{v}");
    }
    for v in ["0.8.0", "1.0.1", "4.0"] {
        assert!(ask(&r, Pypi, v).is_clear(), "{v}");
    }
}

#[test]
fn several_ranges_and_entries_are_alternatives() {
    let mut r = record("GHSA-1", Npm, json!({"versions": ["9.0.0"]}));
    let mut second = r["affected"][0].clone();
    second["versions"] = json!([]);
    second["ranges"] = json!([
        {"type": "SEMVER", "events": [{"introduced": "1.0.0"}, {"fixed": "1.1.0"}]},
        {"type": "SEMVER", "events": [{"introduced": "2.0.0"}, {"fixed": "2.1.0"}]},
        {"type": "GIT", "events": [{"introduced": "0"}]},
    ]);
    r["affected"].as_array_mut().unwrap().push(second);
    for (v, fixed) in [("9.0.0", None), ("1.0.5", Some("1.1.0")), ("2.0.0", Some("2.1.0"))] {
        let m = ask(std::slice::from_ref(&r), Npm, v);
        assert_eq!(m.findings.len(), 1, "{v}");
        assert_eq!(m.findings[0].fixed_in.as_deref(), fixed, "{v}");
    }
    assert!(ask(&[r], Npm, "1.5.0").is_clear());
}

#[test]
fn what_cannot_be_decided_is_said() {
    let bounded = json!({"ranges": events("i1.0.0 f2.0.0")});
    let all = json!({"ranges": events("i0")});
    let git_only = json!({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]});
    let odd_event = json!({"ranges": events("i1.0.0 fnonsense")});
    let new_type = json!({"ranges": [{"type": "CALENDAR", "events": [{"introduced": "0"}]}]});
    let listed = json!({"versions": ["1.0.0", "odd!"]});
    // (what the record says, version, whether it is found, whether it is undecided)
    for (affected, version, found, undecided) in [
        (&bounded, "not a version", false, true),
        (&all, "not a version", true, false),
        (&git_only, "1.0.0", false, true),
        (&json!({}), "1.0.0", false, true),
        (&odd_event, "1.5.0", false, true),
        (&new_type, "1.0.0", false, true),
        (&listed, "odd!", true, false),
        (&listed, "odd?", false, true),
        (&listed, "1.0.1", false, false),
    ] {
        let m = ask(&[record("GHSA-1", Npm, affected.clone())], Npm, version);
        assert_eq!(
            (!m.findings.is_empty(), !m.undecided.is_empty()),
            (found, undecided),
            "{affected} {version}"
        );
        // What is undecided for a vulnerability counts as found for malicious packages.
        let m = ask(&[record("MAL-1", Npm, affected.clone())], Npm, version);
        assert_eq!(
            (m.findings.len(), m.undecided.len()),
            (usize::from(found || undecided), 0),
            "{affected} {version}"
        );
    }
}

#[test]
fn malicious_without_versions_means_all_versions() {
    let m = ask(&[record("MAL-2024-1", Npm, json!({}))], Npm, "1.0.0");
    assert_eq!(m.findings[0].kind, FindingKind::Malicious);
}

#[test]
fn debian_releases_are_apart_and_must_be_covered() {
    let mut r = record("DSA-1", Debian, json!({"ranges": events("i0 f1.0-1")}));
    r["affected"][0]["package"]["ecosystem"] = json!("Debian:10");
    let mut general = record("DSA-2", Debian, json!({"ranges": events("i0 f3.0-1")}));
    general["affected"][0]["package"]["ecosystem"] = json!("Debian");
    let index =
        index_of(&[r, general, record("DSA-3", Debian, json!({"ranges": events("i0 f2.0-1")}))]);
    let ids = |release| {
        let m = index.lookup(Debian, "p", "0.5-1", Some(release)).unwrap();
        m.findings.into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    assert_eq!(ids("buster"), ["DSA-1", "DSA-2"]);
    assert_eq!(ids("11"), ["DSA-2", "DSA-3"]);
    for release in [Some("12"), Some("sid"), None] {
        let e = index.lookup(Debian, "p", "0.5-1", release).unwrap_err();
        assert!(matches!(e, crate::advisory::FeedError::NotCovered { .. }), "{release:?}");
        assert!(!index.covers(Debian, release));
    }
    let e = index.lookup(Npm, "p", "1.0.0", None).unwrap_err().to_string();
    assert_eq!(e, "no advisory data for `npm`; add a feed that covers it");
}

#[test]
fn a_package_without_advisories_is_clear() {
    let index = index_of(&[record("GHSA-1", Npm, json!({}))]);
    assert!(index.lookup(Npm, "q", "1.0.0", None).unwrap().is_clear());
}
