//! The structure of an artifact: is it an archive that every unpacker sees alike, does it hold
//! the package that it is named after, and does it run code when it is installed.
//!
//! The archive is walked once, under limits, and never unpacked. Problems that an attacker could
//! use are findings of severity high or critical; what honest packages show as well (old tools,
//! odd roots, the same file twice) is low or for information.

mod cargo;
mod contents;
mod debian;
mod judge;
pub mod listing;
mod modules;
mod npm;
mod pypi;
mod record;
mod source;
#[cfg(test)]
pub(crate) mod tests;

use crate::configuration::Configuration;
use crate::content::{ContentScanner, Package, Pass};
use crate::licence::Licences;
use crate::malware::{FileRules, Malware};
pub(crate) use contents::printable;
use contents::{Contents, Gatherer};
use countersign_core::{Check, Ecosystem, Finding, FindingKind, Severity};
use countersign_ecosystem::archive::{
    ArchiveKind, Entry, Limits, ManifestEntry, Problem, ProblemCode, Summary, walk_with_manifest,
};
use countersign_ecosystem::version;
use listing::Listing;
use std::io::{Read, Seek, SeekFrom};

/// The name of the check in reports and policies.
pub const CHECK: &str = "archive";

/// The package that the index says the artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The package's name as its ecosystem spells it.
    pub name: String,
    /// The version.
    pub version: String,
}

/// The package that the artifact says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The name as the artifact's metadata spells it.
    pub name: String,
    /// The version as the artifact's metadata spells it.
    pub version: String,
}

/// A metadata file of the artifact, kept for other scanners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataFile {
    /// Its normalized path in the archive.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// What the structure scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructureReport {
    /// The findings, strictest first.
    pub findings: Vec<Finding>,
    /// How the check ended: failed when a structure finding is high or critical, not done when
    /// the bytes could not be read.
    pub check: Check,
    /// How the scans of content ended, one check for each scanner.
    pub content_checks: Vec<Check>,
    /// Each file's digest, to compare with what is installed.
    pub manifest: Vec<ManifestEntry>,
    /// Stable names of what runs code at installation (`postinstall`, `build.rs`, `setup.py`), sorted; to compare
    /// with the last admitted version.
    pub install_hooks: Vec<String>,
    /// The package that the artifact says it is, where its metadata could be read.
    pub declared: Option<Declared>,
    /// What it declares beside its name, to compare with what the index lists.
    pub listing: Option<Listing>,
    /// The metadata files (`METADATA`, `RECORD`, `package.json`, `Cargo.toml`, `control`).
    pub metadata: Vec<MetadataFile>,
}

/// Scans one artifact.
///
/// `expected` is the package that the index names; without it only the artifact's agreement with
/// itself is checked.
pub fn scan_archive<R: Read + Seek>(
    file_name: &str,
    ecosystem: Ecosystem,
    expected: Option<&Expected>,
    reader: R,
    limits: &Limits,
) -> StructureReport {
    scan_archive_with(file_name, ecosystem, expected, reader, limits, None)
}

/// Scans one artifact, also with rules in a language of their own.
pub fn scan_archive_with<R: Read + Seek>(
    file_name: &str,
    ecosystem: Ecosystem,
    expected: Option<&Expected>,
    mut reader: R,
    limits: &Limits,
    rules: Option<&dyn FileRules>,
) -> StructureReport {
    match scan(file_name, ecosystem, expected, &mut reader, limits, rules) {
        Ok(report) => report,
        Err(because) => StructureReport {
            findings: Vec::new(),
            content_checks: content_not_done(&because),
            check: Check::not_done(CHECK, because),
            manifest: Vec::new(),
            install_hooks: Vec::new(),
            declared: None,
            listing: None,
            metadata: Vec::new(),
        },
    }
}

