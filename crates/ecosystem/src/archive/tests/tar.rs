//! tar: extension headers, links, and what follows the end.

use super::mint::{self, Item, entry, gz, hardlink, pax, symlink, tar_of};
use super::{codes, walked};
use crate::archive::ArchiveKind::{Tar, TarGz};
use crate::archive::{Limits, ProblemCode as C};

fn paths(bytes: &[u8]) -> Vec<String> {
    walked(bytes, Tar, &Limits::default()).1.into_iter().map(|(path, _)| path).collect()
}

fn gnu(typeflag: u8, text: &str) -> Item {
    let content = [text.as_bytes(), b"\0"].concat();
    Item { typeflag, ..entry("././@LongLink", &content) }
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("p/{}", "n".repeat(300));
    let by_pax = tar_of(&[pax(&[("path", &long), ("mtime", "1.5")]), entry("short", b"x")]);
    let by_gnu = tar_of(&[gnu(b'L', &long), entry("short", b"x")]);
    for bytes in [by_pax, by_gnu] {
        assert_eq!(paths(&bytes), [long.as_str()]);
        assert_eq!(codes(&bytes, Tar), []);
    }
}

#[test]
fn another_writers_archives_have_no_problems() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("p/{}/file", "d".repeat(150));
    for path in ["p/a", long.as_str()] {
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, &b"hello"[..]).unwrap();
    }
    let bytes = builder.into_inner().unwrap();
    assert_eq!(paths(&bytes), ["p/a", long.as_str()]);
    assert_eq!(codes(&bytes, Tar), []);
}

#[test]
fn extension_headers_that_contradict_are_found() {
    let sized = |size: &str| pax(&[("size", size)]);
    for (what, items) in [
        ("size", vec![sized("1"), entry("a", b"hello")]),
        ("paths", vec![pax(&[("path", "b")]), gnu(b'L', "c"), entry("a", b"")]),
        ("twice", vec![pax(&[("path", "b"), ("path", "c")]), entry("a", b"")]),
        ("global", vec![Item { typeflag: b'g', ..pax(&[("path", "b")]) }, entry("a", b"")]),
        ("malformed", vec![Item { typeflag: b'x', ..entry("x", b"9 nonsense") }, entry("a", b"")]),
        ("for nothing", vec![entry("a", b""), pax(&[("path", "b")])]),
    ] {
        assert!(codes(&tar_of(&items), Tar).contains(&C::HeaderMismatch), "{what}");
    }
    let agreeing = [pax(&[("size", "5"), ("comment", "x")]), entry("a", b"hello")];
    assert_eq!(codes(&tar_of(&agreeing), Tar), []);
    let git = [Item { typeflag: b'g', ..pax(&[("comment", "0123abcd")]) }, entry("a", b"")];
    assert_eq!(codes(&tar_of(&git), Tar), []);
}

#[test]
fn a_size_hidden_in_a_pax_header_does_not_smuggle_entries() {
    // The header says 0 bytes, pax says 1024: a reader that believes the header finds an entry in
    // the content.
    let inner = entry("smuggled", b"").bytes();
    let content: Vec<u8> = [inner, vec![0; 512]].concat();
    let outer = Item { content, size: Some(0), ..entry("outer", b"") };
    let bytes = tar_of(&[pax(&[("size", "1024")]), outer]);
    assert_eq!(paths(&bytes), ["outer"]);
    assert_eq!(codes(&bytes, Tar), [C::HeaderMismatch]);
}

#[test]
fn links_that_stay_inside_are_no_problem() {
    for items in [
        vec![entry("p/a", b""), symlink("p/d/l", "../a")],
        vec![symlink("p/l", "later"), entry("p/later", b"")],
        vec![entry("p/a", b""), symlink("p/loop", "loop")],
        vec![entry("p/a", b""), hardlink("p/b", "./p/a")],
        vec![entry("p/a", b""), symlink("p/dangling", "nowhere")],
    ] {
        assert_eq!(codes(&tar_of(&items), Tar), []);
    }
}

#[test]
fn links_that_lead_out_are_found() {
    for items in [
        vec![entry("p/a", b""), symlink("p/l", "/etc/passwd")],
        vec![entry("p/a", b""), symlink("p/l", "../other")],
        vec![entry("p/a", b""), symlink("p/d/l", "../../../x")],
        // Harmless by its letters: `d/up` leads to the root, and `..` from there leads out.
        vec![symlink("p/d/up", ".."), symlink("p/l", "d/up/../x"), entry("p/a", b"")],
        // The first link is used before it is defined.
        vec![symlink("p/l", "up/.."), symlink("p/up", "d/.."), entry("p/a", b"")],
    ] {
        assert!(codes(&tar_of(&items), Tar).contains(&C::SymlinkOutside));
    }
    for target in ["../x", "/etc/shadow", "p/later"] {
        let items = [entry("p/a", b""), hardlink("p/l", target), entry("p/later", b"")];
        assert_eq!(codes(&tar_of(&items), Tar), [C::HardlinkOutside], "{target}");
    }
}

#[test]
fn directories_may_repeat_and_files_may_not() {
    let dir = Item { typeflag: b'5', ..entry("p/", b"") };
    let old_dir = Item { typeflag: 0, ..entry("p/", b"") };
    assert_eq!(codes(&tar_of(&[dir.clone(), old_dir, entry("p/a", b"")]), Tar), []);
    assert_eq!(codes(&tar_of(&[dir, entry("p", b"")]), Tar), [C::DuplicateName]);
}

#[test]
fn what_follows_the_end_is_looked_at() {
    let whole = tar_of(&[entry("a", b"x")]);
    let with = |tail: &[u8]| codes(&[&whole[..], tail].concat(), Tar);
    assert_eq!(with(&[0; 5000]), []);
    assert_eq!(with(&[7; 512]), [C::TrailingData]);
    assert_eq!(with(&entry("b", b"").bytes()), [C::HeaderMismatch]);
    let no_end = entry("a", b"x").bytes();
    assert_eq!(codes(&no_end, Tar), [], "some old tools write no end mark");
    let gzipped = |tail: &[u8]| codes(&[&gz(&whole)[..], tail].concat(), TarGz);
    assert_eq!(gzipped(&[0; 100]), []);
    assert_eq!(gzipped(b"garbage"), [C::TrailingData]);
}

#[test]
fn headers_that_do_not_add_up_end_the_walk() {
    let mut bad_sum = tar_of(&[entry("a", b"x")]);
    bad_sum[0] = b'b';
    assert_eq!(codes(&bad_sum, Tar), [C::NotAnArchive]);
    let huge = Item { size: Some(0o77_777_777), ..entry("a", b"x") };
    assert_eq!(codes(&tar_of(&[huge]), Tar), [C::Truncated]);
    let huge_name = Item { typeflag: b'L', size: Some(1 << 30), ..entry("x", b"") };
    assert_eq!(codes(&tar_of(&[huge_name]), Tar), [C::PathTooLong]);
    assert_eq!(codes(b"", Tar), [C::Truncated]);
}

#[test]
fn a_directory_with_a_size_has_no_content() {
    let dir = Item { typeflag: b'5', size: Some(512), ..entry("p/", b"") };
    let bytes = tar_of(&[dir, mint::entry("p/a", b"x")]);
    assert_eq!(paths(&bytes), ["p", "p/a"]);
    assert_eq!(codes(&bytes, Tar), [C::HeaderMismatch]);
}
