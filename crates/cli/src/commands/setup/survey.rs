//! Which clients go through the gate, and what still goes round it: for `countersign doctor`.

use super::gateway::Home;
use super::{APT_FILE, apply, block, shims};
use crate::clients::probe;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// One thing that was seen.
pub struct Seen {
    /// `gate` or `round`.
    pub area: &'static str,
    /// The client.
    pub name: String,
    /// Whether it goes through the gate; `None` for what is only worth knowing.
    pub ok: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// Variables that lead a client elsewhere than its configuration does.
const VARIABLES: [(&str, &str); 14] = [
    ("pip", "PIP_INDEX_URL"),
    ("pip", "PIP_EXTRA_INDEX_URL"),
    ("pip", "PIP_FIND_LINKS"),
    ("pip", "PIP_CONFIG_FILE"),
    ("uv", "UV_DEFAULT_INDEX"),
    ("uv", "UV_INDEX"),
    ("uv", "UV_INDEX_URL"),
    ("uv", "UV_EXTRA_INDEX_URL"),
    ("uv", "UV_FIND_LINKS"),
    ("npm", "npm_config_registry"),
    ("npm", "NPM_CONFIG_REGISTRY"),
    ("yarn", "YARN_NPM_REGISTRY_SERVER"),
    ("bun", "BUN_CONFIG_REGISTRY"),
    ("cargo", "CARGO_SOURCE_CRATES_IO_REPLACE_WITH"),
];

/// Package managers that the gate does not know.
const UNKNOWN: [(&str, &str); 9] = [
    ("conda", "conda packages"),
    ("mamba", "conda packages"),
    ("pixi", "conda packages"),
    ("pipenv", "it starts pip by itself"),
    ("pdm", "Python packages"),
    ("hatch", "Python packages"),
    ("gem", "Ruby's packages"),
    ("go", "Go's modules"),
    ("deno", "npm's packages and modules by address"),
];

/// Looks at programs, configuration, environment and the current folder.
pub fn survey(state: &Path) -> Vec<Seen> {
    let mut out = Vec::new();
    let Some(home) = Home::from_env() else { return out };
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let folder = state.join("shims");
    let led = led_clients(&home);
    for name in shims::names() {
        // Of what is not installed nobody needs to know that it would be gated.
        if probe::which(OsStr::new(name)).is_none() {
            continue;
        }
        let Some(first) = probe::first_on_path(OsStr::new(name)) else { continue };
        let shimmed = probe::is_shim(&first);
        let configured = led.iter().find(|(c, _)| *c == name).map(|(_, f)| f);
        let (ok, detail) = match (shimmed, configured) {
            (true, _) => (Some(true), "its shim comes first in the path".to_owned()),
            (false, Some(file)) => (Some(true), format!("{} names the gateway", file.display())),
            (false, None) if folder.join(name).is_file() => (
                None,
                format!(
                    "goes round the gate: {} comes before its shim in the path",
                    first.display()
                ),
            ),
            (false, None) => (
                None,
                format!(
                    "{} goes round the gate unless `countersign run --` is typed; `countersign setup` changes that",
                    first.display()
                ),
            ),
        };
        out.push(Seen { area: "gate", name: name.to_owned(), ok, detail });
    }
    let mut round = |name: &str, detail: String| {
        out.push(Seen { area: "round", name: name.to_owned(), ok: None, detail });
    };
    for (client, variable) in VARIABLES {
        // What setup itself has the shells set leads to the gateway.
        let own =
            |v: &OsStr| variable == "PIP_INDEX_URL" && v.to_string_lossy().contains("://token:");
        if std::env::var_os(variable).is_some_and(|v| !v.is_empty() && !own(&v)) {
            round(
                client,
                format!(
                    "the environment's `{variable}` comes before a gateway in the configuration; a shim follows it"
                ),
            );
        }
    }
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV") {
        let pip = Path::new(&environment).join("bin/pip");
        if probe::first_on_path(OsStr::new("pip")).is_some_and(|p| p == pip) {
            round(
                "pip",
                format!("the active environment's {} comes first in the path", pip.display()),
            );
        }
    }
    for (program, what) in UNKNOWN {
        if let Some(path) = probe::which(OsStr::new(program)) {
            round(program, format!("{} is not gated: {what}", path.display()));
        }
    }
    if let Ok(here) = std::env::current_dir() {
        for (client, detail) in project(&here, &home) {
            round(client, detail);
        }
    }
    out
}

