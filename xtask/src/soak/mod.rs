//! Soak: the real program under mixed clients, behind an upstream that fails in every way, with feeds
//! that are swapped and torn and reloads in between, for as long as is wanted.
//!
//! What it looks for: memory, descriptors or threads that grow, a decision that is lost, an artifact
//! with other bytes than its index promised, one that a feed lists, an answer that makes no sense.

mod chance;
mod clients;
mod debian;
mod disturb;
mod gateway;
mod options;
mod packages;
mod report;
mod upstream;
mod watch;
mod wire;

pub use options::{Options, USAGE};

use clients::Crowd;
use gateway::Gateway;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use upstream::Upstream;
use watch::Sample;

/// Looks at the gateway this often.
const LOOK: Duration = Duration::from_millis(500);

/// Soaks the gateway; gives what belongs on the terminal, and whether all was well.
///
/// # Errors
///
/// When the soak cannot be set up.
pub fn run(options: &Options, root: &Path) -> Result<(String, bool), String> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => crate::bench::release(root)?,
    };
    let folder = Folder::new(options.keep)?;
    let repository = debian::make(&folder.path)?;
    if repository.is_none() {
        say("there is no gpg: no client asks for Debian packages");
    }
    let upstream = Upstream::start(repository, options.seed)?;
    let feeds = disturb::Feeds::new(&folder.path, options.time)?;
    let mut gateway = Gateway::start(&program, &folder.path, &upstream.configuration())?;
    let crowd = Crowd::new(gateway.port, options.seed, upstream.has_debian());
    let clients: Vec<_> = (0..options.clients)
        .map(|number| {
            let crowd = crowd.clone();
            std::thread::spawn(move || clients::client(&crowd, number))
        })
        .collect();
    let samples = watch_over(options, &gateway, &crowd, &upstream, feeds);
    crowd.end();
    let lost = clients.into_iter().filter_map(|c| c.join().err()).count();
    let seen = crowd.seen();
    let ended = gateway.end();
    let proof = prove(&gateway, &seen.served);
    let report = report::Report {
        samples,
        seen,
        faults: upstream.faults(),
        reloads: gateway.said_count("configuration read again"),
        panics: gateway.said_count("panicked"),
        clients_lost: lost,
        ended,
        proof,
    };
    if options.keep {
        say(&format!("state, log and configuration are in {}", folder.path.display()));
    }
    Ok((report.text(), report.is_well()))
}

/// Looks at the gateway until the time is over or it is gone, and disturbs it.
fn watch_over(
    options: &Options,
    gateway: &Gateway,
    crowd: &Crowd,
    upstream: &Upstream,
    mut feeds: disturb::Feeds,
) -> Vec<Sample> {
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut said = 0;
    while began.elapsed() < options.time {
        std::thread::sleep(LOOK);
        let at = began.elapsed().as_secs_f64();
        let Some(sample) = Sample::of(gateway.pid(), at, crowd.requests()) else { break };
        samples.push(sample);
        feeds.disturb(gateway, upstream, began.elapsed());
        let minute = began.elapsed().as_secs() / 60;
        if minute > said {
            said = minute;
            say(&format!(
                "{minute} min: {} answers, {:.0} MiB, {} descriptors, {} threads",
                sample.requests, sample.memory, sample.descriptors, sample.threads
            ));
        }
    }
    samples
}

/// Asks the program's own commands whether all that was served is on record, in a sound ledger. Gives
/// the number of entries.
fn prove(gateway: &Gateway, served: &BTreeSet<String>) -> Result<usize, String> {
    let said = gateway.tool(&["ledger", "fsck"])?;
    if !said.contains("consistent") {
        return Err(format!("the ledger is not sound: {said}"));
    }
    let log = gateway.tool(&["ledger", "log", "--json", "--limit", "100000000"])?;
    let entries: Vec<serde_json::Value> = log
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    let admitted = entries.iter().filter(|e| e["decision"]["verdict"] == "admit");
    let admitted: BTreeSet<&str> = admitted.filter_map(|e| e["sha256"].as_str()).collect();
    let lost: Vec<&String> = served.iter().filter(|s| !admitted.contains(s.as_str())).collect();
    match lost.first() {
        None => Ok(entries.len()),
        Some(first) => Err(format!(
            "{} of {} artifacts that were served are not on record, the first is {first}",
            lost.len(),
            served.len()
        )),
    }
}

/// A folder of the soak's own, which goes with everything in it unless it is to stay.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: bool) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("countersign-soak-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("`{}`: {e}", path.display()))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn say(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "soak: {text}");
}
