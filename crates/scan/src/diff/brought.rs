//! What a version brings that the one before it had not, as facts that policy may judge.

use super::{GROWS, GROWS_BY, Side, is_program, is_start, named, unversioned, words};
use countersign_core::{Change, Ecosystem, Finding, FindingKind};
use std::collections::BTreeSet;

/// Names of one kind that are told.
const TOLD: usize = 6;

/// Hooks whose code is the package's own build.
const BUILDS: [&str; 4] = [
    "install-hook.build-script",
    "install-hook.proc-macro",
    "install-hook.setup-py",
    "install-hook.build-backend",
];

/// What `new` has and `old` has not. `dependencies` are those of the two, where both are known.
///
/// | kind | |
/// |---|---|
/// | `new-install-hook`, `new-start-hook`, `new-build-script` | code that runs where none ran, or another command |
/// | `new-network`, `new-execute`, `new-host`, `new-capability` | what its code can do now |
/// | `new-native-code` | compiled files |
/// | `new-dependency` | packages that it needs now |
/// | `grew` | more than twice as large |
/// | `patch-release` | the two differ in the last part of their versions alone |
#[must_use]
pub fn brought(
    old: Side<'_>,
    new: Side<'_>,
    dependencies: Option<(&[String], &[String])>,
) -> Vec<Change> {
    let mut out = Vec::new();
    hooks(old, new, &mut out);
    capabilities(old, new, &mut out);
    if let (Some(was), Some(is)) = (old.files, new.files) {
        let had: BTreeSet<String> = was.iter().map(|f| unversioned(&f.path)).collect();
        let is_new = |path: &&String| is_program(path) && !had.contains(*path);
        let paths: Vec<String> = is.iter().map(|f| unversioned(&f.path)).collect();
        push("new-native-code", paths.iter().filter(is_new).cloned(), &mut out);
    }
    if let Some((was, is)) = dependencies {
        let needed = is.iter().filter(|d| !was.contains(d)).cloned();
        push("new-dependency", needed, &mut out);
    }
    let (was, is) = (old.facts.size, new.facts.size);
    if is > was.saturating_mul(GROWS) && is - was > GROWS_BY {
        push("grew", [format!("{was} bytes, now {is}")].into_iter(), &mut out);
    }
    let version = |side: Side<'_>| side.facts.version.purl.version().unwrap_or("").to_owned();
    let (was, is) = (version(old), version(new));
    if !out.is_empty() && is_patch(new.facts.version.purl.ecosystem(), &was, &is) {
        push("patch-release", [format!("{was} to {is}")].into_iter(), &mut out);
    }
    out
}

fn push(kind: &str, said: impl Iterator<Item = String>, out: &mut Vec<Change>) {
    let all: Vec<String> = said.collect();
    if all.is_empty() {
        return;
    }
    let more = all.len().saturating_sub(TOLD);
    let mut detail = all.into_iter().take(TOLD).collect::<Vec<_>>().join(", ");
    if more > 0 {
        detail.push_str(&format!(" and {more} more"));
    }
    out.push(Change { kind: kind.to_owned(), detail });
}

/// Hooks that are new, or have another command; a `.pth` file that only adds folders runs nothing.
fn hooks(old: Side<'_>, new: Side<'_>, out: &mut Vec<Change>) {
    let (before, after) = (named(&old.facts.findings), named(&new.facts.findings));
    let differs = |name: &(String, String), finding: &Finding| {
        before.get(name).is_none_or(|was| was.title != finding.title)
    };
    let fresh: Vec<&Finding> = after
        .iter()
        .filter(|(name, f)| f.kind == FindingKind::InstallHook && differs(name, f))
        .map(|(_, f)| *f)
        .collect();
    let of = |wanted: &dyn Fn(&Finding) -> bool| -> Vec<String> {
        fresh.iter().filter(|f| wanted(f)).map(|f| words(f)).collect()
    };
    let is_build = |f: &Finding| BUILDS.contains(&f.id.as_str());
    let runs = |f: &Finding| !f.title.contains("adds directories");
    push("new-start-hook", of(&|f| is_start(f) && runs(f)).into_iter(), out);
    push("new-build-script", of(&|f| is_build(f)).into_iter(), out);
    push("new-install-hook", of(&|f| !is_start(f) && !is_build(f)).into_iter(), out);
}

/// What the code can do, whenever it runs: when its place moves from a module to another nothing is new.
fn capabilities(old: Side<'_>, new: Side<'_>, out: &mut Vec<Change>) {
    let can = |side: Side<'_>| -> BTreeSet<String> {
        let capabilities = side.facts.findings.iter().filter(|f| f.kind == FindingKind::Capability);
        capabilities.filter_map(|f| f.id.strip_prefix("capability.")).map(str::to_owned).collect()
    };
    let (before, after) = (can(old), can(new));
    let fresh = || after.difference(&before).cloned();
    let among = |names: &[&str], kind: &str, out: &mut Vec<Change>| {
        push(kind, fresh().filter(|name| names.contains(&name.as_str())), out);
    };
    among(&["network", "drop-host"], "new-network", out);
    among(&["execute", "evaluate", "remote-shell"], "new-execute", out);
    among(&["drop-host"], "new-host", out);
    push("new-capability", fresh(), out);
}

/// Whether only what follows the second part of a version differs.
fn is_patch(ecosystem: Ecosystem, old: &str, new: &str) -> bool {
    let line = |version: &str| -> Vec<String> {
        let version = match ecosystem {
            // An upstream version stands between an epoch and a revision.
            Ecosystem::Debian => version.rsplit_once('-').map_or(version, |(v, _)| v),
            _ => version.trim_start_matches(['v', '=']),
        };
        version.split(['.', '+', '~', '-']).take(2).map(str::to_owned).collect()
    };
    let (old, new) = (line(old), line(new));
    old.len() == 2 && old == new
}
