//! The pure crates know no clock, no file system, no network, no environment, no runtime.

use super::lex::{Token, tokens};
use super::syntax::{NamedPath, mod_declarations, paths, test_mask};
use super::{File, Finding, Tree};
use std::collections::{BTreeMap, BTreeSet};

const RULE: &str = "pure-crate";

/// Crates in which time, limits and bytes are arguments.
pub(super) const PURE: [&str; 6] = ["core", "ecosystem", "ledger", "evidence", "scan", "policy"];

/// Beginnings of paths that a pure crate does not name, and what to do instead.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (
        &["std", "fs"],
        "take bytes or a reader as an argument; files are the engine's and the store's",
    ),
    (&["std", "env"], "take the value as an argument; the environment is the command's to read"),
    (&["std", "net"], "take bytes as an argument; the network is the engine's"),
    (&["std", "process"], "return an error; processes are the command's"),
    (&["std", "thread", "sleep"], "take the time as an argument; waiting is the engine's"),
    (&["tokio"], "keep the crate without a runtime; asynchronous work is the engine's"),
];

/// Types whose constructors read the clock.
const CLOCKS: &[&str] =
    &["SystemTime", "Instant", "Timestamp", "Zoned", "Utc", "Local", "OffsetDateTime"];

const CLOCK_REMEDY: &str = "take the time as an argument; the clock is the engine's";

/// Non-test code of the pure crates must not name what reaches outside.
pub(super) fn pure_crates(tree: &Tree) -> Vec<Finding> {
    PURE.iter()
        .flat_map(|name| {
            let sources = production_files(tree, &format!("crates/{name}/"));
            sources.into_iter().flat_map(move |file| check_file(name, file))
        })
        .collect()
}

fn check_file(name: &str, file: &File) -> Vec<Finding> {
    let all = tokens(&file.text);
    let mask = test_mask(&all);
    let production: Vec<Token<'_>> =
        all.into_iter().zip(mask).filter(|(_, test)| !test).map(|(t, _)| t).collect();
    let paths = paths(&production);
    let aliases: BTreeMap<&str, &[&str]> =
        paths.iter().filter_map(|p| Some((p.alias?, p.segments.as_slice()))).collect();
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for path in paths.iter().filter(|p| !p.is_macro) {
        let segments = resolve(path, &aliases);
        let Some(remedy) = offends(&segments) else { continue };
        let what = format!("`{}` in the pure crate `{name}`", segments.join("::"));
        if seen.insert((path.line, remedy)) {
            out.push(Finding::new(file, path.line, RULE, what, remedy));
        }
    }
    out
}

/// The path with its first segment replaced by what the source imports under that name.
fn resolve<'t>(path: &NamedPath<'t>, aliases: &BTreeMap<&str, &[&'t str]>) -> Vec<&'t str> {
    match path.segments.split_first() {
        Some((first, rest)) if path.alias.is_none() => match aliases.get(first) {
            Some(known) => known.iter().chain(rest).copied().collect(),
            None => path.segments.clone(),
        },
        _ => path.segments.clone(),
    }
}

fn offends(segments: &[&str]) -> Option<&'static str> {
    for (beginning, remedy) in FORBIDDEN {
        let all_of_std = *segments == ["std", "*"];
        // A single word is a local name, unless it is a crate that is forbidden as a whole.
        let named =
            segments.starts_with(beginning) && (segments.len() > 1 || *segments != ["tokio"]);
        if named || all_of_std {
            return Some(remedy);
        }
    }
    let reads_clock = match segments {
        [.., ty, function] => CLOCKS.contains(ty) && function.starts_with("now"),
        _ => false,
    };
    let opens_file = matches!(segments, [.., "File", "open" | "create" | "create_new" | "options"]);
    match (reads_clock, opens_file) {
        (true, _) => Some(CLOCK_REMEDY),
        (_, true) => FORBIDDEN.first().map(|(_, remedy)| *remedy),
        _ => None,
    }
}

/// The sources below `root/src` that are compiled outside tests, or that nothing declares.
fn production_files<'t>(tree: &'t Tree, root: &str) -> Vec<&'t File> {
    let below = format!("{root}src/");
    let files: Vec<&File> = tree.rust().filter(|f| f.path.starts_with(&below)).collect();
    let (mut production, mut test) = (BTreeSet::new(), BTreeSet::new());
    let is_root = |f: &&&File| {
        let rest = f.path.strip_prefix(&below).unwrap_or_default();
        rest == "lib.rs" || rest == "main.rs" || rest.starts_with("bin/")
    };
    let mut open: Vec<(&File, bool)> = files.iter().filter(is_root).map(|f| (*f, false)).collect();
    while let Some((file, in_test)) = open.pop() {
        let seen = if in_test { &mut test } else { &mut production };
        if !seen.insert(file.path.as_str()) {
            continue;
        }
        for declared in mod_declarations(&tokens(&file.text)) {
            let candidates = declared_files(file, &declared.within, &declared.name, &declared.path);
            let found = files.iter().find(|f| candidates.contains(&f.path));
            open.extend(found.map(|f| (*f, in_test || declared.test)));
        }
    }
    files
        .into_iter()
        .filter(|f| production.contains(f.path.as_str()) || !test.contains(f.path.as_str()))
        .collect()
}

