//! How bad each problem of an archive is.

use super::Notes;
use super::contents::Contents;
use countersign_core::{Ecosystem, Severity, Sha256Digest};
use countersign_ecosystem::archive::{ArchiveKind, Problem, ProblemCode, Summary};
use std::collections::{HashMap, HashSet};

/// Turns an archive's problems into findings.
pub(super) fn problems(
    summary: &Summary,
    ecosystem: Ecosystem,
    kind: ArchiveKind,
    contents: &Contents,
    notes: &mut Notes,
) {
    let same_twice = identical_duplicates(summary, contents);
    for problem in &summary.problems {
        let path = problem.path.as_deref();
        let severity = match problem.code {
            ProblemCode::DuplicateName if path.is_some_and(|p| same_twice.contains(p)) => {
                Severity::Low
            }
            code => severity(code, ecosystem, kind),
        };
        notes.structure(problem.code.name(), severity, problem.detail.clone(), path);
    }
    if summary.problems_left_out > 0 {
        let title = format!("{} more problems were not listed", summary.problems_left_out);
        notes.structure("too-many-problems", Severity::High, title, None);
    }
}

/// How bad a problem is where nothing more is known about it.
fn severity(code: ProblemCode, ecosystem: Ecosystem, kind: ArchiveKind) -> Severity {
    use ProblemCode as C;
    match code {
        C::PathTraversal | C::Ratio | C::TooManyEntries | C::TooLarge => Severity::Critical,
        C::NotAnArchive | C::Truncated => Severity::Critical,
        C::AbsolutePath | C::SymlinkOutside | C::HardlinkOutside | C::DeviceFile => Severity::High,
        C::DuplicateName | C::UnicodeConfusablePath | C::PathTooLong | C::Depth => Severity::High,
        C::EncryptedEntry | C::UnsupportedCompression | C::HeaderMismatch => Severity::High,
        C::OverlappingEntries | C::PrependedData => Severity::High,
        C::ControlCharacterPath | C::SymlinkInPath | C::SparseFile => Severity::Moderate,
        // Inside a ZIP archive a streaming reader would stumble over it; after a tar all stop.
        C::TrailingData if kind == ArchiveKind::Zip => Severity::High,
        C::TrailingData | C::HiddenData => Severity::Moderate,
        // cargo stops after the first gzip member, other readers of crates do not.
        C::SeveralMembers if ecosystem == Ecosystem::Cargo => Severity::High,
        C::SeveralMembers => Severity::Low,
        C::CaseCollision | C::BackslashPath | C::UndecodablePath => Severity::Low,
        // Debian installs such files on purpose; other clients drop the bits.
        C::Setuid if ecosystem == Ecosystem::Debian => Severity::Info,
        C::Setuid => Severity::Low,
    }
}

/// Paths that occur several times, always as files with the same content.
fn identical_duplicates<'s>(summary: &'s Summary, contents: &Contents) -> HashSet<&'s str> {
    let is_duplicate = |p: &&Problem| p.code == ProblemCode::DuplicateName;
    let mut repeats: HashMap<&str, u64> = HashMap::new();
    for problem in summary.problems.iter().filter(is_duplicate) {
        *repeats.entry(problem.path.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let mut files: HashMap<&str, (u64, Sha256Digest, bool)> = HashMap::new();
    for file in contents.manifest.iter().filter(|f| repeats.contains_key(f.path.as_str())) {
        let seen = files.entry(&file.path).or_insert((0, file.sha256, true));
        seen.0 += 1;
        seen.2 &= seen.1 == file.sha256;
    }
    let identical = |path: &str, repeats: u64| {
        files.get(path).is_some_and(|(count, _, same)| *same && *count == repeats + 1)
    };
    repeats.into_iter().filter(|(path, n)| identical(path, *n)).map(|(path, _)| path).collect()
}
