//! `cargo xtask bench ledger`: appends, proofs and checks of the ledger, measured from inside by an
//! example of the store, beside what is aimed at.

use super::machine;
use super::results::Surroundings;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How `bench ledger` is called.
pub const USAGE: &str = "usage: cargo xtask bench ledger [OPTION…]

  --entries N    entries to append; measured at each power of ten from 10,000 on, and at N. Ten
                 million of them take 3 GB and a quarter of an hour     [default: 200000]
  --writers N    writers that each wait for their own                   [default: 64]
  --decisions N  decisions to append, with their records and facts, after the entries
                                                       [default: a tenth of the entries]
  --whole N      size up to which the check with every signature is made as well
                                                       [default: 1000000]
  --folder DIR   where the store is made and removed   [default: the system's temporary folder]
  --page FILE    where the figures go as a document    [default: none; only the terminal]
";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    entries: u64,
    writers: u64,
    decisions: Option<u64>,
    whole: u64,
    folder: PathBuf,
    page: Option<PathBuf>,
}

fn parse(options: &[&str]) -> Result<Asked, String> {
    let mut asked = Asked {
        entries: 200_000,
        writers: 64,
        decisions: None,
        whole: 1_000_000,
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
            "--whole" => asked.whole = number()?,
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
    command.arg(asked.whole.to_string());
    let out = command.output().map_err(|e| format!("cargo cannot be started: {e}"));
    // The store is large, and of no use to anyone.
    let _ = fs::remove_dir_all(&folder);
    let out = out?;
    if !out.status.success() {
        return Err(format!("the measurement failed ({})", out.status));
    }
    let figures = read(&String::from_utf8_lossy(&out.stdout))?;
    let around = machine::surroundings(root, (String::new(), String::new()));
    let said = page(&figures, &around);
    if let Some(page) = &asked.page {
        fs::write(page, &said).map_err(|e| format!("`{}`: {e}", page.display()))?;
    }
    Ok(said)
}

fn read(lines: &str) -> Result<Vec<Value>, String> {
    let parsed: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
    parsed.map_err(|e| format!("the measurement says something else: {e}"))
}

/// One line of a table.
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

/// How a figure is aimed at.
const fn least(n: f64) -> Option<(bool, f64)> {
    Some((true, n))
}

const fn most(n: f64) -> Option<(bool, f64)> {
    Some((false, n))
}

/// What is measured at each size.
const GROWING: [Line; 15] = [
    line("durable entries", "size", "per_s", "/s", least(20_000.0)),
    line("one append under that load, p50", "size", "p50_ms", " ms", None),
    line("one append under that load, p99", "size", "p99_ms", " ms", most(50.0)),
    line("processor time of an append", "size", "cpu_us", " µs", None),
    line("most memory so far while appending", "size", "max_kib", " KiB", most(131_072.0)),
    line(
        "proofs, places in order, all processors",
        "size",
        "proofs_in_order",
        "/s",
        least(100_000.0),
    ),
    line(
        "proofs, places at random, all processors",
        "size",
        "proofs_random",
        "/s",
        least(100_000.0),
    ),
    line("receipts from the database, one thread", "size", "receipts", "/s", None),
    line("fsck of the published tree, one thread", "size", "fsck_tree", "/s", least(500_000.0)),
    line("fsck with every signature and record", "size", "fsck", "/s", None),
    line("an entry on the disk, in all", "size", "entry", " bytes", None),
    line("its content, as it was signed", "size", "content", " bytes", None),
    line("its content, as it is kept", "size", "packed", " bytes", None),
    line("beside its content as it is kept", "size", "beside", " bytes", most(100.0)),
    line("opening the store", "size", "open_ms", " ms", None),
];

/// What is measured once.
const ONCE: [Line; 4] = [
    line("one append when idle, p50", "idle", "p50_ms", " ms", None),
    line("one append when idle, p99", "idle", "p99_ms", " ms", most(10.0)),
    line("durable decisions, with records and indexes", "decisions", "per_s", "/s", None),
    line("one of them under that load, p99", "decisions", "p99_ms", " ms", None),
];

impl Line {
    /// The figure as it is shown; nothing where it was not measured.
    fn shown(&self, figures: &Value) -> String {
        let Some(value) = figures[self.member].as_f64() else { return String::new() };
        let number = if value < 100.0 { format!("{value:.1}") } else { grouped(value) };
        format!("{number}{}", self.unit)
    }

    fn aimed(&self) -> String {
        match self.aim {
            None => String::new(),
            Some((true, aim)) => format!("≥ {}", grouped(aim)),
            Some((false, aim)) => format!("≤ {}", grouped(aim)),
        }
    }

    /// Whether what is aimed at is met by all of the figures.
    fn met(&self, figures: &[&Value]) -> &'static str {
        let Some((least, aim)) = self.aim else { return "" };
        let mut values = figures.iter().filter_map(|f| f[self.member].as_f64());
        match values.all(|v| if least { v >= aim } else { v <= aim }) {
            true => "met",
            false => "missed",
        }
    }
}

