//! The part of YAML 1.2 that pnpm and berry write, as a tree with lines.
//!
//! Block maps and lists, flow maps and lists of one line, plain, quoted and block scalars, keys
//! after `?`, several documents. Everything else is an error: anchors and aliases (which could make
//! a small text a huge tree), tags, scalars over several lines, duplicate keys. So what is read
//! here means the same to every YAML reader.

mod flow;
mod scalar;

#[cfg(test)]
mod tests;

use super::node::{Budget, Map, Node, Value, duplicate};
use crate::error::{IndexError, IndexLimits};
use flow::Flow;
use scalar::{is_nothing, plain, quoted, split_key};
use std::borrow::Cow;

/// Reads all documents of a text.
pub(super) fn parse<'a>(
    what: &'static str,
    text: &'a str,
    limits: &IndexLimits,
) -> Result<Vec<Node<'a>>, IndexError> {
    let mut budget = Budget::new(what, limits);
    let mut documents = Vec::new();
    let mut lines: Vec<Line<'a>> = Vec::new();
    for (raw, number) in text.lines().zip(1u32..) {
        let text = raw.trim_start_matches(' ');
        let indent = raw.len() - text.len();
        let text = text.trim_end_matches([' ', '\t', '\r']);
        if text.starts_with('\t') {
            return Err(budget.malformed(number, "a tab stands before the text"));
        }
        if indent == 0 && (text == "---" || text == "...") {
            documents.extend(document(std::mem::take(&mut lines), &mut budget)?);
            continue;
        }
        lines.push(Line { indent, text, number });
    }
    documents.extend(document(lines, &mut budget)?);
    Ok(documents)
}

fn document<'a>(lines: Vec<Line<'a>>, budget: &mut Budget) -> Result<Option<Node<'a>>, IndexError> {
    let mut reader = Reader { lines, at: 0, budget };
    if reader.content().is_none() {
        return Ok(None);
    }
    let node = reader.block(0)?;
    match reader.content() {
        None => Ok(Some(node)),
        Some(line) => Err(reader.bad(line, "it is indented less than the document")),
    }
}

#[derive(Clone, Copy)]
struct Line<'a> {
    /// Blanks before the text.
    indent: usize,
    /// The rest, without blanks at its end.
    text: &'a str,
    number: u32,
}

impl Line<'_> {
    fn is_item(&self) -> bool {
        self.text == "-" || self.text.starts_with("- ")
    }

    fn is_asked_key(&self) -> bool {
        self.text == "?" || self.text.starts_with("? ")
    }
}

struct Reader<'a, 'b> {
    lines: Vec<Line<'a>>,
    at: usize,
    budget: &'b mut Budget,
}

