//! The package managers: how each is asked where it fetches from, and how it is led to the gate.

pub mod apt;
pub mod bun;
pub mod cargo;
pub mod node;
pub mod npm;
pub mod npx;
pub mod pip;
pub mod pipx;
pub mod pnpm;
pub mod pnpm_shims;
pub mod poetry;
pub mod probe;
pub mod uv;
pub mod uv_tool;
pub mod yarn;
pub mod yarn_berry;
pub mod yarn_classic;

use countersign_core::{Ecosystem, ExpectedDigest, Purl};
use countersign_engine::account::Plan as AccountPlan;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Which package manager a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// pip, in any spelling.
    Pip,
    /// uv.
    Uv,
    /// npm.
    Npm,
    /// cargo.
    Cargo,
    /// apt-get and apt.
    Apt,
    /// `uvx`, `uv tool run`, `uv tool install`, `uv run`.
    UvTool,
    /// pipx.
    Pipx,
    /// poetry.
    Poetry,
    /// `npx` and `npm exec`.
    Npx,
    /// pnpm.
    Pnpm,
    /// yarn, 1 and berry.
    Yarn,
    /// bun.
    Bun,
}

impl Client {
    /// The client's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv => "uv",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Apt => "apt",
            Self::UvTool => "uv",
            Self::Pipx => "pipx",
            Self::Poetry => "poetry",
            Self::Npx => "npx",
            Self::Pnpm => "pnpm",
            Self::Yarn => "yarn",
            Self::Bun => "bun",
        }
    }

    /// Whose packages it installs.
    pub fn ecosystem(self) -> Ecosystem {
        match self {
            Self::Pip | Self::Uv | Self::UvTool | Self::Pipx | Self::Poetry => Ecosystem::Pypi,
            Self::Npm | Self::Npx | Self::Pnpm | Self::Yarn | Self::Bun => Ecosystem::Npm,
            Self::Cargo => Ecosystem::Cargo,
            Self::Apt => Ecosystem::Debian,
        }
    }
}

/// The command to run, split into what starts the client and what the client is told.
#[derive(Debug, Clone)]
pub struct Command {
    /// Which client it is.
    pub client: Client,
    /// The program, with the words that belong to it (`python -m pip`).
    pub program: Vec<OsString>,
    /// The client's own arguments.
    pub args: Vec<OsString>,
}

impl Command {
    /// Recognises a command; `Err` says what is recognised. A shim of `countersign setup` stands for
    /// the program behind it: the gate is here already.
    pub fn detect(words: &[OsString]) -> Result<Self, String> {
        let mut command = Self::recognise(words)?;
        if let Some(first) = command.program.first_mut()
            && let Some(real) = probe::behind_shim(first)
        {
            *first = real.into_os_string();
        }
        Ok(command)
    }

    fn recognise(words: &[OsString]) -> Result<Self, String> {
        let Some(first) = words.first() else {
            return Err("no command was given".to_owned());
        };
        let base = Path::new(first).file_name().and_then(|n| n.to_str()).unwrap_or("");
        let take = |client, n: usize| Self {
            client,
            program: words.iter().take(n).cloned().collect(),
            args: words.iter().skip(n).cloned().collect(),
        };
        let word = |i: usize| words.get(i).and_then(|w| w.to_str());
        if is_versioned(base, "pip") {
            return Ok(take(Client::Pip, 1));
        }
        if is_versioned(base, "python") && word(1) == Some("-m") && word(2) == Some("pip") {
            return Ok(take(Client::Pip, 3));
        }
        match base {
            "uv" if uv_tool::is_tool(words) => Ok(take(Client::UvTool, 1)),
            "uv" => Ok(take(Client::Uv, 1)),
            "uvx" => Ok(take(Client::UvTool, 1)),
            "pipx" => Ok(take(Client::Pipx, 1)),
            "poetry" => Ok(take(Client::Poetry, 1)),
            "npm" if npx::is_exec(words) => Ok(take(Client::Npx, 1)),
            "npm" => Ok(take(Client::Npm, 1)),
            "npx" => Ok(take(Client::Npx, 1)),
            "pnpm" | "pnpx" | "pn" | "pnx" => Ok(take(Client::Pnpm, 1)),
            "yarn" | "yarnpkg" => Ok(take(Client::Yarn, 1)),
            "bun" | "bunx" => Ok(take(Client::Bun, 1)),
            "cargo" => Ok(take(Client::Cargo, 1)),
            "apt-get" | "apt" => Ok(take(Client::Apt, 1)),
            "sudo" => Err(
                "`sudo` hides the client from the gate; put it first: sudo countersign run -- …"
                    .to_owned(),
            ),
            other => Err(format!(
                "`{other}` is no client that the gate knows; it knows pip, python -m pip, uv, uvx, pipx, poetry, npm, npx, pnpm, yarn, bun, cargo, apt-get and apt"
            )),
        }
    }

