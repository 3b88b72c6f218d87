//! As much of Rust's lexical structure as the rules need: identifiers, strings, comments.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or keyword, raw ones without their `r#`.
    Ident,
    /// A string of any kind; the text is what stands between the quotes.
    Str,
    /// One character of punctuation.
    Punct,
    /// A number, a character or a lifetime.
    Other,
}

/// A token with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text && matches!(self.kind, Kind::Ident | Kind::Punct)
    }
}

/// The tokens of a source. Comments are no tokens; what never ends, ends with the file.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { rest: source, line: 1, out: Vec::new() };
    while lexer.step() {}
    lexer.out
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
    out: Vec<Token<'t>>,
}

impl<'t> Lexer<'t> {
    fn step(&mut self) -> bool {
        let Some(c) = self.rest.chars().next() else { return false };
        if c.is_whitespace() {
            self.take(c.len_utf8());
        } else if self.rest.starts_with("//") {
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.take(block_comment(self.rest));
        } else if c == '"' {
            self.string(0);
        } else if c == '\'' {
            self.quote();
        } else if is_ident(c) && !c.is_ascii_digit() {
            self.word();
        } else if c.is_ascii_digit() {
            self.push(Kind::Other, number(self.rest));
        } else {
            self.push(Kind::Punct, c.len_utf8());
        }
        true
    }

    /// Removes `len` bytes from the input.
    fn take(&mut self, len: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, len: usize) {
        let line = self.line;
        let text = self.take(len);
        self.out.push(Token { kind, text, line });
    }

    /// An identifier, or a string or character that begins with letters.
    fn word(&mut self) {
        let len = self.rest.find(|c| !is_ident(c)).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        let hashes = after.len() - after.trim_start_matches('#').len();
        let quoted = after.trim_start_matches('#').starts_with('"');
        match word {
            "r" | "br" | "cr" if quoted => {
                self.take(len);
                self.raw_string(hashes);
            }
            "b" | "c" if after.starts_with('"') => self.string(len),
            "b" if after.starts_with('\'') => {
                self.take(len);
                self.quote();
            }
            "r" if hashes == 1 => {
                self.take(len + 1);
                let len = self.rest.find(|c| !is_ident(c)).unwrap_or(self.rest.len());
                self.push(Kind::Ident, len);
            }
            _ => self.push(Kind::Ident, len),
        }
    }

    /// A string with escapes, after a prefix of `prefix` bytes.
    fn string(&mut self, prefix: usize) {
        self.take(prefix + 1);
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        self.push(Kind::Str, end.unwrap_or(self.rest.len()));
        self.take(1);
    }

    fn raw_string(&mut self, hashes: usize) {
        let closing = format!("\"{}", "#".repeat(hashes));
        self.take(hashes + 1);
        self.push(Kind::Str, self.rest.find(&closing).unwrap_or(self.rest.len()));
        self.take(closing.len());
    }

    /// A character, a byte or a lifetime.
    fn quote(&mut self) {
        let mut after = self.rest.chars().skip(1);
        let (first, second) = (after.next(), after.next());
        let len = match (first, second) {
            (Some('\\'), Some(escape)) => {
                let body = 2 + escape.len_utf8();
                let end = self.rest.get(body..).and_then(|r| r.find('\''));
                end.map_or(self.rest.len(), |end| body + end + 1)
            }
            (Some(c), Some('\'')) => 2 + c.len_utf8(),
            _ => {
                let name = self.rest.get(1..).unwrap_or_default();
                1 + name.find(|c| !is_ident(c)).unwrap_or(name.len())
            }
        };
        self.push(Kind::Other, len);
    }
}

fn is_ident(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a number. A dot belongs to it only before a digit: `0..9` is a range.
fn number(text: &str) -> usize {
    let end = |t: &str| t.find(|c| !is_ident(c)).unwrap_or(t.len());
    let whole = end(text);
    let fraction = text.get(whole..).and_then(|r| r.strip_prefix('.'));
    match fraction.filter(|f| f.starts_with(|c: char| c.is_ascii_digit())) {
        Some(f) => whole + 1 + end(f),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).into_iter().filter(|t| t.kind == Kind::Ident).map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_strings_hide_what_they_hold() {
        for source in [
            "a // hidden\n b",
            "a /* hidden /* hidden */ hidden */ b",
            "a \"hidden\" b",
            "a \"\\\"hidden\\\\\" b",
            "a r\"hidden\\\" b",
            "a r#\"hidden\" hidden\"# b",
            "a br##\"hidden\"# hidden\"## b",
            "a b\"hidden\" b",
            "a '\"' b",
            "a '\\'' b",
            "a '\\u{1f600}' b",
            "a b'\\\\' b",
            "a b'\"' b",
        ] {
            assert_eq!(words(source), ["a", "b"], "{source}");
        }
    }

    #[test]
    fn lifetimes_raw_names_and_numbers_are_told_apart() {
        assert_eq!(words("fn f<'a>(x: &'a str) -> &'static str"), ["fn", "f", "x", "str", "str"]);
        assert_eq!(words("r#type = 0..n; 1.5e3; 0xff_u8; x.0.y"), ["type", "n", "x", "y"]);
        assert_eq!(words("'\u{1f600}' \u{e4}b"), ["\u{e4}b"]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = "\"a\nb\" /*\n*/ x // c\n r#\"\n\"# y 'z' \n";
        let lines: Vec<(&str, usize)> = tokens(source).iter().map(|t| (t.text, t.line)).collect();
        assert_eq!(lines, [("a\nb", 1), ("x", 3), ("\n", 4), ("y", 5), ("'z'", 5)]);
    }

    #[test]
    fn unfinished_sources_end() {
        for source in ["\"", "r#\"", "/*", "'", "'\\", "b'", "r#", "0.", "'a", "b\"\\"] {
            tokens(source);
        }
    }
}
