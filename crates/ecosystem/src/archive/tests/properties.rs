//! Properties: hostile bytes never panic, and good archives come back as they were made.

use super::mint::{Part, deb, entry, gz, pax, symlink, tar_of, zip_of};
use super::{codes, walked};
use crate::archive::{ArchiveKind, Limits};
use proptest::prelude::*;

fn good_archives() -> Vec<(Vec<u8>, ArchiveKind)> {
    let tar = tar_of(&[pax(&[("path", "p/long")]), entry("p/a", b"hello"), symlink("p/l", "a")]);
    vec![
        (gz(&tar), ArchiveKind::TarGz),
        (tar, ArchiveKind::Tar),
        (
            zip_of(&[
                Part::new("a", b"x"),
                Part::deflated("b", &[1; 99]),
                Part::streamed("c", b"y"),
            ]),
            ArchiveKind::Zip,
        ),
        (deb("data.tar", &[entry("./a", b"x")]), ArchiveKind::Deb),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_archives_are_walked_without_panic(
        which in 0usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let (mut bytes, kind) = good_archives().swap_remove(which);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        let (summary, _) = walked(&bytes, kind, &Limits::default());
        prop_assert!(summary.complete || !summary.problems.is_empty());
    }

    #[test]
    fn files_come_back_as_they_were_put_in(
        files in prop::collection::btree_map("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..2000), 1..8),
    ) {
        let files: Vec<(String, Vec<u8>)> =
            files.into_iter().map(|(name, content)| (format!("p/{name}"), content)).collect();
        let items: Vec<_> = files.iter().map(|(name, content)| entry(name, content)).collect();
        let parts: Vec<_> = files.iter().map(|(name, content)| Part::deflated(name, content)).collect();
        for (bytes, kind) in [(gz(&tar_of(&items)), ArchiveKind::TarGz), (zip_of(&parts), ArchiveKind::Zip)] {
            let (summary, entries) = walked(&bytes, kind, &Limits::default());
            prop_assert!(summary.problems.is_empty(), "{:?}", summary.problems);
            prop_assert_eq!(&entries, &files);
        }
    }

    #[test]
    fn a_cut_archive_is_never_complete_and_clean(which in 0usize..4, keep in any::<prop::sample::Index>()) {
        let (bytes, kind) = good_archives().swap_remove(which);
        let cut = &bytes[..keep.index(bytes.len())];
        // A tar cut inside its end mark, or at an entry's end, is what old tools write.
        if kind != ArchiveKind::Tar && kind != ArchiveKind::Deb {
            prop_assert!(!codes(cut, kind).is_empty());
        }
    }
}
