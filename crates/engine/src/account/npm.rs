//! npm: the tree in `node_modules` against the tarballs that were admitted.

use super::{Account, NpmPlan};
use crate::engine::Engine;
use countersign_core::{Ecosystem, ExpectedDigest, Purl, Verdict};
use countersign_ecosystem::npm;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A package folder below `node_modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    name: String,
    version: String,
    /// The digests that npm's own hidden lock file gives.
    integrity: Vec<ExpectedDigest>,
    local: bool,
}

/// The tree: folder below `node_modules` to what lies there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    packages: BTreeMap<PathBuf, Found>,
    /// Entries that hold no package.
    strangers: Vec<PathBuf>,
}

/// How deep `node_modules` may nest before the rest counts as unread.
const MAX_DEPTH: usize = 64;

/// The packages that are installed in this tree.
#[must_use]
pub fn installed(modules: &Path) -> Vec<Purl> {
    look(modules)
        .packages
        .values()
        .map(|f| Purl::new(Ecosystem::Npm, &f.name, Some(&f.version)))
        .collect()
}

pub(crate) fn look(modules: &Path) -> Tree {
    let mut tree = Tree::default();
    let lock = std::fs::read(modules.join(".package-lock.json")).ok();
    let listed: HashMap<PathBuf, npm::LockedPackage> = lock
        .and_then(|b| npm::parse_package_lock(&b).ok())
        .unwrap_or_default()
        .into_iter()
        .map(|p| (PathBuf::from(&p.path), p))
        .collect();
    let root = modules.parent().unwrap_or(modules).to_path_buf();
    walk(modules, &root, &listed, 0, &mut tree);
    tree
}

fn walk(
    modules: &Path,
    root: &Path,
    listed: &HashMap<PathBuf, npm::LockedPackage>,
    depth: usize,
    tree: &mut Tree,
) {
    if depth > MAX_DEPTH {
        tree.strangers.push(modules.to_path_buf());
        return;
    }
    for entry in std::fs::read_dir(modules).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if name.starts_with('.') {
            continue;
        }
        if name.starts_with('@') && path.is_dir() {
            walk(&path, root, listed, depth + 1, tree);
            continue;
        }
        let link = entry.file_type().is_ok_and(|t| t.is_symlink());
        match read_package(&path, root, listed, link) {
            Some(found) => {
                tree.packages.insert(path.clone(), found);
                if !link {
                    walk(&path.join("node_modules"), root, listed, depth + 1, tree);
                }
            }
            None => tree.strangers.push(path),
        }
    }
}

fn read_package(
    path: &Path,
    root: &Path,
    listed: &HashMap<PathBuf, npm::LockedPackage>,
    link: bool,
) -> Option<Found> {
    let text = std::fs::read(path.join("package.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let word = |key: &str| json.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    let entry = path.strip_prefix(root).ok().and_then(|p| listed.get(p));
    Some(Found {
        name: word("name")?,
        version: word("version").unwrap_or_default(),
        integrity: entry.map(|e| e.integrity.clone()).unwrap_or_default(),
        local: link,
    })
}

impl Engine {
    pub(crate) async fn account_npm(&self, plan: &NpmPlan, before: &Tree) -> Account {
        let mut account = Account::default();
        let modules = plan.modules.clone();
        let Ok(after) = tokio::task::spawn_blocking(move || look(&modules)).await else {
            account.not_done.push("node_modules could not be looked at".to_owned());
            return account;
        };
        let admitted = self.admitted_now(Ecosystem::Npm);
        let digests = self.admitted_integrity();
        let shown = |p: &Path| p.strip_prefix(&plan.root).unwrap_or(p).display().to_string();
        for (path, found) in &after.packages {
            if before.packages.get(path) == Some(found) {
                continue;
            }
            let label = format!("{} {}", found.name, found.version);
            if found.local {
                account.local.push(format!("{label}, linked at {}", shown(path)));
                continue;
            }
            if inside_admitted(path, &after, &admitted) {
                account.matched += 1;
                continue;
            }
            let purl = Purl::new(Ecosystem::Npm, &found.name, Some(&found.version));
            let strong: Vec<_> =
                found.integrity.iter().filter(|i| !i.algorithm().is_weak()).collect();
            let by_digest = strong.iter().any(|i| digests.get(*i).is_some_and(|p| *p == purl));
            // npm leaves the digest out for some layouts; then the version alone is to go by.
            let by_name = strong.is_empty() && admitted.contains_key(&purl);
            if by_digest || by_name {
                account.matched += 1;
            } else if admitted.contains_key(&purl) {
                account.gap(
                    label,
                    format!(
                        "{} has another digest than the tarball that was admitted",
                        shown(path)
                    ),
                );
            } else {
                account.gap(
                    label,
                    format!("{} is installed and was not admitted in this run", shown(path)),
                );
            }
        }
        for path in after.strangers.iter().filter(|p| !before.strangers.contains(p)) {
            account.gap(shown(path), "came with no package that was admitted");
        }
        account
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

/// Whether a package lies inside the folder of an admitted one and came with its tarball: bundled
/// dependencies (package.json, `bundleDependencies`).
fn inside_admitted(path: &Path, tree: &Tree, admitted: &super::AdmittedVersions) -> bool {
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
