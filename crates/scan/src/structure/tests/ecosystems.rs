//! Declared names and versions, and install hooks, for each ecosystem.

use super::mint::{deb, tar_gz, wheel, zip};
use super::{PACKAGE_JSON, expect, found, scanned};
use crate::structure::{Expected, StructureReport};
use countersign_core::{Ecosystem, FindingKind, Severity};
use std::collections::BTreeSet;

const MISMATCH: (&str, Severity) = ("name-mismatch", Severity::High);
const MISSING: (&str, Severity) = ("metadata-missing", Severity::High);
const MALFORMED: (&str, Severity) = ("metadata-malformed", Severity::High);

fn hooks(report: &StructureReport) -> Vec<&str> {
    let hooks = report.findings.iter().filter(|f| f.kind == FindingKind::InstallHook);
    assert!(hooks.clone().all(|f| f.severity == Severity::Info));
    let ids: BTreeSet<&str> = hooks.map(|f| f.id.strip_prefix("install-hook.").unwrap()).collect();
    ids.into_iter().collect()
}

fn npm_of(json: &str, more: &[(&str, &[u8])]) -> StructureReport {
    let mut files: Vec<(&str, &[u8])> = vec![("package/package.json", json.as_bytes())];
    files.extend_from_slice(more);
    scanned("a-1.0.0.tgz", Ecosystem::Npm, &expect("@s/a", "1.0.0"), &tar_gz(&files))
}

