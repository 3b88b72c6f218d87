//! The parts of a Debian source package.

use super::mint::tar_gz;
use super::{expect, found, scanned};
use crate::structure::StructureReport;
use countersign_core::{Ecosystem, Outcome, Severity};

fn scan(file_name: &str, bytes: &[u8]) -> StructureReport {
    scanned(file_name, Ecosystem::Debian, &expect("hello", "2.10-3"), bytes)
}

#[test]
fn a_description_is_compared_with_the_index() {
    let dsc = "Format: 3.0 (quilt)\nSource: hello\nVersion: 2.10-3\n";
    let signed = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{dsc}\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n"
    );
    let claim = ("uploader-claim", Severity::Info);
    for (text, want) in [
        (dsc.to_owned(), vec![]),
        (signed.clone(), vec![claim]),
        (signed.replace("2.10-3", "2.10-4"), vec![("name-mismatch", Severity::High), claim]),
        (dsc.replace("hello", "evil"), vec![("name-mismatch", Severity::High)]),
        ("\x7fELF".to_owned(), vec![("metadata-malformed", Severity::High)]),
    ] {
        let report = scan("hello_2.10-3.dsc", text.as_bytes());
        assert_eq!(found(&report), want, "{text}");
        let passed = matches!(report.check.outcome, Outcome::Passed);
        assert_eq!(passed, want.iter().all(|(_, s)| *s < Severity::High), "{text}");
    }
}

#[test]
fn a_signature_is_one_and_is_not_verified() {
    let armoured = b"-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n";
    for (bytes, want) in [
        (&armoured[..], ("uploader-claim", Severity::Info)),
        (&[0x88, 0x5d, 4][..], ("uploader-claim", Severity::Info)),
        (b"#!/bin/sh\n", ("not-a-signature", Severity::High)),
        (b"", ("not-a-signature", Severity::High)),
    ] {
        assert_eq!(found(&scan("hello_2.10.orig.tar.gz.asc", bytes)), [want], "{bytes:?}");
    }
}

#[test]
fn a_patch_is_unpacked_to_its_end() {
    // Any compressed bytes: what is in a patch is not looked at.
    let packed = tar_gz(&[("a.patch", b"--- a/x\n+++ b/x\n")]);
    let scan = |bytes: &[u8]| scan("hello_2.10-3.diff.gz", bytes);
    assert_eq!(found(&scan(&packed)), [("patch-not-read", Severity::Info)]);
    assert_eq!(found(&scan(&packed[..20])), [("not-an-archive", Severity::Critical)]);
    assert_eq!(found(&scan(b"plain")), [("not-an-archive", Severity::Critical)]);
}

#[test]
fn a_source_archive_needs_no_control_file_and_a_deb_does() {
    let tar = tar_gz(&[("hello-2.10/configure", b"#!/bin/sh\n")]);
    let report = scan("hello_2.10.orig.tar.gz", &tar);
    assert_eq!(found(&report), []);
    assert_eq!(report.manifest.len(), 1);
    let renamed = scan("hello_2.10-3_amd64.deb", &tar);
    assert!(found(&renamed).contains(&("kind-mismatch", Severity::High)));
}
