//! Lists and maps in brackets, on one line.

use super::super::node::{Budget, Map, Node, Value, duplicate};
use super::scalar::{plain, quoted};
use crate::error::IndexError;
use std::borrow::Cow;

/// A reader of one line.
pub(super) struct Flow<'a, 'b> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) number: u32,
    pub(super) budget: &'b mut Budget,
}

impl<'a> Flow<'a, '_> {
    fn bad(&self, because: &str) -> IndexError {
        self.budget.malformed(self.number, because)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(' ').len();
    }

    fn take(&mut self, mark: char) -> bool {
        let here = self.rest().starts_with(mark);
        self.at += usize::from(here);
        here
    }

    /// The value that begins here.
    pub(super) fn value(&mut self, depth: usize) -> Result<Node<'a>, IndexError> {
        self.budget.spend(depth)?;
        let line = self.number;
        let value = if self.take('{') {
            self.map(depth)?
        } else if self.take('[') {
            self.list(depth)?
        } else {
            self.scalar()?
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, IndexError> {
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.take(']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.blanks();
            if !self.take(',') && !self.rest().starts_with(']') {
                return Err(self.bad("a list in brackets has no end on its line"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, IndexError> {
        let mut map: Map<'a> = Vec::new();
        loop {
            self.blanks();
            if self.take('}') {
                break;
            }
            let key = match self.scalar()? {
                Value::Text(key) => key,
                Value::Word(key) => Cow::Borrowed(key),
                _ => return Err(self.bad("a key is no text")),
            };
            self.blanks();
            if !self.take(':') {
                return Err(self.bad("a key in a map has no `:`"));
            }
            self.blanks();
            map.push((key, self.value(depth + 1)?));
            self.blanks();
            if !self.take(',') && !self.rest().starts_with('}') {
                return Err(self.bad("a map in brackets has no end on its line"));
            }
        }
        match duplicate(&map) {
            Some(key) => Err(self.bad(&format!("the key `{key}` is there twice"))),
            None => Ok(Value::Map(map)),
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>, IndexError> {
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            let (value, after) = quoted(rest).map_err(|because| self.bad(because))?;
            self.at += rest.len() - after.len();
            return Ok(Value::Text(value));
        }
        let bytes = rest.as_bytes();
        let ends = |at: usize, b: u8| match b {
            b',' | b'[' | b']' | b'{' | b'}' => true,
            b':' => matches!(bytes.get(at + 1), None | Some(b' ' | b',' | b']' | b'}')),
            b'#' => at > 0 && bytes.get(at - 1) == Some(&b' '),
            _ => false,
        };
        let end = bytes.iter().enumerate().find(|(at, b)| ends(*at, **b)).map(|(at, _)| at);
        let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or("");
        self.at += word.len();
        plain(word.trim_end_matches(' ')).map_err(|because| self.bad(because))
    }
}
