//! npm, pnpm, yarn and bun: what lies in `node_modules`, or in yarn's zips, against the tarballs that
//! were admitted.

use super::node_compare::{Compared, differs, read_zip, zip_differs};
pub(crate) use super::node_tree::{Tree, look};
use super::pnp::{self, Used};
use super::{Account, AdmittedVersions, NpmPlan};
use crate::engine::Engine;
use countersign_core::{Ecosystem, ExpectedDigest, FindingKind, Purl, Verdict};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The packages that are installed in these trees.
#[must_use]
pub fn installed(plan: &NpmPlan) -> Vec<Purl> {
    let tree = look(plan);
    let unique: BTreeSet<Purl> = tree
        .packages
        .values()
        .map(|f| Purl::new(Ecosystem::Npm, &f.name, Some(&f.version)))
        .collect();
    unique.into_iter().collect()
}

impl Engine {
    pub(crate) async fn account_npm(&self, plan: &NpmPlan, before: &Tree, zips: &Used) -> Account {
        let mut account = Account::default();
        let of = plan.clone();
        let looked = tokio::task::spawn_blocking(move || (look(&of), pnp::used(&of))).await;
        let Ok((after, used)) = looked else {
            account.not_done.push("node_modules could not be looked at".to_owned());
            return account;
        };
        let trees = Trees { plan, before, after: &after };
        if plan.late {
            self.judge_late(&trees).await;
        }
        let admitted = self.admitted_now(Ecosystem::Npm);
        let nothing = after.packages.is_empty() && used.zips.is_empty();
        if plan.expected && nothing && !admitted.is_empty() {
            account.not_done.push("nothing was found where the client installs to".to_owned());
        }
        self.account_new(&trees, &admitted, &mut account).await;
        self.account_touched(&trees, &admitted, &mut account).await;
        for path in after.strangers.iter().filter(|p| !before.strangers.contains(p)) {
            account.gap(plan.shown(path), "came with no package that was admitted");
        }
        self.account_zips(plan, zips, used, &mut account).await;
        account
    }

    /// What the client took from a store of its own, without asking for it, is judged now: late, but
    /// not never. What lies inside another package is only judged once it is known not to be a part
    /// of that one's tarball.
    async fn judge_late(&self, trees: &Trees<'_>) {
        for _ in 0..2 {
            let admitted = self.admitted_now(Ecosystem::Npm);
            let late: BTreeSet<Purl> = trees
                .changed()
                .filter(|(path, found)| {
                    !found.local
                        && !trees.plan.local.contains(&found.name)
                        && !inside_admitted(path, trees.after, &admitted)
                })
                .map(|(_, found)| Purl::new(Ecosystem::Npm, &found.name, Some(&found.version)))
                .filter(|purl| !admitted.contains_key(purl))
                .collect();
            if late.is_empty() {
                return;
            }
            self.judge_ahead(late.into_iter().collect()).await;
        }
    }

    async fn account_new(
        &self,
        trees: &Trees<'_>,
        admitted: &AdmittedVersions,
        account: &mut Account,
    ) {
        let (plan, after) = (trees.plan, trees.after);
        let digests = self.admitted_integrity();
        for (path, found) in &after.packages {
            if trees.before.packages.get(path) == Some(found) {
                continue;
            }
            let label = format!("{} {}", found.name, found.version);
            if found.local {
                account.local.push(format!("{label}, linked at {}", plan.shown(path)));
                continue;
            }
            if inside_admitted(path, after, admitted) {
                account.matched += 1;
                continue;
            }
            let purl = Purl::new(Ecosystem::Npm, &found.name, Some(&found.version));
            let strong: Vec<_> =
                found.integrity.iter().filter(|i| !i.algorithm().is_weak()).collect();
            let by_digest = strong.iter().any(|i| digests.get(*i).is_some_and(|p| *p == purl));
            // npm leaves the digest out for some layouts, and no other client keeps one; then the
            // contents alone are to go by.
            let by_name = strong.is_empty() && admitted.contains_key(&purl);
            if by_digest || by_name {
                self.account_package(plan, path, &purl, admitted, account).await;
            } else if admitted.contains_key(&purl) {
                let why = "has another digest than the tarball that was admitted";
                account.gap(label, format!("{} {why}", plan.shown(path)));
            } else if plan.local.contains(&found.name) {
                account.local.push(format!("{label}, copied from a folder that the project names"));
            } else {
                let why = "is installed and was not admitted in this run";
                account.gap(label, format!("{} {why}", plan.shown(path)));
            }
        }
    }

