//! Python environments: each installed distribution against the wheel that was admitted.

use super::{Account, PythonPlan};
use crate::engine::Engine;
use countersign_core::{Ecosystem, Purl, Sha256Digest};
use countersign_ecosystem::archive::ManifestEntry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The environments' contents: `site-packages` folder to what lies at its top.
pub(crate) type Sites = HashMap<PathBuf, Top>;

/// What lies at the top of a `site-packages` folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Top {
    /// `.dist-info` folders, with the digest of their RECORD.
    dists: BTreeMap<String, Option<Sha256Digest>>,
    /// All names.
    names: BTreeSet<String>,
}

/// The distributions that are installed in these environments.
#[must_use]
pub fn installed(sites: &[PathBuf]) -> Vec<Purl> {
    look(sites)
        .values()
        .flat_map(|top| top.dists.keys())
        .filter_map(|d| dist_purl(d))
        .collect()
}

/// `Name-1.0.dist-info` (PyPA, "recording installed projects") as a purl.
fn dist_purl(folder: &str) -> Option<Purl> {
    let (name, version) = folder.strip_suffix(".dist-info")?.split_once('-')?;
    Some(Purl::new(Ecosystem::Pypi, name, Some(version)))
}

/// Resolves `python*` in a path to the folders that are there.
fn expand(sites: &[PathBuf]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for site in sites {
        let text = site.to_string_lossy().into_owned();
        match text.split_once("/python*/") {
            None => out.push(site.clone()),
            Some((lib, rest)) => {
                for entry in std::fs::read_dir(lib).into_iter().flatten().flatten() {
                    if entry.file_name().to_string_lossy().starts_with("python") {
                        out.push(entry.path().join(rest));
                    }
                }
            }
        }
    }
    let mut unique: Vec<PathBuf> = Vec::new();
    for p in out.into_iter().filter_map(|p| p.canonicalize().ok()) {
        if !unique.contains(&p) {
            unique.push(p);
        }
    }
    unique
}

pub(crate) fn look(sites: &[PathBuf]) -> Sites {
    let mut out = Sites::new();
    for site in expand(sites) {
        let mut top = Top::default();
        for entry in std::fs::read_dir(&site).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".dist-info") {
                let record = std::fs::read(entry.path().join("RECORD")).ok();
                top.dists.insert(name.clone(), record.map(|r| Sha256Digest::of(&r)));
            }
            top.names.insert(name);
        }
        out.insert(site, top);
    }
    out
}

/// An installed distribution that is new or changed, with what was admitted of its version.
struct Installed {
    site: PathBuf,
    folder: String,
    purl: Purl,
}

impl Engine {
    pub(crate) async fn account_python(&self, plan: &PythonPlan, before: &Sites) -> Account {
        let mut account = Account::default();
        let admitted = self.admitted_now(Ecosystem::Pypi);
        let after = look(&plan.sites);
        for (site, top) in &after {
            let mut explained = BTreeSet::new();
            let old = before.get(site).cloned().unwrap_or_default();
            for (folder, record) in &top.dists {
                if old.dists.get(folder) == Some(record) && record.is_some() {
                    continue;
                }
                let Some(purl) = dist_purl(folder) else {
                    account.gap(format!("{}/{folder}", site.display()), "is no well-formed distribution");
                    continue;
                };
                let installed = Installed { site: site.clone(), folder: folder.clone(), purl };
                explained.insert(folder.clone());
                explained.extend(recorded_tops(&installed));
                let files = admitted.get(&installed.purl).cloned().unwrap_or_default();
                self.account_dist(installed, &files, plan, &mut account).await;
            }
            let strangers = top.names.iter().filter(|n| !old.names.contains(*n) && !explained.contains(*n));
            for name in strangers.filter(|n| *n != "__pycache__") {
                account.gap(format!("{}/{name}", site.display()), "came with no distribution that was admitted");
            }
        }
        account
    }

    async fn account_dist(
        &self,
        dist: Installed,
        files: &[(String, Sha256Digest)],
        plan: &PythonPlan,
        account: &mut Account,
    ) {
        let label = dist.purl.label();
        if files.is_empty() {
            match local_source(&dist, plan) {
                Some(source) => account.local.push(format!("{label}, from {source}")),
                None => account.gap(label, "is installed and was not admitted in this run"),
            }
            return;
        }
        let wheels: Vec<_> = files.iter().filter(|(f, _)| f.ends_with(".whl")).collect();
        if wheels.is_empty() {
            account.local.push(format!("{label}, built here from an admitted source archive"));
            return;
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
            let compared = tokio::task::spawn_blocking(move || compare(&site, &purl, &manifest)).await;
            match compared {
                Ok(None) => {
                    account.matched += 1;
                    return;
                }
                Ok(Some(difference)) => because = difference,
                Err(_) => because = "the comparison ended unexpectedly".to_owned(),
            }
        }
        account.gap(label, because);
    }

    /// The manifest of an admitted artifact.
    pub(crate) async fn manifest(&self, sha256: Sha256Digest) -> Result<Option<Vec<ManifestEntry>>, String> {
        let bytes = self.inner.store.get_manifest(&sha256).await.map_err(|e| e.to_string())?;
        bytes.map(|b| serde_json::from_slice(&b).map_err(|e| format!("a stored manifest cannot be read: {e}"))).transpose()
    }
}

/// Compares what lies in `site` with a wheel's manifest; says the first difference.
fn compare(site: &Path, purl: &Purl, manifest: &[ManifestEntry]) -> Option<String> {
    for entry in manifest {
        // Installers spread `.data` to other places and rewrite scripts and the RECORD itself.
        let first = entry.path.split('/').next().unwrap_or("");
        if first.ends_with(".data") || entry.path.ends_with(".dist-info/RECORD") || entry.path.ends_with('/') {
            continue;
        }
        let path = site.join(&entry.path);
        match std::fs::read(&path) {
            Ok(bytes) if Sha256Digest::of(&bytes) == entry.sha256 => {}
            Ok(_) => return Some(format!("{} differs from the admitted wheel of {}", entry.path, purl.label())),
            Err(_) => return Some(format!("{} of the admitted wheel is not there", entry.path)),
        }
    }
    None
}

/// The names at the top of the environment that a distribution's own RECORD accounts for.
fn recorded_tops(dist: &Installed) -> BTreeSet<String> {
    let text = std::fs::read_to_string(dist.site.join(&dist.folder).join("RECORD")).unwrap_or_default();
    text.lines()
        .filter_map(|l| l.trim_start_matches('"').split([',', '"']).next())
        .filter_map(|p| p.split('/').next())
        .filter(|p| !p.is_empty() && *p != "..")
        .map(str::to_owned)
        .collect()
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
