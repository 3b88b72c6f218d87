//! pip: its own parser says what its configuration, environment and arguments come to.

use super::{Asked, Command, Equipment, Gate, Seed, option_values, without_option};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::pypi;
use countersign_engine::account::{Plan, PythonPlan};
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Asks pip's own option parser; runs in pip's own interpreter and prints one JSON object.
const ASK: &str = r#"
import sys
# What lies in the current folder is not to be imported by a question.
sys.path[:] = [p for p in sys.path if p]
import json, os, sysconfig, site
args = sys.argv[1:]
# Without this, pip starts another interpreter while it reads `--python`, and does the real work.
os.environ['_PIP_RUNNING_IN_SUBPROCESS'] = '1'
from pip._internal.cli.main_parser import parse_command, create_main_parser
general, _ = create_main_parser().parse_args(args)
from pip._internal.commands import create_command
try:
    name, rest = parse_command(args)
except Exception as problem:
    # An unknown subcommand: pip says so itself, and nothing is fetched.
    sys.exit(2 if type(problem).__name__ == 'CommandError' else repr(problem))
command = create_command(name, isolated='--isolated' in rest)
opts, given = command.parse_args(rest)
get = lambda k, d=None: getattr(opts, k, d)
paths = [sysconfig.get_path('purelib'), sysconfig.get_path('platlib')]
if name == 'install':
    try:
        from pip._internal.locations import get_scheme
        scheme = get_scheme('x', user=bool(get('use_user_site')), home=None, root=get('root_path'),
                            isolated=bool(get('isolated_mode')), prefix=get('prefix_path'))
        paths = [scheme.purelib, scheme.platlib] + paths
    except Exception:
        pass
    if get('target_dir'):
        paths = [get('target_dir')] + paths
    if site.ENABLE_USER_SITE:
        paths.append(site.getusersitepackages())
reqs = [str(r) for r in (get('requirements') or [])]
print(json.dumps({
    'command': name, 'index_url': get('index_url'), 'extra_index_urls': get('extra_index_urls') or [],
    'no_index': bool(get('no_index')), 'find_links': get('find_links') or [],
    'requirements': reqs, 'constraints': [str(r) for r in (get('constraints') or [])],
    'editables': get('editables') or [], 'given': given, 'cert': get('cert'),
    'sites': paths, 'isolated': '--isolated' in rest,
    'python': getattr(general, 'python', None),
    'downloads': [d for d in [get('download_dir'), get('wheel_dir')] if d],
}))
"#;

/// What pip answered.
#[derive(Deserialize)]
pub(super) struct Answer {
    command: String,
    index_url: Option<String>,
    extra_index_urls: Vec<String>,
    no_index: bool,
    find_links: Vec<String>,
    requirements: Vec<String>,
    constraints: Vec<String>,
    editables: Vec<String>,
    given: Vec<String>,
    cert: Option<String>,
    python: Option<String>,
    sites: Vec<PathBuf>,
    downloads: Vec<PathBuf>,
}

/// Asks pip. When pip's own parser rejects the arguments, pip is left to say so itself.
pub fn ask(command: &Command) -> Result<Asked, String> {
    if let Some(option) = command.texts().iter().find(|a| leads_away(a)) {
        return Err(format!(
            "`{option}` would lead pip past the gate; set it in the environment instead"
        ));
    }
    let mut asked = Asked::default();
    let python = interpreter(command)?;
    if let Some(answer) = question(&python, &command.args, None)? {
        read_answer(answer, &command.args, &mut asked)?;
    }
    Ok(asked)
}

/// Asks the pip of an interpreter, or the one in a wheel, what its configuration and these arguments
/// come to; `None` where pip itself explains best what is wrong with them.
pub(super) fn question(
    python: &Path,
    args: &[OsString],
    wheel: Option<&Path>,
) -> Result<Option<Answer>, String> {
    let mut process = std::process::Command::new(python);
    process.arg("-c").arg(ASK).args(args).envs(super::probe::NO_NETWORK);
    if let Some(wheel) = wheel {
        process.env("PYTHONPATH", wheel);
    }
    let output = process
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("`{}` cannot be started: {e}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.lines().rev().find_map(|l| serde_json::from_str::<Answer>(l).ok());
    // `pip --help`, a misspelt option, another subcommand: pip explains it best.
    if answer.is_some() || matches!(output.status.code(), Some(0 | 2)) {
        return Ok(answer);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "pip cannot be asked where it fetches from: {}",
        why.lines().last().unwrap_or("it says nothing")
    ))
}

