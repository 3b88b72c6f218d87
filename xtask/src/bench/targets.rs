//! What the gate is to reach, and whether it does.

use super::results::{Phase, Results, Way};
use super::stats::{Ratio, median, range};

/// A measured value beside its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reached {
    /// The value.
    pub(super) value: f64,
    /// The least and the greatest of its rounds.
    pub(super) spread: (f64, f64),
}

/// One line of the table of targets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What is measured.
    pub(super) what: String,
    /// What the best of others reached, as measured when the target was set.
    pub(super) others: &'static str,
    /// What to reach.
    pub(super) target: Target,
    /// The gate as a server; for what has only one way, the gate.
    pub(super) serve: Option<Reached>,
    /// The gate before the command, where there is such a way.
    pub(super) run: Option<Option<Reached>>,
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// Not more than this, of this unit.
    AtMost(f64, &'static str),
    /// Not less than this.
    AtLeast(f64),
}

/// How a value stands to its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// Reached in every round.
    Met,
    /// Reached, but not in every round.
    MetUnsure,
    /// Missed by this much, though not in every round.
    ShortUnsure(f64),
    /// Missed by this much in every round.
    Short(f64),
}

impl Target {
    /// Judges a value.
    #[must_use]
    pub(super) fn judge(self, reached: Reached) -> Verdict {
        let Reached { value, spread: (low, high) } = reached;
        let (short_by, best, worst) = match self {
            Self::AtMost(bound, _) => (value - bound, low - bound, high - bound),
            Self::AtLeast(bound) => (bound - value, bound - high, bound - low),
        };
        match (short_by > 0.0, best > 0.0, worst > 0.0) {
            (true, true, _) => Verdict::Short(short_by),
            (true, false, _) => Verdict::ShortUnsure(short_by),
            (false, _, true) => Verdict::MetUnsure,
            (false, _, false) => Verdict::Met,
        }
    }
}

/// Client, the best warm ratio of others, and the bounds warm and cold.
const CLIENTS: [(&str, &str, Option<f64>, f64); 7] = [
    ("pip-download", "0.76", Some(0.75), 1.15),
    ("npm-install", "0.87", Some(0.75), 1.10),
    ("cargo-fetch", "0.83", Some(0.75), 1.15),
    ("apt-download", "0.85", Some(0.75), 1.15),
    ("uv", "1.1", Some(1.0), 1.15),
    ("npm-ci", "1.0", Some(1.0), 1.15),
    ("pip-install", "–", None, 1.10),
];

/// Body, the best of others, the bound.
const LOADS: [(&str, &str, f64); 3] = [
    ("index document", "0.04", 0.5),
    ("packument", "0.01", 0.5),
    ("artifact", "0.96 from memory, 0.49 from files", 0.9),
];

/// Figure, the best of others, the bound.
const FIGURES: [(&str, &str, f64, &str); 3] =
    [("decision", "–", 1.0, "ms"), ("ready", "–", 300.0, "ms"), ("audit", "3 s", 100.0, "ms")];

/// What the cold ratios of others are: none of them does all that the gate does.
const COLD_OTHERS: &str = "1.10–1.6 (pip), 1.23–4.6 (npm), each with a part of the checks";

/// The table of targets, with what was reached.
#[must_use]
pub(super) fn rows(results: &Results) -> Vec<Row> {
    let mut out = Vec::new();
    for phase in [Phase::Warm, Phase::Cold] {
        for (name, others, warm, cold) in CLIENTS {
            let bound = if phase == Phase::Warm { warm } else { Some(cold) };
            let Some(bound) = bound else { continue };
            let others = if phase == Phase::Warm { others } else { COLD_OTHERS };
            out.extend(client_rows(results, name, phase, others, bound));
        }
    }
    for (what, others, bound) in LOADS {
        out.push(Row {
            what: format!("{what}, requests/s to nginx at its best"),
            others,
            target: Target::AtLeast(bound),
            serve: load(results, what),
            run: None,
        });
    }
    out.push(Row {
        what: "most memory of the gate, warm".to_owned(),
        others: "19–490 MiB",
        target: Target::AtMost(64.0, "MiB"),
        serve: memory(results, &Way::Serve),
        run: Some(memory(results, &Way::Run)),
    });
    for (name, others, bound, unit) in FIGURES {
        let figure = results.figures.iter().find(|f| f.name == name);
        let what = figure.map_or_else(|| figure_name(name).to_owned(), |f| f.what.clone());
        let serve = figure
            .and_then(|f| Some(Reached { value: median(&f.values)?, spread: range(&f.values)? }));
        out.push(Row { what, others, target: Target::AtMost(bound, unit), serve, run: None });
    }
    out
}

