//! Evidence through the real command: `verify-bundle`, `verify`, `provenance`, sources and continuity.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests say why they were skipped, and fail by panicking"
)]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of the shared support"
)]

#[path = "../../evidence/tests/mint/mod.rs"]
mod mint;
mod support;
#[path = "support/pgp.rs"]
mod support_pgp;

use mint::key::KeyPair;
use mint::{ARTIFACT, ISSUER, Kind, Mint, Recipe, Rekor, SUBJECT, Version, b64};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::archives::{integrity, npm_tarball, sha256, wheel, wheel_name};
use support::registries::{Npm, NpmVersion, OLD, PyFile, Pypi};
use support::server::{Reply, Upstream};
use support::{Run, Sandbox, npm, skipped};

/// A shared vector, or nothing, said plainly.
fn shared(what: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let place = std::env::var_os("COUNTERSIGN_SHARED").map_or(beside, PathBuf::from).join(what);
    if !place.exists() {
        eprintln!("skipped: the shared `{what}` is not there; COUNTERSIGN_SHARED names its folder");
        return None;
    }
    Some(place)
}

/// A sandbox with the mint's roots and a bundle.
fn minted(recipe: &Recipe, mint: &Mint) -> Sandbox {
    let s = Sandbox::new();
    s.write("root.json", mint.trusted_root().to_string());
    s.write("bundle.json", mint.bundle(recipe).to_string());
    s.write("key.pub", mint.signer_pem());
    s.write("artifact", ARTIFACT);
    s.write("other", b"another artifact");
    s
}

fn verify_bundle(s: &Sandbox, more: &[&str]) -> i32 {
    let base = ["verify-bundle", "--bundle", "bundle.json", "--trusted-root", "root.json"];
    s.countersign(&[&base[..], more].concat()).code
}

const WHO: [&str; 4] = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER];

#[test]
fn verify_bundle_takes_the_arguments_of_the_conformance_suite() {
    let mint = Mint::new();
    let digest = format!("sha256:{}", sha256(ARTIFACT));
    for (kind, rekor) in [
        (Kind::Message, Rekor::First),
        (Kind::Message, Rekor::Second),
        (Kind::Statement, Rekor::First),
        (Kind::Statement, Rekor::Second),
    ] {
        let s = minted(&Recipe::new(Version::V03, kind, rekor), &mint);
        let with = |who: &[&str], artifact: &str| verify_bundle(&s, &[who, &[artifact]].concat());
        assert_eq!(with(&WHO, "artifact"), 0, "{kind:?} {rekor:?}");
        assert_eq!(with(&WHO, &digest), 0);
        assert_eq!(with(&WHO, "other"), 1);
        assert_eq!(with(&WHO, &format!("sha256:{}", "0".repeat(64))), 1);
        assert_eq!(with(&WHO, "sha256:abc"), 1);
        assert_eq!(with(&WHO, "missing"), 1);
        let other = ["--certificate-identity", "x", "--certificate-oidc-issuer", ISSUER];
        assert_eq!(with(&other, "artifact"), 1);
        let other = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", "x"];
        assert_eq!(with(&other, "artifact"), 1);
        assert_eq!(with(&["--key", "key.pub"], "artifact"), 1, "it was signed with a certificate");
        let base = ["verify-bundle", "--bundle", "bundle.json"];
        let of_sigstore = [&base[..], &WHO[..], &["artifact"]].concat();
        assert_eq!(s.countersign(&of_sigstore).code, 1, "the mint is not Sigstore");
        let staging = [&base[..], &["--staging"], &WHO[..], &["artifact"]].concat();
        assert_eq!(s.countersign(&staging).code, 1);
        assert_ne!(verify_bundle(&s, &["artifact"]), 0, "nobody is named");
    }
}

