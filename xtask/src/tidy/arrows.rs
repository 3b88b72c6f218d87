//! Which crate may depend on which: the table of rooms, and the dependencies that one room keeps.

use super::purity::PURE;
use super::{File, Finding, Tree};
use toml::{Table, Value};

/// The crates of the workspace that each crate may use. A crate that is not here may use none
/// and must be added with its reason.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("ecosystem", &["core"]),
    ("ledger", &["core"]),
    ("evidence", &["core", "ledger"]),
    ("scan", &["core", "ecosystem"]),
    ("policy", &["core"]),
    ("store", &["core", "ledger"]),
    // A room of its own because a token's module is foreign code inside the process.
    ("signer", &[]),
    ("sandbox", &["core"]),
    (
        "engine",
        &[
            "core",
            "ecosystem",
            "ledger",
            "evidence",
            "scan",
            "policy",
            "store",
            "signer",
            "sandbox",
        ],
    ),
    ("gateway", &["core", "engine"]),
    // Deviation from the plan: the command reads lock files and requirements to see which side
    // doors a client would use, and their parsers are the ecosystem's.
    ("cli", &["core", "engine", "gateway", "ecosystem"]),
    ("xtask", &[]),
    // The pure crates, and what the jail's sinkhole reads.
    ("fuzz", &["core", "ecosystem", "ledger", "evidence", "scan", "policy", "sandbox"]),
];

/// Dependencies that only some crates may have: a name, or its beginning followed by `*`.
const EXCLUSIVE: &[(&str, &[&str])] = &[
    ("cedar-*", &["policy"]),
    ("sqlx", &["store"]),
    ("sqlx-*", &["store"]),
    ("rusqlite", &["store"]),
    ("libsqlite3-sys", &["store"]),
    ("reqwest", &["engine"]),
    ("hyper", &["gateway"]),
    ("hyper-*", &["gateway"]),
    ("axum", &["gateway"]),
    ("axum-*", &["gateway"]),
    ("cryptoki", &["signer"]),
    ("cryptoki-*", &["signer"]),
    ("pkcs5", &["signer"]),
    ("landlock", &["sandbox"]),
    ("nix", &["sandbox"]),
    ("seccompiler", &["sandbox"]),
    ("sequoia-*", &["evidence"]),
    ("sigstore", &["evidence"]),
    ("sigstore-*", &["evidence"]),
];

/// Who may have such a dependency besides, for tests alone: they mint archives' keys and signed
/// lists of their own.
const MINTERS: &[(&str, &[&str])] = &[("sequoia-*", &["cli", "engine", "fuzz"])];

/// Dependencies that reach outside; a pure crate has them in tests at most.
const OUTSIDE: &[&str] = &[
    "tokio",
    "tokio-*",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "reqwest",
    "ureq",
    "hyper",
    "hyper-*",
    "rustix",
    "libc",
    "nix",
    "tempfile",
    "memmap2",
    "walkdir",
    "dirs",
];

const ANY_KIND: [&str; 3] = ["dependencies", TEST_KIND, "build-dependencies"];
const SHIPPED_KINDS: [&str; 2] = ["dependencies", "build-dependencies"];
const TEST_KIND: &str = "dev-dependencies";

/// A dependency of a crate.
struct Dependency<'t> {
    /// The name of the crate or package, whatever it is called in the manifest.
    name: String,
    krate: &'t str,
    /// Whether only tests see it.
    for_tests: bool,
    file: &'t File,
    line: usize,
}

/// A crate of the workspace may only use the crates that the table allows it.
pub(super) fn workspace_crates(tree: &Tree) -> Vec<Finding> {
    let mut out = Vec::new();
    for (krate, file) in manifests(tree) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == krate) else {
            let what = format!("the crate `{krate}` is not in the table of rooms");
            let remedy = "add it to `ARROWS` in xtask/src/tidy/arrows.rs and to ARCHITECTURE.md, with its reason";
            out.push(Finding::new(file, 0, "arrows", what, remedy));
            continue;
        };
        for dependency in dependencies(tree, krate, file, &ANY_KIND) {
            let Some(used) = dependency.name.strip_prefix("countersign-") else { continue };
            if !allowed.contains(&used) {
                let what = format!("`{krate}` depends on `{used}`");
                let remedy = match allowed {
                    [] => format!("`{krate}` may use no crate of the workspace: pass values in"),
                    some => format!(
                        "`{krate}` may only use {}: pass values in, or move the code",
                        some.join(", ")
                    ),
                };
                out.push(Finding::new(file, dependency.line, "arrows", what, remedy));
            }
        }
    }
    out
}

