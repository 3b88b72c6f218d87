//! Scans artifacts on the disk and prints what is found, with the speed: `cargo run --release
//! --example content -- [--brief] FILE|FOLDER…`; with `--features yara` also with the project's YARA rules,
//! and those of `--rules FILE`.
//!
//! Where a file `ARTIFACT.listing` lies beside an artifact (a version's manifest of npm's document, a
//! line of the crate index), the two are compared as well.

#![allow(clippy::print_stdout, clippy::expect_used)]

use countersign_core::{Ecosystem, FindingKind, Severity};
use countersign_ecosystem::archive::Limits;
use countersign_scan::malware::FileRules;
use countersign_scan::structure::listing::{Listing, against_index};
use countersign_scan::structure::{StructureReport, scan_archive_with};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn main() {
    let (mut brief, mut without, mut files, mut more) = (false, false, Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--brief" => brief = true,
            "--rules" => more.extend(arguments.next()),
            "--without-yara" => without = true,
            path => gather(Path::new(path), &mut files),
        }
    }
    files.retain(|path| ecosystem_of(path).is_some());
    files.sort();
    let rules = if without { None } else { rules(&more) };
    let rules = rules.as_deref();
    let (mut bytes, mut time, mut worst) = (0, Duration::ZERO, [0usize; 4]);
    for path in &files {
        let Some((report, took)) = scan(path, rules) else { continue };
        let unpacked: u64 = report.manifest.iter().map(|e| e.size).sum();
        (bytes, time) = (bytes + unpacked, time + took);
        worst[rank(&report)] += 1;
        show(path, &report, took, unpacked, brief);
    }
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{} artifacts, {megabytes:.0} MB unpacked in {:.1} s, {:.0} MB/s; clean {}, noted {}, held {}, critical {}",
        files.len(),
        time.as_secs_f64(),
        megabytes / time.as_secs_f64().max(0.001),
        worst[0],
        worst[1],
        worst[2],
        worst[3],
    );
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    for entry in std::fs::read_dir(path).expect("the folder can be read").flatten() {
        gather(&entry.path(), files);
    }
}

fn ecosystem_of(path: &Path) -> Option<Ecosystem> {
    Some(match path.extension()?.to_str()? {
        "whl" | "zip" => Ecosystem::Pypi,
        "crate" => Ecosystem::Cargo,
        "deb" => Ecosystem::Debian,
        "tgz" => Ecosystem::Npm,
        "gz" | "bz2" | "xz" => Ecosystem::Pypi,
        _ => return None,
    })
}

fn scan(path: &Path, rules: Option<&dyn FileRules>) -> Option<(StructureReport, Duration)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let ecosystem = ecosystem_of(path)?;
    let file = std::io::BufReader::with_capacity(256 << 10, std::fs::File::open(path).ok()?);
    let began = Instant::now();
    let mut report = scan_archive_with(&name, ecosystem, None, file, &Limits::default(), rules);
    let took = began.elapsed();
    if let (Some(own), Some(index)) = (&report.listing, listing(path, ecosystem)) {
        report.findings.extend(against_index(ecosystem, own, &index).0);
    }
    Some((report, took))
}

#[cfg(feature = "yara")]
fn rules(more: &[String]) -> Option<Box<dyn FileRules>> {
    use countersign_scan::yara::{Source, YaraRules};
    let mut sources = YaraRules::own();
    sources.extend(more.iter().map(|name| Source {
        name: name.clone(),
        text: std::fs::read_to_string(name).expect("the rules can be read"),
    }));
    let began = Instant::now();
    let rules = YaraRules::compile(&sources, false).expect("the rules compile");
    let compiled = began.elapsed();
    let bytes = rules.to_bytes().expect("the rules can be written");
    let began = Instant::now();
    YaraRules::from_bytes(&bytes, "read").expect("the rules can be read");
    let read = began.elapsed();
    println!("{rules:?}: compiled in {compiled:.0?}; {} bytes, read in {read:.0?}", bytes.len());
    Some(Box::new(rules))
}

#[cfg(not(feature = "yara"))]
fn rules(_: &[String]) -> Option<Box<dyn FileRules>> {
    None
}

/// What its index lists of an artifact, where that was put beside it.
fn listing(path: &Path, ecosystem: Ecosystem) -> Option<Listing> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".listing");
    let text = std::fs::read_to_string(beside).ok()?;
    match ecosystem {
        Ecosystem::Npm => Listing::of_npm_manifest(&text),
        Ecosystem::Cargo => Listing::of_cargo_line(&text),
        _ => None,
    }
}

/// 0 nothing, 1 up to moderate, 2 high, 3 critical.
fn rank(report: &StructureReport) -> usize {
    let suspicious = report.findings.iter().filter(|f| f.kind == FindingKind::Suspicious);
    match suspicious.map(|f| f.severity).max() {
        None => 0,
        Some(Severity::Critical) => 3,
        Some(Severity::High | Severity::Unknown) => 2,
        Some(_) => 1,
    }
}

fn show(path: &Path, report: &StructureReport, took: Duration, unpacked: u64, brief: bool) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let word = ["clean", "noted", "HELD", "CRITICAL"][rank(report)];
    let speed = unpacked as f64 / 1e6 / took.as_secs_f64().max(1e-6);
    println!(
        "{word:8} {name} {:.1} MB {:.0} ms {speed:.0} MB/s",
        unpacked as f64 / 1e6,
        took.as_millis()
    );
    for check in &report.content_checks {
        if matches!(check.outcome, countersign_core::Outcome::NotDone { .. }) {
            println!("    {} {:?}", check.name, check.outcome);
        }
    }
    let shown = report.findings.iter().filter(|f| match f.kind {
        FindingKind::Suspicious => !brief || f.severity >= Severity::High,
        FindingKind::Capability => !brief,
        FindingKind::Structure => !brief || f.severity > Severity::Low,
        _ => false,
    });
    for f in shown {
        println!("    {} {} {}: {}", f.severity, f.id, f.path.as_deref().unwrap_or(""), f.title);
    }
}
