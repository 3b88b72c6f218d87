//! Artifacts whose index says something else, made here, and honest pairs that only look different.

use super::*;
use crate::structure::tests::mint::{deb, tar_gz, wheel};
use crate::structure::{StructureReport, scan_archive};
use countersign_core::Outcome;
use countersign_ecosystem::archive::Limits;
use std::io::Cursor;

fn scan(name: &str, ecosystem: Ecosystem, bytes: &[u8]) -> StructureReport {
    scan_archive(name, ecosystem, None, Cursor::new(bytes), &Limits::default())
}

fn found(ecosystem: Ecosystem, own: &Listing, index: &Listing) -> Vec<(String, Severity)> {
    let (findings, check) = against_index(ecosystem, own, index);
    let failed = findings.iter().any(|f| f.severity >= Severity::High);
    assert_eq!(matches!(check.outcome, Outcome::Failed { .. }), failed);
    assert!(findings.iter().all(|f| f.kind == FindingKind::Structure));
    let id = |f: &Finding| f.id.strip_prefix("structure.index-").unwrap().to_owned();
    findings.iter().map(|f| (id(f), f.severity)).collect()
}

fn npm(own: &str, index: &str) -> Vec<(String, Severity)> {
    let bytes = tar_gz(&[("package/package.json", own.as_bytes())]);
    let own = scan("a-1.0.0.tgz", Ecosystem::Npm, &bytes).listing.unwrap();
    found(Ecosystem::Npm, &own, &Listing::of_npm_manifest(index).unwrap())
}

fn says(what: &str, severity: Severity) -> Vec<(String, Severity)> {
    vec![(what.to_owned(), severity)]
}

#[test]
fn npm_packages_that_hide_something_from_the_index() {
    let plain = r#"{"name": "a", "version": "1.0.0"}"#;
    let hook =
        r#"{"name": "a", "version": "1.0.0", "scripts": {"postinstall": "node x", "test": "t"}}"#;
    assert_eq!(npm(hook, plain), says("scripts", Severity::High));
    assert_eq!(npm(hook, &hook.replace("node x", "node y")), says("scripts", Severity::Moderate));
    assert_eq!(npm(plain, hook), says("scripts", Severity::Info));
    let needs = r#"{"name": "a", "version": "1.0.0", "dependencies": {"b": "^1"}}"#;
    assert_eq!(npm(needs, plain), says("dependencies", Severity::Moderate));
    assert_eq!(npm(plain, needs), says("dependencies", Severity::High));
    assert_eq!(npm(needs, &needs.replace("^1", "^2")), says("dependencies", Severity::Moderate));
    let command = r#"{"name": "a", "version": "1.0.0", "bin": {"a": "cli.js"}}"#;
    assert_eq!(npm(&command.replace("cli", "evil"), command), says("bin", Severity::Moderate));
}