    /// A hook may have changed a package that was there before: its files tell.
    async fn account_touched(
        &self,
        trees: &Trees<'_>,
        admitted: &AdmittedVersions,
        account: &mut Account,
    ) {
        for (path, found) in trees.changed() {
            if trees.before.packages.get(path) != Some(found)
                || found.local
                || trees.plan.local.contains(&found.name)
                || inside_admitted(path, trees.after, admitted)
            {
                continue;
            }
            let purl = Purl::new(Ecosystem::Npm, &found.name, Some(&found.version));
            self.account_package(trees.plan, path, &purl, admitted, account).await;
        }
    }

    async fn account_package(
        &self,
        plan: &NpmPlan,
        path: &Path,
        purl: &Purl,
        admitted: &AdmittedVersions,
        account: &mut Account,
    ) {
        let shown = plan.shown(path);
        match self.compare_package(plan, path, purl, admitted).await {
            Compared::Same => account.matched += 1,
            Compared::Differs(difference) => {
                account.gap(purl.label(), format!("{shown}: {difference}"));
            }
            Compared::NotDone(because) => {
                account.not_done.push(format!("{} in {shown}: {because}", purl.label()));
            }
        }
    }

    /// Compares a package's folder with the tarball that was admitted. A package whose tarball runs
    /// code when it is installed may build in its own folder.
    async fn compare_package(
        &self,
        plan: &NpmPlan,
        folder: &Path,
        purl: &Purl,
        admitted: &AdmittedVersions,
    ) -> Compared {
        let hooked = self.report().entries().iter().any(|e| {
            e.purl.as_ref() == Some(purl)
                && e.facts
                    .as_ref()
                    .is_some_and(|f| f.findings.iter().any(|x| x.kind == FindingKind::InstallHook))
        });
        // HOLE: what such a package's hook made of its own folder is not compared; a sandbox that
        // records what the hook writes would close it. What came out of a client's own store, and
        // not from the gate, is compared all the same: nothing says that a hook was run over it.
        let mut known = admitted.get(purl).into_iter().flatten();
        let fetched = known.any(|(_, sha256)| self.report().is_released(sha256));
        if hooked && admitted.contains_key(purl) && (fetched || !plan.late) {
            return Compared::Same;
        }
        let mut because = "was not admitted in this run".to_owned();
        for (_, sha256) in admitted.get(purl).into_iter().flatten() {
            let manifest = match self.manifest(*sha256).await {
                Ok(Some(manifest)) => manifest,
                Ok(None) => continue,
                Err(e) => {
                    because = e;
                    continue;
                }
            };
            let folder = folder.to_path_buf();
            match tokio::task::spawn_blocking(move || differs(&folder, &manifest)).await {
                Ok(None) => return Compared::Same,
                Ok(Some(difference)) => because = difference,
                Err(_) => because = "the comparison ended unexpectedly".to_owned(),
            }
        }
        let patched = folder.to_string_lossy().contains("patch_hash=")
            || plan.patched_names().contains(purl.name());
        if !admitted.contains_key(purl) {
            Compared::Differs(because)
        } else if hooked {
            Compared::NotDone(format!(
                "it came out of the client's store, where its install hook may have built; {because}"
            ))
        } else if patched {
            Compared::NotDone(format!("it is patched on this machine; {because}"))
        } else {
            Compared::Differs(because)
        }
    }