fn scan<R: Read + Seek>(
    file_name: &str,
    ecosystem: Ecosystem,
    expected: Option<&Expected>,
    reader: &mut R,
    limits: &Limits,
    rules: Option<&dyn FileRules>,
) -> Result<StructureReport, String> {
    let mut notes = Notes::default();
    if ecosystem == Ecosystem::Debian
        && let Some(text) = source::Text::of_file_name(file_name)
    {
        return source::scan_text(text, file_name, expected, reader, limits, rules);
    }
    let start = first_bytes(reader).map_err(|e| format!("could not read the artifact: {e}"))?;
    let Some(kind) = kind_of(file_name, ecosystem, &start, &mut notes) else {
        let title = format!("`{file_name}` is no archive that the gate can open");
        notes.structure("not-an-archive", Severity::Critical, title.clone(), None);
        let mut report = notes.into_report(Contents::default(), None);
        report.content_checks = content_not_done(&title);
        return Ok(report);
    };
    let mut gatherer = Gatherer::new(file_name, ecosystem, Pass::new(content_scanners(rules)));
    let (summary, manifest) = walk_with_manifest(reader, kind, limits, &mut |entry, content| {
        gatherer.visit(entry, content)
    })
    .map_err(|e| e.to_string())?;
    let (contents, pass) = gatherer.into_contents(manifest);
    Ok(judge_all(file_name, ecosystem, kind, expected, &summary, contents, pass, notes))
}

/// One file, as if a package held it and nothing else but its manifest.
pub(crate) fn scan_file(
    ecosystem: Ecosystem,
    entry: &Entry,
    content: &mut dyn Read,
    listed: ManifestEntry,
    manifest: &[u8],
) -> Vec<Finding> {
    let (path, name) = match ecosystem {
        Ecosystem::Npm => ("package/package.json", "file.tgz"),
        Ecosystem::Cargo => ("file-1.0.0/Cargo.toml", "file-1.0.0.crate"),
        Ecosystem::Pypi => ("file-1.0/PKG-INFO", "file-1.0.tar.gz"),
        Ecosystem::Debian => ("control/control", "file_1.0_all.deb"),
        Ecosystem::Go | Ecosystem::Maven => ("file/manifest", "file-1.0.zip"),
    };
    let metadata = MetadataFile { path: path.to_owned(), content: manifest.to_vec() };
    let contents =
        Contents { manifest: vec![listed], metadata: vec![metadata], ..Contents::default() };
    let mut pass = Pass::new(content_scanners(None));
    if pass.file(entry, content).is_err() {
        return Vec::new();
    }
    let mut notes = Notes::default();
    match ecosystem {
        Ecosystem::Npm => drop(npm::examine(&contents, &mut notes)),
        Ecosystem::Cargo => drop(cargo::examine(None, &contents, &mut notes)),
        Ecosystem::Pypi => drop(pypi::examine(name, None, &contents, &mut notes)),
        Ecosystem::Debian => drop(debian::examine(&contents, &mut notes)),
        Ecosystem::Go | Ecosystem::Maven => {}
    }
    let package = Package {
        ecosystem,
        file_name: name,
        manifest: &contents.manifest,
        metadata: &contents.metadata,
        hooks: &notes.findings,
    };
    pass.finish(&package, None).0
}

/// The scanners that every file passes.
fn content_scanners(rules: Option<&dyn FileRules>) -> Vec<Box<dyn ContentScanner>> {
    vec![
        Box::new(Malware::with(rules)),
        Box::new(Licences::default()),
        Box::<Configuration>::default(),
    ]
}

/// The checks of all content scanners, of which none could be done.
fn content_not_done(because: &str) -> Vec<Check> {
    content_scanners(None).iter().map(|s| Check::not_done(s.name(), because)).collect()
}

