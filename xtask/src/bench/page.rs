//! The document and the tables on the terminal, made from the figures alone.

use super::results::{ClientResult, Load, Phase, Results, Side, Way};
use super::stats::{Ratio, median, range};
use super::targets::{self, Reached, Row, Target, Verdict};

/// Below this heading people say what profiles show; the bench keeps it as it is.
pub(super) const BY_HAND: &str = "## What the profiles show";

/// More foreign processor time than this part of the time on the wall counts as a disturbance.
const FOREIGN: f64 = 0.1;

/// The whole document. `by_hand` is what the old one had from [`BY_HAND`] on.
#[must_use]
pub(super) fn document(results: &Results, by_hand: &str) -> String {
    let mut out = String::new();
    out.push_str(&head(results));
    out.push_str("\n## Against the targets\n\n");
    out.push_str(
        "A ratio is that of the medians; in brackets stand the least and the greatest of the rounds. *Unsure* means that the\n\
         rounds lie on both sides of the target, so that another run may end otherwise. What others reach was measured when the\n\
         targets were set, on another day.\n\n",
    );
    out.push_str(&target_table(results));
    out.push_str("\n## Clients\n");
    for client in &results.clients {
        out.push_str(&client_table(client));
    }
    if !results.loads.is_empty() {
        out.push_str("\n## At full load\n\n");
        out.push_str(
            "`wrk -t1 -c64`, without compression and TLS; nginx with one worker and no access log serves the same bytes.\n\n",
        );
        out.push_str(&load_table(&results.loads));
    }
    out.push_str(&notes(results));
    out.push('\n');
    out.push_str(if by_hand.trim().is_empty() { BY_HAND } else { by_hand.trim_end() });
    out.push('\n');
    out
}

/// What an older document has from [`BY_HAND`] on.
#[must_use]
pub(super) fn by_hand(old: &str) -> &str {
    old.find(BY_HAND).and_then(|at| old.get(at..)).unwrap_or_default()
}

fn head(results: &Results) -> String {
    let s = &results.surroundings;
    let mut out = String::from("# Performance\n\n");
    out.push_str(
        "`cargo xtask bench` wrote this page: the same client command direct and through the gate, *cold* (the gate has the feeds\n\
         and knows no package) and *warm* (all admitted before), in one run on one machine. Each client starts with an empty cache\n\
         in a fresh folder. The sides take turns within each round, so that what drifts hits all of them. The registries are those\n\
         that the machine's clients are configured with; the gate's policy is `baseline` without its cool-down, as the sets hold\n\
         versions that are days old. The figures are ratios of this machine on this day, and no promise.\n\n",
    );
    out.push_str("| | |\n|---|---|\n");
    let mut line = |name: &str, value: &str| out.push_str(&format!("| {name} | {value} |\n"));
    line("date", &s.date);
    line("commit", &s.commit);
    line("processors", &s.processor);
    line("memory", &format!("{} GiB", s.memory_gib));
    line("kernel", &s.kernel);
    let (clients, servers) = &s.filesystems;
    line("file systems", &format!("{clients} (clients), {servers} (gates and peers)"));
    line("rounds", &results.rounds.to_string());
    for (program, version) in &s.versions {
        line(program, version);
    }
    out
}

fn target_table(results: &Results) -> String {
    let mut out =
        String::from("| | best of others | reach | `serve` | `run` |\n|---|---|---|---|---|\n");
    for row in targets::rows(results) {
        let reach = match row.target {
            Target::AtMost(bound, "") => format!("≤ {bound:.2}"),
            Target::AtMost(bound, unit) => format!("≤ {bound} {unit}"),
            Target::AtLeast(bound) => format!("≥ {bound}"),
        };
        let run = row.run.map_or_else(|| "–".to_owned(), |r| cell(&row, r));
        let serve = cell(&row, row.serve);
        out.push_str(&format!("| {} | {} | {reach} | {serve} | {run} |\n", row.what, row.others));
    }
    out
}

fn cell(row: &Row, reached: Option<Reached>) -> String {
    let Some(reached) = reached else { return "not measured".to_owned() };
    let Reached { value, spread: (low, high) } = reached;
    let figures = format!("{} ({}–{})", short(value), short(low), short(high));
    match row.target.judge(reached) {
        Verdict::Met => format!("{figures} met"),
        Verdict::MetUnsure => format!("{figures} met, unsure"),
        Verdict::ShortUnsure(by) => format!("{figures} short by {}, unsure", short(by)),
        Verdict::Short(by) => format!("{figures} **short by {}**", short(by)),
    }
}

