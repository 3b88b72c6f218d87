//! Python environments: each installed distribution against the wheel that was admitted.

use super::{Account, PythonPlan};
use crate::engine::Engine;
use countersign_core::{Ecosystem, Purl, Sha256Digest};
use countersign_ecosystem::archive::ManifestEntry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The environments' contents: each `site-packages` folder with the files below it.
pub(crate) type Sites = HashMap<PathBuf, Files>;

/// Files by their path below `site-packages`, each with what changes when it is written: its
/// inode, its size and the time of its last change, which no program can set.
pub(crate) type Files = BTreeMap<String, (u64, u64, i64)>;

/// How many files of an environment are looked at, and how deep: what lies beyond is reported.
const MAX_FILES: usize = 2_000_000;
const MAX_DEPTH: usize = 128;

/// The distributions that are installed in these environments.
#[must_use]
pub fn installed(sites: &[PathBuf]) -> Vec<Purl> {
    let mut out = Vec::new();
    for site in expand(sites) {
        for entry in std::fs::read_dir(&site).into_iter().flatten().flatten() {
            out.extend(dist_purl(&entry.file_name().to_string_lossy()));
        }
    }
    out
}

/// `Name-1.0.dist-info` (PyPA, "recording installed projects") as a purl.
fn dist_purl(folder: &str) -> Option<Purl> {
    let (name, version) = folder.strip_suffix(".dist-info")?.split_once('-')?;
    // The index's versions are in PEP 440's normal form, a wheel's own may not be.
    let version = countersign_ecosystem::version::normalize_pypi(version);
    Some(Purl::new(Ecosystem::Pypi, name, Some(&version)))
}

/// Resolves each `*` in paths to the folders that are there.
fn expand(sites: &[PathBuf]) -> Vec<PathBuf> {
    let mut unique: Vec<PathBuf> = Vec::new();
    for p in sites.iter().flat_map(|s| matching(s)).filter_map(|p| p.canonicalize().ok()) {
        if !unique.contains(&p) {
            unique.push(p);
        }
    }
    unique
}

/// The folders that a path with `*` in some of its parts stands for.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut out = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        let Some((start, end)) = text.split_once('*') else {
            out.iter_mut().for_each(|p| p.push(part));
            continue;
        };
        let fits = |name: &str| {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        };
        out = out
            .iter()
            .flat_map(|p| std::fs::read_dir(p).into_iter().flatten().flatten())
            .filter(|e| fits(&e.file_name().to_string_lossy()))
            .map(|e| e.path())
            .collect();
    }
    out
}

pub(crate) fn look(sites: &[PathBuf]) -> Sites {
    expand(sites)
        .into_iter()
        .map(|site| {
            let mut files = Files::new();
            walk(&site, "", 0, &mut files);
            (site, files)
        })
        .collect()
}

fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Files) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // A link counts as the link that it is, not as what it points at.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && depth < MAX_DEPTH && files.len() < MAX_FILES {
            walk(&entry.path(), &format!("{name}/"), depth + 1, files);
        } else {
            let changed = meta.ctime().wrapping_mul(1_000_000_000).wrapping_add(meta.ctime_nsec());
            files.insert(name, (meta.ino(), meta.size(), changed));
        }
    }
}

/// An installed distribution that is new or changed, with what was admitted of its version.
pub(super) struct Installed {
    pub(super) site: PathBuf,
    folder: String,
    pub(super) purl: Purl,
}

impl Engine {
    pub(crate) async fn account_python(&self, plan: &PythonPlan, before: &Sites) -> Account {
        let mut account = Account::default();
        let admitted = self.admitted_now(Ecosystem::Pypi);
        let sites = plan.sites.clone();
        let looked = tokio::task::spawn_blocking(move || look(&sites)).await;
        let Ok(after) = looked else {
            account.not_done.push("the environment could not be looked at".to_owned());
            return account;
        };
        if after.is_empty() && !plan.sites.is_empty() && !admitted.is_empty() {
            account
                .not_done
                .push("no environment was found where the client installs to".to_owned());
        }
        for (site, files) in &after {
            let old = before.get(site).cloned().unwrap_or_default();
            let changed: BTreeSet<&str> = files
                .iter()
                .filter(|(path, stamp)| old.get(*path) != Some(stamp))
                .map(|(path, _)| path.as_str())
                .collect();
            let dists: BTreeSet<&str> = changed
                .iter()
                .filter_map(|p| p.split('/').next())
                .filter(|d| d.ends_with(".dist-info"))
                .collect();
            let mut explained = BTreeSet::new();
            for folder in dists {
                let Some(purl) = dist_purl(folder) else {
                    account.gap(
                        format!("{}/{folder}", site.display()),
                        "is no well-formed distribution",
                    );
                    continue;
                };
                let installed = Installed { site: site.clone(), folder: folder.to_owned(), purl };
                let files = admitted.get(&installed.purl).cloned().unwrap_or_default();
                // An admitted wheel's manifest says what came with it; a RECORD on disk is only asked
                // for what was built here.
                let by_manifest = self.account_dist(&installed, &files, plan, &mut account).await;
                explained.extend(by_manifest.unwrap_or_else(|| recorded(&installed)));
            }
            explained.extend(super::seeds::files(site, &changed, &plan.seeds));
            for path in strangers(&changed, &explained, files, &old) {
                account.gap(
                    format!("{}/{path}", site.display()),
                    "was written and belongs to no distribution of this run",
                );
            }
        }
        account
    }