#[test]
fn verify_bundle_takes_managed_keys() {
    let mint = Mint::new();
    let mut recipe = Recipe::new(Version::V03, Kind::Message, Rekor::First);
    recipe.managed = true;
    let s = minted(&recipe, &mint);
    assert_eq!(verify_bundle(&s, &["--key", "key.pub", "artifact"]), 0);
    assert_eq!(verify_bundle(&s, &["--key", "key.pub", "other"]), 1);
    s.write("other.pub", Mint::new().signer_pem());
    assert_eq!(verify_bundle(&s, &["--key", "other.pub", "artifact"]), 1);
    assert_eq!(verify_bundle(&s, &["--key", "artifact", "artifact"]), 1);
    assert_eq!(verify_bundle(&s, &[&WHO[..], &["artifact"]].concat()), 1);
}

/// A PEP 740 attestation as the bundle that it stands for.
fn as_bundle(attestation: &Path) -> Value {
    let a: Value = serde_json::from_slice(&std::fs::read(attestation).unwrap()).unwrap();
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": a["verification_material"]["certificate"]},
            "tlogEntries": a["verification_material"]["transparency_entries"],
        },
        "dsseEnvelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": a["envelope"]["statement"],
            "signatures": [{"sig": a["envelope"]["signature"]}],
        },
    })
}

#[test]
fn a_real_staging_bundle_fails_against_production_and_holds_against_staging() {
    let name = "vectors/pypi/rfc8785-0.1.2-py3-none-any.whl.publish.attestation";
    let Some(attestation) = shared(name) else { return };
    let s = Sandbox::new();
    s.write("bundle.json", as_bundle(&attestation).to_string());
    let digest = "sha256:c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201";
    // Who signed is in the certificate; the error of a wrong guess names it.
    let guess = |instance: &[&str], subject: &str, issuer: &str| {
        let who = ["--certificate-identity", subject, "--certificate-oidc-issuer", issuer, digest];
        s.countersign(&[&["verify-bundle", "--bundle", "bundle.json"], instance, &who[..]].concat())
    };
    let run = guess(&["--staging"], "nobody", "https://idp.example");
    assert_eq!(run.code, 1);
    let subject =
        run.stderr.split("got ").nth(1).and_then(|t| t.split([' ', '\n']).next()).unwrap();
    let run = guess(&["--staging"], subject, "https://idp.example");
    let issuer = run.stderr.split("got ").nth(1).and_then(|t| t.split([' ', '\n']).next()).unwrap();
    guess(&["--staging"], subject, issuer).expect(0);
    assert_eq!(guess(&[], subject, issuer).code, 1);
}

#[test]
fn verify_explains_a_file_a_folder_and_what_does_not_hold() {
    let Some(vectors) = shared("evidence") else { return };
    let s = Sandbox::new();
    s.write("dist/lib-1.0.0-py3-none-any.whl", wheel("lib", "1.0.0"));
    let run = s.countersign(&["verify", "--evidence", &vectors.display().to_string(), "dist"]);
    assert_eq!(run.code, 3, "{}", run.transcript());
    assert!(run.stdout.contains("there is no evidence"), "{}", run.stdout);
    let digest = sha256(&wheel("lib", "1.0.0"));
    let bad =
        "{\"version\": 1, \"attestation_bundles\": [{\"publisher\": {}, \"attestations\": [{}]}]}";
    s.write(&format!("evidence/{digest}/pep740-provenance.json"), bad);
    let file = "dist/lib-1.0.0-py3-none-any.whl";
    let run = s.countersign(&["verify", "--evidence", "evidence", "--json", file]);
    assert_eq!(run.code, 1, "{}", run.transcript());
    let out: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(out[0]["result"], "invalid");
    assert_eq!(out[0]["sha256"].as_str(), Some(digest.as_str()));
    assert_eq!(s.countersign(&["verify", "missing"]).code, 2);
}

