//! uv: its resolved settings name its indexes, its help text the built-in one.

use super::{Asked, Command, Equipment, Gate, Seed, find_upwards, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::pypi;
use countersign_engine::account::{Plan, PythonPlan};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Asks uv.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let program = command.program.first().cloned().unwrap_or_default();
    if let Some(other) = command
        .subcommand()
        .filter(|s| matches!(s.as_str(), "python" | "self" | "build" | "publish"))
    {
        return Err(format!(
            "`uv {other}` cannot be gated; the gate knows uv pip, add, sync, lock, remove, run and tool"
        ));
    }
    read_settings(&program, &command.args, memory, &mut asked)?;
    let mut local = Vec::new();
    read_words(command.texts(), &mut asked, &mut local);
    refuse(&asked)?;
    let here = working_folder(&command.texts());
    let texts = command.texts();
    let subcommand = command.subcommand();
    let exact = subcommand.as_deref() == Some("sync")
        && !texts.iter().any(|a| a == "-U" || a.starts_with("-P") || a.starts_with("--upgrade"));
    read_project(&here, exact, &mut asked, &mut local);
    let sites = sites(command, &here);
    asked.installed = countersign_engine::account::installed_python(&sites);
    // Locking and compiling read metadata and install nothing.
    let only_reads = subcommand.is_some_and(|s| matches!(s.as_str(), "lock" | "export" | "tree"))
        || texts.iter().any(|a| a == "compile");
    if !only_reads {
        asked.account = Plan::Python(PythonPlan { sites, local, ..PythonPlan::default() });
    }
    Ok(asked)
}

/// What cannot be led through the gate, whatever is asked of uv.
pub(super) fn refuse(asked: &Asked) -> Result<(), String> {
    let Some(what) = &asked.refused else { return Ok(()) };
    Err(format!(
        "`{}` would be fetched past the gate; take it out for this run",
        countersign_engine::shown_address(what)
    ))
}

/// The folder in which uv looks for the project.
pub(super) fn working_folder(args: &[String]) -> PathBuf {
    let mut here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    for option in ["--directory", "--project"] {
        if let Some(other) = super::option_values(args, option, None).pop() {
            here = here.join(other);
        }
    }
    here
}

/// What a project names: the versions of its lock file, archives of this machine, itself. The lock
/// file's digests count where uv takes nothing else (`exact`).
pub(super) fn read_project(here: &Path, exact: bool, asked: &mut Asked, local: &mut Vec<PathBuf>) {
    if let Some(text) = find_upwards(here, "uv.lock").and_then(|p| std::fs::read_to_string(p).ok())
    {
        read_lock(&text, exact, asked);
    }
    read_sources(here, local);
    // The project and its workspace are the user's own.
    local.push(here.to_path_buf());
    local.extend(
        here.ancestors().filter(|d| d.join("pyproject.toml").is_file()).map(Path::to_path_buf),
    );
}

/// The indexes that uv would use with these arguments, in its order.
pub(super) fn read_settings(
    program: &OsStr,
    args: &[OsString],
    memory: &mut dyn probe::Memory,
    asked: &mut Asked,
) -> Result<(), String> {
    let settings = settings(program, args)?;
    // The proxies that the question itself was asked with are the ones that lead nowhere.
    let own = settings.replace("127.0.0.1:9", "");
    for key in ["http_proxy: Some", "https_proxy: Some", "no_proxy: Some"] {
        if own.contains(key) {
            return Err(
                "uv's own configuration names a proxy, which would lead it past the gate; \
                        set HTTPS_PROXY in the environment instead"
                    .to_owned(),
            );
        }
    }
    let (links, mut indexes): (Vec<Index>, Vec<Index>) =
        read_indexes(&settings).into_iter().partition(|i| i.flat);
    if !indexes.iter().any(|i| i.default) {
        let address = builtin_index(program, memory)?;
        indexes.push(Index { address, default: true, explicit: false, flat: false });
    }
    // uv asks the default index last, whatever the order in which it is configured.
    indexes.sort_by_key(|i| i.default);
    for i in &indexes {
        let address = i.address.clone();
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Pypi,
            address,
            keyring: None,
            explicit: i.explicit,
        });
    }
    for link in links {
        let why = "find-links is no index; its files are not offered";
        let shown = countersign_engine::shown_address(&link.address);
        if !link.address.starts_with("http") {
            return Err(format!(
                "closed `--find-links {shown}`: {why}; take it out of uv's settings for this run"
            ));
        }
        asked.doors.push((shown, why.to_owned(), false));
    }
    Ok(())
}

