//! The rules on their way through one artifact.

use super::Compiled;
use super::meta::RuleMeta;
use crate::content::FileInfo;
use crate::malware::{Can, FileSession, Match};
use std::cell::Cell;
use std::time::Duration;

/// What one file may take. The engine counts in whole seconds.
const FILE_TIME: Duration = Duration::from_secs(20);
/// Places of one pattern in one file that are counted; rules that count further do not hold.
const PLACES: usize = 1000;

thread_local! {
    /// A scanner that is not used now: to make one costs more than a small artifact's scan.
    static IDLE: Cell<Option<(&'static Compiled, yara_x::Scanner<'static>)>> = const { Cell::new(None) };
}

fn scanner_of(compiled: &'static Compiled) -> yara_x::Scanner<'static> {
    let idle = IDLE.take().filter(|(of, _)| std::ptr::eq(*of, compiled));
    idle.map_or_else(
        || {
            let mut scanner = yara_x::Scanner::new(&compiled.rules);
            scanner.set_timeout(FILE_TIME).max_matches_per_pattern(PLACES);
            scanner
        },
        |(_, scanner)| scanner,
    )
}

pub(super) struct Session {
    compiled: &'static Compiled,
    /// Made when the first file is wanted: many artifacts have none.
    scanner: Option<yara_x::Scanner<'static>>,
}

impl Session {
    pub(super) fn new(compiled: &'static Compiled) -> Self {
        Self { compiled, scanner: None }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(scanner) = self.scanner.take() {
            IDLE.set(Some((self.compiled, scanner)));
        }
    }
}

impl FileSession for Session {
    fn wants(&self, file: &FileInfo<'_>) -> bool {
        self.compiled.meta.values().any(|meta| meta.wants(file))
    }

    fn look(&mut self, file: &FileInfo<'_>, content: &[u8]) -> Result<Vec<Match>, String> {
        let compiled = self.compiled;
        let scanner = self.scanner.get_or_insert_with(|| scanner_of(compiled));
        let results = scanner.scan(content).map_err(|e| format!("the YARA rules: {e}"))?;
        let mut out = Vec::new();
        for rule in results.matching_rules() {
            let name = (rule.namespace().to_owned(), rule.identifier().to_owned());
            let Some(meta) = compiled.meta.get(&name).filter(|meta| meta.wants(file)) else {
                continue;
            };
            out.extend(places(&rule, meta).into_iter().enumerate().map(|(nth, (at, found))| {
                Match {
                    rule: name.1.clone(),
                    says: meta.says.clone(),
                    at,
                    found,
                    can: meta.can,
                    // The first place is the finding; the others count in meetings.
                    severity: meta.severity.filter(|_| nth == 0),
                    confidence: meta.confidence,
                    max_hits: meta.max_hits,
                }
            }));
        }
        Ok(out)
    }
}

/// Places of a rule that says what code can do, in one file.
const SEVERAL: usize = 8;
/// Bytes of what was found.
const FOUND: usize = 256;

/// Where a rule holds; a rule without patterns holds at the beginning.
fn places(rule: &yara_x::Rule<'_, '_>, meta: &RuleMeta) -> Vec<(usize, Vec<u8>)> {
    let found = |m: yara_x::Match<'_, '_>| {
        (m.range().start, m.data().iter().take(FOUND).copied().collect::<Vec<u8>>())
    };
    let mut all: Vec<(usize, Vec<u8>)> =
        rule.patterns().flat_map(|p| p.matches().take(SEVERAL)).map(found).collect();
    all.sort();
    all.truncate(if meta.can == Can::NOTHING { 1 } else { SEVERAL });
    if all.is_empty() {
        all.push((0, Vec::new()));
    }
    all
}
