//! Reconciliation: what is there after the client ended, against what was admitted.
//!
//! A client's own records are the attacker's to change, so they only say where to look; what is
//! found is compared with the manifests and digests of admitted artifacts.

mod cargo;
mod node_compare;
mod node_tree;
mod npm;
mod pnp;
mod python;
mod seeds;
mod shim;

pub use npm::installed as installed_npm;
pub use python::installed as installed_python;
pub use shim::shim_lines;

use crate::engine::Engine;
use countersign_core::{Ecosystem, Purl, Sha256Digest, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Where a client leaves what it installs.
#[derive(Debug, Clone, Default)]
pub enum Plan {
    /// The command installs nothing.
    #[default]
    Nothing,
    /// Python environments and download folders.
    Python(PythonPlan),
    /// `node_modules` trees and yarn's zips.
    Npm(NpmPlan),
    /// A cargo lock file and cargo's cache.
    Cargo(CargoPlan),
    /// Debs in folders; what apt installs is judged before dpkg sees it.
    Debian(DebianPlan),
}

/// Where pip and uv install to.
#[derive(Debug, Clone, Default)]
pub struct PythonPlan {
    /// `site-packages` folders; a `*` in a part of a path stands for any text (`lib/python*`).
    pub sites: Vec<PathBuf>,
    /// Folders that archives are downloaded to.
    pub downloads: Vec<PathBuf>,
    /// Local projects and files that the user names.
    pub local: Vec<PathBuf>,
    /// What a new environment is made with, without any registry.
    pub seeds: Seeds,
}

/// What comes with the interpreter, or with the program that makes environments, and is put into
/// each new one: it never passed the gate, and is compared with its origin on this machine.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    /// Wheels, such as the pip that Python brings along (`ensurepip`).
    pub wheels: Vec<PathBuf>,
    /// Files of `site-packages`, by name, with their content.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Where npm, pnpm, yarn and bun install to.
#[derive(Debug, Clone, Default)]
pub struct NpmPlan {
    /// The project's folder; paths are shown from there.
    pub root: PathBuf,
    /// `node_modules` folders.
    pub modules: Vec<PathBuf>,
    /// Folders below which `node_modules` folders are looked for.
    pub search: Vec<PathBuf>,
    /// The same, in the folder of the run, which is known only when it is made.
    pub search_in_run: Vec<PathBuf>,
    /// Stores outside of the project: a link into one leads to what is installed.
    pub stores: Vec<PathBuf>,
    /// The folder of what yarn unpacks beside its zips.
    pub unplugged: Option<PathBuf>,
    /// Plug'n'Play's table of what is loaded from where (`.pnp.cjs`).
    pub pnp: Option<PathBuf>,
    /// A folder of the run all of whose zips are compared.
    pub zips_in_run: Option<PathBuf>,
    /// Whether the client takes contents from a store of its own: what was not asked for is then
    /// judged when it is found.
    pub late: bool,
    /// Whether something has to be there when something was admitted.
    pub expected: bool,
    /// yarn's lock file, which says what it patches.
    pub lock: Option<PathBuf>,
    /// Packages that the project takes from folders of this machine, by name.
    pub local: Vec<String>,
    /// What the client's program shims consist of ([`shim_lines`]).
    pub shims: BTreeSet<String>,
}

impl NpmPlan {
    /// The packages that yarn patches, by what its lock file says now: `"name@patch:…"`.
    fn patched_names(&self) -> BTreeSet<String> {
        let read = |p: &PathBuf| std::fs::read_to_string(p).ok();
        let text = self.lock.as_ref().and_then(read).unwrap_or_default();
        let lines = text.lines().filter_map(|l| l.trim().strip_prefix("resolution: \""));
        lines.filter_map(|l| Some(l.split_once("@patch:")?.0.to_owned())).collect()
    }

    /// A path for people: from the project's folder, where it lies there.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

impl Plan {
    /// Fills in the places that lie in the folder of the run.
    pub fn settle(&mut self, run: &Path) {
        if let Self::Npm(plan) = self {
            plan.search.extend(plan.search_in_run.drain(..).map(|p| run.join(p)));
            plan.zips_in_run = plan.zips_in_run.take().map(|p| run.join(p));
        }
    }
}

/// What cargo used.
#[derive(Debug, Clone)]
pub struct CargoPlan {
    /// The lock file, if the command works on a project.
    pub lock: Option<PathBuf>,
    /// Cargo's home, whose cache is looked into.
    pub home: Option<PathBuf>,
}

/// Where apt leaves debs.
#[derive(Debug, Clone, Default)]
pub struct DebianPlan {
    /// The folder that `apt-get download` writes to.
    pub downloads: Option<PathBuf>,
    /// Where debs belong that were only downloaded.
    pub deliver: Option<PathBuf>,
}

/// Something that is there and was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The artifact or file.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

/// The outcome of a reconciliation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// How many installed things were compared and are what was admitted.
    pub matched: usize,
    /// Local projects of the user, which no registry serves.
    pub local: Vec<String>,
    /// What was not admitted.
    pub gaps: Vec<Gap>,
    /// What could not be compared, and why: never to be taken for reconciled.
    pub not_done: Vec<String>,
}

impl Account {
    pub(crate) fn gap(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.gaps.push(Gap { what: what.into(), why: why.into() });
    }
}

/// What was there before the client started.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Files of Python environments, or of the crates that cargo unpacked.
    python: python::Sites,
    files: HashMap<PathBuf, (u64, i64)>,
    npm: npm::Tree,
    zips: pnp::Used,
    failed: bool,
}

