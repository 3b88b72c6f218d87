//! `uvx`, `uv tool` and `uv run`.
//!
//! What runs a program does so in two steps: behind the gate uv only prepares the environment, in a
//! cache of this run alone, and it is reconciled; then uv starts the program from that cache, with no
//! network for itself, outside the gate. So nothing runs that was not reconciled, and the program has
//! the network that it always had.

use super::{Asked, Command, Equipment, Gate, Seed, Then, probe, uv};
use countersign_core::Ecosystem;
use countersign_engine::account::{Plan, PythonPlan};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &["tool", "run"];

/// uv's subcommands, among which the first counts.
const ALL: [&str; 21] = [
    "auth", "run", "init", "add", "remove", "version", "sync", "lock", "export", "tree", "format",
    "audit", "tool", "python", "pip", "venv", "build", "publish", "cache", "self", "help",
];

/// Options with a value that uv's help does not show.
const HIDDEN: [&str; 3] = ["--python-preference", "--preview-features", "--max-recursion-depth"];

/// Options that make uv fetch again what it has: they are meant for the first step.
const RENEWING: [&str; 12] = [
    "-n",
    "--no-cache",
    "--cache-dir",
    "--refresh",
    "--refresh-package",
    "-U",
    "--upgrade",
    "-P",
    "--upgrade-package",
    "--upgrade-group",
    "--reinstall",
    "--reinstall-package",
];

/// Whether a `uv` command runs or installs a tool, or runs a program in a project.
pub fn is_tool(words: &[OsString]) -> bool {
    let texts: Vec<String> =
        words.iter().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    let first = super::words_of(&texts, &[]).find(|w| ALL.contains(&w.as_str()));
    first.is_some_and(|w| w == "tool" || w == "run")
}

/// What a command line wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// `uvx`, `uv tool run`.
    ToolRun,
    /// `uv run`.
    ProjectRun,
    /// `uv tool install`.
    Install,
    /// `uv tool upgrade`.
    Upgrade,
    /// Another subcommand of `uv tool`, or help.
    Other,
}

/// A command line, taken apart.
#[derive(Debug)]
struct Line {
    task: Task,
    /// The words before what is to be run, subcommands among them.
    options: Vec<OsString>,
    /// What is to be run or installed, with its arguments.
    target: Vec<OsString>,
    /// Where the subcommand's own words begin among the options.
    own: usize,
}

impl Line {
    fn read(program: &OsStr, args: &[OsString], takes: &BTreeSet<String>) -> Self {
        let word = |i: usize| args.get(i).and_then(|w| w.to_str()).unwrap_or("");
        let mut own = 0;
        let task = if Path::new(program).file_name().is_some_and(|n| n == "uvx") {
            Task::ToolRun
        } else {
            let first = positional(args, 0, takes).unwrap_or(args.len());
            own = first + 1;
            match word(first) {
                "run" => Task::ProjectRun,
                "tool" => {
                    let second = positional(args, own, takes).unwrap_or(args.len());
                    own = second + 1;
                    match word(second) {
                        "run" | "uvx" => Task::ToolRun,
                        "install" => Task::Install,
                        "upgrade" => Task::Upgrade,
                        _ => Task::Other,
                    }
                }
                _ => Task::Other,
            }
        };
        let own = own.min(args.len());
        let at = positional(args, own, takes).unwrap_or(args.len());
        let (options, target) = args.split_at(at);
        Self { task, options: options.to_vec(), target: target.to_vec(), own }
    }

    fn texts(&self) -> Vec<String> {
        self.options.iter().map(|w| w.to_string_lossy().into_owned()).collect()
    }

    fn has(&self, flag: &str) -> bool {
        self.options.iter().any(|w| w == flag)
    }

    fn values(&self, long: &str, short: Option<&str>) -> Vec<String> {
        super::option_values(&self.texts(), long, short)
    }

    /// The command or script that is run.
    fn command(&self) -> Option<&str> {
        self.target.first().and_then(|w| w.to_str())
    }
}

