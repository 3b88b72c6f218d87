//! Whether a version is affected: the evaluation of OSV schema 1.6 ("Evaluation"), over positions.

use super::order::{BEFORE_ALL, Position, VersionTable};

/// The answer to "is this version affected?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affected {
    Yes,
    No,
    /// A version or an event cannot be ordered, or the record does not say which versions.
    Undecided,
}

/// What an event does. The order is that of events at the same version: a fix ends what came
/// before, an introduction begins at this version, `last_affected` ends after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EventKind {
    Fixed,
    Introduced,
    LastAffected,
}

/// An event, at a version of the package's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    /// Index into the version table.
    pub(super) version: u32,
}

/// A range of versions as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// Whether it begins before all versions.
    pub(super) from_start: bool,
    /// The events, in the record's order.
    pub(super) events: Vec<Event>,
    /// Indexes of the versions before which it holds; empty is "no limit".
    pub(super) limits: Vec<u32>,
}

/// One `affected` entry of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Ranges that can be evaluated.
    pub(super) ranges: Vec<Range>,
    /// Indexes of the versions that are listed one by one.
    pub(super) versions: Vec<u32>,
    /// Whether there is a range that cannot be evaluated (of an unknown type, or empty).
    pub(super) opaque: bool,
}

impl Block {
    /// All indexes into the version table.
    pub(super) fn indexes_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        let ranges = self
            .ranges
            .iter_mut()
            .flat_map(|r| r.events.iter_mut().map(|e| &mut e.version).chain(r.limits.iter_mut()));
        self.versions.iter_mut().chain(ranges)
    }
}

/// A range with its events in order, ready to be asked.
#[derive(Debug, Clone)]
struct Line {
    from_start: bool,
    events: Vec<(Position, EventKind)>,
    limits: Vec<Position>,
    /// Whether all versions of the range have a position.
    ordered: bool,
}

impl Line {
    fn new(range: &Range, table: &VersionTable) -> Self {
        let mut ordered = true;
        let mut place = |index: u32| {
            let position = table.position(index);
            ordered &= position.is_some();
            position
        };
        let mut events: Vec<_> =
            range.events.iter().filter_map(|e| Some((place(e.version)?, e.kind))).collect();
        events.sort_unstable();
        let limits = range.limits.iter().filter_map(|l| place(*l)).collect();
        Self { from_start: range.from_start, events, limits, ordered }
    }

    fn contains(&self, at: Option<Position>) -> Affected {
        if self.ordered && self.holds_everywhere() {
            return Affected::Yes;
        }
        let Some(at) = at.filter(|_| self.ordered) else {
            return Affected::Undecided;
        };
        if !self.limits.is_empty() && self.limits.iter().all(|limit| at >= *limit) {
            return Affected::No;
        }
        let mut inside = self.from_start;
        for (position, kind) in &self.events {
            match kind {
                EventKind::Introduced if at >= *position => inside = true,
                EventKind::Fixed if at >= *position => inside = false,
                EventKind::LastAffected if at > *position => inside = false,
                _ => {}
            }
        }
        if inside { Affected::Yes } else { Affected::No }
    }

    fn holds_everywhere(&self) -> bool {
        let opens = |(_, kind): &(Position, EventKind)| *kind == EventKind::Introduced;
        self.from_start && self.limits.is_empty() && self.events.iter().all(opens)
    }
}

/// All that one advisory says about the versions of a package.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    lines: Vec<Line>,
    /// Positions of the versions listed one by one, sorted.
    listed: Vec<Position>,
    /// Listed texts without a position.
    listed_texts: Vec<String>,
    /// Versions that end a range as fixed: position and text, ascending.
    fixes: Vec<(Position, String)>,
    /// Whether some of it cannot be evaluated, or says nothing.
    opaque: bool,
}

impl Scope {
    pub(super) fn new(blocks: &[Block], table: &VersionTable) -> Self {
        let says_nothing = |b: &Block| b.ranges.is_empty() && b.versions.is_empty();
        let mut scope = Self {
            lines: Vec::new(),
            listed: Vec::new(),
            listed_texts: Vec::new(),
            fixes: Vec::new(),
            opaque: blocks.is_empty() || blocks.iter().any(|b| b.opaque || says_nothing(b)),
        };
        for block in blocks {
            scope.lines.extend(block.ranges.iter().map(|r| Line::new(r, table)));
            for index in &block.versions {
                match table.position(*index) {
                    Some(position) => scope.listed.push(position),
                    None => scope.listed_texts.push(table.text(*index).to_owned()),
                }
            }
            let events = block.ranges.iter().flat_map(|r| &r.events);
            for event in events.filter(|e| e.kind == EventKind::Fixed) {
                if let Some(position) = table.position(event.version) {
                    scope.fixes.push((position, table.text(event.version).to_owned()));
                }
            }
        }
        scope.listed.sort_unstable();
        scope.listed.dedup();
        scope.fixes.sort_unstable();
        scope.fixes.dedup();
        scope
    }

    /// Whether every version is affected, whatever it is.
    pub(super) fn affects_all(&self) -> bool {
        self.lines.iter().any(|line| line.ordered && line.holds_everywhere())
    }

    /// Whether the version at `at`, spelt `text`, is affected.
    pub(super) fn affects(&self, at: Option<Position>, text: &str) -> Affected {
        let listed = match at {
            Some(position) => self.listed.binary_search(&position).is_ok(),
            None => self.listed_texts.iter().any(|t| t == text),
        };
        if listed {
            return Affected::Yes;
        }
        let unplaced = at.is_none() && !self.listed.is_empty();
        let mut answer = if self.opaque || unplaced { Affected::Undecided } else { Affected::No };
        for line in &self.lines {
            match line.contains(at) {
                Affected::Yes => return Affected::Yes,
                Affected::Undecided => answer = Affected::Undecided,
                Affected::No => {}
            }
        }
        answer
    }

    /// The fixes that lie after `at`, ascending.
    pub(super) fn fixes_after(&self, at: Position) -> impl Iterator<Item = (Position, &str)> {
        let start = self.fixes.partition_point(|(p, _)| *p <= at);
        self.fixes.get(start..).unwrap_or_default().iter().map(|(p, t)| (*p, t.as_str()))
    }
}

impl Range {
    /// The range of OSV events: `None` when there are none that mean anything. `index` gives the
    /// place of a version in the table.
    pub(super) fn from_osv(
        events: &[super::osv::OsvEvent],
        mut index: impl FnMut(&str) -> u32,
    ) -> Option<Self> {
        let mut range = Self::default();
        let mut begins = false;
        let endless = events.iter().any(|e| e.limit.as_deref() == Some("*"));
        for event in events {
            if let Some(v) = event.introduced.as_deref() {
                begins = true;
                if v == "0" {
                    range.from_start = true;
                } else {
                    range.events.push(Event { kind: EventKind::Introduced, version: index(v) });
                }
            }
            for (text, kind) in
                [(&event.fixed, EventKind::Fixed), (&event.last_affected, EventKind::LastAffected)]
            {
                if let Some(v) = text.as_deref() {
                    range.events.push(Event { kind, version: index(v) });
                }
            }
            if let Some(v) = event.limit.as_deref().filter(|_| !endless) {
                range.limits.push(index(v));
            }
        }
        // The schema asks for a beginning; without one the range is read as wide as it can be.
        range.from_start |= !begins;
        (begins || endless || !range.events.is_empty() || !range.limits.is_empty()).then_some(range)
    }
}

/// The position before all versions is never in the table, so that `from_start` needs no event.
const _: () = assert!(BEFORE_ALL == 0);
