//! Errors of a policy folder, each with the place that it is about.

use std::fmt;

/// One file of a policy folder, as its reader found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// The file's name relative to the folder, with `/` between its parts.
    pub name: String,
    /// The file's text.
    pub text: String,
}

impl PolicyFile {
    /// A file of that name and text.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// What is wrong with a policy folder, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The text of that line.
    pub source_line: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The longest part of a line that is shown, in characters.
const SHOWN_LINE: usize = 160;

impl PolicyError {
    /// An error at byte `offset` of `text`; an offset past the end is its end.
    pub(crate) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column, source_line) = position(text, offset);
        Self {
            file: file.to_owned(),
            line,
            column,
            source_line: source_line.chars().take(SHOWN_LINE).collect(),
            message: message.into(),
            help: None,
        }
    }

    /// An error about a file or a whole set, with no line to show.
    pub(crate) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self::at(file, "", 0, message)
    }

    /// The same error with advice.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if !self.source_line.is_empty() {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let shown = self.source_line.replace('\t', " ");
            let indent = " ".repeat(self.column.saturating_sub(1).min(SHOWN_LINE));
            write!(f, "\n  {number} | {shown}\n  {margin} | {indent}^")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// Line and column (both from 1) of a byte offset, and that line's text.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize, &str) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = before.matches('\n').count() + 1;
    let column = before.get(start..).map_or(0, |s| s.chars().count()) + 1;
    let rest = text.get(start..).unwrap_or("");
    (line, column, rest.lines().next().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\nçd e\n";
        for (offset, want) in [
            (0, (1, 1, "ab")),
            (2, (1, 3, "ab")),
            (3, (2, 1, "çd e")),
            (4, (2, 1, "çd e")), // inside the two bytes of `ç`
            (5, (2, 2, "çd e")),
            (8, (2, 5, "çd e")),
            (9, (3, 1, "")),
            (999, (3, 1, "")),
        ] {
            assert_eq!(position(text, offset), want, "{offset}");
        }
    }

    #[test]
    fn the_line_and_a_caret_are_shown() {
        let e = PolicyError::at("a.cedar", "x\n  @verdikt(\"hold\")", 4, "unknown annotation");
        assert_eq!(
            e.help("did you mean `verdict`?").to_string(),
            "a.cedar:2:3: unknown annotation\n  2 |   @verdikt(\"hold\")\n    |   ^\n  \
             help: did you mean `verdict`?"
        );
    }
}
