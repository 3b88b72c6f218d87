//! pipx: an environment for each program, made with pip or with uv, whose configuration is asked.
//!
//! `pipx run` works in two steps, as `uvx` does: behind the gate pipx prepares the environment in a home
//! of this run alone and says what it would become; that is started once everything is reconciled.

use super::{Asked, Command, Equipment, Gate, Then, option_values, pip, probe, uv};
use countersign_ecosystem::pypi;
use countersign_engine::account::{Plan, PythonPlan, Seeds};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[
    "install",
    "install-all",
    "uninject",
    "inject",
    "expose",
    "unexpose",
    "pin",
    "unpin",
    "upgrade",
    "upgrade-all",
    "upgrade-shared",
    "uninstall",
    "uninstall-all",
    "reset",
    "reinstall",
    "reinstall-all",
    "health",
    "repair",
    "list",
    "interpreter",
    "cache",
    "manifest",
    "run",
    "exec",
    "runpip",
    "ensurepath",
    "environment",
    "completions",
    "help",
];

/// Those that fetch nothing: for them the network is closed.
const FETCHING: [&str; 13] = [
    "install",
    "install-all",
    "inject",
    "upgrade",
    "upgrade-all",
    "upgrade-shared",
    "reinstall",
    "reinstall-all",
    "repair",
    "manifest",
    "run",
    "runpip",
    "list",
];

/// Options whose value is the next word.
const TAKES: [&str; 20] = [
    "--python",
    "--suffix",
    "--pip-args",
    "--index-url",
    "-i",
    "--preinstall",
    "--spec",
    "--with",
    "--backend",
    "--fetch-python",
    "--cooldown",
    "--requirement",
    "-r",
    "--include-resources-from",
    "--upgrade-strategy",
    "--app",
    "--lock",
    "--output",
    "--python-args",
    "--skip",
];

/// Prepares as pipx does, and writes down what pipx wants to become in place of becoming it.
const PREPARE: &str = r#"
import json, os, runpy, sys
script, record = sys.argv[1:3]
sys.argv = [script] + sys.argv[3:]
def become(file, args, env=None):
    env = dict(os.environ if env is None else env)
    words = [str(file)] + [str(a) for a in list(args)[1:]]
    changed = {k: v for k, v in env.items() if os.environ.get(k) != v}
    gone = [k for k in os.environ if k not in env]
    with open(record, 'w') as f:
        json.dump({'words': words, 'set': changed, 'remove': gone}, f)
    sys.stdout.flush()
    os._exit(0)
os.execvpe = os.execve = become
os.execv = os.execvp = become
runpy.run_path(script, run_name='__main__')
"#;

/// Wheels that an interpreter brings along for new environments.
const BUNDLED: &str = r#"
import glob, os, sysconfig
folders = [sysconfig.get_config_var('WHEEL_PKG_DIR'),
           os.path.join(sysconfig.get_path('stdlib'), 'ensurepip', '_bundled')]
for folder in folders:
    if folder:
        print(*glob.glob(os.path.join(folder, '*.whl')), sep='\n')
"#;

/// Asks pipx where it keeps its environments, and pip or uv where they fetch from.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let texts = command.texts();
    let subcommand = command.subcommand().unwrap_or_default();
    if subcommand == "exec" {
        return Err("`pipx exec` installs nothing and starts a program; start it without the gate"
            .to_owned());
    }
    let own: Vec<&String> = texts.iter().take_while(|a| *a != "--").collect();
    if !FETCHING.contains(&subcommand.as_str()) || own.iter().any(|a| *a == "-h" || *a == "--help")
    {
        return Ok(asked);
    }
    let program = command.program.first().cloned().unwrap_or_default();
    let script = probe::which(&program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let python = pip::interpreter_of(&script)
        .or_else(|| probe::which(OsStr::new("python3")))
        .ok_or_else(|| format!("`{}` does not say which python it runs in", script.display()))?;
    let line = Line::read(&texts, &subcommand);
    let places = Places::ask(&program, line.options.iter().any(|a| a == "--global"))?;
    let mut wheels = bundled(&python);
    let by_option = option_values(&line.options, "--python", None).pop();
    for other in by_option.iter().chain(places.get("PIPX_DEFAULT_PYTHON")) {
        if let Some(path) = probe::which(OsStr::new(other)) {
            wheels.extend(bundled(&path));
        }
    }
    let backends = Backends { python: &python, places: &places, wheels: &wheels };
    let installed = Recorded::read(&places);
    backends.ask(&line, &installed, memory, &mut asked)?;
    let Plan::Python(plan) = std::mem::take(&mut asked.account) else { return Ok(asked) };
    let mut local = plan.local;
    installed.name(&mut asked, &mut local);
    let mut sites = Vec::new();
    let mut seeds = Seeds { wheels, files: Vec::new() };
    let shared = places.path("PIPX_SHARED_LIBS")?;
    if subcommand == "run" {
        let home = in_two_steps(command, &line, &python, &script, &mut asked)?;
        let place = shared.display().to_string();
        asked.settings.push(("PIPX_SHARED_LIBS".to_owned(), Some(place)));
        sites.extend(uv::site_packages(&home.join("*/*")));
    } else {
        sites.extend(uv::site_packages(&places.path("PIPX_LOCAL_VENVS")?.join("*")));
    }
    sites.extend(uv::site_packages(&shared));
    share(&shared, &places, &python, &mut seeds);
    asked.installed = countersign_engine::account::installed_python(&sites);
    asked.account = Plan::Python(PythonPlan { sites, local, seeds, ..PythonPlan::default() });
    Ok(asked)
}