/// Takes over what pip answered, of a command line with these arguments.
pub(super) fn read_answer(
    answer: Answer,
    args: &[OsString],
    asked: &mut Asked,
) -> Result<(), String> {
    if let Some(python) = &answer.python {
        return Err(format!(
            "`--python` starts another pip; run `{python} -m pip` behind the gate instead"
        ));
    }
    // Extra indexes own their names before the default one: they are the private ones.
    let mut indexes = answer.extra_index_urls.clone();
    indexes.extend(answer.index_url.clone());
    if answer.no_index {
        indexes.clear();
    }
    for address in indexes {
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Pypi,
            address,
            keyring: None,
            explicit: false,
        });
    }
    asked.roots.extend(answer.cert.as_ref().map(PathBuf::from));
    for link in &answer.find_links {
        asked.doors.push((
            countersign_engine::shown_address(link),
            "find-links is no index; its files are not offered".to_owned(),
            false,
        ));
    }
    let texts: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let by_words = option_values(&texts, "--find-links", Some("-f"));
    let by_variable = std::env::var("PIP_FIND_LINKS").unwrap_or_default();
    asked.links_configured = answer
        .find_links
        .iter()
        .any(|l| !by_words.contains(l) && !by_variable.split_whitespace().any(|v| v == l));
    if !by_words.is_empty() {
        asked.args = Some(without_option(args, "--find-links", Some("-f")));
    }
    let mut local = Vec::new();
    for spec in &answer.given {
        read_spec(&pypi::classify_spec(spec), spec, asked, &mut local)?;
    }
    for e in &answer.editables {
        local.push(PathBuf::from(e.split('[').next().unwrap_or(e)));
    }
    let mut seen = Vec::new();
    for file in answer.requirements.iter().chain(&answer.constraints) {
        read_requirements(Path::new(file), asked, &mut local, &mut seen)?;
    }
    let mut sites = Vec::new();
    for s in answer.sites {
        if !sites.contains(&s) {
            sites.push(s);
        }
    }
    let mut downloads = answer.downloads;
    if answer.command == "download" && downloads.is_empty() {
        downloads.push(PathBuf::from("."));
    }
    if answer.command != "install" {
        sites.clear();
    }
    asked.installed = countersign_engine::account::installed_python(&sites);
    asked.account = Plan::Python(PythonPlan { sites, downloads, local, ..PythonPlan::default() });
    Ok(())
}

/// Takes over what a requirement names: a pin, a side door, or something of this machine.
pub(super) fn read_spec(
    spec: &pypi::Spec,
    text: &str,
    asked: &mut Asked,
    local: &mut Vec<PathBuf>,
) -> Result<(), String> {
    match spec {
        pypi::Spec::Pinned { name, version, .. } => {
            let version = countersign_ecosystem::version::normalize_pypi(version);
            asked.pins.push(Purl::new(Ecosystem::Pypi, name, Some(&version)));
        }
        pypi::Spec::Url { url, .. } if url.starts_with("file:") => local.extend(file_path(url)),
        pypi::Spec::Vcs { url, .. } if !url.starts_with("git") => {
            return Err(format!(
                "`{}` would be fetched past the gate; name a release of an index instead",
                countersign_engine::shown_address(url)
            ));
        }
        pypi::Spec::Url { .. } | pypi::Spec::Vcs { .. } => {
            asked.doors.push((
                countersign_engine::shown_address(text),
                "a direct address, known to no index".to_owned(),
                true,
            ));
        }
        pypi::Spec::LocalPath { path, .. } => local.extend(file_path(path)),
        _ => {}
    }
    Ok(())
}

/// Whether a word is an option that takes pip past the gate. pip takes any unambiguous beginning of
/// an option's name for the option; `--find-links` is taken out, which needs its whole name.
pub(super) fn leads_away(word: &str) -> bool {
    let Some(name) = word.strip_prefix("--") else {
        // Short options in one word (`-Uf DIR`): what is hidden in it cannot be taken out.
        let flags = word.strip_prefix('-').unwrap_or("");
        let before = flags.split('f').next().unwrap_or("");
        return flags.contains('f')
            && !before.is_empty()
            && before.chars().all(|c| "UqvIh".contains(c));
    };
    let name = name.split('=').next().unwrap_or(name);
    let begins = |full: &str, least: usize| name.len() >= least && full.starts_with(name);
    begins("proxy", 4)
        || begins("cert", 2)
        || begins("client-cert", 2)
        || (begins("find-links", 2) && name != "find-links")
}

/// The path that a `file:` address or a path names; extras behind it are none of it.
pub fn file_path(text: &str) -> Option<PathBuf> {
    let plain = text.split('#').next().unwrap_or(text);
    if plain.starts_with("file:") {
        return url::Url::parse(plain).ok()?.to_file_path().ok();
    }
    let path = PathBuf::from(plain);
    if path.exists() {
        return Some(path);
    }
    Some(PathBuf::from(plain.split('[').next().unwrap_or(plain)))
}

fn seed(address: String) -> Seed {
    Seed { ecosystem: Ecosystem::Pypi, address, keyring: None, explicit: false }
}

