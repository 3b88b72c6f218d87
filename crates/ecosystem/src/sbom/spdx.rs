//! SPDX 2.3 in JSON.

use super::{Bom, Component};
use countersign_core::{Algorithm, ExpectedDigest};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

const NOTHING_SAID: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const SUBJECT: &str = "SPDXRef-Subject";

pub(super) fn document(bom: &Bom) -> Value {
    let mut packages = vec![json!({
        "name": bom.name,
        "SPDXID": SUBJECT,
        "downloadLocation": NOTHING_SAID,
        "filesAnalyzed": false,
    })];
    packages.extend(bom.components.iter().enumerate().map(|(i, c)| package(i, c)));
    let relation = |from: &str, kind: &str, to: &str| json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to});
    let mut relationships = vec![relation(DOCUMENT, "DESCRIBES", SUBJECT)];
    relationships.extend(bom.roots().iter().map(|i| relation(SUBJECT, "DEPENDS_ON", &id(*i))));
    for i in 0..bom.components.len() {
        let needs = bom.needs_of(i);
        relationships.extend(needs.iter().map(|to| relation(&id(i), "DEPENDS_ON", &id(*to))));
    }
    let (tool, version) = &bom.tool;
    // A namespace is unique for each document: it follows from what the document says.
    let digest = hex::encode(Sha256::digest(format!("{bom:?}")));
    let short = digest.get(..32).unwrap_or(&digest);
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": bom.name,
        "documentNamespace": format!("urn:countersign:sbom:{short}"),
        "comment": bom.left_out.join("\n"),
        "creationInfo": {
            "created": bom.created.to_string(),
            "creators": [format!("Tool: {tool}-{version}")],
        },
        "packages": packages,
        "relationships": relationships,
    })
}

fn id(place: usize) -> String {
    format!("SPDXRef-Package-{place}")
}

fn package(place: usize, c: &Component) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
    put("name", c.purl.name().into());
    put("SPDXID", id(place).into());
    put("versionInfo", c.purl.version().unwrap_or("").into());
    let supplier = c.supplier.as_ref().map(|s| format!("Organization: {s}"));
    put("supplier", supplier.unwrap_or_else(|| NOTHING_SAID.to_owned()).into());
    put("downloadLocation", NOTHING_SAID.into());
    put("filesAnalyzed", false.into());
    let checksums: Vec<Value> = c.digests.iter().map(checksum).collect();
    if !checksums.is_empty() {
        put("checksums", checksums.into());
    }
    let declared = match c.declared.as_slice() {
        [] => NOTHING_SAID.to_owned(),
        [one] => one.clone(),
        many => many.iter().map(|l| format!("({l})")).collect::<Vec<_>>().join(" AND "),
    };
    put("licenseDeclared", declared.into());
    put("licenseConcluded", NOTHING_SAID.into());
    if !c.found.is_empty() {
        let found = format!("its files hold the texts of {}", c.found.join(", "));
        put("licenseComments", found.into());
    }
    put("copyrightText", NOTHING_SAID.into());
    put(
        "externalRefs",
        json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": c.purl,
        }]),
    );
    Value::Object(map)
}

fn checksum(digest: &ExpectedDigest) -> Value {
    let name = match digest.algorithm() {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha1 => "SHA1",
        Algorithm::Sha256 => "SHA256",
        Algorithm::Sha384 => "SHA384",
        Algorithm::Sha512 => "SHA512",
    };
    json!({"algorithm": name, "checksumValue": hex::encode(digest.as_bytes())})
}
