//! The report: a table for people, JSON and SARIF for programs.

pub mod audit;
pub mod detonation;
mod machine;
mod table;

pub use machine::{json, sarif};
use table::Paint;
pub use table::table;

use crate::clients::Command;
use crate::print;
use countersign_core::{Ecosystem, Purl, Verdict};
use countersign_ecosystem_version::compare;
use countersign_engine::Engine;
use countersign_engine::account::Account;
use countersign_engine::ecosystem::version as countersign_ecosystem_version;
use countersign_engine::report::{NotOffered, Progress as Moment};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that a report tells.
pub struct Summary<'s> {
    /// The engine, with what it saw.
    pub engine: &'s Engine,
    /// The command that ran.
    pub command: &'s Command,
    /// The policy's name.
    pub policy: &'s str,
    /// The doors that were named before the client started.
    pub announced: &'s [(String, String, bool)],
    /// The reconciliation.
    pub account: &'s Account,
    /// The client's own exit code, if it was started.
    pub client_code: Option<u8>,
    /// The exit code of the run.
    pub exit_code: u8,
    /// Wall time of the run.
    pub elapsed: Duration,
    /// The newest checkpoint of the ledger.
    pub checkpoint: Option<String>,
}

/// The line before the client starts.
pub fn opening(engine: &Engine, command: &Command, policy: &str) -> String {
    let upstreams: Vec<String> = engine.upstreams().all().map(|u| u.name.clone()).collect();
    let from = match upstreams.as_slice() {
        [] => "no upstream".to_owned(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    };
    let feeds = feeds_line(engine, command);
    format!("countersign: {} from {from}; policy {policy}; {feeds}", command.client.name())
}

/// How much the feeds know of the client's ecosystem, and how old that is.
fn feeds_line(engine: &Engine, command: &Command) -> String {
    let Some(feeds) = engine.feeds() else {
        return "no feeds: advisories are NOT checked".to_owned();
    };
    let ours = match command.client.ecosystem() {
        Ecosystem::Pypi => "PyPI",
        Ecosystem::Npm => "npm",
        Ecosystem::Cargo => "crates.io",
        Ecosystem::Debian => "Debian",
        Ecosystem::Go => "Go",
        Ecosystem::Maven => "Maven",
    };
    let mut known = 0;
    let mut newest = None;
    for c in feeds.meta().coverage.iter().filter(|c| c.ecosystem.split(':').next() == Some(ours)) {
        known += c.vulnerabilities + c.malicious;
        newest = newest.max(c.newest_modified);
    }
    match (known, newest) {
        (0, _) => format!("no feed covers {ours}: advisories are NOT checked"),
        (n, Some(t)) => format!(
            "{n} advisories for {ours}, newest {} days old",
            engine.now().hours_since(t) / 24
        ),
        (n, None) => format!("{n} advisories for {ours} of unknown age"),
    }
}

/// What was left out of an index and matters to this run: versions newer than what was taken, and,
/// where the client failed, packages of which nothing was taken.
pub fn relevant_not_offered(engine: &Engine, client_code: Option<u8>) -> Vec<NotOffered> {
    let mut taken: BTreeMap<(Ecosystem, String), Vec<String>> = BTreeMap::new();
    for e in engine.report().entries() {
        if let (Some(p), Verdict::Admit) = (&e.purl, e.decision.verdict) {
            let versions = taken.entry((p.ecosystem(), p.name().to_owned())).or_default();
            versions.extend(p.version().map(str::to_owned));
        }
    }
    let entries = engine.report().entries();
    let newer = |n: &NotOffered| {
        // What was asked for by its exact version is told as a refusal already.
        if entries.iter().any(|e| e.purl.as_ref() == Some(&n.purl)) {
            return false;
        }
        let key = (n.purl.ecosystem(), n.purl.name().to_owned());
        let Some(versions) = taken.get(&key) else { return client_code != Some(0) };
        versions
            .iter()
            .all(|v| compare(key.0, n.purl.version().unwrap_or(""), v) != Some(Ordering::Less))
            && !versions.iter().any(|v| Some(v.as_str()) == n.purl.version())
    };
    engine.report().not_offered().into_iter().filter(newer).collect()
}

/// Whether a package of this run had nothing admissible to offer at all: the verdict of the
/// version that came nearest.
pub fn missing_for_want_of(engine: &Engine, _pins: &[Purl]) -> Option<Verdict> {
    let entries = engine.report().entries();
    let taken = |p: &Purl| {
        entries.iter().any(|e| {
            e.purl.as_ref().is_some_and(|x| x.ecosystem() == p.ecosystem() && x.name() == p.name())
        })
    };
    let left: Vec<NotOffered> =
        engine.report().not_offered().into_iter().filter(|n| !taken(&n.purl)).collect();
    left.iter().map(|n| n.verdict).min()
}

/// Groups versions that were left out: package, how many, the newest and why.
pub fn grouped(list: &[NotOffered]) -> Vec<(String, usize, NotOffered)> {
    let mut groups: BTreeMap<String, Vec<&NotOffered>> = BTreeMap::new();
    for n in list {
        groups.entry(n.purl.name().to_owned()).or_default().push(n);
    }
    groups
        .into_iter()
        .filter_map(|(name, all)| {
            let newest = all.iter().copied().max_by(|a, b| {
                let (x, y) = (a.purl.version().unwrap_or(""), b.purl.version().unwrap_or(""));
                compare(a.purl.ecosystem(), x, y).unwrap_or(Ordering::Equal)
            })?;
            Some((name, all.len(), newest.clone()))
        })
        .collect()
}

/// A line on the terminal while artifacts are inspected; gone as soon as the client has something
/// to say.
pub struct Progress {
    shown: bool,
    on: bool,
}

impl Progress {
    /// Draws only on a terminal.
    pub fn new(wanted: bool) -> Self {
        use std::io::IsTerminal as _;
        Self { shown: false, on: wanted && std::io::stderr().is_terminal() }
    }

    /// Shows what has been waited for longest, once it is long enough to wonder.
    pub fn show(&mut self, moment: &Moment) {
        if !self.on {
            return;
        }
        match &moment.oldest {
            Some((label, waited)) if *waited > Duration::from_millis(700) => {
                let more = if moment.inspecting > 1 {
                    format!(" and {} more", moment.inspecting - 1)
                } else {
                    String::new()
                };
                let text = format!(
                    "countersign: inspecting {label}{more} · {} decided · {}",
                    moment.decided,
                    bytes(moment.bytes)
                );
                let cut: String = text.chars().take(print::width().saturating_sub(1)).collect();
                print::redraw(&cut);
                self.shown = true;
            }
            _ => self.clear(),
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown {
            print::redraw("");
            self.shown = false;
        }
    }
}

/// A size for people.
pub fn bytes(n: u64) -> String {
    match n {
        0..=1023 => format!("{n} B"),
        1024..=1_048_575 => format!("{} KiB", n / 1024),
        1_048_576..=1_073_741_823 => format!("{}.{} MiB", n >> 20, (n >> 10) % 1024 * 10 / 1024),
        _ => format!("{}.{} GiB", n >> 30, (n >> 20) % 1024 * 10 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes() {
        for (n, want) in [(0, "0 B"), (2048, "2 KiB"), (1_572_864, "1.5 MiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(bytes(n), want);
        }
    }
}
