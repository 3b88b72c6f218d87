//! `package-lock.json`, `npm-shrinkwrap.json` and the hidden lock file in `node_modules`.

use super::integrity::parse_integrity;
use super::name::may_be_listed;
use crate::error::{IndexError, IndexLimits};
use crate::json::{parse_object, string};
use countersign_core::ExpectedDigest;
use serde_json::{Map, Value};

const WHAT: &str = "the npm lock file";

/// One package of a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackage {
    /// Where it is installed, relative to the project: `node_modules/a/node_modules/b`.
    pub path: String,
    /// The package's own name, which an alias hides in the path.
    pub name: String,
    /// The version, as written; `None` for links and folders without one. Lock files of version 1
    /// write a URL here for what is not from a registry.
    pub version: Option<String>,
    /// Where it was resolved to, as written; lock files may leave out registry addresses.
    pub resolved: Option<String>,
    /// The digests of its tarball.
    pub integrity: Vec<ExpectedDigest>,
    /// Whether it is a link to a folder of this machine.
    pub link: bool,
    /// Whether it comes inside its parent's tarball.
    pub in_bundle: bool,
    /// Whether its installation may fail.
    pub optional: bool,
    /// Whether only development needs it.
    pub dev: bool,
}

impl LockedPackage {
    /// Whether it is a link or a folder of the project (a workspace), not something fetched.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.link || !self.path.split('/').any(|segment| segment == "node_modules")
    }
}

/// Reads a lock file of version 1, 2 or 3. Of version 2, which holds everything twice, the part
/// that npm 7 and later use is read.
///
/// # Errors
/// When it is over the default limits, malformed, or of an unknown version.
pub fn parse_package_lock(bytes: &[u8]) -> Result<Vec<LockedPackage>, IndexError> {
    let limits = IndexLimits::default();
    let top = parse_object(WHAT, bytes, &limits)?;
    let version = top.get("lockfileVersion").and_then(Value::as_u64);
    let packages = match (version, top.get("packages"), top.get("dependencies")) {
        (Some(2 | 3), Some(Value::Object(packages)), _) => read_packages(packages)?,
        (Some(1), _, Some(Value::Object(dependencies))) => {
            let mut out = Vec::new();
            read_dependencies(dependencies, "", &limits, 0, &mut out)?;
            out
        }
        (Some(1), None, None) => Vec::new(),
        (Some(1..=3), ..) => {
            return Err(IndexError::malformed(WHAT, "packages", "it is missing or not an object"));
        }
        _ => {
            return Err(IndexError::malformed(
                WHAT,
                "lockfileVersion",
                "versions 1 to 3 are known",
            ));
        }
    };
    limits.check_entries(WHAT, packages.len())?;
    Ok(packages)
}

fn read_packages(packages: &Map<String, Value>) -> Result<Vec<LockedPackage>, IndexError> {
    packages
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, entry)| {
            let entry = entry
                .as_object()
                .ok_or_else(|| IndexError::malformed(WHAT, path, "it is not an object"))?;
            let name = string(entry, "name").or_else(|| name_in_path(path));
            let mut package = read_entry(path, name.unwrap_or(path), entry);
            // Folders of the project may be named as their owner likes.
            if !package.is_local() && !may_be_listed(&package.name) {
                return Err(IndexError::malformed(WHAT, path, "it has no valid package name"));
            }
            package.in_bundle = flag(entry, "inBundle");
            package.optional |= flag(entry, "devOptional");
            package.dev |= flag(entry, "devOptional");
            Ok(package)
        })
        .collect()
}

/// The package name at the end of an install path.
fn name_in_path(path: &str) -> Option<&str> {
    match path.rsplit_once("node_modules/") {
        Some((_, name)) => Some(name),
        None => path.rsplit('/').next(),
    }
}

/// The nested `dependencies` of version 1. The depth is bounded by the JSON reader.
fn read_dependencies(
    dependencies: &Map<String, Value>,
    parent: &str,
    limits: &IndexLimits,
    depth: usize,
    out: &mut Vec<LockedPackage>,
) -> Result<(), IndexError> {
    if depth > limits.max_depth {
        return Err(IndexError::TooDeep { what: WHAT, limit: limits.max_depth });
    }
    for (key, entry) in dependencies {
        let path = format!("{parent}node_modules/{key}");
        let entry = entry
            .as_object()
            .ok_or_else(|| IndexError::malformed(WHAT, &path, "it is not an object"))?;
        let mut package = read_entry(&path, key, entry);
        let alias = package.version.as_deref().and_then(|v| v.strip_prefix("npm:"));
        if let Some((name, version)) = alias.and_then(|a| a.rsplit_once('@')) {
            let (name, version) = (name.to_owned(), version.to_owned());
            (package.name, package.version) = (name, Some(version));
        }
        if !may_be_listed(&package.name) {
            return Err(IndexError::malformed(WHAT, &path, "it has no valid package name"));
        }
        package.in_bundle = flag(entry, "bundled");
        package.link = package.version.as_deref().is_some_and(|v| v.starts_with("file:"));
        out.push(package);
        limits.check_entries(WHAT, out.len())?;
        if let Some(Value::Object(nested)) = entry.get("dependencies") {
            read_dependencies(nested, &format!("{path}/"), limits, depth + 1, out)?;
        }
    }
    Ok(())
}

