//! Scans artifacts on the disk and prints what is found, with the speed: `cargo run --release
//! --example content -- [--brief] FILE|FOLDER…`.

#![allow(clippy::print_stdout, clippy::expect_used)]

use countersign_core::{Ecosystem, FindingKind, Severity};
use countersign_ecosystem::archive::Limits;
use countersign_scan::structure::{StructureReport, scan_archive};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn main() {
    let (mut brief, mut files) = (false, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--brief" => brief = true,
            path => gather(Path::new(path), &mut files),
        }
    }
    files.sort();
    let (mut bytes, mut time, mut worst) = (0, Duration::ZERO, [0usize; 4]);
    for path in &files {
        let Some((report, took)) = scan(path) else { continue };
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

fn scan(path: &Path) -> Option<(StructureReport, Duration)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let ecosystem = match name.rsplit('.').next()? {
        "whl" | "zip" => Ecosystem::Pypi,
        "crate" => Ecosystem::Cargo,
        "deb" => Ecosystem::Debian,
        "tgz" => Ecosystem::Npm,
        "gz" | "bz2" | "xz" => Ecosystem::Pypi,
        _ => return None,
    };
    let file = std::io::BufReader::with_capacity(256 << 10, std::fs::File::open(path).ok()?);
    let began = Instant::now();
    let report = scan_archive(&name, ecosystem, None, file, &Limits::default());
    Some((report, began.elapsed()))
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
        _ => false,
    });
    for f in shown {
        println!("    {} {} {}: {}", f.severity, f.id, f.path.as_deref().unwrap_or(""), f.title);
    }
}