/// Why not everything in the archive could be read.
fn unread(summary: &Summary) -> Option<String> {
    let cut = |p: &&Problem| {
        matches!(p.code, ProblemCode::EncryptedEntry | ProblemCode::UnsupportedCompression)
            || p.code.ends_walk()
    };
    match summary.problems.iter().find(cut) {
        Some(problem) => Some(problem.detail.clone()),
        None if summary.complete => None,
        None => Some("the archive was not read to its end".to_owned()),
    }
}

#[allow(clippy::too_many_arguments)]
fn judge_all(
    file_name: &str,
    ecosystem: Ecosystem,
    kind: ArchiveKind,
    expected: Option<&Expected>,
    summary: &Summary,
    contents: Contents,
    pass: Pass,
    mut notes: Notes,
) -> StructureReport {
    judge::problems(summary, ecosystem, kind, &contents, &mut notes);
    let mut declared = None;
    // What was not read to its end cannot be said to lack anything.
    if summary.complete {
        if contents.overflowed {
            let title = "more or larger metadata files than a package has".to_owned();
            notes.structure("metadata-too-large", Severity::High, title, None);
        }
        declared = match ecosystem {
            Ecosystem::Pypi => pypi::examine(file_name, expected, &contents, &mut notes),
            Ecosystem::Npm => npm::examine(&contents, &mut notes),
            Ecosystem::Cargo => cargo::examine(expected, &contents, &mut notes),
            Ecosystem::Debian if kind == ArchiveKind::Deb => debian::examine(&contents, &mut notes),
            // A source package's archive says nothing of itself: its description does.
            Ecosystem::Debian => None,
            Ecosystem::Go | Ecosystem::Maven => None,
        };
        if let (Some(declared), Some(expected)) = (&declared, expected) {
            compare(ecosystem, declared, expected, &mut notes);
        }
    }
    let package = Package {
        ecosystem,
        file_name,
        manifest: &contents.manifest,
        metadata: &contents.metadata,
        hooks: &notes.findings,
    };
    let (findings, checks) = pass.finish(&package, unread(summary).as_deref());
    let listing = match summary.complete {
        true => listing::own(ecosystem, file_name, &contents),
        false => None,
    };
    let mut report = notes.into_report(contents, declared);
    report.findings.extend(findings);
    report.findings.sort_by(strictest_first);
    report.content_checks = checks;
    report.listing = listing;
    report
}

fn strictest_first(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    let by_name = || a.id.cmp(&b.id).then_with(|| a.path.cmp(&b.path));
    b.severity.cmp(&a.severity).then_with(by_name)
}

/// Compares names in canonical form, and versions as the ecosystem does.
fn compare(ecosystem: Ecosystem, declared: &Declared, expected: &Expected, notes: &mut Notes) {
    let canonical = |name: &str| ecosystem.canonical_name(name.trim());
    let same_name = canonical(&declared.name) == canonical(&expected.name);
    if !same_name || !same_version(ecosystem, &declared.version, &expected.version) {
        let title = format!(
            "the artifact says that it is `{} {}`, the index that it is `{} {}`",
            declared.name, declared.version, expected.name, expected.version
        );
        notes.structure("name-mismatch", Severity::High, title, None);
    }
}

fn same_version(ecosystem: Ecosystem, a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    match ecosystem {
        // Build metadata is part of a crate's identity, though not of its order.
        Ecosystem::Cargo => a == b,
        // In file names of wheels a version's dashes are underscores.
        Ecosystem::Pypi => {
            version::same(ecosystem, a, b) || a.replace('-', "_") == b.replace('-', "_")
        }
        _ => version::same(ecosystem, a, b),
    }
}

fn first_bytes<R: Read + Seek>(reader: &mut R) -> std::io::Result<Vec<u8>> {
    reader.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    reader.by_ref().take(512).read_to_end(&mut start)?;
    Ok(start)
}

