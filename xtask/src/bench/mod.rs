//! Bench: how fast clients are through the gate, beside direct and beside other servers.
//!
//! `cargo xtask bench` measures the same command of the same client on all sides, in one run on one
//! machine, and writes what it found to `docs/performance.md`. Where packages come from is asked of
//! the clients; nothing about registries is known here. What cannot be measured is said in the
//! document, and nothing is judged by it but the ratios.

mod ask;
mod client;
mod gate;
mod http;
mod inside;
pub mod ledger;
mod load;
mod machine;
mod options;
mod page;
mod peers;
mod process;
mod results;
mod rounds;
mod scratch;
mod stats;
mod targets;

pub(crate) use http::free_port;
pub use options::{Options, USAGE};

use ask::Upstreams;
use client::{Client, Tools, apt_update};
use gate::Gate;
use options::Gate as How;
use peers::Peer;
use process::Job;
use results::Results;
use rounds::{Rounds, Source};
use scratch::Scratch;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A machine with more than this part of its processors wanted is not quiet.
const QUIET: f64 = 0.3;

/// Measures, or renders what was measured, and gives what belongs on the terminal.
///
/// # Errors
///
/// When nothing can be measured at all.
pub fn run(options: &Options, root: &Path) -> Result<String, String> {
    let results = match &options.render {
        Some(file) => {
            let text = read(file)?;
            serde_json::from_str(&text)
                .map_err(|e| format!("`{}` holds no figures: {e}", file.display()))?
        }
        None => measure(options, root)?,
    };
    if options.render.is_none() {
        let text = serde_json::to_string_pretty(&results).map_err(|e| e.to_string())?;
        write(&options.results, &text)?;
    }
    let mut said = page::terminal(&results);
    let page = options.page.clone().or_else(|| {
        let whole = options.is_whole() || options.render.is_some();
        whole.then(|| root.join("docs/performance.md"))
    });
    if let Some(page) = page {
        let old = fs::read_to_string(&page).unwrap_or_default();
        write(&page, &page::document(&results, page::by_hand(&old)))?;
        said.push_str(&format!("\nwrote {}\n", page.display()));
    }
    Ok(said)
}

fn say(what: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn measure(options: &Options, root: &Path) -> Result<Results, String> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build(root)?,
    };
    let scratch = Scratch::new(&options.scratch.clone().unwrap_or_else(scratch::in_memory))?;
    let states = Scratch::new(&options.states.clone().unwrap_or_else(std::env::temp_dir))?;
    let mut results = Results {
        rounds: options.rounds,
        surroundings: machine::surroundings(root, (scratch.filesystem(), states.filesystem())),
        ..Results::default()
    };
    let load = machine::load();
    if load > QUIET * machine::processors() as f64 {
        let note = format!("The machine was not quiet at the start: its load average was {load}.");
        say(&note);
        results.notes.push(note);
    }
    let tools = Tools {
        python: options.python.clone(),
        python_version: options.python_version.clone(),
        apt: scratch.fresh("apt-lists"),
    };
    let (upstreams, missing) = upstreams(options, &tools, &scratch);
    results.notes.extend(missing);
    let gate = Gate::new(&program, &options.feeds, &states, upstreams.clone())?;
    let peers = if options.quick { Vec::new() } else { peers::find(options.peers.as_deref()) };
    results.surroundings.versions = versions(&gate, &tools, &peers, root);

    let rounds = Rounds {
        scratch: &scratch,
        states: &states,
        tools: &tools,
        upstreams: &upstreams,
        count: options.rounds,
        say: &say,
    };
    for client in Client::ALL.into_iter().filter(|c| options.wants(c.name())) {
        let sources = sources(options, &gate, &peers, client);
        for set in sets(&options.sets, client.marker()) {
            match rounds.measure(client, &set, &sources) {
                Ok(result) => results.clients.push(result),
                Err(why) => {
                    say(&format!("{}: {why}", client.shown()));
                    results.notes.push(format!("{} was not measured: {why}", client.shown()));
                }
            }
        }
    }
    rest(options, &gate, &program, &states, &mut results);
    Ok(results)
}

/// What is measured without clients.
fn rest(options: &Options, gate: &Gate, program: &Path, states: &Scratch, results: &mut Results) {
    let first =
        |marker: &str| sets(&options.sets, marker).into_iter().next().map(|set| set.join(marker));
    let (python, npm) = (first("requirements.txt"), first("package-lock.json"));
    if options.wants("wrk") && options.gates.contains(&How::Serve) {
        let sets = load::Sets { python: python.as_deref(), npm: npm.as_deref() };
        let effort = if options.quick {
            load::Effort { seconds: 2, turns: 1 }
        } else {
            load::Effort { seconds: 6, turns: options.rounds.max(3) }
        };
        match load::measure(gate, &sets, states, effort, &say) {
            Ok((loads, memory)) => {
                results.loads = loads;
                results.figures.push(memory);
            }
            Err(why) => results.notes.push(format!("Full load was not measured: {why}")),
        }
    }
    if options.wants("inside") {
        let example = program.with_file_name("examples").join("decide");
        let figures = [
            ("The audit", inside::audit(gate, npm.as_deref(), states)),
            ("A decision", inside::decision(&example, &options.feeds, states)),
            ("The start", inside::ready(gate, &example, &options.feeds, states)),
        ];
        for (what, figure) in figures {
            match figure {
                Ok(figure) => results.figures.push(figure),
                Err(why) => results.notes.push(format!("{what} was not measured: {why}")),
            }
        }
    }
}

