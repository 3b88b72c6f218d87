//! Plug'n'Play: which zips and folders a project's table of packages names.

use super::NpmPlan;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The zips that packages are loaded from, each with its inode, its size and the time of its last
/// change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    pub zips: BTreeMap<PathBuf, (u64, u64, i64)>,
    /// What could not be read.
    pub unread: Vec<String>,
}

/// Largest table that is read, in bytes.
const MAX_TABLE: u64 = 256 << 20;

pub(crate) fn used(plan: &NpmPlan) -> Used {
    let mut out = Used::default();
    if let Some(table) = &plan.pnp {
        // Without inlining, the table lies beside the program that reads it.
        for file in [table.clone(), table.with_file_name(".pnp.data.json")] {
            read_table(&file, &mut out);
        }
    }
    if let Some(folder) = &plan.zips_in_run {
        zips_below(folder, 0, &mut out);
    }
    out
}

fn read_table(file: &Path, out: &mut Used) {
    let Ok(meta) = file.metadata() else { return };
    if meta.len() > MAX_TABLE {
        out.unread.push(format!("`{}` is too large to read", file.display()));
        return;
    }
    let (Ok(text), Some(root)) = (std::fs::read_to_string(file), file.parent()) else {
        out.unread.push(format!("`{}` cannot be read", file.display()));
        return;
    };
    for location in locations(&text) {
        let path = resolve(&root.join(location));
        let text = path.to_string_lossy();
        if let Some((zip, _)) = text.split_once(".zip/") {
            add(Path::new(&format!("{zip}.zip")), out);
        }
    }
}

fn add(zip: &Path, out: &mut Used) {
    use std::os::unix::fs::MetadataExt as _;
    match zip.metadata() {
        Ok(m) => {
            let changed = m.ctime().wrapping_mul(1_000_000_000).wrapping_add(m.ctime_nsec());
            out.zips.insert(zip.to_path_buf(), (m.ino(), m.size(), changed));
        }
        Err(e) => out.unread.push(format!("`{}` cannot be read: {e}", zip.display())),
    }
}

fn zips_below(folder: &Path, depth: usize, out: &mut Used) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if depth < 4 {
                zips_below(&path, depth + 1, out);
            }
        } else if path.extension().is_some_and(|e| e == "zip") {
            add(&path, out);
        }
    }
}

/// Each `"packageLocation": "…"` of a table, which is JSON inside of a program.
fn locations(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for part in text.split("packageLocation").skip(1) {
        // The table is a string of the program in some versions, with its quotes escaped.
        let Some((_, value)) = part.split_once(':') else { continue };
        let value = value.trim_start().trim_start_matches(['\\', '"']);
        if let Some((location, _)) = value.split_once(['"', '\\']) {
            out.push(location.to_owned());
        }
    }
    out
}

/// A path with `..` taken literally, and with yarn's virtual folders resolved: below
/// `__virtual__/<hash>/<n>/` lies what lies `n` folders further up.
fn resolve(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            Component::Normal(name) if name == "__virtual__" || name == "$$virtual" => {
                parts.next();
                let up = parts.next().map(|p| p.as_os_str().to_string_lossy().into_owned());
                for _ in 0..up.and_then(|n| n.parse().ok()).unwrap_or(0_usize).min(256) {
                    out.pop();
                }
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_resolved() {
        let text = r#"const RAW = '{"packageLocation": "./", }' + '\
            "packageLocation": "./.yarn/cache/a-npm-1.0.0-00-8.zip/node_modules/a/",\
            "packageLocation": "./.yarn/__virtual__/b-virtual-1/1/cache/b-npm-1.0.0-00-8.zip/node_modules/b/",\
            "packageLocation": "../home/cache/c.zip/node_modules/c/",'"#;
        let all: Vec<_> =
            locations(text).iter().map(|l| resolve(&Path::new("/w/p").join(l))).collect();
        let all: Vec<_> = all.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        assert_eq!(
            all,
            [
                "/w/p",
                "/w/p/.yarn/cache/a-npm-1.0.0-00-8.zip/node_modules/a",
                "/w/p/cache/b-npm-1.0.0-00-8.zip/node_modules/b",
                "/w/home/cache/c.zip/node_modules/c",
            ]
        );
    }
}