/// The kind to read the bytes as: what they show themselves to be, with a finding when the name
/// promises another.
fn kind_of(
    file_name: &str,
    ecosystem: Ecosystem,
    start: &[u8],
    notes: &mut Notes,
) -> Option<ArchiveKind> {
    let named = ArchiveKind::of_file_name(file_name);
    let shown = ArchiveKind::sniff(start);
    match (named, shown) {
        (Some(named), Some(shown)) if named == shown => Some(named),
        // Bytes before a ZIP archive hide its signature, and V7 tars have none.
        (Some(named @ (ArchiveKind::Zip | ArchiveKind::Tar)), None) => Some(named),
        (Some(named), Some(shown)) => {
            // npm's own client opens a tar that was never compressed.
            let harmless = ecosystem == Ecosystem::Npm
                && (named, shown) == (ArchiveKind::TarGz, ArchiveKind::Tar);
            let severity = if harmless { Severity::Low } else { Severity::High };
            let title = format!("`{file_name}` is another kind of archive than its name says");
            notes.structure("kind-mismatch", severity, title, None);
            Some(shown)
        }
        (None, Some(shown)) => Some(shown),
        (_, None) => None,
    }
}

/// Findings of one id and severity that are listed one by one.
const LISTED: usize = 20;

/// Findings and hooks while they are gathered.
#[derive(Default)]
struct Notes {
    findings: Vec<Finding>,
    hooks: Vec<String>,
}

impl Notes {
    /// A finding `structure.<code>`.
    fn structure(&mut self, code: &str, severity: Severity, title: String, path: Option<&str>) {
        self.push(format!("structure.{code}"), FindingKind::Structure, severity, title, path);
    }

    /// An install hook: a finding `install-hook.<code>`, and its stable name for comparison.
    fn hook(&mut self, code: &str, name: &str, title: String, path: Option<&str>) {
        self.hooks.push(contents::printable(name));
        let id = format!("install-hook.{code}");
        self.push(id, FindingKind::InstallHook, Severity::Info, title, path);
    }

    fn push(
        &mut self,
        id: String,
        kind: FindingKind,
        severity: Severity,
        title: String,
        path: Option<&str>,
    ) {
        self.findings.push(Finding {
            id,
            aliases: Vec::new(),
            kind,
            severity,
            title: contents::printable(&title),
            fixed_in: None,
            exploitation: None,
            vex: Vec::new(),
            path: path.map(contents::printable),
            observed: None,
        });
    }

    fn into_report(mut self, contents: Contents, declared: Option<Declared>) -> StructureReport {
        self.findings.sort_by(strictest_first);
        self.findings.dedup();
        let worst = self
            .findings
            .iter()
            .find(|f| f.kind == FindingKind::Structure && f.severity >= Severity::High);
        let check = match worst {
            Some(worst) => Check::failed(CHECK, worst.title.clone()),
            None => Check::passed(CHECK),
        };
        self.hooks.sort();
        self.hooks.dedup();
        StructureReport {
            findings: shorten(self.findings),
            check,
            content_checks: Vec::new(),
            manifest: contents.manifest,
            install_hooks: self.hooks,
            declared,
            listing: None,
            metadata: contents.metadata,
        }
    }
}

/// Keeps the first findings of each id and severity; the last one kept counts the others.
fn shorten(findings: Vec<Finding>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    let mut more = 0;
    let alike = |a: &Finding, b: &Finding| a.id == b.id && a.severity == b.severity;
    let mut run = 0;
    let close = |out: &mut Vec<Finding>, more: &mut usize| {
        if let Some(last) = out.last_mut().filter(|_| *more > 0) {
            last.title.push_str(&format!(" (and {more} more of this kind)"));
        }
        *more = 0;
    };
    for finding in findings {
        if out.last().is_some_and(|last| alike(last, &finding)) {
            run += 1;
        } else {
            close(&mut out, &mut more);
            run = 1;
        }
        if run > LISTED {
            more += 1;
        } else {
            out.push(finding);
        }
    }
    close(&mut out, &mut more);
    out
}