/// The index of the first word from `from` on that is neither an option nor an option's value.
fn positional(args: &[OsString], from: usize, takes: &BTreeSet<String>) -> Option<usize> {
    let mut at = from;
    while let Some(word) = args.get(at) {
        let text = word.to_string_lossy();
        if text == "--" {
            return (at + 1 < args.len()).then_some(at + 1);
        }
        if !text.starts_with('-') || text == "-" {
            return Some(at);
        }
        at += 1 + usize::from(wants_next(&text, takes));
    }
    None
}

/// Whether an option's value is the next word.
fn wants_next(text: &str, takes: &BTreeSet<String>) -> bool {
    if text.starts_with("--") {
        return takes.contains(text);
    }
    // Of short options in one word the first that takes a value takes the rest of the word.
    let letters: Vec<char> = text.chars().skip(1).collect();
    let first = letters.iter().position(|c| takes.contains(&format!("-{c}")));
    first.is_some_and(|i| i + 1 == letters.len())
}

/// The words without some options and their values.
fn without(words: &[OsString], drop: &[&str], takes: &BTreeSet<String>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        let name = text.split('=').next().unwrap_or("");
        let dropped = drop.contains(&name);
        if !dropped {
            out.push(word.clone());
        }
        if text.starts_with('-') && wants_next(&text, takes) {
            let value = rest.next();
            if !dropped {
                out.extend(value.cloned());
            }
        }
    }
    out
}

/// Which of uv's options take a value, in its own words (`--help`).
fn options_with_values(
    uv: &Path,
    memory: &mut dyn probe::Memory,
) -> Result<BTreeSet<String>, String> {
    let key = format!("uv-options {}", probe::identity(uv));
    let text = match memory.get(&key) {
        Some(known) => known,
        None => {
            let mut names = BTreeSet::new();
            for words in [
                &["tool", "run", "--help"][..],
                &["tool", "install", "--help"],
                &["tool", "upgrade", "--help"],
                &["run", "--help"],
            ] {
                read_help(&probe::output(uv.as_os_str(), words)?, &mut names);
            }
            let text = names.into_iter().collect::<Vec<_>>().join(" ");
            memory.put(&key, &text);
            text
        }
    };
    Ok(text.split(' ').chain(HIDDEN).map(str::to_owned).collect())
}

/// Lines such as `-w, --with <WITH>`.
fn read_help(text: &str, names: &mut BTreeSet<String>) {
    for line in text.lines().filter(|l| l.trim_start().starts_with('-')) {
        let mut words = line.split_whitespace();
        let flags: Vec<&str> = words.by_ref().take_while(|w| w.starts_with('-')).collect();
        // `take_while` consumed the word behind the flags.
        let behind = line.split_whitespace().nth(flags.len());
        if behind.is_some_and(|w| w.starts_with('<')) {
            names.extend(flags.iter().map(|f| f.trim_end_matches(',').to_owned()));
        }
    }
}

/// Asks uv where it fetches from, and splits what it should do into what the gate watches and what
/// runs afterwards.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let program = command.program.first().cloned().unwrap_or_default();
    let uv = uv::real_uv(&program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let takes = options_with_values(&uv, memory)?;
    let line = Line::read(&program, &command.args, &takes);
    let runs = matches!(line.task, Task::ToolRun | Task::ProjectRun);
    let says = line.has("--help") || line.has("-h") || line.has("--version") || line.has("-V");
    if line.task == Task::Other || says || (runs && line.target.is_empty()) {
        return Ok(asked);
    }
    let mut words = line.options.clone();
    words.extend(line.target.iter().take(if runs { 1 } else { usize::MAX }).cloned());
    uv::read_settings(&program, &words, memory, &mut asked)?;
    let mut local = Vec::new();
    uv::read_words(specs(&line), &mut asked, &mut local);
    local.extend(line.values("--with-editable", None).into_iter().map(PathBuf::from));
    for file in line.values("--with-requirements", None) {
        uv::read_path(Path::new(&file), &mut asked, &mut local, 0);
    }
    uv::refuse(&asked)?;
    let mut sites = match line.task {
        Task::Install | Task::Upgrade => installed_tools(&uv, &mut asked)?,
        _ => Vec::new(),
    };
    if line.task == Task::ProjectRun {
        sites.extend(project(command, &line, &mut asked, &mut local)?);
    }
    if runs {
        sites.extend(in_two_steps(&program, &line, &takes, &mut asked)?);
    }
    asked.installed = countersign_engine::account::installed_python(&sites);
    asked.account = Plan::Python(PythonPlan { sites, local, ..PythonPlan::default() });
    Ok(asked)
}

