//! npm: the tree in `node_modules` against the tarballs that were admitted.

use super::{Account, NpmPlan};
use crate::engine::Engine;
use countersign_core::{Ecosystem, ExpectedDigest, FindingKind, Purl, Sha256Digest, Verdict};
use countersign_ecosystem::archive::ManifestEntry;
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
    /// When anything in a package's own folder last changed.
    stamps: BTreeMap<PathBuf, i64>,
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
            tree.strangers.extend(hidden_strangers(&name, &path));
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
                tree.stamps.insert(path.clone(), newest_change(&path, 0));
                if !link {
                    walk(&path.join("node_modules"), root, listed, depth + 1, tree);
                }
            }
            None => tree.strangers.push(path),
        }
    }
}

/// What does not belong in a hidden entry of `node_modules`: programs in `.bin` are links into the
/// tree, and a file there is somebody else's; npm's record and the caches of well-known tools are
/// none of the packages'.
fn hidden_strangers(name: &str, path: &Path) -> Vec<PathBuf> {
    match name {
        ".bin" => std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| !leads_to_a_program(p))
            .collect(),
        ".package-lock.json" | ".cache" | ".prisma" | ".vite" => Vec::new(),
        _ => vec![path.to_path_buf()],
    }
}

/// Whether an entry of `.bin` is a link to a file that its package names as a program (package.json,
/// `bin` and `directories.bin`).
fn leads_to_a_program(link: &Path) -> bool {
    let is_link = link.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink());
    let Some(target) = link.canonicalize().ok().filter(|_| is_link) else { return false };
    // A folder inside a package may hold a package.json of its own (`{"type": "module"}`).
    target.ancestors().skip(1).take(MAX_DEPTH).any(|folder| names_program(folder, &target))
}

/// Whether the package.json in `folder` names `target` as a program.
fn names_program(folder: &Path, target: &Path) -> bool {
    let Ok(text) = std::fs::read(folder.join("package.json")) else { return false };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&text) else { return false };
    let Ok(inside) = target.strip_prefix(folder) else { return false };
    let same = |named: &serde_json::Value| {
        named.as_str().is_some_and(|n| Path::new(n.trim_start_matches("./")) == inside)
    };
    let in_folder = json
        .pointer("/directories/bin")
        .and_then(|d| d.as_str())
        .is_some_and(|d| inside.starts_with(d.trim_start_matches("./")));
    match json.get("bin") {
        Some(serde_json::Value::Object(all)) => all.values().any(same) || in_folder,
        Some(one) => same(one) || in_folder,
        None => in_folder,
    }
}

