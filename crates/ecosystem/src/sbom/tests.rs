//! What is written is read back, in both forms, and relations follow the lock files.

use super::*;
use crate::inventory::{Format, parse};
use countersign_core::Algorithm;
use serde_json::Value;

fn bom(format: Format, text: &str) -> Bom {
    let listed = parse(format, text.as_bytes()).unwrap().listed;
    Bom::of_list(
        "lock",
        ("countersign", "1"),
        Timestamp(0),
        &[(listed.clone(), relations(format, text, &listed))],
    )
}

fn needs(bom: &Bom) -> Vec<String> {
    let label = |i: usize| bom.components[i].purl.label();
    bom.needs.iter().map(|(a, b)| format!("{} -> {}", label(*a), label(*b))).collect()
}

const CARGO: &str = r#"
version = 4
[[package]]
name = "a"
version = "1.0.0"
source = "registry+https://index.example"
checksum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
dependencies = ["b 2.0.0", "c"]
[[package]]
name = "b"
version = "1.0.0"
source = "registry+https://index.example"
[[package]]
name = "b"
version = "2.0.0"
source = "registry+https://index.example"
dependencies = ["b 1.0.0"]
[[package]]
name = "c"
version = "1.0.0"
source = "registry+https://index.example"
"#;

#[test]
fn relations_follow_the_lock_files() {
    let cargo = bom(Format::CargoLock, CARGO);
    assert_eq!(needs(&cargo), ["a 1.0.0 -> b 2.0.0", "a 1.0.0 -> c 1.0.0", "b 2.0.0 -> b 1.0.0"]);
    let npm = r#"{"lockfileVersion": 3, "packages": {
        "": {"dependencies": {"a": "1"}},
        "node_modules/a": {"version": "1.0.0", "dependencies": {"b": "^1", "@s/c": "*"}},
        "node_modules/a/node_modules/b": {"version": "1.0.0", "dependencies": {"@s/c": "*", "gone": "*"}},
        "node_modules/b": {"version": "2.0.0"},
        "node_modules/@s/c": {"version": "1.0.0", "peerDependencies": {"b": "2"}, "dev": true}}}"#;
    assert_eq!(
        needs(&bom(Format::PackageLock, npm)),
        [
            "a 1.0.0 -> b 1.0.0",
            "a 1.0.0 -> @s/c 1.0.0",
            "b 1.0.0 -> @s/c 1.0.0",
            "@s/c 1.0.0 -> b 2.0.0"
        ]
    );
}

#[test]
fn both_forms_are_read_back_as_they_were_written() {
    let digest = |n: u8| ExpectedDigest::from_bytes(Algorithm::Sha256, vec![n; 32]).unwrap();
    let listed = |purl: &str, source: Option<(&str, &str)>, release: Option<&str>| Listed {
        purl: purl.parse().unwrap(),
        files: [1, 2]
            .map(|n| crate::inventory::ListedFile { name: None, digests: vec![digest(n)] })
            .to_vec(),
        line: None,
        from: None,
        source: source.map(|(n, v)| (n.to_owned(), v.to_owned())),
        release: release.map(str::to_owned),
        dev: false,
    };
    let all = vec![
        listed("pkg:pypi/flask@3.0.0", None, None),
        listed("pkg:npm/%40a/b@1.0.0", None, None),
        listed("pkg:maven/org.example/core@1.0", None, None),
        listed("pkg:golang/golang.example/x/net@v1.0.0", None, None),
        listed("pkg:deb/debian/libc6@2.36-9?arch=amd64", Some(("glibc", "2.36-9")), Some("12")),
        listed("pkg:deb/debian/libx@1.0-1+b1", Some(("x", "1.0-1")), Some("12")),
    ];
    let mut bom =
        Bom::of_list("all", ("countersign", "1"), Timestamp(0), &[(all.clone(), vec![(0, 1)])]);
    bom.components[0].declared = vec!["BSD-3-Clause".to_owned()];
    bom.components[0].found = vec!["BSD-3-Clause".to_owned()];
    bom.components[0].supplier = Some("https://repo.example/flask".to_owned());
    for (form, format) in
        [(BomFormat::CycloneDx, Format::CycloneDx), (BomFormat::Spdx, Format::Spdx)]
    {
        let text = bom.write(form);
        let read = parse(format, text.as_bytes()).unwrap();
        let of = |l: &Listed| {
            let mut digests: Vec<String> =
                l.files.iter().flat_map(|f| &f.digests).map(ToString::to_string).collect();
            digests.sort();
            (l.purl.clone(), digests, l.source.clone(), l.release.clone())
        };
        let mut want: Vec<_> = all.iter().map(of).collect();
        let mut got: Vec<_> = read.listed.iter().map(of).collect();
        want.sort();
        got.sort();
        assert_eq!(got, want, "{format:?}\n{text}");
        assert_eq!(text, bom.write(form));
    }
}

#[test]
fn the_forms_have_what_their_specifications_demand() {
    let bom = bom(Format::CargoLock, CARGO);
    let cyclonedx: Value = serde_json::from_str(&bom.write(BomFormat::CycloneDx)).unwrap();
    assert_eq!(cyclonedx["specVersion"], "1.6");
    let of = |r: &str| {
        let all = cyclonedx["dependencies"].as_array().unwrap();
        all.iter().find(|d| d["ref"] == r).unwrap()["dependsOn"].as_array().unwrap().len()
    };
    assert_eq!((of("subject"), of("pkg:cargo/a@1.0.0")), (1, 2));
    assert_eq!(cyclonedx["components"][0]["hashes"][0]["alg"], "SHA-256");
    let spdx: Value = serde_json::from_str(&bom.write(BomFormat::Spdx)).unwrap();
    for key in ["spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"]
    {
        assert!(!spdx[key].is_null(), "{key}");
    }
    assert_eq!(spdx["relationships"][0]["relationshipType"], "DESCRIBES");
    assert_eq!(spdx["relationships"].as_array().unwrap().len(), 5);
    assert_eq!(spdx["packages"][1]["checksums"][0]["algorithm"], "SHA256");
}
