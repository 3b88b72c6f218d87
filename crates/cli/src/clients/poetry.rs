//! poetry: its own code says which sources, environments and dependencies a project has.

use super::{Asked, Command, Equipment, Gate, Seed, option_values, pip, probe, uv};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest, Purl};
use countersign_ecosystem::pypi;
use countersign_engine::account::{Plan, PythonPlan, Seeds};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[
    "install", "add", "update", "lock", "sync", "remove", "run", "shell", "self", "python",
    "build", "publish", "search", "show", "check", "config", "env", "cache", "export", "init",
    "new", "version", "about", "list", "help", "source", "debug",
];

/// Those that put something into the project's environment.
const INSTALLING: [&str; 5] = ["install", "add", "update", "sync", "remove"];

/// Those that only read: indexes, metadata, the project.
const READING: [&str; 9] =
    ["lock", "build", "search", "show", "check", "export", "init", "new", "debug"];

/// Options whose value is the next word.
const TAKES: [&str; 19] = [
    "-C",
    "--directory",
    "-P",
    "--project",
    "-G",
    "--group",
    "-E",
    "--extras",
    "--python",
    "--platform",
    "--source",
    "--markers",
    "--with",
    "--without",
    "--only",
    "--name",
    "--dependency",
    "--dev-dependency",
    "--description",
];

/// Asks poetry's own code; runs in poetry's interpreter and prints one JSON object. Plugins stay
/// asleep: a question runs no code that the project names.
const ASK: &str = r#"
import sys
sys.path[:] = [p for p in sys.path if p]
import glob, json, os
from pathlib import Path
from poetry.factory import Factory
from poetry.config.config import Config
where, creates = Path(sys.argv[1]), sys.argv[2] == '1'
poetry = None
try:
    Factory().locate(where)
    found = True
except Exception:
    found = False
if found:
    try:
        poetry = Factory().create_poetry(cwd=where, disable_plugins=True)
    except TypeError:
        poetry = Factory().create_poetry(cwd=where)
    config, pool = poetry.config, poetry.pool
else:
    config = Config.create()
    pool = Factory.create_pool(config, [])

def priority(repository):
    try:
        return pool.get_priority(repository.name).name.lower()
    except Exception:
        return 'primary'

out = {'project': None, 'sites': [], 'sources': [], 'dependencies': [], 'locked': [],
       'certificates': [], 'virtualenvs': str(config.virtualenvs_path), 'wheels': [], 'files': []}
everything = getattr(pool, 'all_repositories', None) or pool.repositories
for repository in everything:
    name = repository.name
    out['sources'].append({'name': name, 'url': getattr(repository, 'url', None),
                           'priority': priority(repository)})
    cert = config.get(f'certificates.{name}.cert')
    client = config.get(f'certificates.{name}.client-cert')
    out['certificates'].append({'name': name, 'cert': cert if isinstance(cert, str) else None,
                                'client': bool(client)})
try:
    import virtualenv.seed.wheels.embed as embed
    folder = Path(embed.__file__).parent
    out['wheels'] += [str(w) for w in folder.glob('*.whl')]
    import virtualenv.create.via_global_ref.api as api
    own = Path(api.__file__).parent / '_virtualenv.py'
    if own.is_file():
        out['files'] = [['_virtualenv.pth', 'import _virtualenv'],
                        ['_virtualenv.py', own.read_text(encoding='utf-8')]]
except Exception:
    pass

def source(package):
    if package.source_type in ('git', 'url', 'file', 'directory'):
        out['dependencies'].append({'name': package.name, 'kind': package.source_type,
                                    'url': str(package.source_url)})