/// The settings that uv itself resolves from arguments, environment and files.
fn settings(program: &OsStr, args: &[OsString]) -> Result<String, String> {
    let output = std::process::Command::new(program)
        .arg("--show-settings")
        .args(args.iter().filter(|w| !is_quiet(w)))
        .envs(probe::NO_NETWORK)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("`{}` cannot be started: {e}", program.to_string_lossy()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Subcommands that take no index print none; what they would fetch stays closed.
    if output.status.success() {
        return Ok(text);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "uv cannot be asked for its settings: {}",
        why.lines().next().unwrap_or("it says nothing")
    ))
}

/// Whether a word makes uv say less, which goes for its settings too.
fn is_quiet(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    let short =
        text.strip_prefix('-').is_some_and(|l| !l.is_empty() && l.chars().all(|c| c == 'q'));
    short || text == "--quiet"
}

/// An index of uv's resolved settings.
#[derive(Debug, PartialEq, Eq)]
struct Index {
    address: String,
    /// Whether it replaces the built-in default, which comes last.
    default: bool,
    /// Whether it serves only the packages that name it.
    explicit: bool,
    /// Whether it is a page or folder of files (`--find-links`), and no index.
    flat: bool,
}

/// The indexes in what `--show-settings` prints: the block `index_locations`, one `Index { … }` each.
fn read_indexes(settings: &str) -> Vec<Index> {
    let mut out = Vec::new();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = settings.lines();
    let Some(depth) =
        lines.by_ref().find(|l| l.trim_start().starts_with("index_locations:")).map(indent)
    else {
        return out;
    };
    let (mut given, mut explicit, mut default, mut section_flat) = (None, false, false, false);
    let mut expects_address = false;
    for line in lines.take_while(|l| indent(l) > depth || l.trim().is_empty()) {
        let text = line.trim();
        if expects_address {
            given = text.strip_prefix('"').and_then(|t| t.split('"').next()).map(str::to_owned);
            expects_address = false;
        }
        match text {
            "indexes: [" => section_flat = false,
            "flat_index: [" => section_flat = true,
            "given: Some(" => expects_address = true,
            "explicit: true," => explicit = true,
            "default: true," => default = true,
            _ => {
                if let Some(format) = text.strip_prefix("format: ")
                    && let Some(address) = given.take()
                {
                    let flat = section_flat || format.starts_with("Flat");
                    out.push(Index { address, default, explicit, flat });
                    (explicit, default) = (false, false);
                }
            }
        }
    }
    out
}

/// uv itself: `uvx` lies beside it.
pub(super) fn real_uv(program: &OsStr) -> Option<PathBuf> {
    let path = probe::which(program)?;
    if path.file_name().is_some_and(|n| n == "uvx") {
        let beside = path.with_file_name("uv");
        return if beside.is_file() { Some(beside) } else { probe::which(OsStr::new("uv")) };
    }
    Some(path)
}

