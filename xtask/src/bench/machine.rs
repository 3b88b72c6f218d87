//! Where and when it was measured. Neither names of hosts nor folders are kept.

use super::process::Job;
use super::results::Surroundings;
use std::fs;
use std::path::Path;

/// Asks the machine.
#[must_use]
pub(super) fn surroundings(root: &Path, filesystems: (String, String)) -> Surroundings {
    let cpus = read("/proc/cpuinfo");
    let model = field(&cpus, "model name").unwrap_or("a processor without a name").to_owned();
    let memory = read("/proc/meminfo");
    let kib = field(&memory, "MemTotal").and_then(|l| l.split(' ').next()?.parse::<u64>().ok());
    Surroundings {
        date: first_line(&["date", "-u", "+%F"], root).unwrap_or_else(|| "unknown".to_owned()),
        commit: commit(root),
        processor: format!("{} × {model}", processors()),
        memory_gib: (kib.unwrap_or(0) + (1 << 19)) >> 20,
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        filesystems,
        versions: Vec::new(),
    }
}

/// How many processors this process may use.
#[must_use]
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many programs wanted to run in the last minute, on average.
#[must_use]
pub(super) fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0)
}

/// The first line that a program prints, such as its version. Some print it as an error.
#[must_use]
pub(super) fn first_line(words: &[&str], folder: &Path) -> Option<String> {
    let out = Job::new(words, folder).output().ok()?;
    Some(out.lines().next()?.trim().to_owned())
}

fn commit(root: &Path) -> String {
    let hash = first_line(&["git", "rev-parse", "--short=12", "HEAD"], root);
    let Some(hash) = hash else { return "not known".to_owned() };
    let changed = Job::new(["git", "status", "--porcelain", "--", "crates", "Cargo.lock"], root);
    match changed.output() {
        Ok(out) if out.trim().is_empty() => hash,
        _ => format!("{hash}, with changes"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}
