//! npm: `package.json` against the version's manifest in the package's document.
//!
//! npm takes dependencies and commands from the document, and scripts from the tarball. The document is
//! what the publisher's client sent beside the tarball; the registry compares nothing.

use super::Listing;
use crate::structure::contents::Contents;
use serde_json::{Map, Value};

/// What stands for a script of which the index says that there is one, and not which.
pub(super) const ANY: &str = "\u{0}any";

pub(super) fn own(contents: &Contents) -> Option<Listing> {
    let (_, file) = contents.in_top_directory("package.json").next_back()?;
    let text = file.content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&file.content);
    Some(listing(&serde_json::from_slice(text).ok()?))
}

/// What a manifest says, in the form that npm's own client makes of it before it is published
/// (normalize-package-data): both sides may have been through it, or only one.
pub(super) fn listing(json: &Value) -> Listing {
    let mut out = Listing::default();
    for name in ["preinstall", "install", "postinstall"] {
        let script = json.get("scripts").and_then(|s| s.get(name)).and_then(Value::as_str);
        match script.map(str::trim).filter(|s| !s.is_empty()) {
            Some(script) => out.put("scripts", name, script),
            None if json.get("hasInstallScript") == Some(&Value::Bool(true))
                && json.get("scripts").is_none() =>
            {
                out.put("scripts", name, ANY);
            }
            None => {}
        }
    }
    // What is optional was once written among the others as well.
    for key in ["dependencies", "optionalDependencies"] {
        for (name, wanted) in requirements(json, key) {
            out.put("dependencies", name, &wanted);
        }
    }
    for (name, wanted) in requirements(json, "peerDependencies") {
        out.put("peers", name, &wanted);
    }
    for (name, path) in commands(json) {
        out.put("bin", &name, &path);
    }
    out
}

fn requirements<'j>(json: &'j Value, key: &str) -> Vec<(&'j str, String)> {
    let said = |wanted: &Value| match wanted.as_str() {
        Some(text) if text.trim().is_empty() => "*".to_owned(),
        Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        None => wanted.to_string(),
    };
    match json.get(key) {
        Some(Value::Object(all)) => all.iter().map(|(n, w)| (n.as_str(), said(w))).collect(),
        // A list of names, as very old packages have it.
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).map(|n| (n, "*".to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// `bin` as an object of cleaned paths; a single path is the command of the package's own name.
fn commands(json: &Value) -> Vec<(String, String)> {
    let empty = Map::new();
    match json.get("bin") {
        Some(Value::String(path)) => {
            let name = json.get("name").and_then(Value::as_str).unwrap_or_default();
            vec![(base(name), cleaned(path))]
        }
        other => {
            let all = other.and_then(Value::as_object).unwrap_or(&empty);
            let named = all.iter().filter_map(|(name, path)| Some((name, path.as_str()?)));
            named.map(|(name, path)| (base(name), cleaned(path))).collect()
        }
    }
}

fn base(name: &str) -> String {
    name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned()
}

fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".") {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