    /// The client's arguments as text, where they are text.
    pub fn texts(&self) -> Vec<String> {
        self.args.iter().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    /// The subcommand: the first argument that is one of the client's, and no value of an option that
    /// stands before it.
    pub fn subcommand(&self) -> Option<String> {
        let known: &[&str] = match self.client {
            Client::Pip => &["install", "download", "wheel"],
            Client::Uv => &[
                "pip", "add", "sync", "lock", "remove", "run", "tool", "export", "tree", "venv",
                "init", "build", "publish", "python", "help", "version", "cache", "self", "auth",
                "format",
            ],
            Client::Npm => &[
                "install",
                "i",
                "add",
                "ci",
                "clean-install",
                "update",
                "up",
                "install-test",
                "it",
                "install-ci-test",
                "cit",
                "in",
                "ins",
                "isntall",
            ],
            Client::Cargo => &[
                "fetch",
                "build",
                "b",
                "install",
                "check",
                "c",
                "test",
                "t",
                "run",
                "r",
                "add",
                "update",
                "bench",
                "doc",
                "d",
                "clippy",
                "tree",
                "metadata",
                "generate-lockfile",
                "vendor",
                "package",
                "rustc",
            ],
            Client::Apt => &[
                "install",
                "download",
                "update",
                "upgrade",
                "dist-upgrade",
                "full-upgrade",
                "remove",
                "source",
                "build-dep",
                "reinstall",
                "satisfy",
            ],
            Client::UvTool => uv_tool::SUBCOMMANDS,
            Client::Pipx => pipx::SUBCOMMANDS,
            Client::Poetry => poetry::SUBCOMMANDS,
            Client::Npx => npx::SUBCOMMANDS,
            Client::Pnpm => pnpm::SUBCOMMANDS,
            Client::Yarn => yarn::SUBCOMMANDS,
            Client::Bun => bun::SUBCOMMANDS,
        };
        let texts = self.texts();
        let own: &[&str] = if self.client == Client::Poetry { &["-P"] } else { &[] };
        let found = words_of(&texts, own).find(|a| known.contains(&a.as_str()));
        found.cloned().or_else(|| texts.into_iter().find(|a| !a.starts_with(['-', '+'])))
    }
}

/// Options that clients take before their subcommand, with a value in the next word.
const GENERAL: [&str; 7] = [
    "--directory",
    "--project",
    "-C",
    "--prefix",
    "--config-file",
    "--cache-dir",
    "--manifest-path",
];

/// The words before `--` that are no values of such options, nor of these `more`.
fn words_of<'t>(texts: &'t [String], more: &'t [&'t str]) -> impl Iterator<Item = &'t String> {
    let before = std::iter::once("").chain(texts.iter().map(String::as_str));
    texts
        .iter()
        .zip(before)
        .take_while(|(word, _)| *word != "--")
        .filter(|(_, before)| !GENERAL.contains(before) && !more.contains(before))
        .map(|(word, _)| word)
}

