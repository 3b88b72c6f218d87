use super::*;
use proptest::prelude::*;
use serde_json::json;

fn manifest(version: &str) -> Value {
    json!({
        "name": "demo", "version": version, "extra": {"kept": [1, 2.5, null]},
        "dist": {"tarball": format!("https://registry.example/demo/-/demo-{version}.tgz"),
                 "shasum": "0".repeat(40)},
    })
}

fn document(versions: &[&str], latest: &str) -> Value {
    let time: Map<String, Value> =
        versions.iter().map(|v| ((*v).to_owned(), "2024-01-01T00:00:00.000Z".into())).collect();
    let mut time = Value::Object(time);
    time["created"] = "2020-01-01T00:00:00.000Z".into();
    time["modified"] = "2024-06-01T00:00:00.000Z".into();
    let versions: Map<String, Value> =
        versions.iter().map(|v| ((*v).to_owned(), manifest(v))).collect();
    json!({"name": "demo", "dist-tags": {"latest": latest, "next": "3.0.0-rc.1"},
           "versions": versions, "time": time, "readme": "kept"})
}

/// A document lives as long as its text: the tests' texts are short, and stay.
fn parse(value: &Value) -> Result<Packument<'static>, IndexError> {
    Packument::parse(value.to_string().into_bytes().leak(), &IndexLimits::default())
}

const VERSIONS: [&str; 5] = ["1.0.0", "2.0.0", "1.9.0", "3.0.0-rc.1", "2.1.0"];

#[test]
fn a_version_is_read_with_all_its_fields() {
    let mut value = document(&["1.0.0"], "1.0.0");
    let version = &mut value["versions"]["1.0.0"];
    let integrity = format!("sha512-{}==", "A".repeat(86));
    version["dist"]["integrity"] = integrity.into();
    version["dist"]["attestations"] = json!({"url": "https://registry.example/a"});
    version["dist"]["signatures"] = json!([{"keyid": "k", "sig": "s"}, {"keyid": 1}]);
    version["deprecated"] = "use\u{1b} other".into();
    version["scripts"] = json!({"postinstall": "node x"});
    version["repository"] = json!({"type": "git", "url": "git+https://git.example/d"});
    let packument = parse(&value).unwrap();
    assert!(packument.is_full());
    assert_eq!(packument.modified(), Timestamp::parse("2024-06-01T00:00:00Z"));
    let v = packument.versions().pop().unwrap();
    assert_eq!(v.tarball.unwrap().path(), "/demo/-/demo-1.0.0.tgz");
    assert_eq!(v.integrity[0].algorithm(), Algorithm::Sha512);
    assert!(v.shasum.is_some());
    assert_eq!(v.deprecated.as_deref(), Some("use  other"));
    assert_eq!(v.published, Timestamp::parse("2024-01-01T00:00:00Z"));
    assert_eq!(v.attestations_url.as_deref(), Some("https://registry.example/a"));
    assert_eq!(v.signatures, [("k".to_owned(), "s".to_owned())]);
    assert!(v.has_install_script);
    assert_eq!(v.repository.as_deref(), Some("git+https://git.example/d"));
}

#[test]
fn latest_moves_to_what_is_left() {
    for (latest, kept, want) in [
        ("2.1.0", &["1.0.0", "2.0.0", "2.1.0"][..], Some("2.1.0")),
        ("2.1.0", &["1.0.0", "2.0.0", "3.0.0-rc.1"], Some("2.0.0")),
        ("1.9.0", &["1.0.0", "2.0.0", "2.1.0"], Some("1.0.0")),
        ("1.0.0", &["2.0.0", "2.1.0", "3.0.0-rc.1"], Some("2.1.0")),
        ("2.1.0", &["3.0.0-rc.1"], Some("3.0.0-rc.1")),
        ("2.1.0", &[], None),
    ] {
        let mut packument = parse(&document(&VERSIONS, latest)).unwrap();
        packument.retain(|v| kept.contains(&v));
        assert_eq!(packument.dist_tag("latest"), want, "{latest} {kept:?}");
        let next = kept.contains(&"3.0.0-rc.1").then_some("3.0.0-rc.1");
        assert_eq!(packument.dist_tag("next"), next);
        let written: Value = serde_json::from_slice(&packument.to_bytes()).unwrap();
        let times = written["time"].as_object().unwrap();
        assert_eq!(times.len(), kept.len() + 2, "created and modified stay");
    }
}

