//! What pnpm's program shims look like: pnpm shows it.

use super::probe;
use countersign_engine::account::shim_lines;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

/// What pnpm's program shims consist of: it is made to write some, for a package of the gate's own
/// in an empty folder. That fetches nothing, and is remembered for this program.
pub fn lines(program: &OsStr, memory: &mut dyn probe::Memory) -> Result<BTreeSet<String>, String> {
    let path = probe::which(program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let key = format!("pnpm-shims {}", probe::identity(&path));
    if let Some(known) = memory.get(&key).and_then(|k| serde_json::from_str(&k).ok()) {
        return Ok(known);
    }
    let lines = write_shims(&path).map_err(|e| format!("pnpm does not show its shims: {e}"))?;
    if let Ok(text) = serde_json::to_string(&lines) {
        memory.put(&key, &text);
    }
    Ok(lines)
}

fn write_shims(program: &Path) -> Result<BTreeSet<String>, String> {
    let text = |e: std::io::Error| e.to_string();
    let folder = tempfile::tempdir().map_err(text)?;
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("probe")).map_err(text)?;
    for (name, content) in [
        (
            "package.json",
            r#"{"name":"reference","version":"0.0.0","private":true,"dependencies":{"probe":"link:./probe"}}"#,
        ),
        ("pnpm-workspace.yaml", "packages: []\n"),
        (
            "probe/package.json",
            r#"{"name":"probe","version":"0.0.0","bin":{"a":"a.js","b":"b.sh","c":"c"}}"#,
        ),
        ("probe/a.js", "#!/usr/bin/env node\n"),
        ("probe/b.sh", "#!/bin/sh\n"),
        ("probe/c", "no first line\n"),
    ] {
        std::fs::write(at(name), content).map_err(text)?;
    }
    let store = at("store").display().to_string();
    let words =
        ["install", "--offline", "--ignore-scripts", "--no-frozen-lockfile", "--store-dir", &store];
    probe::output_in(program.as_os_str(), &words, &[("CI".into(), "1".into())], folder.path())?;
    let all: Vec<String> = ["a", "b", "c"]
        .iter()
        .filter_map(|n| {
            let file = at("node_modules/.bin").join(n);
            file.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
            std::fs::read_to_string(file).ok()
        })
        .collect();
    Ok(shim_lines(&all))
}
