//! What is already there: lock files, installed environments and SBOMs, as one kind of list.
//!
//! Every reader gives [`Listed`] entries: a purl with a version, the files that the document names
//! for it with their digests, and the line. What a document lists and that cannot be judged as a
//! package of a registry (folders, git checkouts, ranges of versions) is in
//! [`Inventory::skipped`] with its reason, never dropped.
//!
//! Of each format the versions that are known are read; another one is an error, not a guess.

mod bun;
mod cyclonedx;
mod dpkg;
mod json;
mod lines;
mod node;
mod npm;
mod pnpm;
mod poetry;
mod pylock;
mod python;
mod reading;
mod rust;
mod spdx;
mod yaml;
mod yarn;
mod yarn_classic;

#[cfg(test)]
mod tests;

use crate::error::{IndexError, IndexLimits};
use countersign_core::{ExpectedDigest, Purl};

/// The documents that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// `requirements.txt` with exact versions, by custom with `--hash`.
    Requirements,
    /// `uv.lock`.
    UvLock,
    /// `poetry.lock`.
    PoetryLock,
    /// `pylock.toml` (PEP 751).
    PyLock,
    /// `package-lock.json`, `npm-shrinkwrap.json` and `node_modules/.package-lock.json`.
    PackageLock,
    /// `pnpm-lock.yaml`.
    PnpmLock,
    /// `yarn.lock`, of yarn 1 and of berry.
    YarnLock,
    /// `bun.lock`.
    BunLock,
    /// `Cargo.lock`.
    CargoLock,
    /// dpkg's `status`.
    DpkgStatus,
    /// CycloneDX, JSON (1.4 to 1.6).
    CycloneDx,
    /// SPDX, JSON (2.2, 2.3).
    Spdx,
}

impl Format {
    /// The format's stable name, for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requirements => "requirements.txt",
            Self::UvLock => "uv.lock",
            Self::PoetryLock => "poetry.lock",
            Self::PyLock => "pylock.toml",
            Self::PackageLock => "package-lock.json",
            Self::PnpmLock => "pnpm-lock.yaml",
            Self::YarnLock => "yarn.lock",
            Self::BunLock => "bun.lock",
            Self::CargoLock => "Cargo.lock",
            Self::DpkgStatus => "dpkg status",
            Self::CycloneDx => "CycloneDX",
            Self::Spdx => "SPDX",
        }
    }

    /// Whether the document tells which packages only development needs. Where it does not, all of
    /// them count as needed.
    #[must_use]
    pub fn tells_dev(self) -> bool {
        matches!(self, Self::PoetryLock | Self::PackageLock | Self::PnpmLock)
    }
}

/// A file of a package version, as a document names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListedFile {
    /// Its name, where the document tells.
    pub name: Option<String>,
    /// The digests that it should have; of one algorithm any may match.
    pub digests: Vec<ExpectedDigest>,
}

/// A package version that a document lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The version.
    pub purl: Purl,
    /// The files of it that may be installed.
    pub files: Vec<ListedFile>,
    /// The line that names it, from 1, where the format has lines that mean something.
    pub line: Option<u32>,
    /// Where it comes from, as the document writes it: an index, or the address of its file.
    pub from: Option<String>,
    /// Debian: the source package and its version, which advisories are about.
    pub source: Option<(String, String)>,
    /// Debian: the release that it belongs to, by number or code name, where the document tells.
    pub release: Option<String>,
    /// Whether only development needs it, where the document tells.
    pub dev: bool,
}

/// Why something is not among the listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipKind {
    /// The project itself, or a part of it.
    Own,
    /// It comes from no registry whose packages can be judged: git, an address, a folder, another
    /// kind of package.
    Elsewhere,
    /// It names a package and no exact version: nobody can say what it stands for.
    Unpinned,
    /// It could not be understood.
    Unreadable,
}