#[test]
fn npm_packages_that_say_the_same_in_other_words() {
    for (own, index) in [
        (r#"{"name": "@s/a", "bin": "./cli.js"}"#, r#"{"name": "@s/a", "bin": {"a": "cli.js"}}"#),
        (r#"{"scripts": {"test": "x", "prepare": "y"}}"#, r#"{"scripts": {}}"#),
        (r#"{"scripts": {"install": "x"}}"#, r#"{"hasInstallScript": true}"#),
        (r#"{"scripts": {"install": " x "}}"#, r#"{"scripts": {"install": "x"}}"#),
        // Built with node-gyp: the publisher's client writes the script that npm would run.
        (r#"{"scripts": {}}"#, r#"{"hasInstallScript": true}"#),
        (
            r#"{"dependencies": {"a": ""}, "optionalDependencies": {"b": "1"}}"#,
            r#"{"dependencies": {"a": "*", "b": "1"}, "optionalDependencies": {"b": "1"}}"#,
        ),
        (r#"{"devDependencies": {"a": "1"}}"#, "{}"),
        (r#"{"dependencies": null, "bin": null}"#, "{}"),
    ] {
        assert_eq!(npm(own, index), [], "{own} {index}");
    }
}

fn krate(own: &str, index: &str) -> Vec<(String, Severity)> {
    let toml = format!("[package]\nname = \"a\"\nversion = \"1.0.0\"\n{own}");
    let bytes = tar_gz(&[("a-1.0.0/Cargo.toml", toml.as_bytes())]);
    let own = scan("a-1.0.0.crate", Ecosystem::Cargo, &bytes).listing.unwrap();
    found(Ecosystem::Cargo, &own, &Listing::of_cargo_line(index).unwrap())
}

#[test]
fn crates_are_compared_with_their_line() {
    let own = "links = \"z\"\n[dependencies]\nb = \"1.0\"\n[dependencies.c]\nversion = \">=0.3, <0.5\"\n\
        optional = true\ndefault-features = false\nfeatures = [\"y\", \"x\"]\npackage = \"real-c\"\n\
        [target.'cfg(unix)'.dependencies.u]\nversion = \"2\"\n[build-dependencies]\ncc = \"1\"\n\
        [dev-dependencies]\nt = \"1\"\n[features]\nf = [\"dep:c\"]\n";
    let index = r#"{"name":"a","vers":"1.0.0","links":"z","features":{},"features2":{"f":["dep:c"]},"deps":[
        {"name":"b","req":"^1.0","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"},
        {"name":"c","package":"real-c","req":">=0.3, <0.5","features":["x","y"],"optional":true,"default_features":false,"target":null,"kind":"normal"},
        {"name":"u","req":"^2","features":[],"optional":false,"default_features":true,"target":"cfg(unix)","kind":"normal"},
        {"name":"cc","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"build"},
        {"name":"t","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"}]}"#;
    assert_eq!(krate(own, index), []);
    for (from, to, want) in [
        ("b = \"1.0\"", "b = \"1.1\"", says("dependencies", Severity::High)),
        ("b = \"1.0\"", "", says("dependencies", Severity::High)),
        ("b = \"1.0\"", "b = \"1.0\"\nevil = \"1\"", says("dependencies", Severity::High)),
        ("real-c", "other-c", says("dependencies", Severity::High)),
        ("cfg(unix)", "cfg(windows)", says("dependencies", Severity::High)),
        (
            "[build-dependencies]",
            "[dependencies.x]\nversion = \"1\"\n[build-dependencies]",
            says("dependencies", Severity::High),
        ),
        ("f = [\"dep:c\"]", "f = [\"dep:c\", \"b/std\"]", says("features", Severity::High)),
        ("f = [\"dep:c\"]", "f = [\"dep:c\"]\ng = []", says("features", Severity::High)),
        ("links = \"z\"", "links = \"y\"", says("links", Severity::High)),
    ] {
        assert_eq!(krate(&own.replacen(from, to, 1), index), want, "{to}");
    }
    let own = scan(
        "a-1.0.0.crate",
        Ecosystem::Cargo,
        &tar_gz(&[(
            "a-1.0.0/Cargo.toml",
            format!("[package]\nname = \"a\"\nversion = \"1.0.0\"\n{own}").as_bytes(),
        )]),
    );
    assert_eq!(own.listing.unwrap().dependencies(Ecosystem::Cargo), ["b", "cc", "real-c", "u"]);
}

const METADATA: &str = "Metadata-Version: 2.2\nName: a\nVersion: 1.0\nRequires-Python: >=3.9\n\
    Requires-Dist: B_c (>=1.0) ; python_version < \"3.11\"\nRequires-Dist: d[x]>=2\nRequires-Dist: e; extra == 'f'\n\nbody\n";

#[test]
fn wheels_are_compared_with_the_digest_of_their_metadata() {
    let info = "a-1.0.dist-info";
    let path = format!("{info}/METADATA");
    let bytes = wheel(info, &[(&path, METADATA.as_bytes())], |r| r);
    let own = scan("a-1.0-py3-none-any.whl", Ecosystem::Pypi, &bytes).listing.unwrap();
    let digest = |text: &str| {
        let digest = countersign_core::Sha256Digest::of(text.as_bytes());
        Listing::of_core_metadata(&digest.to_hex())
    };
    assert_eq!(found(Ecosystem::Pypi, &own, &digest(METADATA)), []);
    assert_eq!(found(Ecosystem::Pypi, &own, &digest("other")), says("metadata", Severity::High));
    assert_eq!(own.dependencies(Ecosystem::Pypi), ["b-c", "d"]);
}

#[test]
fn source_distributions_are_compared_with_a_wheel() {
    let source = |text: &str| {
        let bytes = tar_gz(&[("a-1.0/PKG-INFO", text.as_bytes())]);
        scan("a-1.0.tar.gz", Ecosystem::Pypi, &bytes).listing
    };
    let wheel = Listing::of_wheel_metadata(
        METADATA.replace("B_c (>=1.0) ; ", "b-c>=1.0; ").replace('"', "'").as_bytes(),
    );
    let compared = |text: &str| found(Ecosystem::Pypi, &source(text).unwrap(), &wheel);
    assert_eq!(compared(METADATA), []);
    let other = METADATA.replace("d[x]>=2", "evil>=2");
    assert_eq!(compared(&other), says("dependencies", Severity::Low));
    let dynamic = other.replace("\n\nbody", "\nDynamic: Requires-Dist\n\nbody");
    assert_eq!(compared(&dynamic), []);
    assert_eq!(compared(&METADATA.replace(">=3.9", ">=3.8")), says("python", Severity::Low));
    assert_eq!(source(&METADATA.replace("2.2", "2.1")), None, "it promises nothing");
}

#[test]
fn debs_are_compared_with_their_paragraph() {
    let control = "Package: a\nVersion: 1.0\nArchitecture: all\nDepends: b (>= 1), c | d,\n e:any\nSection: x\n";
    let bytes = deb(&[("./control", control.as_bytes())], &[]);
    let own = scan("a_1.0_all.deb", Ecosystem::Debian, &bytes).listing.unwrap();
    let index = |text: &str| Listing::of_control(text.as_bytes()).unwrap();
    let listed =
        control.replace(",\n ", ", ").replace("Section: x", "Section: y\nFilename: pool/a");
    assert_eq!(found(Ecosystem::Debian, &own, &index(&listed)), []);
    let other = listed.replace("b (>= 1), ", "");
    assert_eq!(
        found(Ecosystem::Debian, &own, &index(&other)),
        says("dependencies", Severity::High)
    );
    let other = listed.replace("all", "amd64");
    assert_eq!(found(Ecosystem::Debian, &own, &index(&other)), says("fields", Severity::High));
    assert_eq!(own.dependencies(Ecosystem::Debian), ["b", "c", "e"]);
}

#[test]
fn what_is_shown_is_bounded_and_printable() {
    let many: Vec<String> =
        (0..50).map(|i| format!("\"p{i}\\u0007\": \"{}\"", "x".repeat(900))).collect();
    let json = format!("{{\"dependencies\": {{{}}}}}", many.join(","));
    let own = Listing::of_npm_manifest(&json).unwrap();
    let (findings, _) = against_index(Ecosystem::Npm, &own, &Listing::default());
    assert_eq!(findings.len(), 1);
    assert!(findings[0].title.len() < 800 && !findings[0].title.contains(char::is_control));
    assert!(findings[0].title.ends_with("and 46 more"));
}