/// The packages that a command line names, as requirements.
fn specs(line: &Line) -> Vec<String> {
    let mut out = line.values("--with", Some("-w"));
    let from = line.values("--from", None);
    match line.task {
        Task::ToolRun if from.is_empty() => {
            out.extend(line.command().filter(|c| !is_python(c)).map(str::to_owned));
        }
        Task::Install => {
            let words = line.target.iter().map(|w| w.to_string_lossy().into_owned());
            let editable = line.has("-e") || line.has("--editable");
            out.extend(words.filter(|w| !editable || Path::new(w).exists()));
        }
        _ => {}
    }
    out.extend(from);
    out.iter().flat_map(|w| w.split(',')).map(|w| as_requirement(w.trim())).collect()
}

/// `ruff@0.3.0` as `ruff==0.3.0`, `ruff@latest` as `ruff`.
fn as_requirement(word: &str) -> String {
    match word.split_once('@') {
        Some((name, "latest")) => name.to_owned(),
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{name}=={version}")
        }
        _ => word.to_owned(),
    }
}

/// Whether `uvx` takes the word for an interpreter and not for a package.
fn is_python(word: &str) -> bool {
    let name = word.split('@').next().unwrap_or(word);
    let rest = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    rest.is_some_and(|v| v.chars().all(|c| c.is_ascii_digit() || c == '.' || c == 'w'))
}

/// The environments of installed tools. A tool may be bound to indexes of its own, which its receipt
/// names.
fn installed_tools(uv: &Path, asked: &mut Asked) -> Result<Vec<PathBuf>, String> {
    let folder = PathBuf::from(probe::output(uv.as_os_str(), &["tool", "dir"])?.trim());
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let text =
            std::fs::read_to_string(entry.path().join("uv-receipt.toml")).unwrap_or_default();
        let Ok(receipt) = text.parse::<toml::Table>() else { continue };
        let options = receipt.get("tool").and_then(|t| t.get("options"));
        if options.is_some_and(|o| o.get("find-links").is_some()) {
            return Err(format!(
                "the tool `{}` was installed with find-links, which are no index; install it anew without",
                entry.file_name().to_string_lossy()
            ));
        }
        let indexes = options.and_then(|o| o.get("index")).and_then(|i| i.as_array());
        for index in indexes.into_iter().flatten() {
            if let Some(address) = index.get("url").and_then(|u| u.as_str()) {
                let explicit = index.get("explicit").and_then(|e| e.as_bool()).unwrap_or(false);
                let seed = Seed {
                    ecosystem: Ecosystem::Pypi,
                    address: address.to_owned(),
                    keyring: None,
                    explicit,
                };
                asked.upstreams.insert(0, seed);
            }
        }
    }
    Ok(uv::site_packages(&folder.join("*")).to_vec())
}

