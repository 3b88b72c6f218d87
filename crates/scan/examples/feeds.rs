//! Measures what advisory feeds cost: building the index, opening it, looking packages up.
//!
//! `cargo run --release -p countersign-scan --example feeds -- FOLDER`

#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use countersign_core::{Ecosystem, Timestamp};
use countersign_scan::advisory::{FeedIndex, FeedLimits, IndexBuilder, ReadAt};
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
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

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder of feeds")?;
    let temp = std::env::temp_dir().join(format!("countersign-feeds-{}", std::process::id()));
    if std::env::args().nth(2).is_none() {
        let started = Instant::now();
        let mut builder = IndexBuilder::new();
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "zip") {
                let name = entry.file_name().to_string_lossy().into_owned();
                builder.add_zip(
                    &name,
                    BufReader::new(File::open(&path)?),
                    &FeedLimits::default(),
                )?;
            }
        }
        let bytes = builder.finish(Timestamp(0))?;
        File::create(&temp)?.write_all(&bytes)?;
        println!("build: {:.2} s, {} bytes", started.elapsed().as_secs_f64(), bytes.len());
        // Opening is measured in a process of its own, whose memory never held the records.
        let exe = std::env::current_exe()?;
        std::process::Command::new(exe).args([&folder, &temp.display().to_string()]).status()?;
        std::fs::remove_file(&temp)?;
        return Ok(());
    }
    let path = std::env::args().nth(2).ok_or("no index")?;
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
