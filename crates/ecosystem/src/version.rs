//! The order of versions, one per ecosystem.

mod go;
mod maven;

use countersign_core::Ecosystem;
use std::cmp::Ordering;
use std::str::FromStr;

/// Longest version text that is compared, in bytes; it bounds the work on hostile versions.
const MAX_LEN: usize = 512;

/// Compares two versions by their ecosystem's order.
///
/// - PyPI: PEP 440; texts that PEP 440 does not know sort before all that it knows, among
///   themselves in the order of setuptools before PEP 440.
/// - npm: SemVer 2.0 precedence, read as loosely as npm does (`v1.2.3`, `1.2.3beta`).
/// - cargo: SemVer 2.0 precedence; build metadata does not count.
/// - Debian: deb-version(7).
/// - Go: SemVer 2.0 precedence with a leading `v`, as `golang.org/x/mod/semver` has it; pseudo-versions
///   are pre-releases there, build metadata (`+incompatible`) does not count.
/// - Maven: the version order specification of the POM reference, as Maven 3.8 reads it.
///
/// `None` when one of them is not a version there and no order is defined; equal texts are
/// always equal.
#[must_use]
pub fn compare(ecosystem: Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (a.trim(), b.trim());
    if a.is_empty() || b.is_empty() || a.len() > MAX_LEN || b.len() > MAX_LEN {
        return None;
    }
    if a == b {
        return Some(Ordering::Equal);
    }
    match ecosystem {
        Ecosystem::Pypi => Some(compare_pypi(a, b)),
        Ecosystem::Npm => compare_npm(a, b),
        Ecosystem::Cargo => {
            let (a, b) = (semver::Version::parse(a).ok()?, semver::Version::parse(b).ok()?);
            Some(a.cmp_precedence(&b))
        }
        Ecosystem::Debian => Some(parse_debian(a)?.cmp(&parse_debian(b)?)),
        Ecosystem::Go => Some(go::Version::parse(a)?.cmp(&go::Version::parse(b)?)),
        Ecosystem::Maven => Some(maven::Version::parse(a)?.cmp(&maven::Version::parse(b)?)),
    }
}

/// Whether two texts name the same version (`1.0` and `1.0.0` do on PyPI).
#[must_use]
pub fn same(ecosystem: Ecosystem, a: &str, b: &str) -> bool {
    a == b || compare(ecosystem, a, b) == Some(Ordering::Equal)
}

/// Whether the text is a version of the ecosystem by its present rules (legacy PyPI versions are
/// not).
#[must_use]
pub fn is_valid(ecosystem: Ecosystem, version: &str) -> bool {
    if version.is_empty() || version.len() > MAX_LEN {
        return false;
    }
    match ecosystem {
        Ecosystem::Pypi => pep440_rs::Version::from_str(version).is_ok(),
        Ecosystem::Npm => parse_npm(version).is_some() || semver::Version::parse(version).is_ok(),
        Ecosystem::Cargo => semver::Version::parse(version).is_ok(),
        Ecosystem::Debian => parse_debian(version).is_some(),
        Ecosystem::Go => go::Version::parse(version).is_some(),
        Ecosystem::Maven => maven::Version::parse(version).is_some(),
    }
}

/// Whether the version is a pre-release that resolvers avoid by default. A text that is no
/// version is not one.
///
/// Debian has no such notion; there a `~` before a pre-release word (`1.0~rc1`) counts, and
/// `~bpo12` or `~deb12u1` does not.
#[must_use]
pub fn is_prerelease(ecosystem: Ecosystem, version: &str) -> bool {
    let v = version.trim();
    if v.len() > MAX_LEN {
        return false;
    }
    match ecosystem {
        Ecosystem::Pypi => pep440_rs::Version::from_str(v).is_ok_and(|v| v.any_prerelease()),
        Ecosystem::Npm => match parse_npm(v) {
            Some(v) => v.is_prerelease(),
            None => semver::Version::parse(v).is_ok_and(|v| !v.pre.is_empty()),
        },
        Ecosystem::Cargo => semver::Version::parse(v).is_ok_and(|v| !v.pre.is_empty()),
        Ecosystem::Debian => v.split('~').skip(1).any(|tail| {
            let tail = tail.to_ascii_lowercase();
            ["alpha", "beta", "rc", "pre", "dev", "git"].iter().any(|word| tail.starts_with(word))
        }),
        Ecosystem::Go => go::Version::parse(v).is_some_and(|v| v.is_prerelease()),
        Ecosystem::Maven => maven::Version::parse(v).is_some_and(|v| v.is_prerelease()),
    }
}

/// A version that was read once, to be compared with many others of its ecosystem in the order of
/// [`compare`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Form);

/// The order of the first two variants is that of PyPI: what PEP 440 does not know comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Legacy(Vec<Piece>),
    Pypi(pep440_rs::Version),
    Npm(nodejs_semver::Version),
    Cargo(semver::Version),
    Debian(debversion::Version),
    Go(go::Version),
    Maven(maven::Version),
}

