//! `algorithms.toml`: which algorithms and keys prove too little, and from when.
//!
//! A proof may be given in several ways; it is weak when each way rests on something weak. What
//! nobody listed is weak, too: an algorithm that is not known here proves nothing to anybody here.

use crate::error::{PolicyError, PolicyFile};
use countersign_core::algorithm::INDEX_DIGEST;
use countersign_core::{AlgorithmUse, ArtifactFacts, ProofClass, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// Name of the table in a policy folder.
pub(crate) const ALGORITHMS_FILE: &str = "algorithms.toml";

/// Rows of one file; there are some twenty algorithms that anybody uses.
const MAX_ROWS: usize = 1000;

/// Which algorithms are strong, and which of them are not under a size or from a date on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlgorithmTable {
    strong: BTreeSet<String>,
    weak: BTreeMap<String, Vec<WeakRow>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct WeakRow {
    /// Only keys with fewer bits.
    below: Option<u32>,
    /// What was provably signed before is not weak; unset, it always is.
    since: Option<Timestamp>,
    because: String,
}

/// An algorithm that proves too little where it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// Which, and where.
    pub used: AlgorithmUse,
    /// The kind of evidence that rests on it, or `index`.
    pub of: String,
    /// The table's words.
    pub because: String,
}

impl AlgorithmTable {
    /// Why `used` proves too little for what was signed at `at`.
    #[must_use]
    pub fn weakness(&self, used: &AlgorithmUse, at: Timestamp) -> Option<String> {
        let rows = self.weak.get(&used.name).map_or(&[][..], Vec::as_slice);
        let in_force = |r: &&WeakRow| r.since.is_none_or(|since| since <= at);
        // A key of unknown size may be as small as any.
        let small = |r: &&WeakRow| r.below.is_none_or(|b| used.bits.is_none_or(|bits| bits < b));
        if let Some(row) = rows.iter().filter(small).find(in_force) {
            return Some(row.words());
        }
        let known = self.strong.contains(&used.name) || rows.iter().any(|r| r.below.is_none());
        (!known).then(|| "the policy's table of algorithms does not list it".to_owned())
    }

    /// What the evidence of an artifact rests on that proves too little: of each piece whose every way
    /// is weak, and of each that failed for its algorithm.
    #[must_use]
    pub fn weak_evidence(&self, facts: &ArtifactFacts, now: Timestamp) -> Vec<Weakness> {
        let mut out = Vec::new();
        for e in &facts.evidence {
            // A log or a time stamp proves when it was signed; without one only today counts.
            let proven = e.claim().filter(|c| c.proof != ProofClass::KeyOnly);
            let at = proven.and_then(|c| c.signed_at).unwrap_or(now);
            out.extend(self.weak_in_all_ways(e.algorithms(), at, &e.kind));
        }
        out
    }

    /// The digests that the index gives of an artifact and that the bytes have, where none of them
    /// proves anything; `None` where a strong one is among them.
    #[must_use]
    pub fn weak_digests(&self, facts: &ArtifactFacts, now: Timestamp) -> Option<Vec<Weakness>> {
        let strong = |u: &AlgorithmUse| u.place == INDEX_DIGEST && self.weakness(u, now).is_none();
        if facts.index_digests.iter().any(strong) {
            return None;
        }
        let weak = facts.index_digests.iter().map(|used| Weakness {
            used: used.clone(),
            of: "index".to_owned(),
            because: self.weakness(used, now).unwrap_or_else(|| "it is not computed".to_owned()),
        });
        Some(weak.collect())
    }

    fn weak_in_all_ways(&self, uses: &[AlgorithmUse], at: Timestamp, of: &str) -> Vec<Weakness> {
        let weak = uses.iter().filter_map(|used| {
            let because = self.weakness(used, at)?;
            Some(Weakness { used: used.clone(), of: of.to_owned(), because })
        });
        let weak: Vec<Weakness> = weak.collect();
        let is_weak = |way: u32| weak.iter().any(|w| w.used.alternative == way);
        if uses.iter().all(|u| is_weak(u.alternative)) { weak } else { Vec::new() }
    }

