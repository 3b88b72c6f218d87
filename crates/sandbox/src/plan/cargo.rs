//! Crates: what runs when a crate is compiled is its build script.

use super::{Plan, script, step, tar_gz};

/// Unpacks the crate and builds it. Dependencies are not there: a crate that has some is reduced to
/// its build script, with an empty library, so that at least what runs is run.
const BUILD: &str = r#"set -eu
mkdir -p /box/crate
tar -xzf "$1" -C /box/crate --strip-components=1 --no-same-owner
cd /box/crate
rm -rf Cargo.lock .cargo rust-toolchain rust-toolchain.toml
header='^[[:space:]]*\['
if grep -Eq "$header(target\..*\.)?dependencies" Cargo.toml; then
  echo 'countersign: it has dependencies: only its build script is compiled'
  awk '/^[[:space:]]*\[/ { keep = ($0 ~ /^[[:space:]]*\[(package\]|(target\..*\.)?build-dependencies)/); package = ($0 ~ /\[package\]/) }
    keep && !(package && $0 ~ /^(auto|default-run|resolver|workspace)/)' Cargo.toml > reduced.toml
  [ -f build.rs ] || grep -q '^build[[:space:]]*=' reduced.toml || { echo 'countersign: nothing of it runs'; exit 0; }
  : > countersign_empty.rs
  awk '/\[package\]/ { print; print "autobins = false\nautoexamples = false\nautotests = false\nautobenches = false"; next } 1' reduced.toml > Cargo.toml
  printf '\n[lib]\npath = "countersign_empty.rs"\n\n[workspace]\n' >> Cargo.toml
else
  awk '/^[[:space:]]*\[/ { keep = ($0 !~ /dev-dependencies/) } { if (NR == 1 && $0 !~ /^\[/) keep = 1 } keep' Cargo.toml > reduced.toml
  printf '\n[workspace]\n' >> reduced.toml
  cp reduced.toml Cargo.toml
fi
exec cargo build --offline --quiet
"#;

pub(super) fn plan(target: &str) -> Plan {
    let environment = [("CARGO_HOME", "/tmp/cargo"), ("CARGO_NET_OFFLINE", "true")];
    Plan {
        steps: vec![step("build", &["/bin/sh", "/box/in/build.sh", target], &environment, true)],
        placed: vec![script("/box/in/build.sh", BUILD)],
    }
}

pub(super) fn empty() -> std::io::Result<(String, Vec<u8>)> {
    let manifest =
        "[package]\nname = \"countersign-baseline\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let bytes = tar_gz(&[
        ("countersign-baseline-1.0.0/Cargo.toml", manifest, 0o644),
        ("countersign-baseline-1.0.0/build.rs", "fn main() {}\n", 0o644),
        ("countersign-baseline-1.0.0/src/lib.rs", "", 0o644),
    ])?;
    Ok(("countersign-baseline-1.0.0.crate".to_owned(), bytes))
}
