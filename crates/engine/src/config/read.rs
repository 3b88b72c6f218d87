//! Reading TOML so that every fault is found in one pass, each with its place.

use super::problem::{ConfigError, Problem, nearest, position};
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A file that is being read, and what was found wrong with it so far.
pub(super) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

/// A table of the file. What was not asked for when it ends is an unknown key.
pub(super) struct Table<'r, 't> {
    reader: &'r Reader<'t>,
    name: String,
    span: Range<usize>,
    entries: Vec<(At<String>, Spanned<DeValue<'t>>)>,
    asked: Vec<&'static str>,
}

impl<'t> Reader<'t> {
    /// Parses a text; what is no TOML is already among the problems.
    pub(super) fn new(file: &'t str, text: &'t str) -> (Self, DeTable<'t>) {
        let reader = Self { file, text, problems: RefCell::default() };
        let (root, errors) = DeTable::parse_recoverable(text);
        for e in errors {
            let what = e.message().lines().collect::<Vec<_>>().join(", ");
            reader.problem(&e.span().unwrap_or(0..0), what, "see toml.io for the notation");
        }
        (reader, root.into_inner())
    }

    /// Notes a fault.
    pub(super) fn problem(
        &self,
        span: &Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (line, column) = position(self.text, span);
        let problem = Problem { line, column, what: what.into(), remedy: remedy.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// The table at the root.
    pub(super) fn root(&self, table: DeTable<'t>) -> Table<'_, 't> {
        self.table(String::new(), 0..0, table)
    }

    fn table(&self, name: String, span: Range<usize>, table: DeTable<'t>) -> Table<'_, 't> {
        let entries = table
            .into_iter()
            .map(|(k, v)| (At { span: k.span(), value: k.into_inner().into_owned() }, v))
            .collect();
        Table { reader: self, name, span, entries, asked: Vec::new() }
    }

    /// The value, or all that is wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by_key(|p| (p.line, p.column));
        Err(ConfigError { file: self.file.to_owned(), problems })
    }
}

impl<'r, 't> Table<'r, 't> {
    /// Where the table stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The file that it belongs to.
    pub(super) fn reader(&self) -> &'r Reader<'t> {
        self.reader
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(k, _)| k.value == key)?;
        Some(self.entries.swap_remove(at).1)
    }

    fn shown(&self, key: &str) -> String {
        if self.name.is_empty() {
            format!("`{key}`")
        } else {
            format!("`{key}` in `{}`", self.name)
        }
    }

    fn wrong(&self, key: &str, span: &Range<usize>, value: &DeValue<'_>, want: &str) {
        let what = format!("{} is {}", self.shown(key), kind(value));
        self.reader.problem(span, what, format!("write {want}"));
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(s) => Some(At { value: s.into_owned(), span }),
            other => {
                self.wrong(key, &span, &other, &format!("{key} = \"…\""));
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        if self.entries.iter().any(|(k, _)| k.value == key) {
            return self.text(key);
        }
        self.asked.push(key);
        let what = format!("{} is missing", self.shown(key));
        self.reader.problem(&self.span, what, format!("add {key} = {example}"));
        None
    }

    /// True or false.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(b) => Some(b),
            other => {
                self.wrong(key, &span, &other, "true or false, without quotes");
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let span = value.span();
        let want =
            format!("a whole number from {} to {}, without quotes", bounds.start(), bounds.end());
        match value.into_inner() {
            DeValue::Integer(i) => {
                let n = u64::from_str_radix(i.as_str(), i.radix()).ok();
                let n = n.filter(|n| bounds.contains(n));
                if n.is_none() {
                    let what = format!("{} cannot be {i}", self.shown(key));
                    self.reader.problem(&span, what, format!("write {want}"));
                }
                n
            }
            other => {
                self.wrong(key, &span, &other, &want);
                None
            }
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<At<String>> {
        self.text_list(key, false)
    }

    /// A text, or a list of texts.
    pub(super) fn one_or_texts(&mut self, key: &'static str) -> Vec<At<String>> {
        self.text_list(key, true)
    }

    fn text_list(&mut self, key: &'static str, single: bool) -> Vec<At<String>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let want = format!("{key} = [\"…\", \"…\"]");
        match value.into_inner() {
            DeValue::String(s) if single => vec![At { value: s.into_owned(), span }],
            DeValue::Array(items) => {
                let mut out = Vec::new();
                for item in items {
                    let span = item.span();
                    match item.into_inner() {
                        DeValue::String(s) => out.push(At { value: s.into_owned(), span }),
                        other => self.wrong(key, &span, &other, &want),
                    }
                }
                out
            }
            other => {
                self.wrong(key, &span, &other, &want);
                Vec::new()
            }
        }
    }

    /// A table below this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'r, 't>> {
        let value = self.take(key)?;
        let span = value.span();
        let name = self.below(key);
        match value.into_inner() {
            DeValue::Table(t) => Some(self.reader.table(name, span, t)),
            other => {
                self.wrong(key, &span, &other, &format!("a table: [{name}]"));
                None
            }
        }
    }

    /// A list of tables below this one.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'r, 't>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let name = self.below(key);
        let want = format!("a table for each: [[{name}]]");
        match value.into_inner() {
            DeValue::Array(items) => {
                let mut out = Vec::new();
                for item in items {
                    let span = item.span();
                    match item.into_inner() {
                        DeValue::Table(t) => out.push(self.reader.table(name.clone(), span, t)),
                        other => self.wrong(key, &span, &other, &want),
                    }
                }
                out
            }
            other => {
                self.wrong(key, &span, &other, &want);
                Vec::new()
            }
        }
    }

    fn below(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Ends the table: what is left in it is unknown.
    pub(super) fn finish(self) {
        for (key, _) in &self.entries {
            let remedy = match nearest(&key.value, &self.asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            let place =
                if self.name.is_empty() { String::new() } else { format!(" of `{}`", self.name) };
            let what = format!("`{}` is no key{place}", key.value);
            self.reader.problem(&key.span, what, remedy);
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