#[test]
fn npm_names_are_compared() {
    for (json, want) in [
        (r#"{"name": "@s/a", "version": "1.0.0"}"#, vec![]),
        (r#"{"name": "@s/a", "version": "v1.0.0"}"#, vec![]),
        ("\u{feff}{\"name\": \"@s/a\", \"version\": \"1.0.0\"}", vec![]),
        (r#"{"name": "@s/b", "version": "1.0.0"}"#, vec![MISMATCH]),
        (r#"{"name": "@s/a", "version": "1.0.1"}"#, vec![MISMATCH]),
        (r#"{"name": "@s/a"}"#, vec![MALFORMED]),
        ("{name: 1}", vec![MALFORMED]),
    ] {
        assert_eq!(found(&npm_of(json, &[])), want, "{json}");
    }
}

#[test]
fn npm_takes_any_root_and_only_one() {
    let expected = expect("left-pad", "1.3.0");
    let scan = |files: &[(&str, &[u8])]| {
        scanned("left-pad-1.3.0.tgz", Ecosystem::Npm, &expected, &tar_gz(files))
    };
    assert_eq!(found(&scan(&[("node/package.json", PACKAGE_JSON)])), []);
    let two = scan(&[("evil/package.json", b"{}"), ("package/package.json", PACKAGE_JSON)]);
    assert_eq!(found(&two), [("duplicate-name", Severity::High)]);
    let pair = |a: &'static [u8], b: &'static [u8]| {
        scan(&[("a/index.js", a), ("b/index.js", b), ("b/package.json", PACKAGE_JSON)])
    };
    assert_eq!(found(&pair(b"x", b"y")), [("duplicate-name", Severity::High)]);
    assert_eq!(found(&pair(b"x", b"x")), []);
    assert_eq!(found(&scan(&[("package/index.js", b"")])), [MISSING]);
    assert_eq!(found(&scan(&[("package.json", PACKAGE_JSON)])), [MISSING], "npm drops it");
    let bundled = [("p/package.json", PACKAGE_JSON), ("p/node_modules/x/package.json", &b"{}"[..])];
    assert_eq!(found(&scan(&bundled)), []);
}

#[test]
fn npm_hooks_are_those_that_an_install_runs() {
    let json = |scripts: &str| {
        format!(r#"{{"name": "@s/a", "version": "1.0.0", "scripts": {{{scripts}}}}}"#)
    };
    let gyp: &[(&str, &[u8])] = &[("package/binding.gyp", b"{}")];
    for (scripts, files, want) in [
        (
            r#""preinstall": "x", "install": "y", "postinstall": "z""#,
            &[][..],
            vec!["install", "postinstall", "preinstall"],
        ),
        (r#""prepare": "x", "test": "y", "prepublish": "z""#, &[], vec![]),
        (r#""postinstall": " ""#, &[], vec![]),
        (r#""test": "y""#, gyp, vec!["binding-gyp"]),
        (r#""install": "y""#, gyp, vec!["install"]),
        (r#""postinstall": "y""#, gyp, vec!["binding-gyp", "postinstall"]),
    ] {
        let report = npm_of(&json(scripts), files);
        assert_eq!(hooks(&report), want, "{scripts}");
        assert_eq!(report.install_hooks.len(), want.len());
        assert_eq!(found(&report), []);
    }
    assert_eq!(npm_of(&json(""), gyp).install_hooks, ["binding.gyp"]);
}

fn crate_of(toml: &str, more: &[(&str, &[u8])]) -> StructureReport {
    let mut files: Vec<(&str, &[u8])> = vec![("a-1.0.0/Cargo.toml", toml.as_bytes())];
    files.extend_from_slice(more);
    scanned("a-1.0.0.crate", Ecosystem::Cargo, &expect("a", "1.0.0"), &tar_gz(&files))
}

const CARGO_TOML: &str = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";

#[test]
fn crates_are_compared_and_lie_in_their_directory() {
    assert_eq!(found(&crate_of(CARGO_TOML, &[])), []);
    assert_eq!(found(&crate_of("[project]\nname = \"a\"\nversion = \"1.0.0\"\n", &[])), []);
    for (toml, want) in [
        (CARGO_TOML.replace("\"a\"", "\"b\""), MISMATCH),
        (CARGO_TOML.replace("1.0.0", "1.0.0+meta"), MISMATCH),
        ("[package]\nname = \"a\"\n".to_owned(), MALFORMED),
        ("[package".to_owned(), MALFORMED),
    ] {
        assert_eq!(found(&crate_of(&toml, &[])), [want], "{toml}");
    }
    let outside = crate_of(CARGO_TOML, &[("b-1.0.0/src/lib.rs", b"")]);
    assert_eq!(found(&outside), [("root-mismatch", Severity::High)]);
    let none = scanned("a-1.0.0.crate", Ecosystem::Cargo, &None, &tar_gz(&[("a-1.0.0/x", b"")]));
    assert_eq!(found(&none), [MISSING]);
}

#[test]
fn crate_hooks_are_build_scripts_and_procedural_macros() {
    let script: &[(&str, &[u8])] = &[("a-1.0.0/build.rs", b"fn main() {}")];
    for (more, files, want) in [
        ("", &[][..], vec![]),
        ("", script, vec!["build-script"]),
        ("build = false\n", script, vec![]),
        ("build = \"tools/b.rs\"\n", &[], vec!["build-script"]),
        ("[lib]\nproc-macro = true\n", &[], vec!["proc-macro"]),
        ("[lib]\nproc_macro = true\n", &[], vec!["proc-macro"]),
        ("[lib]\ncrate-type = [\"proc-macro\"]\n", script, vec!["build-script", "proc-macro"]),
        ("[lib]\nproc-macro = false\n", &[], vec![]),
    ] {
        assert_eq!(hooks(&crate_of(&format!("{CARGO_TOML}{more}"), files)), want, "{more}");
    }
}

fn wheel_with(
    info: &str,
    metadata: &str,
    more: &[(&str, &[u8])],
    expected: &Option<Expected>,
) -> StructureReport {
    let path = format!("{info}/METADATA");
    let mut files: Vec<(&str, &[u8])> = vec![(&path, metadata.as_bytes())];
    files.extend_from_slice(more);
    scanned("a_b-1.0-py3-none-any.whl", Ecosystem::Pypi, expected, &wheel(info, &files, |r| r))
}

#[test]
fn wheels_are_compared_by_directory_and_metadata() {
    let good = "Metadata-Version: 2.1\nName: A.b\nVersion: 1.0\n\n";
    let expected = expect("a-b", "1.0");
    for (info, metadata, want) in [
        ("a_b-1.0.dist-info", good, vec![]),
        ("A.B-1.0.0.dist-info", good, vec![]),
        ("other-1.0.dist-info", good, vec![MISMATCH]),
        ("a_b-1.1.dist-info", good, vec![MISMATCH]),
        ("a_b-1.0.dist-info", "Name: other\nVersion: 1.0\n", vec![MISMATCH]),
        ("a_b-1.0.dist-info", "Name: a-b\nVersion: 2\n", vec![MISMATCH]),
        ("a_b-1.0.dist-info", "Name: a-b\n", vec![MALFORMED]),
        ("a_b-1.0.dist-info", "Name: a-b\nVersion: 1.0\nname: c\n", vec![MALFORMED]),
    ] {
        let report = wheel_with(info, metadata, &[], &expected);
        assert_eq!(found(&report), want, "{info} {metadata}");
    }
    let legacy = expect("a-b", "2004d-final");
    let old =
        wheel_with("a_b-2004d_final.dist-info", "Name: a-b\nVersion: 2004d-final\n", &[], &legacy);
    assert_eq!(found(&old), [], "versions from before PEP 440");
}

#[test]
fn a_wheel_has_exactly_one_dist_info() {
    let scan = |files: &[(&str, &[u8])]| {
        scanned("a-1.0-py3-none-any.whl", Ecosystem::Pypi, &None, &zip(files))
    };
    assert_eq!(found(&scan(&[("a.py", b"")])), [MISSING]);
    let two: &[(&str, &[u8])] =
        &[("a-1.0.dist-info/METADATA", b""), ("b-1.0.dist-info/METADATA", b"")];
    assert_eq!(found(&scan(two)), [("several-dist-info", Severity::High)]);
    let no_record = scan(&[("a-1.0.dist-info/METADATA", b"Name: a\nVersion: 1.0\n")]);
    assert_eq!(found(&no_record), [MISSING]);
}

#[test]
fn wheel_hooks_are_what_python_runs_at_its_start() {
    let more: &[(&str, &[u8])] = &[
        ("evil.pth", b"import os; os.system('x')\n"),
        ("a_b-1.0.data/purelib/paths.pth", b"./vendor\n"),
        ("sitecustomize.py", b""),
        ("pkg/inner.pth", b"import x\n"),
    ];
    let report = wheel_with("a_b-1.0.dist-info", "Name: a-b\nVersion: 1.0\n", more, &None);
    assert_eq!(report.install_hooks, ["evil.pth", "paths.pth", "sitecustomize.py"]);
    let title = |path: &str| {
        let mut hooks = report.findings.iter().filter(|f| f.kind == FindingKind::InstallHook);
        hooks.find(|f| f.path.as_deref() == Some(path)).unwrap().title.as_str()
    };
    assert!(title("evil.pth").contains("runs code"));
    assert!(title("a_b-1.0.data/purelib/paths.pth").contains("adds directories"));
}

#[test]
fn wheels_that_write_the_modules_of_others_are_told() {
    let of = |name: &str, path: &str| {
        let metadata = format!("Name: {name}\nVersion: 1.0\n");
        let report = wheel_with("a_b-1.0.dist-info", &metadata, &[(path, b"")], &None);
        found(&report).into_iter().map(|(id, s)| (id.to_owned(), s)).collect::<Vec<_>>()
    };
    let foreign = vec![("foreign-module".to_owned(), Severity::Low)];
    for path in ["requests/__init__.py", "yaml/x.py", "a_b-1.0.data/platlib/six.py"] {
        assert_eq!(of("a-b", path), foreign, "{path}");
    }
    for (name, path) in [
        ("Requests", "requests/x.py"),
        ("PyYAML", "_yaml/x.py"),
        ("typing_extensions", "typing_extensions.py"),
    ] {
        assert_eq!(of(name, path), [], "{path}");
    }
    let common = vec![("common-module".to_owned(), Severity::Info)];
    assert_eq!(of("a-b", "tests/__init__.py"), common);
    assert_eq!(of("a-b", "a_b/requests/__init__.py"), []);
}

#[test]
fn source_distributions_are_compared_and_always_built() {
    let scan = |files: &[(&str, &[u8])]| {
        scanned("a-1.0.tar.gz", Ecosystem::Pypi, &expect("a", "1.0"), &tar_gz(files))
    };
    let info: (&str, &[u8]) = ("a-1.0/PKG-INFO", b"Metadata-Version: 1.0\nName: a\nVersion: 1.0\n");
    let good = scan(&[info, ("a-1.0/setup.py", b""), ("a-1.0/pyproject.toml", b"")]);
    assert_eq!((found(&good), hooks(&good)), (vec![], vec!["build-backend", "setup-py"]));
    let deep = scan(&[info, ("a-1.0/tests/setup.py", b"")]);
    assert_eq!(hooks(&deep), Vec::<&str>::new());
    let other = scan(&[("a-1.0/PKG-INFO", b"Name: b\nVersion: 1.0\n")]);
    assert_eq!(found(&other), [MISMATCH]);
    let none = scan(&[("a-1.0/setup.py", b"")]);
    assert_eq!(found(&none), [("metadata-missing", Severity::Low)]);
}

#[test]
fn debian_packages_are_compared_and_their_scripts_found() {
    let control: (&str, &[u8]) =
        ("./control", b"Package: hello\nVersion: 1:2.10-3\nArchitecture: amd64\n");
    let scan = |version: &str, files: &[(&str, &[u8])]| {
        let bytes = deb(files, &[("./usr/bin/hello", b"x")]);
        scanned("hello_2.10-3_amd64.deb", Ecosystem::Debian, &expect("hello", version), &bytes)
    };
    let good = scan("1:2.10-3", &[control, ("./postinst", b"#!/bin/sh\n"), ("./md5sums", b"")]);
    assert_eq!((found(&good), hooks(&good)), (vec![], vec!["postinst"]));
    assert_eq!(found(&scan("2.10-3", &[control])), [MISMATCH], "the epoch counts");
    assert_eq!(found(&scan("1:2.10-3", &[("./md5sums", b"")])), [MISSING]);
    assert_eq!(found(&scan("1:2.10-3", &[("./control", b"Package: a\n")])), [MALFORMED]);
}
