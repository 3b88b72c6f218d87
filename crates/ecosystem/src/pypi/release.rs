//! The description of one release in PyPI's JSON API (`info` of `/pypi/NAME/VERSION/json`).

use crate::error::{IndexError, IndexLimits};
use crate::json::parse_object;
use serde_json::{Map, Value};

const WHAT: &str = "the release document";

/// What describes a release: `name`, `summary`, `requires_python` and `requires_dist`, each only when
/// it has the type that it should have. Files, addresses and all else are left out.
///
/// # Errors
/// When the document is over a limit, no JSON object, or has no `info`.
pub fn parse_release_info(
    body: &[u8],
    limits: &IndexLimits,
) -> Result<Map<String, Value>, IndexError> {
    let top = parse_object(WHAT, body, limits)?;
    let info = top
        .get("info")
        .and_then(Value::as_object)
        .ok_or_else(|| IndexError::malformed(WHAT, "info", "it is missing or not an object"))?;
    let mut out = Map::new();
    for key in ["name", "summary", "requires_python"] {
        if let Some(value) = info.get(key).filter(|v| v.is_string()) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    let list = info.get("requires_dist").filter(|v| {
        v.as_array()
            .is_some_and(|l| l.len() <= limits.max_entries && l.iter().all(Value::is_string))
    });
    if let Some(list) = list {
        out.insert("requires_dist".to_owned(), list.clone());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_describes_the_release_is_taken() {
        let limits = IndexLimits::default();
        let text = json!({
            "info": {"name": "A", "summary": "s", "requires_dist": ["b>=1"], "requires_python": 3,
                     "home_page": "https://x.example"},
            "urls": [{"url": "https://evil.example/a.whl"}],
        });
        let info = parse_release_info(text.to_string().as_bytes(), &limits).unwrap();
        assert_eq!(
            Value::from(info),
            json!({"name": "A", "summary": "s", "requires_dist": ["b>=1"]})
        );
        for bad in ["", "[]", "{}", "{\"info\": 1}", "<html>"] {
            assert!(parse_release_info(bad.as_bytes(), &limits).is_err(), "{bad}");
        }
        let odd = br#"{"info": {"requires_dist": ["a", 1]}}"#;
        assert!(parse_release_info(odd, &limits).unwrap().is_empty());
    }
}
