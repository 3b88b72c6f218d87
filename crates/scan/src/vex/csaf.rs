//! CSAF 2.0, profile 5 (VEX).

use super::{Making, VexDocument, VexError, ids};
use countersign_core::VexStatus;
use serde_json::Value;
use std::collections::HashMap;

/// Lists of product ids, and what being in them says.
const LISTS: [(&str, VexStatus); 6] = [
    ("known_not_affected", VexStatus::NotAffected),
    ("known_affected", VexStatus::Affected),
    ("first_affected", VexStatus::Affected),
    ("fixed", VexStatus::Fixed),
    ("first_fixed", VexStatus::Fixed),
    ("under_investigation", VexStatus::UnderInvestigation),
];

pub(super) fn read(json: &Value) -> Result<VexDocument, VexError> {
    let text = |at: &str| json.pointer(at).and_then(Value::as_str).unwrap_or("");
    let category = text("/document/category");
    if category != "csaf_vex" {
        let because = format!("its category is `{category}`, not `csaf_vex`");
        return Err(VexError::malformed(because));
    }
    let mut products = HashMap::new();
    let mut groups = HashMap::new();
    if let Some(tree) = json.get("product_tree") {
        gather(tree, &mut products);
        for group in items(tree.get("product_groups")) {
            if let Some(id) = group.get("group_id").and_then(Value::as_str) {
                groups.insert(id, texts(group.get("product_ids")).collect::<Vec<_>>());
            }
        }
    }
    let mut making = Making::new(text("/document/tracking/id"));
    for vulnerability in items(json.get("vulnerabilities")) {
        one(vulnerability, &products, &groups, &mut making)?;
    }
    Ok(making.document)
}

fn one(
    vulnerability: &Value,
    products: &HashMap<&str, Vec<&str>>,
    groups: &HashMap<&str, Vec<&str>>,
    making: &mut Making,
) -> Result<(), VexError> {
    let cve = vulnerability.get("cve").and_then(Value::as_str);
    let others = items(vulnerability.get("ids")).filter_map(|i| i.get("text")?.as_str());
    let names = ids(cve.into_iter().chain(others));
    if names.is_empty() {
        return Err(VexError::malformed("a vulnerability has no id".to_owned()));
    }
    let mut whys: HashMap<&str, &str> = HashMap::new();
    // A flag is a word of a closed set; a threat of the category `impact` is a sentence.
    let threats = items(vulnerability.get("threats"))
        .filter(|t| t.get("category").and_then(Value::as_str) == Some("impact"))
        .map(|t| (t, "details"));
    for (entry, key) in threats.chain(items(vulnerability.get("flags")).map(|f| (f, "label"))) {
        let Some(why) = entry.get(key).and_then(Value::as_str) else { continue };
        let grouped = texts(entry.get("group_ids")).filter_map(|g| groups.get(g)).flatten();
        for product in texts(entry.get("product_ids")).chain(grouped.copied()) {
            whys.insert(product, why);
        }
    }
    for (list, status) in LISTS {
        for id in texts(vulnerability.pointer(&format!("/product_status/{list}"))) {
            let why = whys.get(id).copied();
            match products.get(id) {
                Some(purls) => {
                    for purl in purls {
                        making.state(Some(purl), &names, status, why)?;
                    }
                }
                None => making.state(None, &names, status, why)?,
            }
        }
    }
    Ok(())
}

/// Purls by product id, from wherever in the tree a product stands. The parser of JSON bounds how deep
/// that is.
fn gather<'a>(value: &'a Value, into: &mut HashMap<&'a str, Vec<&'a str>>) {
    match value {
        Value::Object(map) => {
            let id = map.get("product_id").and_then(Value::as_str);
            let purl = value.pointer("/product_identification_helper/purl").and_then(Value::as_str);
            if let (Some(id), Some(purl)) = (id, purl) {
                into.entry(id).or_default().push(purl);
            }
            map.values().for_each(|v| gather(v, into));
        }
        Value::Array(all) => all.iter().for_each(|v| gather(v, into)),
        _ => {}
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    items(value).filter_map(Value::as_str)
}
