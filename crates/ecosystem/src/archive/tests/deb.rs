//! Debian packages.

use super::mint::{ar, deb, entry, gz, hardlink, symlink, tar_of};
use super::{codes, walked};
use crate::archive::{ArchiveKind::Deb, Limits, ProblemCode as C};

#[test]
fn packages_of_every_compression_are_walked() {
    for data in ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.zst", "data.tar.bz2"] {
        let bytes = deb(data, &[entry("./usr/bin/a", b"x")]);
        let (summary, entries) = walked(&bytes, Deb, &Limits::default());
        assert_eq!((summary.problems, summary.complete), (vec![], true), "{data}");
        let paths: Vec<_> = entries.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["control/control", "data/usr/bin/a"], "{data}");
    }
}

#[test]
fn what_packages_do_on_purpose_is_no_problem() {
    let items = [
        symlink("./etc/alternatives/x", "/usr/bin/x"),
        symlink("./usr/lib/libx.so", "../share/x"),
        entry("./usr/bin/x", b"x"),
        hardlink("./usr/bin/y", "./usr/bin/x"),
        entry("./usr/share/terminfo/A", b""),
        entry("./usr/share/terminfo/a", b""),
    ];
    assert_eq!(codes(&deb("data.tar.xz", &items), Deb), []);
}

#[test]
fn what_leads_out_of_the_root_is_found() {
    for (item, code) in [
        (symlink("./usr/x", "../../etc"), C::SymlinkOutside),
        (entry("./../x", b""), C::PathTraversal),
        (hardlink("./x", "./etc/shadow"), C::HardlinkOutside),
        (hardlink("./x", "../control/control"), C::HardlinkOutside),
    ] {
        assert_eq!(codes(&deb("data.tar.xz", &[item]), Deb), [code]);
    }
}

#[test]
fn members_have_their_order_and_names() {
    let version = || ("debian-binary", b"2.0\n".to_vec());
    let control = || ("control.tar.gz", gz(&tar_of(&[entry("./control", b"")])));
    let data = || ("data.tar.gz", gz(&tar_of(&[entry("./a", b"")])));
    let check = |members: &[(&str, Vec<u8>)], want: &[C]| {
        assert_eq!(
            codes(&ar(members), Deb),
            want,
            "{:?}",
            members.iter().map(|m| m.0).collect::<Vec<_>>()
        );
    };
    check(&[version(), control(), data()], &[]);
    check(&[version(), ("_gpgbuilder", b"sig".to_vec()), control(), data()], &[]);
    check(&[version(), control(), data(), ("extra", b"x".to_vec())], &[C::HiddenData]);
    check(&[version(), control(), data(), data()], &[C::HeaderMismatch]);
    check(&[version(), data(), control()], &[C::NotAnArchive]);
    check(&[control(), data()], &[C::NotAnArchive]);
    check(&[("debian-binary", b"3.0\n".to_vec()), control(), data()], &[C::NotAnArchive]);
    check(&[version(), control()], &[C::Truncated]);
    let padded = ("data.tar", [tar_of(&[entry("./a", b"")]), vec![1; 512]].concat());
    check(&[version(), control(), padded], &[C::TrailingData]);
}
