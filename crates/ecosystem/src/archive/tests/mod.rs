//! Archives are minted in memory: good ones, and one for each thing that can be wrong.

mod deb;
mod mint;
mod properties;
mod tar;
mod zip;

use super::*;
use mint::{Part, entry, gz, tar_of, zip_of};
use std::io::Cursor;

/// Walks and gives the summary with each entry's path and content.
pub(super) fn walked(
    bytes: &[u8],
    kind: ArchiveKind,
    limits: &Limits,
) -> (Summary, Vec<(String, Vec<u8>)>) {
    let mut entries = Vec::new();
    let summary = walk(Cursor::new(bytes), kind, limits, &mut |entry, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        entries.push((entry.path.clone(), bytes));
        Ok(())
    });
    (summary.unwrap(), entries)
}

pub(super) fn codes(bytes: &[u8], kind: ArchiveKind) -> Vec<ProblemCode> {
    let mut codes: Vec<_> =
        walked(bytes, kind, &Limits::default()).0.problems.iter().map(|p| p.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[test]
fn kinds_are_known_by_name_and_by_bytes() {
    use ArchiveKind as K;
    for (name, kind) in [
        ("flask-3.0.0-py3-none-any.whl", Some(K::Zip)),
        ("six-1.0.TAR.GZ", Some(K::TarGz)),
        ("lodash-4.17.21.tgz", Some(K::TarGz)),
        ("serde-1.0.0.crate", Some(K::TarGz)),
        ("x.tar.bz2", Some(K::TarBz2)),
        ("x.tar.xz", Some(K::TarXz)),
        ("x.tar.zst", Some(K::TarZst)),
        ("x.tar", Some(K::Tar)),
        ("hello_2.10-3_amd64.deb", Some(K::Deb)),
        ("x.exe", None),
        ("tgz", None),
    ] {
        assert_eq!(ArchiveKind::of_file_name(name), kind, "{name}");
    }
    let tar = tar_of(&[entry("a", b"x")]);
    for (bytes, kind) in [
        (zip_of(&[Part::new("a", b"x")]), Some(K::Zip)),
        (gz(&tar), Some(K::TarGz)),
        (tar, Some(K::Tar)),
        (mint::deb("data.tar", &[]), Some(K::Deb)),
        (b"<html>not found</html>".to_vec(), None),
        (Vec::new(), None),
    ] {
        assert_eq!(ArchiveKind::sniff(&bytes), kind);
    }
}

/// A small archive for each code, and the limits under which the code is due.
fn specimens() -> Vec<(ProblemCode, Vec<u8>, ArchiveKind, Limits)> {
    use ArchiveKind::{Tar, TarGz, Zip};
    use ProblemCode as C;
    let file = |path: &str| tar_of(&[entry(path, b"x")]);
    let default = Limits::default;
    let two = || [entry("a", b"x"), entry("b", b"y")];
    let zeros = vec![0; 1 << 20];
    let whole = zip_of(&[Part::new("a", b"x")]);
    let mut other_method = Part::new("a", b"x");
    other_method.method = 14;
    let mut encrypted = Part::new("a", b"x");
    encrypted.flags = 1;
    let mut device = entry("dev", b"");
    device.typeflag = b'3';
    let mut setuid = entry("su", b"x");
    setuid.mode = 0o4755;
    let mut sparse = entry("s", b"x");
    sparse.typeflag = b'S';
    let twice = [gz(&tar_of(&[entry("a", b"x")])), gz(&[0; 512])].concat();
    let limited = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    let bomb = |l: &mut Limits| (l.max_ratio, l.ratio_from_bytes) = (50, 1000);
    vec![
        (C::PathTraversal, file("../x"), Tar, default()),
        (C::AbsolutePath, file("/etc/x"), Tar, default()),
        (
            C::SymlinkOutside,
            tar_of(&[entry("p/a", b""), mint::symlink("p/l", "../../x")]),
            Tar,
            default(),
        ),
        (
            C::SymlinkInPath,
            tar_of(&[mint::symlink("p/l", "d"), entry("p/l/x", b"x")]),
            Tar,
            default(),
        ),
        (C::HardlinkOutside, tar_of(&[mint::hardlink("a", "etc/shadow")]), Tar, default()),
        (C::DeviceFile, tar_of(&[device]), Tar, default()),
        (C::DuplicateName, tar_of(&[entry("a", b"x"), entry("./a", b"y")]), Tar, default()),
        (C::CaseCollision, tar_of(&[entry("A", b"x"), entry("a", b"y")]), Tar, default()),
        (C::UnicodeConfusablePath, file("a\u{202E}gpj.py"), Tar, default()),
        (C::ControlCharacterPath, file("Icon\r"), Tar, default()),
        (C::BackslashPath, file("a\\b"), Tar, default()),
        (
            C::UndecodablePath,
            tar_of(&[mint::Item { path: b"caf\xe9".to_vec(), ..entry("", b"x") }]),
            Tar,
            default(),
        ),
        (C::PathTooLong, file("aaaaaaaaaaaaaaaaaaaa"), Tar, limited(|l| l.max_path_len = 10)),
        (C::TooManyEntries, tar_of(&two()), Tar, limited(|l| l.max_entries = 1)),
        (C::TooManyEntries, tar_of(&two()), Tar, limited(|l| l.max_names_bytes = 1)),
        (
            C::TooManyEntries,
            zip_of(&[Part::new("a", b""), Part::new("b", b"")]),
            Zip,
            limited(|l| l.max_entries = 1),
        ),
        (C::TooLarge, tar_of(&two()), Tar, limited(|l| l.max_unpacked_bytes = 1024)),
        (C::TooLarge, tar_of(&[entry("a", b"12345")]), Tar, limited(|l| l.max_entry_bytes = 4)),
        (C::TooLarge, zip_of(&[Part::new("a", b"12345")]), Zip, limited(|l| l.max_entry_bytes = 4)),
        (
            C::TooLarge,
            mint::xz(&file("a")),
            ArchiveKind::TarXz,
            limited(|l| l.max_decoder_memory = 4096),
        ),
        (C::Ratio, gz(&tar_of(&[entry("a", &zeros)])), TarGz, limited(bomb)),
        (C::Ratio, zip_of(&[Part::deflated("a", &zeros)]), Zip, limited(bomb)),
        (C::Depth, file("a/b/c/d"), Tar, limited(|l| l.max_depth = 3)),
        (C::EncryptedEntry, zip_of(&[encrypted]), Zip, default()),
        (C::UnsupportedCompression, zip_of(&[other_method]), Zip, default()),
        (
            C::HeaderMismatch,
            zip_of(&[Part { local_name: Some("b".into()), ..Part::new("a", b"x") }]),
            Zip,
            default(),
        ),
        (C::OverlappingEntries, mint::overlapping_zip(), Zip, default()),
        (C::HiddenData, mint::zip_with_gap(b"hidden"), Zip, default()),
        (C::PrependedData, [b"#!/bin/sh\n".to_vec(), whole.clone()].concat(), Zip, default()),
        (C::TrailingData, [whole.clone(), b"tail".to_vec()].concat(), Zip, default()),
        (C::SeveralMembers, twice, TarGz, default()),
        (C::SparseFile, tar_of(&[sparse]), Tar, default()),
        (C::Setuid, tar_of(&[setuid]), Tar, default()),
        (C::NotAnArchive, b"<html>".to_vec(), Zip, default()),
        (C::NotAnArchive, b"<html>not found</html>".to_vec(), TarGz, default()),
        (C::NotAnArchive, vec![b'x'; 600], Tar, default()),
        (C::Truncated, whole[..30].to_vec(), Zip, default()),
        (C::Truncated, tar_of(&[entry("a", &[b'x'; 600])])[..700].to_vec(), Tar, default()),
    ]
}

#[test]
fn every_code_has_a_specimen_that_shows_it() {
    let specimens = specimens();
    for (i, (code, bytes, kind, limits)) in specimens.iter().enumerate() {
        let (summary, _) = walked(bytes, *kind, limits);
        assert!(summary.has(*code), "{i}: {code} expected, {:?} found", summary.problems);
        assert_eq!(summary.complete, !code.ends_walk(), "{i}: {code}");
    }
    for code in ProblemCode::ALL {
        assert!(specimens.iter().any(|s| s.0 == *code), "{code} has no specimen");
    }
}

#[test]
fn code_names_are_what_serde_writes() {
    for code in ProblemCode::ALL {
        assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
    }
}

#[test]
fn the_same_tar_reads_alike_in_every_compression() {
    let tar = tar_of(&[entry("p/a", b"hello"), entry("p/b", &[7; 5000])]);
    let want = walked(&tar, ArchiveKind::Tar, &Limits::default()).1;
    assert_eq!(want.len(), 2);
    for (bytes, kind) in [
        (gz(&tar), ArchiveKind::TarGz),
        (mint::bz2(&tar), ArchiveKind::TarBz2),
        (mint::xz(&tar), ArchiveKind::TarXz),
        (zstd::encode_all(&*tar, 1).unwrap(), ArchiveKind::TarZst),
    ] {
        let (summary, entries) = walked(&bytes, kind, &Limits::default());
        assert_eq!((summary.problems, summary.complete), (vec![], true), "{kind:?}");
        assert_eq!(entries, want, "{kind:?}");
        let cut = walked(&bytes[..bytes.len() - 12], kind, &Limits::default()).0;
        assert!(!cut.complete, "{kind:?}");
    }
}

#[test]
fn a_visitor_that_reads_nothing_misses_no_problem() {
    let mut bad = Part::new("a", b"hello");
    bad.crc = Some(1);
    let bytes = zip_of(&[bad]);
    let summary =
        walk(Cursor::new(bytes), ArchiveKind::Zip, &Limits::default(), &mut |_, _| Ok(()));
    assert!(summary.unwrap().has(ProblemCode::HeaderMismatch));
}

#[test]
fn a_visitor_that_gives_up_is_an_error_and_a_bomb_is_not() {
    let bytes = tar_of(&[entry("a", b"x")]);
    let give_up = |_: &Entry, _: &mut dyn Read| Err(ArchiveError::Visitor("enough".into()));
    let e = walk(Cursor::new(&bytes), ArchiveKind::Tar, &Limits::default(), &mut { give_up });
    assert!(matches!(e, Err(ArchiveError::Visitor(_))));
    let limits = Limits { max_unpacked_bytes: 512, ..Limits::default() };
    assert!(walked_strictly(&bytes, &limits).has(ProblemCode::TooLarge));
}

/// A visitor that hands each read error on, as most do.
fn walked_strictly(bytes: &[u8], limits: &Limits) -> Summary {
    walk(Cursor::new(bytes), ArchiveKind::Tar, limits, &mut |_, content| {
        io::copy(content, &mut io::sink())?;
        Ok(())
    })
    .unwrap()
}

#[test]
fn a_source_that_fails_is_an_error_not_a_problem() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.position() {
                0..1000 => self.0.read(&mut buf[..100]),
                _ => Err(io::Error::other("disk on fire")),
            }
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let source = Failing(Cursor::new(tar_of(&[entry("a", &[1; 4000])])));
    let result = walk(source, ArchiveKind::Tar, &Limits::default(), &mut |_, _| Ok(()));
    assert!(matches!(result, Err(ArchiveError::Io(_))), "{result:?}");
}

#[test]
fn the_manifest_has_each_file_and_hard_link() {
    let bytes = tar_of(&[entry("p/a", b"hello"), mint::hardlink("p/b", "p/a"), entry("p/c", b"")]);
    let (summary, manifest) = walk_with_manifest(
        Cursor::new(bytes),
        ArchiveKind::Tar,
        &Limits::default(),
        &mut |_, _| Ok(()),
    )
    .unwrap();
    assert!(summary.complete && summary.problems.is_empty());
    let got: Vec<_> = manifest.iter().map(|e| (e.path.as_str(), e.sha256, e.size)).collect();
    let of = countersign_core::Sha256Digest::of;
    assert_eq!(got, [("p/a", of(b"hello"), 5), ("p/c", of(b""), 0), ("p/b", of(b"hello"), 5)]);
}

#[test]
fn problems_are_listed_up_to_a_number_and_then_counted() {
    let items: Vec<_> = (0..1100).map(|i| entry(&format!("../{i}"), b"")).collect();
    let summary = walked(&tar_of(&items), ArchiveKind::Tar, &Limits::default()).0;
    assert_eq!((summary.problems.len(), summary.problems_left_out), (1000, 100));
}