if poetry is not None:
    file = getattr(poetry.file, 'path', poetry.file)
    root = Path(str(file)).parent
    out['project'] = str(root)
    for dependency in poetry.package.all_requires:
        source(dependency)
    try:
        data = poetry.locker.lock_data if poetry.locker.is_locked() else {}
    except Exception:
        data = {}
    old = data.get('metadata', {}).get('files', {})
    for package in data.get('package', []):
        kind = package.get('source', {}).get('type')
        if kind in ('git', 'url', 'file', 'directory'):
            out['dependencies'].append({'name': str(package['name']), 'kind': str(kind),
                                        'url': str(package['source'].get('url'))})
            continue
        files = package.get('files') or old.get(package['name'], [])
        out['locked'].append({'name': str(package['name']), 'version': str(package['version']),
                              'hashes': [str(f['hash']) for f in files if 'hash' in f]})
    if creates:
        from poetry.utils.env import EnvManager
        manager = EnvManager(poetry)
        name = EnvManager.generate_env_name(poetry.package.name, str(root))
        out['sites'] += [str(Path(str(config.virtualenvs_path)) / (name + '-py*')), str(root / '.venv')]
        try:
            env = manager.get()
            made = not config.get('virtualenvs.create')
            if made or 'System' not in type(env).__name__:
                out['current'] = [str(env.paths.get('purelib')), str(env.paths.get('platlib'))]
        except Exception as problem:
            out['problem'] = str(problem)
print(json.dumps(out))
"#;

#[derive(Deserialize)]
struct Answer {
    project: Option<PathBuf>,
    sites: Vec<PathBuf>,
    #[serde(default)]
    current: Vec<PathBuf>,
    sources: Vec<Source>,
    dependencies: Vec<Dependency>,
    locked: Vec<Locked>,
    certificates: Vec<Certificate>,
    virtualenvs: PathBuf,
    wheels: Vec<PathBuf>,
    files: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Source {
    url: Option<String>,
    priority: String,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: String,
    url: String,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    hashes: Vec<String>,
}

#[derive(Deserialize)]
struct Certificate {
    name: String,
    cert: Option<String>,
    client: bool,
}

/// Asks poetry.
pub fn ask(command: &Command) -> Result<Asked, String> {
    let texts = command.texts();
    let subcommand = command.subcommand().unwrap_or_default();
    refuse(&subcommand)?;
    let mut asked = Asked::default();
    let says = texts.iter().any(|a| matches!(a.as_str(), "-h" | "--help" | "-V" | "--version"));
    let nothing = ["", "config", "env", "cache", "version", "about", "list", "help", "source"];
    if says || nothing.contains(&subcommand.as_str()) {
        return Ok(asked);
    }
    if !INSTALLING.contains(&subcommand.as_str()) && !READING.contains(&subcommand.as_str()) {
        return Err(format!(
            "`poetry {subcommand}` cannot be gated: the gate does not know where it installs to; use \
             poetry's own commands"
        ));
    }
    let dry = texts.iter().any(|a| matches!(a.as_str(), "--dry-run" | "--lock"));
    let installs = INSTALLING.contains(&subcommand.as_str()) && !dry;
    let answer = question(command, &working_folder(&texts), installs)?;
    read_sources(&answer, &mut asked)?;
    let mut local: Vec<PathBuf> = answer.project.iter().cloned().collect();
    read_dependencies(&answer, &mut asked, &mut local);
    if subcommand == "add" {
        read_words(&texts, &mut asked, &mut local)?;
    }
    // What these resolve anew, the lock file does not bind.
    if !matches!(subcommand.as_str(), "update" | "lock") {
        let exact = matches!(subcommand.as_str(), "install" | "sync");
        read_lock(&answer.locked, exact, &mut asked);
    }
    asked.settings = settings(&answer);
    if installs {
        let mut sites: Vec<PathBuf> =
            answer.sites.iter().flat_map(|root| uv::site_packages(root)).collect();
        sites.extend(answer.current);
        // Plugins that the project requires are installed into it.
        sites.extend(answer.project.iter().map(|p| p.join(".poetry/plugins")));
        asked.installed = countersign_engine::account::installed_python(&sites);
        let files = answer.files.into_iter().map(|(n, c)| (n, c.into_bytes())).collect();
        let seeds = Seeds { wheels: answer.wheels, files };
        asked.account = Plan::Python(PythonPlan { sites, local, seeds, ..PythonPlan::default() });
    }
    Ok(asked)
}

/// What cannot be gated, with what to do instead.
fn refuse(subcommand: &str) -> Result<(), String> {
    let instead = match subcommand {
        "run" | "shell" => {
            "it installs nothing and starts a program; start it without the gate, or put the gate \
             before a client that it starts: poetry run countersign run -- pip install …"
        }
        "self" => "it changes poetry's own environment; use pipx or pip behind the gate for that",
        "python" => "what it downloads is known to no index",
        "publish" => "the gate is for installing",
        _ => return Ok(()),
    };
    Err(format!("`poetry {subcommand}` cannot be gated: {instead}"))
}

/// Where poetry looks for the project: `--directory` is gone to first, `--project` looked from there.
fn working_folder(args: &[String]) -> PathBuf {
    let mut here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    for (long, short) in [("--directory", "-C"), ("--project", "-P")] {
        if let Some(other) = option_values(args, long, Some(short)).pop() {
            here = here.join(other);
        }
    }
    here
}

fn question(command: &Command, here: &Path, installs: bool) -> Result<Answer, String> {
    let program = command.program.first().cloned().unwrap_or_default();
    let script = probe::which(&program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let python = pip::interpreter_of(&script).ok_or_else(|| {
        format!("`{}` does not say which python poetry runs in", script.display())
    })?;
    let output = std::process::Command::new(&python)
        .args(["-c", ASK])
        .arg(here)
        .arg(if installs { "1" } else { "0" })
        .envs(probe::NO_NETWORK)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| format!("`{}` cannot be started: {e}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().rev().find_map(|l| serde_json::from_str(l).ok()).ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        let last = why.lines().rev().find(|l| !l.trim().is_empty());
        format!(
            "poetry cannot be asked where it fetches from: {}",
            last.unwrap_or("it says nothing")
        )
    })
}

/// The sources in poetry's order: primary, supplemental, explicit.
fn read_sources(answer: &Answer, asked: &mut Asked) -> Result<(), String> {
    let rank = |s: &&Source| match s.priority.as_str() {
        "explicit" => 2,
        "supplemental" | "secondary" => 1,
        _ => 0,
    };
    let mut sources: Vec<&Source> = answer.sources.iter().collect();
    sources.sort_by_key(rank);
    for source in sources {
        let Some(address) = &source.url else { continue };
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Pypi,
            address: address.clone(),
            keyring: None,
            explicit: source.priority == "explicit",
        });
    }
    for c in &answer.certificates {
        if c.client {
            return Err(format!(
                "the source `{}` wants a client certificate, which the gate cannot show; \
                 take certificates.{0}.client-cert out for this run",
                c.name
            ));
        }
        asked.roots.extend(c.cert.as_ref().map(PathBuf::from));
    }
    Ok(())
}