/// pipx's own words of a command line.
struct Line {
    /// The words that are pipx's: of `pipx run` those before the program.
    options: Vec<String>,
    /// What is to be installed or run, as requirements; of `runpip` pip's arguments.
    targets: Vec<String>,
}

impl Line {
    fn read(texts: &[String], subcommand: &str) -> Self {
        let (mut options, mut targets) = (Vec::new(), Vec::new());
        let mut words = texts.iter();
        let mut seen = false;
        while let Some(word) = words.next() {
            if word.starts_with('-') && word != "--" {
                options.push(word.clone());
                if TAKES.contains(&word.as_str()) {
                    options.extend(words.next().cloned());
                }
            } else if !seen && word == subcommand {
                seen = true;
            } else if subcommand == "run" {
                targets.push(
                    if word == "--" { words.next().cloned() } else { Some(word.clone()) }
                        .unwrap_or_default(),
                );
                break;
            } else if subcommand == "runpip" {
                // The first is the environment, the rest is pip's.
                targets.extend(words.by_ref().filter(|w| *w != "--").cloned());
            } else if word != "--" {
                targets.push(word.clone());
            }
        }
        match subcommand {
            // The first is the environment, or a file that pipx wrote.
            "inject" | "install-all" => drop(targets.drain(..targets.len().min(1))),
            "upgrade" | "reinstall" | "list" | "manifest" | "repair" => targets.clear(),
            _ => {}
        }
        let specs = option_values(&options, "--spec", None);
        if !specs.is_empty() {
            targets = specs;
        }
        if subcommand != "runpip" {
            for option in ["--with", "--preinstall"] {
                targets.extend(option_values(&options, option, None));
            }
        }
        Self { options, targets }
    }

    /// The arguments that pipx gives pip.
    fn pip_args(&self, python: &Path, more: &[String]) -> Result<Vec<OsString>, String> {
        let mut out = Vec::new();
        for text in &option_values(&self.options, "--pip-args", None) {
            out.extend(split_words(python, text)?);
        }
        for index in option_values(&self.options, "--index-url", Some("-i")) {
            out.extend(["--index-url".to_owned(), index]);
        }
        out.extend(more.iter().cloned());
        if let Some(word) = out
            .iter()
            .find(|w| pip::leads_away(w) || w.starts_with("--find-links") || w.starts_with("-f"))
        {
            return Err(format!(
                "`{word}` among pip's arguments would lead pip past the gate; take it out for this run"
            ));
        }
        Ok(out.into_iter().map(OsString::from).collect())
    }
}

/// Splits a text as a shell does, by pipx's own means.
fn split_words(python: &Path, text: &str) -> Result<Vec<String>, String> {
    let code = "import json, shlex, sys; print(json.dumps(shlex.split(sys.argv[1])))";
    let out = probe::output(python.as_os_str(), &["-c", code, text])?;
    serde_json::from_str(&out).map_err(|e| format!("pip's arguments cannot be read: {e}"))
}

/// What `pipx environment` prints.
struct Places(BTreeMap<String, String>);

impl Places {
    fn ask(program: &OsStr, global: bool) -> Result<Self, String> {
        let words: &[&str] = if global { &["environment", "--global"] } else { &["environment"] };
        let text = probe::output(program, words)?;
        // What the user set comes first, what it comes to last.
        let pairs = text.lines().filter_map(|l| l.split_once('='));
        Ok(Self(pairs.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect()))
    }

    fn get(&self, key: &str) -> Option<&String> {
        self.0.get(key).filter(|v| !v.is_empty())
    }

    fn path(&self, key: &str) -> Result<PathBuf, String> {
        let found = self.get(key).map(PathBuf::from);
        found.ok_or_else(|| format!("pipx does not say where {key} is; a newer pipx does"))
    }
}

