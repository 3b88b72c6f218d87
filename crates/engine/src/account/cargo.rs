//! cargo: every crate of the lock file against what was admitted, now or before.

use super::python::{Files, Sites, look};
use super::{Account, CargoPlan};
use crate::engine::Engine;
use crate::local::CachedFile;
use countersign_core::{Ecosystem, Purl, Sha256Digest, Verdict};
use countersign_ecosystem::archive::ManifestEntry;
use countersign_ecosystem::cargo::{self, LockedCrate};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The folders that cargo unpacks the lock file's crates into.
pub(crate) fn sources(plan: &CargoPlan) -> Vec<PathBuf> {
    let (Some(lock), Some(home)) = (&plan.lock, &plan.home) else { return Vec::new() };
    let Ok(text) = std::fs::read_to_string(lock) else { return Vec::new() };
    let registries: Vec<PathBuf> = std::fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    let crates = cargo::parse_lock(&text).unwrap_or_default();
    crates
        .iter()
        .filter(|c| c.source.is_some())
        .flat_map(|c| registries.iter().map(move |r| r.join(format!("{}-{}", c.name, c.version))))
        .filter(|p| p.is_dir())
        .collect()
}

/// The first of `changed` files that is not what the crate's manifest says.
fn first_difference(
    folder: &Path,
    changed: &[String],
    manifest: &[ManifestEntry],
) -> Option<String> {
    // A crate's files lie below one folder that is named like the one it is unpacked into.
    let wanted: HashMap<&str, Sha256Digest> =
        manifest.iter().filter_map(|e| Some((e.path.split_once('/')?.1, e.sha256))).collect();
    for path in changed {
        let Some(digest) = wanted.get(path.as_str()) else {
            return Some(format!("{path} is not in the admitted crate"));
        };
        match std::fs::read(folder.join(path)) {
            Ok(bytes) if Sha256Digest::of(&bytes) == *digest => {}
            _ => return Some(format!("{path} differs from the admitted crate")),
        }
    }
    None
}

impl Engine {
    pub(crate) async fn account_cargo(&self, plan: &CargoPlan, before: &Sites) -> Account {
        let mut account = Account::default();
        let Some(lock) = &plan.lock else { return account };
        let Ok(text) = tokio::fs::read_to_string(lock).await else {
            if !self.judged_crates().is_empty() {
                account.not_done.push(format!("`{}` cannot be read", lock.display()));
            }
            return account;
        };
        let crates = match cargo::parse_lock(&text) {
            Ok(crates) => crates,
            Err(e) => {
                account.gap(lock.display().to_string(), format!("cannot be read: {e}"));
                return account;
            }
        };
        let mut judged = self.judged_crates();
        let mut late = Vec::new();
        for c in &crates {
            let (Some(source), Some(checksum)) = (&c.source, c.checksum) else {
                if let Some(source) = c.source.as_ref().filter(|s| s.starts_with("git+")) {
                    let from = crate::shown_address(source);
                    account.gap(
                        format!("{} {}", c.name, c.version),
                        format!("comes from {from}, which is no registry"),
                    );
                }
                continue;
            };
            if !judged.contains(&checksum) && source.starts_with(['r', 's']) {
                late.extend(self.cached_crate(plan, &c.name, &c.version, checksum));
            }
        }
        // What cargo took from its own cache without asking is judged now, late but not never.
        if !late.is_empty() {
            self.judge_cached(late).await;
            judged = self.judged_crates();
        }
        self.account_sources(plan, &crates, before, &mut account).await;
        for c in crates {
            let Some(checksum) = c.checksum.filter(|_| c.source.is_some()) else { continue };
            let fetched = self.cached_crate(plan, &c.name, &c.version, checksum).is_some();
            if judged.contains(&checksum) {
                account.matched += 1;
            } else if fetched {
                account.gap(
                    format!("{} {}", c.name, c.version),
                    "lies in cargo's cache and was not admitted",
                );
            }
        }
        account
    }

    /// Compares what cargo unpacked, and what changed among what it had unpacked before, with the
    /// crates that were admitted: a build script of one crate may rewrite another.
    async fn account_sources(
        &self,
        plan: &CargoPlan,
        crates: &[LockedCrate],
        before: &Sites,
        account: &mut Account,
    ) {
        let folders = sources(plan);
        let Ok(after) = tokio::task::spawn_blocking(move || look(&folders)).await else {
            account.not_done.push("cargo's unpacked sources could not be looked at".to_owned());
            return;
        };
        let none = Files::new();
        for (folder, files) in after {
            let old = before.get(&folder).unwrap_or(&none);
            let changed: Vec<String> = files
                .iter()
                .filter(|(path, stamp)| old.get(*path) != Some(stamp) && *path != ".cargo-ok")
                .map(|(path, _)| path.clone())
                .collect();
            let name =
                folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let of = |c: &&LockedCrate| format!("{}-{}", c.name, c.version) == name;
            let Some(checksum) = crates.iter().find(of).and_then(|c| c.checksum) else { continue };
            if changed.is_empty() {
                continue;
            }
            match self.manifest(checksum).await {
                Ok(Some(manifest)) => {
                    let compare = move || first_difference(&folder, &changed, &manifest);
                    match tokio::task::spawn_blocking(compare).await {
                        Ok(None) => {}
                        Ok(Some(difference)) => account.gap(name, difference),
                        Err(_) => account.not_done.push(format!("the sources of {name}")),
                    }
                }
                // Not admitted: that is a gap of its own, and is named where the lock file is read.
                Ok(None) => {}
                Err(e) => account.not_done.push(format!("the sources of {name}: {e}")),
            }
        }
    }

    fn judged_crates(&self) -> HashSet<Sha256Digest> {
        self.report()
            .entries()
            .into_iter()
            .filter(|e| e.decision.verdict == Verdict::Admit)
            .filter_map(|e| e.sha256)
            .collect()
    }

    fn cached_crate(
        &self,
        plan: &CargoPlan,
        name: &str,
        version: &str,
        checksum: Sha256Digest,
    ) -> Option<CachedFile> {
        let file_name = format!("{name}-{version}.crate");
        let cache = plan.home.as_ref()?.join("registry/cache");
        let path = std::fs::read_dir(cache)
            .ok()?
            .flatten()
            .map(|d| d.path().join(&file_name))
            .find(|p| p.is_file())?;
        Some(CachedFile {
            purl: Purl::new(Ecosystem::Cargo, name, Some(version)),
            file_name,
            checksum,
            path,
        })
    }
}