/// uv's built-in default index, in its own words (`uv help pip install`).
fn builtin_index(program: &OsStr, memory: &mut dyn probe::Memory) -> Result<String, String> {
    let path = real_uv(program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let key = format!("uv-default-index {}", probe::identity(&path));
    if let Some(known) = memory.get(&key) {
        return Ok(known);
    }
    let help = probe::output(path.as_os_str(), &["help", "pip", "install"])?;
    let found = help
        .lines()
        .filter(|l| l.contains("index"))
        .find_map(|l| l.split_once("by default: <")?.1.split_once('>').map(|(u, _)| u.to_owned()));
    let address =
        found.ok_or("uv does not say which index it uses by default; set UV_DEFAULT_INDEX")?;
    memory.put(&key, &address);
    Ok(address)
}

/// What the words of a command line name: pins, side doors, files and folders of this machine.
pub(super) fn read_words(mut args: Vec<String>, asked: &mut Asked, local: &mut Vec<PathBuf>) {
    for option in [
        "--index",
        "--default-index",
        "--index-url",
        "--extra-index-url",
        "--python",
        "-p",
        "-i",
        "--target",
        "--prefix",
    ] {
        let values = super::option_values(&args, option, None);
        args.retain(|a| !values.contains(a));
    }
    for word in args.iter().filter(|a| !a.starts_with('-')) {
        // A word that names something on this machine is that, whatever else it could mean.
        if Path::new(word).exists() {
            read_path(Path::new(word), asked, local, 0);
            local.push(PathBuf::from(word));
            continue;
        }
        match pypi::classify_spec(word) {
            pypi::Spec::Pinned { name, version, .. } => {
                asked.pins.push(pin(&name, &version));
            }
            pypi::Spec::Url { url, .. } if url.starts_with("file:") => {
                local.extend(super::pip::file_path(&url));
            }
            pypi::Spec::LocalPath { path, .. } => local.extend(super::pip::file_path(&path)),
            pypi::Spec::Vcs { url, .. } if !url.starts_with("git") => {
                asked.refused.get_or_insert(url);
            }
            pypi::Spec::Url { .. } | pypi::Spec::Vcs { .. } => asked.doors.push((
                countersign_engine::shown_address(word),
                "a direct address, known to no index".to_owned(),
                true,
            )),
            _ => {}
        }
    }
}

/// What a requirements file (`uv pip sync FILE`, `-r FILE`) or a project names: pins, and files of
/// this machine, which are judged before uv starts.
pub(super) fn read_path(path: &Path, asked: &mut Asked, local: &mut Vec<PathBuf>, depth: usize) {
    let is_list = path.extension().is_some_and(|e| e == "txt" || e == "in");
    if !path.is_file() || !is_list || depth > 20 {
        return;
    }
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let here = path.parent().unwrap_or(Path::new("."));
    for line in pypi::parse_requirements(&text) {
        match line.kind {
            pypi::RequirementKind::Requirement { spec, .. } => match spec {
                pypi::Spec::Pinned { name, version, .. } => {
                    asked.pins.push(pin(&name, &version));
                }
                pypi::Spec::Url { url, .. } if url.starts_with("file:") => {
                    local.extend(super::pip::file_path(&url));
                }
                pypi::Spec::LocalPath { path, .. } => {
                    local.extend(super::pip::file_path(&path).map(|p| here.join(p)));
                }
                _ => {}
            },
            pypi::RequirementKind::FindLinks(link) => {
                asked.refused.get_or_insert(format!("--find-links {link}"));
            }
            pypi::RequirementKind::Include { path, .. } => {
                read_path(&here.join(path), asked, local, depth + 1);
            }
            _ => {}
        }
    }
}

/// Archives of this machine that the project's sources name (`[tool.uv.sources]`, `path`).
fn read_sources(here: &Path, local: &mut Vec<PathBuf>) {
    let Some(file) = find_upwards(here, "pyproject.toml") else { return };
    let Some(table) =
        std::fs::read_to_string(&file).ok().and_then(|t| t.parse::<toml::Table>().ok())
    else {
        return;
    };
    let sources = table.get("tool").and_then(|t| t.get("uv")).and_then(|u| u.get("sources"));
    for source in sources.and_then(|s| s.as_table()).into_iter().flat_map(|t| t.values()) {
        let list = source.as_array().cloned().unwrap_or_else(|| vec![source.clone()]);
        for one in list {
            if let Some(path) = one.get("path").and_then(|p| p.as_str()) {
                local.push(file.parent().unwrap_or(here).join(path));
            }
        }
    }
}

fn pin(name: &str, version: &str) -> Purl {
    let version = countersign_ecosystem::version::normalize_pypi(version);
    Purl::new(Ecosystem::Pypi, name, Some(&version))
}

fn read_lock(text: &str, exact: bool, asked: &mut Asked) {
    let Ok(packages) = pypi::parse_uv_lock(text) else { return };
    for p in packages {
        if let (Some(version), pypi::SourceKind::Registry) = (&p.version, p.source) {
            let purl = pin(&p.name, version);
            if exact {
                let digests = p.files.into_iter().filter_map(|f| f.digest);
                asked.locked.entry(purl.clone()).or_default().extend(digests);
            }
            asked.pins.push(purl);
        }
    }
}

/// The site-packages of the environment that uv works on: the active one, the project's, or what
/// `--python`, `--target` and `--prefix` name.
pub(super) fn sites(command: &Command, here: &Path) -> Vec<PathBuf> {
    let args = command.texts();
    if let Some(target) = super::option_values(&args, "--target", Some("-t")).pop() {
        return vec![PathBuf::from(target)];
    }
    let project = command
        .subcommand()
        .is_some_and(|s| matches!(s.as_str(), "add" | "sync" | "remove" | "run" | "lock"));
    let named = super::option_values(&args, "--python", Some("-p")).pop().map(PathBuf::from);
    let prefix = super::option_values(&args, "--prefix", None).pop().map(PathBuf::from);
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = std::env::var_os("UV_PROJECT_ENVIRONMENT").map(PathBuf::from);
    let nearest = here.ancestors().map(|d| d.join(".venv")).find(|d| d.is_dir());
    // A version such as `3.12` names no environment; a path does.
    let by_python = named.filter(|p| p.exists() && p.components().count() > 1).map(|p| {
        if p.is_dir() {
            p
        } else {
            p.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or(p)
        }
    });
    let roots: Vec<PathBuf> = if project && args.iter().any(|a| a == "--active") {
        active.into_iter().collect()
    } else if let Some(p) = prefix.or(by_python).filter(|_| !project) {
        vec![p]
    } else if project {
        // The environment may only come to be during the run.
        vec![own.or(nearest).unwrap_or_else(|| {
            find_upwards(here, "pyproject.toml")
                .and_then(|p| p.parent().map(|d| d.join(".venv")))
                .unwrap_or_else(|| here.join(".venv"))
        })]
    } else if let Some(p) = active.or(nearest) {
        vec![p]
    } else {
        // `--system` and the like: uv says which interpreter it means.
        let program = command.program.first().cloned().unwrap_or_default();
        let found = probe::output(&program, &["python", "find", "--system"]).unwrap_or_default();
        let python = PathBuf::from(found.trim());
        python.parent().and_then(Path::parent).map(Path::to_path_buf).into_iter().collect()
    };
    roots.iter().flat_map(|r| site_packages(r)).collect()
}

/// The `site-packages` folders of an environment, by its root.
pub(super) fn site_packages(root: &Path) -> [PathBuf; 2] {
    [root.join("lib/python*/site-packages"), root.join("lib64/python*/site-packages")]
}

/// Leads uv to the gate.
pub fn equip(gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    // uv has no variables of its own for this; what it starts inherits them and finds the same gate.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    {
        e.set(name, gate.proxy);
    }
    e.set("SSL_CERT_FILE", gate.certificate);
    e.remove.push("SSL_CERT_DIR".to_owned());
    e.set("UV_NO_CACHE", "1");
    e.set("UV_HTTP_TIMEOUT", "900");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_words_are_known() {
        for (word, want) in
            [("-q", true), ("-qq", true), ("--quiet", true), ("-", false), ("-qv", false)]
        {
            assert_eq!(is_quiet(OsStr::new(word)), want, "{word}");
        }
    }

    #[test]
    fn indexes_are_read_from_the_settings() {
        let one = |address: &str, explicit: bool, default: bool, format: &str| {
            format!(
                "                Index {{\n                    url: Url(\n                            given: Some(\n                                \"{address}\",\n                            ),\n                    ),\n                    explicit: {explicit},\n                    default: {default},\n                    format: {format},\n                }},\n"
            )
        };
        let text = format!(
            "Settings {{\n        index_locations: IndexLocations {{\n            indexes: [\n{}{}            ],\n            flat_index: [\n{}            ],\n            no_index: false,\n        }},\n        other: [\n{}        ],\n}}\n",
            one("https://a.example/simple", false, true, "Simple"),
            one("https://b.example/simple", true, false, "Simple"),
            one("/wheels", false, false, "Flat"),
            one("https://no.example/", false, false, "Simple"),
        );
        let index = |address: &str, explicit, default, flat| Index {
            address: address.into(),
            default,
            explicit,
            flat,
        };
        assert_eq!(
            read_indexes(&text),
            [
                index("https://a.example/simple", false, true, false),
                index("https://b.example/simple", true, false, false),
                index("/wheels", false, false, true),
            ]
        );
    }
}