fn read_entry(path: &str, name: &str, entry: &Map<String, Value>) -> LockedPackage {
    LockedPackage {
        path: path.to_owned(),
        name: name.to_owned(),
        version: string(entry, "version").map(str::to_owned),
        resolved: string(entry, "resolved").map(str::to_owned),
        integrity: string(entry, "integrity").map(parse_integrity).unwrap_or_default(),
        link: flag(entry, "link"),
        in_bundle: false,
        optional: flag(entry, "optional"),
        dev: flag(entry, "dev"),
    }
}

fn flag(entry: &Map<String, Value>, key: &str) -> bool {
    entry.get(key).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn version_3_is_read() {
        let text = format!(
            r#"{{"lockfileVersion":3,"packages":{{"":{{"name":"me"}},
            "node_modules/a":{{"version":"1.0.0","resolved":"https://registry.example/a.tgz","integrity":"{SHA1}"}},
            "node_modules/a/node_modules/@s/b":{{"version":"2.0.0","dev":true,"inBundle":true}},
            "node_modules/alias":{{"name":"real","version":"3.0.0","devOptional":true}},
            "node_modules/ws":{{"resolved":"packages/ws","link":true}},
            "packages/ws":{{"version":"0.0.0"}}}}}}"#
        );
        let locked = parse_package_lock(text.as_bytes()).unwrap();
        let names: Vec<_> =
            locked.iter().map(|p| (p.name.as_str(), p.version.as_deref(), p.is_local())).collect();
        assert_eq!(
            names,
            [
                ("a", Some("1.0.0"), false),
                ("@s/b", Some("2.0.0"), false),
                ("real", Some("3.0.0"), false),
                ("ws", None, true),
                ("ws", Some("0.0.0"), true),
            ]
        );
        assert_eq!(locked[0].integrity.len(), 1);
        assert_eq!(locked[0].resolved.as_deref(), Some("https://registry.example/a.tgz"));
        assert!(locked[1].dev && locked[1].in_bundle && !locked[1].optional);
        assert!(locked[2].dev && locked[2].optional);
        assert!(locked[3].link);
    }

    #[test]
    fn version_1_is_read() {
        let text = format!(
            r#"{{"lockfileVersion":1,"dependencies":{{
            "a":{{"version":"1.0.0","integrity":"{SHA1}","dependencies":{{
                "@s/b":{{"version":"2.0.0","bundled":true,"optional":true}}}}}},
            "alias":{{"version":"npm:@s/real@3.0.0"}},
            "here":{{"version":"file:here"}}}}}}"#
        );
        let locked = parse_package_lock(text.as_bytes()).unwrap();
        let names: Vec<_> = locked
            .iter()
            .map(|p| (p.path.as_str(), p.name.as_str(), p.version.as_deref()))
            .collect();
        assert_eq!(
            names,
            [
                ("node_modules/a", "a", Some("1.0.0")),
                ("node_modules/a/node_modules/@s/b", "@s/b", Some("2.0.0")),
                ("node_modules/alias", "@s/real", Some("3.0.0")),
                ("node_modules/here", "here", Some("file:here")),
            ]
        );
        assert!(locked[1].in_bundle && locked[1].optional);
        assert!(locked[3].is_local());
    }

    #[test]
    fn version_2_is_read_from_its_packages() {
        let text = r#"{"lockfileVersion":2,"packages":{"node_modules/a":{"version":"1.0.0"}},
            "dependencies":{"b":{"version":"1.0.0"}}}"#;
        let locked = parse_package_lock(text.as_bytes()).unwrap();
        assert_eq!(locked.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn what_is_no_lock_is_an_error() {
        for text in [
            "",
            "{}",
            r#"{"lockfileVersion":4,"packages":{}}"#,
            r#"{"lockfileVersion":3}"#,
            r#"{"lockfileVersion":3,"packages":{"node_modules/a":1}}"#,
            r#"{"lockfileVersion":3,"packages":{"node_modules/../a":{}}}"#,
            r#"{"lockfileVersion":1,"dependencies":{"../a":{}}}"#,
        ] {
            assert!(parse_package_lock(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!(
            r#"{{"lockfileVersion":1,{}{}}}"#,
            r#""dependencies":{"a":{"#.repeat(5000),
            "}}".repeat(5000)
        );
        assert!(matches!(parse_package_lock(deep.as_bytes()), Err(IndexError::TooDeep { .. })));
    }

    #[test]
    fn a_real_lock_file_is_read_whole() {
        let shared = std::env::var("COUNTERSIGN_SHARED")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").to_owned());
        let path = format!("{shared}/bench/npm/package-lock.json");
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: no package-lock.json in the shared folder");
            return;
        };
        let locked = parse_package_lock(&bytes).unwrap();
        assert!(locked.len() > 80, "{}", locked.len());
        assert!(locked.iter().all(|p| p.version.is_some() && !p.integrity.is_empty()));
    }
}