/// As many digits as are of use.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn client_table(client: &ClientResult) -> String {
    let mut out = format!(
        "\n### {} ({}, {} packages)\n\n| | | median | to direct | processor: client | server | memory at most |\n|---|---|---|---|---|---|---|\n",
        client.shown, client.set, client.packages
    );
    let direct = client.side(&Way::Direct, Phase::None).map(Side::seconds).unwrap_or_default();
    let mut sides: Vec<&Side> = client.sides.iter().collect();
    sides.sort_by_key(|s| order(s));
    for side in sides {
        out.push_str(&side_line(side, &direct));
    }
    out
}

fn order(side: &Side) -> (u8, String, bool) {
    let first = match side.way {
        Way::Direct => 0,
        Way::Serve => 1,
        Way::Run => 2,
        Way::Peer(_) => 3,
    };
    (first, side.way.shown().to_owned(), side.phase == Phase::Warm)
}

fn side_line(side: &Side, direct: &[f64]) -> String {
    let name = format!("| {} | {} |", side.way.shown(), side.phase.shown());
    let seconds = side.seconds();
    let (Some(middle), Some((low, high))) = (median(&seconds), range(&seconds)) else {
        let why = side.failed.as_deref().unwrap_or("no round was run");
        return format!("{name} not measured: {} | | | | |\n", plain(why));
    };
    let of = |f: fn(&super::results::Sample) -> f64| {
        median(&side.samples.iter().map(f).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    let to_direct = match Ratio::of(&seconds, direct) {
        Some(r) if side.way != Way::Direct => {
            format!("{:.2} ({:.2}–{:.2})", r.value, r.spread.0, r.spread.1)
        }
        _ => "1".to_owned(),
    };
    let server = if matches!(side.way, Way::Serve | Way::Peer(_)) {
        format!("{:.2} s", of(|s| s.server_cpu))
    } else {
        String::new()
    };
    let peak = side.samples.iter().map(|s| s.peak_kib).max().unwrap_or(0);
    let memory = if peak > 0 { format!("{} MiB", peak.div_ceil(1024)) } else { String::new() };
    let client = of(|s| s.client_cpu);
    format!(
        "{name} {middle:.2} s ({low:.2}–{high:.2}) | {to_direct} | {client:.2} s | {server} | {memory} |\n"
    )
}

fn load_table(loads: &[Load]) -> String {
    let mut out = String::from("| | length | served by | requests/s |\n|---|---|---|---|\n");
    for load in loads {
        for (name, rates) in &load.servers {
            let (Some(middle), Some((low, high))) = (median(rates), range(rates)) else { continue };
            out.push_str(&format!(
                "| {} | {} | {name} | {middle:.0} ({low:.0}–{high:.0}) |\n",
                load.what, load.bytes
            ));
        }
    }
    out
}

fn notes(results: &Results) -> String {
    let mut lines = results.notes.clone();
    lines.extend(disturbance(results));
    for client in &results.clients {
        for side in client.sides.iter().filter(|s| s.samples.len() < results.rounds) {
            let why = side.failed.as_deref().unwrap_or("it was not asked");
            let (way, phase) = (side.way.shown(), side.phase.shown());
            let rounds = side.samples.len();
            let why = plain(why);
            lines.push(format!("{} {way} {phase}: {rounds} rounds, then {why}", client.shown));
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|l| format!("- {}\n", plain(l))).collect();
    format!("\n## Notes\n\n{}", lines.concat())
}

/// Whether other programs were busy meanwhile.
fn disturbance(results: &Results) -> Option<String> {
    let sides = results.clients.iter().flat_map(|c| &c.sides);
    let parts: Vec<f64> =
        sides.flat_map(|s| &s.samples).map(|s| s.foreign_cpu / s.seconds).collect();
    let (middle, (_, most)) = (median(&parts)?, range(&parts)?);
    (most > FOREIGN).then(|| {
        format!(
            "Beside the clients, the gate and the peers, other programs and the kernel kept {middle:.2} processors busy in \
             the median round and {most:.2} in the busiest."
        )
    })
}

/// Text that breaks no table, and that names neither a host nor a folder of one machine.
fn plain(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|w| if w.contains("://") || w.matches('/').count() > 1 { "…" } else { w });
    let text = words.collect::<Vec<_>>().join(" ").replace('|', "/");
    let cut = text.char_indices().nth(300).map_or(text.len(), |(at, _)| at);
    text.get(..cut).unwrap_or_default().to_owned()
}

/// The tables, for the terminal.
#[must_use]
pub(super) fn terminal(results: &Results) -> String {
    let mut out = target_table(results);
    for client in &results.clients {
        out.push_str(&client_table(client));
    }
    if !results.loads.is_empty() {
        out.push('\n');
        out.push_str(&load_table(&results.loads));
    }
    out.push_str(&notes(results));
    aligned(&out)
}

/// Tables of Markdown with their columns under each other.
fn aligned(text: &str) -> String {
    let mut out = String::new();
    let mut table: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().chain([""]) {
        if let Some(row) = line.strip_prefix('|') {
            if !row.starts_with("---") {
                let row = row.trim_end().trim_end_matches('|');
                table.push(row.split('|').map(str::trim).collect());
            }
            continue;
        }
        let columns = table.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| {
            table.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in std::mem::take(&mut table) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Sample;

    fn side(way: Way, phase: Phase, seconds: &[f64]) -> Side {
        let sample = |seconds: &f64| Sample {
            seconds: *seconds,
            client_cpu: 1.0,
            server_cpu: 0.5,
            foreign_cpu: 0.0,
            peak_kib: 70 << 10,
            after_kib: 60 << 10,
        };
        Side { way, phase, samples: seconds.iter().map(sample).collect(), failed: None }
    }

    fn results() -> Results {
        Results {
            rounds: 3,
            clients: vec![ClientResult {
                name: "npm-ci".to_owned(),
                shown: "npm ci".to_owned(),
                set: "npm".to_owned(),
                packages: 84,
                sides: vec![
                    side(Way::Direct, Phase::None, &[2.0, 2.0, 2.0]),
                    side(Way::Serve, Phase::Warm, &[1.0, 1.2, 1.8]),
                    side(Way::Run, Phase::Warm, &[2.4, 3.0, 2.6]),
                    Side {
                        failed: Some("`https://host.example/x` is | down".to_owned()),
                        ..side(Way::Peer("verdaccio".to_owned()), Phase::Warm, &[])
                    },
                ],
            }],
            loads: vec![Load {
                what: "artifact".to_owned(),
                bytes: 1 << 20,
                servers: vec![
                    ("countersign serve".to_owned(), vec![100.0, 80.0, 120.0]),
                    ("nginx, sendfile on".to_owned(), vec![50.0, 50.0, 50.0]),
                    ("nginx, sendfile off".to_owned(), vec![110.0, 110.0, 110.0]),
                ],
            }],
            ..Results::default()
        }
    }

    #[test]
    fn targets_are_judged_in_the_table() {
        let text = document(&results(), "");
        for line in [
            "| npm ci, warm/direct | 1.0 | ≤ 1.00 | 0.60 (0.50–0.90) met | 1.30 (1.20–1.50) **short by 0.30** |",
            "| artifact, requests/s to nginx at its best | 0.96 from memory, 0.49 from files | ≥ 0.9 | 0.91 (0.73–1.09) met, unsure | – |",
            "| uv, warm/direct | 1.1 | ≤ 1.00 | not measured | not measured |",
            "| most memory of the gate, warm | 19–490 MiB | ≤ 64 MiB | 70.0 (70.0–70.0) **short by 6.00** | 70.0 (70.0–70.0) **short by 6.00** |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn failures_are_told_without_addresses() {
        let text = document(&results(), "");
        assert!(text.contains("| verdaccio | warm | not measured: … is / down"), "{text}");
        assert!(!text.contains("host.example"), "{text}");
    }

    #[test]
    fn what_people_wrote_stays() {
        let first = document(&results(), "");
        let edited = format!("{first}\nTime goes into TLS.\n");
        let second = document(&results(), by_hand(&edited));
        assert_eq!(second, edited);
        assert_eq!(document(&results(), by_hand(&second)), second);
    }

    #[test]
    fn tables_are_aligned_on_a_terminal() {
        let text = aligned("a\n| x | long |\n|---|---|\n| longer | y |\n");
        assert_eq!(text, "a\nx       long\nlonger  y\n\n");
    }
}
