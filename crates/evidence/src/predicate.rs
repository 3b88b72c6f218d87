//! Predicate types that are written and read here, under short names, and the least that each of
//! them must say.
//!
//! A predicate of another type passes as it stands: what it says is between those who use it. One of
//! these types that lacks what its specification requires is malformed, and no evidence.

use countersign_core::Timestamp;
use serde_json::Value;

/// A predicate type.
#[derive(Debug)]
pub struct PredicateType {
    /// The short name: `vsa`, `test-result`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The type URI that is written.
    uri: &'static str,
    /// The URI without a version: with any version behind it, it is read as this type.
    family: &'static str,
    check: fn(&Value) -> Result<(), String>,
}

/// SLSA Verification Summary (slsa.dev, "Verification Summary Attestation", v1.0).
pub const VSA: &str = "https://slsa.dev/verification_summary/v1";

const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result";

/// All of them, in the order in which they are listed to people.
pub const PREDICATE_TYPES: &[PredicateType] = &[
    PredicateType {
        name: "slsaprovenance1",
        about: "SLSA provenance v1: how it was built",
        uri: crate::provenance::SLSA_V1,
        family: crate::provenance::SLSA_V1,
        check: provenance,
    },
    PredicateType {
        name: "vsa",
        about: "SLSA verification summary: what a verifier decided",
        uri: VSA,
        family: VSA,
        check: vsa,
    },
    PredicateType {
        name: "test-result",
        about: "in-toto test result: passed, warned or failed",
        uri: "https://in-toto.io/attestation/test-result/v0.1",
        family: TEST_RESULT,
        check: test_result,
    },
    PredicateType {
        name: "vulns",
        about: "in-toto vulnerabilities: what a scanner found",
        uri: "https://in-toto.io/attestation/vulns/v0.2",
        family: "https://in-toto.io/attestation/vulns",
        check: vulns,
    },
    PredicateType {
        name: "release",
        about: "in-toto release: the files of a version",
        uri: "https://in-toto.io/attestation/release/v0.2",
        family: "https://in-toto.io/attestation/release",
        check: release,
    },
    PredicateType {
        name: "scai",
        about: "in-toto SCAI: attributes of an artifact or its producer",
        uri: "https://in-toto.io/attestation/scai/attribute-report/v0.2",
        family: "https://in-toto.io/attestation/scai",
        check: scai,
    },
    PredicateType {
        name: "link",
        about: "in-toto link: one step of a supply chain",
        uri: "https://in-toto.io/attestation/link/v0.3",
        family: "https://in-toto.io/attestation/link",
        check: link,
    },
    PredicateType {
        name: "cyclonedx",
        about: "CycloneDX: a bill of materials",
        uri: "https://cyclonedx.org/bom",
        family: "https://cyclonedx.org/bom",
        check: cyclonedx,
    },
    PredicateType {
        name: "spdx",
        about: "SPDX: a bill of materials",
        uri: "https://spdx.dev/Document",
        family: "https://spdx.dev/Document",
        check: spdx,
    },
    PredicateType {
        name: "openvex",
        about: "OpenVEX: whether vulnerabilities affect it",
        uri: "https://openvex.dev/ns",
        family: "https://openvex.dev/ns",
        check: openvex,
    },
];

impl PredicateType {
    /// The type of that short name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PREDICATE_TYPES.iter().find(|t| t.name == name)
    }

    /// The type that a URI is of, in whatever version.
    #[must_use]
    pub fn of_uri(uri: &str) -> Option<&'static Self> {
        let fits = |t: &&Self| match uri.strip_prefix(t.family) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        PREDICATE_TYPES.iter().find(fits)
    }

    /// The type URI of this predicate. SPDX carries its own version in it.
    #[must_use]
    pub fn uri(&self, predicate: &Value) -> String {
        let spdx = predicate.get("spdxVersion").and_then(Value::as_str);
        match spdx.and_then(|v| v.strip_prefix("SPDX-")).filter(|_| self.name == "spdx") {
            Some(version) => format!("{}/v{version}", self.uri),
            None => self.uri.to_owned(),
        }
    }

    /// Checks that a predicate says the least that its type must.
    ///
    /// # Errors
    /// What it lacks, in words for people.
    pub fn check(&self, predicate: &Value) -> Result<(), String> {
        (self.check)(predicate)
    }
}

