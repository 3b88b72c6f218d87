//! The file: damage is found, other versions are named, archives are read under limits.

use super::*;
use crate::advisory::{FORMAT_VERSION, FeedError, FeedLimits};
use Ecosystem::{Npm, Pypi};
use proptest::prelude::*;
use std::io::{Cursor, Write as _};
use std::sync::LazyLock;

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    bytes_of(&[
        record("GHSA-1", Npm, json!({"ranges": events("i0 f2.0.0"), "versions": ["9.0.0"]})),
        record("PYSEC-1", Pypi, json!({"ranges": events("i1.0 l2.0")})),
        record("MAL-1", Pypi, json!({})),
    ])
});

/// Everything that is asked of the sample.
fn answers(bytes: Vec<u8>) -> Result<Vec<Matched>, FeedError> {
    let index = FeedIndex::open(bytes)?;
    [(Npm, "p", "1.0.0"), (Pypi, "p", "1.5"), (Pypi, "q", "1.5"), (Npm, "p", "2.0.0")]
        .into_iter()
        .map(|(ecosystem, name, version)| index.lookup(ecosystem, name, version, None))
        .collect()
}

#[test]
fn every_flipped_bit_is_an_error_or_changes_no_answer() {
    let want = answers(SAMPLE.clone()).unwrap();
    for at in 0..SAMPLE.len() {
        for bit in 0..8 {
            let mut bytes = SAMPLE.clone();
            bytes[at] ^= 1 << bit;
            if let Ok(got) = answers(bytes) {
                assert_eq!(got, want, "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn every_byte_of_header_table_and_packages_is_covered() {
    // The sample asks for every package, so that no flip at all goes unnoticed.
    for at in 0..SAMPLE.len() {
        let mut bytes = SAMPLE.clone();
        bytes[at] ^= 0x10;
        assert!(answers(bytes).is_err(), "byte {at}");
    }
}

#[test]
fn truncated_and_extended_files_do_not_open() {
    for end in 0..SAMPLE.len() {
        assert!(FeedIndex::open(SAMPLE[..end].to_vec()).is_err(), "{end}");
    }
    let longer: Vec<u8> = SAMPLE.iter().copied().chain([0]).collect();
    assert!(matches!(FeedIndex::open(longer), Err(FeedError::Corrupt { .. })));
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = SAMPLE.clone();
    bytes[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let error = FeedIndex::open(bytes.clone()).unwrap_err();
    assert!(matches!(error, FeedError::NewerFormat { found, .. } if found == FORMAT_VERSION + 1));
    assert!(error.to_string().contains("version 3, newer than version 2"));
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    assert!(matches!(FeedIndex::open(bytes), Err(FeedError::Corrupt { .. })));
}

#[test]
fn other_files_are_no_index() {
    for bytes in [vec![], b"PK\x03\x04".to_vec(), vec![0; 500], vec![b'{'; 72]] {
        assert!(matches!(FeedIndex::open(bytes), Err(FeedError::NotAnIndex)));
    }
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let records = [record("A-1", Npm, json!({"versions": ["1.0.0", "0.1.0"]}))];
    assert_eq!(bytes_of(&records), bytes_of(&records));
}

#[test]
fn an_empty_index_opens_and_covers_nothing() {
    let index = index_of(&[]);
    assert!(index.meta().coverage.is_empty());
    assert!(matches!(index.lookup(Npm, "p", "1.0.0", None), Err(FeedError::NotCovered { .. })));
}

proptest! {
    #[test]
    fn any_damage_is_an_error(edits in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..8)) {
        let mut bytes = SAMPLE.clone();
        for (at, with) in &edits {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        if bytes != *SAMPLE {
            prop_assert!(answers(bytes).is_err());
        }
    }

    #[test]
    fn any_bytes_are_an_error(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(FeedIndex::open(tail.clone()).is_err());
        let mut bytes = SAMPLE[..16].to_vec();
        bytes.extend(tail);
        prop_assert!(FeedIndex::open(bytes).is_err());
    }

    #[test]
    fn any_version_text_has_an_answer(version in "\\PC{0,40}") {
        let index = FeedIndex::open(SAMPLE.as_slice()).unwrap();
        for ecosystem in [Npm, Pypi] {
            let m = index.lookup(ecosystem, "p", &version, None).unwrap();
            // The malicious record names no version: it holds for any text whatever.
            prop_assert_eq!(m.findings.iter().any(|f| f.id == "MAL-1"), ecosystem == Pypi);
        }
    }
}

fn zip_of(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    let mut out = writer.finish().unwrap();
    out.set_position(0);
    out
}

#[test]
fn archives_are_read_under_limits() {
    let good = record("GHSA-1", Npm, json!({})).to_string();
    let blank = vec![b' '; 100_000];
    let limits = FeedLimits { record_bytes: 50_000, records: 3, total_bytes: 60_000 };
    let add = |files: &[(&str, &[u8])]| IndexBuilder::new().add_zip("f", zip_of(files), &limits);
    let half = vec![b' '; 40_000];
    let source = add(&[("a.json", good.as_bytes()), ("b.json", b"{"), ("README", b"x")]).unwrap();
    assert_eq!((source.records, source.unreadable), (1, 1));
    for files in [
        vec![("a.json", blank.as_slice())],
        vec![("a.json", half.as_slice()), ("b.json", half.as_slice())],
        vec![("1.json", b"{}".as_slice()), ("2.json", b"{}"), ("3.json", b"{}"), ("4.json", b"{}")],
    ] {
        assert!(matches!(add(&files), Err(FeedError::Limit { .. })), "{}", files.len());
    }
    assert!(matches!(add(&[("a.json", b"<html>")]), Err(FeedError::NothingReadable { .. })));
    let html = Cursor::new(b"<html>not a feed</html>".to_vec());
    let e = IndexBuilder::new().add_zip("f", html, &limits).unwrap_err();
    assert!(matches!(e, FeedError::Archive { .. }));
}

#[test]
fn a_fingerprint_changes_with_what_is_said_about_the_package_alone() {
    let named = |id: &str, name: &str, events_of: &str| {
        let mut r = record(id, Npm, json!({"ranges": events(events_of)}));
        r["affected"][0]["package"]["name"] = json!(name);
        r
    };
    let before = index_of(&[named("GHSA-1", "a", "i0 f2.0.0"), named("GHSA-2", "b", "i0")]);
    let after = index_of(&[named("GHSA-1", "a", "i0 f3.0.0"), named("GHSA-2", "b", "i0")]);
    let same = |name| before.fingerprint(Npm, name, None) == after.fingerprint(Npm, name, None);
    assert!(!same("a"), "the range differs");
    assert!(same("b") && same("never-listed"));
    let fewer = index_of(&[named("GHSA-2", "b", "i0")]);
    assert_ne!(fewer.fingerprint(Npm, "a", None), before.fingerprint(Npm, "a", None));
    // That nothing is known of an ecosystem is another answer than that a package is not listed.
    assert_ne!(before.fingerprint(Pypi, "a", None), SAMPLE_INDEX.fingerprint(Pypi, "a", None));
    assert_eq!(before.fingerprint(Pypi, "a", None), after.fingerprint(Pypi, "a", None));
}

static SAMPLE_INDEX: LazyLock<crate::advisory::FeedIndex<Vec<u8>>> =
    LazyLock::new(|| crate::advisory::FeedIndex::open(SAMPLE.clone()).unwrap());
