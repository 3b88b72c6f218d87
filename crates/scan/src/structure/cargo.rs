//! Crates: `Cargo.toml`, build scripts and procedural macros.

use super::contents::Contents;
use super::{Declared, Expected, Notes};
use countersign_core::Severity;
use toml::{Table, Value};

pub(super) fn examine(
    expected: Option<&Expected>,
    contents: &Contents,
    notes: &mut Notes,
) -> Option<Declared> {
    root(expected, contents, notes);
    let Some((top, file)) = contents.in_top_directory("Cargo.toml").next_back() else {
        let title = "no `Cargo.toml` in the crate's directory".to_owned();
        notes.structure("metadata-missing", Severity::High, title, None);
        return None;
    };
    let table = std::str::from_utf8(&file.content).ok().and_then(|t| t.parse::<Table>().ok());
    let Some(table) = table else {
        let title = "`Cargo.toml` is not valid TOML".to_owned();
        notes.structure("metadata-malformed", Severity::High, title, Some(&file.path));
        return None;
    };
    // Very old crates name the table `project`.
    let package = table.get("package").or_else(|| table.get("project")).and_then(Value::as_table);
    hooks(&table, package, top, contents, notes);
    let text = |key| package.and_then(|p| p.get(key)).and_then(Value::as_str).map(str::to_owned);
    match (text("name"), text("version")) {
        (Some(name), Some(version)) => Some(Declared { name, version }),
        _ => {
            let title = "`Cargo.toml` has no package name or no version".to_owned();
            notes.structure("metadata-malformed", Severity::High, title, Some(&file.path));
            None
        }
    }
}

/// cargo unpacks a crate only when all of it lies in `name-version/`.
fn root(expected: Option<&Expected>, contents: &Contents, notes: &mut Notes) {
    let Some(expected) = expected else { return };
    let want = format!("{}-{}", expected.name, expected.version);
    if let Some(other) = contents.roots.iter().find(|r| **r != want) {
        let title = format!("`{other}` lies outside the crate's directory `{want}`");
        notes.structure("root-mismatch", Severity::High, title, None);
    }
}

fn hooks(
    table: &Table,
    package: Option<&Table>,
    top: &str,
    contents: &Contents,
    notes: &mut Notes,
) {
    let scripts: Vec<String> = match package.and_then(|p| p.get("build")) {
        Some(Value::Boolean(false)) => Vec::new(),
        Some(Value::String(script)) => vec![script.clone()],
        Some(Value::Array(scripts)) => {
            scripts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ if contents.has(&format!("{top}/build.rs")) => vec!["build.rs".to_owned()],
        _ => Vec::new(),
    };
    for script in scripts {
        let title = format!("cargo runs the build script `{script}`");
        notes.hook("build-script", "build.rs", title, Some(&format!("{top}/{script}")));
    }
    let lib = table.get("lib").and_then(Value::as_table);
    let is_true = |key| lib.and_then(|l| l.get(key)).and_then(Value::as_bool) == Some(true);
    let crate_types = lib.and_then(|l| l.get("crate-type").or_else(|| l.get("crate_type")));
    let by_type = crate_types
        .and_then(Value::as_array)
        .is_some_and(|types| types.iter().any(|t| t.as_str() == Some("proc-macro")));
    if is_true("proc-macro") || is_true("proc_macro") || by_type {
        let title = "a procedural macro: it runs in the compiler".to_owned();
        notes.hook("proc-macro", "proc-macro", title, None);
    }
}