/// The short name of a type URI, or the URI where it has none.
#[must_use]
pub fn short_name(uri: &str) -> &str {
    PredicateType::of_uri(uri).map_or(uri, |t| t.name)
}

/// What a predicate says the outcome is, in lower case: `passed`, `warned`, `failed`. `None` for
/// types that state no outcome.
#[must_use]
pub fn outcome(uri: &str, predicate: &Value) -> Option<&'static str> {
    let member = match PredicateType::of_uri(uri)?.name {
        "vsa" => "verificationResult",
        "test-result" => "result",
        _ => return None,
    };
    match predicate.get(member).and_then(Value::as_str)? {
        "PASSED" => Some("passed"),
        "WARNED" => Some("warned"),
        // What is neither is not said to have passed.
        _ => Some("failed"),
    }
}

fn text<'a>(p: &'a Value, pointer: &str) -> Result<&'a str, String> {
    let found = p.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty());
    found.ok_or_else(|| format!("no text at `{}`", shown(pointer)))
}

fn list<'a>(p: &'a Value, pointer: &str) -> Result<&'a [Value], String> {
    let found = p.pointer(pointer).and_then(Value::as_array);
    found.map(Vec::as_slice).ok_or_else(|| format!("no list at `{}`", shown(pointer)))
}

fn object(p: &Value, pointer: &str) -> Result<(), String> {
    let found = p.pointer(pointer).is_some_and(Value::is_object);
    if found { Ok(()) } else { Err(format!("no object at `{}`", shown(pointer))) }
}

fn time(p: &Value, pointer: &str) -> Result<(), String> {
    match Timestamp::parse(text(p, pointer)?) {
        Some(_) => Ok(()),
        None => Err(format!("no RFC 3339 time at `{}`", shown(pointer))),
    }
}

fn one_of(p: &Value, pointer: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&text(p, pointer)?) {
        return Ok(());
    }
    Err(format!("`{}` is none of {}", shown(pointer), allowed.join(", ")))
}

fn texts(p: &Value, pointer: &str) -> Result<(), String> {
    if list(p, pointer)?.iter().all(Value::is_string) {
        return Ok(());
    }
    Err(format!("`{}` is no list of texts", shown(pointer)))
}

/// Holds `check` against each element, and says which one it was.
fn each(
    p: &Value,
    pointer: &str,
    check: impl Fn(&Value) -> Result<(), String>,
) -> Result<(), String> {
    for (i, element) in list(p, pointer)?.iter().enumerate() {
        check(element).map_err(|e| format!("{}[{i}]: {e}", shown(pointer)))?;
    }
    Ok(())
}