    /// Compares the zips that a Plug'n'Play project loads its packages from.
    async fn account_zips(&self, plan: &NpmPlan, before: &Used, now: Used, account: &mut Account) {
        account.not_done.extend(now.unread);
        let known = |p: &Path| before.zips.get(p) == now.zips.get(p);
        let fresh: Vec<PathBuf> = now.zips.keys().filter(|p| !known(p)).cloned().collect();
        let mut read = Vec::new();
        for path in fresh {
            let at = path.clone();
            match tokio::task::spawn_blocking(move || read_zip(&at)).await {
                Ok(Ok(zip)) => read.push((path, zip)),
                Ok(Err(e)) => account.not_done.push(format!("{}: {e}", plan.shown(&path))),
                Err(_) => account.not_done.push(plan.shown(&path)),
            }
        }
        let purl =
            |z: &super::node_compare::Zipped| Purl::new(Ecosystem::Npm, &z.name, Some(&z.version));
        let admitted = self.admitted_now(Ecosystem::Npm);
        let late: BTreeSet<Purl> =
            read.iter().map(|(_, z)| purl(z)).filter(|p| !admitted.contains_key(p)).collect();
        if !late.is_empty() {
            self.judge_ahead(late.into_iter().collect()).await;
        }
        let admitted = self.admitted_now(Ecosystem::Npm);
        for (path, zip) in read {
            let (label, shown) = (purl(&zip).label(), plan.shown(&path));
            let patched = path.file_name().is_some_and(|n| n.to_string_lossy().contains("-patch-"));
            let mut because = None;
            for (_, sha256) in admitted.get(&purl(&zip)).into_iter().flatten() {
                because = match self.manifest(*sha256).await {
                    Ok(Some(manifest)) => zip_differs(&zip, &manifest).or(Some(String::new())),
                    Ok(None) => Some("the admitted tarball's manifest is not there".to_owned()),
                    Err(e) => Some(e),
                };
                if because.as_deref() == Some("") {
                    break;
                }
            }
            match because {
                Some(b) if b.is_empty() => account.matched += 1,
                Some(b) if patched => account
                    .not_done
                    .push(format!("{label} in {shown}: it is patched on this machine; {b}")),
                Some(b) => account.gap(label, format!("{shown}: {b}")),
                None => {
                    account.gap(label, format!("{shown} is used and was not admitted in this run"));
                }
            }
        }
    }

    fn admitted_integrity(&self) -> HashMap<ExpectedDigest, Purl> {
        let files = self.inner.files.lock();
        let admitted: HashMap<String, Purl> = self
            .report()
            .entries()
            .into_iter()
            .filter(|e| e.decision.verdict == Verdict::Admit)
            .filter_map(|e| {
                Some((format!("{} {}", e.purl.as_ref()?, e.file_name.as_deref()?), e.purl.clone()?))
            })
            .collect();
        files
            .values()
            .filter_map(|f| Some((f, admitted.get(&format!("{} {}", f.purl(), f.file_name))?)))
            .flat_map(|(f, p)| f.expected.iter().map(|e| (e.clone(), p.clone())))
            .collect()
    }
}

/// What was there before and after.
struct Trees<'t> {
    plan: &'t NpmPlan,
    before: &'t Tree,
    after: &'t Tree,
}

impl Trees<'_> {
    /// Packages that are new, or that were written to.
    fn changed(&self) -> impl Iterator<Item = (&PathBuf, &super::node_tree::Found)> {
        self.after.packages.iter().filter(|(path, found)| {
            self.before.packages.get(*path) != Some(*found)
                || self.before.stamps.get(*path) != self.after.stamps.get(*path)
        })
    }
}

/// Whether a package lies inside the folder of an admitted one and came with its tarball: bundled
/// dependencies (package.json, `bundleDependencies`).
fn inside_admitted(path: &Path, tree: &Tree, admitted: &AdmittedVersions) -> bool {
    path.ancestors().skip(1).any(|a| {
        tree.packages.get(a).is_some_and(|outer| {
            let purl = Purl::new(Ecosystem::Npm, &outer.name, Some(&outer.version));
            admitted.contains_key(&purl) && bundles(a, path)
        })
    })
}

fn bundles(outer: &Path, inner: &Path) -> bool {
    let text = std::fs::read(outer.join("package.json")).unwrap_or_default();
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&text) else { return false };
    let listed = json.get("bundleDependencies").or_else(|| json.get("bundledDependencies"));
    let Some(first) = inner
        .strip_prefix(outer.join("node_modules"))
        .ok()
        .map(|p| p.to_string_lossy().into_owned())
    else {
        return false;
    };
    match listed {
        Some(serde_json::Value::Bool(all)) => *all,
        Some(serde_json::Value::Array(names)) => {
            names
                .iter()
                .filter_map(|n| n.as_str())
                .any(|n| first == n || first.starts_with(&format!("{n}/")))
                || first.contains("/node_modules/")
        }
        _ => false,
    }
}