    async fn account_dist(
        &self,
        dist: &Installed,
        files: &[(String, Sha256Digest)],
        plan: &PythonPlan,
        account: &mut Account,
    ) -> Option<BTreeSet<String>> {
        let label = dist.purl.label();
        if files.is_empty() {
            if let Some(source) = local_source(dist, plan) {
                account.local.push(format!("{label}, from {source}"));
            } else if let Some((wheel, installed)) = self.seeded(dist, plan).await {
                account.local.push(format!("{label}, from {wheel}, which makes new environments"));
                return Some(installed);
            } else {
                account.gap(label, "is installed and was not admitted in this run");
            }
            return None;
        }
        let wheels: Vec<_> = files.iter().filter(|(f, _)| f.ends_with(".whl")).collect();
        if wheels.is_empty() {
            account.local.push(format!("{label}, built here from an admitted source archive"));
            return None;
        }
        let mut because = String::new();
        for (_, sha256) in wheels {
            let manifest = match self.manifest(*sha256).await {
                Ok(Some(manifest)) => manifest,
                Ok(None) => {
                    because = "the manifest of the admitted wheel is not in the store".to_owned();
                    continue;
                }
                Err(e) => {
                    because = e;
                    continue;
                }
            };
            let (site, purl) = (dist.site.clone(), dist.purl.clone());
            let installed: BTreeSet<String> =
                manifest.iter().filter_map(|e| installed_path(&e.path)).collect();
            let compared =
                tokio::task::spawn_blocking(move || compare(&site, &purl, &manifest)).await;
            match compared {
                Ok(None) => {
                    account.matched += 1;
                    return Some(installed);
                }
                Ok(Some(difference)) => because = difference,
                Err(_) => because = "the comparison ended unexpectedly".to_owned(),
            }
        }
        account.gap(label, because);
        None
    }

    /// The manifest of an admitted artifact.
    pub(crate) async fn manifest(
        &self,
        sha256: Sha256Digest,
    ) -> Result<Option<Vec<ManifestEntry>>, String> {
        let bytes = self.inner.store.get_manifest(&sha256).await.map_err(|e| e.to_string())?;
        bytes
            .map(|b| {
                serde_json::from_slice(&b)
                    .map_err(|e| format!("a stored manifest cannot be read: {e}"))
            })
            .transpose()
    }
}

/// Where a wheel's file comes to lie below `site-packages` (PyPA binary distribution format, "spread"):
/// `None` for scripts and data, which go elsewhere, and for the RECORD, which installers write anew.
pub(super) fn installed_path(path: &str) -> Option<String> {
    if path.ends_with(".dist-info/RECORD") || path.ends_with('/') {
        return None;
    }
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if !first.ends_with(".data") {
        return Some(path.to_owned());
    }
    let (kind, rest) = rest.split_once('/')?;
    matches!(kind, "purelib" | "platlib").then(|| rest.to_owned())
}

/// Compares what lies in `site` with a wheel's manifest; says the first difference.
pub(super) fn compare(site: &Path, purl: &Purl, manifest: &[ManifestEntry]) -> Option<String> {
    for entry in manifest {
        let Some(path) = installed_path(&entry.path) else { continue };
        match std::fs::read(site.join(&path)) {
            Ok(bytes) if Sha256Digest::of(&bytes) == entry.sha256 => {}
            Ok(_) => {
                return Some(format!("{path} differs from the admitted wheel of {}", purl.label()));
            }
            Err(_) => return Some(format!("{path} of the admitted wheel is not there")),
        }
    }
    None
}

/// How many unexplained files are named one by one.
const NAMED: usize = 10;

/// Files that were written and that no distribution of this run accounts for.
fn strangers(
    changed: &BTreeSet<&str>,
    explained: &BTreeSet<String>,
    files: &Files,
    old: &Files,
) -> Vec<String> {
    // Byte code comes to be when its source does; one that changes while its source stays is not
    // Python's doing.
    let compiled = |p: &str| {
        compiled_source(p).is_some_and(|source| {
            files.contains_key(&source)
                && (!old.contains_key(p) || changed.contains(source.as_str()))
        })
    };
    let known = |p: &str| {
        explained.contains(p)
            // `pip install --target` puts the scripts that it generates below the same folder.
            || p.starts_with("bin/")
            || p.split('/').next().is_some_and(|top| top.ends_with(".dist-info"))
            || compiled(p)
            || is_uvs_lock(p, files)
    };
    let mut out: Vec<String> =
        changed.iter().filter(|p| !known(p)).map(|p| (*p).to_owned()).collect();
    if out.len() > NAMED {
        let more = out.len() - NAMED;
        out.truncate(NAMED);
        out.push(format!("… and {more} more files"));
    }
    out
}

