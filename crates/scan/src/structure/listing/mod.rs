//! What an index lists of a version beside its name, against what the artifact itself declares.
//!
//! A resolver acts on the index, an installer on the artifact, and whoever reads one of them sees
//! only that one: where they differ, somebody sees less than there is ("manifest confusion").

mod cargo;
mod debian;
mod npm;
mod pypi;
#[cfg(test)]
mod tests;

use super::contents::{Contents, is_wheel, printable};
use countersign_core::{Check, Ecosystem, Finding, FindingKind, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of the check in reports and policies.
pub const CHECK: &str = "index";

/// What is declared, by what it is about (`dependencies`, `scripts`, `bin`, `features`, `links`,
/// `metadata`) and by name. What is not there is declared to be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing(BTreeMap<String, BTreeMap<String, String>>);

/// Entries of one sort that are kept; no honest package comes near.
const KEPT: usize = 4096;
/// Letters of a value that are kept, and of one that is shown.
const LETTERS: usize = 512;
const SHOWN: usize = 80;
/// Differences of one sort that are named.
const NAMED: usize = 4;

impl Listing {
    /// What one version's manifest in an npm package's document says.
    #[must_use]
    pub fn of_npm_manifest(json: &str) -> Option<Self> {
        Some(npm::listing(&serde_json::from_str(json).ok()?))
    }

    /// What a line of the crate index says (Cargo Book, "Index Format").
    #[must_use]
    pub fn of_cargo_line(line: &str) -> Option<Self> {
        cargo::of_line(&serde_json::from_str(line).ok()?)
    }

    /// What a Python index says when it gives the digest of a wheel's metadata (PEP 658).
    #[must_use]
    pub fn of_core_metadata(sha256_hex: &str) -> Self {
        let mut out = Self::default();
        out.put("metadata", "METADATA", sha256_hex);
        out
    }

    /// What a wheel's metadata says, which a source distribution of the same version is compared with.
    #[must_use]
    pub fn of_wheel_metadata(text: &[u8]) -> Self {
        pypi::of_metadata(text)
    }

    /// What a paragraph of a `Packages` file, or a control file, says.
    #[must_use]
    pub fn of_control(text: &[u8]) -> Option<Self> {
        debian::of_control(text)
    }

    /// The names of what it needs to be there, sorted: packages, crates, distributions.
    #[must_use]
    pub fn dependencies(&self, ecosystem: Ecosystem) -> Vec<String> {
        let name = |(key, value): (&String, &String)| match ecosystem {
            Ecosystem::Npm => Some(key.clone()),
            // The package, which may stand under another name.
            Ecosystem::Cargo => value.split(' ').next().map(str::to_owned),
            // What an extra adds is added when somebody asks for it.
            Ecosystem::Pypi if key.contains("extra ") => None,
            Ecosystem::Pypi => key.rsplit(' ').next().map(str::to_owned),
            Ecosystem::Debian => {
                let needed = !key.contains(' ') || key.starts_with("Pre-Depends ");
                needed.then(|| value.clone())
            }
            Ecosystem::Go | Ecosystem::Maven => None,
        };
        let all = ["dependencies", "peers"].iter().flat_map(|what| self.of(what));
        let mut names: Vec<String> = all.filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn put(&mut self, what: &str, name: &str, value: &str) {
        let all = self.0.entry(what.to_owned()).or_default();
        if all.len() < KEPT {
            let cut = |text: &str| text.chars().take(LETTERS).collect::<String>();
            all.insert(cut(name), cut(value));
        }
    }

    fn of(&self, what: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0.get(what).unwrap_or(&NONE)
    }
}

/// What an artifact declares of itself.
pub(super) fn own(ecosystem: Ecosystem, file_name: &str, contents: &Contents) -> Option<Listing> {
    match ecosystem {
        Ecosystem::Npm => npm::own(contents),
        Ecosystem::Cargo => cargo::own(contents),
        Ecosystem::Pypi if is_wheel(file_name) => pypi::of_wheel(contents),
        Ecosystem::Pypi => pypi::of_source(contents),
        Ecosystem::Debian => {
            let (_, file) = contents.in_top_directory("control").next_back()?;
            debian::of_control(&file.content)
        }
        Ecosystem::Go | Ecosystem::Maven => None,
    }
}

/// How bad it is that something is only in the artifact, only in the index, or not the same.
struct Weight {
    what: &'static str,
    says: &'static str,
    only_own: Severity,
    only_index: Severity,
    other: Severity,
}

const fn weight(what: &'static str, says: &'static str, severities: [Severity; 3]) -> Weight {
    let [only_own, only_index, other] = severities;
    Weight { what, says, only_own, only_index, other }
}

/// The sorts that are compared.
fn weights(ecosystem: Ecosystem) -> &'static [Weight] {
    use Severity::{High, Info, Low, Moderate};
    const NPM: &[Weight] = &[
        weight("scripts", "the script", [High, Info, Moderate]),
        weight("dependencies", "the dependency", [Moderate, High, Moderate]),
        weight("peers", "the peer dependency", [Info, Info, Info]),
        weight("bin", "the command", [Moderate, Low, Moderate]),
    ];
    const CARGO: &[Weight] = &[
        weight("dependencies", "the dependency", [High, High, High]),
        weight("features", "the feature", [High, Low, High]),
        weight("links", "the linked library", [High, Low, High]),
    ];
    const PYPI: &[Weight] = &[
        weight("metadata", "the file", [Info, High, High]),
        weight("dependencies", "the requirement", [Low, Low, Low]),
        weight("python", "the field", [Info, Info, Low]),
    ];
    const DEBIAN: &[Weight] = &[
        weight("dependencies", "the relation", [High, High, High]),
        weight("fields", "the field", [High, High, High]),
    ];
    match ecosystem {
        Ecosystem::Npm => NPM,
        Ecosystem::Cargo => CARGO,
        Ecosystem::Pypi => PYPI,
        Ecosystem::Debian => DEBIAN,
        Ecosystem::Go | Ecosystem::Maven => &[],
    }
}

/// Compares what an artifact declares with what its index lists: a finding
/// `structure.index-<what>` for each sort and severity, and how the check ended.
#[must_use]
pub fn against_index(
    ecosystem: Ecosystem,
    own: &Listing,
    index: &Listing,
) -> (Vec<Finding>, Check) {
    let mut findings = Vec::new();
    for weight in weights(ecosystem) {
        // Of a Python distribution the index may say one thing alone, and it leaves others open.
        let said = |listing: &Listing| listing.0.contains_key(weight.what);
        if ecosystem == Ecosystem::Pypi && !(said(own) && said(index)) {
            continue;
        }
        let mut by_severity: BTreeMap<Severity, Vec<String>> = BTreeMap::new();
        for (severity, text) in differences(weight, own, index) {
            by_severity.entry(severity).or_default().push(text);
        }
        findings.extend(by_severity.into_iter().rev().map(|(s, texts)| finding(weight, s, &texts)));
    }
    let check = match findings.iter().find(|f| f.severity >= Severity::High) {
        Some(worst) => Check::failed(CHECK, worst.title.clone()),
        None => Check::passed(CHECK),
    };
    (findings, check)
}

fn differences(weight: &Weight, own: &Listing, index: &Listing) -> Vec<(Severity, String)> {
    let (own, index) = (own.of(weight.what), index.of(weight.what));
    let mut out = Vec::new();
    for (name, value) in own {
        let says = format!("{} `{}`", weight.says, shown(name));
        match index.get(name) {
            None => {
                let text = format!("{says} (`{}`) is not in the index", shown(value));
                out.push((weight.only_own, text));
            }
            Some(other) if other == npm::ANY || other == value => {}
            Some(other) => {
                let text = format!("{says} is `{}`, in the index `{}`", shown(value), shown(other));
                out.push((weight.other, text));
            }
        }
    }
    let gone = index.iter().filter(|(name, value)| *value != npm::ANY && !own.contains_key(*name));
    out.extend(gone.map(|(name, value)| {
        let says = format!("{} `{}`", weight.says, shown(name));
        (weight.only_index, format!("{says} (`{}`) is only in the index", shown(value)))
    }));
    out
}

fn shown(text: &str) -> String {
    printable(&text.chars().take(SHOWN).collect::<String>())
}

fn finding(weight: &Weight, severity: Severity, texts: &[String]) -> Finding {
    let mut title = texts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if texts.len() > NAMED {
        title.push_str(&format!("; and {} more", texts.len() - NAMED));
    }
    Finding {
        id: format!("structure.index-{}", weight.what),
        aliases: Vec::new(),
        kind: FindingKind::Structure,
        severity,
        title,
        fixed_in: None,
        path: None,
        observed: None,
        exploitation: None,
        vex: Vec::new(),
    }
}