fn bundled(python: &Path) -> Vec<PathBuf> {
    let text = probe::output(python.as_os_str(), &["-c", BUNDLED]).unwrap_or_default();
    text.lines().filter(|l| !l.is_empty()).map(PathBuf::from).collect()
}

/// pip and uv, whichever of them pipx uses for an environment.
struct Backends<'a> {
    python: &'a Path,
    places: &'a Places,
    wheels: &'a [PathBuf],
}

impl Backends<'_> {
    fn ask(
        &self,
        line: &Line,
        installed: &Recorded,
        memory: &mut dyn probe::Memory,
        asked: &mut Asked,
    ) -> Result<(), String> {
        let uv = self.places.get("PIPX_UV_BINARY").filter(|p| Path::new(p).is_file());
        let chosen = option_values(&line.options, "--backend", None).pop();
        let first = chosen.as_ref().or_else(|| self.places.get("PIPX_RESOLVED_BACKEND"));
        let uv_first = first.is_some_and(|b| b == "uv");
        // Environments remember the arguments that they were made with.
        let mut sets = vec![line.pip_args(self.python, &[])?];
        for more in &installed.pip_args {
            sets.push(line.pip_args(self.python, more)?);
        }
        for uv_now in [uv_first, !uv_first] {
            for args in &sets {
                let mut words: Vec<OsString> = vec!["install".into()];
                words.extend(args.iter().cloned());
                words.extend(line.targets.iter().map(OsString::from));
                if !uv_now {
                    self.ask_pip(&words, uv.is_none(), asked)?;
                } else if let Some(uv) = uv {
                    words.insert(0, "pip".into());
                    if line.targets.is_empty() {
                        // uv says nothing without a package; which one makes no difference.
                        words.push("pip".into());
                    }
                    uv::read_settings(OsStr::new(uv), &words, memory, asked)?;
                }
            }
        }
        // pip and uv mostly say the same.
        let mut seen = BTreeSet::new();
        asked.upstreams.retain(|u| seen.insert(u.address.clone()));
        Ok(())
    }

    /// The pip that pipx uses, one beside pipx, or the one that Python brings along: they read the same
    /// configuration.
    fn ask_pip(&self, words: &[OsString], needed: bool, asked: &mut Asked) -> Result<(), String> {
        let shared = self.places.path("PIPX_SHARED_LIBS")?.join("bin/python");
        let bundled = self
            .wheels
            .iter()
            .find(|w| w.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pip-")));
        let mut tries = vec![(shared.as_path(), None), (self.python, None)];
        tries.extend(bundled.map(|w| (self.python, Some(w.as_path()))));
        let mut why = "no pip was found".to_owned();
        for (python, wheel) in tries.into_iter().filter(|(p, _)| p.is_file()) {
            match pip::question(python, words, wheel) {
                Ok(Some(answer)) => return pip::read_answer(answer, words, asked),
                Ok(None) => return Ok(()),
                Err(e) => why = e,
            }
        }
        if needed { Err(why) } else { Ok(()) }
    }
}

/// What pipx has written down of its environments, which `upgrade` and `reinstall` use again.
#[derive(Default)]
struct Recorded {
    specs: Vec<(PathBuf, String)>,
    pip_args: Vec<Vec<String>>,
}

impl Recorded {
    fn read(places: &Places) -> Self {
        let mut out = Self::default();
        let Ok(venvs) = places.path("PIPX_LOCAL_VENVS") else { return out };
        for entry in std::fs::read_dir(venvs).into_iter().flatten().flatten() {
            let bytes = std::fs::read(entry.path().join("pipx_metadata.json")).unwrap_or_default();
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let injected = json.get("injected_packages").and_then(|i| i.as_object());
            let all = injected.into_iter().flat_map(|m| m.values()).chain(json.get("main_package"));
            for package in all {
                let spec = package.get("package_or_url").and_then(|p| p.as_str());
                out.specs.extend(spec.map(|s| (entry.path(), s.to_owned())));
                let args = package.get("pip_args").and_then(|a| a.as_array());
                let args: Vec<String> = args
                    .into_iter()
                    .flatten()
                    .filter_map(|a| a.as_str().map(str::to_owned))
                    .collect();
                if !args.is_empty() && !out.pip_args.contains(&args) {
                    out.pip_args.push(args);
                }
            }
        }
        out
    }

