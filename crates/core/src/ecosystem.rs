//! The package ecosystems that the gate knows.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A package ecosystem: one registry protocol, one version order, one kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// Python packages (PEP 503 and its successors).
    Pypi,
    /// npm packages.
    Npm,
    /// Rust crates.
    Cargo,
    /// Debian binary packages.
    Debian,
    /// Go modules: listed in SBOMs and judged by advisories, not fetched through the gate.
    Go,
    /// Maven artifacts: as Go modules.
    Maven,
}

impl Ecosystem {
    /// All ecosystems, in the order in which they are listed to people.
    pub const ALL: [Ecosystem; 6] = [
        Ecosystem::Pypi,
        Ecosystem::Npm,
        Ecosystem::Cargo,
        Ecosystem::Debian,
        Ecosystem::Go,
        Ecosystem::Maven,
    ];

    /// The purl type (`pkg:<type>/…`) of the ecosystem, per the purl specification's type list.
    #[must_use]
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Debian => "deb",
            Self::Go => "golang",
            Self::Maven => "maven",
        }
    }

    /// The ecosystem of a purl type, if the gate knows it.
    #[must_use]
    pub fn from_purl_type(ty: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.purl_type() == ty)
    }

    /// The canonical form of a package name, under which it is compared and looked up.
    ///
    /// PyPI names follow PEP 503 ("normalized names"). Go's module paths are lower case in purls
    /// (purl specification, type `golang`), whatever their case elsewhere. Maven's are `group:artifact`.
    /// The others are compared as they are.
    #[must_use]
    pub fn canonical_name(self, name: &str) -> String {
        match self {
            Self::Pypi => normalize_pypi_name(name),
            Self::Go => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        }
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Debian => "debian",
            Self::Go => "go",
            Self::Maven => "maven",
        })
    }
}

/// The normalized form of a Python project name: lower case, runs of `-`, `_` and `.` as one `-`
/// (PEP 503, "Normalized Names").
#[must_use]
pub fn normalize_pypi_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut gap = false;
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            gap = true;
            continue;
        }
        if gap {
            out.push('-');
            gap = false;
        }
        out.push(c.to_ascii_lowercase());
    }
    if gap {
        out.push('-');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pep503_names_normalize() {
        for (given, want) in [
            ("Flask", "flask"),
            ("zope.interface", "zope-interface"),
            ("a__b-.c", "a-b-c"),
            ("-x", "-x"),
            ("x_", "x-"),
        ] {
            assert_eq!(normalize_pypi_name(given), want, "{given}");
        }
    }

    #[test]
    fn purl_types_round_trip() {
        for e in Ecosystem::ALL {
            assert_eq!(Ecosystem::from_purl_type(e.purl_type()), Some(e));
        }
        assert_eq!(Ecosystem::from_purl_type("gem"), None);
    }
}