/// Clients whose own configuration holds a block of setup's.
fn led_clients(home: &Home) -> Vec<(&'static str, PathBuf)> {
    let config = &home.config;
    let all = [
        ("pip", config.join("pip/pip.conf")),
        ("pip3", config.join("pip/pip.conf")),
        ("uv", config.join("uv/uv.toml")),
        ("uvx", config.join("uv/uv.toml")),
        ("pipx", config.join("pip/pip.conf")),
        ("npm", home.npmrc.clone()),
        ("npx", home.npmrc.clone()),
        ("pnpm", home.npmrc.clone()),
        ("yarn", home.home.join(".yarnrc.yml")),
        ("bun", home.home.join(".bunfig.toml")),
        ("cargo", home.cargo.join("config.toml")),
        ("cargo", home.cargo.join("config")),
        ("apt", Path::new("/etc").join(APT_FILE)),
        ("apt-get", Path::new("/etc").join(APT_FILE)),
    ];
    let named = |f: &PathBuf| {
        let text = apply::read(f).ok().flatten();
        text.is_some_and(|t| block::is_in(&t) || t.starts_with("// Written by `countersign"))
    };
    all.into_iter().filter(|(_, f)| named(f)).collect()
}

/// Largest file of a project that is looked into, in bytes.
const MAX_LOOK: u64 = 4 << 20;

fn small(path: &Path) -> Option<String> {
    let is_small = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_LOOK);
    is_small.then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// Lines of the current folder's files that lead a client elsewhere.
fn project(here: &Path, home: &Home) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let mut look = |client, file: PathBuf, found: &dyn Fn(&str) -> bool| {
        let Some(text) = small(&file) else { return };
        for (i, _) in text.lines().enumerate().filter(|(_, l)| found(l.trim_start())) {
            out.push((client, format!("{}:{} names a registry of its own", file.display(), i + 1)));
        }
    };
    let starts = |words: &'static [&'static str]| {
        move |line: &str| words.iter().any(|w| line.starts_with(w))
    };
    for entry in std::fs::read_dir(here).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("requirements") && (name.ends_with(".txt") || name.ends_with(".in")) {
            let options: &[&str] =
                &["-i ", "--index-url", "--extra-index-url", "-f ", "--find-links"];
            look("pip", entry.path(), &starts(options));
        }
    }
    if home.npmrc != here.join(".npmrc") {
        let registry = |l: &str| {
            l.split('=').next().is_some_and(|k| {
                let key = k.trim();
                key == "registry" || key.ends_with(":registry")
            })
        };
        look("npm", here.join(".npmrc"), &registry);
    }
    look("yarn", here.join(".yarnrc.yml"), &starts(&["npmRegistryServer"]));
    look("yarn", here.join(".yarnrc"), &starts(&["registry "]));
    look(
        "uv",
        here.join("uv.toml"),
        &starts(&["[[index]]", "index-url", "extra-index-url", "find-links"]),
    );
    look("uv", here.join("pyproject.toml"), &starts(&["[[tool.uv.index]]"]));
    look("poetry", here.join("pyproject.toml"), &starts(&["[[tool.poetry.source]]"]));
    look("bun", here.join("bunfig.toml"), &starts(&["registry"]));
    let sources = starts(&["[source.", "replace-with", "[registries."]);
    for file in ["config.toml", "config"].map(|n| here.join(".cargo").join(n)) {
        if file.parent() != Some(home.cargo.as_path()) {
            look("cargo", file, &sources);
        }
    }
    out
}
