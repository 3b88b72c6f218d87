//! A request's path as decoded segments: the one place where percent-encoding is undone, once.
//!
//! Everything that two readers of a path could understand differently is refused here, so that no
//! later comparison or joining of paths can be led elsewhere.

use super::routes::RouteError;
use std::borrow::Cow;

/// Longest path in bytes, as it is sent: what a registry shows stays far below.
const MAX_PATH: usize = 2048;
/// Longest decoded segment in bytes: what file systems take as one name.
const MAX_SEGMENT: usize = 255;

/// The decoded segments of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segments<'p> {
    /// The segments, none of them empty.
    pub(super) list: Vec<Cow<'p, str>>,
    /// Whether the path ends in a slash.
    pub(super) slash: bool,
}

/// Takes a path apart and decodes each segment once.
///
/// An encoded slash is only understood in npm's form of a scoped name, `@scope%2fname`; the segment
/// then holds the slash.
///
/// # Errors
/// On everything that could be read in two ways: see [`decode`].
pub(super) fn segments(path: &str) -> Result<Segments<'_>, RouteError> {
    let bad = |why| Err(RouteError::Bad(why));
    if path.len() > MAX_PATH {
        return bad("the path is too long");
    }
    let Some(rest) = path.strip_prefix('/') else { return bad("the path does not begin with `/`") };
    let (rest, slash) = match rest.strip_suffix('/') {
        Some(before) => (before, true),
        None => (rest, rest.is_empty()),
    };
    if rest.is_empty() {
        let doubled = path.len() > 1;
        return if doubled { bad(DOUBLE) } else { Ok(Segments { list: Vec::new(), slash }) };
    }
    let mut list = Vec::with_capacity(6);
    for raw in rest.split('/') {
        if raw.is_empty() {
            return bad(DOUBLE);
        }
        list.push(decode(raw)?);
    }
    Ok(Segments { list, slash })
}

pub(super) const ENCODED_SLASH: &str = "the path holds an encoded slash";
const DOUBLE: &str = "the path has an empty segment (`//`)";

/// Decodes one segment (RFC 3986, section 2.1), once.
fn decode(raw: &str) -> Result<Cow<'_, str>, RouteError> {
    let text = if raw.contains('%') { Cow::Owned(percent(raw)?) } else { Cow::Borrowed(raw) };
    check(&text).map_err(RouteError::Bad)?;
    Ok(text)
}

fn percent(raw: &str) -> Result<String, RouteError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let (hi, lo) = (digit(bytes.next()), digit(bytes.next()));
        match (hi, lo) {
            (Some(hi), Some(lo)) => out.push(u8::try_from(hi * 16 + lo).unwrap_or_default()),
            _ => return Err(RouteError::Bad("the path has a malformed percent-encoding")),
        }
    }
    // Overlong forms are no UTF-8 either (RFC 3629, section 3).
    String::from_utf8(out).map_err(|_| RouteError::Bad("the path is not valid UTF-8"))
}

fn check(text: &str) -> Result<(), &'static str> {
    if !text.is_ascii() {
        return Err("the path holds characters beyond ASCII, which no name here may have");
    }
    if text.len() > MAX_SEGMENT {
        return Err("a part of the path is too long");
    }
    if text == "." || text == ".." {
        return Err("the path has a dot segment");
    }
    for b in text.bytes() {
        match b {
            0 => return Err("the path holds a NUL"),
            1..0x20 | 0x7f => return Err("the path holds a control character"),
            b'\\' => return Err("the path holds a backslash"),
            // What is encoded twice means one thing here and another thing at the next reader.
            b'%' => return Err("the path is percent-encoded twice"),
            b'?' | b'#' => return Err("a part of the path holds `?` or `#`"),
            _ => {}
        }
    }
    match text.matches('/').count() {
        0 => Ok(()),
        1 if is_scoped(text) => Ok(()),
        _ => Err(ENCODED_SLASH),
    }
}

/// Whether a text has the form `@scope/name`, with neither part empty or a dot segment.
fn is_scoped(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p != "." && p != "..";
    text.strip_prefix('@')
        .and_then(|t| t.split_once('/'))
        .is_some_and(|(scope, name)| part(scope) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(path: &str) -> Result<Vec<String>, RouteError> {
        segments(path).map(|s| s.list.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn segments_are_decoded_once() {
        for (path, want) in [
            ("/", vec![]),
            ("/a", vec!["a"]),
            ("/a/b/", vec!["a", "b"]),
            ("/a%2Bb/c%7e", vec!["a+b", "c~"]),
            ("/npm/@s%2fn", vec!["npm", "@s/n"]),
            ("/npm/%40s%2Fn/-/n-1.tgz", vec!["npm", "@s/n", "-", "n-1.tgz"]),
        ] {
            assert_eq!(list(path).unwrap(), want, "{path}");
        }
        assert!(segments("/a/").unwrap().slash && !segments("/a").unwrap().slash);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (path, why) in [
            ("a", "begin"),
            ("//", "empty segment"),
            ("//a", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a//", "empty segment"),
            ("/./a", "dot segment"),
            ("/a/..", "dot segment"),
            ("/a/%2e%2e/b", "dot segment"),
            ("/a/.%2E/b", "dot segment"),
            ("/a/%2e/b", "dot segment"),
            ("/a%2fb", "encoded slash"),
            ("/a%2Fb", "encoded slash"),
            ("/@s%2f..%2fx", "encoded slash"),
            ("/@s%2f..", "encoded slash"),
            ("/@%2fx", "encoded slash"),
            ("/@s%2f", "encoded slash"),
            ("/x@s%2fn", "encoded slash"),
            ("/a%00", "NUL"),
            ("/a%0d%0ab", "control"),
            ("/a%7f", "control"),
            ("/a%5cb", "backslash"),
            ("/a\\b", "backslash"),
            ("/%252e%252e/a", "twice"),
            ("/a%25", "twice"),
            ("/a%3fb", "`?`"),
            ("/a%23b", "`?`"),
            ("/a%2", "malformed"),
            ("/a%", "malformed"),
            ("/a%zz", "malformed"),
            ("/a%+1", "malformed"),
            ("/%c0%ae%c0%ae/a", "UTF-8"),
            ("/%e0%80%af", "UTF-8"),
            ("/%ff", "UTF-8"),
            ("/%ed%a0%80", "UTF-8"),
            ("/r%c3%a9quests", "ASCII"),
            ("/r\u{e9}quests", "ASCII"),
            ("/%ef%bc%8e%ef%bc%8e/a", "ASCII"),
        ] {
            match segments(path) {
                Err(RouteError::Bad(said)) => assert!(said.contains(why), "{path}: {said}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        let long = format!("/{}", "a".repeat(MAX_SEGMENT + 1));
        assert!(matches!(segments(&long), Err(RouteError::Bad(_))));
        let deep = "/a".repeat(MAX_PATH);
        assert!(matches!(segments(&deep), Err(RouteError::Bad(_))));
    }
}
