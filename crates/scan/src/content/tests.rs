//! The pass shows every byte once, whatever the file's size, and a scanner's failure is said.

use super::pass::{OVERLAP, WINDOW};
use super::{ContentScanner, FileInfo, Package, Pass, Window};
use countersign_core::{Ecosystem, Finding, Outcome};
use countersign_ecosystem::archive::{Entry, EntryKind};
use std::cell::RefCell;
use std::rc::Rc;

/// Notes where it sees `needle`, and fails at `poison`.
struct Finder {
    seen: Places,
    largest: Shared<usize>,
}

impl ContentScanner for Finder {
    fn name(&self) -> &'static str {
        "finder"
    }

    fn wants(&self, file: &FileInfo<'_>) -> bool {
        file.path != "skipped"
    }

    fn window(&mut self, _: &FileInfo<'_>, window: &Window<'_>) -> Result<(), String> {
        let mut largest = self.largest.lock().unwrap();
        *largest = window.bytes.len().max(*largest);
        for at in memchr::memmem::find_iter(window.bytes, b"needle").filter(|a| *a < window.keep) {
            self.seen.lock().unwrap().push((window.offset + at as u64, window.line_at(at)));
        }
        match memchr::memmem::find(window.bytes, b"poison") {
            Some(_) => Err("met poison".to_owned()),
            None => Ok(()),
        }
    }

    fn finish(self: Box<Self>, _: &Package<'_>) -> Result<Vec<Finding>, String> {
        Ok(Vec::new())
    }
}

fn entry(path: &str, len: usize) -> Entry {
    Entry {
        raw_path: path.as_bytes().to_vec(),
        path: path.to_owned(),
        kind: EntryKind::File,
        mode: 0o644,
        size: len as u64,
    }
}

type Shared<T> = std::sync::Arc<std::sync::Mutex<T>>;

/// Offset and line of each needle.
type Places = Shared<Vec<(u64, u64)>>;

fn pass() -> (Pass, Places, Shared<usize>) {
    let (seen, largest) = (Shared::default(), Shared::default());
    let finder = Finder { seen: Shared::clone(&seen), largest: Shared::clone(&largest) };
    (Pass::new(vec![Box::new(finder)]), seen, largest)
}

fn package() -> Package<'static> {
    Package {
        ecosystem: Ecosystem::Npm,
        file_name: "x.tgz",
        manifest: &[],
        metadata: &[],
        hooks: &[],
    }
}

#[test]
fn what_lies_across_windows_is_seen_once_at_its_place() {
    let places = [
        0,
        64 << 10,
        WINDOW - OVERLAP - 16,
        WINDOW - OVERLAP - 3,
        WINDOW - OVERLAP + 8,
        WINDOW - 3,
        2 * (WINDOW - OVERLAP) - 2,
        3 * WINDOW,
    ];
    for len in [3 * WINDOW + 6, 3 * WINDOW + 6 + OVERLAP] {
        let mut content = vec![b'\n'; len];
        for at in places {
            content[at..at + 6].copy_from_slice(b"needle");
        }
        let (mut pass, seen, largest) = pass();
        pass.file(&entry("big", len), &mut &content[..]).unwrap();
        let want: Vec<(u64, u64)> = places
            .iter()
            .enumerate()
            .map(|(i, at)| (*at as u64, 1 + *at as u64 - 6 * i as u64))
            .collect();
        assert_eq!(*seen.lock().unwrap(), want);
        assert_eq!(*largest.lock().unwrap(), WINDOW);
    }
}

#[test]
fn content_of_just_a_window_is_seen_to_its_end() {
    for len in [0, 6, 64 << 10, WINDOW, WINDOW + 1, 2 * WINDOW - OVERLAP] {
        let mut content = vec![b'x'; len];
        let want: Vec<u64> = if len < 6 { vec![] } else { vec![len as u64 - 6] };
        if len >= 6 {
            content[len - 6..].copy_from_slice(b"needle");
        }
        let (mut pass, seen, _) = pass();
        pass.file(&entry("big", len), &mut &content[..]).unwrap();
        let seen: Vec<u64> = seen.lock().unwrap().iter().map(|(at, _)| *at).collect();
        assert_eq!(seen, want, "{len}");
    }
}

#[test]
fn a_scanner_that_fails_is_not_done_and_left_out() {
    let (mut pass, seen, _) = pass();
    for content in ["needle", "poison", "needle"] {
        pass.file(&entry(content, 6), &mut content.as_bytes()).unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
    let (_, checks) = pass.finish(&package(), None);
    let because = "met poison, in `poison`".to_owned();
    assert_eq!(checks[0].outcome, Outcome::NotDone { because });
}

#[test]
fn a_walk_that_was_cut_is_not_done() {
    let (pass, _, _) = pass();
    let (_, checks) = pass.finish(&package(), Some("the archive ends in the middle"));
    assert!(matches!(checks[0].outcome, Outcome::NotDone { .. }), "{checks:?}");
    let (pass, ..) = self::pass();
    let (_, checks) = pass.finish(&package(), None);
    assert_eq!(checks[0].outcome, Outcome::Passed);
}

/// Counts what is taken from it.
struct Counting<'a>(&'a [u8], Rc<RefCell<usize>>);

impl std::io::Read for Counting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buf)?;
        *self.1.borrow_mut() += n;
        Ok(n)
    }
}

#[test]
fn what_nobody_wants_is_left_unread() {
    let content = vec![0; 4 * WINDOW];
    let taken = Rc::new(RefCell::new(0));
    let (mut pass, ..) = pass();
    pass.file(&entry("skipped", content.len()), &mut Counting(&content, taken.clone())).unwrap();
    assert!(*taken.borrow() <= 64 << 10, "{}", taken.borrow());
}
