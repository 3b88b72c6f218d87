//! Insecure configuration of what a package brings: how its programs were linked, and who may write
//! its files.
//!
//! All of it is for information or low: whoever built the package decided so, and honest packages
//! have all of it. A rule of one's own may think otherwise.

mod elf;
#[cfg(test)]
mod tests;

use crate::content::{ContentScanner, FileInfo, FileKind, Native, Package, Window};
use crate::structure::printable;
use countersign_core::{Finding, FindingKind, Severity};
use elf::Elf;
use std::collections::BTreeMap;

/// The name of the check in reports and policies.
pub const CHECK: &str = "configuration";

/// Programs of one package that are looked at; the others are counted as alike.
const LOOKED_AT: usize = 4096;

/// A weakness: the finding's id without `config.`, how bad it is, and what people are told.
type Weakness = (&'static str, Severity, &'static str);

const NOT_PIE: Weakness =
    ("elf-not-pie", Severity::Low, "a program that is loaded at the same address always (no PIE)");
const NO_RELRO: Weakness =
    ("elf-no-relro", Severity::Info, "its relocations stay writable (no RELRO)");
const LAZY: Weakness = (
    "elf-partial-relro",
    Severity::Info,
    "its table of functions stays writable (RELRO without immediate binding)",
);
const STACK: Weakness = ("elf-executable-stack", Severity::Low, "its stack is executable");
const WRITABLE_CODE: Weakness =
    ("elf-writable-code", Severity::Low, "a segment is writable and executable at once");
const NO_CANARY: Weakness =
    ("elf-no-canary", Severity::Info, "no function asks whether its stack was overwritten");
const OUTSIDE: Weakness = (
    "elf-library-path",
    Severity::Low,
    "it looks for libraries in a folder that is not the package's own",
);
const ANYBODY: Weakness = ("world-writable", Severity::Info, "anybody may write to it");

/// The scanner.
#[derive(Default)]
pub(crate) struct Configuration {
    /// By weakness: the first file with what was seen there, and how many have it.
    found: BTreeMap<&'static str, (Weakness, String, String, usize)>,
    current: Option<(String, Elf)>,
    programs: usize,
}

impl Configuration {
    fn note(&mut self, weakness: Weakness, path: &str, seen: &str) {
        let first = || (weakness, printable(path), printable(seen), 0);
        self.found.entry(weakness.0).or_insert_with(first).3 += 1;
    }

    /// Says what is weak in the program that was seen last.
    fn close(&mut self) {
        let Some((path, elf)) = self.current.take() else { return };
        for (weakness, seen) in elf.weaknesses() {
            self.note(weakness, &path, &seen);
        }
    }
}

impl ContentScanner for Configuration {
    fn name(&self) -> &'static str {
        CHECK
    }

    fn wants(&self, file: &FileInfo<'_>) -> bool {
        file.kind == FileKind::Native(Native::Elf) || file.mode & 0o002 != 0
    }

    fn window(&mut self, file: &FileInfo<'_>, window: &Window<'_>) -> Result<(), String> {
        if window.is_first() {
            self.close();
            if file.mode & 0o002 != 0 {
                self.note(ANYBODY, file.path, "");
            }
            let is_program = file.kind == FileKind::Native(Native::Elf);
            if is_program && self.programs < LOOKED_AT {
                self.programs += 1;
                // One that cannot be read is not run either.
                self.current = Elf::begin(window.bytes).map(|elf| (file.path.to_owned(), elf));
            }
        }
        if let Some((_, elf)) = &mut self.current {
            elf.window(window);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, _: &Package<'_>) -> Result<Vec<Finding>, String> {
        self.close();
        Ok(self.found.into_values().map(finding).collect())
    }
}

fn finding((weakness, path, seen, count): (Weakness, String, String, usize)) -> Finding {
    let (id, severity, says) = weakness;
    let seen = if seen.is_empty() { seen } else { format!(": `{seen}`") };
    let more = if count > 1 { format!(" (and {} more files)", count - 1) } else { String::new() };
    Finding {
        id: format!("config.{id}"),
        aliases: Vec::new(),
        kind: FindingKind::Structure,
        severity,
        title: format!("{says}{seen}{more}"),
        fixed_in: None,
        path: Some(path),
        observed: None,
        exploitation: None,
        vex: Vec::new(),
    }
}