/// The newest change of anything in a package's own folder; no program can set this time.
fn newest_change(folder: &Path, depth: usize) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut newest = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        newest =
            newest.max(meta.ctime().wrapping_mul(1_000_000_000).wrapping_add(meta.ctime_nsec()));
        let own = !(depth == 0 && entry.file_name() == "node_modules");
        if meta.is_dir() && own && depth < MAX_DEPTH {
            newest = newest.max(newest_change(&entry.path(), depth + 1));
        }
    }
    newest
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
            // npm leaves the digest out for some layouts; then the contents alone are to go by.
            let by_name = strong.is_empty() && admitted.contains_key(&purl);
            if by_digest || by_name {
                match self.compare_package(path, &purl, &admitted).await {
                    None => account.matched += 1,
                    Some(difference) => {
                        account.gap(label, format!("{}: {difference}", shown(path)))
                    }
                }
            } else if admitted.contains_key(&purl) {
                let why = "has another digest than the tarball that was admitted";
                account.gap(label, format!("{} {why}", shown(path)));
            } else {
                let why = "is installed and was not admitted in this run";
                account.gap(label, format!("{} {why}", shown(path)));
            }
        }
        // A hook may have changed a package that was there before: its files tell.
        for (path, found) in &after.packages {
            let purl = Purl::new(Ecosystem::Npm, &found.name, Some(&found.version));
            let same = before.packages.get(path) == Some(found);
            let stamps = (before.stamps.get(path), after.stamps.get(path));
            if same
                && stamps.0 != stamps.1
                && !found.local
                && !inside_admitted(path, &after, &admitted)
            {
                match self.compare_package(path, &purl, &admitted).await {
                    None => account.matched += 1,
                    Some(difference) => {
                        account.gap(purl.label(), format!("{}: {difference}", shown(path)))
                    }
                }
            }
        }
        for path in after.strangers.iter().filter(|p| !before.strangers.contains(p)) {
            account.gap(shown(path), "came with no package that was admitted");
        }
        account
    }

    /// Compares a package's folder with the tarball that was admitted; says the first difference. A
    /// package whose tarball runs code when it is installed may build in its own folder.
    async fn compare_package(
        &self,
        folder: &Path,
        purl: &Purl,
        admitted: &super::AdmittedVersions,
    ) -> Option<String> {
        let hooked = self.report().entries().iter().any(|e| {
            e.purl.as_ref() == Some(purl)
                && e.facts
                    .as_ref()
                    .is_some_and(|f| f.findings.iter().any(|x| x.kind == FindingKind::InstallHook))
        });
        if hooked {
            return None;
        }
        let mut because = Some("was not admitted in this run".to_owned());
        for (_, sha256) in admitted.get(purl).into_iter().flatten() {
            let manifest = match self.manifest(*sha256).await {
                Ok(Some(manifest)) => manifest,
                Ok(None) => continue,
                Err(e) => {
                    because = Some(e);
                    continue;
                }
            };
            let folder = folder.to_path_buf();
            match tokio::task::spawn_blocking(move || differs(&folder, &manifest)).await {
                Ok(None) => return None,
                Ok(difference) => because = difference,
                Err(_) => because = Some("the comparison ended unexpectedly".to_owned()),
            }
        }
        because
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

/// The first difference between a package's folder and its tarball's manifest.
fn differs(folder: &Path, manifest: &[ManifestEntry]) -> Option<String> {
    let mut wanted: BTreeMap<String, Sha256Digest> = BTreeMap::new();
    for entry in manifest {
        // npm drops the first folder, whatever its name, and renames .gitignore (npm-packlist).
        let Some((_, path)) = entry.path.split_once('/') else { continue };
        if let Some(stem) = path.strip_suffix(".gitignore") {
            wanted.entry(format!("{stem}.npmignore")).or_insert(entry.sha256);
        } else {
            wanted.insert(path.to_owned(), entry.sha256);
        }
    }
    for (path, digest) in &wanted {
        let Ok(bytes) = std::fs::read(folder.join(path)) else {
            return Some(format!("{path} of the admitted tarball is not there"));
        };
        if Sha256Digest::of(&bytes) != *digest && with_carriage_return(&bytes) != Some(*digest) {
            return Some(format!("{path} differs from the admitted tarball"));
        }
    }
    let extra = files_below(folder, "", 0).into_iter().find(|f| !wanted.contains_key(f));
    extra.map(|f| format!("{f} is not in the admitted tarball"))
}

/// The digest of a program as it was before npm took the carriage return out of its first line.
fn with_carriage_return(bytes: &[u8]) -> Option<Sha256Digest> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    if !bytes.starts_with(b"#!") {
        return None;
    }
    let (line, rest) = bytes.split_at(end);
    Some(Sha256Digest::of(&[line, b"\r", rest].concat()))
}

/// The files of a package's own folder, without the packages that lie below it.
fn files_below(folder: &Path, prefix: &str, depth: usize) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) && depth < MAX_DEPTH {
            if prefix.is_empty() && name == "node_modules" {
                continue;
            }
            out.extend(files_below(&entry.path(), &format!("{prefix}{name}/"), depth + 1));
        } else {
            out.push(format!("{prefix}{name}"));
        }
    }
    out
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