impl<'a> Reader<'a, '_> {
    fn bad(&self, line: Line<'_>, because: &str) -> IndexError {
        self.budget.malformed(line.number, because)
    }

    /// The next line that holds something; what is before it is passed.
    fn content(&mut self) -> Option<Line<'a>> {
        loop {
            let line = *self.lines.get(self.at)?;
            if !line.text.is_empty() && !line.text.starts_with('#') {
                return Some(line);
            }
            self.at += 1;
        }
    }

    /// Puts what is left of the present line in its place, as if it stood alone.
    fn shorten(&mut self, line: Line<'a>) {
        if let Some(place) = self.lines.get_mut(self.at) {
            *place = line;
        }
    }

    /// The value that begins at the next line: a list, a map or a scalar.
    fn block(&mut self, depth: usize) -> Result<Node<'a>, IndexError> {
        self.budget.spend(depth)?;
        let Some(line) = self.content() else {
            return Ok(Node { line: 0, value: Value::Nothing });
        };
        let value = if line.is_item() {
            self.list(line.indent, depth)?
        } else if line.is_asked_key() || split_key(line.text).is_some() {
            self.map(line.indent, depth)?
        } else {
            self.at += 1;
            self.inline(line, line.text, line.indent.saturating_sub(1), depth)?
        };
        Ok(Node { line: line.number, value })
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value<'a>, IndexError> {
        let mut items = Vec::new();
        while let Some(line) = self.content() {
            if line.indent < indent || (line.indent == indent && !line.is_item()) {
                break;
            }
            if line.indent > indent {
                return Err(self.bad(line, "it is indented further than its neighbours"));
            }
            let after = line.text.get(1..).unwrap_or("");
            let rest = after.trim_start_matches(' ');
            let inner = indent + 1 + (after.len() - rest.len());
            let short = Line { indent: inner, text: rest, number: line.number };
            items.push(self.after_marker(line, short, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    /// The value after `- ` or `: `: what is left of the line begins a block of its own.
    fn after_marker(
        &mut self,
        line: Line<'a>,
        short: Line<'a>,
        depth: usize,
    ) -> Result<Node<'a>, IndexError> {
        if is_nothing(short.text) {
            self.at += 1;
            return self.below(line, false, depth);
        }
        let nests = short.is_item() || short.is_asked_key() || split_key(short.text).is_some();
        if nests {
            self.shorten(short);
            return self.block(depth);
        }
        self.at += 1;
        self.budget.spend(depth)?;
        let value = self.inline(line, short.text, line.indent, depth)?;
        Ok(Node { line: line.number, value })
    }

    /// The value on the lines below a key or dash.
    fn below(
        &mut self,
        line: Line<'a>,
        of_key: bool,
        depth: usize,
    ) -> Result<Node<'a>, IndexError> {
        let next = self.content();
        let nested = next.is_some_and(|n| {
            n.indent > line.indent || (of_key && n.indent == line.indent && n.is_item())
        });
        if nested {
            return self.block(depth);
        }
        self.budget.spend(depth)?;
        Ok(Node { line: line.number, value: Value::Nothing })
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Value<'a>, IndexError> {
        let mut map: Map<'a> = Vec::new();
        let mut last = None;
        while let Some(line) = self.content() {
            if line.indent < indent {
                break;
            }
            if line.indent > indent {
                return Err(self.bad(line, "it is indented further than its neighbours"));
            }
            let (key, mut node) = if line.is_asked_key() {
                self.asked_key(line, depth)?
            } else {
                let Some((key, rest)) = split_key(line.text) else {
                    return Err(self.bad(line, "it is no `key: value`"));
                };
                let key = key.map_err(|because| self.bad(line, because))?;
                self.at += 1;
                let node = if is_nothing(rest) {
                    self.below(line, true, depth + 1)?
                } else {
                    self.budget.spend(depth + 1)?;
                    let value = self.inline(line, rest, indent, depth + 1)?;
                    Node { line: line.number, value }
                };
                (key, node)
            };
            node.line = line.number;
            map.push((key, node));
            last = Some(line);
        }
        match (duplicate(&map), last) {
            (Some(key), Some(line)) => {
                let because = format!("the key `{key}` is there twice in the map that ends here");
                Err(self.bad(line, &because))
            }
            _ => Ok(Value::Map(map)),
        }
    }

    /// `? key`, then `: value` on a line of its own.
    fn asked_key(
        &mut self,
        line: Line<'a>,
        depth: usize,
    ) -> Result<(Cow<'a, str>, Node<'a>), IndexError> {
        let text = line.text.get(1..).unwrap_or("").trim_start_matches(' ');
        let key = match self.inline_scalar(line, text)? {
            Value::Text(key) => key,
            Value::Word(key) => Cow::Borrowed(key),
            _ => return Err(self.bad(line, "the key is no text")),
        };
        self.at += 1;
        let next = self
            .content()
            .filter(|n| n.indent == line.indent && (n.text == ":" || n.text.starts_with(": ")));
        let Some(next) = next else {
            return Err(self.bad(line, "a key after `?` has no `:`"));
        };
        let after = next.text.get(1..).unwrap_or("");
        let rest = after.trim_start_matches(' ');
        let inner = next.indent + 1 + (after.len() - rest.len());
        let short = Line { indent: inner, text: rest, number: next.number };
        Ok((key, self.after_marker(next, short, depth + 1)?))
    }

    /// A value that begins on the line of its key. `indent` is the key's.
    fn inline(
        &mut self,
        line: Line<'a>,
        text: &'a str,
        indent: usize,
        depth: usize,
    ) -> Result<Value<'a>, IndexError> {
        match text.as_bytes().first() {
            Some(b'|' | b'>') => self.block_scalar(line, text, indent),
            Some(b'{' | b'[') => {
                let mut flow = Flow { text, at: 0, number: line.number, budget: self.budget };
                let node = flow.value(depth)?;
                let rest = text.get(flow.at..).unwrap_or("");
                if !is_nothing(rest.trim_start_matches(' ')) {
                    return Err(self.bad(line, "something follows the list or map"));
                }
                Ok(node.value)
            }
            _ => self.inline_scalar(line, text),
        }
    }

    fn inline_scalar(&self, line: Line<'a>, text: &'a str) -> Result<Value<'a>, IndexError> {
        if text.starts_with(['"', '\'']) {
            let (value, rest) = quoted(text).map_err(|because| self.bad(line, because))?;
            if !is_nothing(rest.trim_start_matches(' ')) {
                return Err(self.bad(line, "something follows the closing quote"));
            }
            return Ok(Value::Text(value));
        }
        let text = text.split_once(" #").map_or(text, |(t, _)| t.trim_end_matches(' '));
        if text.contains(": ") || text.ends_with(':') {
            return Err(self.bad(line, "a second `:` follows the first"));
        }
        plain(text).map_err(|because| self.bad(line, because))
    }

    /// `|` or `>`: the lines below that are indented further. How they are folded is of no matter
    /// here.
    fn block_scalar(
        &mut self,
        line: Line<'a>,
        header: &str,
        indent: usize,
    ) -> Result<Value<'a>, IndexError> {
        let marks = header.split(" #").next().unwrap_or(header);
        let known = |b: u8| matches!(b, b'+' | b'-' | b'1'..=b'9');
        if marks.len() > 3 || !marks.bytes().skip(1).all(known) {
            return Err(self.bad(line, "a block of text has unknown marks"));
        }
        let mut out = String::new();
        while let Some(next) = self.lines.get(self.at) {
            if !next.text.is_empty() && next.indent <= indent {
                break;
            }
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(next.text);
            self.at += 1;
        }
        Ok(Value::Text(Cow::Owned(out)))
    }
}