/// A pointer as people write a path: `scanner.result`.
fn shown(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn provenance(p: &Value) -> Result<(), String> {
    text(p, "/buildDefinition/buildType")?;
    object(p, "/buildDefinition/externalParameters")?;
    text(p, "/runDetails/builder/id").map(drop)
}

fn vsa(p: &Value) -> Result<(), String> {
    text(p, "/verifier/id")?;
    time(p, "/timeVerified")?;
    text(p, "/resourceUri")?;
    object(p, "/policy")?;
    one_of(p, "/verificationResult", &["PASSED", "FAILED"])?;
    texts(p, "/verifiedLevels")
}

fn test_result(p: &Value) -> Result<(), String> {
    one_of(p, "/result", &["PASSED", "WARNED", "FAILED"])?;
    list(p, "/configuration")?;
    let lists = ["/passedTests", "/warnedTests", "/failedTests"];
    lists.iter().filter(|l| p.pointer(l).is_some()).try_for_each(|l| texts(p, l))
}

fn vulns(p: &Value) -> Result<(), String> {
    text(p, "/scanner/uri")?;
    each(p, "/scanner/result", |found| {
        text(found, "/id")?;
        list(found, "/severity").map(drop)
    })?;
    time(p, "/metadata/scanStartedOn")?;
    time(p, "/metadata/scanFinishedOn")
}

fn release(p: &Value) -> Result<(), String> {
    let purl = text(p, "/purl")?;
    // Any type of purl may be released, also those that the gate does not judge.
    if purl.starts_with("pkg:") && purl.contains('@') {
        return Ok(());
    }
    Err("`purl` is no package URL with a version".to_owned())
}

fn scai(p: &Value) -> Result<(), String> {
    if list(p, "/attributes")?.is_empty() {
        return Err("`attributes` is empty".to_owned());
    }
    each(p, "/attributes", |a| text(a, "/attribute").map(drop))
}

fn link(p: &Value) -> Result<(), String> {
    text(p, "/name")?;
    if p.get("command").is_some() {
        texts(p, "/command")?;
    }
    if p.get("materials").is_some() {
        each(p, "/materials", |m| {
            text(m, "/name")?;
            object(m, "/digest")
        })?;
    }
    Ok(())
}

fn cyclonedx(p: &Value) -> Result<(), String> {
    one_of(p, "/bomFormat", &["CycloneDX"])?;
    text(p, "/specVersion").map(drop)
}

fn spdx(p: &Value) -> Result<(), String> {
    // Version 3 is a graph (JSON-LD); version 2 names itself.
    if p.get("@context").is_some() {
        return list(p, "/@graph").map(drop);
    }
    if !text(p, "/spdxVersion")?.starts_with("SPDX-") {
        return Err("`spdxVersion` does not start with `SPDX-`".to_owned());
    }
    one_of(p, "/SPDXID", &["SPDXRef-DOCUMENT"])?;
    text(p, "/name").map(drop)
}

fn openvex(p: &Value) -> Result<(), String> {
    if !text(p, "/@context")?.starts_with("https://openvex.dev/ns") {
        return Err("`@context` is not OpenVEX's".to_owned());
    }
    text(p, "/@id")?;
    text(p, "/author")?;
    time(p, "/timestamp")?;
    if list(p, "/statements")?.is_empty() {
        return Err("`statements` is empty".to_owned());
    }
    each(p, "/statements", |s| {
        // Before v0.2.0 the vulnerability was a text.
        if text(s, "/vulnerability").is_err() {
            text(s, "/vulnerability/name")?;
        }
        one_of(s, "/status", &["not_affected", "affected", "fixed", "under_investigation"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The least that each type accepts.
    fn least(name: &str) -> Value {
        let at = "2025-06-15T15:06:40Z";
        match name {
            "slsaprovenance1" => json!({
                "buildDefinition": {"buildType": "t", "externalParameters": {}},
                "runDetails": {"builder": {"id": "b"}},
            }),
            "vsa" => json!({
                "verifier": {"id": "v"}, "timeVerified": at, "resourceUri": "r", "policy": {},
                "verificationResult": "PASSED", "verifiedLevels": ["SLSA_BUILD_LEVEL_1"],
            }),
            "test-result" => json!({"result": "PASSED", "configuration": []}),
            "vulns" => json!({
                "scanner": {"uri": "s", "result": [{"id": "CVE-1", "severity": []}]},
                "metadata": {"scanStartedOn": at, "scanFinishedOn": at},
            }),
            "release" => json!({"purl": "pkg:pypi/a@1"}),
            "scai" => json!({"attributes": [{"attribute": "REPRODUCIBLE"}]}),
            "link" => json!({"name": "build"}),
            "cyclonedx" => json!({"bomFormat": "CycloneDX", "specVersion": "1.6"}),
            "spdx" => {
                json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "a"})
            }
            "openvex" => json!({
                "@context": "https://openvex.dev/ns/v0.2.0", "@id": "i", "author": "a",
                "timestamp": at, "version": 1,
                "statements": [{"vulnerability": {"name": "CVE-1"}, "status": "fixed"}],
            }),
            other => panic!("{other}"),
        }
    }

    /// All paths to members of objects, at any depth.
    fn members(value: &Value, at: &str, out: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(k, v)| (format!("{at}/{k}"), v)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(i, v)| (format!("{at}/{i}"), v)).collect()
            }
            _ => return,
        };
        for (path, child) in children {
            if value.is_object() {
                out.push(path.clone());
            }
            members(child, &path, out);
        }
    }

    #[test]
    fn each_type_wants_all_that_its_least_says() {
        for t in PREDICATE_TYPES {
            let good = least(t.name);
            t.check(&good).unwrap_or_else(|e| panic!("{}: {e}", t.name));
            let mut paths = Vec::new();
            members(&good, "", &mut paths);
            // The one member that is there for the sake of the example.
            for path in paths.iter().filter(|p| *p != "/version") {
                let mut bad = good.clone();
                *bad.pointer_mut(path).unwrap() = Value::Null;
                let e = t.check(&bad).expect_err(&format!("{} without {path}", t.name));
                assert!(e.contains('`'), "{e}");
            }
            assert!(t.check(&Value::Null).is_err() && t.check(&json!([])).is_err());
        }
    }

    #[test]
    fn values_outside_the_specification_are_refused() {
        for (name, path, value) in [
            ("vsa", "/verificationResult", json!("MAYBE")),
            ("vsa", "/timeVerified", json!("yesterday")),
            ("vsa", "/verifiedLevels", json!([1])),
            ("test-result", "/result", json!("passed")),
            ("vulns", "/scanner/result", json!("none")),
            ("release", "/purl", json!("pkg:pypi/a")),
            ("scai", "/attributes", json!([])),
            ("openvex", "/statements/0/status", json!("unknown")),
            ("openvex", "/statements", json!([])),
        ] {
            let mut bad = least(name);
            *bad.pointer_mut(path).unwrap() = value;
            assert!(PredicateType::named(name).unwrap().check(&bad).is_err(), "{name} {path}");
        }
    }

    #[test]
    fn names_and_uris_lead_to_each_other() {
        for t in PREDICATE_TYPES {
            assert_eq!(PredicateType::named(t.name).unwrap().name, t.name);
            assert_eq!(short_name(&t.uri(&least(t.name))), t.name);
        }
        for (uri, name) in [
            ("https://spdx.dev/Document/v2.3", "spdx"),
            ("https://in-toto.io/attestation/vulns/v0.1", "vulns"),
            ("https://in-toto.io/attestation/scai/v0.3", "scai"),
            ("https://openvex.dev/ns/v0.2.0", "openvex"),
            ("https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v0.2"),
            ("https://slsa.dev/provenance/v1evil", "https://slsa.dev/provenance/v1evil"),
        ] {
            assert_eq!(short_name(uri), name);
        }
        let spdx = PredicateType::named("spdx").unwrap().uri(&least("spdx"));
        assert_eq!(spdx, "https://spdx.dev/Document/v2.3");
    }

    #[test]
    fn only_what_says_that_it_passed_has_passed() {
        let of = |result: &str| outcome(VSA, &json!({"verificationResult": result}));
        assert_eq!(of("PASSED"), Some("passed"));
        assert_eq!(of("FAILED"), Some("failed"));
        assert_eq!(of("passed"), Some("failed"));
        assert_eq!(outcome(TEST_RESULT, &json!({"result": "WARNED"})), Some("warned"));
        assert_eq!(outcome("https://cyclonedx.org/bom", &json!({})), None);
    }
}
