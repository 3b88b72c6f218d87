//! Strict JSON: one reading of a document, or none.
//!
//! RFC 8259 section 4 leaves the meaning of a repeated name open, so two parsers can read two
//! different statements out of the same signed bytes. Here a repeated name is an error at any
//! depth. Depth itself is bounded by the parser (128 levels).

use crate::error::EvidenceError;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Bytes of one attestation document. The largest seen in the wild are well below 1 MiB.
pub(crate) const MAX_DOCUMENT: usize = 4 << 20;

/// Parses `bytes` as one JSON value without repeated names.
pub(crate) fn parse(what: &'static str, bytes: &[u8]) -> Result<Value, EvidenceError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(EvidenceError::TooLarge { what, limit: format!("{MAX_DOCUMENT} bytes") });
    }
    let strict: Strict = serde_json::from_slice(bytes)
        .map_err(|e| EvidenceError::malformed(what, format!("not strict JSON: {e}")))?;
    Ok(strict.0)
}

/// The string at `pointer` (RFC 6901), if there is one.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// The string at `pointer`, or an error that names it.
pub(crate) fn need_text<'a>(
    what: &'static str,
    value: &'a Value,
    pointer: &str,
) -> Result<&'a str, EvidenceError> {
    text(value, pointer)
        .ok_or_else(|| EvidenceError::malformed(what, format!("no text at `{pointer}`")))
}

/// The array at `pointer`, of at most `limit` elements.
pub(crate) fn need_array<'a>(
    what: &'static str,
    value: &'a Value,
    pointer: &str,
    limit: usize,
) -> Result<&'a [Value], EvidenceError> {
    let list = value
        .pointer(pointer)
        .and_then(Value::as_array)
        .ok_or_else(|| EvidenceError::malformed(what, format!("no list at `{pointer}`")))?;
    if list.len() > limit {
        return Err(EvidenceError::TooLarge { what, limit: format!("{limit} at `{pointer}`") });
    }
    Ok(list)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Strict(v)) = seq.next_element()? {
            out.push(v);
        }
        Ok(out.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.contains_key(&key) {
                return Err(A::Error::custom(format_args!("name `{key}` is repeated")));
            }
            let Strict(v) = map.next_value()?;
            out.insert(key, v);
        }
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_reading_equals_the_ordinary_one() {
        let text = br#"{"a":[1,-2,2.5,true,null,"x\u0041"],"b":{"c":{},"d":18446744073709551615}}"#;
        assert_eq!(parse("it", text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn ambiguous_or_endless_documents_are_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let large = format!("\"{}\"", "x".repeat(MAX_DOCUMENT));
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1} {"a":1}"#,
            r#"{"a":1"#,
            "",
            &deep,
            &large,
        ] {
            assert!(parse("it", bad.as_bytes()).is_err(), "{}", shown(bad));
        }
    }

    fn shown(text: &str) -> String {
        crate::error::shown(text)
    }
}