/// What `uv run` uses of the project, and where it installs it.
fn project(
    command: &Command,
    line: &Line,
    asked: &mut Asked,
    local: &mut Vec<PathBuf>,
) -> Result<Vec<PathBuf>, String> {
    let isolated = std::env::var_os("UV_ISOLATED").is_some();
    if line.has("--isolated") || isolated {
        return Err("`uv run --isolated` works in an environment that is gone before it could be \
                    reconciled; use `--with` without it, or uvx"
            .to_owned());
    }
    if line.command().is_some_and(|c| c.starts_with("http://") || c.starts_with("https://")) {
        return Err("`uv run` of a script at an address: it is known to no index; download it, \
                    read it, and run the file"
            .to_owned());
    }
    if line.has("--no-project") {
        return Ok(Vec::new());
    }
    let here = uv::working_folder(&line.texts());
    let upgrades = ["-U", "--upgrade", "-P", "--upgrade-package", "--upgrade-group"];
    let exact = !upgrades.iter().any(|o| line.has(o));
    uv::read_project(&here, exact, asked, local);
    let own = Command { args: line.options.clone(), ..command.clone() };
    Ok(uv::sites(&own, &here))
}

/// Splits a run in two: preparing behind the gate, and running from the run's own cache. Gives where
/// the prepared environments lie.
fn in_two_steps(
    program: &OsStr,
    line: &Line,
    takes: &BTreeSet<String>,
    asked: &mut Asked,
) -> Result<Vec<PathBuf>, String> {
    let folder = tempfile::Builder::new()
        .prefix("countersign-uv-")
        .tempdir()
        .map_err(|e| format!("a folder for uv's cache cannot be made: {e}"))?;
    let cache = folder.path().join("cache");
    asked.args = Some(preparing(line, takes)?);
    let mut words = vec![program.to_owned(), "--offline".into(), "--cache-dir".into()];
    words.push(cache.clone().into_os_string());
    words.extend(without(&line.options, &RENEWING, takes));
    words.extend(line.target.iter().cloned());
    asked.then = Some(Then::Words(words, &["UV_NO_CACHE", "UV_CACHE_DIR", "UV_REFRESH"]));
    asked.folder = Some(folder);
    // Environments lie one level below the cache's parts (`archive-v0`, `environments-v2`).
    Ok(uv::site_packages(&cache.join("*/*")).to_vec())
}

/// The arguments that make uv prepare the environment and run nothing of it.
fn preparing(line: &Line, takes: &BTreeSet<String>) -> Result<Vec<OsString>, String> {
    let mut drop = vec!["-n", "--no-cache", "--cache-dir"];
    let nothing = ["python", "-c", "pass"];
    let command = line.command().unwrap_or_default();
    if line.task == Task::ToolRun {
        let mut args = without(&line.options, &drop, takes);
        args.retain(|w| w != "--");
        if is_python(command) {
            args.push(command.into());
        } else {
            if line.values("--from", None).is_empty() {
                args.extend(["--from".into(), command.into()]);
            }
            args.push("python".into());
        }
        args.extend(["-c".into(), "pass".into()]);
        return Ok(args);
    }
    drop.extend(["-m", "--module", "-s", "--script", "--gui-script"]);
    let is_script = line.has("-s") || line.has("--script") || command.ends_with(".py");
    if !is_script || !has_metadata(&uv::working_folder(&line.texts()), command) {
        let mut args = without(&line.options, &drop, takes);
        args.retain(|w| w != "--");
        args.extend(nothing.map(OsString::from));
        return Ok(args);
    }
    // A script with dependencies of its own (PEP 723) has an environment of its own.
    for option in ["--with", "-w", "--with-editable", "--with-requirements"] {
        if !line.values(option, None).is_empty() {
            return Err(format!(
                "`{option}` beside a script with its own dependencies: the gate cannot prepare both; \
                 name them in the script (uv add --script)"
            ));
        }
    }
    drop.extend(["--env-file", "--no-env-file", "--no-sync", "--no-project"]);
    let mut args: Vec<OsString> = line.options.iter().take(line.own).cloned().collect();
    if let Some(last) = args.last_mut() {
        *last = "sync".into();
    }
    let own: Vec<OsString> = line.options.iter().skip(line.own).cloned().collect();
    args.extend(without(&own, &drop, takes));
    args.retain(|w| w != "--");
    args.extend(["--script".into(), command.into()]);
    Ok(args)
}