#[test]
fn a_minted_attestation_is_verified_and_explained() {
    let mint = Mint::new();
    let mut recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
    recipe.payload["subject"][0]["name"] = "artifact".into();
    recipe.payload["predicateType"] = "https://slsa.dev/provenance/v1".into();
    recipe.payload["predicate"] = json!({
        "buildDefinition": {"buildType": "https://forge.example/type", "externalParameters": {"a": "b"}},
        "runDetails": {"builder": {"id": "https://forge.example/runner/github-hosted"}},
    });
    let s = minted(&recipe, &mint);
    let place = format!("evidence/{}/sigstore-bundle.json", sha256(ARTIFACT));
    s.write(&place, mint.bundle(&recipe).to_string());
    let args = ["verify", "--trusted-root", "root.json", "--evidence", "evidence", "artifact"];
    let run = s.countersign(&args);
    run.expect(0);
    for line in [
        "artifact: verified",
        "repository:       https://forge.example/o/r (id 12)",
        "SLSA build level: 2",
        "published in:     https://log.example index 103",
        "parameter         a = b",
    ] {
        assert!(run.stdout.contains(line), "{line}\n{}", run.stdout);
    }
}

#[test]
fn files_of_registries_that_are_not_served_are_judged_by_the_user_s_keys() {
    let key = support_pgp::Key::new("Release <release@maven.example>");
    let s = Sandbox::new();
    s.write("library-1.0.jar", "a jar");
    s.write("library-1.0.jar.asc", key.sign("a jar"));
    s.write("signers.asc", key.certificate());
    s.write("others.asc", support_pgp::Key::new("Other <other@maven.example>").certificate());
    let verify = |more: &[&str]| s.countersign(&[&["verify"], more].concat());
    let jar = "library-1.0.jar";
    let run = verify(&["--keyring", "signers.asc", jar]);
    run.expect(0);
    assert!(run.stdout.contains("openpgp: holds (from library-1.0.jar.asc)"), "{}", run.stdout);
    let run = verify(&[jar]);
    assert_eq!(run.code, 3, "{}", run.transcript());
    assert!(run.stdout.contains("--keyring"), "{}", run.stdout);
    let run = verify(&["--keyring", "others.asc", jar]);
    assert_eq!(run.code, 3, "{}", run.transcript());
    s.write(jar, "another jar");
    assert_eq!(verify(&["--keyring", "signers.asc", jar]).code, 1);
    assert_eq!(verify(&["--keyring", "missing.asc", jar]).code, 2);
    assert_eq!(verify(&["--go-sumdb-key", "no key", jar]).code, 2);
}

#[test]
fn an_image_is_verified_by_digest_and_by_whom_the_user_names() {
    let mint = Mint::new();
    let mut recipe = Recipe::new(Version::V03, Kind::Message, Rekor::First);
    recipe.managed = true;
    let s = minted(&recipe, &mint);
    let digest = sha256(ARTIFACT);
    let image = format!("pkg:oci/app@sha256:{digest}?repository_url=registry.example/team/app");
    let base = ["verify", "--trusted-root", "root.json", "--bundle", "bundle.json"];
    let verify = |more: &[&str]| s.countersign(&[&base[..], more].concat());
    let run = verify(&["--key", "key.pub", &image]);
    run.expect(0);
    assert!(run.stdout.contains("cosign: holds (from bundle.json)"), "{}", run.stdout);
    let run = verify(&[&image]);
    assert_eq!(run.code, 3, "{}", run.transcript());
    assert!(run.stdout.contains("nobody is named who must have signed"), "{}", run.stdout);
    s.write("other.pub", Mint::new().signer_pem());
    assert_eq!(verify(&["--key", "other.pub", &image]).code, 1);
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(verify(&["--key", "key.pub", &other]).code, 1);
    assert_eq!(verify(&["--key", "key.pub", "artifact"]).code, 2);
}