/// Reads a requirements file for pins and for side doors, and the files that it includes.
fn read_requirements(
    file: &Path,
    asked: &mut Asked,
    local: &mut Vec<PathBuf>,
    seen: &mut Vec<PathBuf>,
) -> Result<(), String> {
    if seen.iter().any(|s| s == file) || seen.len() > 200 {
        return Ok(());
    }
    seen.push(file.to_path_buf());
    // What is no file can be read once, and that is pip's to do (`-r /dev/stdin`); so are complaints.
    if !file.is_file() {
        return Ok(());
    }
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(()) };
    let here = file.parent().unwrap_or(Path::new("."));
    for line in pypi::parse_requirements(&text) {
        match line.kind {
            pypi::RequirementKind::Requirement { spec, .. } => {
                let shown = format!("`{}` line {}", file.display(), line.line);
                read_spec(&spec, &shown, asked, local)?;
            }
            pypi::RequirementKind::Include { path, .. } => {
                read_requirements(&here.join(path), asked, local, seen)?;
            }
            pypi::RequirementKind::IndexUrl(address) => {
                // It takes the place of the default, which comes last.
                asked.upstreams.pop();
                asked.upstreams.push(seed(address));
            }
            pypi::RequirementKind::ExtraIndexUrl(address) => {
                asked.upstreams.insert(0, seed(address))
            }
            pypi::RequirementKind::FindLinks(link) => {
                return Err(format!(
                    "`{}` line {} opens a side door, `--find-links {}`; the gate cannot judge files there, so \
                     take the line out or serve the folder as an index",
                    file.display(),
                    line.line,
                    countersign_engine::shown_address(&link)
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The interpreter that runs pip: the one in its first line, or the one that pip names itself.
fn interpreter(command: &Command) -> Result<PathBuf, String> {
    let program = command.program.first().cloned().unwrap_or_default();
    if command.program.len() > 1 {
        return Ok(PathBuf::from(program));
    }
    let path = super::probe::which(&program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    if let Some(python) = interpreter_of(&path) {
        return Ok(python);
    }
    // A version manager's shim: pip's own word on which interpreter it runs in.
    let output = std::process::Command::new(&path)
        .args(["--disable-pip-version-check", "debug"])
        .envs(super::probe::NO_NETWORK)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("`{}` cannot be started: {e}", path.display()))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|l| l.strip_prefix("sys.executable: ").map(|p| PathBuf::from(p.trim())))
        .ok_or_else(|| {
            format!(
                "`{}` does not say which python it runs in; use `python -m pip`",
                path.display()
            )
        })
}

/// The interpreter that a script names in its first line.
pub(super) fn interpreter_of(script: &Path) -> Option<PathBuf> {
    let text = std::fs::read(script).ok()?;
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(first);
    let python = line.strip_prefix("#!")?.trim();
    let named = python.contains("python") && !python.contains("env ");
    (named && Path::new(python).is_file()).then(|| PathBuf::from(python))
}

/// Leads pip to the gate.
pub fn equip(asked: &Asked, gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    e.set("PIP_PROXY", gate.proxy);
    e.set("PIP_CERT", gate.certificate);
    // Older pips ask the general variables first, and so do the build back ends that pip starts,
    // which find the same gate.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    {
        e.set(name, gate.proxy);
    }
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"] {
        e.set(name, gate.certificate);
    }
    // Its cache would be taken without passing the gate; the gate keeps what it admitted.
    e.set("PIP_NO_CACHE_DIR", "1");
    e.set("PIP_DEFAULT_TIMEOUT", "900");
    e.set("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    e.remove.push("PIP_CLIENT_CERT".to_owned());
    if asked.links_configured {
        // An empty value does not override a file's; an empty folder does.
        let none = gate.folder.join("no-links");
        std::fs::create_dir_all(&none).map_err(|e| format!("`{}`: {e}", none.display()))?;
        e.set("PIP_FIND_LINKS", none);
    } else {
        e.remove.push("PIP_FIND_LINKS".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pip(text: &str) -> Command {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        Command::detect(&words).unwrap()
    }

    #[test]
    fn options_that_lead_past_the_gate_are_refused() {
        for word in [
            "--proxy=http://x.example",
            "--prox",
            "--cert",
            "--cer=x",
            "--client-c=x",
            "--find-l=x",
        ] {
            let e = ask(&pip(&format!("pip install {word} flask"))).err();
            assert!(e.is_some_and(|e| e.contains(word)), "{word}");
        }
        for word in [
            "--progress-bar",
            "--pre",
            "--prefix=x",
            "--constraint=x",
            "--find-links=x",
            "flask",
            "--force-reinstall",
        ] {
            assert!(!leads_away(word), "{word}");
        }
    }
}
