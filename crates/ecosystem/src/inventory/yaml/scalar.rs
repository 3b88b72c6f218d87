//! Scalars and keys on one line.

use super::super::node::Value;
use std::borrow::Cow;

/// Whether nothing but a comment is there.
pub(super) fn is_nothing(text: &str) -> bool {
    text.is_empty() || text.starts_with('#')
}

/// A plain scalar, whose first character tells that it is one.
pub(super) fn plain(text: &str) -> Result<Value<'_>, &'static str> {
    match text.as_bytes() {
        [] => Err("a value is missing"),
        b"~" | b"null" => Ok(Value::Nothing),
        [b'&' | b'*' | b'!', ..] => Err("anchors, aliases and tags are not read"),
        [b'%' | b'@' | b'`' | b',' | b']' | b'}' | b'#' | b'|' | b'>' | b'{' | b'[' | b'"', ..] => {
            Err("a text begins with a mark that needs quotes")
        }
        [b'-' | b'?' | b':'] | [b'-' | b'?' | b':', b' ', ..] => Err("a mark stands alone"),
        _ => Ok(Value::Word(text)),
    }
}

/// A key, or why it is none.
pub(super) type Key<'a> = Result<Cow<'a, str>, &'static str>;

/// The key before the first `:` that is followed by a blank or the line's end, and the rest;
/// `None` where there is no key.
pub(super) fn split_key(text: &str) -> Option<(Key<'_>, &str)> {
    if text.starts_with(['{', '[']) {
        return None;
    }
    if text.starts_with(['"', '\'']) {
        let (key, rest) = quoted(text).ok()?;
        let rest = after_colon(rest.trim_start_matches(' '))?;
        return Some((Ok(key), rest));
    }
    let bytes = text.as_bytes();
    let at = text
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|at| matches!(bytes.get(at + 1), None | Some(b' ')))?;
    let (key, rest) = text.split_at_checked(at)?;
    if key.contains(" #") {
        return None;
    }
    let key = match plain(key.trim_end_matches(' ')) {
        Ok(Value::Word(key)) => Ok(Cow::Borrowed(key)),
        Ok(_) => Err("a key is no text"),
        Err(because) => Err(because),
    };
    Some((key, after_colon(rest)?))
}

fn after_colon(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start_matches(' '))
}

/// The text in quotes at the beginning, and what follows.
pub(super) fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let bytes = text.as_bytes();
    let double = bytes.first() == Some(&b'"');
    let mut at = 1;
    let mut escaped = false;
    loop {
        match (bytes.get(at), double) {
            (None, _) => return Err("a quote has no end on its line"),
            (Some(b'\\'), true) => {
                escaped = true;
                at += 2;
            }
            (Some(b'"'), true) => break,
            (Some(b'\''), false) if bytes.get(at + 1) == Some(&b'\'') => {
                escaped = true;
                at += 2;
            }
            (Some(b'\''), false) => break,
            _ => at += 1,
        }
    }
    let (Some(inner), Some(rest)) = (text.get(1..at), text.get(at + 1..)) else {
        return Err("a quote ends inside a character");
    };
    let value = match (escaped, double) {
        (false, _) => Cow::Borrowed(inner),
        (true, false) => Cow::Owned(inner.replace("''", "'")),
        (true, true) => Cow::Owned(unescape(inner).ok_or("an escape is broken")?),
    };
    Ok((value, rest))
}

/// Undoes the escapes of a text in double quotes (YAML 1.2.2, section 5.7).
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = match chars.next()? {
            c @ ('"' | '\\' | '/' | ' ') => {
                out.push(c);
                continue;
            }
            'n' => {
                out.push('\n');
                continue;
            }
            't' => {
                out.push('\t');
                continue;
            }
            'r' => {
                out.push('\r');
                continue;
            }
            '0' => {
                out.push('\0');
                continue;
            }
            'b' => {
                out.push('\u{8}');
                continue;
            }
            'f' => {
                out.push('\u{c}');
                continue;
            }
            'e' => {
                out.push('\u{1b}');
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let mut code = 0u32;
        for _ in 0..digits {
            code = code.checked_mul(16)?.checked_add(chars.next()?.to_digit(16)?)?;
        }
        out.push(char::from_u32(code)?);
    }
    Some(out)
}
