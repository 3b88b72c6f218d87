//! Advisories, and the structure of artifacts.

use crate::ecosystem::LIMITS;
use crate::{split, text};
use countersign_core::{Ecosystem, Outcome, Timestamp};
use countersign_core::{Finding, FindingKind, Severity, VexSource};
use countersign_scan::advisory::{FeedIndex, IndexBuilder, parse_record};
use countersign_scan::dependency;
use countersign_scan::structure::MetadataFile;
use countersign_scan::structure::listing::{Listing, against_index};
use countersign_scan::structure::{Expected, scan_archive};
use countersign_scan::vex::{self, VexSet};
use std::io::Cursor;

/// An artifact: the first byte chooses the ecosystem and the file's name, the rest is the file.
pub fn structure(data: &[u8]) {
    let Some((choice, file)) = data.split_first() else { return };
    let (name, ecosystem) = match choice % 9 {
        0 => ("example-1.0-py3-none-any.whl", Ecosystem::Pypi),
        1 => ("example-1.0.tar.gz", Ecosystem::Pypi),
        2 => ("example-1.0.tgz", Ecosystem::Npm),
        3 => ("example-1.0.crate", Ecosystem::Cargo),
        4 => ("example_1.0_amd64.deb", Ecosystem::Debian),
        6 => ("example_1.0.dsc", Ecosystem::Debian),
        7 => ("example_1.0.diff.gz", Ecosystem::Debian),
        8 => ("example_1.0.orig.tar.xz", Ecosystem::Debian),
        _ => ("example-1.0.zip", Ecosystem::Pypi),
    };
    let expected = Expected { name: "example".to_owned(), version: "1.0".to_owned() };
    let report = scan_archive(name, ecosystem, Some(&expected), Cursor::new(file), &LIMITS);
    assert!(
        !matches!(report.check.outcome, Outcome::NotDone { .. }),
        "bytes in memory can be read"
    );
}

/// A file's name and content, and the manifest of the npm package that holds it: what the scanners of
/// content see.
pub fn content(data: &[u8]) {
    let (path, rest) = split(data);
    let (content, manifest) = split(rest);
    let path = text(path);
    let findings = countersign_scan::content::scan_file(Ecosystem::Npm, &path, content, manifest);
    for finding in findings {
        assert!(!finding.title.chars().any(char::is_control), "{finding:?}");
    }
    let _ = countersign_scan::licence::licences_named(&text(content));
}

/// What an artifact and its index declare, in each ecosystem's form, compared.
pub fn listing(data: &[u8]) {
    let (own, index) = split(data);
    let read = |bytes: &[u8]| {
        let text = text(bytes);
        [
            (Ecosystem::Npm, Listing::of_npm_manifest(&text)),
            (Ecosystem::Cargo, Listing::of_cargo_line(&text)),
            (Ecosystem::Pypi, Some(Listing::of_wheel_metadata(bytes))),
            (Ecosystem::Debian, Listing::of_control(bytes)),
        ]
    };
    for ((ecosystem, own), (_, index)) in read(own).into_iter().zip(read(index)) {
        let (Some(own), Some(index)) = (own, index) else { continue };
        assert_eq!(against_index(ecosystem, &own, &own).0, [], "it is the same");
        for finding in against_index(ecosystem, &own, &index).0 {
            assert!(!finding.title.chars().any(char::is_control), "{finding:?}");
        }
        let _ = own.dependencies(ecosystem);
    }
}

/// An OSV record, and an index made of it alone.
pub fn osv_record(data: &[u8]) {
    let Ok(record) = parse_record(data) else { return };
    let mut builder = IndexBuilder::new();
    builder.begin_source("fuzz");
    builder.add_record(&record);
    let Ok(bytes) = builder.finish(Timestamp(1_700_000_000)) else { return };
    let index = FeedIndex::open(bytes).expect("an index that was made is opened");
    ask(&index);
    for package in record.affected.iter().filter_map(|a| a.package.as_ref()).take(4) {
        for ecosystem in Ecosystem::ALL {
            let _ = index.lookup(ecosystem, &package.name, "1.0", Some("12"));
        }
    }
}

/// The catalogue of exploited vulnerabilities, likelihoods, and records that stand one a line; and as a
/// CVSS vector whatever it is.
pub fn feed_lists(data: &[u8]) {
    let mut builder = IndexBuilder::new();
    let vector = text(data).replace(['"', '\\', '\n', '\r', '\t', '\0'], " ");
    let record = format!(
        r#"{{"id":"X-1","aliases":["CVE-1"],"severity":[{{"type":"CVSS_V3","score":"{vector}"}}],
        "affected":[{{"package":{{"ecosystem":"npm","name":"example"}},"versions":["1.0.0"]}}]}}"#
    );
    if let Ok(record) = parse_record(record.as_bytes()) {
        builder.add_record(&record);
    }
    let _ = builder.add_kev(data);
    let _ = builder.add_epss(data);
    let _ = builder.add_lines("fuzz", data);
    let Ok(bytes) = builder.finish(Timestamp(1_700_000_000)) else { return };
    ask(&FeedIndex::open(bytes).expect("an index that was made is opened"));
}

/// A VEX document of either form, put on a finding.
pub fn vex(data: &[u8]) {
    let Ok(document) = vex::parse(data) else { return };
    let first = document.statements.first().cloned();
    let mut set = VexSet::default();
    set.add(document, VexSource::Vendor);
    let Some(statement) = first else { return };
    let mut findings = [Finding {
        id: statement.vulnerability[0].clone(),
        aliases: Vec::new(),
        kind: FindingKind::Vulnerability,
        severity: Severity::High,
        title: String::new(),
        fixed_in: None,
        path: None,
        observed: None,
        exploitation: None,
        vex: Vec::new(),
    }];
    set.apply(&statement.product, &mut findings);
    for claim in &findings[0].vex {
        assert!(!claim.document.chars().any(char::is_control), "{claim:?}");
    }
}

/// The metadata of an artifact: what it declares to need.
pub fn declared(data: &[u8]) {
    for (ecosystem, path) in [
        (Ecosystem::Npm, "package/package.json"),
        (Ecosystem::Cargo, "example/Cargo.toml"),
        (Ecosystem::Pypi, "example/PKG-INFO"),
    ] {
        let file = MetadataFile { path: path.to_owned(), content: data.to_vec() };
        let all = dependency::declared(ecosystem, &[file]);
        assert!(all.iter().all(|d| !d.name.is_empty()));
    }
}

/// The file of an index.
pub fn feed_index(data: &[u8]) {
    let Ok(index) = FeedIndex::open(data.to_vec()) else { return };
    ask(&index);
}

fn ask(index: &FeedIndex<Vec<u8>>) {
    let _ = index.meta().newest_modified();
    for ecosystem in Ecosystem::ALL {
        for name in ["example", "@scope/example", ""] {
            for version in ["1.0", "1.0.0-rc.1", "1:1.0-1", ""] {
                let _ = index.lookup(ecosystem, name, version, Some("12"));
            }
            let _ = index.advisories_for(ecosystem, name, None);
        }
    }
}
