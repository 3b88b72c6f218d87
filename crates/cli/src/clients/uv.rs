//! uv: its resolved settings name its indexes, its help text the built-in one.

use super::{Asked, Command, Equipment, Gate, Seed, find_upwards, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::pypi;
use countersign_engine::account::{Plan, PythonPlan};
use std::path::{Path, PathBuf};

/// Asks uv.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let program = command.program.first().cloned().unwrap_or_default();
    let settings = settings(command);
    // The proxies that the question itself was asked with are the ones that lead nowhere.
    let own = settings.replace("127.0.0.1:9", "");
    for key in ["http_proxy: Some", "https_proxy: Some", "no_proxy: Some"] {
        if own.contains(key) {
            return Err("uv's own configuration names a proxy, which would lead it past the gate; \
                        set HTTPS_PROXY in the environment instead"
                .to_owned());
        }
    }
    let (indexes, links, has_default) = read_indexes(&settings);
    for address in indexes {
        asked.upstreams.push(Seed { ecosystem: Ecosystem::Pypi, address, keyring: None });
    }
    if !has_default {
        let address = builtin_index(&program, memory)?;
        asked.upstreams.push(Seed { ecosystem: Ecosystem::Pypi, address, keyring: None });
    }
    for link in links {
        let local = !link.starts_with("http");
        let why = "find-links is no index; its files are not offered";
        if local {
            return Err(format!("`--find-links {link}`: {why}; take it out of uv's settings for this run"));
        }
        asked.doors.push((countersign_engine::shown_address(&link), why.to_owned(), false));
    }
    let mut local = Vec::new();
    read_words(command, &mut asked, &mut local);
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    if let Some(text) = find_upwards(&here, "uv.lock").and_then(|p| std::fs::read_to_string(p).ok()) {
        read_lock(&text, &mut asked);
    }
    local.push(here.clone());
    let sites = sites(command, &here);
    asked.installed = countersign_engine::account::installed_python(&sites);
    asked.account = Plan::Python(PythonPlan { sites, downloads: Vec::new(), local });
    Ok(asked)
}

/// The settings that uv itself resolves from arguments, environment and files.
fn settings(command: &Command) -> String {
    let program = command.program.first().cloned().unwrap_or_default();
    std::process::Command::new(&program)
        .args(&command.args)
        .arg("--show-settings")
        .envs(probe::NO_NETWORK)
        .stdin(std::process::Stdio::null())
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default()
}

/// Index addresses, find-links, and whether one of the indexes replaces the built-in default.
fn read_indexes(settings: &str) -> (Vec<String>, Vec<String>, bool) {
    let (mut indexes, mut links) = (Vec::new(), Vec::new());
    let mut has_default = false;
    let mut flat = false;
    let mut inside = false;
    let mut depth = 0usize;
    for line in settings.lines() {
        let text = line.trim();
        if text.starts_with("index_locations:") || text.starts_with("index:") || text.starts_with("indexes:") {
            inside = true;
            depth = line.len() - line.trim_start().len();
            flat = false;
        } else if inside && line.len() - line.trim_start().len() <= depth && text.starts_with(['}', ']']) {
            inside = false;
        }
        if !inside {
            continue;
        }
        if text.starts_with("flat_index:") || text.starts_with("find_links:") {
            flat = true;
        }
        if text == "default: true," {
            has_default = true;
        }
        let given = text.strip_prefix("given: Some(").or_else(|| text.strip_prefix('"').map(|_| text));
        if let Some(rest) = given {
            let value: String = rest.chars().skip_while(|c| *c == '"').take_while(|c| *c != '"').collect();
            if value.contains("://") || value.starts_with(['/', '.']) {
                if flat { links.push(value) } else { indexes.push(value) }
            }
        }
    }
    (indexes, links, has_default)
}

/// uv's built-in default index, in its own words (`uv help pip install`).
fn builtin_index(program: &std::ffi::OsStr, memory: &mut dyn probe::Memory) -> Result<String, String> {
    let path = probe::which(program).ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let key = format!("uv-default-index {}", probe::identity(&path));
    if let Some(known) = memory.get(&key) {
        return Ok(known);
    }
    let help = probe::output(path.as_os_str(), &["help", "pip", "install"])?;
    let found = help
        .lines()
        .filter(|l| l.contains("index"))
        .find_map(|l| l.split_once("by default: <")?.1.split_once('>').map(|(u, _)| u.to_owned()));
    let address = found.ok_or("uv does not say which index it uses by default; set UV_DEFAULT_INDEX")?;
    memory.put(&key, &address);
    Ok(address)
}

