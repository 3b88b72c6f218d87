//! Paths inside archives: normalization, and what is suspicious about them.

/// A path as the archive spells it, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathFacts {
    /// `/`-separated, without empty and `.` components; `..` is applied where it can be, and kept
    /// at the front where it leads out.
    pub(super) normalized: String,
    /// Starts at the root or a drive.
    pub(super) absolute: bool,
    /// Has a `..` component, with `/` or `\` as separator.
    pub(super) climbs: bool,
    /// Number of components after normalization.
    pub(super) depth: usize,
    /// NUL, bidirectional controls, invisible characters.
    pub(super) confusable: bool,
    /// Other control characters.
    pub(super) control: bool,
    /// Has a backslash.
    pub(super) backslash: bool,
    /// Was not UTF-8.
    pub(super) undecodable: bool,
}

/// Takes a path apart.
pub(super) fn examine(raw: &[u8]) -> PathFacts {
    let text = String::from_utf8_lossy(raw);
    let is_separator = |c| c == '/' || c == '\\';
    let normalized = normalize(&text);
    PathFacts {
        depth: normalized.split('/').filter(|c| !c.is_empty()).count(),
        absolute: text.starts_with(is_separator) || has_drive(&text),
        climbs: text.split(is_separator).any(|c| c == ".."),
        confusable: text.chars().any(is_confusable),
        control: text.chars().any(|c| c.is_control() && c != '\0'),
        backslash: text.contains('\\'),
        undecodable: std::str::from_utf8(raw).is_err(),
        normalized,
    }
}

fn has_drive(text: &str) -> bool {
    let b = text.as_bytes();
    matches!(b, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

/// NUL (where C readers stop), bidirectional controls (Unicode TR9), zero-width spaces and tags.
fn is_confusable(c: char) -> bool {
    matches!(c,
        '\0' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{061C}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

/// The normalized form of a `/`-separated path.
pub(super) fn normalize(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// All proper ancestors of a normalized path, outermost first: of `a/b/c`, `a` and `a/b`.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(i, _)| path.get(..i))
}

/// The path with characters that move a terminal's cursor or hide text replaced, for messages.
pub(super) fn shown(text: &str) -> String {
    let clean = text.chars().take(300).map(|c| match c {
        c if c.is_control() || is_confusable(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    clean.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_normalize() {
        for (given, want) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("a/../b", "b"),
            ("../../x", "../../x"),
            ("a/../../x", "../x"),
            ("", ""),
        ] {
            assert_eq!(normalize(given), want, "{given}");
        }
    }

    #[test]
    fn suspicious_paths_are_seen() {
        assert!(examine(b"a/../../x").climbs);
        assert!(examine(b"a\\..\\x").climbs);
        assert!(!examine(b"a..b/..c").climbs);
        assert!(examine(b"/x").absolute);
        assert!(examine(b"C:\\x").absolute);
        assert!(examine(b"c:/x").absolute);
        assert!(!examine(b"c:x").absolute);
        assert!(examine("a\u{202E}gpj.exe".as_bytes()).confusable);
        assert!(examine(b"a\0b").confusable && !examine(b"a\0b").control);
        assert!(examine(b"Icon\r").control);
        assert!(examine(b"caf\xe9").undecodable);
        assert!(!examine("café/日本".as_bytes()).confusable);
    }

    #[test]
    fn ancestors_are_listed_outermost_first() {
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(ancestors("a").count(), 0);
    }
}
