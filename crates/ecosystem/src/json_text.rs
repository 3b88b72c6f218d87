//! Objects of JSON text as slices of it: what is only passed on need not be built in memory, where it
//! takes many times what it takes in the text.

use crate::error::{IndexError, IndexLimits};
use std::borrow::Cow;
use std::collections::HashMap;

/// An object's members in their order, each value as it is written. Of duplicate keys the last one
/// counts, at the first one's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Reads an object. `None` for another value. The text has to be JSON: see [`checked`].
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut all: Vec<(Cow<'a, str>, &'a str)> = Vec::new();
        let mut at = space(bytes, 0);
        if bytes.get(at) != Some(&b'{') {
            return None;
        }
        at = space(bytes, at + 1);
        while bytes.get(at) != Some(&b'}') {
            let key_end = string(bytes, at)?;
            let colon = space(bytes, key_end);
            if bytes.get(colon) != Some(&b':') {
                return None;
            }
            let begin = space(bytes, colon + 1);
            let end = value(bytes, begin)?;
            all.push((unescaped(text.get(at..key_end)?)?, text.get(begin..end)?));
            at = space(bytes, end);
            if bytes.get(at) == Some(&b',') {
                at = space(bytes, at + 1);
            }
        }
        Some(Self(last_of_each(all)))
    }

    /// The value under `key`, as it is written.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| *value)
    }

    /// The string under `key`, if there is one and it is a string.
    pub(crate) fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        unescaped(self.get(key)?)
    }

    /// The object under `key`, if there is one and it is an object.
    pub(crate) fn object(&self, key: &str) -> Option<Members<'a>> {
        Members::of(self.get(key)?)
    }

    /// All members.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Cow<'a, str>, &'a str)> {
        self.0.iter()
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps the members for which `keep` holds.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }
}

/// The text of a document, once it is known to be JSON (RFC 8259) under the limits.
///
/// # Errors
/// When it is over a limit, or no JSON.
pub(crate) fn checked<'a>(
    what: &'static str,
    bytes: &'a [u8],
    limits: &IndexLimits,
) -> Result<&'a str, IndexError> {
    let bytes = crate::json::checked(what, bytes, limits)?;
    let text = std::str::from_utf8(bytes)
        .map_err(|_| IndexError::malformed(what, "the text", "it is not UTF-8"))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|e| crate::json::syntax_error(what, &e))?;
    Ok(text)
}

/// A string's content; `None` for another value, or for escapes that are no text.
pub(crate) fn unescaped(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(value).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// Writes a string as JSON.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend(serde_json::Value::from(text).to_string().into_bytes());
}

/// Writes an object of members that are JSON already.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Writer<'o> {
    /// Begins an object.
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes a key; its value has to follow.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// Writes a member.
    pub(crate) fn member(&mut self, key: &str, value: &str) {
        self.key(key).extend_from_slice(value.as_bytes());
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// How many members an object may have before duplicates are looked for by a table.
const FEW: usize = 16;

fn last_of_each<'a>(all: Vec<(Cow<'a, str>, &'a str)>) -> Vec<(Cow<'a, str>, &'a str)> {
    let mut out: Vec<(Cow<'a, str>, &'a str)> = Vec::with_capacity(all.len());
    if all.len() <= FEW {
        for (key, value) in all {
            match out.iter_mut().find(|(k, _)| *k == key) {
                Some(earlier) => earlier.1 = value,
                None => out.push((key, value)),
            }
        }
        return out;
    }
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(all.len());
    for (key, value) in all {
        match places.get(&key).and_then(|place| out.get_mut(*place)) {
            Some(earlier) => earlier.1 = value,
            None => {
                places.insert(key.clone(), out.len());
                out.push((key, value));
            }
        }
    }
    out
}

fn space(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let skipped = rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
    from + skipped.unwrap_or(rest.len())
}

