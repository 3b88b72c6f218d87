//! JSON read strictly: duplicate keys mean different things to different parsers, so there are none.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// Why a text is not strict JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON: {because}")]
pub struct StrictJsonError {
    /// What is wrong, and where.
    pub because: String,
}

/// Reads one JSON value; a duplicate key at any depth is an error, as is anything after the value.
///
/// Depth is bounded (128, against stack exhaustion) and size by the caller's bytes.
///
/// # Errors
/// When the bytes are not exactly one JSON value, or an object holds a key twice.
pub fn parse_strict(bytes: &[u8]) -> Result<serde_json::Value, StrictJsonError> {
    let err = |e: serde_json::Error| StrictJsonError { because: e.to_string() };
    let NoDuplicates = serde_json::from_slice(bytes).map_err(err)?;
    serde_json::from_slice(bytes).map_err(err)
}

/// Walks a value and keeps nothing but the assurance that no object holds a key twice.
struct NoDuplicates;

impl<'de> Deserialize<'de> for NoDuplicates {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = NoDuplicates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }
    fn visit_i64<E>(self, _: i64) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }
    fn visit_u64<E>(self, _: u64) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }
    fn visit_f64<E>(self, _: f64) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }
    fn visit_str<E>(self, _: &str) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }
    fn visit_unit<E>(self) -> Result<NoDuplicates, E> {
        Ok(NoDuplicates)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NoDuplicates, A::Error> {
        while seq.next_element::<NoDuplicates>()?.is_some() {}
        Ok(NoDuplicates)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoDuplicates, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<NoDuplicates>()?;
            if let Some(twice) = seen.replace(key) {
                let key: String = twice.chars().take(80).collect();
                return Err(serde::de::Error::custom(format!("duplicate key `{key}`")));
            }
        }
        Ok(NoDuplicates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_rejected_at_any_depth() {
        for bad in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#, "{} {}", "", "{\"a\":1"] {
            assert!(parse_strict(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [r#"{"a":1,"b":{"a":[1.5,-2,null,true,"x"]}}"#, "[]", "\"x\""] {
            assert!(parse_strict(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(parse_strict(deep.as_bytes()).is_err());
    }
}
