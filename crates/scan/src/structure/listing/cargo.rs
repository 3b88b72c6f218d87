//! Crates: `Cargo.toml` against the line of the index.
//!
//! cargo resolves by the index and builds by `Cargo.toml`: a dependency or a feature that only one of
//! them has is seen by nobody who looks at the other.

use super::Listing;
use crate::structure::contents::Contents;
use serde_json::Value as Json;
use toml::{Table, Value};

pub(super) fn own(contents: &Contents) -> Option<Listing> {
    let (_, file) = contents.in_top_directory("Cargo.toml").next_back()?;
    let table: Table = std::str::from_utf8(&file.content).ok()?.parse().ok()?;
    let mut out = Listing::default();
    sections(&table, "", &mut out);
    for (target, section) in table.get("target").and_then(Value::as_table).into_iter().flatten() {
        if let Some(section) = section.as_table() {
            sections(section, target, &mut out);
        }
    }
    for (name, needs) in table.get("features").and_then(Value::as_table).into_iter().flatten() {
        let needs = needs.as_array().into_iter().flatten().filter_map(Value::as_str);
        feature(&mut out, name, needs.map(str::to_owned).collect());
    }
    let package = table.get("package").or_else(|| table.get("project"));
    if let Some(links) = package.and_then(|p| p.get("links")).and_then(Value::as_str) {
        out.put("links", "links", links);
    }
    Some(out)
}

/// Dependencies for tests are not looked at: they matter to nobody who depends on the crate.
fn sections(table: &Table, target: &str, out: &mut Listing) {
    for (kind, keys) in [
        ("normal", &["dependencies"][..]),
        ("build", &["build-dependencies", "build_dependencies"]),
    ] {
        let all = keys.iter().filter_map(|k| table.get(*k)).filter_map(Value::as_table).flatten();
        for (name, wanted) in all {
            let text = |key| wanted.get(key).and_then(Value::as_str);
            let flag =
                |keys: [&str; 2]| keys.iter().find_map(|k| wanted.get(*k)).and_then(Value::as_bool);
            let features = wanted.get("features").and_then(Value::as_array).into_iter().flatten();
            let dependency = Dependency {
                name,
                package: text("package").unwrap_or(name),
                wanted: wanted.as_str().or_else(|| text("version")).unwrap_or("*"),
                features: features.filter_map(Value::as_str).map(str::to_owned).collect(),
                optional: flag(["optional", "optional"]).unwrap_or(false),
                default_features: flag(["default-features", "default_features"]).unwrap_or(true),
            };
            dependency.put(kind, target, out);
        }
    }
}

pub(super) fn of_line(line: &Json) -> Option<Listing> {
    let mut out = Listing::default();
    for dep in line.get("deps").and_then(Json::as_array).into_iter().flatten() {
        let text = |key| dep.get(key).and_then(Json::as_str);
        let kind = text("kind").unwrap_or("normal");
        if kind == "dev" {
            continue;
        }
        let name = text("name")?;
        let features = dep.get("features").and_then(Json::as_array).into_iter().flatten();
        let dependency = Dependency {
            name,
            package: text("package").unwrap_or(name),
            wanted: text("req").unwrap_or("*"),
            features: features.filter_map(Json::as_str).map(str::to_owned).collect(),
            optional: dep.get("optional").and_then(Json::as_bool).unwrap_or(false),
            default_features: dep.get("default_features").and_then(Json::as_bool).unwrap_or(true),
        };
        dependency.put(kind, text("target").unwrap_or_default(), &mut out);
    }
    // What older cargos must not see stands apart.
    for key in ["features", "features2"] {
        for (name, needs) in line.get(key).and_then(Json::as_object).into_iter().flatten() {
            let needs = needs.as_array().into_iter().flatten().filter_map(Json::as_str);
            feature(&mut out, name, needs.map(str::to_owned).collect());
        }
    }
    if let Some(links) = line.get("links").and_then(Json::as_str) {
        out.put("links", "links", links);
    }
    Some(out)
}

fn feature(out: &mut Listing, name: &str, mut needs: Vec<String>) {
    needs.sort();
    needs.dedup();
    out.put("features", name, &needs.join(" "));
}

struct Dependency<'a> {
    name: &'a str,
    package: &'a str,
    wanted: &'a str,
    features: Vec<String>,
    optional: bool,
    default_features: bool,
}

impl Dependency<'_> {
    fn put(mut self, kind: &str, target: &str, out: &mut Listing) {
        self.features.retain(|f| !f.is_empty());
        self.features.sort();
        self.features.dedup();
        let wanted = match semver::VersionReq::parse(self.wanted) {
            Ok(wanted) => wanted.to_string(),
            Err(_) => self.wanted.to_owned(),
        };
        let mut value = format!("{} {wanted}", self.package);
        if !self.features.is_empty() {
            value.push_str(&format!(" features {}", self.features.join(" ")));
        }
        if self.optional {
            value.push_str(" optional");
        }
        if !self.default_features {
            value.push_str(" without default features");
        }
        let place = match (kind, target) {
            ("normal", "") => String::new(),
            ("normal", target) => format!("[{}] ", squeezed(target)),
            (kind, "") => format!("{kind} "),
            (kind, target) => format!("{kind} [{}] ", squeezed(target)),
        };
        out.put("dependencies", &format!("{place}{}", self.name), &value);
    }
}

/// A condition without blanks, which the two sides write differently.
fn squeezed(target: &str) -> String {
    target.chars().filter(|c| !c.is_whitespace()).collect()
}
