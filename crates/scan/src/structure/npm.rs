//! npm packages: `package.json` and the scripts that npm runs at installation.

use super::contents::Contents;
use super::{Declared, Notes};
use countersign_core::{Severity, Sha256Digest};
use serde_json::Value;
use std::collections::HashMap;

/// The scripts that npm runs when it installs a package from a registry; `prepare` runs only for
/// packages from git and for the project itself (npm-scripts, "Life Cycle Operation Order").
const INSTALL_SCRIPTS: [&str; 3] = ["preinstall", "install", "postinstall"];

pub(super) fn examine(contents: &Contents, notes: &mut Notes) -> Option<Declared> {
    collisions(contents, notes);
    // The last one unpacked stays on disk.
    let Some((_, file)) = contents.in_top_directory("package.json").next_back() else {
        let title = "no `package.json` in the package's directory".to_owned();
        notes.structure("metadata-missing", Severity::High, title, None);
        return None;
    };
    let text = file.content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&file.content);
    let Ok(json) = serde_json::from_slice::<Value>(text) else {
        let title = "`package.json` is not valid JSON".to_owned();
        notes.structure("metadata-malformed", Severity::High, title, Some(&file.path));
        return None;
    };
    hooks(&json, &file.path, contents, notes);
    let text = |key| json.get(key).and_then(Value::as_str).map(str::to_owned);
    match (text("name"), text("version")) {
        (Some(name), Some(version)) => Some(Declared { name, version }),
        _ => {
            let title = "`package.json` has no name or no version".to_owned();
            notes.structure("metadata-malformed", Severity::High, title, Some(&file.path));
            None
        }
    }
}

/// npm drops the first directory whatever its name: files of several roots can meet.
fn collisions(contents: &Contents, notes: &mut Notes) {
    if contents.roots.len() < 2 {
        return;
    }
    let mut seen: HashMap<&str, (&str, Sha256Digest)> = HashMap::new();
    for file in &contents.manifest {
        let Some((root, rest)) = file.path.split_once('/') else { continue };
        let first = *seen.entry(rest).or_insert((root, file.sha256));
        if first.0 != root && first.1 != file.sha256 {
            let title = "different files that npm unpacks to one place".to_owned();
            notes.structure("duplicate-name", Severity::High, title, Some(&file.path));
        }
    }
}

fn hooks(json: &Value, path: &str, contents: &Contents, notes: &mut Notes) {
    let script = |name| {
        let command = json.get("scripts").and_then(|s| s.get(name)).and_then(Value::as_str);
        command.filter(|c| !c.trim().is_empty())
    };
    for name in INSTALL_SCRIPTS {
        if let Some(command) = script(name) {
            let shown: String = command.chars().take(160).collect();
            notes.hook(name, name, format!("npm runs the script {name}: `{shown}`"), Some(path));
        }
    }
    // With a `binding.gyp` and no script of its own npm runs `node-gyp rebuild`. `gypfile: false`
    // is not looked at: npm may take it from the registry's document instead of this file.
    if script("preinstall").is_none() && script("install").is_none() {
        let gyp = contents
            .paths()
            .find(|p| p.split_once('/').is_some_and(|(_, name)| name == "binding.gyp"));
        if let Some(gyp) = gyp {
            let title = "npm builds it with node-gyp though no script says so".to_owned();
            notes.hook("binding-gyp", "binding.gyp", title, Some(gyp));
        }
    }
}
