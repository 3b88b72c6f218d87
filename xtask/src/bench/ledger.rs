//! `cargo xtask bench ledger`: appends, proofs and checks of the ledger, measured from inside by an
//! example of the store, beside what is aimed at.

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How `bench ledger` is called.
pub const USAGE: &str = "usage: cargo xtask bench ledger [OPTION…]

  --entries N    entries to append                     [default: 200000]
  --writers N    writers that each wait for their own  [default: 64]
  --decisions N  decisions to append, with their records and facts, after the entries
                                                       [default: a tenth of the entries]
  --folder DIR   where the store is made and removed   [default: the system's temporary folder]
  --page FILE    where the figures go as a document    [default: none; only the terminal]
";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    entries: u64,
    writers: u64,
    decisions: Option<u64>,
    folder: PathBuf,
    page: Option<PathBuf>,
}

fn parse(options: &[&str]) -> Result<Asked, String> {
    let mut asked = Asked {
        entries: 200_000,
        writers: 64,
        decisions: None,
        folder: std::env::temp_dir(),
        page: None,
    };
    let mut options = options.iter();
    while let Some(name) = options.next() {
        let value = options.next().ok_or(format!("`{name}` needs a value\n\n{USAGE}"))?;
        let number = || value.parse().map_err(|_| format!("`{value}` is no number"));
        match *name {
            "--entries" => asked.entries = number()?,
            "--writers" => asked.writers = number()?,
            "--decisions" => asked.decisions = Some(number()?),
            "--folder" => asked.folder = PathBuf::from(value),
            "--page" => asked.page = Some(PathBuf::from(value)),
            _ => return Err(format!("`{name}` is no option\n\n{USAGE}")),
        }
    }
    Ok(asked)
}

/// Measures, and gives what belongs on the terminal.
///
/// # Errors
/// When the options are wrong, or the example cannot be built or fails.
pub fn run(options: &[&str], root: &Path) -> Result<String, String> {
    if matches!(options, ["help" | "--help" | "-h"]) {
        return Ok(USAGE.to_owned());
    }
    let asked = parse(options)?;
    let folder = asked.folder.join(format!("countersign-bench-ledger-{}", std::process::id()));
    let words = ["run", "--quiet", "--release", "-p", "countersign-store", "--example", "ledger"];
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(words).arg("--").arg(&folder).current_dir(root).stderr(Stdio::inherit());
    command.arg(asked.entries.to_string()).arg(asked.writers.to_string());
    command.arg(asked.decisions.unwrap_or(asked.entries / 10).to_string());
    let out = command.output().map_err(|e| format!("cargo cannot be started: {e}"));
    // The store is large, and of no use to anyone.
    let _ = fs::remove_dir_all(&folder);
    let out = out?;
    if !out.status.success() {
        return Err(format!("the measurement failed ({})", out.status));
    }
    let figures = read(&String::from_utf8_lossy(&out.stdout))?;
    let said = page(&figures);
    if let Some(page) = &asked.page {
        fs::write(page, &said).map_err(|e| format!("`{}`: {e}", page.display()))?;
    }
    Ok(said)
}

fn read(lines: &str) -> Result<Vec<Value>, String> {
    let parsed: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
    parsed.map_err(|e| format!("the measurement says something else: {e}"))
}

/// One line of the table.
struct Line {
    what: &'static str,
    of: &'static str,
    member: &'static str,
    unit: &'static str,
    /// What is aimed at: at least, or at most.
    aim: Option<(bool, f64)>,
}

const fn line(
    what: &'static str,
    of: &'static str,
    member: &'static str,
    unit: &'static str,
    aim: Option<(bool, f64)>,
) -> Line {
    Line { what, of, member, unit, aim }
}

const LINES: [Line; 14] = [
    line("durable entries", "append", "per_s", "/s", Some((true, 20_000.0))),
    line("one append under that load, p50", "append", "p50_ms", " ms", None),
    line("one append under that load, p99", "append", "p99_ms", " ms", Some((false, 50.0))),
    line("one append when idle, p99", "idle", "p99_ms", " ms", Some((false, 10.0))),
    line("durable decisions, with records", "append_decisions", "per_s", "/s", None),
    line("most memory while appending", "append", "max_kib", " KiB", Some((false, 131_072.0))),
    line("proofs, places in order", "proofs_in_order", "per_s", "/s", Some((true, 100_000.0))),
    line("proofs, places at random", "proofs_random", "per_s", "/s", Some((true, 100_000.0))),
    line("receipts, from the database", "receipts", "per_s", "/s", None),
    line(
        "fsck of the published tree, one core",
        "fsck_tree",
        "per_s_core",
        " entries/s",
        Some((true, 500_000.0)),
    ),
    line("fsck with every signature and record", "fsck", "per_s", " entries/s", None),
    line("content of an entry", "disk", "content", " bytes", None),
    line("beside it, an entry", "disk", "beside", " bytes", Some((false, 100.0))),
    line("opening the store", "open", "ms", " ms", None),
];

fn page(figures: &[Value]) -> String {
    let of = |what: &str| figures.iter().find(|f| f["what"] == what);
    let append = of("append");
    let count = |name: &str| append.and_then(|a| a[name].as_u64()).unwrap_or(0);
    let mut out = format!(
        "# The ledger's speed\n\n{} entries, {} writers, each of which waits until its own entry is \
         durable. Measured by\n`cargo xtask bench ledger`.\n\n| what | measured | aimed at | |\n|---|---|---|---|\n",
        count("entries"),
        count("writers")
    );
    for line in &LINES {
        let Some(value) = of(line.of).and_then(|f| f[line.member].as_f64()) else { continue };
        let shown = if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        let (aim, met) = match line.aim {
            None => (String::new(), ""),
            Some((true, aim)) => {
                (format!("≥ {aim:.0}"), if value >= aim { "met" } else { "missed" })
            }
            Some((false, aim)) => {
                (format!("≤ {aim:.0}"), if value <= aim { "met" } else { "missed" })
            }
        };
        let _ = writeln!(out, "| {} | {shown}{} | {aim} | {met} |", line.what, line.unit);
    }
    let steps = append.and_then(|a| a["growth"].as_array()).cloned().unwrap_or_default();
    out.push_str(
        "\nHow it grows:\n\n| entries | entries/s since the last | memory, KiB |\n|---|---|---|\n",
    );
    for step in steps {
        let _ = writeln!(out, "| {} | {} | {} |", step["entries"], step["per_s"], step["kib"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let asked = parse(&["--entries", "5", "--writers", "2", "--folder", "/x"]).unwrap();
        assert_eq!((asked.entries, asked.writers, asked.folder), (5, 2, PathBuf::from("/x")));
        for bad in [&["--entries"][..], &["--entries", "x"], &["--typo", "1"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_page_tells_what_is_met_and_what_is_missed() {
        let lines = "{\"what\":\"append\",\"entries\":9,\"writers\":3,\"per_s\":20001.0,\"p99_ms\":51.0,\
                     \"growth\":[{\"entries\":9,\"per_s\":20001.0,\"kib\":7}]}\n{\"what\":\"idle\",\"p99_ms\":1.25}\n";
        let said = page(&read(lines).unwrap());
        assert!(said.contains("9 entries, 3 writers"), "{said}");
        assert!(said.contains("| durable entries | 20001/s | ≥ 20000 | met |"), "{said}");
        assert!(said.contains("p99 | 51.0 ms | ≤ 50 | missed |"), "{said}");
        assert!(said.contains("| 9 | 20001.0 | 7 |"), "{said}");
        assert!(read("nothing").is_err());
    }
}