/// The end of the string that begins at `from`.
fn string(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.get(from) != Some(&b'"') {
        return None;
    }
    let mut at = from + 1;
    loop {
        at += bytes.get(at..)?.iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of the value that begins at `from`.
fn value(bytes: &[u8], from: usize) -> Option<usize> {
    match bytes.get(from)? {
        b'"' => string(bytes, from),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0usize, from);
            loop {
                let special = |b: &u8| matches!(b, b'"' | b'{' | b'[' | b'}' | b']');
                at += bytes.get(at..)?.iter().position(special)?;
                match bytes.get(at)? {
                    b'"' => {
                        at = string(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    _ => depth = depth.checked_sub(1)?,
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let rest = bytes.get(from..)?;
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            (length > 0).then_some(from + length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    #[test]
    fn members_are_read_as_they_are_written() {
        let text = " {\"a\" : [1, {\"b\": \"}]\\\"\"}] ,\n\"\\u0061b\":\"x\\\\\", \"n\": -1.50e3,\"e\":{}\t} ";
        let members = Members::of(text).unwrap();
        let pairs: Vec<(&str, &str)> = members.iter().map(|(k, v)| (k.as_ref(), *v)).collect();
        assert_eq!(
            pairs,
            [("a", "[1, {\"b\": \"}]\\\"\"}]"), ("ab", "\"x\\\\\""), ("n", "-1.50e3"), ("e", "{}")]
        );
        assert_eq!(members.string("ab").as_deref(), Some("x\\"));
        assert_eq!((members.string("n"), members.object("e").map(|e| e.len())), (None, Some(0)));
        for other in ["[1]", "\"a\"", "1", "null", "", "{"] {
            assert_eq!(Members::of(other), None, "{other}");
        }
    }

    #[test]
    fn the_last_of_duplicates_counts() {
        let many: String = (0..40).map(|n| format!("\"k{n}\":{n},")).collect();
        for (text, keys) in [
            ("{\"a\":1,\"b\":2,\"\\u0061\":3}".to_owned(), 2),
            (format!("{{\"a\":1,\"b\":2,{many}\"a\":3}}"), 42),
        ] {
            let members = Members::of(&text).unwrap();
            assert_eq!(
                (members.len(), members.get("a"), members.get("b")),
                (keys, Some("3"), Some("2"))
            );
            assert_eq!(members.iter().next().unwrap().0, "a");
        }
    }

    #[test]
    fn what_is_no_json_is_said_so() {
        let limits = IndexLimits::default();
        for bad in [&b"{\"a\":}"[..], b"{\"a\":1", b"{\"a\":\"\xff\"}", b"{} x", b"{'a':1}"] {
            let error = checked("the document", bad, &limits).unwrap_err();
            assert!(matches!(error, IndexError::Malformed { .. }), "{bad:?}");
        }
        assert_eq!(checked("x", b"\xef\xbb\xbf{}", &limits), Ok("{}"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\\n\"\\\\{}\\[\\],:]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let key = "[a-c\"\\\\{}é]{0,3}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_those_of_the_parsed_value(value in json(), pretty in any::<bool>()) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let members = Members::of(&text);
            prop_assert_eq!(members.is_some(), value.is_object());
            if let (Some(members), Value::Object(object)) = (members, value) {
                let again: Map<String, Value> = members
                    .iter()
                    .map(|(k, v)| (k.to_string(), serde_json::from_str(v).unwrap()))
                    .collect();
                prop_assert_eq!(&again, &object);
                let mut out = Vec::new();
                let mut writer = Writer::begin(&mut out);
                members.iter().for_each(|(k, v)| writer.member(k, v));
                writer.end();
                let written: Value = serde_json::from_slice(&out).unwrap();
                prop_assert_eq!(written, Value::Object(object));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "[\\[\\]{}\",:\\\\ a1é]{0,40}") {
            let _ = Members::of(&text);
        }
    }
}
