//! Reads lock files and SBOMs, and says what each lists and how long that took:
//! `cargo run --release -p countersign-ecosystem --example inventory -- uv.lock …`

#![allow(clippy::print_stdout, reason = "an example has nothing but its output")]

use countersign_ecosystem::inventory::{SkipKind, detect, parse};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let name = path.rsplit('/').next().unwrap_or(&path);
        let Some(format) = detect(name, &bytes) else {
            println!("{path}: not a known format");
            continue;
        };
        let started = Instant::now();
        match parse(format, &bytes) {
            Err(e) => println!("{path}: {e}"),
            Ok(inventory) => {
                let took = started.elapsed().as_secs_f64() * 1e3;
                let count = |kind| inventory.skipped.iter().filter(|s| s.kind == kind).count();
                println!(
                    "{path}: {} listed, {} own, {} elsewhere, {} unpinned, {} unreadable; {} KiB in {took:.2} ms",
                    inventory.listed.len(),
                    count(SkipKind::Own),
                    count(SkipKind::Elsewhere),
                    count(SkipKind::Unpinned),
                    count(SkipKind::Unreadable),
                    bytes.len() / 1024,
                );
                for s in inventory.skipped.iter().filter(|s| s.kind != SkipKind::Own).take(20) {
                    println!("  {} ({})", s.what, s.because);
                }
            }
        }
    }
    Ok(())
}
