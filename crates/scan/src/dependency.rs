//! Which packages an artifact declares to need, by its own metadata.
//!
//! This resolves nothing: it says what is written. What a resolver makes of it passes the gate by
//! itself, and is judged there.

use crate::structure::MetadataFile;
use countersign_core::{Dependency, Ecosystem};
use countersign_ecosystem::pypi::{Spec, classify_spec};
use countersign_ecosystem::version::is_valid;
use serde_json::Value;

/// The most dependencies of one artifact; the rest is left out. Honest ones have a few hundred at most.
const MAX: usize = 2000;
/// Longest name or requirement, in bytes.
const MAX_TEXT: usize = 512;

/// The dependencies that the metadata declares, sorted, without those that come from no registry. Debian's
/// are named by binary package, which advisories are not about: there none are given.
#[must_use]
pub fn declared(ecosystem: Ecosystem, metadata: &[MetadataFile]) -> Vec<Dependency> {
    // The last file of a name is the one that an unpacker leaves.
    let file = |name: &str| {
        let at_top = |path: &str| path.split_once('/').is_some_and(|(_, rest)| rest == name);
        metadata.iter().rev().find(|f| at_top(&f.path)).map(|f| f.content.as_slice())
    };
    let mut all = match ecosystem {
        Ecosystem::Npm => file("package.json").map(npm).unwrap_or_default(),
        Ecosystem::Cargo => file("Cargo.toml").map(cargo).unwrap_or_default(),
        Ecosystem::Pypi => {
            file("METADATA").or_else(|| file("PKG-INFO")).map(python).unwrap_or_default()
        }
        Ecosystem::Debian | Ecosystem::Go | Ecosystem::Maven => Vec::new(),
    };
    all.retain(|d| !d.name.is_empty() && d.name.len().max(d.requirement.len()) <= MAX_TEXT);
    all.sort_unstable();
    all.dedup();
    all.truncate(MAX);
    all
}

fn dependency(
    ecosystem: Ecosystem,
    name: &str,
    requirement: &str,
    exact: Option<&str>,
    optional: bool,
) -> Dependency {
    Dependency {
        name: ecosystem.canonical_name(name.trim()),
        requirement: requirement.trim().to_owned(),
        exact: exact.map(|v| v.trim().to_owned()),
        optional,
    }
}

/// npm installs `dependencies`, `optionalDependencies` and, since version 7, `peerDependencies`. It goes
/// on without an optional one that the gate refuses, so that none speaks against the package itself.
fn npm(content: &[u8]) -> Vec<Dependency> {
    let Ok(json) = serde_json::from_slice::<Value>(content) else { return Vec::new() };
    let mut out = Vec::new();
    let lists =
        [("dependencies", false), ("optionalDependencies", true), ("peerDependencies", true)];
    for (list, optional) in lists {
        for (name, wanted) in json.get(list).and_then(Value::as_object).into_iter().flatten() {
            let Some(wanted) = wanted.as_str() else { continue };
            // Of a name that stands in both lists npm takes the optional one.
            if list == "dependencies"
                && json.pointer("/optionalDependencies").is_some_and(|o| o.get(name).is_some())
            {
                continue;
            }
            // `npm:other@1.0.0` installs another package under this name.
            let alias = wanted.strip_prefix("npm:").map(|rest| match rest.rfind('@') {
                Some(at) if at > 0 => rest.split_at(at),
                _ => (rest, ""),
            });
            let (name, wanted) = match alias {
                Some((other, version)) => (other, version.trim_start_matches('@')),
                // Addresses, folders and checkouts come from no registry.
                None if wanted.contains(['/', ':']) => continue,
                None => (name.as_str(), wanted),
            };
            let version = wanted.trim().trim_start_matches(['=', 'v']);
            let exact = version.split('.').count() >= 3
                && !version.contains(['x', 'X', '*', ' ', '|', '<', '>', '^', '~'])
                && is_valid(Ecosystem::Npm, version);
            let exact = exact.then_some(version);
            out.push(dependency(Ecosystem::Npm, name, wanted, exact, optional));
        }
    }
    out
}

/// Core metadata: a `Requires-Dist` for each, with an environment marker (PEP 508).
fn python(content: &[u8]) -> Vec<Dependency> {
    let text = String::from_utf8_lossy(content);
    let head = text.lines().take_while(|l| !l.trim_end().is_empty());
    let fields = head.filter_map(|l| l.split_once(':'));
    let wanted = fields.filter(|(key, _)| key.eq_ignore_ascii_case("Requires-Dist"));
    let one = |text: &str| {
        let only_extra = |marker: Option<String>| marker.is_some_and(|m| m.contains("extra"));
        Some(match classify_spec(text) {
            Spec::Pinned { name, version, marker, .. } => {
                let wanted = format!("=={version}");
                let optional = only_extra(marker);
                dependency(Ecosystem::Pypi, &name, &wanted, Some(&version), optional)
            }
            Spec::Named { name, specifier, marker, .. } => {
                dependency(Ecosystem::Pypi, &name, &specifier, None, only_extra(marker))
            }
            _ => return None,
        })
    };
    wanted.filter_map(|(_, text)| one(text)).collect()
}

