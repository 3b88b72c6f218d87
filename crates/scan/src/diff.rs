//! What differs between two versions of a package, as far as it may matter to whoever installs them.
//!
//! Both sides are facts that were recorded when the artifacts were judged, and the manifests of
//! their files: nothing is fetched or opened again.

mod brought;

pub use brought::brought;

use countersign_core::{ArtifactFacts, Finding, FindingKind, Severity, Sha256Digest};
use countersign_ecosystem::archive::ManifestEntry;
use std::collections::{BTreeMap, BTreeSet};

/// An artifact as it was judged.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its facts.
    pub facts: &'a ArtifactFacts,
    /// Its files; `None` when they were not kept.
    pub files: Option<&'a [ManifestEntry]>,
}

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What kind of thing: `install-hook`, `start-hook`, `suspicious`, `capability`, `publisher`, `evidence`,
    /// `licence`, `native-code`, `size`, `files`, `not-compared`.
    pub kind: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// In words.
    pub text: String,
}

/// A package that grows by more than this is worth a look: times, and bytes at least.
const GROWS: u64 = 2;
const GROWS_BY: u64 = 256 << 10;
/// Files that are named, of each sort.
const NAMED: usize = 12;

/// All changes, the weightiest first.
#[must_use]
pub fn compare(old: Side<'_>, new: Side<'_>) -> Vec<Change> {
    let mut out = Vec::new();
    findings(old.facts, new.facts, &mut out);
    evidence(old.facts, new.facts, &mut out);
    size(old.facts.size, new.facts.size, &mut out);
    match (old.files, new.files) {
        (Some(old), Some(new)) => files(old, new, &mut out),
        _ => out.push(Change {
            kind: "not-compared",
            severity: Severity::Unknown,
            text: "the files were not compared: of one version no manifest is kept".to_owned(),
        }),
    }
    out.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then_with(|| (a.kind, &a.text).cmp(&(b.kind, &b.text)))
    });
    out
}

/// Hooks, capabilities, suspicions and licences that only one side has.
fn findings(old: &ArtifactFacts, new: &ArtifactFacts, out: &mut Vec<Change>) {
    let (before, after) = (named(&old.findings), named(&new.findings));
    for (name, finding) in &after {
        let Some((kind, severity)) = weight(finding) else { continue };
        match before.get(name) {
            None => out.push(Change { kind, severity, text: format!("new: {}", words(finding)) }),
            // A hook whose command is another one is as good as new.
            Some(was) if finding.kind == FindingKind::InstallHook && was.title != finding.title => {
                let text = format!("changed: {}; before: {}", words(finding), was.title);
                out.push(Change { kind, severity, text });
            }
            Some(_) => {}
        }
    }
    for (name, finding) in &before {
        if let (Some((kind, _)), false) = (weight(finding), after.contains_key(name)) {
            let text = format!("gone: {}", words(finding));
            out.push(Change { kind, severity: Severity::Info, text });
        }
    }
}

/// By what a finding is the same in two versions: its rule, and the file that it is about where
/// several files can have it.
fn named(findings: &[Finding]) -> BTreeMap<(String, String), &Finding> {
    let place = |f: &Finding| match f.kind {
        FindingKind::InstallHook | FindingKind::Suspicious => {
            f.path.as_deref().map(unversioned).unwrap_or_default()
        }
        // When its code runs is part of what a package can do.
        FindingKind::Capability => f.title.clone(),
        FindingKind::Licence if f.id == "licence.declared" => f.title.clone(),
        _ => String::new(),
    };
    findings.iter().map(|f| ((f.id.clone(), place(f)), f)).collect()
}

fn weight(finding: &Finding) -> Option<(&'static str, Severity)> {
    Some(match finding.kind {
        FindingKind::InstallHook if is_start(finding) => ("start-hook", Severity::High),
        FindingKind::InstallHook => ("install-hook", Severity::High),
        FindingKind::Suspicious => ("suspicious", finding.severity),
        FindingKind::Capability => ("capability", Severity::Moderate),
        FindingKind::Licence if finding.id == "licence.declared" => ("licence", Severity::Low),
        FindingKind::Licence if finding.id == "licence.conflict" => ("licence", Severity::Low),
        _ => return None,
    })
}

fn is_start(finding: &Finding) -> bool {
    matches!(finding.id.as_str(), "install-hook.pth" | "install-hook.startup-module")
}

fn words(finding: &Finding) -> String {
    match &finding.path {
        Some(path) => format!("{} in `{path}`", finding.title),
        None => finding.title.clone(),
    }
}

