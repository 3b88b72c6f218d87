//! `cargo xtask <task>`: what the project checks about itself.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use xtask::{bench, soak, tidy};

const USAGE: &str = "usage: cargo xtask tidy [FOLDER]
       cargo xtask bench [OPTION…]
       cargo xtask soak [OPTION…]
       cargo xtask bench ledger [OPTION…]

tidy   checks the walls between the crates and the rules of the house, in this project or a copy of
       it in FOLDER; every finding names its remedy
bench  measures clients direct, through the gate and through other servers, and writes
       docs/performance.md; `cargo xtask bench --help` shows its options
soak   runs the gateway for minutes under mixed clients and a failing upstream, and looks for growth
       and lost decisions; `cargo xtask soak --help` shows its options
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["tidy"] => run_tidy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")),
        ["tidy", folder] => run_tidy(Path::new(folder)),
        ["bench", "help" | "--help" | "-h"] => {
            io::stdout().write_all(bench::USAGE.as_bytes()).map(|()| 0)
        }
        ["bench", "ledger", options @ ..] => run_bench_ledger(options),
        ["bench", options @ ..] => run_bench(options),
        ["soak", "help" | "--help" | "-h"] => {
            io::stdout().write_all(soak::USAGE.as_bytes()).map(|()| 0)
        }
        ["soak", options @ ..] => run_soak(options),
        ["help" | "--help" | "-h"] => io::stdout().write_all(USAGE.as_bytes()).map(|()| 0),
        _ => io::stderr().write_all(USAGE.as_bytes()).map(|()| 2),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            // Nobody is left to tell when standard error is closed as well.
            let _ = writeln!(io::stderr(), "error: {e}");
            ExitCode::from(2)
        }
    }
}

fn run_tidy(root: &Path) -> io::Result<u8> {
    let tree = tidy::Tree::read(root)?;
    if tree.file("Cargo.toml").is_none() {
        let what = format!("no project in `{}`: it has no Cargo.toml", root.display());
        return Err(io::Error::other(what));
    }
    let findings = tidy::check(&tree);
    let mut out = io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let files = tree.files().len();
    match findings.len() {
        0 => writeln!(out, "tidy: {files} files, nothing to tidy")?,
        n => writeln!(out, "tidy: {files} files, {n} findings")?,
    }
    Ok(u8::from(!findings.is_empty()))
}

fn run_bench_ledger(options: &[&str]) -> io::Result<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let said = bench::ledger::run(options, &root).map_err(io::Error::other)?;
    io::stdout().write_all(said.as_bytes()).map(|()| 0)
}

fn run_bench(options: &[&str]) -> io::Result<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let options = bench::Options::parse(options, &root).map_err(io::Error::other)?;
    let said = bench::run(&options, &root).map_err(io::Error::other)?;
    io::stdout().write_all(said.as_bytes()).map(|()| 0)
}

fn run_soak(options: &[&str]) -> io::Result<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let options = soak::Options::parse(options).map_err(io::Error::other)?;
    let (said, is_well) = soak::run(&options, &root).map_err(io::Error::other)?;
    io::stdout().write_all(said.as_bytes())?;
    Ok(u8::from(!is_well))
}