/// Dependencies that isolate a danger or a format stay in the room that was built for them.
pub(super) fn exclusive_crates(tree: &Tree) -> Vec<Finding> {
    all_dependencies(tree, &ANY_KIND)
        .into_iter()
        .filter_map(|d| {
            let (_, owners) = EXCLUSIVE.iter().find(|(pattern, _)| matches(pattern, &d.name))?;
            let minters = MINTERS.iter().filter(|(pattern, _)| matches(pattern, &d.name));
            let mints = d.for_tests && minters.into_iter().any(|(_, who)| who.contains(&d.krate));
            if owners.contains(&d.krate) || mints {
                return None;
            }
            let what = format!("`{}` depends on `{}`", d.krate, d.name);
            let owner = owners.first().copied().unwrap_or_default();
            let remedy = format!("only `{owner}` knows it: ask that crate instead");
            Some(Finding::new(d.file, d.line, "one-room", what, remedy))
        })
        .collect()
}

/// A pure crate has no dependency, outside tests, that is a runtime or reaches the system.
pub(super) fn pure_dependencies(tree: &Tree) -> Vec<Finding> {
    all_dependencies(tree, &SHIPPED_KINDS)
        .into_iter()
        .filter(|d| PURE.contains(&d.krate))
        .filter(|d| OUTSIDE.iter().any(|pattern| matches(pattern, &d.name)))
        .map(|d| {
            let what = format!("the pure crate `{}` depends on `{}`", d.krate, d.name);
            let remedy = "take bytes and times as arguments; at most make it a dev-dependency";
            Finding::new(d.file, d.line, "pure-crate", what, remedy)
        })
        .collect()
}

/// Every crate of the workspace takes over the workspace's lints.
pub(super) fn lints(tree: &Tree) -> Vec<Finding> {
    manifests(tree)
        .filter(|(krate, _)| *krate != "fuzz")
        .filter(|(_, file)| {
            let manifest = parse(file);
            let lints = manifest.get("lints").and_then(|l| l.get("workspace"));
            lints.and_then(Value::as_bool) != Some(true)
        })
        .map(|(krate, file)| {
            let what = format!("`{krate}` does not take over the workspace's lints");
            Finding::new(file, 0, "lints", what, "add `[lints]` with `workspace = true`")
        })
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// The manifests of the crates, with the crates' short names.
fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, &File)> {
    tree.files().iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/Cargo.toml")?;
        let name = folder.strip_prefix("crates/").unwrap_or(folder);
        Some((name, file))
    })
}

fn parse(file: &File) -> Table {
    // Cargo itself refuses a manifest that is no TOML, so none reaches a build.
    file.text.parse().unwrap_or_default()
}

fn all_dependencies<'t>(tree: &'t Tree, kinds: &[&str]) -> Vec<Dependency<'t>> {
    manifests(tree).flat_map(|(krate, file)| dependencies(tree, krate, file, kinds)).collect()
}

fn dependencies<'t>(
    tree: &Tree,
    krate: &'t str,
    file: &'t File,
    kinds: &[&str],
) -> Vec<Dependency<'t>> {
    let manifest = parse(file);
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = targets.into_iter().flat_map(|t| t.values()).filter_map(Value::as_table);
    let workspace = workspace_dependencies(tree);
    let mut out = Vec::new();
    for table in std::iter::once(&manifest).chain(tables) {
        for kind in kinds {
            let for_tests = *kind == TEST_KIND;
            let Some(listed) = table.get(*kind).and_then(Value::as_table) else { continue };
            for (key, value) in listed {
                let inherited = value.get("workspace").is_some();
                let source = if inherited { workspace.get(key) } else { Some(value) };
                let package = source.and_then(|v| v.get("package")).and_then(Value::as_str);
                let line = file.line_of(|l| declares(l, key));
                let name = package.unwrap_or(key).to_owned();
                out.push(Dependency { name, krate, for_tests, file, line });
            }
        }
    }
    out
}

fn workspace_dependencies(tree: &Tree) -> Table {
    let root = tree.file("Cargo.toml").map(parse).unwrap_or_default();
    let listed = root.get("workspace").and_then(|w| w.get("dependencies"));
    listed.and_then(Value::as_table).cloned().unwrap_or_default()
}

