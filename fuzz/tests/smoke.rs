//! Each target for a moment, with random bytes and with broken seeds, on any toolchain.
//!
//! `FUZZ_SECONDS` makes the moment longer, `FUZZ_SEED` another one, `FUZZ_TARGET` chooses one
//! target. An input that breaks a target is written to `fuzz/artifacts`.

mod seeds;

use countersign_fuzz::{TARGETS, Target};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What one target is given, where nothing else is said.
const MOMENT: Duration = Duration::from_millis(300);
/// No input of a few kilobytes takes this long, on a slow machine and without optimization.
const HANG: Duration = Duration::from_secs(10);

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

/// Pieces that parsers treat in a special way.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"..",
    b"/",
    b"%2f",
    b"%",
    b"@",
    b":",
    b"-",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"null",
    b"0",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"[[[[[[[[[[[[[[[[",
];

/// One to eight changes at random places.
fn broken(random: &mut Random, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(out.len() + 1);
        let until = (at + random.below(40)).min(out.len());
        match random.below(9) {
            0 if at < out.len() => out[at] ^= 1 << random.below(8),
            1 if at < out.len() => out[at] = random.next() as u8,
            2 => drop(out.drain(at..until)),
            3 => out.truncate(at),
            4 => {
                let copy = out[at..until].to_vec();
                out.splice(at..at, copy);
            }
            5 | 6 => {
                let piece = PIECES[random.below(PIECES.len())];
                out.splice(at..at, piece.iter().copied());
            }
            7 => {
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(60)).min(other.len())].to_vec();
                out.splice(at..until, piece);
            }
            _ => {
                // A number in a text becomes another one.
                if let Some(digit) = out.iter_mut().skip(at).find(|b| b.is_ascii_digit()) {
                    *digit = b'0' + random.below(10) as u8;
                }
            }
        }
    }
    out
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What went wrong, and with which input.
type Broken = (String, Vec<u8>);

fn run(name: &str, target: Target, moment: Duration) -> Result<u64, Broken> {
    let try_one = |input: &[u8]| -> Result<(), Broken> {
        let began = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
            return Err(("it panicked".to_owned(), input.to_vec()));
        }
        match began.elapsed() {
            long if long > HANG => Err((format!("it took {long:?}"), input.to_vec())),
            _ => Ok(()),
        }
    };
    let seeds = seeds::of(name);
    for seed in &seeds {
        try_one(seed)?;
    }
    let mut random = Random(number("FUZZ_SEED").unwrap_or(1) ^ name.len() as u64);
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < moment {
        let seed = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())];
        let input = match random.below(20) {
            0 => {
                let length = random.below(300);
                random.bytes(length)
            }
            _ => broken(&mut random, seed, other),
        };
        try_one(&input)?;
        count += 1;
    }
    Ok(count)
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
    let path = folder.join("smoke");
    std::fs::create_dir_all(&folder).expect("a folder for what broke");
    std::fs::write(&path, input).expect("what broke is kept");
    path
}

#[test]
fn no_target_breaks() {
    let moment = number("FUZZ_SECONDS").map_or(MOMENT, Duration::from_secs);
    let only = std::env::var("FUZZ_TARGET").ok();
    let mut failures = Vec::new();
    for (name, target) in TARGETS.iter().filter(|(n, _)| only.as_ref().is_none_or(|o| o == n)) {
        let mut out = std::io::stdout().lock();
        match run(name, *target, moment) {
            Ok(count) => writeln!(out, "{name}: {count} inputs").expect("standard output"),
            Err((what, input)) => {
                failures.push(format!(
                    "{name}: {what}; the input is in {}",
                    keep(name, &input).display()
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A seed that is refused at once tests only the first line of a parser.
#[test]
fn seeds_are_sound() {
    use countersign_core::{Purl, Sha256Digest};
    use countersign_ecosystem::archive::{ArchiveKind, Limits, walk};
    use countersign_fuzz::{NOW, SEPARATOR, key};
    use countersign_ledger::{Receipt, verify_receipt};

    for seed in seeds::of("archive") {
        let kind = ArchiveKind::sniff(&seed).unwrap_or(ArchiveKind::Tar);
        let summary =
            walk(std::io::Cursor::new(&seed), kind, &Limits::default(), &mut |_, _| Ok(()));
        let summary = summary.expect("it is read");
        assert!(summary.complete && summary.entries > 0, "{kind:?}: {:?}", summary.problems);
    }
    for seed in seeds::of("inrelease") {
        let at = seed.windows(3).position(|w| w == SEPARATOR).expect("two parts");
        let verified =
            countersign_evidence::openpgp::verify_inrelease(&seed[..at], &seed[at + 3..], NOW);
        assert_eq!(verified.expect("it is signed").get().signatures.len(), 1);
    }
    for seed in seeds::of("receipt") {
        let receipt = Receipt::parse(&seed).expect("it is a receipt");
        let digest: Sha256Digest =
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
                .parse()
                .expect("a digest");
        assert!(
            verify_receipt(&receipt, key().verifier(), Some(&digest)).is_ok_and(|r| r.admits())
        );
    }
    for seed in seeds::of("osv_record") {
        countersign_scan::advisory::parse_record(&seed).expect("it is a record");
    }
    for seed in seeds::of("feed_index") {
        countersign_scan::advisory::FeedIndex::open(seed).expect("it is an index");
    }
    for seed in seeds::of("purl") {
        String::from_utf8(seed).expect("text").parse::<Purl>().expect("it is a purl");
    }
    for seed in seeds::of("sources") {
        let limits = countersign_ecosystem::debian::PackagesLimits::default();
        let read: Result<Vec<_>, _> =
            countersign_ecosystem::debian::parse_sources(&seed[..], limits).collect();
        assert_eq!(read.expect("it is a list").len(), 2);
    }
    use countersign_ecosystem::inventory::{Format, parse};
    for (target, format) in [
        ("bun_lock", Format::BunLock),
        ("cyclonedx", Format::CycloneDx),
        ("dpkg_status", Format::DpkgStatus),
        ("pnpm_lock", Format::PnpmLock),
        ("poetry_lock", Format::PoetryLock),
        ("pylock", Format::PyLock),
        ("spdx", Format::Spdx),
        ("yarn_lock", Format::YarnLock),
    ] {
        for seed in seeds::of(target) {
            let inventory = parse(format, &seed).expect("it is read");
            assert!(!inventory.listed.is_empty(), "{target}");
        }
    }
    for seed in seeds::of("packages") {
        let limits = countersign_ecosystem::debian::PackagesLimits::default();
        let read: Result<Vec<_>, _> =
            countersign_ecosystem::debian::parse_packages(&seed[..], limits).collect();
        assert_eq!(read.expect("it is a list").len(), 2);
    }
}
