//! Programs minted here, one weakness each; honest ones say nothing.

use super::*;
use crate::structure::scan_archive;
use crate::structure::tests::mint::tar_gz;
use countersign_core::Ecosystem;
use countersign_ecosystem::archive::Limits;
use std::io::Cursor;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const STACK_SEGMENT: u32 = 0x6474_e551;
const RELRO: u32 = 0x6474_e552;

/// A 64-bit program for little endian: the headers, the names at 0x400, the dynamic section at 0x800
/// and `padding` bytes further.
struct Mint {
    kind: u16,
    segments: Vec<(u32, u32)>,
    dynamic: Vec<(u64, u64)>,
    names: &'static [u8],
    padding: usize,
}

/// As a distribution's compiler makes it.
fn hardened() -> Mint {
    Mint {
        kind: 3,
        segments: vec![
            (PT_LOAD, 5),
            (PT_INTERP, 4),
            (PT_DYNAMIC, 6),
            (STACK_SEGMENT, 6),
            (RELRO, 4),
        ],
        dynamic: vec![(5, 0x400), (30, 8), (0x6fff_fffb, 0x0800_0001)],
        names: b"\0__stack_chk_fail\0$ORIGIN/../lib\0",
        padding: 0,
    }
}

impl Mint {
    fn bytes(&self) -> Vec<u8> {
        let dynamic_at = 0x800 + self.padding as u64;
        let dynamic: Vec<u8> = self
            .dynamic
            .iter()
            .chain(&[(0, 0)])
            .flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat())
            .collect();
        let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        for half in [self.kind, 62] {
            out.extend(half.to_le_bytes());
        }
        out.extend(1u32.to_le_bytes());
        for long in [0u64, 64, 0] {
            out.extend(long.to_le_bytes());
        }
        out.extend(0u32.to_le_bytes());
        for half in [64, 56, self.segments.len() as u16, 64, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        for (kind, flags) in &self.segments {
            let (at, size) = match *kind {
                PT_DYNAMIC => (dynamic_at, dynamic.len() as u64),
                PT_LOAD => (0, dynamic_at),
                _ => (0, 0),
            };
            out.extend(kind.to_le_bytes());
            out.extend(flags.to_le_bytes());
            for long in [at, at, at, size, size, 8] {
                out.extend(long.to_le_bytes());
            }
        }
        out.resize(0x400, 0);
        out.extend(self.names);
        out.resize(dynamic_at as usize, 0);
        out.extend(dynamic);
        out
    }
}

fn found(bytes: &[u8]) -> Vec<String> {
    let archive = tar_gz(&[
        ("package/package.json", br#"{"name": "left-pad", "version": "1.3.0"}"#),
        ("package/lib/tool.node", bytes),
    ]);
    let limits = Limits::default();
    let report = scan_archive("x.tgz", Ecosystem::Npm, None, Cursor::new(archive), &limits);
    assert!(report.content_checks.contains(&countersign_core::Check::passed(CHECK)));
    let config = report.findings.iter().filter(|f| f.id.starts_with("config."));
    let all: Vec<&Finding> = config.collect();
    assert!(all.iter().all(|f| f.severity <= Severity::Low));
    all.iter().map(|f| format!("{} {}", f.id.strip_prefix("config.").unwrap(), f.title)).collect()
}

fn ids(mint: &Mint) -> Vec<String> {
    let ids = found(&mint.bytes()).into_iter();
    ids.map(|f| f.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_hardened_program_says_nothing() {
    assert_eq!(ids(&hardened()), Vec::<String>::new());
    // The dynamic section lies where another window shows it, and across a border.
    for padding in [3 << 20, (2 << 20) - 0x800 - 8, (2 << 20) - (8 << 10) - 0x800 - 8] {
        assert_eq!(ids(&Mint { padding, ..hardened() }), Vec::<String>::new(), "{padding}");
    }
}

#[test]
fn each_weakness_is_told() {
    let without = |kind| {
        let mut mint = hardened();
        mint.segments.retain(|s| s.0 != kind);
        mint
    };
    let with = |segment| {
        let mut mint = hardened();
        mint.segments.push(segment);
        mint
    };
    let dynamic = |dynamic: &[(u64, u64)]| Mint { dynamic: dynamic.to_vec(), ..hardened() };
    for (mint, want) in [
        (Mint { kind: 2, ..hardened() }, &["elf-not-pie"][..]),
        (without(RELRO), &["elf-no-relro"]),
        (dynamic(&[(5, 0x400)]), &["elf-partial-relro"]),
        (with((STACK_SEGMENT, 7)), &["elf-executable-stack"]),
        (with((PT_LOAD, 7)), &["elf-writable-code"]),
        (Mint { names: b"\0x\0", ..hardened() }, &["elf-no-canary"]),
    ] {
        assert_eq!(ids(&mint), want);
    }
    // A library has no stack of its own to be asked about, and an object file is not loaded.
    let library = Mint { names: b"\0x\0", ..without(PT_INTERP) };
    assert_eq!(ids(&Mint { dynamic: vec![(30, 8)], ..library }), Vec::<String>::new());
    assert_eq!(ids(&Mint { kind: 1, ..hardened() }), Vec::<String>::new());
}

#[test]
fn library_paths_that_lead_out_of_the_package() {
    for (names, told) in [
        (&b"\0__stack_chk_fail\0$ORIGIN/../lib:/usr/lib/x\0"[..], None),
        (b"\0__stack_chk_fail\0$ORIGIN:/home/builder/lib\0", Some("/home/builder/lib")),
        (b"\0__stack_chk_fail\0/tmp\0", Some("/tmp")),
        (b"\0__stack_chk_fail\0lib\0", Some("lib")),
    ] {
        for tag in [15, 29] {
            let mut mint = Mint { names, ..hardened() };
            mint.dynamic.push((tag, 18));
            let found = found(&mint.bytes());
            match told {
                None => assert_eq!(found, Vec::<String>::new()),
                Some(path) => assert!(found[0].ends_with(&format!("`{path}`")), "{found:?}"),
            }
        }
    }
}

#[test]
fn broken_programs_are_no_reason_to_stop() {
    let whole = hardened().bytes();
    for end in (0..whole.len()).step_by(7) {
        found(&whole[..end]);
    }
    for at in (16..0x200).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] = 0xff;
        found(&bytes);
    }
}
