//! JSON as a tree with lines (RFC 8259), and bun's JSON with comments and trailing commas.
//!
//! Duplicate keys are an error: readers that differ on which one counts would judge another
//! package than the one that is installed.

use super::node::{Budget, Node, Value, duplicate};
use crate::error::{IndexError, IndexLimits};
use std::borrow::Cow;

/// Reads a document. `relaxed` allows comments and trailing commas.
pub(super) fn parse<'a>(
    what: &'static str,
    text: &'a str,
    limits: &IndexLimits,
    relaxed: bool,
) -> Result<Node<'a>, IndexError> {
    let budget = Budget::new(what, limits);
    let mut reader = Reader { text, at: 0, line: 1, budget, relaxed };
    reader.blanks()?;
    let node = reader.value(0)?;
    reader.blanks()?;
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.bad("something follows the document")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    budget: Budget,
    relaxed: bool,
}

impl<'a> Reader<'a> {
    fn bad(&self, because: &str) -> IndexError {
        self.budget.malformed(self.line, because)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Takes a byte, if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn blanks(&mut self) -> Result<(), IndexError> {
        loop {
            match self.peek() {
                Some(b'\n') => self.line = self.line.saturating_add(1),
                Some(b' ' | b'\t' | b'\r') => {}
                Some(b'/') if self.relaxed => {
                    self.comment()?;
                    continue;
                }
                _ => return Ok(()),
            }
            self.at += 1;
        }
    }

    fn comment(&mut self) -> Result<(), IndexError> {
        let rest = self.rest();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(body) = rest.strip_prefix("/*") {
            let end = body.find("*/").ok_or_else(|| self.bad("a comment has no end"))?;
            end + 4
        } else {
            return Err(self.bad("`/` begins nothing"));
        };
        let passed = rest.get(..length).unwrap_or(rest);
        let lines = passed.bytes().filter(|b| *b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += length;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, IndexError> {
        self.budget.spend(depth)?;
        let line = self.line;
        let value = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(_) => self.word()?,
            None => return Err(self.bad("the text ends too early")),
        };
        Ok(Node { line, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, IndexError> {
        self.at += 1;
        let mut map = Vec::new();
        loop {
            self.blanks()?;
            if (map.is_empty() || self.relaxed) && self.take(b'}') {
                break;
            }
            let line = self.line;
            if self.peek() != Some(b'"') {
                return Err(self.bad("a key is missing"));
            }
            let key = self.string()?;
            self.blanks()?;
            if !self.take(b':') {
                return Err(self.bad("`:` is missing"));
            }
            self.blanks()?;
            let mut node = self.value(depth + 1)?;
            node.line = line;
            map.push((key, node));
            if self.ends(b'}')? {
                break;
            }
        }
        match duplicate(&map) {
            Some(key) => Err(self.bad(&format!("the key `{key}` is there twice"))),
            None => Ok(Value::Map(map)),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, IndexError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blanks()?;
            if (items.is_empty() || self.relaxed) && self.take(b']') {
                break;
            }
            items.push(self.value(depth + 1)?);
            if self.ends(b']')? {
                break;
            }
        }
        Ok(Value::List(items))
    }

    /// After an item: whether the list or map ends here, where no comma follows.
    fn ends(&mut self, close: u8) -> Result<bool, IndexError> {
        self.blanks()?;
        if self.take(b',') {
            return Ok(false);
        }
        if self.take(close) {
            return Ok(true);
        }
        Err(self.bad("`,` or the end of a list is missing"))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, IndexError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut at = start + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(0..=0x1f) => return Err(self.bad("a control character stands in a text")),
                Some(_) => at += 1,
                None => return Err(self.bad("a text has no end")),
            }
        }
        self.at = at + 1;
        if escaped {
            let quoted = self.text.get(start..self.at).unwrap_or("");
            let text = serde_json::from_str::<String>(quoted);
            return text.map(Cow::Owned).map_err(|_| self.bad("a text has a broken escape"));
        }
        Ok(Cow::Borrowed(self.text.get(start + 1..at).unwrap_or("")))
    }

    fn word(&mut self) -> Result<Value<'a>, IndexError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or("");
        self.at += end;
        match word {
            "null" => Ok(Value::Nothing),
            "true" | "false" => Ok(Value::Word(word)),
            _ if serde_json::from_str::<f64>(word).is_ok() => Ok(Value::Word(word)),
            _ => Err(self.bad("a value is none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Node<'_>, IndexError> {
        parse("the document", text, &IndexLimits::default(), false)
    }

    #[test]
    fn lines_are_those_of_the_keys() {
        let node = read("{\n \"a\": 1,\n \"b\":\n  [true,\n\"x\\u00e9\"]}").unwrap();
        assert_eq!(node.get("b").unwrap().line, 3);
        let items = node.get("b").unwrap().items();
        assert_eq!((items[1].line, items[1].text()), (5, Some("xé")));
        assert_eq!(node.text_of("a"), Some("1"));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "[1 2]",
            "nul",
            "[01x]",
            "\"a",
            "\"\\x\"",
            "{\"a\":1,\"a\":2}",
            "1 2",
            "// x\n1",
            "\"\n\"",
            "[\"\\",
            "{1:2}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(matches!(read(&"[".repeat(200)), Err(IndexError::TooDeep { .. })));
    }

    #[test]
    fn relaxed_means_comments_and_trailing_commas() {
        let text = "// head\n{ /* a\n b */ \"a\": [1, 2,], // end\n}";
        let node = parse("x", text, &IndexLimits::default(), true).unwrap();
        assert_eq!(node.get("a").map(|n| (n.line, n.items().len())), Some((3, 2)));
        for text in ["[,]", "{,}", "[1,,]", "/* x", "/ 1"] {
            assert!(parse("x", text, &IndexLimits::default(), true).is_err(), "{text}");
        }
    }

    fn same(node: &Node<'_>, value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Null => node.value == Value::Nothing,
            serde_json::Value::String(s) => node.text() == Some(s),
            serde_json::Value::Array(a) => {
                a.len() == node.items().len() && a.iter().zip(node.items()).all(|(v, n)| same(n, v))
            }
            serde_json::Value::Object(o) => {
                o.len() == node.entries().len()
                    && o.iter().all(|(k, v)| node.get(k).is_some_and(|n| same(n, v)))
            }
            other => node
                .text()
                .is_some_and(|t| t.parse::<serde_json::Value>().ok().as_ref() == Some(other)),
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_another_reader(text in r#"[\[\]{}",:a\\u0-9 \ntrueflsn.e-]{0,24}"#) {
            let other = serde_json::from_str::<serde_json::Value>(&text);
            match (read(&text), &other) {
                (Ok(node), Ok(value)) => prop_assert!(same(&node, value), "{text}"),
                (Ok(_), Err(e)) => prop_assert!(false, "{text}: {e}"),
                (Err(e), Ok(_)) => prop_assert!(e.to_string().contains("twice"), "{text}: {e}"),
                _ => {}
            }
        }

        #[test]
        fn what_was_written_is_read(keys in prop::collection::hash_set("\\PC{0,6}", 0..20)) {
            let map: serde_json::Map<_, _> = keys.into_iter().map(|k| (k.clone(), k.into())).collect();
            let value = serde_json::Value::Object(map);
            let text = serde_json::to_string_pretty(&value).unwrap();
            prop_assert!(same(&read(&text).unwrap(), &value));
        }
    }
}
