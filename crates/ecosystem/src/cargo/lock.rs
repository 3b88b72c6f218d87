//! `Cargo.lock`, versions 1 to 4.

use super::validate_name;
use crate::error::{IndexError, IndexLimits};
use crate::toml_doc;
use countersign_core::Sha256Digest;
use std::collections::HashMap;
use toml::de::DeValue;

const WHAT: &str = "the cargo lock file";
/// The newest lock file version that is known.
const NEWEST: i64 = 4;

/// One crate of a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedCrate {
    /// The crate's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Where it comes from (`registry+https://…`, `git+…`), as written; `None` for a folder of
    /// this machine.
    pub source: Option<String>,
    /// The SHA-256 of its file; only crates from registries have one.
    pub checksum: Option<Sha256Digest>,
}

/// Reads a `Cargo.lock`.
///
/// # Errors
/// When it is over the default limits, no TOML, of a later version, or a crate or checksum in it
/// is malformed.
pub fn parse_lock(text: &str) -> Result<Vec<LockedCrate>, IndexError> {
    let limits = IndexLimits::default();
    limits.check_bytes(WHAT, text.len())?;
    let top = toml_doc::parse(WHAT, text)?;
    // Versions 1 and 2 do not say which they are.
    if let Some(version) = toml_doc::get(&top, "version")
        && !matches!(toml_doc::number(&top, "version"), Some(1..=NEWEST))
    {
        let found =
            version.as_integer().map_or_else(|| version.type_str().to_owned(), ToString::to_string);
        let because = format!("versions up to {NEWEST} are known, found {found}");
        return Err(IndexError::malformed(WHAT, "version", because));
    }
    let (packages, length) = toml_doc::list(WHAT, &top, "package")?;
    limits.check_entries(WHAT, length)?;
    let checksums = metadata_checksums(&top);
    toml_doc::get(&top, "root")
        .into_iter()
        .chain(packages)
        .enumerate()
        .map(|(at, entry)| read_crate(at, entry, &checksums))
        .collect()
}

/// The checksums of version 1: `"checksum name version (source)" = "hex"` under `[metadata]`.
fn metadata_checksums<'v>(top: &'v DeValue<'_>) -> HashMap<&'v str, &'v str> {
    let metadata = toml_doc::get(top, "metadata").and_then(DeValue::as_table);
    metadata
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            Some((key.get_ref().strip_prefix("checksum ")?, value.get_ref().as_str()?))
        })
        .collect()
}

fn read_crate(
    at: usize,
    entry: &DeValue<'_>,
    checksums: &HashMap<&str, &str>,
) -> Result<LockedCrate, IndexError> {
    let text = |key: &str| toml_doc::text(entry, key);
    let bad = |because: &str| {
        let place = text("name").map_or_else(|| format!("package {}", at + 1), str::to_owned);
        IndexError::malformed(WHAT, &place, because)
    };
    let source = text("source");
    // Crates of this machine may have longer names than registries allow.
    let name = text("name")
        .filter(|n| !n.is_empty() && (source.is_none() || validate_name(n)))
        .ok_or_else(|| bad("it has no valid name"))?;
    let version = text("version")
        .filter(|v| semver::Version::parse(v).is_ok())
        .ok_or_else(|| bad("it has no valid version"))?;
    let key = format!("{name} {version} ({})", source.unwrap_or(""));
    let checksum = match text("checksum").or_else(|| checksums.get(key.as_str()).copied()) {
        None | Some("<none>") => None,
        Some(hex) => Some(hex.parse().map_err(|_| bad("its checksum is not a SHA-256 digest"))?),
    };
    Ok(LockedCrate {
        name: name.to_owned(),
        version: version.to_owned(),
        source: source.map(str::to_owned),
        checksum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "registry+https://registry.example/index";

    #[test]
    fn later_versions_hold_checksums_in_the_package() {
        let hex = "0c".repeat(32);
        for head in ["", "version = 3\n", "version = 4\n"] {
            let text = format!(
                "{head}[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{SOURCE}\"\nchecksum = \"{hex}\"\ndependencies = [\"b\"]\n\n[[package]]\nname = \"me\"\nversion = \"0.1.0\"\n"
            );
            let locked = parse_lock(&text).unwrap();
            assert_eq!(locked.len(), 2);
            assert_eq!(locked[0].source.as_deref(), Some(SOURCE));
            assert_eq!(locked[0].checksum, Some(Sha256Digest([12; 32])));
            assert_eq!((locked[1].source.as_ref(), locked[1].checksum), (None, None));
        }
    }

    #[test]
    fn version_1_holds_checksums_in_its_metadata() {
        let hex = "0c".repeat(32);
        let text = format!(
            "[root]\nname = \"me\"\nversion = \"0.1.0\"\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{SOURCE}\"\n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nsource = \"git+https://git.example/b#1\"\n[metadata]\n\"checksum a 1.0.0 ({SOURCE})\" = \"{hex}\"\n\"checksum b 1.0.0 (git+https://git.example/b#1)\" = \"<none>\"\n"
        );
        let locked = parse_lock(&text).unwrap();
        let names: Vec<_> =
            locked.iter().map(|c| (c.name.as_str(), c.checksum.is_some())).collect();
        assert_eq!(names, [("me", false), ("a", true), ("b", false)]);
    }

    #[test]
    fn what_is_no_lock_is_an_error() {
        for text in [
            "version = 5",
            "version = \"x\"",
            "package = 1",
            "[[package]]\nname = \"a\"\n",
            "[[package]]\nname = \"a\"\nversion = \"1.0\"\n",
            "]",
            "[[package]]\nname = \"../a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n",
            "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00\"\n",
        ] {
            assert!(matches!(parse_lock(text), Err(IndexError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn a_real_lock_file_is_read_whole() {
        let shared = std::env::var("COUNTERSIGN_SHARED")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").to_owned());
        let Ok(text) = std::fs::read_to_string(format!("{shared}/bench/cargo/Cargo.lock")) else {
            eprintln!("skipped: no Cargo.lock in the shared folder");
            return;
        };
        let locked = parse_lock(&text).unwrap();
        assert!(locked.len() > 200, "{}", locked.len());
        assert!(locked.iter().all(|c| c.source.is_none() == c.checksum.is_none()));
    }
}