/// Whether a script has inline metadata (PEP 723).
fn has_metadata(here: &Path, script: &str) -> bool {
    let bytes = std::fs::read(here.join(script)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().any(|l| l.trim_end() == "# /// script")
}

/// Leads uv to the gate.
pub fn equip(
    _command: &Command,
    asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    uv::equip(gate, e)?;
    if let Some(folder) = &asked.folder {
        // The second step works from the cache that the first one fills.
        e.set.retain(|(name, _)| name != "UV_NO_CACHE");
        e.remove.push("UV_NO_CACHE".to_owned());
        e.set("UV_CACHE_DIR", folder.path().join("cache"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn takes() -> BTreeSet<String> {
        let help = "  -w, --with <WITH>\n      --from <FROM>\n  -p, --python <PYTHON>   The one\n  \
                    -n, --no-cache\n      --cache-dir <DIR>\n  -m, --module\n  -q, --quiet...\n \
                    --project <P>\n";
        let mut names = BTreeSet::new();
        read_help(help, &mut names);
        names
    }

    fn line(text: &str) -> Line {
        let all = words(text);
        Line::read(&all[0], &all[1..], &takes())
    }

    fn joined(words: &[OsString]) -> String {
        words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn commands_are_taken_apart() {
        assert_eq!(
            takes().into_iter().collect::<Vec<_>>(),
            ["--cache-dir", "--from", "--project", "--python", "--with", "-p", "-w"]
        );
        for (text, task, target) in [
            ("uvx cowsay -t hi", Task::ToolRun, "cowsay -t hi"),
            ("uvx -q -p 3.12 --with=a cowsay --with b", Task::ToolRun, "cowsay --with b"),
            ("uvx -p3.12 -qw a cowsay", Task::ToolRun, "cowsay"),
            ("uvx", Task::ToolRun, ""),
            ("uv tool run --from a b c", Task::ToolRun, "b c"),
            ("uv --project run run x", Task::ProjectRun, "x"),
            ("uv run -m pytest -q", Task::ProjectRun, "pytest -q"),
            ("uv run -- ls -l", Task::ProjectRun, "ls -l"),
            ("uv tool install ruff", Task::Install, "ruff"),
            ("uv tool upgrade --all", Task::Upgrade, ""),
            ("uv tool list", Task::Other, ""),
        ] {
            let found = line(text);
            assert_eq!((found.task, joined(&found.target).as_str()), (task, target), "{text}");
        }
        for (text, want) in [
            ("uv tool list", true),
            ("uv run x", true),
            ("uv pip install run", false),
            ("uv --directory run sync", false),
        ] {
            assert_eq!(is_tool(&words(text)), want, "{text}");
        }
    }

    #[test]
    fn the_first_step_runs_nothing_of_the_package() {
        for (text, want) in [
            ("uvx cowsay@6.0 -t hi", "--from cowsay@6.0 python -c pass"),
            ("uvx -n --with a,b cowsay", "--with a,b --from cowsay python -c pass"),
            ("uvx --from x y", "--from x python -c pass"),
            ("uvx python@3.12 -V", "python@3.12 -c pass"),
            ("uv tool run -q x", "tool run -q --from x python -c pass"),
            ("uv run --with a -m pytest -q", "run --with a python -c pass"),
            ("uv run --cache-dir d -- ls", "run python -c pass"),
        ] {
            assert_eq!(joined(&preparing(&line(text), &takes()).unwrap()), want, "{text}");
        }
    }

    #[test]
    fn packages_are_read_as_requirements() {
        for (text, want) in [
            ("uvx ruff@0.3.0", "ruff==0.3.0"),
            ("uvx ruff@latest", "ruff"),
            ("uvx --with a,b==1 --from c d", "a b==1 c"),
            ("uvx python", ""),
            ("uv tool install x@1", "x==1"),
            ("uv run --with a x", "a"),
        ] {
            assert_eq!(specs(&line(text)).join(" "), want, "{text}");
        }
        assert!(is_python("python3.12") && is_python("pypy") && !is_python("python-dotenv"));
    }
}