/// Git and URL dependencies are closed and named; files of this machine are judged before poetry starts.
fn read_dependencies(answer: &Answer, asked: &mut Asked, local: &mut Vec<PathBuf>) {
    let root = answer.project.clone().unwrap_or_default();
    for d in &answer.dependencies {
        if matches!(d.kind.as_str(), "file" | "directory") {
            local.push(root.join(&d.url));
            continue;
        }
        let what = format!("{} from {}", d.name, countersign_engine::shown_address(&d.url));
        if !asked.doors.iter().any(|door| door.0 == what) {
            let why = format!("a {} dependency, known to no index", d.kind);
            asked.doors.push((what, why, true));
        }
    }
}

/// What `poetry add` names.
fn read_words(texts: &[String], asked: &mut Asked, local: &mut Vec<PathBuf>) -> Result<(), String> {
    let mut words = texts.iter();
    let mut seen = false;
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            if TAKES.contains(&word.as_str()) {
                words.next();
            }
        } else if !seen {
            seen = word == "add";
        } else {
            let spec = pypi::classify_spec(&as_requirement(word));
            pip::read_spec(&spec, word, asked, local)?;
        }
    }
    Ok(())
}

/// `name@1.2` and `name==1.2` name one version; other constraints after the `@` do not.
fn as_requirement(word: &str) -> String {
    match word.split_once('@') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{name}=={version}")
        }
        Some((name, _)) if pypi::validate_name(name) && !word.contains("://") => name.to_owned(),
        _ => word.to_owned(),
    }
}

fn read_lock(locked: &[Locked], exact: bool, asked: &mut Asked) {
    for package in locked {
        let version = countersign_ecosystem::version::normalize_pypi(&package.version);
        let purl = Purl::new(Ecosystem::Pypi, &package.name, Some(&version));
        if exact {
            let digests = package.hashes.iter().filter_map(|h| {
                let (algorithm, hex) = h.split_once(':')?;
                ExpectedDigest::from_hex(Algorithm::from_name(algorithm)?, hex).ok()
            });
            asked.locked.entry(purl.clone()).or_default().extend(digests);
        }
        asked.pins.push(purl);
    }
}

