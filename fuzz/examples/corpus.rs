//! Writes the seeds to `fuzz/corpus/<target>`, where cargo-fuzz begins.

#[path = "../tests/seeds/mod.rs"]
mod seeds;

use std::path::Path;

fn main() -> std::io::Result<()> {
    for (name, _) in countersign_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        std::fs::create_dir_all(&folder)?;
        for (n, seed) in seeds::of(name).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
