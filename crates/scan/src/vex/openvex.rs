//! OpenVEX, specification v0.2.0, and the plainer forms of v0.0.1.

use super::{Making, VexDocument, VexError, ids};
use countersign_core::VexStatus;
use serde_json::Value;

pub(super) fn read(json: &Value) -> Result<VexDocument, VexError> {
    let statements = json.get("statements").and_then(Value::as_array);
    let statements =
        statements.ok_or_else(|| VexError::malformed("it has no statements".to_owned()))?;
    let mut making = Making::new(json.get("@id").and_then(Value::as_str).unwrap_or(""));
    for statement in statements {
        let text = |key: &str| statement.get(key).and_then(Value::as_str);
        let status = match text("status") {
            Some("not_affected") => VexStatus::NotAffected,
            Some("affected") => VexStatus::Affected,
            Some("fixed") => VexStatus::Fixed,
            Some("under_investigation") => VexStatus::UnderInvestigation,
            other => {
                let status = other.unwrap_or("none");
                return Err(VexError::malformed(format!("a statement has the status `{status}`")));
            }
        };
        let vulnerability = vulnerability(statement.get("vulnerability"));
        if vulnerability.is_empty() {
            return Err(VexError::malformed("a statement names no vulnerability".to_owned()));
        }
        // Of the two the specification wants one: a word of its closed set, or a sentence.
        let why = text("justification").or_else(|| text("impact_statement"));
        for product in statement.get("products").and_then(Value::as_array).into_iter().flatten() {
            making.state(purl(product), &vulnerability, status, why)?;
        }
    }
    Ok(making.document)
}

/// `{"name": "CVE-…", "aliases": […]}`, or the id alone.
fn vulnerability(value: Option<&Value>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let name = value.as_str().or_else(|| value.get("name")?.as_str());
    let aliases = value.get("aliases").and_then(Value::as_array).into_iter().flatten();
    ids(name.into_iter().chain(aliases.filter_map(Value::as_str)))
}

/// The product's purl. A product with parts is about the product, not about its parts.
fn purl(product: &Value) -> Option<&str> {
    let named = product.pointer("/identifiers/purl").and_then(Value::as_str);
    named.or_else(|| product.get("@id")?.as_str()).or_else(|| product.as_str())
}