#[test]
fn what_is_not_read_is_kept() {
    let value = document(&VERSIONS, "2.1.0");
    let mut packument = parse(&value).unwrap();
    packument.retain(|_| true);
    let again: Value = serde_json::from_slice(&packument.to_bytes()).unwrap();
    assert_eq!(again, value);
    let keys: Vec<_> = again["versions"].as_object().unwrap().keys().collect();
    assert_eq!(keys, VERSIONS);
}

#[test]
fn contradictory_versions_are_taken_out() {
    for (path, bad) in [
        ("/name", json!("other")),
        ("/version", json!("9.9.9")),
        ("/name", json!(null)),
        ("/dist", json!("x")),
        ("", json!([])),
    ] {
        let mut value = document(&VERSIONS, "2.1.0");
        *value["versions"]["2.1.0"].pointer_mut(path).unwrap() = bad;
        let packument = parse(&value).unwrap();
        assert_eq!(packument.rejected(), 1, "{path}");
        assert_eq!(packument.dist_tag("latest"), Some("2.0.0"), "{path}");
    }
    let mut value = document(&VERSIONS, "2.1.0");
    value["versions"]["latest"] = manifest("latest");
    assert_eq!(parse(&value).unwrap().rejected(), 1);
}

#[test]
fn tarballs_are_rewritten_or_their_version_goes() {
    let mut value = document(&VERSIONS, "2.1.0");
    value["versions"]["2.1.0"]["dist"]["tarball"] = "file:///etc/passwd".into();
    let mut packument = parse(&value).unwrap();
    packument
        .rewrite_tarballs(|v| Some(format!("http://127.0.0.1:1{}", v.tarball.as_ref()?.path())));
    let versions = packument.versions();
    assert_eq!(versions.len(), 4);
    assert!(versions.iter().all(|v| v.tarball.as_ref().unwrap().host_str() == Some("127.0.0.1")));
    assert_eq!(packument.dist_tag("latest"), Some("2.0.0"));
}

#[test]
fn what_is_no_packument_is_an_error() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"name":"demo"}"#,
        r#"{"name":"../x","versions":{}}"#,
        r#"{"name":"demo","versions":[]}"#,
        r#"{"name":"demo","versions":{},"dist-tags":{"a":1}}"#,
        r#"{"name":"demo","versions":{},"time":"x"}"#,
    ] {
        let got = Packument::parse(text.as_bytes(), &IndexLimits::default());
        assert!(matches!(got, Err(IndexError::Malformed { .. })), "{text}");
    }
    let limits = IndexLimits { max_entries: 4, ..IndexLimits::default() };
    let text = document(&VERSIONS, "1.0.0").to_string();
    let got = Packument::parse(text.as_bytes(), &limits);
    assert!(matches!(got, Err(IndexError::TooManyEntries { .. })));
}

proptest! {
    #[test]
    fn tags_never_point_at_removed_versions(kept in prop::collection::vec(any::<bool>(), 5), latest in 0usize..5) {
        let mut packument = parse(&document(&VERSIONS, VERSIONS[latest])).unwrap();
        packument.retain(|v| VERSIONS.iter().position(|w| *w == v).is_some_and(|i| kept[i]));
        let written = packument.to_bytes();
        let again = Packument::parse(&written, &IndexLimits::default()).unwrap();
        let versions = again.versions();
        for tag in ["latest", "next"] {
            if let Some(target) = again.dist_tag(tag) {
                prop_assert!(versions.iter().any(|v| v.version == target));
            }
        }
        prop_assert_eq!(again.dist_tag("latest").is_some(), !versions.is_empty());
    }
}