impl Key {
    /// Reads a version. `None` for what has no place in an order: other than [`compare`], also for
    /// npm's numbers near 2^53, which only compare among themselves.
    #[must_use]
    pub fn new(ecosystem: Ecosystem, version: &str) -> Option<Self> {
        let v = version.trim();
        if v.is_empty() || v.len() > MAX_LEN {
            return None;
        }
        let form = match ecosystem {
            Ecosystem::Pypi => match pep440_rs::Version::from_str(v) {
                Ok(known) => Form::Pypi(known),
                Err(_) => Form::Legacy(legacy_key(v)),
            },
            Ecosystem::Npm => Form::Npm(parse_npm(v)?),
            Ecosystem::Cargo => {
                let mut v = semver::Version::parse(v).ok()?;
                v.build = semver::BuildMetadata::EMPTY;
                Form::Cargo(v)
            }
            Ecosystem::Debian => Form::Debian(parse_debian(v)?),
            Ecosystem::Go => Form::Go(go::Version::parse(v)?),
            Ecosystem::Maven => Form::Maven(maven::Version::parse(v)?),
        };
        Some(Self(form))
    }
}

/// The canonical spelling of a PyPI version (PEP 440, "Normalization"); a legacy text stays as
/// it is.
#[must_use]
pub fn normalize_pypi(version: &str) -> String {
    if version.len() > MAX_LEN {
        return version.to_owned();
    }
    pep440_rs::Version::from_str(version).map_or_else(|_| version.to_owned(), |v| v.to_string())
}

fn compare_pypi(a: &str, b: &str) -> Ordering {
    match (pep440_rs::Version::from_str(a), pep440_rs::Version::from_str(b)) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => legacy_key(a).cmp(&legacy_key(b)),
    }
}

/// One piece of a legacy version. The order of the variants is the order of setuptools: words up
/// to `final` stand before the end of the version, numbers and later words after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// A word that sorts before the end: `dev` (as `@`), `a`, `beta`, `rc` (as `c`).
    Early(String),
    /// The end of the version.
    End,
    /// A dash, which opens a patch level.
    Dash,
    /// A word that sorts after the end, such as `post`.
    Late(String),
    /// A number, by length without leading zeros and then by digits.
    Number(usize, String),
}

/// The key under which setuptools sorted versions before PEP 440: words and numbers alternate,
/// zeros before a word and at the end do not count.
fn legacy_key(version: &str) -> Vec<Piece> {
    let lower = version.to_lowercase();
    let mut pieces: Vec<Piece> = Vec::new();
    for raw in split_legacy(&lower) {
        let piece = legacy_piece(raw);
        if matches!(piece, Piece::Early(_)) {
            while pieces.last() == Some(&Piece::Dash) {
                pieces.pop();
            }
        }
        if !matches!(piece, Piece::Number(..)) {
            drop_zeros(&mut pieces);
        }
        pieces.push(piece);
    }
    drop_zeros(&mut pieces);
    pieces.push(Piece::End);
    pieces
}

fn drop_zeros(pieces: &mut Vec<Piece>) {
    while matches!(pieces.last(), Some(Piece::Number(0, _))) {
        pieces.pop();
    }
}

fn legacy_piece(raw: &str) -> Piece {
    if raw.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = raw.trim_start_matches('0');
        return Piece::Number(digits.len(), digits.to_owned());
    }
    let word = match raw {
        "-" => return Piece::Dash,
        "pre" | "preview" | "rc" => "c",
        "dev" => "@",
        other => other,
    };
    match word.cmp("final") {
        Ordering::Less => Piece::Early(word.to_owned()),
        Ordering::Equal => Piece::End,
        Ordering::Greater => Piece::Late(word.to_owned()),
    }
}

/// Splits into runs of digits, runs of letters, dashes, and runs of anything else but dots.
fn split_legacy(text: &str) -> Vec<&str> {
    #[derive(PartialEq, Clone, Copy)]
    enum Class {
        Digit,
        Letter,
        Dash,
        Dot,
        Other,
    }
    let class = |c: char| match c {
        '0'..='9' => Class::Digit,
        'a'..='z' => Class::Letter,
        '-' => Class::Dash,
        '.' => Class::Dot,
        _ => Class::Other,
    };
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = class(first);
        let end = match kind {
            Class::Dash => first.len_utf8(),
            _ => rest.find(|c| class(c) != kind).unwrap_or(rest.len()),
        };
        let (piece, tail) = rest.split_at(end);
        if kind != Class::Dot {
            out.push(piece);
        }
        rest = tail;
    }
    out
}

fn compare_npm(a: &str, b: &str) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (parse_npm(a), parse_npm(b)) {
        return Some(a.cmp(&b));
    }
    // Numbers near 2^53 are valid to npm but beyond the loose parser.
    let (a, b) = (semver::Version::parse(a).ok()?, semver::Version::parse(b).ok()?);
    Some(a.cmp_precedence(&b))
}

/// Reads a version as npm's loose mode does. The parser leaves a tail that it does not know
/// unread, hence the check of the characters first.
fn parse_npm(text: &str) -> Option<nodejs_semver::Version> {
    let text = text.trim().trim_start_matches(['=', 'v', 'V']).trim_start();
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(known) {
        return None;
    }
    nodejs_semver::Version::parse(text).ok()
}