/// Where a module of `file` may be kept (The Rust Reference, "Module Source Filenames").
fn declared_files(
    file: &File,
    within: &[String],
    name: &str,
    path: &Option<String>,
) -> Vec<String> {
    let folder = file.path.strip_suffix(file.name()).unwrap_or_default();
    let owns_folder = matches!(file.name(), "lib.rs" | "main.rs" | "mod.rs");
    let stem = file.name().trim_end_matches(".rs");
    let base = if owns_folder { folder.to_owned() } else { format!("{folder}{stem}/") };
    let inline: String = within.iter().map(|m| format!("{m}/")).collect();
    match path {
        Some(path) if within.is_empty() => vec![format!("{folder}{path}")],
        Some(path) => vec![format!("{base}{inline}{path}")],
        None => {
            vec![format!("{base}{inline}{name}.rs"), format!("{base}{inline}{name}/mod.rs")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(lib: &str) -> Vec<(usize, String)> {
        let tree = Tree::of(&[("crates/scan/src/lib.rs", lib)]);
        pure_crates(&tree).into_iter().map(|f| (f.line, f.what)).collect()
    }

    #[test]
    fn whatever_reaches_outside_is_found() {
        for bad in [
            "use std::fs;",
            "use std::{io, fs::File};",
            "use ::std::net::TcpStream;",
            "use std::*;",
            "fn f() { std::env::var(\"X\"); }",
            "fn f() { std::process::exit(1) }",
            "fn f() { std::thread::sleep(d) }",
            "use std::thread::sleep;",
            "use tokio::sync::Mutex;",
            "fn f() { tokio::spawn(x); }",
            "use std::time::Instant; fn f() { Instant::now(); }",
            "fn f() { std::time::SystemTime::now(); }",
            "fn f() { jiff::Timestamp::now(); }",
            "fn f() { Zoned::now(); }",
            "fn f(x: T) { x.map_or_else(Instant::now, y) }",
            "use std::time::Instant as Clock; fn f() { Clock::now(); }",
            "use std as s; fn f() { s::fs::read(x); }",
            "fn f() { File::open(x); }",
            "#[cfg(not(test))] use std::fs;",
            "#[cfg(test)] mod t { } use std::fs;",
        ] {
            assert_eq!(findings(bad).len(), 1, "{bad}: {:?}", findings(bad));
        }
    }

    #[test]
    fn what_stays_inside_is_not() {
        for good in [
            "use std::io::{self, Read};",
            "const D: &str = env!(\"CARGO_PKG_VERSION\"); const E: &str = std::env!(\"X\");",
            "// std::fs\n/// `std::fs::read`\nconst X: &str = \"std::fs\";",
            "use crate::time::Timestamp; fn f(now: Timestamp) { g(Timestamp(now.0)) }",
            "#[cfg(test)] mod tests { use std::fs; }",
            "use std::time::{Duration, SystemTime};",
            "fn f(env: u8, fs: u8, net: u8, process: u8, tokio: u8) { env + fs + tokio }",
            "mod env; use crate::env::X;",
        ] {
            assert_eq!(findings(good), [], "{good}");
        }
    }

    #[test]
    fn the_place_is_named() {
        let found = findings("//! Doc.\n\nuse std::{\n    io,\n    fs,\n};\n");
        assert_eq!(found, [(5, "`std::fs` in the pure crate `scan`".to_owned())]);
    }

    #[test]
    fn files_of_tests_are_those_that_only_tests_declare() {
        let bad = "use std::fs;";
        let tree = Tree::of(&[
            ("crates/scan/src/lib.rs", "mod a; #[cfg(test)] mod tests; mod b { mod c; }"),
            ("crates/scan/src/a.rs", "#[cfg(test)] #[path = \"a_tests.rs\"] mod tests; mod d;"),
            ("crates/scan/src/a/d.rs", bad),
            ("crates/scan/src/a_tests.rs", bad),
            ("crates/scan/src/tests/mod.rs", "mod deep; use std::fs;"),
            ("crates/scan/src/tests/deep.rs", bad),
            ("crates/scan/src/b/c.rs", bad),
            ("crates/scan/src/stray_tests.rs", bad),
            ("crates/scan/tests/whole.rs", bad),
            ("crates/engine/src/lib.rs", bad),
        ]);
        let files: Vec<String> = pure_crates(&tree).into_iter().map(|f| f.file).collect();
        assert_eq!(
            files,
            ["crates/scan/src/a/d.rs", "crates/scan/src/b/c.rs", "crates/scan/src/stray_tests.rs"]
        );
    }

    #[test]
    fn a_module_called_tests_that_is_compiled_always_is_production() {
        let tree = Tree::of(&[
            ("crates/core/src/lib.rs", "mod tests;"),
            ("crates/core/src/tests.rs", "use std::fs;"),
        ]);
        assert_eq!(pure_crates(&tree).len(), 1);
    }
}
