//! What lies in `node_modules`, whoever laid it out: npm's and yarn's nested folders, and the virtual
//! stores of pnpm, bun and yarn, to which links lead.

use super::NpmPlan;
use super::shim::is_shim;
use countersign_core::ExpectedDigest;
use countersign_ecosystem::npm;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// A package's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub name: String,
    pub version: String,
    /// The digests that npm's own hidden lock file gives.
    pub integrity: Vec<ExpectedDigest>,
    /// Whether it is a link to a folder outside of all stores.
    pub local: bool,
}

/// The trees of a plan: each package's folder, with what lies there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub packages: BTreeMap<PathBuf, Found>,
    /// When anything in a package's own folder last changed.
    pub stamps: BTreeMap<PathBuf, i64>,
    /// Entries that hold no package.
    pub strangers: Vec<PathBuf>,
}

/// How deep `node_modules` may nest before the rest counts as unread.
pub(crate) const MAX_DEPTH: usize = 64;

/// How deep below a folder `node_modules` folders are looked for, and in how many folders.
const SEARCH_DEPTH: usize = 8;
const SEARCH_FOLDERS: usize = 50_000;

/// Folders in `node_modules` that hold packages to which links lead: pnpm's, bun's, and those of
/// yarn's and npm's own linked layouts.
const VIRTUAL: [&str; 3] = [".pnpm", ".bun", ".store"];

/// Clients' own records, which no program loads.
const RECORDS: [&str; 7] = [
    ".package-lock.json",
    ".modules.yaml",
    ".pnpm-workspace-state.json",
    ".pnpm-workspace-state-v1.json",
    ".yarn-integrity",
    ".yarn-state.yml",
    ".package-map.json",
];

pub(crate) fn look(plan: &NpmPlan) -> Tree {
    let mut all = plan.modules.clone();
    let (mut found, mut left) = (BTreeSet::new(), SEARCH_FOLDERS);
    for folder in &plan.search {
        search(folder, 0, &mut left, &mut found);
    }
    all.extend(found.into_iter().filter(|f| !plan.modules.contains(f)));
    let mut roots = plan.stores.clone();
    roots.extend([plan.root.clone()]);
    roots.extend(plan.search.iter().cloned());
    roots.extend(all.iter().filter_map(|m| m.parent().map(Path::to_path_buf)));
    roots.extend(roots.clone().iter().filter_map(|r| r.canonicalize().ok()));
    let mut virtuals: Vec<PathBuf> = all
        .iter()
        .flat_map(|m| VIRTUAL.iter().map(|v| m.join(v)))
        .chain(plan.stores.iter().cloned())
        .chain(plan.unplugged.iter().cloned())
        .filter_map(|p| p.canonicalize().ok())
        .collect();
    virtuals.dedup();
    let mut walker = Walker { plan, roots, virtuals, seen: BTreeSet::new(), tree: Tree::default() };
    for modules in &all {
        let lock = std::fs::read(modules.join(".package-lock.json")).ok();
        let listed: Listed = lock
            .and_then(|b| npm::parse_package_lock(&b).ok())
            .unwrap_or_default()
            .into_iter()
            .map(|p| (modules.parent().unwrap_or(modules).join(&p.path), p))
            .collect();
        walker.modules(modules, &listed, 0);
    }
    if let Some(folder) = &plan.unplugged {
        walker.virtual_store(folder, &Listed::new(), 0);
    }
    if left == 0 {
        let first = plan.search.first().cloned().unwrap_or_default();
        walker.tree.strangers.push(first.join("… more folders than are looked into"));
    }
    walker.tree
}

/// Finds the `node_modules` folders below a folder, without looking into them.
fn search(folder: &Path, depth: usize, left: &mut usize, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !entry.file_type().is_ok_and(|t| t.is_dir()) || *left == 0 {
            continue;
        }
        if name == "node_modules" {
            found.insert(entry.path());
        } else if depth < SEARCH_DEPTH && !name.to_string_lossy().starts_with(".git") {
            *left -= 1;
            search(&entry.path(), depth + 1, left, found);
        }
    }
}

/// What npm's hidden lock file says of a folder.
type Listed = HashMap<PathBuf, npm::LockedPackage>;

struct Walker<'p> {
    plan: &'p NpmPlan,
    /// Folders that a shim's search path may name.
    roots: Vec<PathBuf>,
    /// Where links may lead to without leaving what is compared.
    virtuals: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
    tree: Tree,
}