#[test]
fn the_short_form_has_what_installing_needs() {
    let mut value = document(&VERSIONS, "2.0.0");
    value["versions"]["2.0.0"]["scripts"] = json!({"postinstall": "node x", "test": "node y"});
    value["versions"]["2.0.0"]["dependencies"] = json!({"other": "^1"});
    value["versions"]["2.0.0"]["readme"] = "long".into();
    let mut packument = parse(&value).unwrap();
    packument.restrict(&[("9.0.0".to_owned(), "refused: too new".to_owned())]);
    let short: Value = serde_json::from_slice(&packument.to_abbreviated_bytes()).unwrap();
    let top: Vec<&str> = short.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(top, ["name", "dist-tags", "policyRestrictions", "modified", "versions"]);
    assert_eq!(short["modified"], "2024-06-01T00:00:00.000Z");
    let version = &short["versions"]["2.0.0"];
    assert_eq!(version["hasInstallScript"], true);
    assert_eq!(version["dependencies"]["other"], "^1");
    assert_eq!(version["dist"]["shasum"], "0".repeat(40));
    assert!(version.get("scripts").is_none() && version.get("readme").is_none());
    assert!(short["versions"]["1.0.0"].get("hasInstallScript").is_none());
    let again = parse(&short).unwrap();
    assert_eq!(again.versions().len(), VERSIONS.len());
    assert!(!again.is_full());
}

#[test]
fn refused_versions_are_told_with_their_reasons() {
    let mut packument = parse(&document(&["1.0.0"], "1.0.0")).unwrap();
    packument.restrict(&[]);
    assert!(!String::from_utf8(packument.to_bytes()).unwrap().contains("policyRestrictions"));
    let mut refused: Vec<(String, String)> =
        (0..20).map(|i| (format!("2.0.{i}"), format!("because {}", i / 2))).collect();
    refused.extend((0..4).map(|i| (format!("1.0.{i}"), format!("why {i}"))));
    packument.restrict(&refused);
    let full: Value = serde_json::from_slice(&packument.to_bytes()).unwrap();
    let restrictions = &full["policyRestrictions"];
    assert_eq!(restrictions["versions"].as_object().unwrap().len(), 24);
    let of = &restrictions["versions"]["2.0.3"];
    assert_eq!((&of["name"], &of["version"]), (&"demo".into(), &"2.0.3".into()));
    assert_eq!(of["reason"], "because 1");
    let message = restrictions["message"].as_str().unwrap();
    assert!(message.starts_with("1.0.3: why 3\n1.0.2: why 2\n"), "{message}");
    assert!(message.contains("\n2.0.18 to 2.0.19 (2 versions): because 9\n"), "{message}");
    assert!(message.ends_with("and 4 older versions"), "{message}");
}

#[test]
fn a_key_that_stands_twice_reaches_nobody_twice() {
    let text = r#"{"name":"demo","versions":{"1.0.0":{"dist":{"tarball":"https://a.example/x.tgz",
        "tarball":"https://registry.example/demo-1.0.0.tgz"},"version":"9.9.9","version":"1.0.0",
        "dist":{"tarball":"https://registry.example/demo-1.0.0.tgz","shasum":1}}}}"#;
    let mut packument = Packument::parse(text.as_bytes(), &IndexLimits::default()).unwrap();
    assert_eq!(packument.rejected(), 0);
    packument
        .rewrite_tarballs(|v| Some(format!("https://gate.example{}", v.tarball.as_ref()?.path())));
    for written in [packument.to_bytes(), packument.to_abbreviated_bytes()] {
        let written = String::from_utf8(written).unwrap();
        assert_eq!(written.matches("tarball").count(), 1, "{written}");
        assert!(written.contains("https://gate.example/demo-1.0.0.tgz"), "{written}");
        assert_eq!(written.matches("\"version\"").count(), 1, "{written}");
    }
    assert_eq!(packument.versions()[0].tarball.as_ref().unwrap().host_str(), Some("gate.example"));
}