fn declares(line: &str, key: &str) -> bool {
    let line = line.trim_start().trim_start_matches('"');
    let rest = line.strip_prefix(key).or_else(|| line.strip_suffix(']')?.strip_suffix(key));
    rest.is_some_and(|r| r.is_empty() || r.ends_with('.') || r.starts_with(['.', ' ', '=', '"']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace.dependencies]\n\
        countersign-core = { path = \"crates/core\" }\n\
        sql = { version = \"1\", package = \"sqlx\" }\n";

    fn tree(path: &str, manifest: &str) -> Tree {
        Tree::of(&[("Cargo.toml", ROOT), (path, manifest)])
    }

    #[test]
    fn forbidden_arrows_are_found() {
        for (krate, bad) in [
            ("core", "[dependencies]\ncountersign-ledger.workspace = true\n"),
            ("core", "[dev-dependencies]\ncountersign-ledger.workspace = true\n"),
            ("policy", "[dependencies]\ncountersign-scan = { path = \"../scan\" }\n"),
            ("gateway", "[dependencies.countersign-store]\npath = \"../store\"\n"),
            ("store", "[target.'cfg(unix)'.dependencies]\ncountersign-engine.workspace = true\n"),
            (
                "ledger",
                "[dependencies]\nx = { path = \"../scan\", package = \"countersign-scan\" }\n",
            ),
            ("cli", "[build-dependencies]\ncountersign-store.workspace = true\n"),
        ] {
            let found = workspace_crates(&tree(&format!("crates/{krate}/Cargo.toml"), bad));
            assert_eq!(found.len(), 1, "{krate}: {bad}");
            assert!(found[0].line > 0, "{krate}: {bad}");
        }
        let found = workspace_crates(&tree("crates/attic/Cargo.toml", ""));
        assert!(found[0].what.contains("`attic` is not in the table"), "{found:?}");
    }

    #[test]
    fn allowed_arrows_are_not() {
        for (krate, good) in [
            ("cli", "[dependencies]\ncountersign-ecosystem.workspace = true\n"),
            ("engine", "[dependencies]\ncountersign-store.workspace = true\ntokio = \"1\"\n"),
            ("evidence", "[dependencies]\ncountersign-ledger.workspace = true\n"),
        ] {
            assert_eq!(workspace_crates(&tree(&format!("crates/{krate}/Cargo.toml"), good)), []);
        }
    }

    #[test]
    fn a_dependency_outside_its_room_is_found() {
        for (krate, bad) in [
            ("engine", "[dependencies]\ncedar-policy = \"4\"\n"),
            ("engine", "[dependencies]\nsql.workspace = true\n"),
            ("engine", "[dev-dependencies]\nhyper-util = \"0.1\"\n"),
            ("gateway", "[dependencies]\nreqwest = \"0.13\"\n"),
            ("cli", "[dependencies]\nrusqlite = \"0.40\"\n"),
            ("engine", "[dependencies]\naxum = \"0.8\"\n"),
            ("ledger", "[dev-dependencies]\nsequoia-openpgp = \"2\"\n"),
            ("cli", "[dependencies]\nsequoia-openpgp = \"2\"\n"),
            ("engine", "[dependencies]\nsigstore-verify = \"0.15\"\n"),
        ] {
            let found = exclusive_crates(&tree(&format!("crates/{krate}/Cargo.toml"), bad));
            assert_eq!((found.len(), found.first().map(|f| f.line)), (1, Some(2)), "{bad}");
        }
        let minted = "[dev-dependencies]\nsequoia-openpgp = \"2\"\n";
        assert_eq!(exclusive_crates(&tree("crates/cli/Cargo.toml", minted)), []);
        let own = "[dependencies]\nhyper = \"1\"\nhttp = \"1\"\n";
        assert_eq!(exclusive_crates(&tree("crates/gateway/Cargo.toml", own)), []);
        assert_eq!(
            exclusive_crates(&tree("crates/engine/Cargo.toml", "[dependencies]\nhttp = \"1\"\n")),
            []
        );
    }

    #[test]
    fn a_runtime_in_a_pure_crate_is_found_unless_it_is_for_tests() {
        let bad = "[dependencies]\ntokio.workspace = true\n";
        let found = pure_dependencies(&tree("crates/scan/Cargo.toml", bad));
        assert_eq!((found.len(), found[0].line), (1, 2));
        for (krate, good) in
            [("scan", "[dev-dependencies]\ntempfile = \"3\"\ntokio = \"1\"\n"), ("engine", bad)]
        {
            assert_eq!(pure_dependencies(&tree(&format!("crates/{krate}/Cargo.toml"), good)), []);
        }
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        for bad in ["", "[lints]\nworkspace = false\n", "[lints.rust]\nunsafe_code = \"deny\"\n"] {
            assert_eq!(lints(&tree("crates/core/Cargo.toml", bad)).len(), 1, "{bad}");
        }
        assert_eq!(lints(&tree("crates/core/Cargo.toml", "[lints]\nworkspace = true\n")), []);
    }
}
