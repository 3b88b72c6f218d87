//! ZIP: what readers of the two indexes see differently.

use super::mint::{Part, zip_of, zip_with_comment, zip_with_gap};
use super::{codes, walked};
use crate::archive::{ArchiveKind::Zip, Limits, ProblemCode as C};
use std::io::Write as _;

#[test]
fn good_archives_have_no_problems() {
    let parts = [
        Part::new("pkg/", b""),
        Part::new("pkg/a.py", b"print()"),
        Part::deflated("pkg/b.py", &[b'x'; 5000]),
        Part::streamed("pkg/c.py", &[b'y'; 5000]),
        Part::new("pkg/empty", b""),
    ];
    let mut parts = parts.to_vec();
    parts[1].mode = 0o100_755;
    for comment in [&b""[..], b"made by hand"] {
        let (summary, entries) =
            walked(&zip_with_comment(&parts, comment), Zip, &Limits::default());
        assert_eq!((summary.problems, summary.complete, summary.entries), (vec![], true, 5));
        assert_eq!(entries[0], ("pkg".to_owned(), vec![]));
        assert_eq!(entries[3], ("pkg/c.py".to_owned(), vec![b'y'; 5000]));
    }
    assert_eq!(codes(&zip_of(&[]), Zip), []);
}

#[test]
fn archives_of_another_writer_have_no_problems() {
    use zip::CompressionMethod as M;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, method, zip64) in
        [("a", M::Stored, false), ("d/b", M::Deflated, false), ("d/c", M::Deflated, true)]
    {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(name, options.large_file(zip64).unix_permissions(0o644)).unwrap();
        writer.write_all(&[b'z'; 3000]).unwrap();
    }
    writer.add_symlink("d/l", "b", zip::write::SimpleFileOptions::default()).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    let (summary, entries) = walked(&bytes, Zip, &Limits::default());
    assert_eq!((summary.problems, summary.entries), (vec![], 4));
    assert_eq!(entries[2], ("d/c".to_owned(), vec![b'z'; 3000]));
    assert_eq!(entries[3], ("d/l".to_owned(), b"b".to_vec()));
}

#[test]
fn differences_between_local_header_and_directory_are_found() {
    let a = || Part::new("a", b"hello");
    let streamed = || Part::streamed("a", b"hello");
    let mut bad_descriptor = streamed();
    bad_descriptor.descriptor.as_mut().unwrap()[4] ^= 1;
    let mut leftover = Part::deflated("a", b"hello");
    leftover.packed.extend_from_slice(b"more");
    for (what, part) in [
        ("name", Part { local_name: Some(b"b".to_vec()), ..a() }),
        ("size", Part { local_size: Some(4), ..a() }),
        ("flags", Part { local_flags: Some(1 << 11), ..a() }),
        ("checksum", Part { crc: Some(7), ..a() }),
        ("announced size", Part { size: 4, ..Part::deflated("a", b"hello") }),
        ("descriptor", bad_descriptor),
        ("leftover", leftover),
        ("directory with content", Part::new("a/", b"hello")),
    ] {
        assert_eq!(codes(&zip_of(&[part]), Zip), [C::HeaderMismatch], "{what}");
    }
    assert_eq!(codes(&zip_of(&[streamed()]), Zip), []);
}

#[test]
fn descriptors_may_lack_their_signature() {
    let mut part = Part::streamed("a", b"hello");
    part.descriptor.as_mut().unwrap().drain(..4);
    assert_eq!(codes(&zip_of(&[part, Part::new("b", b"x")]), Zip), []);
}

#[test]
fn bytes_between_entries_are_found() {
    let hidden = Part::new("hidden.py", b"evil").local();
    assert_eq!(codes(&zip_with_gap(&hidden), Zip), [C::HeaderMismatch]);
    assert_eq!(codes(&zip_with_gap(b"abc"), Zip), [C::HiddenData]);
    assert_eq!(codes(&zip_with_gap(&[0; 64]), Zip), [], "padding for alignment");
}

#[test]
fn a_second_end_record_is_found() {
    let inner = zip_of(&[Part::new("other", b"x")]);
    let outer = zip_with_comment(&[Part::new("a", b"x")], &inner);
    assert!(codes(&outer, Zip).contains(&C::HeaderMismatch));
}

#[test]
fn a_wrong_number_of_entries_is_found() {
    let mut bytes = zip_of(&[Part::new("a", b"x"), Part::new("b", b"x")]);
    let count = bytes.len() - 12;
    bytes[count] = 1;
    assert_eq!(codes(&bytes, Zip), [C::HeaderMismatch]);
}

#[test]
fn offsets_that_know_of_prepended_bytes_are_prepended_data_too() {
    // As self-extracting archives are: the first entry's offset is not zero.
    let (before, part) = (b"MZ stub".to_vec(), Part::new("a", b"x"));
    let mut bytes = [before.clone(), part.local()].concat();
    let directory = part.central(before.len());
    let offset = bytes.len();
    bytes.extend_from_slice(&directory);
    bytes.extend(super::mint::end_record(1, directory.len(), offset, b""));
    assert_eq!(codes(&bytes, Zip), [C::PrependedData]);
}

#[test]
fn zip_symlinks_are_resolved() {
    let link =
        |name: &str, target: &str| Part { mode: 0o120_777, ..Part::new(name, target.as_bytes()) };
    let outside = [Part::new("p/a", b""), link("p/l", "../../etc/passwd")];
    assert_eq!(codes(&zip_of(&outside), Zip), [C::SymlinkOutside]);
    assert_eq!(codes(&zip_of(&[Part::new("p/a", b""), link("p/l", "a")]), Zip), []);
}

#[test]
fn an_index_without_entries_where_it_points_ends_the_walk() {
    let mut bytes = zip_of(&[Part::new("a", b"x")]);
    bytes[0] = b'X';
    let (summary, entries) = walked(&bytes, Zip, &Limits::default());
    assert!(summary.has(C::NotAnArchive) && !summary.complete && entries.is_empty());
}
