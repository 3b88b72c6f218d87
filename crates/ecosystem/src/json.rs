//! JSON from upstreams, read under limits.

use crate::error::{IndexError, IndexLimits};
use serde_json::{Map, Value};

/// Values that one entry of an index may hold on average, before the document counts as a flood.
const VALUES_PER_ENTRY: usize = 64;

/// Values of a whole document: each takes up to 200 bytes in memory, however short it is in the text.
/// At fifty bytes of text each that is a document of 200 MB.
const MAX_VALUES: usize = 4_000_000;

/// Reads a JSON object under the limits.
///
/// Of duplicate keys the last one counts, as in JavaScript and Python. That is safe only because
/// what clients see is written anew from the parsed value.
pub(crate) fn parse_object(
    what: &'static str,
    bytes: &[u8],
    limits: &IndexLimits,
) -> Result<Map<String, Value>, IndexError> {
    match serde_json::from_slice(checked(what, bytes, limits)?) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(IndexError::malformed(what, "the top level", "it is not a JSON object")),
        Err(e) => Err(syntax_error(what, &e)),
    }
}

/// A JSON text without byte order mark, whose size, nesting and number of values are within limits.
pub(crate) fn checked<'b>(
    what: &'static str,
    bytes: &'b [u8],
    limits: &IndexLimits,
) -> Result<&'b [u8], IndexError> {
    limits.check_bytes(what, bytes.len())?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    check_shape(what, bytes, limits)?;
    Ok(bytes)
}

/// What is wrong with a JSON text.
pub(crate) fn syntax_error(what: &'static str, e: &serde_json::Error) -> IndexError {
    IndexError::malformed(
        what,
        &format!("line {}, column {}", e.line(), e.column()),
        match e.classify() {
            serde_json::error::Category::Eof => "the JSON text ends too early",
            _ => "it is not valid JSON",
        },
    )
}

/// Counts nesting and values in one pass, before anything is allocated for them: a value in
/// memory takes many times the two bytes that it can take in the text.
fn check_shape(what: &'static str, bytes: &[u8], limits: &IndexLimits) -> Result<(), IndexError> {
    let max_values = limits.max_entries.saturating_mul(VALUES_PER_ENTRY).min(MAX_VALUES);
    let (mut depth, mut values) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for &b in bytes {
        if in_string {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match b {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > limits.max_depth {
            return Err(IndexError::TooDeep { what, limit: limits.max_depth });
        }
        if values > max_values {
            return Err(IndexError::TooManyEntries { what, limit: max_values });
        }
    }
    Ok(())
}

/// The string under `key`, if there is one and it is a string.
pub(crate) fn string<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> IndexLimits {
        IndexLimits { max_bytes: 1000, max_entries: 2, max_depth: 4 }
    }

    #[test]
    fn each_limit_has_its_own_error() {
        let parse = |text: &str| parse_object("the document", text.as_bytes(), &limits());
        assert!(matches!(parse(&" ".repeat(1001)), Err(IndexError::TooLarge { .. })));
        assert!(matches!(parse(r#"{"a":[[[[1]]]]}"#), Err(IndexError::TooDeep { .. })));
        let flood = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(200));
        assert!(matches!(parse(&flood), Err(IndexError::TooManyEntries { .. })));
        assert!(matches!(parse("[]"), Err(IndexError::Malformed { .. })));
        assert!(matches!(parse(r#"{"a":"#), Err(IndexError::Malformed { .. })));
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let map = parse_object("x", br#"{"a":"[[[[[[\"[[[[["}"#, &limits()).unwrap();
        assert_eq!(string(&map, "a"), Some("[[[[[[\"[[[[["));
    }
}