fn read_words(command: &Command, asked: &mut Asked, local: &mut Vec<PathBuf>) {
    let args = command.texts();
    for word in args.iter().filter(|a| !a.starts_with('-')) {
        // A word that names something on this machine is that, whatever else it could mean.
        if Path::new(word).exists() {
            read_path(Path::new(word), asked);
            local.push(PathBuf::from(word));
            continue;
        }
        match pypi::classify_spec(word) {
            pypi::Spec::Pinned { name, version, .. } => {
                asked.pins.push(Purl::new(Ecosystem::Pypi, &name, Some(&version)));
            }
            pypi::Spec::Url { url, .. } if url.starts_with("file:") => {
                local.extend(super::pip::file_path(&url));
            }
            pypi::Spec::LocalPath { path, .. } => local.extend(super::pip::file_path(&path)),
            pypi::Spec::Url { .. } | pypi::Spec::Vcs { .. } => asked.doors.push((
                countersign_engine::shown_address(word),
                "a direct address, known to no index".to_owned(), true)),
            _ => {}
        }
    }
}

/// Pins of a requirements file: `uv pip sync FILE` and `-r FILE`.
fn read_path(path: &Path, asked: &mut Asked) {
    let name = path.to_string_lossy();
    if !path.is_file() || name.ends_with(".whl") || name.ends_with(".gz") {
        return;
    }
    let Ok(text) = std::fs::read_to_string(path) else { return };
    for line in pypi::parse_requirements(&text) {
        if let pypi::RequirementKind::Requirement { spec: pypi::Spec::Pinned { name, version, .. }, .. } = line.kind {
            asked.pins.push(Purl::new(Ecosystem::Pypi, &name, Some(&version)));
        }
    }
}

fn read_lock(text: &str, asked: &mut Asked) {
    let Ok(packages) = pypi::parse_uv_lock(text) else { return };
    for p in packages {
        if let (Some(version), pypi::SourceKind::Registry) = (&p.version, p.source) {
            asked.pins.push(Purl::new(Ecosystem::Pypi, &p.name, Some(version)));
        }
    }
}

/// The site-packages of the environment that uv works on: the active one, the project's, or what
/// `--python`, `--target` and `--prefix` name.
fn sites(command: &Command, here: &Path) -> Vec<PathBuf> {
    let args = command.texts();
    if let Some(target) = super::option_values(&args, "--target", Some("-t")).pop() {
        return vec![PathBuf::from(target)];
    }
    let project = command.subcommand().is_some_and(|s| matches!(s.as_str(), "add" | "sync" | "remove" | "run" | "lock"));
    let named = super::option_values(&args, "--python", Some("-p")).pop().map(PathBuf::from);
    let prefix = super::option_values(&args, "--prefix", None).pop().map(PathBuf::from);
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = std::env::var_os("UV_PROJECT_ENVIRONMENT").map(PathBuf::from);
    let nearest = here.ancestors().map(|d| d.join(".venv")).find(|d| d.is_dir());
    let by_python = named.map(|p| if p.is_dir() { p } else { p.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or(p) });
    let roots: Vec<PathBuf> = if let Some(p) = prefix.or(by_python) {
        vec![p]
    } else if project {
        // The environment may only come to be during the run.
        vec![own.or(nearest).unwrap_or_else(|| {
            find_upwards(here, "pyproject.toml").and_then(|p| p.parent().map(|d| d.join(".venv"))).unwrap_or_else(|| here.join(".venv"))
        })]
    } else {
        active.or(nearest).into_iter().collect()
    };
    roots.into_iter().flat_map(|r| [r.join("lib/python*/site-packages"), r.join("lib64/python*/site-packages")]).collect()
}

/// Leads uv to the gate.
pub fn equip(gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    // uv has no variables of its own for this; what it starts inherits them and finds the same gate.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        e.set(name, gate.proxy);
    }
    e.set("SSL_CERT_FILE", gate.bundle);
    e.remove.push("SSL_CERT_DIR".to_owned());
    e.set("UV_NO_CACHE", "1");
    e.set("UV_HTTP_TIMEOUT", "900");
    Ok(())
}