impl Walker<'_> {
    fn modules(&mut self, modules: &Path, listed: &Listed, depth: usize) {
        let Ok(real) = modules.canonicalize() else { return };
        if !self.seen.insert(real) {
            return;
        }
        if depth > MAX_DEPTH {
            self.tree.strangers.push(modules.to_path_buf());
            return;
        }
        for entry in std::fs::read_dir(modules).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let link = entry.file_type().is_ok_and(|t| t.is_symlink());
            if name.starts_with('.') {
                self.hidden(&name, &path, listed, depth);
            } else if name.starts_with('@') && path.is_dir() && !link {
                self.modules(&path, listed, depth + 1);
            } else if link {
                self.link(&path, listed, depth);
            } else {
                self.package(&path, listed, depth);
            }
        }
    }

    fn package(&mut self, path: &Path, listed: &Listed, depth: usize) {
        match read_package(path, listed, false) {
            Some(found) => {
                self.tree.packages.insert(path.to_path_buf(), found);
                self.tree.stamps.insert(path.to_path_buf(), newest_change(path, 0));
                self.modules(&path.join("node_modules"), listed, depth + 1);
            }
            None => self.tree.strangers.push(path.to_path_buf()),
        }
    }

    /// A link into a store leads to what is compared there; any other leads to a folder of the user.
    fn link(&mut self, path: &Path, listed: &Listed, depth: usize) {
        let target = path.canonicalize().ok();
        let inner = target.filter(|t| self.virtuals.iter().any(|v| t.starts_with(v)));
        let Some(target) = inner else {
            match read_package(path, listed, true) {
                Some(found) => {
                    self.tree.stamps.insert(path.to_path_buf(), newest_change(path, 0));
                    self.tree.packages.insert(path.to_path_buf(), found);
                }
                None => self.tree.strangers.push(path.to_path_buf()),
            }
            return;
        };
        // What a store outside of the project holds for others is not looked at: only what is
        // reached from here.
        match target.ancestors().find(|a| a.ends_with("node_modules")) {
            Some(around) => self.modules(around, listed, depth + 1),
            None if self.seen.insert(target.clone()) => self.package(&target, listed, depth + 1),
            None => {}
        }
    }

    /// What does not belong in a hidden entry of `node_modules`: programs in `.bin` lead into the
    /// tree, and a file there is somebody else's; clients' records and the caches of well-known tools
    /// are none of the packages'.
    fn hidden(&mut self, name: &str, path: &Path, listed: &Listed, depth: usize) {
        let folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
        match name {
            ".bin" => {
                for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                    if !self.is_program_entry(&entry.path()) {
                        self.tree.strangers.push(entry.path());
                    }
                }
            }
            ".cache" | ".prisma" | ".vite" => {}
            // pnpm's own plugins, and what it moved aside for its links.
            ".pnpm-config" | ".ignored" if folder => self.modules(path, listed, depth + 1),
            _ if RECORDS.contains(&name) && !folder => {}
            _ if VIRTUAL.contains(&name) && folder => self.virtual_store(path, listed, depth),
            // pnpm leaves an empty `.tmp` where it ran a hook.
            _ if folder && std::fs::read_dir(path).is_ok_and(|mut d| d.next().is_none()) => {}
            _ => self.tree.strangers.push(path.to_path_buf()),
        }
    }

    /// A store's folders: each holds a `node_modules` with one package and links to what it needs,
    /// or (yarn) the package beside that folder.
    fn virtual_store(&mut self, folder: &Path, listed: &Listed, depth: usize) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                if name != "lock.yaml" {
                    self.tree.strangers.push(path);
                }
            } else if name == "node_modules" {
                self.modules(&path, listed, depth + 1);
            } else {
                self.store_entry(&path, listed, depth);
            }
        }
    }

    fn store_entry(&mut self, folder: &Path, listed: &Listed, depth: usize) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_name().to_string_lossy().as_ref() {
                "node_modules" => self.modules(&path, listed, depth + 1),
                "package" if path.is_dir() => self.package(&path, listed, depth + 1),
                // yarn's mark that an unplugged package was laid out whole.
                ".ready" => {}
                _ => self.tree.strangers.push(path),
            }
        }
    }

    fn is_program_entry(&self, path: &Path) -> bool {
        leads_to_a_program(path) || is_shim(path, &self.plan.shims, &self.roots, is_named_program)
    }
}

/// Whether an entry of `.bin` is a link to a file that its package names as a program (package.json,
/// `bin` and `directories.bin`).
fn leads_to_a_program(link: &Path) -> bool {
    let is_link = link.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink());
    let Some(target) = link.canonicalize().ok().filter(|_| is_link) else { return false };
    is_named_program(&target)
}

fn is_named_program(target: &Path) -> bool {
    // A folder inside a package may hold a package.json of its own (`{"type": "module"}`).
    target.ancestors().skip(1).take(MAX_DEPTH).any(|folder| names_program(folder, target))
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
    // A package for one kind of machine holds the program of another that names no file here; bun
    // links to it directly.
    let for_a_machine = json.get("os").is_some_and(serde_json::Value::is_array)
        && json.get("cpu").is_some_and(serde_json::Value::is_array)
        && inside.starts_with("bin");
    in_folder
        || for_a_machine
        || match json.get("bin") {
            Some(serde_json::Value::Object(all)) => all.values().any(same),
            Some(one) => same(one),
            None => false,
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

fn read_package(path: &Path, listed: &Listed, link: bool) -> Option<Found> {
    let text = std::fs::read(path.join("package.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let word = |key: &str| json.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    Some(Found {
        name: word("name")?,
        version: word("version").unwrap_or_default(),
        integrity: listed.get(path).map(|e| e.integrity.clone()).unwrap_or_default(),
        local: link,
    })
}
