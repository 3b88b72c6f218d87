//! Good packages of each ecosystem pass; each thing that can be wrong is found and rated.

mod ecosystems;
pub(crate) mod mint;
mod source;

use super::*;
use mint::{tar, tar_gz, wheel, zip};
use std::io::Cursor;

pub(super) fn expect(name: &str, version: &str) -> Option<Expected> {
    Some(Expected { name: name.into(), version: version.into() })
}

pub(super) fn scanned(
    file_name: &str,
    ecosystem: Ecosystem,
    expected: &Option<Expected>,
    bytes: &[u8],
) -> StructureReport {
    let bytes = Cursor::new(bytes);
    let mut report =
        scan_archive(file_name, ecosystem, expected.as_ref(), bytes, &Limits::default());
    // Licences have tests of their own.
    report.findings.retain(|f| f.kind != FindingKind::Licence);
    report
}

/// Structure findings as `(id, severity)`, without `structure.`.
pub(super) fn found(report: &StructureReport) -> Vec<(&str, Severity)> {
    let structure = report.findings.iter().filter(|f| f.kind == FindingKind::Structure);
    structure.map(|f| (f.id.strip_prefix("structure.").unwrap(), f.severity)).collect()
}

pub(super) const PACKAGE_JSON: &[u8] = br#"{"name": "left-pad", "version": "1.3.0"}"#;

fn npm(files: &[(&str, &[u8])]) -> StructureReport {
    scanned("left-pad-1.3.0.tgz", Ecosystem::Npm, &expect("left-pad", "1.3.0"), &tar_gz(files))
}

#[test]
fn a_clean_package_passes_with_its_manifest() {
    let report = npm(&[("package/package.json", PACKAGE_JSON), ("package/index.js", b"1")]);
    assert_eq!(report.check, Check::passed(CHECK));
    assert_eq!((report.findings, report.install_hooks), (vec![], Vec::<String>::new()));
    assert_eq!(report.manifest.len(), 2);
    assert_eq!(report.metadata[0].content, PACKAGE_JSON);
    let declared = report.declared.unwrap();
    assert_eq!((declared.name.as_str(), declared.version.as_str()), ("left-pad", "1.3.0"));
}

#[test]
fn bytes_that_are_no_archive_fail() {
    for bytes in [&b"<!doctype html><p>sign in</p>"[..], b"", &[0x1f, 0x8b, 8, 0, 1, 2, 3]] {
        let report = scanned("left-pad-1.3.0.tgz", Ecosystem::Npm, &None, bytes);
        assert!(matches!(report.check.outcome, countersign_core::Outcome::Failed { .. }));
        assert_eq!(report.findings[0].severity, Severity::Critical, "{bytes:?}");
        let id = report.findings[0].id.as_str();
        assert!(matches!(id, "structure.not-an-archive" | "structure.truncated"), "{id}");
    }
    let report = scanned("a-1.0-py3-none-any.whl", Ecosystem::Pypi, &None, b"<html>");
    assert_eq!(found(&report), [("not-an-archive", Severity::Critical)]);
}

#[test]
fn an_archive_of_another_kind_is_found() {
    let files: &[(&str, &[u8])] = &[("package/package.json", PACKAGE_JSON)];
    let scan = |bytes: &[u8]| scanned("left-pad-1.3.0.tgz", Ecosystem::Npm, &None, bytes);
    assert_eq!(found(&scan(&tar(files))), [("kind-mismatch", Severity::Low)]);
    assert_eq!(found(&scan(&zip(files))), [("kind-mismatch", Severity::High)]);
}

#[test]
fn a_source_that_cannot_be_read_is_not_done() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
            Ok(10)
        }
    }
    let report = scan_archive("a.tgz", Ecosystem::Npm, None, Broken, &Limits::default());
    assert!(matches!(report.check.outcome, countersign_core::Outcome::NotDone { .. }));
}

#[test]
fn duplicates_are_low_when_identical_and_high_when_not() {
    let json = ("package/package.json", PACKAGE_JSON);
    let twice = |second: &'static [u8]| npm(&[json, ("package/a", b"x"), ("package/a", second)]);
    assert_eq!(found(&twice(b"x")), [("duplicate-name", Severity::Low)]);
    assert_eq!(twice(b"x").check, Check::passed(CHECK));
    assert_eq!(found(&twice(b"y")), [("duplicate-name", Severity::High)]);
    let thrice = npm(&[json, ("package/a", b"x"), ("package/a", b"y"), ("package/a", b"x")]);
    assert!(found(&thrice).contains(&("duplicate-name", Severity::High)));
}

