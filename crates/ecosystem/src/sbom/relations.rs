//! Which of the packages that a lock file lists needs which other, where the file says so.

use super::Relations;
use crate::inventory::{Format, Listed};
use countersign_core::Ecosystem;
use serde_json::Value as Json;
use std::collections::HashMap;

/// The most relations of one document: stops lists that name everything under everything.
const MAX: usize = 1_000_000;

/// Pairs of places in `listed`: the first needs the second. Formats that tell no relations, and
/// relations to what is not listed, give none. A document that was read by `crate::inventory` before is
/// read leniently here.
#[must_use]
pub fn relations(format: Format, text: &str, listed: &[Listed]) -> Relations {
    let places = Places::of(listed);
    let mut out = match format {
        Format::CargoLock => toml_lock(text, Ecosystem::Cargo, &places),
        Format::UvLock | Format::PoetryLock => toml_lock(text, Ecosystem::Pypi, &places),
        Format::PackageLock => package_lock(text, &places),
        _ => Vec::new(),
    };
    out.sort_unstable();
    out.dedup();
    out.truncate(MAX);
    out
}

/// Where each version of a package stands in the list.
struct Places<'l> {
    by_name: HashMap<&'l str, Vec<(&'l str, usize)>>,
}

impl<'l> Places<'l> {
    fn of(listed: &'l [Listed]) -> Self {
        let mut by_name: HashMap<&str, Vec<(&str, usize)>> = HashMap::new();
        for (place, l) in listed.iter().enumerate() {
            let version = l.purl.version().unwrap_or("");
            by_name.entry(l.purl.name()).or_default().push((version, place));
        }
        Self { by_name }
    }

    /// The place of a version; of a name alone where it has one version.
    fn find(&self, ecosystem: Ecosystem, name: &str, version: Option<&str>) -> Option<usize> {
        let name = ecosystem.canonical_name(name);
        let all = self.by_name.get(name.as_str())?;
        match version {
            Some(version) => {
                let same = |v: &str| crate::version::same(ecosystem, v, version);
                all.iter().find(|(v, _)| same(v)).map(|(_, place)| *place)
            }
            None => match all.as_slice() {
                [(_, place)] => Some(*place),
                _ => None,
            },
        }
    }
}

/// `Cargo.lock`, `uv.lock` and `poetry.lock`: a table for each package, with what it needs.
fn toml_lock(text: &str, ecosystem: Ecosystem, places: &Places<'_>) -> Relations {
    let Ok(document) = text.parse::<toml::Table>() else { return Vec::new() };
    let packages = document.get("package").and_then(toml::Value::as_array);
    let mut out = Vec::new();
    for package in packages.into_iter().flatten() {
        let field = |key: &str| package.get(key).and_then(toml::Value::as_str);
        let from = field("name").and_then(|n| places.find(ecosystem, n, field("version")));
        let Some(from) = from else { continue };
        let needs = match package.get("dependencies") {
            Some(toml::Value::Array(all)) => all.iter().filter_map(|d| entry(d)).collect(),
            // Poetry: names to requirements.
            Some(toml::Value::Table(all)) => all.keys().map(|n| (n.as_str(), None)).collect(),
            _ => Vec::new(),
        };
        let found = needs.into_iter().filter_map(|(n, v)| places.find(ecosystem, n, v));
        out.extend(found.map(|to| (from, to)));
        if out.len() > MAX {
            break;
        }
    }
    out
}

/// `"name"`, `"name 1.0"` and `"name 1.0 (source)"` of cargo; `{ name = "…", version = "…" }` of uv.
fn entry(value: &toml::Value) -> Option<(&str, Option<&str>)> {
    if let Some(text) = value.as_str() {
        let mut words = text.split_whitespace();
        return Some((words.next()?, words.next()));
    }
    let name = value.get("name")?.as_str()?;
    Some((name, value.get("version").and_then(toml::Value::as_str)))
}

/// npm's lock files of versions 2 and 3: what a folder's package needs lies in its own `node_modules`,
/// or in that of a folder above.
fn package_lock(text: &str, places: &Places<'_>) -> Relations {
    let Ok(document) = serde_json::from_str::<Json>(text) else { return Vec::new() };
    let Some(packages) = document.get("packages").and_then(Json::as_object) else {
        return Vec::new();
    };
    let place = |path: &str, package: &Json| {
        let by_path = path.rsplit_once("node_modules/").map(|(_, name)| name);
        let name = package.get("name").and_then(Json::as_str).or(by_path)?;
        places.find(Ecosystem::Npm, name, package.get("version")?.as_str())
    };
    let mut out = Vec::new();
    for (path, package) in packages {
        let Some(from) = place(path, package) else { continue };
        for list in ["dependencies", "optionalDependencies", "peerDependencies"] {
            for name in package.get(list).and_then(Json::as_object).into_iter().flatten() {
                let found = above(path).find_map(|folder| {
                    let at = format!("{folder}node_modules/{}", name.0);
                    packages.get(&at).and_then(|p| place(&at, p))
                });
                out.extend(found.map(|to| (from, to)));
            }
        }
        if out.len() > MAX {
            break;
        }
    }
    out
}

/// The folders in which a package looks: its own, and those above, each with its slash.
fn above(path: &str) -> impl Iterator<Item = String> {
    let mut rest = Some(path.to_owned());
    std::iter::from_fn(move || {
        let here = rest.take()?;
        if here.is_empty() {
            return Some(String::new());
        }
        let parent = here.rsplit_once("node_modules/").map(|(head, _)| head.trim_end_matches('/'));
        rest = Some(parent.unwrap_or("").to_owned());
        Some(format!("{here}/"))
    })
}