fn is_versioned(base: &str, name: &str) -> bool {
    base.strip_prefix(name).is_some_and(|v| v.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// An upstream as the client's configuration names it.
#[derive(Clone)]
pub struct Seed {
    /// The protocol.
    pub ecosystem: Ecosystem,
    /// The address as configured; it may hold credentials and is never printed.
    pub address: String,
    /// The keyring that the client trusts for it.
    pub keyring: Option<String>,
    /// Whether it serves only packages that the client's configuration binds to it.
    pub explicit: bool,
}

/// What asking the client told.
#[derive(Default)]
pub struct Asked {
    /// Where it fetches from, in its order of precedence.
    pub upstreams: Vec<Seed>,
    /// Versions that the user names exactly.
    pub pins: Vec<Purl>,
    /// Versions that are installed now.
    pub installed: Vec<Purl>,
    /// The registry of each npm scope that has one of its own.
    pub scopes: HashMap<String, String>,
    /// Versions that a lock file says will be needed: judged ahead, while the client still starts.
    pub ahead: Vec<Purl>,
    /// Digests that the project's lock file demands.
    pub locked: HashMap<Purl, Vec<ExpectedDigest>>,
    /// Side doors that are closed before the start: what, why, and whether the command itself asks
    /// for something behind it.
    pub doors: Vec<(String, String, bool)>,
    /// Files of certificates that the client trusts beyond the system's.
    pub roots: Vec<PathBuf>,
    /// How to reconcile afterwards.
    pub account: AccountPlan,
    /// The client's arguments, where the gate had to take something out.
    pub args: Option<Vec<OsString>>,
    /// What starts the client, where the gate starts it another way than the user typed.
    pub program: Option<Vec<OsString>>,
    /// A folder of this run that the client works in, when its place must be known beforehand.
    pub folder: Option<tempfile::TempDir>,
    /// What to start without the gate once everything is reconciled: the program for which a client
    /// only prepares an environment.
    pub then: Option<Then>,
    /// Variables that the client gets beside what leads it to the gate; `None` stands for the run's
    /// certificate.
    pub settings: Vec<(String, Option<String>)>,
    /// Something that the command names and that cannot be led through the gate.
    pub refused: Option<String>,
    /// Whether what is judged ahead is judged before the client starts, because it would take it
    /// from a store of its own.
    pub ahead_first: bool,
    /// Packages that the project takes from folders of this machine, by name (npm and its like).
    pub local_names: Vec<String>,
    /// The folder of npm's own cache, in which its logs stay.
    pub npm_cache: Option<PathBuf>,
    /// Whether a configuration file of pip names find-links.
    pub links_configured: bool,
    /// Debian's signed lists on this machine.
    pub debian: Vec<countersign_engine::debian::ListFile>,
    /// Crates of a lock file that lie in cargo's own cache.
    pub cached: Vec<countersign_engine::local::CachedFile>,
}

/// The program that a client (`uvx`, `pipx run`) prepares an environment for.
#[derive(Debug, Clone)]
pub enum Then {
    /// These words, in the user's own environment but for these variables.
    Words(Vec<OsString>, &'static [&'static str]),
    /// What the client wanted to become, as it left it in this file.
    Recorded(PathBuf),
}

/// What a client needs to reach the gate.
pub struct Gate<'g> {
    /// The proxy's address with the secret.
    pub proxy: &'g str,
    /// The certificate of this run alone, as a file.
    pub certificate: &'g Path,
    /// The folder of this run.
    pub folder: &'g Path,
}

/// Changes to the environment of the client's process.
#[derive(Debug, Default)]
pub struct Equipment {
    /// Variables to set.
    pub set: Vec<(String, OsString)>,
    /// Variables to take away.
    pub remove: Vec<String>,
    /// Arguments to put before the client's own.
    pub before: Vec<OsString>,
}

impl Equipment {
    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.set.push((name.to_owned(), value.into()));
    }

    /// What every client needs: no exceptions from the proxy, and no git transport of its own.
    pub fn common(&mut self) {
        for name in ["NO_PROXY", "no_proxy"] {
            self.remove.push(name.to_owned());
        }
        // Git would fetch past the gate; with no transport allowed it says so and stops.
        self.set("GIT_ALLOW_PROTOCOL", "closed-by-countersign");
    }
}

/// Asks a client where it fetches from.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    match command.client {
        Client::Pip => pip::ask(command),
        Client::Uv => uv::ask(command, memory),
        Client::Npm => npm::ask(command),
        Client::Cargo => cargo::ask(command, memory),
        Client::Apt => apt::ask(command),
        Client::UvTool => uv_tool::ask(command, memory),
        Client::Pipx => pipx::ask(command, memory),
        Client::Poetry => poetry::ask(command),
        Client::Npx => npx::ask(command),
        Client::Pnpm => pnpm::ask(command, memory),
        Client::Yarn => yarn::ask(command),
        Client::Bun => bun::ask(command, memory),
    }
}