    /// Names what is behind no index, and takes folders of this machine for the user's own.
    fn name(&self, asked: &mut Asked, local: &mut Vec<PathBuf>) {
        for (venv, spec) in &self.specs {
            match pypi::classify_spec(spec) {
                pypi::Spec::LocalPath { path, .. } => local.extend(pip::file_path(&path)),
                pypi::Spec::Url { .. } | pypi::Spec::Vcs { .. } => {
                    let name = venv.file_name().unwrap_or_default().to_string_lossy();
                    let shown = countersign_engine::shown_address(spec);
                    let why = "a direct address, known to no index".to_owned();
                    asked.doors.push((format!("{name} from {shown}"), why, false));
                }
                _ => {}
            }
        }
    }
}

/// What pipx itself puts into environments: a line that leads to its shared pip.
fn share(shared: &Path, places: &Places, python: &Path, seeds: &mut Seeds) {
    let shared = shared.canonicalize().unwrap_or_else(|_| shared.to_path_buf());
    let mut pythons = vec![python.to_path_buf()];
    pythons.extend(places.get("PIPX_DEFAULT_PYTHON").map(PathBuf::from));
    for python in pythons {
        let code = "import sys; print('python%d.%d' % sys.version_info[:2])";
        let name = probe::output(python.as_os_str(), &["-c", code]).unwrap_or_default();
        let site = shared.join("lib").join(name.trim()).join("site-packages");
        for text in [format!("{}\n", site.display()), site.display().to_string()] {
            seeds.files.push(("pipx_shared.pth".to_owned(), text.into_bytes()));
        }
    }
}

/// Splits `pipx run` in two; gives the home of the first step.
fn in_two_steps(
    command: &Command,
    line: &Line,
    python: &Path,
    script: &Path,
    asked: &mut Asked,
) -> Result<PathBuf, String> {
    if option_values(&line.options, "--backend", None).iter().any(|b| b == "uv") {
        return Err("`pipx run --backend uv` is `uvx`; run that behind the gate instead".to_owned());
    }
    if line.targets.iter().any(|t| t.starts_with("http://") || t.starts_with("https://")) {
        return Err(
            "`pipx run` of an address: it is known to no index; name a release of an index, \
                    or download the file, read it, and run it"
                .to_owned(),
        );
    }
    let folder = tempfile::Builder::new()
        .prefix("countersign-pipx-")
        .tempdir()
        .map_err(|e| format!("a folder for pipx cannot be made: {e}"))?;
    let record = folder.path().join("program.json");
    let mut program: Vec<OsString> = vec![python.into(), "-c".into(), PREPARE.into()];
    program.extend([script.into(), record.clone().into_os_string()]);
    asked.program = Some(program);
    asked.args = Some(command.args.clone());
    asked.then = Some(Then::Recorded(record));
    let home = folder.path().join("home");
    asked.folder = Some(folder);
    Ok(home)
}

/// Leads pip and uv below pipx to the gate.
pub fn equip(
    _command: &Command,
    asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    pip::equip(asked, gate, e)?;
    uv::equip(gate, e)?;
    if let Some(folder) = &asked.folder {
        // Environments that were kept from before never passed the gate.
        e.set("PIPX_HOME", folder.path().join("home"));
        e.set("PIPX_DEFAULT_BACKEND", "pip");
    }
    for (name, value) in &asked.settings {
        e.set(name, value.as_deref().unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let texts: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let words: Vec<OsString> = texts.iter().map(OsString::from).collect();
        let command = Command::detect(&words).unwrap();
        Line::read(&command.texts(), &command.subcommand().unwrap())
    }

    #[test]
    fn command_lines_are_taken_apart() {
        for (text, targets) in [
            ("pipx install --python 3.12 cowsay", "cowsay"),
            ("pipx install a b==1 --preinstall c", "a b==1 c"),
            ("pipx inject env x y", "x y"),
            ("pipx run --with a cowsay -t hi --with b", "cowsay a"),
            ("pipx run --spec cowsay==6 cowsay -t hi", "cowsay==6"),
            ("pipx upgrade cowsay", ""),
            ("pipx runpip env install -U x", "install -U x"),
            ("pipx --global install x", "x"),
        ] {
            assert_eq!(line(text).targets.join(" "), targets, "{text}");
        }
    }

    #[test]
    fn arguments_for_pip_that_lead_away_are_refused() {
        let python = probe::which(OsStr::new("python3"));
        let Some(python) = python else { return };
        for (args, ok) in [
            ("--no-deps", true),
            ("--proxy=http://x.example", false),
            ("--find-links=/x", false),
            ("-f/x", false),
            ("--cert=/x", false),
        ] {
            let found = line(&format!("pipx install --pip-args={args} x")).pip_args(&python, &[]);
            assert_eq!(found.is_ok(), ok, "{args}");
        }
    }
}