/// Something that a document lists and that is not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What the document calls it.
    pub what: String,
    /// Of which kind the reason is.
    pub kind: SkipKind,
    /// Why it is not among the listed.
    pub because: String,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// Another document that belongs to this one (`-r`, `-c` of requirement files).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Its path or address, as written.
    pub path: String,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// What a document lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// What kind of document it is.
    pub format: Format,
    /// The package versions, in the document's order.
    pub listed: Vec<Listed>,
    /// What is not judged, and why.
    pub skipped: Vec<Skipped>,
    /// Documents that this one includes.
    pub includes: Vec<Include>,
}

/// How much of a document is looked at to find out what it is.
const SNIFFED: usize = 64 << 10;

/// The format of a document by its file name and, for SBOMs, by its first bytes.
#[must_use]
pub fn detect(file_name: &str, bytes: &[u8]) -> Option<Format> {
    let name = file_name.to_ascii_lowercase();
    let ends = |suffix: &str| name.ends_with(suffix);
    match name.as_str() {
        "uv.lock" => return Some(Format::UvLock),
        "poetry.lock" => return Some(Format::PoetryLock),
        "pylock.toml" => return Some(Format::PyLock),
        "package-lock.json" | "npm-shrinkwrap.json" | ".package-lock.json" => {
            return Some(Format::PackageLock);
        }
        "pnpm-lock.yaml" => return Some(Format::PnpmLock),
        "yarn.lock" => return Some(Format::YarnLock),
        "bun.lock" => return Some(Format::BunLock),
        "cargo.lock" => return Some(Format::CargoLock),
        "status" if bytes.starts_with(b"Package: ") => return Some(Format::DpkgStatus),
        _ => {}
    }
    if name.starts_with("pylock.") && ends(".toml") {
        return Some(Format::PyLock);
    }
    if name.contains("requirements") && ends(".txt") {
        return Some(Format::Requirements);
    }
    if ends(".json") {
        return detect_sbom(&name, bytes);
    }
    None
}

fn detect_sbom(name: &str, bytes: &[u8]) -> Option<Format> {
    let head = bytes.get(..SNIFFED).unwrap_or(bytes);
    let holds = |word: &[u8]| head.windows(word.len()).any(|w| w == word);
    if name.ends_with(".spdx.json") || holds(b"\"spdxVersion\"") {
        return Some(Format::Spdx);
    }
    let named = name == "bom.json" || name.ends_with(".cdx.json");
    (named || holds(b"\"bomFormat\"")).then_some(Format::CycloneDx)
}

/// Reads a document.
///
/// # Errors
/// When it is over a limit, malformed, or of an unknown version.
pub fn parse(format: Format, bytes: &[u8]) -> Result<Inventory, IndexError> {
    parse_under(format, bytes, &IndexLimits::default())
}

/// Reads a document under limits of the caller's own.
///
/// # Errors
/// As [`parse`].
pub fn parse_under(
    format: Format,
    bytes: &[u8],
    limits: &IndexLimits,
) -> Result<Inventory, IndexError> {
    let what = format.name();
    limits.check_bytes(what, bytes.len())?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        IndexError::malformed(what, &format!("byte {}", e.valid_up_to()), "it is not UTF-8")
    })?;
    let mut reading = reading::Reading::new(format);
    match format {
        Format::Requirements => python::requirements(text, &mut reading),
        Format::UvLock => python::uv_lock(text, &mut reading)?,
        Format::PoetryLock => poetry::read(text, limits, &mut reading)?,
        Format::PyLock => pylock::read(text, limits, &mut reading)?,
        Format::PackageLock => npm::package_lock(text, limits, &mut reading)?,
        Format::PnpmLock => pnpm::read(text, limits, &mut reading)?,
        Format::YarnLock => yarn::read(text, limits, &mut reading)?,
        Format::BunLock => bun::read(text, limits, &mut reading)?,
        Format::CargoLock => rust::cargo_lock(text, &mut reading)?,
        Format::DpkgStatus => dpkg::read(text, limits, &mut reading)?,
        Format::CycloneDx => cyclonedx::read(text, limits, &mut reading)?,
        Format::Spdx => spdx::read(text, limits, &mut reading)?,
    }
    let inventory = reading.done();
    limits.check_entries(what, inventory.listed.len() + inventory.skipped.len())?;
    Ok(inventory)
}
