//! What is wrong with a configuration: every fault with its place and what to write in its stead.

use std::fmt;
use std::ops::Range;

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to write or do.
    pub remedy: String,
}

/// Why a configuration cannot be used: all its faults, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file as named.
    pub file: String,
    /// The faults; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a usable configuration:", self.file)?;
        for p in &self.problems {
            write!(f, "\n  {}:{}:{}: {}", self.file, p.line, p.column, p.what)?;
            if !p.remedy.is_empty() {
                write!(f, "; {}", p.remedy)?;
            }
        }
        Ok(())
    }
}

/// Line and column of an offset, counted from 1.
pub(super) fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The word of `known` that `word` was most likely meant to be.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded = word.replace('_', "-").to_ascii_lowercase();
    known
        .iter()
        .map(|k| (distance(&folded, k), *k))
        .filter(|(d, k)| *d <= k.len().max(folded.len()) / 3)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Levenshtein's distance, with words cut to a length at which it stays cheap.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (above, y) in row.iter().skip(1).zip(&b) {
            left = (above + 1).min(left + 1).min(diagonal + usize::from(x != *y));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_word() {
        let known = ["policy", "deny", "allow", "public-url", "trusted-proxies"];
        for (word, want) in [
            ("denny", Some("deny")),
            ("public_url", Some("public-url")),
            ("Policy", Some("policy")),
            ("trusted-proxys", Some("trusted-proxies")),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, &known), want, "{word}");
        }
    }

    #[test]
    fn places_are_counted_in_characters() {
        assert_eq!(position("a\nä = 1", &(5..6)), (2, 3));
        assert_eq!(position("", &(9..9)), (1, 1));
    }
}