/// Who vouches for it, and from which repository.
fn evidence(old: &ArtifactFacts, new: &ArtifactFacts, out: &mut Vec<Change>) {
    let claims = |facts: &ArtifactFacts| -> BTreeMap<String, (String, String)> {
        let verified = facts.evidence.iter().filter_map(|e| Some((e, e.claim()?)));
        // That the index names a digest says nothing about who published.
        verified
            .filter(|(e, _)| e.kind != "index-digest")
            .map(|(e, c)| {
                let who =
                    (identity(&c.signer).to_owned(), c.repository.clone().unwrap_or_default());
                (e.kind.clone(), who)
            })
            .collect()
    };
    let (before, after) = (claims(old), claims(new));
    let mut say = |kind, severity, text| out.push(Change { kind, severity, text });
    for (kind, (signer, repository)) in &before {
        match after.get(kind) {
            None => say(
                "evidence",
                Severity::High,
                format!("lost: verified evidence `{kind}` by {signer}"),
            ),
            Some((now, _)) if now != signer => {
                say("publisher", Severity::High, format!("`{kind}` was by {signer}, now by {now}"));
            }
            Some((_, now)) if now != repository => {
                say(
                    "publisher",
                    Severity::High,
                    format!("`{kind}` came from {repository}, now from {now}"),
                );
            }
            Some(_) => {}
        }
    }
    for (kind, (signer, _)) in after.iter().filter(|(kind, _)| !before.contains_key(*kind)) {
        say("evidence", Severity::Info, format!("new: verified evidence `{kind}` by {signer}"));
    }
}

/// A workflow's identity without the tag that it ran for, which each version has its own of.
fn identity(signer: &str) -> &str {
    signer.split_once("@refs/").map_or(signer, |(workflow, _)| workflow)
}

fn size(old: u64, new: u64, out: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let grew = new > old.saturating_mul(GROWS) && new - old > GROWS_BY;
    let severity = if grew { Severity::Low } else { Severity::Info };
    out.push(Change { kind: "size", severity, text: format!("{old} bytes, now {new}") });
}

fn files(old: &[ManifestEntry], new: &[ManifestEntry], out: &mut Vec<Change>) {
    let by_path = |files: &[ManifestEntry]| -> BTreeMap<String, Sha256Digest> {
        files.iter().map(|f| (unversioned(&f.path), f.sha256)).collect()
    };
    let (before, after) = (by_path(old), by_path(new));
    let paths = |of: &BTreeMap<String, Sha256Digest>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (was, is) = (paths(&before), paths(&after));
    let added: Vec<&String> = is.difference(&was).collect();
    let removed: Vec<&String> = was.difference(&is).collect();
    let changed: Vec<&String> =
        is.intersection(&was).filter(|p| before.get(*p) != after.get(*p)).collect();
    for path in added.iter().filter(|p| is_program(p)) {
        let text = format!("new: a compiled file `{path}`");
        out.push(Change { kind: "native-code", severity: Severity::Moderate, text });
    }
    for (what, paths) in [("added", added), ("removed", removed), ("changed", changed)] {
        if !paths.is_empty() {
            let text = format!("{} {what}: {}", paths.len(), listed(&paths));
            out.push(Change { kind: "files", severity: Severity::Info, text });
        }
    }
}

/// By its name; what is in it was looked at when it was judged.
fn is_program(path: &str) -> bool {
    const ENDINGS: [&str; 10] =
        ["so", "dll", "dylib", "exe", "node", "pyd", "wasm", "a", "lib", "o"];
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.rsplit_once('.').is_some_and(|(_, e)| ENDINGS.contains(&e)) || name.contains(".so.")
}

fn listed(paths: &[&String]) -> String {
    let mut text: String =
        paths.iter().take(NAMED).map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED {
        text.push_str(&format!(" and {} more", paths.len() - NAMED));
    }
    text
}

/// A path without the version in its first component (`flask-3.0.0/setup.py`,
/// `flask-3.0.0.dist-info/RECORD`), so that those of two versions can be compared.
fn unversioned(path: &str) -> String {
    let Some((top, rest)) = path.split_once('/') else { return path.to_owned() };
    let starts = |v: &str| v.starts_with(|c: char| c.is_ascii_digit());
    match top
        .split_once('-')
        .filter(|_| top.match_indices('-').any(|(i, _)| top.get(i + 1..).is_some_and(starts)))
    {
        Some((name, tail)) => {
            let suffix =
                [".dist-info", ".data", ".egg-info"].into_iter().find(|s| tail.ends_with(s));
            format!("{name}{}/{rest}", suffix.unwrap_or(""))
        }
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