/// Equips a client for the gate.
pub fn equip(command: &Command, asked: &Asked, gate: &Gate<'_>) -> Result<Equipment, String> {
    let mut e = Equipment::default();
    e.common();
    match command.client {
        Client::Pip => pip::equip(asked, gate, &mut e),
        Client::Uv => uv::equip(gate, &mut e),
        Client::Npm => npm::equip(asked, gate, &mut e),
        Client::Cargo => cargo::equip(command, gate, &mut e),
        Client::Apt => apt::equip(asked, gate, &mut e),
        Client::UvTool => uv_tool::equip(command, asked, gate, &mut e),
        Client::Pipx => pipx::equip(command, asked, gate, &mut e),
        Client::Poetry => poetry::equip(command, asked, gate, &mut e),
        Client::Npx => npx::equip(command, asked, gate, &mut e),
        Client::Pnpm => pnpm::equip(command, asked, gate, &mut e),
        Client::Yarn => yarn::equip(command, asked, gate, &mut e),
        Client::Bun => bun::equip(command, asked, gate, &mut e),
    }?;
    Ok(e)
}

/// An option's values in an argument list: `--name V`, `--name=V`, `-n V`, `-nV`.
pub fn option_values(args: &[String], long: &str, short: Option<&str>) -> Vec<String> {
    let mut out = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word == long || Some(word.as_str()) == short {
            out.extend(words.next().cloned());
        } else if let Some(v) = word.strip_prefix(long).and_then(|r| r.strip_prefix('=')) {
            out.push(v.to_owned());
        } else if let Some(v) =
            short.and_then(|s| word.strip_prefix(s)).filter(|_| !word.starts_with("--"))
        {
            out.push(v.to_owned());
        }
    }
    out
}

/// An argument list without an option and its values.
pub fn without_option(args: &[OsString], long: &str, short: Option<&str>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            out.push(word.clone());
            out.extend(words.by_ref().cloned());
            break;
        }
        let joined = text.strip_prefix(long).is_some_and(|r| r.starts_with('='))
            || short.is_some_and(|s| {
                !text.starts_with("--") && text.len() > s.len() && text.starts_with(s)
            });
        if text == long || Some(text.as_ref()) == short {
            words.next();
        } else if !joined {
            out.push(word.clone());
        }
    }
    out
}

/// The nearest folder from `start` upwards that holds `file`.
pub fn find_upwards(start: &Path, file: &str) -> Option<PathBuf> {
    start.ancestors().map(|d| d.join(file)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn clients_are_recognised_in_their_spellings() {
        for (text, client, args) in [
            ("pip install flask", Client::Pip, 2),
            ("pip3.11 install flask", Client::Pip, 2),
            ("/opt/venv/bin/python3 -m pip download x", Client::Pip, 2),
            ("uv pip install x", Client::Uv, 3),
            ("npm ci", Client::Npm, 1),
            ("cargo +nightly build", Client::Cargo, 2),
            ("apt-get install -y hello", Client::Apt, 3),
            ("uvx cowsay -t hi", Client::UvTool, 3),
            ("uv tool install x", Client::UvTool, 3),
            ("uv run x", Client::UvTool, 2),
            ("pipx run x", Client::Pipx, 2),
            ("poetry add x", Client::Poetry, 2),
        ] {
            let c = Command::detect(&words(text)).unwrap();
            assert_eq!((c.client, c.args.len()), (client, args), "{text}");
        }
        for text in ["pipenv install", "bash -c ls", "sudo apt-get install x", "python script.py"] {
            assert!(Command::detect(&words(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn the_subcommand_is_found_behind_options() {
        for (text, want) in [
            ("cargo +stable --offline fetch", "fetch"),
            ("cargo --color always install ripgrep", "install"),
            ("uv --directory d sync", "sync"),
            ("uv --directory lock sync", "sync"),
            ("poetry -C lock install", "install"),
            ("poetry -P lock install", "install"),
            ("pnpm -P install", "install"),
            ("npm --prefix d ci", "ci"),
            ("npm ls", "ls"),
        ] {
            let c = Command::detect(&words(text)).unwrap();
            assert_eq!(c.subcommand().as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn options_are_read_and_taken_out() {
        let args: Vec<String> =
            ["-f", "a", "-fb", "--find-links=c", "--find-links", "d", "flask", "--", "-f", "e"]
                .map(String::from)
                .to_vec();
        assert_eq!(option_values(&args, "--find-links", Some("-f")), ["a", "b", "c", "d"]);
        let os: Vec<OsString> = args.iter().map(OsString::from).collect();
        assert_eq!(without_option(&os, "--find-links", Some("-f")), words("flask -- -f e"));
    }
}