    /// Puts what one folder's file says over this table: what it says of a name replaces all that was
    /// said of that name before.
    pub(crate) fn overlay(&mut self, own: &Self) {
        for name in own.strong.iter().filter(|n| !own.weak.contains_key(*n)) {
            self.weak.remove(name);
        }
        for (name, rows) in own.weak.iter().filter(|(n, _)| !own.strong.contains(*n)) {
            // Rows about small keys leave the larger ones as they were.
            if rows.iter().any(|r| r.below.is_none()) {
                self.strong.remove(name);
            }
        }
        self.strong.extend(own.strong.iter().cloned());
        self.weak.extend(own.weak.iter().map(|(n, r)| (n.clone(), r.clone())));
    }

    /// Reads an `algorithms.toml`.
    pub(crate) fn parse(file: &PolicyFile) -> Result<Self, Vec<PolicyError>> {
        let raw: RawTable = toml::from_str(&file.text).map_err(|e| {
            let offset = e.span().map_or(0, |s| s.start);
            let first = e.message().lines().next().unwrap_or("not valid TOML").to_owned();
            vec![PolicyError::at(&file.name, &file.text, offset, first)]
        })?;
        let mut errors = Vec::new();
        let mut fail = |at: usize, message: String, help: &str| {
            errors.push(PolicyError::at(&file.name, &file.text, at, message).help(help));
        };
        let mut table = Self::default();
        for name in raw.strong {
            let at = name.span().start;
            let name = name.into_inner();
            if !is_name(&name) {
                fail(at, format!("`{name}` is no name of an algorithm"), NAMES);
            } else if !table.strong.insert(name.clone()) {
                fail(at, format!("`{name}` is listed twice"), "take one out");
            }
        }
        for row in raw.weak {
            let at = row.algorithm.span().start;
            let name = row.algorithm.into_inner();
            let since = row.since.map(|s| (s.span().start, s.into_inner()));
            let read = since.as_ref().map(|(_, text)| Timestamp::parse(text));
            if !is_name(&name) {
                fail(at, format!("`{name}` is no name of an algorithm"), NAMES);
            }
            if let (Some((at, text)), Some(None)) = (&since, read) {
                fail(*at, format!("`{text}` is no date"), "write it as `2031-01-01`");
            }
            let row = WeakRow { below: row.below, since: read.flatten(), because: row.because };
            if row.below.is_none() && row.since.is_none() && table.strong.contains(&name) {
                fail(at, format!("`{name}` is strong and weak"), "take it out of one of the lists");
            }
            table.weak.entry(name).or_default().push(row);
        }
        if table.strong.len() + table.weak.values().map(Vec::len).sum::<usize>() > MAX_ROWS {
            fail(0, format!("the table has more than {MAX_ROWS} rows"), "take some out");
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }
}

impl WeakRow {
    fn words(&self) -> String {
        let size = self.below.map(|b| format!("weak below {b} bits"));
        let mut words = size.unwrap_or_else(|| "weak".to_owned());
        if let Some(since) = self.since {
            words.push_str(&format!(" since {}", since.date()));
        }
        if !self.because.is_empty() {
            words.push_str(&format!(": {}", self.because));
        }
        words
    }
}

const NAMES: &str = "names are lower-case, as evidence tells them: `sha256`, `rsa`, `ecdsa-p256`";

fn is_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    !name.is_empty() && name.len() <= 80 && name.chars().all(part)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    #[serde(default)]
    strong: Vec<Spanned<String>>,
    #[serde(default)]
    weak: Vec<RawRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    algorithm: Spanned<String>,
    below: Option<u32>,
    since: Option<Spanned<String>>,
    #[serde(default)]
    because: String,
}

#[cfg(test)]
mod tests;