/// Variables that keep poetry's own settings as they are where the gate changes their neighbours: `None`
/// stands for the run's certificate.
fn settings(answer: &Answer) -> Vec<(String, Option<String>)> {
    let path = answer.virtualenvs.display().to_string();
    let mut out = vec![("POETRY_VIRTUALENVS_PATH".to_owned(), Some(path))];
    for c in answer.certificates.iter() {
        let name = c.name.to_uppercase().replace('-', "_");
        for setting in ["CERT", "VERIFY"] {
            out.push((format!("POETRY_CERTIFICATES_{name}_{setting}"), None));
        }
    }
    out
}

/// Leads poetry to the gate.
pub fn equip(
    _command: &Command,
    asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    // poetry has no proxy setting of its own; build back ends that it starts find the same gate.
    pip::equip(asked, gate, e)?;
    e.remove.push("SSL_CERT_DIR".to_owned());
    for (name, value) in &asked.settings {
        match value {
            Some(value) => e.set(name, value),
            None => e.set(name, gate.certificate),
        }
    }
    // Its caches of archives and answers never passed the gate; virtualenv's seeds come from the wheels
    // that it has itself.
    if !asked.settings.is_empty() {
        e.set("POETRY_CACHE_DIR", gate.folder.join("poetry-cache"));
    }
    e.set("VIRTUALENV_OVERRIDE_APP_DATA", gate.folder.join("virtualenv"));
    e.set("POETRY_REQUESTS_TIMEOUT", "900");
    // poetry's built-in git does not heed what closes the program's transports.
    e.set("POETRY_SYSTEM_GIT_CLIENT", "true");
    e.set("POETRY_EXPERIMENTAL_SYSTEM_GIT_CLIENT", "true");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_add_names_is_a_pin_a_door_or_a_folder() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (mut asked, mut local) = (Asked::default(), Vec::new());
        let text = "add -G dev a@1.0 b==2 c@^3 --source x git+https://git.example/d.git ./e.whl f";
        read_words(&words(text), &mut asked, &mut local).unwrap();
        let pins: Vec<String> = asked.pins.iter().map(Purl::label).collect();
        assert_eq!(pins, ["a 1.0", "b 2"]);
        assert_eq!(asked.doors.len(), 1, "{:?}", asked.doors);
        assert_eq!(local, [PathBuf::from("./e.whl")]);
        assert!(read_words(&words("add hg+https://x.example/d"), &mut asked, &mut local).is_err());
    }

    #[test]
    fn a_lock_files_digests_count_where_poetry_takes_nothing_else() {
        let locked = [Locked {
            name: "A_b".to_owned(),
            version: "1.0".to_owned(),
            hashes: vec![format!("sha256:{}", "1".repeat(64)), "sha256:short".to_owned()],
        }];
        for (exact, want) in [(true, 1), (false, 0)] {
            let mut asked = Asked::default();
            read_lock(&locked, exact, &mut asked);
            assert_eq!(asked.pins.iter().map(Purl::label).collect::<Vec<_>>(), ["a-b 1.0"]);
            assert_eq!(asked.locked.values().map(Vec::len).sum::<usize>(), want);
        }
    }

    #[test]
    fn explicit_sources_own_no_names_and_come_last() {
        let source = |name: &str, priority: &str| Source {
            url: Some(format!("https://{name}.example/simple")),
            priority: priority.to_owned(),
        };
        let mut answer: Answer = serde_json::from_value(serde_json::json!({
            "project": null, "sites": [], "sources": [], "dependencies": [], "locked": [],
            "certificates": [], "virtualenvs": "/v", "wheels": [], "files": [],
        }))
        .unwrap();
        answer.sources =
            vec![source("e", "explicit"), source("s", "supplemental"), source("p", "primary")];
        let mut asked = Asked::default();
        read_sources(&answer, &mut asked).unwrap();
        let found: Vec<_> =
            asked.upstreams.iter().map(|u| (u.address.as_str(), u.explicit)).collect();
        let want = [
            ("https://p.example/simple", false),
            ("https://s.example/simple", false),
            ("https://e.example/simple", true),
        ];
        assert_eq!(found, want);
        let path = settings(&answer);
        assert_eq!(path, [("POETRY_VIRTUALENVS_PATH".to_owned(), Some("/v".to_owned()))]);
    }
}