/// Whether a file is what uv locks a `--target` folder with: empty, at the folder's root, and left
/// behind. One that holds anything is not.
fn is_uvs_lock(path: &str, files: &Files) -> bool {
    path == ".lock" && files.get(path).is_some_and(|(_, size, _)| *size == 0)
}

/// The source of a byte-code file (PEP 3147): `a/__pycache__/b.cpython-311.pyc` is of `a/b.py`.
///
/// HOLE: byte code has no digest in RECORD and is not compiled again here to be compared; a sandbox
/// that installs without compiling would close it.
fn compiled_source(path: &str) -> Option<String> {
    let (folder, file) = path.rsplit_once('/')?;
    let parent = folder.strip_suffix("__pycache__")?;
    let module = file.strip_suffix(".pyc")?.split('.').next()?;
    Some(format!("{parent}{module}.py"))
}

/// The files that a distribution's own RECORD accounts for. Those of an admitted wheel are compared
/// with its manifest as well; those of a source archive that was built here are only listed.
fn recorded(dist: &Installed) -> BTreeSet<String> {
    let text =
        std::fs::read_to_string(dist.site.join(&dist.folder).join("RECORD")).unwrap_or_default();
    text.lines()
        .filter_map(|l| match l.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').map(|(p, _)| p),
            None => l.split(',').next(),
        })
        .filter(|p| !p.is_empty() && !p.starts_with(".."))
        .map(|p| below(&dist.site, p).unwrap_or_else(|| p.to_owned()))
        .collect()
}

/// An absolute path, as poetry writes them for projects in place, as one below `site`.
fn below(site: &Path, path: &str) -> Option<String> {
    let path = Path::new(path);
    if !path.is_absolute() {
        return None;
    }
    let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
    Some(real.strip_prefix(site).ok()?.to_string_lossy().into_owned())
}

/// The local project that a distribution says it comes from (PEP 610), if the user named it.
fn local_source(dist: &Installed, plan: &PythonPlan) -> Option<String> {
    let text = std::fs::read(dist.site.join(&dist.folder).join("direct_url.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let url = url::Url::parse(json.get("url")?.as_str()?).ok()?;
    let path = url.to_file_path().ok()?.canonicalize().ok()?;
    let named = plan.local.iter().filter_map(|l| l.canonicalize().ok());
    let ours = path.is_dir() && named.into_iter().any(|l| path.starts_with(&l) || l == path);
    ours.then(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_code_is_explained_by_its_source_alone() {
        for (path, want) in [
            ("a/__pycache__/b.cpython-311.pyc", Some("a/b.py")),
            ("__pycache__/b.cpython-311.opt-1.pyc", Some("b.py")),
            ("a/b.pyc", None),
            ("a/__pycache__/b.txt", None),
        ] {
            assert_eq!(compiled_source(path).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn an_empty_lock_at_the_root_is_uvs_and_no_other_file_is() {
        let site = tempfile::tempdir().unwrap();
        let seen = |path: &str, text: &str| {
            std::fs::create_dir_all(site.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(site.path().join(path), text).unwrap();
            let files = look(&[site.path().to_path_buf()]).into_values().next().unwrap();
            strangers(&BTreeSet::from([path]), &BTreeSet::new(), &files, &Files::new())
        };
        assert!(seen(".lock", "").is_empty());
        assert_eq!(seen(".lock", "x"), [".lock"]);
        assert_eq!(seen("pkg/.lock", ""), ["pkg/.lock"]);
        assert_eq!(seen("a.pth", ""), ["a.pth"]);
    }

    #[test]
    fn stars_stand_for_any_part_of_a_path() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["venvs/a/lib/python3.9/x", "venvs/b/lib/python3.12/x", "venvs/b/lib/perl/x"]
        {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        std::fs::write(root.path().join("venvs/file"), "").unwrap();
        let mut found = expand(&[root.path().join("venvs/*/lib/python*/x")]);
        found.sort();
        let real = root.path().canonicalize().unwrap();
        let want = ["venvs/a/lib/python3.9/x", "venvs/b/lib/python3.12/x"].map(|f| real.join(f));
        assert_eq!(found, want);
        assert!(expand(&[root.path().join("none/*/x")]).is_empty());
    }

    #[test]
    fn a_file_that_was_changed_without_its_record_is_seen() {
        let site = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(site.path().join("pkg")).unwrap();
        std::fs::write(site.path().join("pkg/a.py"), "x = 1").unwrap();
        let before = look(&[site.path().to_path_buf()]);
        std::fs::write(site.path().join("pkg/a.py"), "x = 2").unwrap();
        let after = look(&[site.path().to_path_buf()]);
        let root = site.path().canonicalize().unwrap();
        assert_ne!(before[&root]["pkg/a.py"], after[&root]["pkg/a.py"]);
        let files = &after[&root];
        let changed: BTreeSet<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(strangers(&changed, &BTreeSet::new(), files, &Files::new()), ["pkg/a.py"]);
    }
}
