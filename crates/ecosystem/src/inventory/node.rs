//! A document as a tree of values that know their lines: what the readers of JSON and YAML share.

use crate::error::{IndexError, IndexLimits};
use std::borrow::Cow;
use std::collections::HashSet;

/// Most values of one document: what a small text can ask for in memory is bounded by it.
const MAX_VALUES: usize = 4_000_000;
/// Maps with more keys than this are checked for duplicates with a set.
const SMALL: usize = 8;

/// A value and the line that it stands on, from 1; in a map, the line of its key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node<'a> {
    pub(super) line: u32,
    pub(super) value: Value<'a>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// Nothing, or `null`.
    Nothing,
    /// A text in quotes.
    Text(Cow<'a, str>),
    /// A text without quotes: a number, `true`, in YAML any plain scalar.
    Word(&'a str),
    /// A list.
    List(Vec<Node<'a>>),
    /// A map, in the document's order, without duplicate keys.
    Map(Map<'a>),
}

/// Keys with their values.
pub(super) type Map<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

impl<'a> Node<'a> {
    /// The value under a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.entries().iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The entries of a map; none for other values.
    pub(super) fn entries(&self) -> &[(Cow<'a, str>, Node<'a>)] {
        match &self.value {
            Value::Map(map) => map,
            _ => &[],
        }
    }

    /// The items of a list; none for other values.
    pub(super) fn items(&self) -> &[Node<'a>] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, with or without quotes.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The text under a key.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Whether the word `true` stands under a key.
    pub(super) fn says(&self, key: &str) -> bool {
        self.get(key).is_some_and(|n| n.value == Value::Word("true"))
    }
}

/// The first key that a map has twice.
pub(super) fn duplicate<'m>(map: &'m Map<'_>) -> Option<&'m str> {
    if map.len() <= SMALL {
        return map.iter().enumerate().find_map(|(i, (key, _))| {
            map.iter().take(i).any(|(k, _)| k == key).then_some(key.as_ref())
        });
    }
    let mut seen = HashSet::with_capacity(map.len());
    map.iter().map(|(k, _)| k.as_ref()).find(|k| !seen.insert(*k))
}

/// How much of a document may be read yet.
pub(super) struct Budget {
    what: &'static str,
    values: usize,
    max_values: usize,
    max_depth: usize,
}

impl Budget {
    pub(super) fn new(what: &'static str, limits: &IndexLimits) -> Self {
        let max_values = limits.max_entries.saturating_mul(64).min(MAX_VALUES);
        // The readers call themselves for each level, so that there is a bound beside the caller's.
        Self { what, values: 0, max_values, max_depth: limits.max_depth.min(128) }
    }

    /// Notes one more value at a depth.
    pub(super) fn spend(&mut self, depth: usize) -> Result<(), IndexError> {
        if depth > self.max_depth {
            return Err(IndexError::TooDeep { what: self.what, limit: self.max_depth });
        }
        self.values += 1;
        if self.values > self.max_values {
            return Err(IndexError::TooManyEntries { what: self.what, limit: self.max_values });
        }
        Ok(())
    }

    /// An error at a line.
    pub(super) fn malformed(&self, line: u32, because: &str) -> IndexError {
        IndexError::malformed(self.what, &format!("line {line}"), because)
    }
}
