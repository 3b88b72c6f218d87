//! Advisories, and the structure of artifacts.

use crate::ecosystem::LIMITS;
use crate::{split, text};
use countersign_core::{Ecosystem, Outcome, Timestamp};
use countersign_scan::advisory::{FeedIndex, IndexBuilder, parse_record};
use countersign_scan::structure::listing::{Listing, against_index};
use countersign_scan::structure::{Expected, scan_archive};
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