/// A whole number with a comma at each thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn page(figures: &[Value], around: &Surroundings) -> String {
    let of = |what: &str| figures.iter().filter(|f| f["what"] == what).collect::<Vec<_>>();
    let sizes = of("size");
    let writers = sizes.first().and_then(|s| s["writers"].as_u64()).unwrap_or(0);
    let mut out = format!(
        "# The ledger's speed\n\n`cargo xtask bench ledger` measured this: {} of {}, {}, commit {}. {writers} \
         writers append at\nonce, and each waits until its own entry is durable. \"Load\" is how many \
         programs wanted to run, this one\namong them: above {}, others took a part of the \
         processors, and the figures are lower bounds.\n\n## As it grows\n\n| entries |",
        around.date,
        around.processor,
        around.kernel,
        around.commit,
        machine::processors(),
    );
    let cell = |f: &&Value, member: &str| f[member].as_f64().map_or_else(String::new, grouped);
    let row = |out: &mut String, cells: Vec<String>| {
        let _ = writeln!(out, " {} |", cells.join(" | "));
    };
    let mut head: Vec<String> = sizes.iter().map(|s| cell(s, "size")).collect();
    head.extend(["aimed at".to_owned(), String::new()]);
    row(&mut out, head);
    let _ = writeln!(out, "|---|{}---|---|", "---|".repeat(sizes.len()));
    for line in &GROWING {
        let _ = write!(out, "| {} |", line.what);
        let mut cells: Vec<String> = sizes.iter().map(|s| line.shown(s)).collect();
        cells.extend([line.aimed(), line.met(&sizes).to_owned()]);
        row(&mut out, cells);
    }
    for (what, member) in [("load after appending", "load"), ("load at the end", "load_after")] {
        let _ = write!(out, "| {what} |");
        let load = |s: &&Value| s[member].as_f64().map_or_else(String::new, |l| format!("{l:.1}"));
        let cells = sizes.iter().map(load).chain([String::new(), String::new()]);
        row(&mut out, cells.collect());
    }
    out.push_str("\n## Once\n\n| what | measured | load | aimed at | |\n|---|---|---|---|---|\n");
    for line in &ONCE {
        for figures in of(line.of) {
            let load = figures["load"].as_f64().unwrap_or(0.0);
            let (shown, met) = (line.shown(figures), line.met(&[figures]));
            let _ =
                writeln!(out, "| {} | {shown} | {load:.1} | {} | {met} |", line.what, line.aimed());
        }
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
        let lines = "{\"what\":\"idle\",\"p99_ms\":1.25,\"load\":0.5}\n\
            {\"what\":\"size\",\"size\":10000,\"writers\":3,\"per_s\":20001.0,\"p99_ms\":51.0,\"load\":2.0}\n\
            {\"what\":\"size\",\"size\":1234567,\"writers\":3,\"per_s\":21001.0,\"p99_ms\":4.0}\n";
        let around = Surroundings {
            date: "2030-01-02".to_owned(),
            commit: "abc".to_owned(),
            processor: "2 × x".to_owned(),
            kernel: "Linux 1".to_owned(),
            ..Surroundings::default()
        };
        let said = page(&read(lines).unwrap(), &around);
        for part in [
            "2030-01-02 of 2 × x, Linux 1, commit abc. 3 writers",
            "| entries | 10,000 | 1,234,567 | aimed at |  |",
            "| durable entries | 20,001/s | 21,001/s | ≥ 20,000 | met |",
            "| one append under that load, p99 | 51.0 ms | 4.0 ms | ≤ 50 | missed |",
            "| load after appending | 2.0 |  |  |  |",
            "| one append when idle, p99 | 1.2 ms | 0.5 | ≤ 10 | met |",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        assert!(read("nothing").is_err());
    }
}
