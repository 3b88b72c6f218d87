//! Whatever the bytes are: an inventory or an error, under the limits.

use crate::inventory::{Format, detect, parse, parse_under};
use crate::{IndexError, IndexLimits};
use proptest::prelude::*;

const FORMATS: [Format; 12] = [
    Format::Requirements,
    Format::UvLock,
    Format::PoetryLock,
    Format::PyLock,
    Format::PackageLock,
    Format::PnpmLock,
    Format::YarnLock,
    Format::BunLock,
    Format::CargoLock,
    Format::DpkgStatus,
    Format::CycloneDx,
    Format::Spdx,
];

#[test]
fn each_limit_has_its_own_error() {
    let limits = IndexLimits { max_bytes: 400, max_entries: 4, max_depth: 8 };
    for format in FORMATS {
        let big = parse_under(format, &[b' '; 401], &limits);
        assert!(matches!(big, Err(IndexError::TooLarge { .. })), "{format:?}");
    }
    let flood = "a==1\n".repeat(5);
    let many = parse_under(Format::Requirements, flood.as_bytes(), &limits);
    assert!(matches!(many, Err(IndexError::TooManyEntries { .. })), "{many:?}");
    let flood = format!("{{\"a\": [{}0]}}", "0,".repeat(100));
    for format in [Format::CycloneDx, Format::Spdx, Format::BunLock] {
        let limits = IndexLimits { max_entries: 1, ..limits };
        let many = parse_under(format, flood.as_bytes(), &limits);
        assert!(matches!(many, Err(IndexError::TooManyEntries { .. })), "{format:?}");
        let deep = parse_under(format, "[".repeat(40).as_bytes(), &limits);
        assert!(matches!(deep, Err(IndexError::TooDeep { .. })), "{format:?}");
    }
    assert!(parse(Format::CargoLock, b"\xff").is_err());
}

#[test]
fn a_thousand_packages_are_listed() {
    let text: String =
        (0..1000).map(|n| format!("p{n}@^1.0.0:\n  version \"1.0.{n}\"\n\n")).collect();
    assert_eq!(parse(Format::YarnLock, text.as_bytes()).unwrap().listed.len(), 1000);
}

fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[[package]]\n",
        "name = \"a\"\n",
        "version = \"1.0\"\n",
        "[metadata]\nlock-version = \"2.0\"\n",
        "{",
        "}",
        "\"packages\":",
        "[",
        "]",
        "\"purl\":",
        "\"pkg:npm/a@1\"",
        ",",
        "lockfileVersion: 5.4\n",
        "packages:\n",
        "  /a/1.0.0:\n",
        "    resolution: {integrity: x}\n",
        "\n",
        " ",
        "Package: a\n",
        "Version: 1\n",
        "a@^1:\n",
        "  version \"1.0.0\"\n",
        "é",
        "@",
        "/",
        "\"lockfileVersion\": 3",
        "__metadata:\n  version: 8\n",
        "\"a@npm:1\":\n  resolution: \"a@npm:1.0.0\"\n",
        "? ",
        "- ",
        "|\n",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|v| v.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_an_inventory_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            let _ = parse(format, &bytes);
        }
        let _ = detect("x.json", &bytes);
    }

    #[test]
    fn any_pieces_are_an_inventory_or_an_error(text in pieces()) {
        for format in FORMATS {
            let Ok(inventory) = parse(format, text.as_bytes()) else { continue };
            for listed in inventory.listed {
                prop_assert!(listed.purl.version().is_some_and(|v| !v.is_empty()), "{text}");
                prop_assert_eq!(listed.purl.to_string().parse(), Ok(listed.purl));
            }
        }
    }
}
