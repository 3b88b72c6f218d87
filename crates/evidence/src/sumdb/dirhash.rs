//! The `h1:` hash of a module's zip (golang.org/x/mod/sumdb/dirhash, `Hash1` and `HashZip`).

use super::name;
use crate::error::{EvidenceError, shown};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::Sha256Digest;
use sha2::{Digest as _, Sha256};

const WHAT: &str = "module's zip";

/// An entry of a module's zip: its name as the zip has it, and the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZipEntry {
    /// `<module>@<version>/<path>`.
    pub name: Vec<u8>,
    /// SHA-256 of the unpacked content.
    pub sha256: Sha256Digest,
}

/// A module's zip: which version it says it is, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZippedModule {
    path: String,
    version: String,
    h1: String,
}

impl ZippedModule {
    /// The module that all entries of a zip belong to, and the hash over them.
    ///
    /// # Errors
    /// When the entries are no module's: without a common `<module>@<version>/` before their names,
    /// with a name twice, or with one that the hash's lines cannot hold.
    pub fn of(mut entries: Vec<ZipEntry>) -> Result<Self, EvidenceError> {
        let bad = |because: &str| EvidenceError::malformed(WHAT, because);
        entries.sort();
        let first = entries.first().ok_or_else(|| bad("it is empty"))?;
        let first = std::str::from_utf8(&first.name).map_err(|_| bad("a name is not UTF-8"))?;
        let (path, rest) = first.split_once('@').ok_or_else(|| bad("it names no version"))?;
        let (version, _) = rest.split_once('/').ok_or_else(|| bad("it names no version"))?;
        if !name::is_module(path) || !name::is_version(version) {
            let because = format!("`{}@{}` is no module's version", shown(path), shown(version));
            return Err(bad(&because));
        }
        let (path, version) = (path.to_owned(), version.to_owned());
        let prefix = format!("{path}@{version}/");
        let mut hasher = Sha256::new();
        let mut last: Option<&[u8]> = None;
        for entry in &entries {
            let name = entry.name.as_slice();
            if !name.starts_with(prefix.as_bytes()) {
                return Err(bad(&format!("not all of it is below `{prefix}`")));
            }
            if last == Some(name) {
                return Err(bad("a name is in it twice"));
            }
            if name.contains(&b'\n') {
                return Err(bad("a name holds a line's end"));
            }
            hasher.update(entry.sha256.to_hex());
            hasher.update(b"  ");
            hasher.update(name);
            hasher.update(b"\n");
            last = Some(name);
        }
        let h1 = format!("h1:{}", BASE64_STANDARD.encode(hasher.finalize()));
        Ok(Self { path, version, h1 })
    }

    /// The module's path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The hash, as `go.sum` writes it.
    #[must_use]
    pub fn h1(&self) -> &str {
        &self.h1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, content: &str) -> ZipEntry {
        ZipEntry { name: name.into(), sha256: Sha256Digest::of(content.as_bytes()) }
    }

    /// As Go's own test of `Hash1` computes it, over other names.
    #[test]
    fn the_hash_is_over_sorted_lines() {
        let one = entry("m.example/a@v1.0.0/xyz", "data for xyz");
        let two = entry("m.example/a@v1.0.0/abc", "data for abc");
        let lines = format!(
            "{}  m.example/a@v1.0.0/abc\n{}  m.example/a@v1.0.0/xyz\n",
            two.sha256.to_hex(),
            one.sha256.to_hex(),
        );
        let want = format!("h1:{}", BASE64_STANDARD.encode(Sha256::digest(lines)));
        for order in [vec![one.clone(), two.clone()], vec![two, one]] {
            let module = ZippedModule::of(order).unwrap();
            assert_eq!(module.h1(), want);
            assert_eq!((module.path(), module.version()), ("m.example/a", "v1.0.0"));
        }
    }

    #[test]
    fn a_zip_of_anything_else_has_no_hash() {
        let of = |names: &[&str]| ZippedModule::of(names.iter().map(|n| entry(n, "")).collect());
        assert!(of(&["m.example/a@v1.0.0/a", "m.example/a@v1.0.0/b@2/c"]).is_ok());
        for bad in [
            &[][..],
            &["flask/__init__.py"],
            &["m.example/a@v1.0.0"],
            &["m.example/a@v1.0.0/a", "m.example/a@v1.0.0/a"],
            &["m.example/a@v1.0.0/a", "m.example/a@v1.0.1/a"],
            &["m.example/a@v1.0.0/a", "m.example/b@v1.0.0/a"],
            &["m.example/a@v1.0.0/a\nb"],
            &["../a@v1.0.0/a"],
            &["m.example/../a@v1.0.0/a"],
            &["/m.example/a@v1.0.0/a"],
            &["m.example/a@1.0.0/a"],
            &["m.example/a@v../a"],
            &["m example/a@v1.0.0/a"],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        let not_text = ZipEntry { name: vec![0xff; 4], sha256: Sha256Digest([0; 32]) };
        assert!(ZippedModule::of(vec![not_text]).is_err());
    }
}
