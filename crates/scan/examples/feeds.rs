//! Measures what advisory feeds cost: building the index, opening it, looking packages up; and checks
//! that every record of the malicious lists is found by name and version, and no withdrawn one.
//!
//! `cargo run --release -p countersign-scan --example feeds -- FOLDER [RECORDS]`
//!
//! With RECORDS the records of `malicious-*.zip` are repeated under other names until there are that many.

#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use countersign_core::{Ecosystem, FindingKind, Timestamp};
use countersign_scan::advisory::{
    FeedIndex, FeedLimits, IndexBuilder, OsvRecord, ReadAt, parse_record, read_zip,
};
use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

struct FileAt(File, u64);

impl ReadAt for FileAt {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
    fn len(&self) -> u64 {
        self.1
    }
}

type Failure = Box<dyn Error>;

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder of feeds")?);
    match arguments.next() {
        Some(word) if word == "--open" => open(&arguments.next().ok_or("no index")?),
        wanted => {
            let wanted = wanted.map(|n| n.parse()).transpose()?.unwrap_or(0);
            build(&folder, wanted)
        }
    }
}

fn zips(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let all = std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path()));
    let mut all = all.collect::<Result<Vec<_>, _>>()?;
    all.retain(|p| p.extension().is_some_and(|e| e == "zip"));
    all.sort();
    Ok(all)
}

/// Builds the index, and has another process, whose memory never held the records, open it.
fn build(folder: &Path, wanted: u64) -> Result<(), Failure> {
    let temp = std::env::temp_dir().join(format!("countersign-feeds-{}", std::process::id()));
    let started = Instant::now();
    let (mut builder, mut records) = (IndexBuilder::new(), 0);
    for path in zips(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let reader = BufReader::new(File::open(&path)?);
        records += builder.add_zip(&name, reader, &FeedLimits::default())?.records;
    }
    let mut round = 0;
    while records < wanted {
        round += 1;
        records += repeat(folder, &mut builder, round, wanted - records)?;
    }
    let bytes = builder.finish(Timestamp(0))?;
    File::create(&temp)?.write_all(&bytes)?;
    let (seconds, length) = (started.elapsed().as_secs_f64(), bytes.len());
    println!("build: {records} records, {seconds:.2} s, {length} bytes");
    println!("resident while building: {} KiB", resident().unwrap_or(0));
    drop(bytes);
    check(folder, &temp)?;
    let exe = std::env::current_exe()?;
    let opened = std::process::Command::new(exe).arg(folder).arg("--open").arg(&temp).status()?;
    std::fs::remove_file(&temp)?;
    if opened.success() { Ok(()) } else { Err("the index could not be opened".into()) }
}

/// The records of the malicious lists, in order.
fn malicious(folder: &Path, each: &mut dyn FnMut(OsvRecord)) -> Result<(), Failure> {
    for path in zips(folder)? {
        if !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("malicious-")) {
            continue;
        }
        let reader = BufReader::new(File::open(&path)?);
        read_zip(reader, &FeedLimits::default(), &mut |_, bytes| {
            if let Ok(record) = parse_record(bytes) {
                each(record);
            }
        })?;
    }
    Ok(())
}

/// Adds the malicious lists once more, under other ids and names, up to `most` records.
fn repeat(
    folder: &Path,
    builder: &mut IndexBuilder,
    round: u32,
    most: u64,
) -> Result<u64, Failure> {
    builder.begin_source(&format!("round {round}"));
    let mut added = 0;
    malicious(folder, &mut |mut record| {
        if added < most {
            added += 1;
            record.id = format!("{}-{round}", record.id);
            for package in record.affected.iter_mut().filter_map(|a| a.package.as_mut()) {
                package.name = format!("{}-{round}", package.name);
            }
            builder.add_record(&record);
        }
    })?;
    if added == 0 { Err("there is no malicious list to repeat".into()) } else { Ok(added) }
}

fn ecosystem(name: &str) -> Option<Ecosystem> {
    match name {
        "PyPI" => Some(Ecosystem::Pypi),
        "npm" => Some(Ecosystem::Npm),
        "crates.io" => Some(Ecosystem::Cargo),
        _ => None,
    }
}

/// Whether each record is found by name and version, and no package of withdrawn records alone is.
fn check(folder: &Path, index: &Path) -> Result<(), Failure> {
    let file = File::open(index)?;
    let len = file.metadata()?.len();
    let index = FeedIndex::open(FileAt(file, len))?;
    let (mut live, mut withdrawn) = (Vec::new(), Vec::new());
    malicious(folder, &mut |record| {
        if record.withdrawn { withdrawn.push(record) } else { live.push(record) }
    })?;
    let listed =
        |record: &OsvRecord, version: &str, package: &countersign_scan::advisory::OsvPackage| {
            let Some(ecosystem) = ecosystem(&package.ecosystem) else { return Ok(false) };
            let m = index.lookup(ecosystem, &package.name, version, None)?;
            let named = |f: &countersign_core::Finding| {
                f.kind == FindingKind::Malicious && (f.is_named(&record.id))
            };
            Ok::<_, Failure>(m.findings.iter().any(named))
        };
    let (mut asked, mut missing, mut false_alarms) = (0u64, 0u64, 0u64);
    let copies: HashSet<&str> = live.iter().map(|r| r.id.as_str()).collect();
    for record in &live {
        for affected in &record.affected {
            let Some(package) = &affected.package else { continue };
            let fallback = ["1.0.0".to_owned()];
            let all = if affected.versions.is_empty() { &fallback[..] } else { &affected.versions };
            for version in all {
                asked += 1;
                missing += u64::from(!listed(record, version, package)?);
            }
        }
    }
    for record in withdrawn.iter().filter(|r| !copies.contains(r.id.as_str())) {
        for affected in &record.affected {
            let Some(package) = &affected.package else { continue };
            for version in affected.versions.iter().map(String::as_str).chain(["1.0.0"]) {
                false_alarms += u64::from(listed(record, version, package)?);
            }
        }
    }
    println!(
        "malicious lists: {} records, {asked} versions asked, {missing} not found; {} withdrawn, {false_alarms} found",
        live.len(),
        withdrawn.len()
    );
    if missing + false_alarms > 0 { Err("the lists are not matched".into()) } else { Ok(()) }
}

fn open(path: &str) -> Result<(), Failure> {
    let started = Instant::now();
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let index = FeedIndex::open(FileAt(file, len))?;
    println!(
        "open: {:.2} ms, {} packages",
        started.elapsed().as_secs_f64() * 1e3,
        index.meta().packages
    );
    let names = [
        (Ecosystem::Npm, "lodash", "4.17.4"),
        (Ecosystem::Npm, "no-such-package-here", "1.0.0"),
        (Ecosystem::Pypi, "jinja2", "3.1.6"),
        (Ecosystem::Pypi, "django", "4.2.0"),
        (Ecosystem::Cargo, "time", "0.1.43"),
        (Ecosystem::Pypi, "requests", "2.31.0"),
    ];
    for (ecosystem, name, version) in names {
        let rounds = 2000u32;
        let started = Instant::now();
        let mut found = 0;
        for _ in 0..rounds {
            found = index.lookup(ecosystem, name, version, None)?.findings.len();
        }
        let each = started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
        println!("look-up {name} {version}: {each:.1} µs, {found} findings");
    }
    println!("resident: {} KiB", resident().unwrap_or(0));
    Ok(())
}