/// Tables of `Cargo.toml` that hold what a build of the crate needs.
fn cargo(content: &[u8]) -> Vec<Dependency> {
    let parsed = std::str::from_utf8(content).ok().and_then(|t| t.parse::<toml::Table>().ok());
    let Some(manifest) = parsed else { return Vec::new() };
    let mut out = Vec::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flatten().filter_map(|(_, t)| t.as_table());
    for table in std::iter::once(&manifest).chain(tables) {
        for list in ["dependencies", "build-dependencies"] {
            let all = table.get(list).and_then(toml::Value::as_table);
            for (name, wanted) in all.into_iter().flatten() {
                let text = |key: &str| wanted.get(key).and_then(toml::Value::as_str);
                let version = wanted.as_str().or_else(|| text("version"));
                let Some(version) = version else { continue };
                let name = text("package").unwrap_or(name);
                let optional =
                    wanted.get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
                let exact = version.trim().strip_prefix('=').map(str::trim);
                let exact = exact.filter(|v| is_valid(Ecosystem::Cargo, v));
                out.push(dependency(Ecosystem::Cargo, name, version, exact, optional));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ecosystem: Ecosystem, path: &str, content: &str) -> Vec<(String, Option<String>, bool)> {
        let file = MetadataFile { path: path.to_owned(), content: content.as_bytes().to_vec() };
        let all = declared(ecosystem, &[file]);
        all.into_iter().map(|d| (d.name, d.exact, d.optional)).collect()
    }

    fn row(name: &str, exact: Option<&str>, optional: bool) -> (String, Option<String>, bool) {
        (name.to_owned(), exact.map(str::to_owned), optional)
    }

    #[test]
    fn npm_declares_names_ranges_and_aliases() {
        let json = r#"{"dependencies": {"a": "1.0.0", "b": "^1.0.0", "c": "npm:@s/d@2.0.0", "e": "git+https://x",
            "f": "1.x", "g": "=1.2.3", "h": ">=1.0.0 <2.0.0", "i": 7}, "peerDependencies": {"p": "*"},
            "devDependencies": {"z": "1.0.0"}}"#;
        assert_eq!(
            of(Ecosystem::Npm, "package/package.json", json),
            [
                row("@s/d", Some("2.0.0"), false),
                row("a", Some("1.0.0"), false),
                row("b", None, false),
                row("f", None, false),
                row("g", Some("1.2.3"), false),
                row("h", None, false),
                row("p", None, true),
            ]
        );
        assert_eq!(of(Ecosystem::Npm, "package/lib/package.json", json), []);
    }

    #[test]
    fn python_declares_with_markers_and_extras() {
        let text = "Metadata-Version: 2.1\nRequires-Dist: A.b (>=1.0)\nRequires-Dist: c==1.2\n\
            Requires-Dist: d ; extra == 'x'\nRequires-Dist: e @ https://files.example/e.whl\n\n\
            Requires-Dist: text\n";
        assert_eq!(
            of(Ecosystem::Pypi, "x-1.0.dist-info/METADATA", text),
            [row("a-b", None, false), row("c", Some("1.2"), false), row("d", None, true)]
        );
    }

    #[test]
    fn cargo_declares_in_several_tables() {
        let text = "[dependencies]\na = \"1\"\nb = { version = \"=1.2.3\", package = \"real\" }\nc = { path = \"x\" }\n\
            [build-dependencies.d]\nversion = \"1\"\noptional = true\n[target.'cfg(unix)'.dependencies]\ne = \"2\"\n\
            [dev-dependencies]\nz = \"1\"\n";
        assert_eq!(
            of(Ecosystem::Cargo, "x-1.0.0/Cargo.toml", text),
            [
                row("a", None, false),
                row("d", None, true),
                row("e", None, false),
                row("real", Some("1.2.3"), false)
            ]
        );
    }

    #[test]
    fn what_is_no_metadata_declares_nothing() {
        for (ecosystem, path) in [
            (Ecosystem::Npm, "package/package.json"),
            (Ecosystem::Cargo, "x/Cargo.toml"),
            (Ecosystem::Pypi, "x/PKG-INFO"),
            (Ecosystem::Debian, "control/control"),
        ] {
            for text in ["", "[", "{\"dependencies\": 7}", "\u{0}", "dependencies = 7"] {
                assert_eq!(of(ecosystem, path, text), [], "{path} {text}");
            }
        }
    }
}