fn figure_name(name: &str) -> &'static str {
    match name {
        "decision" => "decision for a known digest, p99",
        "ready" => "start to ready, 100,000 decisions and all feeds",
        _ => "audit of a lock file of 1,000 packages, all feeds",
    }
}

fn client_rows(
    results: &Results,
    name: &str,
    phase: Phase,
    others: &'static str,
    bound: f64,
) -> Vec<Row> {
    let found: Vec<_> = results.clients.iter().filter(|c| c.name == name).collect();
    let row = |what: String, serve, run| Row {
        what,
        others,
        target: Target::AtMost(bound, ""),
        serve,
        run: Some(run),
    };
    if found.is_empty() {
        return vec![row(
            format!("{}, {}/direct", name.replace('-', " "), phase.shown()),
            None,
            None,
        )];
    }
    let several = found.len() > 1;
    let rows = found.into_iter().map(|client| {
        let direct = client.side(&Way::Direct, Phase::None).map(super::results::Side::seconds);
        let reached = |way: &Way| {
            let side = client.side(way, phase)?;
            let ratio = Ratio::of(&side.seconds(), direct.as_deref()?)?;
            Some(Reached { value: ratio.value, spread: ratio.spread })
        };
        let set = if several { format!(" ({})", client.set) } else { String::new() };
        let what = format!("{}{set}, {}/direct", client.shown, phase.shown());
        row(what, reached(&Way::Serve), reached(&Way::Run))
    });
    rows.collect()
}

fn load(results: &Results, what: &str) -> Option<Reached> {
    let load = results.loads.iter().find(|l| l.what == what)?;
    let (gate, others) = load.servers.split_first()?;
    let best = others.iter().max_by(|a, b| {
        let middle = |s: &(String, Vec<f64>)| median(&s.1).unwrap_or(0.0);
        middle(a).total_cmp(&middle(b))
    })?;
    let ratio = Ratio::of(&gate.1, &best.1)?;
    Some(Reached { value: ratio.value, spread: ratio.spread })
}

/// The most of all clients' warm rounds, in MiB.
fn memory(results: &Results, way: &Way) -> Option<Reached> {
    let warm = results.clients.iter().filter_map(|c| c.side(way, Phase::Warm));
    let peaks = warm.flat_map(|s| &s.samples).map(|s| s.peak_kib as f64 / 1024.0);
    let peaks: Vec<f64> = peaks.filter(|p| *p > 0.0).collect();
    let (low, high) = range(&peaks)?;
    Some(Reached { value: high, spread: (low, high) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_judged_with_its_spread() {
        let value = |value, low, high| Reached { value, spread: (low, high) };
        let most = Target::AtMost(1.0, "");
        assert_eq!(most.judge(value(0.9, 0.8, 1.0)), Verdict::Met);
        assert_eq!(most.judge(value(0.9, 0.8, 1.1)), Verdict::MetUnsure);
        assert_eq!(most.judge(value(1.5, 1.0, 1.6)), Verdict::ShortUnsure(0.5));
        assert_eq!(most.judge(value(1.5, 1.2, 1.6)), Verdict::Short(0.5));
        let least = Target::AtLeast(1.0);
        assert_eq!(least.judge(value(1.5, 1.0, 1.6)), Verdict::Met);
        assert_eq!(least.judge(value(1.5, 0.9, 1.6)), Verdict::MetUnsure);
        assert_eq!(least.judge(value(0.5, 0.4, 0.6)), Verdict::Short(0.5));
        assert_eq!(least.judge(value(0.5, 0.4, 1.0)), Verdict::ShortUnsure(0.5));
    }
}
