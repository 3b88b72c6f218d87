//! The real feeds, where they are at hand.

use super::*;
use crate::advisory::{FeedLimits, OsvRecord, read_zip};
use countersign_core::{FindingKind, Severity};
use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Instant;

const FEEDS: [&str; 7] =
    ["npm", "PyPI", "cargo", "Debian", "malicious-npm", "malicious-PyPI", "malicious-cargo"];

fn feeds() -> Option<PathBuf> {
    let shared = std::env::var_os("COUNTERSIGN_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let feeds = shared.join("feeds");
    if !feeds.is_dir() {
        eprintln!("skipped: no feeds at {}", feeds.display());
        return None;
    }
    Some(feeds)
}

/// The index of all feeds, built once for all tests here; its figures are printed.
static ALL: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let feeds = feeds()?;
    let start = Instant::now();
    let mut builder = IndexBuilder::new();
    for name in FEEDS {
        let file = File::open(feeds.join(format!("{name}.zip"))).unwrap();
        let source = builder.add_zip(name, file, &FeedLimits::default()).unwrap();
        assert_eq!(source.unreadable, 0, "{name}");
    }
    builder.add_kev(&std::fs::read(feeds.join("kev.json")).unwrap()).unwrap();
    let bytes = builder.finish(BUILT).unwrap();
    eprintln!("built {} bytes in {:?}", bytes.len(), start.elapsed());
    Some(bytes)
});

fn open() -> Option<FeedIndex<&'static [u8]>> {
    let bytes = ALL.as_ref()?;
    let start = Instant::now();
    let index = FeedIndex::open(bytes.as_slice()).unwrap();
    eprintln!("opened {} packages in {:?}", index.meta().packages, start.elapsed());
    Some(index)
}

fn records_of(feed: &str) -> Vec<OsvRecord> {
    let Some(feeds) = feeds() else { return Vec::new() };
    let mut records = Vec::new();
    let file = File::open(feeds.join(format!("{feed}.zip"))).unwrap();
    read_zip(file, &FeedLimits::default(), &mut |_, bytes| {
        records.push(parse_record(bytes).unwrap());
    })
    .unwrap();
    records
}

#[test]
fn meta_counts_what_the_feeds_hold() {
    let Some(index) = open() else { return };
    let of = |name: &str| index.meta().sources.iter().find(|s| s.name == name).unwrap();
    assert_eq!((of("npm").records, of("cargo").records, of("Debian").records), (3621, 1206, 895));
    assert_eq!((of("malicious-npm").records, of("malicious-npm").withdrawn), (22_296, 55));
    assert_eq!(of("Debian").newest_modified.map(Timestamp::date).as_deref(), Some("2023-03-29"));
    let covered: Vec<_> = index.meta().coverage.iter().map(|c| c.ecosystem.as_str()).collect();
    assert_eq!(covered, ["Debian:10", "Debian:11", "PyPI", "crates.io", "npm"]);
    assert_eq!(index.meta().exploited.as_ref().map(|e| e.entries), Some(1404));
}

#[test]
fn an_old_lodash_has_critical_and_high_findings() {
    let Some(index) = open() else { return };
    let m = index.lookup(Ecosystem::Npm, "lodash", "4.17.4", None).unwrap();
    let severity = |id: &str| m.findings.iter().find(|f| f.is_named(id)).map(|f| f.severity);
    assert_eq!(severity("CVE-2019-10744"), Some(Severity::Critical));
    assert_eq!(severity("CVE-2021-23337"), Some(Severity::High));
    let fixed = m.findings.iter().find(|f| f.id == "CVE-2019-10744").unwrap();
    assert_eq!(fixed.fixed_in.as_deref(), Some("4.17.12"));
    let m = index.lookup(Ecosystem::Npm, "lodash", "4.17.21", None).unwrap();
    assert!(m.findings.iter().all(|f| f.kind == FindingKind::Notice), "{:?}", m.findings);
}