#[test]
fn what_a_crate_says_of_itself_is_shown_as_a_claim() {
    let s = Sandbox::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let said = json!({"git": {"sha1": commit, "dirty": true}, "path_in_vcs": "crates/a"});
    let said = said.to_string();
    let files = [(".cargo_vcs_info.json", said.as_bytes())];
    s.write("a-1.0.0.crate", support::archives::cargo_crate("a", "1.0.0", &files));
    let run = s.countersign(&["verify", "a-1.0.0.crate"]);
    assert_eq!(run.code, 3, "a claim is no evidence: {}", run.transcript());
    for line in ["nobody verified", commit, "crates/a", "in no commit", "there is no evidence"] {
        assert!(run.stdout.contains(line), "{line}\n{}", run.stdout);
    }
    let run = s.countersign(&["verify", "--json", "a-1.0.0.crate"]);
    let out: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(out[0]["unverifiedClaims"]["commit"], commit);
    assert_eq!(out[0]["evidence"], json!([]));
}

/// An npm registry that signs what it is told to.
struct Signing<'u> {
    registry: Npm<'u>,
    key: KeyPair,
}

impl<'u> Signing<'u> {
    fn new(up: &'u Upstream) -> Self {
        let key = KeyPair::generate();
        let spki = b64(&key.spki());
        let keys = json!({"keys": [{"keyid": "k", "key": spki, "expires": null}]});
        let registry = Npm::new(up);
        up.put("/-/npm/v1/keys", Reply::ok("application/json", keys.to_string()));
        Self { registry, key }
    }

    fn add(&self, name: &str, version: &str, sign: bool) {
        let tarball = npm_tarball(name, version, json!({}), &[]);
        let integrity = integrity(&tarball);
        let message = format!("{name}@{version}:{integrity}");
        let mut dist = json!({
            "tarball": self.registry.tarball_url(name, version), "integrity": integrity,
        });
        if sign {
            let signature = self.key.sign(message.as_bytes());
            dist["signatures"] = json!([{"keyid": "k", "sig": b64(&signature)}]);
        }
        let more = json!({"dist": dist});
        let version = version.to_owned();
        self.registry.add_version(name, NpmVersion { version, tarball, integrity, age: OLD, more });
    }
}

fn start(registry: &Npm<'_>) -> Option<Sandbox> {
    if skipped("npm with node", npm()) {
        return None;
    }
    let mut s = Sandbox::new();
    s.env("npm_config_registry", registry.url())
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_fetch_retries", "0");
    s.write("package.json", json!({"name": "project", "version": "1.0.0"}).to_string());
    Some(s)
}

fn state_of(run: &Run, label: &str, kind: &str) -> String {
    let evidence = run.artifact(label)["evidence"].as_array().cloned().unwrap_or_default();
    let found = evidence.iter().find(|e| e["kind"] == kind);
    found.map_or_else(|| "none".to_owned(), |e| e["state"].as_str().unwrap().to_owned())
}

#[test]
fn a_signature_that_earlier_versions_had_is_missed_within_a_release_line() {
    let up = Upstream::start();
    let signing = Signing::new(&up);
    signing.add("lib", "1.0.0", true);
    signing.add("lib", "1.0.1", false);
    signing.add("lib", "1.1.0", true);
    signing.add("lib", "2.0.0", false);
    let Some(s) = start(&signing.registry) else { return };
    let run = s.gate(&["npm", "install", "lib@1.0.0"]);
    run.expect(0);
    assert_eq!(state_of(&run, "lib 1.0.0", "npm-signature"), "verified", "{}", run.transcript());
    let run = s.gate(&["npm", "install", "lib@1.0.1"]);
    run.expect(90).expect_stopped(&[("lib 1.0.1", "provenance-lost")]);
    // A line of its own starts with its own ways, and a signed version goes on.
    s.gate(&["npm", "install", "lib@2.0.0"]).expect(0).expect_admitted(&["lib 2.0.0"]);
    s.gate(&["npm", "install", "lib@1.1.0"]).expect(0).expect_admitted(&["lib 1.1.0"]);

    let run = s.countersign(&["provenance", "pkg:npm/lib@1.0.0"]);
    run.expect(0);
    assert!(run.stdout.contains("npm-signature: holds"), "{}", run.stdout);
    let run = s.countersign(&["provenance", "--json", "pkg:npm/lib"]);
    let out: Value = serde_json::from_str(&run.stdout).unwrap();
    let lost = out.as_array().unwrap().iter().find(|d| d["purl"] == "pkg:npm/lib@1.0.1").unwrap();
    assert_eq!(lost["changes"][0]["kind"], "lost");
    assert_eq!(s.countersign(&["provenance", "pkg:npm/lib@2.0.0"]).code, 1);
    assert_eq!(s.countersign(&["provenance", "pkg:npm/other"]).code, 2);
}