/// Admitted artifacts of one version: their digests.
pub(crate) type AdmittedVersions = BTreeMap<Purl, Vec<(String, Sha256Digest)>>;

impl Engine {
    /// Looks at what is there before the client starts.
    pub async fn snapshot(&self, plan: &Plan) -> Snapshot {
        let plan = plan.clone();
        let look = move || match &plan {
            Plan::Python(p) => Snapshot {
                python: python::look(&p.sites),
                files: list_files(&p.downloads),
                ..Snapshot::default()
            },
            Plan::Npm(p) => {
                Snapshot { npm: npm::look(p), zips: pnp::used(p), ..Snapshot::default() }
            }
            Plan::Debian(p) => {
                Snapshot { files: list_files(p.downloads.as_slice()), ..Snapshot::default() }
            }
            Plan::Cargo(p) => {
                Snapshot { python: python::look(&cargo::sources(p)), ..Snapshot::default() }
            }
            Plan::Nothing => Snapshot::default(),
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(snapshot) => snapshot,
            Err(_) => Snapshot { failed: true, ..Snapshot::default() },
        }
    }

    /// Reconciles what is there now with what was admitted.
    pub async fn account(&self, plan: &Plan, before: &Snapshot) -> Account {
        let mut account = match plan {
            Plan::Nothing => Account::default(),
            Plan::Python(p) => {
                let mut account = self.account_python(p, &before.python).await;
                self.account_downloads(&p.downloads, &before.files, &mut account).await;
                account
            }
            Plan::Npm(p) => self.account_npm(p, &before.npm, &before.zips).await,
            Plan::Cargo(p) => self.account_cargo(p, &before.python).await,
            Plan::Debian(p) => {
                let mut account = Account::default();
                self.account_downloads(p.downloads.as_slice(), &before.files, &mut account).await;
                account
            }
        };
        if before.failed {
            account.not_done.push("what was there before could not be looked at".to_owned());
        }
        account
    }

    /// What this run admitted, by version.
    pub(crate) fn admitted_now(&self, ecosystem: Ecosystem) -> AdmittedVersions {
        let mut out = AdmittedVersions::new();
        for e in self.report().entries() {
            if let (Verdict::Admit, Some(purl), Some(sha256)) =
                (e.decision.verdict, e.purl, e.sha256)
                && purl.ecosystem() == ecosystem
            {
                out.entry(purl).or_default().push((e.file_name.unwrap_or_default(), sha256));
            }
        }
        out
    }

    /// Archives that came into a folder: each must be, byte for byte, one that was admitted.
    async fn account_downloads(
        &self,
        folders: &[PathBuf],
        before: &HashMap<PathBuf, (u64, i64)>,
        account: &mut Account,
    ) {
        let admitted: Vec<Sha256Digest> = self
            .report()
            .entries()
            .into_iter()
            .filter(|e| e.decision.verdict == Verdict::Admit)
            .filter_map(|e| e.sha256)
            .collect();
        let sources = self.admitted_now(Ecosystem::Pypi);
        for (path, stamp) in list_files(folders) {
            if before.get(&path) == Some(&stamp) || !is_archive(&path) {
                continue;
            }
            let shown = path.display().to_string();
            let name =
                path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            match crate::fetch::hash_file(path, Vec::new()).await {
                Ok((d, _)) if admitted.contains(&d.sha256) => account.matched += 1,
                Ok(_) if built_from_admitted(&name, &sources) => account
                    .local
                    .push(format!("{name}, built here from an admitted source archive")),
                Ok(_) => account
                    .gap(shown, "is in the download folder and is no artifact that was admitted"),
                Err(e) => account.gap(shown, format!("cannot be read: {e}")),
            }
        }
    }
}

/// Whether a wheel was built here from a source archive of the same version that was admitted.
fn built_from_admitted(file_name: &str, admitted: &AdmittedVersions) -> bool {
    let Some(dist) = countersign_ecosystem::pypi::parse_file_name(file_name) else { return false };
    file_name.ends_with(".whl")
        && admitted
            .get(&Purl::new(Ecosystem::Pypi, &dist.name, Some(&dist.version)))
            .is_some_and(|files| files.iter().any(|(f, _)| !f.ends_with(".whl")))
}

fn is_archive(path: &std::path::Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    [".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".deb"].iter().any(|e| name.ends_with(e))
}

fn list_files(folders: &[PathBuf]) -> HashMap<PathBuf, (u64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut out = HashMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Ok(m) = entry.metadata()
                && m.is_file()
            {
                let stamp = m.mtime().wrapping_mul(1_000_000_000).wrapping_add(m.mtime_nsec());
                out.insert(entry.path(), (m.len(), stamp));
            }
        }
    }
    out
}