/// A release build of this project.
/// Builds the program as it is released.
///
/// # Errors
///
/// Says what cargo said.
pub(crate) fn release(root: &Path) -> Result<PathBuf, String> {
    build(root)
}

fn build(root: &Path) -> Result<PathBuf, String> {
    say("building a release");
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for part in [&["-p", "countersign-cli"][..], &["-p", "countersign-engine", "--examples"]] {
        let mut job = Job::new([&program], root);
        job.words.extend(["build", "--release"].map(Into::into));
        job.words.extend(part.iter().map(Into::into));
        job.output()?;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release/countersign"))
}

/// Folders with this file in them.
fn sets(folder: &Path, marker: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = entries.filter(|p| p.join(marker).is_file()).collect();
    found.sort();
    found
}

fn sources<'a>(
    options: &Options,
    gate: &'a Gate,
    peers: &'a [Peer],
    client: Client,
) -> Vec<Source<'a>> {
    let gates = options.gates.iter().map(|how| match how {
        How::Run => Source::Run(gate),
        How::Serve => Source::Serve(gate),
    });
    let peers = peers.iter().filter(|p| p.serves(client)).map(Source::Peer);
    std::iter::once(Source::Direct).chain(gates).chain(peers).collect()
}

/// Asks each client that is wanted where it fetches from, and says which could not be asked.
fn upstreams(options: &Options, tools: &Tools, scratch: &Scratch) -> (Upstreams, Vec<String>) {
    let mut out = Upstreams::default();
    let mut missing = Vec::new();
    let wants = |part: &str| options.wants(part) || options.wants("wrk");
    let mut note = |client: &str, why: String| {
        missing.push(format!("{client} does not say where it fetches from: {why}"));
    };
    if wants("pip-download") || wants("pip-install") || wants("uv") {
        match ask::pip(&tools.python) {
            Ok(index) => out.pypi = Some(index),
            Err(why) => note("pip", why),
        }
    }
    if wants("npm-install") || wants("npm-ci") {
        match ask::npm() {
            Ok(registry) => out.npm = Some(registry),
            Err(why) => note("npm", why),
        }
    }
    if options.wants("cargo-fetch") {
        match ask_cargo(options, tools, scratch) {
            Ok(registry) => out.cargo = Some(registry),
            Err(why) => note("cargo", why),
        }
    }
    if options.wants("apt-download") {
        match ask::apt().and_then(|r| apt_update(&tools.apt, None).map(|()| r)) {
            Ok(repositories) => out.debian = repositories,
            Err(why) => note("apt", why),
        }
    }
    (out, missing)
}

fn ask_cargo(options: &Options, tools: &Tools, scratch: &Scratch) -> Result<String, String> {
    let sets = sets(&options.sets, Client::CargoFetch.marker());
    let set = sets.first().ok_or("there is no set for it")?;
    let folder = scratch.fresh("cargo-ask");
    let job = Client::CargoFetch.job(tools, set, &folder, None)?;
    job.output()?;
    let registry = ask::cargo(&folder.join("cargo"));
    scratch.done_with(&folder);
    registry
}

fn versions(gate: &Gate, tools: &Tools, peers: &[Peer], root: &Path) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, version: Option<String>| {
        let known = out.iter().any(|(n, _)| n == name);
        if let Some(version) = version.filter(|_| !known) {
            // pip's ends with where it lies.
            let version = version.split(" from ").next().unwrap_or_default();
            let version = version.trim_start_matches(name).trim();
            out.push((name.to_owned(), version.to_owned()));
        }
    };
    add("countersign", gate.version().ok().map(|v| v.trim().to_owned()));
    for client in Client::ALL {
        let words = client.version(tools);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let name = client.shown().split(' ').next().unwrap_or_default();
        add(name, machine::first_line(&words, root));
    }
    add("python", machine::first_line(&[&tools.python, "--version"], root));
    add("python that wheels are for", tools.python_version.clone());
    add("node", machine::first_line(&["node", "--version"], root));
    for peer in peers {
        add(peer.name(), Some(peer.version.clone()));
    }
    out
}

/// Base64 (RFC 4648, section 4), for the one credential and the made-up digests here.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|e| format!("`{}` cannot be read: {e}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    let made = file.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(file, text))
        .map_err(|e| format!("`{}` cannot be written: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