#[test]
fn a_release_after_a_year_of_silence_waits_and_the_one_before_is_offered() {
    let up = Upstream::start();
    let registry = Npm::new(&up);
    for (version, age) in [("1.0.0", 24 * 500), ("1.0.1", 24 * 10)] {
        let tarball = npm_tarball("lib", version, json!({}), &[]);
        let integrity = integrity(&tarball);
        let (version, more) = (version.to_owned(), json!({}));
        registry.add_version("lib", NpmVersion { version, tarball, integrity, age, more });
    }
    let Some(s) = start(&registry) else { return };
    s.gate(&["npm", "install", "lib"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    let run = s.gate(&["npm", "install", "lib@1.0.1"]);
    run.expect(91).expect_stopped(&[("lib 1.0.1", "publisher-silent")]);
    assert!(run.transcript().contains("no version was published for 490 days before it"));
}

#[test]
fn a_key_that_was_revoked_or_is_not_pinned_counts_no_more_and_a_recall_says_so() {
    let up = Upstream::start();
    let signing = Signing::new(&up);
    signing.add("lib", "1.0.0", true);
    let Some(s) = start(&signing.registry) else { return };
    s.gate(&["npm", "install", "lib@1.0.0"]).expect(0).expect_admitted(&["lib 1.0.0"]);
    s.countersign(&["recall"]).expect(0);

    // As on another machine: npm has nothing of it.
    let install = || {
        drop(std::fs::remove_dir_all(s.at("home/.npm")));
        drop(std::fs::remove_dir_all(s.work().join("node_modules")));
        drop(std::fs::remove_file(s.work().join("package-lock.json")));
        s.gate(&["npm", "install", "lib@1.0.0"])
    };
    // Another key is pinned: this one does not count, and nobody is accused of anything.
    let digest = format!("sha256:{}", "0".repeat(64));
    s.countersign(&["trust", "pin", "npm/k", &digest]).expect(0);
    let run = install();
    assert_eq!(state_of(&run, "lib 1.0.0", "npm-signature"), "unreachable", "{}", run.transcript());
    s.countersign(&["trust", "pin", "--remove", "npm/k"]).expect(0);

    let revoke = ["trust", "revoke", "npm/k", "--since", "2020-01-01", "--reason", "stolen"];
    s.countersign(&revoke).expect(0).says("revoked since 2020-01-01");
    let run = s.countersign(&["recall"]);
    assert!(run.transcript().contains("key `k` is revoked since 2020"), "{}", run.transcript());
    let run = install();
    run.expect(90).expect_stopped(&[("lib 1.0.0", "evidence-invalid")]);
    assert!(run.transcript().contains("nothing proves that it signed before"));

    let run = s.countersign(&["trust", "show", "npm/k"]);
    run.expect(0);
    for part in ["REVOKED since 2020-01-01", "pinned to sha256:0000", "pin taken away", ": stolen"]
    {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
    s.fsck();
}

/// Canonical JSON as TUF signs it: sorted keys, no white space, only `"` and `\` escaped.
fn canonical(value: &Value) -> String {
    let quoted = |t: &str| format!("\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\""));
    match value {
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            let parts = names.iter().map(|n| format!("{}:{}", quoted(n), canonical(&map[*n])));
            format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => {
            format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A TUF repository in the folder `tuf`, of one key, that holds `document`.
fn tuf_repository(s: &Sandbox, key: &KeyPair, version: u64, document: &str) {
    let signed = |kind: &str, more: Value| {
        let mut signed = json!({"_type": kind, "spec_version": "1.0.31", "version": version,
            "expires": "2999-01-01T00:00:00Z"});
        signed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sig = hex::encode(key.sign(canonical(&signed).as_bytes()));
        json!({"signed": signed, "signatures": [{"keyid": "k", "sig": sig}]}).to_string()
    };
    let role = json!({"keyids": ["k"], "threshold": 1});
    if version == 1 {
        let public = mint::pem("PUBLIC KEY", &key.spki());
        let root = json!({
            "consistent_snapshot": true,
            "keys": {"k": {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256",
                "keyval": {"public": public}}},
            "roles": {"root": role.clone(), "timestamp": role.clone(), "snapshot": role.clone(),
                "targets": role},
        });
        s.write("tuf/1.root.json", signed("root", root));
    }
    let digest = sha256(document.as_bytes());
    let target = json!({"length": document.len(), "hashes": {"sha256": digest}});
    s.write(&format!("tuf/targets/{digest}.trusted_root.json"), document);
    let targets = json!({"targets": {"trusted_root.json": target}});
    s.write(&format!("tuf/{version}.targets.json"), signed("targets", targets));
    let meta = |name: &str| json!({"meta": {name: {"version": version}}});
    s.write(&format!("tuf/{version}.snapshot.json"), signed("snapshot", meta("targets.json")));
    s.write("tuf/timestamp.json", signed("timestamp", meta("snapshot.json")));
}

#[test]
fn a_root_that_was_taken_up_verifies_what_it_stands_for() {
    let mint = Mint::new();
    let mut recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
    recipe.payload["subject"][0]["name"] = "artifact".into();
    let s = minted(&recipe, &mint);
    let place = format!("evidence/{}/sigstore-bundle.json", sha256(ARTIFACT));
    s.write(&place, mint.bundle(&recipe).to_string());
    let verify = ["verify", "--evidence", "evidence", "artifact"];
    // Not by the embedded root: another authority signed it.
    assert_eq!(s.countersign(&verify).code, 1);

    let key = KeyPair::generate();
    tuf_repository(&s, &key, 1, &mint.trusted_root().to_string());
    let run = s.countersign(&["trust", "update", "--from", "tuf"]);
    assert!(run.code == 2 && run.stderr.contains("needs a TUF root"), "{}", run.transcript());
    let update = ["trust", "update", "--from", "tuf"];
    s.countersign(&[&update[..], &["--root", "tuf/1.root.json"]].concat()).expect(0);
    s.countersign(&verify).expect(0);
    s.countersign(&["trust", "update", "--offline"]).expect(0).says("the same as of now");

    // Pinned: the repository's next root is not taken up.
    s.countersign(&["trust", "pin", "sigstore"]).expect(0);
    tuf_repository(&s, &key, 2, &Mint::new().trusted_root().to_string());
    let run = s.countersign(&update);
    assert!(run.code == 2 && run.stderr.contains("is pinned"), "{}", run.transcript());
    s.countersign(&verify).expect(0);
    s.countersign(&["trust", "pin", "--remove", "sigstore"]).expect(0);
    s.countersign(&update).expect(0).says("another one as of now");
    assert_eq!(s.countersign(&verify).code, 1);

    // By another key the repository says nothing.
    tuf_repository(&s, &KeyPair::generate(), 3, &mint.trusted_root().to_string());
    let run = s.countersign(&update);
    assert_eq!(run.code, 93, "{}", run.transcript());
    assert!(run.stderr.contains("0 of the 1 signatures"), "{}", run.stderr);
    s.fsck();
}

#[test]
fn what_a_revoked_root_signed_before_holds_and_what_it_signed_after_does_not() {
    let mint = Mint::new();
    let mut recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
    recipe.payload["subject"][0]["name"] = "artifact".into();
    let s = minted(&recipe, &mint);
    let place = format!("evidence/{}/sigstore-bundle.json", sha256(ARTIFACT));
    s.write(&place, mint.bundle(&recipe).to_string());
    tuf_repository(&s, &KeyPair::generate(), 1, &mint.trusted_root().to_string());
    let root = ["--root", "tuf/1.root.json"];
    s.countersign(&[&["trust", "update", "--from", "tuf"][..], &root].concat()).expect(0);
    let verify = ["verify", "--evidence", "evidence", "artifact"];
    let revoke = |seconds: i64| {
        let since = countersign_core::Timestamp(seconds).to_string();
        let args = ["trust", "revoke", "sigstore", "--since", &since, "--reason", "x"];
        s.countersign(&args).expect(0);
    };
    revoke(mint::AT + mint::DAY);
    s.countersign(&verify).expect(0);
    revoke(mint::AT - mint::DAY);
    assert_eq!(s.countersign(&verify).code, 1);
}

#[test]
fn a_root_that_is_too_old_verifies_nothing_and_accuses_nobody() {
    let mint = Mint::new();
    let mut recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
    recipe.payload["subject"][0]["name"] = "artifact".into();
    let mut s = minted(&recipe, &mint);
    let place = format!("evidence/{}/sigstore-bundle.json", sha256(ARTIFACT));
    s.write(&place, mint.bundle(&recipe).to_string());
    let verify = ["verify", "--evidence", "evidence", "artifact"];
    // By the embedded root it does not hold; by one that is too old nothing can be said.
    assert_eq!(s.countersign(&verify).code, 1);
    s.config("[trust]\nmax-age-days = 1\n");
    let run = s.countersign(&verify);
    assert_eq!(run.code, 3, "{}", run.transcript());
    assert!(run.stdout.contains("days old, and may be 1"), "{}", run.stdout);
}

#[test]
fn a_signature_over_another_version_is_refused() {
    let up = Upstream::start();
    let signing = Signing::new(&up);
    signing.add("lib", "1.0.0", true);
    let other = Signing { registry: Npm::new(&up), key: KeyPair::generate() };
    other.add("lib", "1.0.0", true);
    let Some(s) = start(&signing.registry) else { return };
    let run = s.gate(&["npm", "install", "lib@1.0.0"]);
    run.expect(90).expect_stopped(&[("lib 1.0.0", "evidence-invalid")]);
}

#[test]
fn a_tree_of_evidence_is_asked_by_digest_and_a_silent_one_is_said() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let bytes = wheel("lib", "1.0.0");
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), bytes.clone(), OLD));
    let Some((s, _venv)) = support::pip_sandbox(&index) else { return };
    let tree = Upstream::start();
    let place = |root: &str| format!("{root}/{}/pep740-provenance.json", sha256(&bytes));
    let ask = |root: &str, folder: &str| {
        s.gate_with(
            &["--evidence", &tree.url(root)],
            &["pip", "download", "--no-cache-dir", "--no-deps", "-d", folder, "lib"],
            b"",
        )
    };
    // Nothing there: absent, and no harm. That is remembered for a while.
    for folder in ["first", "second"] {
        let run = ask("/tree", folder);
        run.expect(0);
        assert_eq!(state_of(&run, "lib 1.0.0", "pep740"), "absent", "{}", run.transcript());
        assert_eq!(tree.count(&place("/tree")), 1);
    }
    // A failing source: there may be some. It is asked again.
    tree.put(&place("/failing"), Reply::error(500));
    for folder in ["third", "fourth"] {
        let before = tree.count(&place("/failing"));
        let run = ask("/failing", folder);
        run.expect(0);
        let state = state_of(&run, "lib 1.0.0", "pep740-provenance");
        assert_eq!(state, "unreachable", "{}", run.transcript());
        assert!(tree.count(&place("/failing")) > before);
    }
    // What does not hold.
    tree.put(&place("/broken"), Reply::ok("application/json", "{}"));
    ask("/broken", "fifth").expect(90).expect_stopped(&[("lib 1.0.0", "evidence-invalid")]);
}
