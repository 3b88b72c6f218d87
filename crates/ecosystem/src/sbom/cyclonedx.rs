//! CycloneDX 1.6 in JSON.

use super::{Bom, Component};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest};
use serde_json::{Map, Value, json};

pub(super) fn document(bom: &Bom) -> Value {
    let reference = |i: &usize| bom.components.get(*i).map(|c| c.purl.to_string());
    let mut dependencies = vec![json!({
        "ref": "subject",
        "dependsOn": bom.roots().iter().filter_map(reference).collect::<Vec<_>>(),
    })];
    for (i, component) in bom.components.iter().enumerate() {
        let needs: Vec<String> = bom.needs_of(i).iter().filter_map(reference).collect();
        if !needs.is_empty() {
            dependencies.push(json!({"ref": component.purl, "dependsOn": needs}));
        }
    }
    let left_out = bom.left_out.iter();
    let left_out: Vec<Value> =
        left_out.map(|t| json!({"name": "countersign:left-out", "value": t})).collect();
    let (tool, version) = &bom.tool;
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": bom.created.to_string(),
            "tools": {"components": [{"type": "application", "name": tool, "version": version}]},
            "component": {"type": "application", "bom-ref": "subject", "name": bom.name},
            "properties": left_out,
        },
        "components": bom.components.iter().map(component).collect::<Vec<_>>(),
        "dependencies": dependencies,
    })
}

fn component(c: &Component) -> Value {
    let purl = &c.purl;
    let (group, name) = match purl.ecosystem() {
        Ecosystem::Npm => split(purl.name(), '/'),
        Ecosystem::Maven => split(purl.name(), ':'),
        _ => (None, purl.name()),
    };
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    put("type", "library".into());
    put("bom-ref", purl.to_string().into());
    if let Some(group) = group {
        put("group", group.into());
    }
    put("name", name.into());
    put("version", purl.version().unwrap_or("").into());
    if let Some(supplier) = &c.supplier {
        put("supplier", json!({"name": supplier}));
    }
    if c.development {
        // "Optional" components are not needed at run time.
        put("scope", "optional".into());
    }
    let hashes: Vec<Value> = c.digests.iter().filter_map(hash).collect();
    if !hashes.is_empty() {
        put("hashes", hashes.into());
    }
    // The schema takes one expression, or a list of licences.
    match c.declared.as_slice() {
        [] => {}
        [one] => put("licenses", json!([{"expression": one, "acknowledgement": "declared"}])),
        many => {
            let all =
                many.iter().map(|l| json!({"license": {"name": l, "acknowledgement": "declared"}}));
            put("licenses", all.collect());
        }
    }
    if !c.found.is_empty() {
        let all: Vec<Value> = c.found.iter().map(|id| json!({"license": {"id": id}})).collect();
        put("evidence", json!({"licenses": all}));
    }
    put("purl", purl.to_string().into());
    Value::Object(map)
}

fn split(name: &str, at: char) -> (Option<&str>, &str) {
    name.split_once(at).map_or((None, name), |(group, name)| (Some(group), name))
}

fn hash(digest: &ExpectedDigest) -> Option<Value> {
    let name = match digest.algorithm() {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA-1",
        Algorithm::Sha256 => "SHA-256",
        Algorithm::Sha384 => "SHA-384",
        Algorithm::Sha512 => "SHA-512",
    };
    Some(json!({"alg": name, "content": hex::encode(digest.as_bytes())}))
}