#[test]
fn severities_are_as_documented() {
    let json = ("package/package.json", PACKAGE_JSON);
    for (path, want) in [
        ("package/../../x", ("path-traversal", Severity::Critical)),
        ("/etc/x", ("absolute-path", Severity::High)),
        ("package/a\u{202E}b", ("unicode-confusable-path", Severity::High)),
        ("package/Icon\r", ("control-character-path", Severity::Moderate)),
        ("package/PACKAGE.json", ("case-collision", Severity::Low)),
        ("package/a\\b", ("backslash-path", Severity::Low)),
    ] {
        let report = npm(&[json, (path, b"")]);
        assert_eq!(found(&report), [want], "{path:?}");
        let passes = want.1 < Severity::High;
        assert_eq!(report.check == Check::passed(CHECK), passes, "{path:?}");
        assert!(!report.findings[0].path.as_deref().unwrap().contains(char::is_control));
    }
}

#[test]
fn findings_of_one_kind_are_listed_to_a_number() {
    let names: Vec<String> = (0..50).map(|i| format!("package/../{i:02}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("package/package.json", PACKAGE_JSON)];
    files.extend(names.iter().map(|n| (n.as_str(), &b""[..])));
    let report = npm(&files);
    assert_eq!(report.findings.len(), LISTED);
    assert!(report.findings.last().unwrap().title.ends_with("(and 30 more of this kind)"));
}

#[test]
fn a_bomb_is_critical_and_says_nothing_about_metadata() {
    let limits = Limits { max_entries: 1, ..Limits::default() };
    let bytes = tar_gz(&[("package/a", b""), ("package/package.json", PACKAGE_JSON)]);
    let report = scan_archive("a.tgz", Ecosystem::Npm, None, Cursor::new(bytes), &limits);
    assert_eq!(found(&report), [("too-many-entries", Severity::Critical)]);
    assert_eq!(report.declared, None);
}

#[test]
fn metadata_that_is_too_large_is_found() {
    let huge = vec![b' '; (16 << 20) + 1];
    let report = npm(&[("package/package.json", &huge)]);
    assert!(found(&report).contains(&("metadata-too-large", Severity::High)));
}

const METADATA: &[u8] =
    b"Metadata-Version: 2.1\nName: Zope.Interface\nVersion: 5.0\n\nName: body\n";
const INFO: &str = "zope_interface-5.0.dist-info";

fn wheel_of(record: impl FnOnce(String) -> String) -> StructureReport {
    let files: [(&str, &[u8]); 2] =
        [("zope/__init__.py", b"x"), ("zope_interface-5.0.dist-info/METADATA", METADATA)];
    let bytes = wheel(INFO, &files, record);
    let expected = expect("zope-interface", "5.0.0");
    scanned("zope_interface-5.0-py3-none-any.whl", Ecosystem::Pypi, &expected, &bytes)
}

#[test]
fn a_clean_wheel_passes_under_equivalent_names_and_versions() {
    let report = wheel_of(|rows| rows);
    assert_eq!((report.check, report.findings), (Check::passed(CHECK), vec![]));
}

#[test]
fn records_that_do_not_match_are_found() {
    use Severity::{High, Low, Moderate};
    let first = |rows: &str| rows.lines().next().unwrap().to_owned();
    type Case<'a> = (&'a str, Box<dyn Fn(String) -> String>, Vec<(&'a str, Severity)>);
    let cases: [Case; 8] = [
        (
            "unlisted",
            Box::new(move |r| r.replace(&format!("{}\n", first(&r)), "")),
            vec![("record-mismatch", High)],
        ),
        (
            "other hash",
            Box::new(|r| r.replacen("sha256=", "sha256=A", 1)),
            vec![("record-mismatch", High)],
        ),
        (
            "weak hash",
            Box::new(|r| r.replacen("sha256=", "md5=", 1)),
            vec![("record-unhashed", Moderate)],
        ),
        (
            "no hash",
            Box::new(move |r| r.replace(&first(&r), "zope/__init__.py,,")),
            vec![("record-unhashed", Moderate)],
        ),
        (
            "missing file",
            Box::new(|r| r + "zope/gone.py,sha256=x,1\n"),
            vec![("record-missing-file", Low)],
        ),
        (
            "twice",
            Box::new(|r| r + "zope/__init__.py,sha256=x,1\n"),
            vec![("record-mismatch", High)],
        ),
        ("open quote", Box::new(|r| r + "\"zope"), vec![("metadata-malformed", High)]),
        ("padded", Box::new(|r| r.replace(",1\n", "=,1\n")), vec![]),
    ];
    for (what, change, want) in cases {
        let report = wheel_of(change);
        let mut got = found(&report);
        got.dedup();
        assert_eq!(got, want, "{what}: {:?}", report.findings);
    }
}

#[test]
fn signatures_over_record_need_no_row() {
    let files: [(&str, &[u8]); 1] = [("zope_interface-5.0.dist-info/METADATA", METADATA)];
    let jws = "zope_interface-5.0.dist-info/RECORD.jws";
    let with_signature = [files[0], (jws, b"sig")];
    let bytes = wheel(INFO, &with_signature, |rows| {
        rows.lines().filter(|l| !l.starts_with(jws)).map(|l| format!("{l}\n")).collect()
    });
    let report = scanned("zope_interface-5.0-py3-none-any.whl", Ecosystem::Pypi, &None, &bytes);
    assert_eq!(found(&report), []);
}
