//! The versions that a package's advisories name, sorted once, so that a version is compared a few
//! times and not once for each event.

use super::osv::MAX_VERSION;
use countersign_core::Ecosystem;
use countersign_ecosystem::version::compare;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

/// A place in the order of a package's versions: odd numbers are versions of the table (equal
/// ones share a number), even numbers are the gaps before, between and after them.
pub(super) type Position = u32;

/// The position before all versions.
pub(super) const BEFORE_ALL: Position = 0;

/// All versions that a package's advisories name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VersionTable {
    /// Texts in ascending order, then those without a place in the order.
    texts: Vec<String>,
    /// Positions of the ordered texts, ascending; shorter than `texts` by the unordered ones.
    positions: Vec<Position>,
}

impl VersionTable {
    /// Sorts and deduplicates `versions`.
    pub(super) fn build<'a>(ecosystem: Ecosystem, versions: impl Iterator<Item = &'a str>) -> Self {
        let distinct: BTreeSet<&str> = versions.collect();
        let (ordered, unordered): (Vec<&str>, Vec<&str>) =
            distinct.into_iter().partition(|v| has_order(ecosystem, v));
        let mut sorted: Vec<&str> = Vec::with_capacity(ordered.len());
        // Insertion by bisection terminates whatever the comparison answers; the standard sort
        // may panic when an order is not total.
        for version in ordered {
            let at = sorted
                .partition_point(|s| compare(ecosystem, s, version) != Some(Ordering::Greater));
            sorted.insert(at, version);
        }
        let positions = number(ecosystem, &sorted);
        let texts = sorted.into_iter().chain(unordered).map(str::to_owned).collect();
        Self { texts, positions }
    }

    /// The table of texts in order, each with whether it opens a new position, and of unordered
    /// texts.
    pub(super) fn from_parts(ordered: Vec<(String, bool)>, unordered: Vec<String>) -> Self {
        let mut position: Position = 0;
        let mut table = Self::default();
        for (text, is_new) in ordered {
            if is_new || position == 0 {
                position = if position == 0 { 1 } else { position.saturating_add(2) };
            }
            table.texts.push(text);
            table.positions.push(position);
        }
        table.texts.extend(unordered);
        table
    }

    /// The ordered texts, each with whether it opens a new position.
    pub(super) fn ordered(&self) -> impl ExactSizeIterator<Item = (&str, bool)> {
        let mut last = 0;
        self.positions.iter().zip(&self.texts).map(move |(position, text)| {
            let is_new = *position != last;
            last = *position;
            (text.as_str(), is_new)
        })
    }

    /// The texts without a place in the order.
    pub(super) fn unordered(&self) -> &[String] {
        self.texts.get(self.positions.len()..).unwrap_or_default()
    }

    /// The index of each text.
    pub(super) fn indexes(&self) -> HashMap<&str, u32> {
        (0..).zip(&self.texts).map(|(index, text)| (text.as_str(), index)).collect()
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The text at an index.
    pub(super) fn text(&self, index: u32) -> &str {
        self.texts.get(index as usize).map_or("", String::as_str)
    }

    /// The position of the text at an index; `None` when it has no place in the order.
    pub(super) fn position(&self, index: u32) -> Option<Position> {
        self.positions.get(index as usize).copied()
    }

    /// Where `version` lies among the versions of the table; `None` when it cannot be compared
    /// with them.
    pub(super) fn locate(&self, ecosystem: Ecosystem, version: &str) -> Option<Position> {
        if !has_order(ecosystem, version) {
            return None;
        }
        let (mut low, mut high) = (0, self.positions.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(ecosystem, self.texts.get(middle)?, version)? {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return self.positions.get(middle).copied(),
            }
        }
        let before = low.checked_sub(1).and_then(|i| self.positions.get(i));
        Some(before.map_or(BEFORE_ALL, |p| p.saturating_add(1)))
    }
}

/// The positions of sorted versions.
fn number(ecosystem: Ecosystem, sorted: &[&str]) -> Vec<Position> {
    let mut position: Position = 1;
    let mut out = Vec::with_capacity(sorted.len());
    let mut previous: Option<&str> = None;
    for version in sorted {
        if previous.is_some_and(|p| compare(ecosystem, p, version) != Some(Ordering::Equal)) {
            position = position.saturating_add(2);
        }
        out.push(position);
        previous = Some(version);
    }
    out
}

/// Whether the text has a place in the order of versions: whether it compares with a version that
/// every ecosystem knows.
fn has_order(ecosystem: Ecosystem, version: &str) -> bool {
    version.len() <= MAX_VERSION && compare(ecosystem, version, "0.0.1").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_the_ecosystems_order() {
        let t = VersionTable::build(
            Ecosystem::Pypi,
            ["1!0.5", "2.0", "1.0", "1.0.0", "1.0rc1", "1.0+local"].into_iter(),
        );
        let at = |v| t.locate(Ecosystem::Pypi, v).unwrap();
        assert_eq!(at("1.0"), at("1"));
        assert_eq!(at("0.9"), BEFORE_ALL);
        let ascending =
            ["0.1", "1.0c1", "1.0.0.0", "1.0+local", "1.5", "2.0", "99", "1!0.5", "2!0"];
        for pair in ascending.windows(2) {
            assert!(at(pair[0]) < at(pair[1]), "{pair:?}");
        }
        assert_eq!(at("1.5") % 2, 0);
    }

    #[test]
    fn what_is_no_version_has_no_position() {
        let t = VersionTable::build(Ecosystem::Npm, ["1.0.0", "not a version"].into_iter());
        assert_eq!(t.unordered(), ["not a version"]);
        assert_eq!(t.locate(Ecosystem::Npm, "not a version"), None);
        assert_eq!(t.locate(Ecosystem::Npm, ""), None);
        assert_eq!(t.locate(Ecosystem::Cargo, "1.0"), None);
    }

    #[test]
    fn parts_make_the_same_table() {
        let t = VersionTable::build(Ecosystem::Pypi, ["1.0", "1", "2", "0.1", ""].into_iter());
        let ordered = t.ordered().map(|(s, n)| (s.to_owned(), n)).collect();
        assert_eq!(VersionTable::from_parts(ordered, t.unordered().to_vec()), t);
    }
}