#[test]
fn known_cases_are_found_in_each_ecosystem() {
    let Some(index) = open() else { return };
    for (ecosystem, name, version, id, found) in [
        (Ecosystem::Pypi, "Django", "2.2.0", "PYSEC-2019-16", true),
        (Ecosystem::Cargo, "openssl", "0.8.3", "RUSTSEC-2016-0001", true),
        (Ecosystem::Cargo, "openssl", "0.9.0", "RUSTSEC-2016-0001", false),
        (Ecosystem::Debian, "xorg-server", "2:1.20.11-1+deb11u5", "DSA-5380-1", true),
        (Ecosystem::Debian, "xorg-server", "2:1.20.11-1+deb11u6", "DSA-5380-1", false),
        (Ecosystem::Npm, "@solana/web3.js", "1.95.7", "MAL-2024-11183", true),
        (Ecosystem::Npm, "@solana/web3.js", "1.95.8", "MAL-2024-11183", false),
    ] {
        let m = index.lookup(ecosystem, name, version, Some("bullseye")).unwrap();
        let is = m.findings.iter().any(|f| f.is_named(id));
        assert_eq!(is, found, "{name} {version} {id}: {:?}", m.findings);
    }
}

/// The versions that a record surely names: those listed, the starts of its ranges, or any.
fn named_versions(record: &OsvRecord) -> Vec<String> {
    let affected = &record.affected[0];
    let starts =
        affected.ranges.iter().flat_map(|r| &r.events).filter_map(|e| e.introduced.as_ref());
    let starts = starts.map(|v| if v == "0" { "0.0.1".to_owned() } else { v.clone() });
    let all: Vec<String> = affected.versions.iter().cloned().chain(starts).collect();
    if all.is_empty() { vec!["1.0.0".to_owned()] } else { all }
}

#[test]
fn every_live_malicious_record_is_found_and_no_withdrawn_one_is() {
    let Some(index) = open() else { return };
    for (feed, ecosystem) in [
        ("malicious-npm", Ecosystem::Npm),
        ("malicious-PyPI", Ecosystem::Pypi),
        ("malicious-cargo", Ecosystem::Cargo),
    ] {
        let records = records_of(feed);
        let live: HashSet<&str> =
            records.iter().filter(|r| !r.withdrawn).map(|r| r.id.as_str()).collect();
        let (mut found, mut lookups) = (0, 0);
        let start = Instant::now();
        for record in &records {
            let name = &record.affected[0].package.as_ref().unwrap().name;
            for version in named_versions(record) {
                lookups += 1;
                let m = index.lookup(ecosystem, name, &version, None).unwrap();
                assert!(m.findings.iter().all(|f| f.kind != FindingKind::Malicious
                    || live.contains(f.id.as_str())
                    || !f.id.starts_with("MAL-")));
                let is = m
                    .findings
                    .iter()
                    .any(|f| f.kind == FindingKind::Malicious && f.is_named(&record.id));
                assert_eq!(is, !record.withdrawn, "{} {name} {version}", record.id);
            }
            found += usize::from(!record.withdrawn);
        }
        eprintln!("{feed}: {found} records, {:?} a look-up", start.elapsed() / lookups);
        assert_eq!(found, live.len());
    }
}

#[test]
fn listed_versions_of_pypi_agree_with_the_ranges() {
    let Some(index) = open() else { return };
    let (mut checked, start) = (0u32, Instant::now());
    for record in records_of("PyPI").iter().filter(|r| !r.withdrawn) {
        for affected in &record.affected {
            let name = &affected.package.as_ref().unwrap().name;
            let package = index.package(Ecosystem::Pypi, name, None).unwrap();
            for version in affected.versions.iter().step_by(23) {
                let m = package.findings_for(version);
                let is = m.findings.iter().any(|f| f.is_named(&record.id));
                assert!(is, "{} {name} {version}", record.id);
                checked += 1;
            }
        }
    }
    eprintln!("PyPI: {checked} versions, {:?} each", start.elapsed() / checked.max(1));
    assert!(checked > 3_000);
}

#[test]
fn a_package_with_many_advisories_is_judged_in_many_versions() {
    let Some(index) = open() else { return };
    for (ecosystem, name) in [
        (Ecosystem::Pypi, "tensorflow"),
        (Ecosystem::Pypi, "django"),
        (Ecosystem::Npm, "lodash"),
        (Ecosystem::Npm, "absent"),
    ] {
        let start = Instant::now();
        let package = index.package(ecosystem, name, None).unwrap();
        let parsed = start.elapsed();
        let versions = (0..500).map(|n| format!("{}.{}.{}", n / 100, n / 10 % 10, n % 10));
        let start = Instant::now();
        let found: usize = versions.map(|v| package.findings_for(&v).findings.len()).sum();
        eprintln!(
            "{name}: {} advisories in {parsed:?}, 500 versions in {:?}, {found} findings",
            package.advisories().len(),
            start.elapsed()
        );
        assert_eq!(found > 0, name != "absent");
    }
}
