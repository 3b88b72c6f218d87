//! Collects what a reader finds: names and versions are checked here, so that no reader lists what
//! its ecosystem could not hold.

use super::{Format, Include, Inventory, Listed, ListedFile, SkipKind, Skipped};
use crate::text::clean;
use crate::version::{is_valid, normalize_pypi};
use crate::{cargo, npm, pypi};
use countersign_core::{Ecosystem, ExpectedDigest, Purl};

/// Longest version that is listed; what is longer is none.
const MAX_VERSION: usize = 256;
/// Longest foreign text that a skipped entry repeats, in characters.
const MAX_SHOWN: usize = 200;

/// An inventory that is being made.
pub(super) struct Reading {
    inventory: Inventory,
}

/// One entry as its document spells it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) ecosystem: Ecosystem,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) line: Option<u32>,
}

impl Reading {
    pub(super) fn new(format: Format) -> Self {
        let (listed, skipped, includes) = (Vec::new(), Vec::new(), Vec::new());
        Self { inventory: Inventory { format, listed, skipped, includes } }
    }

    pub(super) fn done(self) -> Inventory {
        self.inventory
    }

    /// Lists an entry; one whose name or version cannot be any is skipped as unreadable.
    pub(super) fn list(&mut self, entry: Entry<'_>) -> Option<&mut Listed> {
        let Entry { ecosystem, name, version, line } = entry;
        if let Some(because) = unusable(ecosystem, name, version) {
            let what = format!("{name} {version}");
            self.skip(SkipKind::Unreadable, &what, because, line);
            return None;
        }
        let purl = match ecosystem {
            // The index's versions are in PEP 440's normal form.
            Ecosystem::Pypi => Purl::new(ecosystem, name, Some(&normalize_pypi(version))),
            _ => Purl::new(ecosystem, name, Some(version)),
        };
        self.push(purl, line)
    }

    /// Lists a purl that was checked, or written as one.
    pub(super) fn push(&mut self, purl: Purl, line: Option<u32>) -> Option<&mut Listed> {
        self.inventory.listed.push(Listed {
            purl,
            files: Vec::new(),
            line,
            from: None,
            source: None,
            release: None,
            dev: false,
        });
        self.inventory.listed.last_mut()
    }

    pub(super) fn skip(
        &mut self,
        kind: SkipKind,
        what: &str,
        because: impl Into<String>,
        line: Option<u32>,
    ) {
        let what = clean(&what.chars().take(MAX_SHOWN).collect::<String>());
        self.inventory.skipped.push(Skipped { what, kind, because: because.into(), line });
    }

    pub(super) fn include(&mut self, path: &str, line: Option<u32>) {
        self.inventory.includes.push(Include { path: path.to_owned(), line });
    }
}

/// Why a name and version cannot be a package version; `None` when they can.
pub(super) fn unusable(ecosystem: Ecosystem, name: &str, version: &str) -> Option<&'static str> {
    let named = match ecosystem {
        Ecosystem::Pypi => pypi::validate_name(name),
        Ecosystem::Npm => npm::may_be_listed(name),
        Ecosystem::Cargo => cargo::validate_name(name),
        // Debian Policy, section 5.6.7: lower case only.
        Ecosystem::Debian => {
            let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            !name.is_empty() && name.bytes().all(|b| letter(b) || b"+-.".contains(&b))
        }
        // Module paths: the Go modules reference, "module paths".
        Ecosystem::Go => {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"-._~/+!".contains(&b);
            !name.is_empty() && !name.contains("//") && name.bytes().all(known)
        }
        Ecosystem::Maven => {
            let part = |p: &str| {
                !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            };
            name.split_once(':').is_some_and(|(group, artifact)| part(group) && part(artifact))
        }
    };
    if !named {
        return Some("its name is none of a package");
    }
    // Legacy versions of Python packages have no grammar; they are still compared by their text.
    let printable = !version.is_empty() && version.bytes().all(|b| b.is_ascii_graphic());
    let known = ecosystem == Ecosystem::Pypi || is_valid(ecosystem, version);
    (!printable || !known || version.len() > MAX_VERSION).then_some("its version is none")
}

impl Listed {
    /// Adds a file, unless nothing is known of it.
    pub(super) fn add_file(&mut self, name: Option<&str>, digests: Vec<ExpectedDigest>) {
        if name.is_some() || !digests.is_empty() {
            self.files.push(ListedFile { name: name.map(str::to_owned), digests });
        }
    }
}

/// The file's name at the end of an address or path, without query and fragment.
pub(super) fn file_name(address: &str) -> Option<&str> {
    let path = address.split(['?', '#']).next()?;
    path.rsplit(['/', '\\']).next().filter(|n| !n.is_empty())
}

/// A digest spelt `sha256:hex`.
pub(super) fn digest(text: &str) -> Option<ExpectedDigest> {
    let (name, hex) = text.split_once(':')?;
    named_digest(name, hex)
}

/// A digest of an algorithm's name and its hexadecimal text.
pub(super) fn named_digest(name: &str, hex: &str) -> Option<ExpectedDigest> {
    ExpectedDigest::from_hex(countersign_core::Algorithm::from_name(name)?, hex).ok()
}