fn parse_debian(text: &str) -> Option<debversion::Version> {
    debversion::Version::parse_lenient(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each row is in strictly ascending order.
    const ORDERED: &[(Ecosystem, &[&str])] = &[
        (
            Ecosystem::Pypi,
            &[
                "2004d-foo",
                "1.0.dev1",
                "1.0a1",
                "1.0b2",
                "1.0rc1",
                "1.0",
                "1.0+local",
                "1.0.post1",
                "1.1",
                "1.10",
                "1!0.1",
            ],
        ),
        (Ecosystem::Pypi, &["2.0-x-dev-y", "2.0-x-y", "2.0-x-y-z"]),
        (
            Ecosystem::Npm,
            &[
                "0.0.1",
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "v1.2.0",
                "1.10.0",
                "2.0.0beta",
                "2.0.0",
            ],
        ),
        (Ecosystem::Npm, &["1.0.1", "1.0.9007199254740990", "1.0.9007199254740991"]),
        (Ecosystem::Cargo, &["0.1.0-alpha", "0.1.0", "0.1.1", "0.10.0", "1.0.0-rc.1", "1.0.0"]),
        (
            Ecosystem::Debian,
            &["1.0~~", "1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0-10", "1.0a-1", "1:0.5-1"],
        ),
    ];

    #[test]
    fn versions_sort_as_their_ecosystem_does() {
        for (eco, row) in ORDERED {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    assert_eq!(compare(*eco, a, b), Some(i.cmp(&j)), "{eco} {a} {b}");
                    if let (Some(x), Some(y)) = (Key::new(*eco, a), Key::new(*eco, b)) {
                        assert_eq!(x.cmp(&y), i.cmp(&j), "{eco} {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn spellings_of_one_version_are_the_same() {
        for (eco, a, b, want) in [
            (Ecosystem::Pypi, "1.0", "1.0.0", true),
            (Ecosystem::Pypi, "1.0-beta1", "1.0b1", true),
            (Ecosystem::Pypi, "1.0", "1.0+x", false),
            (Ecosystem::Npm, "v1.0.0", "1.0.0", true),
            (Ecosystem::Npm, "1.0", "1.0.0", false),
            (Ecosystem::Cargo, "1.0.0+a", "1.0.0+b", true),
            (Ecosystem::Debian, "1.0", "1.0-0", true),
            (Ecosystem::Debian, "0:1.0-1", "1.0-1", true),
        ] {
            assert_eq!(same(eco, a, b), want, "{eco} {a} {b}");
        }
    }

    #[test]
    fn what_is_no_version_has_no_order() {
        assert_eq!(compare(Ecosystem::Cargo, "1.0", "1.0.0"), None);
        assert_eq!(compare(Ecosystem::Npm, "latest", "1.0.0"), None);
        assert_eq!(compare(Ecosystem::Npm, "1.2.3 || 2", "1.2.3"), None);
        assert_eq!(compare(Ecosystem::Debian, "1 0", "1"), None);
        assert_eq!(compare(Ecosystem::Pypi, "", "1"), None);
        assert_eq!(compare(Ecosystem::Cargo, "x", "x"), Some(Ordering::Equal));
    }

    #[test]
    fn prereleases_are_known_as_such() {
        for (eco, v, want) in [
            (Ecosystem::Pypi, "1.0rc1", true),
            (Ecosystem::Pypi, "1.0.dev3", true),
            (Ecosystem::Pypi, "1.0.post1", false),
            (Ecosystem::Npm, "1.0.0-next.1", true),
            (Ecosystem::Npm, "1.0.0+build-1", false),
            (Ecosystem::Cargo, "1.0.0-rc.1", true),
            (Ecosystem::Cargo, "1.0.0", false),
            (Ecosystem::Debian, "1.0~rc1-1", true),
            (Ecosystem::Debian, "1.0-1~bpo12+1", false),
        ] {
            assert_eq!(is_prerelease(eco, v), want, "{eco} {v}");
        }
    }

    proptest! {
        #[test]
        fn order_is_antisymmetric_and_never_panics(
            a in "[0-9a-z.+~:_!-]{0,24}|\\PC{0,12}", b in "[0-9a-z.+~:_!-]{0,24}",
        ) {
            for eco in Ecosystem::ALL {
                let forward = compare(eco, &a, &b);
                if let (Some(a), Some(b)) = (Key::new(eco, &a), Key::new(eco, &b)) {
                    prop_assert_eq!(forward, Some(a.cmp(&b)));
                }
                prop_assert_eq!(forward, compare(eco, &b, &a).map(Ordering::reverse));
                prop_assert!(!is_prerelease(eco, &a) || !a.is_empty());
            }
        }

        #[test]
        fn legacy_order_is_transitive(v in prop::collection::vec("[0-9a-c.-]{1,8}-x", 3)) {
            let mut sorted = v.clone();
            sorted.sort_by(|a, b| compare_pypi(a, b));
            prop_assert!(sorted.is_sorted_by(|a, b| compare_pypi(a, b).is_le()));
        }
    }
}
