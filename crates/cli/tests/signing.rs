//! Signing through the real command: keys, attestations, and the gate that counts them.

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

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use support::archives::{sha256, wheel, wheel_name};
use support::registries::{OLD, PyFile, Pypi};
use support::server::Upstream;
use support::{Run, Sandbox, which};

const PASSED: &str = r#"{"result": "PASSED", "configuration": []}"#;
const FAILED: &str = r#"{"result": "FAILED", "configuration": []}"#;

/// What the organisation's key `qa` counts for.
const QA: &str =
    "[[key]]\nname = \"qa\"\nattests = [\"test-result\"]\npackages = [\"pkg:pypi/*\"]\n";

/// Wants a test result by `qa` for everything of PyPI.
const POLICY: &str = r#"
@id("acme.tested")
@verdict("hold")
@reason("evidence-missing")
@message("our testers have not passed it")
forbid (principal, action == Action::"install", resource)
unless { resource.attested.contains("qa test-result") && resource.attested_failed.isEmpty() };
"#;

/// A sandbox with a passphrase, a package's file and two test results.
fn sandbox() -> Sandbox {
    let mut s = Sandbox::new();
    prepare(&mut s);
    s
}

fn prepare(s: &mut Sandbox) {
    s.env("COUNTERSIGN_PASSPHRASE", "correct horse");
    s.write(&wheel_name("lib", "1.0.0"), wheel("lib", "1.0.0"));
    s.write("passed.json", PASSED);
    s.write("failed.json", FAILED);
}

const PURL: [&str; 2] = ["--purl", "pkg:pypi/lib@1.0.0"];

fn attest_version(s: &Sandbox, predicate: &str, more: &[&str]) -> Run {
    attest(s, predicate, &[&PURL[..], more].concat())
}

fn attest(s: &Sandbox, predicate: &str, more: &[&str]) -> Run {
    let file = wheel_name("lib", "1.0.0");
    let base = ["attest", file.as_str(), "--type", "test-result", "--predicate", predicate];
    s.countersign(&[&base[..], more].concat())
}

fn verify(s: &Sandbox, more: &[&str]) -> (i32, Value) {
    let file = wheel_name("lib", "1.0.0");
    let base =
        ["verify", file.as_str(), "--purl", "pkg:pypi/lib@1.0.0", "--evidence", "ev", "--json"];
    let run = s.countersign(&[&base[..], more].concat());
    let out: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.transcript()));
    (run.code, out[0].clone())
}

fn keys(s: &Sandbox) -> Vec<Value> {
    let run = s.countersign(&["key", "list", "--json"]);
    run.expect(0);
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn a_key_is_made_signs_and_counts_for_what_it_is_named_for() {
    let mut s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0).says("[[key]]").says("ledger entry 0");
    attest(&s, "passed.json", &["--to", "ev"]).expect(0).says("attested by qa");
    // No entry of the configuration says what the key is for.
    let (code, found) = verify(&s, &[]);
    assert_eq!((code, found["result"].as_str().unwrap()), (3, "not-judged"), "{found}");
    s.config(QA);
    let (code, found) = verify(&s, &[]);
    assert_eq!((code, found["result"].as_str().unwrap()), (0, "verified"), "{found}");
    let claim = &found["evidence"][0]["claim"];
    assert_eq!(claim["signer"], "qa");
    assert_eq!(claim["attested"]["predicate"], "test-result");
    assert_eq!(claim["attested"]["outcome"], "passed");
    assert_eq!(claim["attested"]["key"], keys(&s)[0]["id"]);
    assert!(claim["signed_at"].is_string(), "the ledger noted when: {claim}");
    let file = wheel_name("lib", "1.0.0");
    s.countersign(&["verify", &file, "--purl", "pkg:pypi/lib@1.0.0", "--evidence", "ev"])
        .expect(0)
        .says("signed by:        qa")
        .says("the ledger of this gate, which noted the time");
    // Of another package, the key says nothing.
    let other = ["verify", &file, "--purl", "pkg:npm/lib@1.0.0", "--evidence", "ev"];
    s.countersign(&other).expect(3).says("may not attest");
    s.fsck();
}

#[test]
fn others_verify_with_the_public_key_alone() {
    let s = sandbox();
    for algorithm in ["ed25519", "ecdsa-p256"] {
        let name = algorithm;
        s.countersign(&["key", "generate", name, "--algorithm", algorithm]).expect(0);
        let pem = s.countersign(&["key", "show", name, "--pem"]).stdout;
        let key = s.write("key.pub", &pem).display().to_string();
        let file = wheel_name("lib", "1.0.0");
        let beside = format!("{file}.sigstore.json");
        attest(&s, "passed.json", &["--key", name, "--bundle", "-o", &beside]).expect(0);
        // Somewhere else, without this store and its configuration.
        let mut verify = s.countersign_command(&["verify", &file, "--key", &key]);
        verify.env("COUNTERSIGN_STATE", s.at("elsewhere"));
        let run = support::finish(verify, b"", s.deadline);
        run.expect(0).says("test-result").says("no log vouches for the time");

        let bundle = std::fs::read_to_string(s.work().join(&beside)).unwrap();
        let bundle: Value = serde_json::from_str(&bundle).unwrap();
        let envelope = &bundle["dsseEnvelope"];
        let bytes = |v: &Value| BASE64_STANDARD.decode(v.as_str().unwrap()).unwrap();
        let payload = bytes(&envelope["payload"]);
        let kind = envelope["payloadType"].as_str().unwrap();
        let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
        s.write("signed", [head.as_bytes(), &payload].concat());
        s.write("sig", bytes(&envelope["signatures"][0]["sig"]));
        let args: &[&str] = match algorithm {
            "ed25519" => &[
                "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "signed",
                "-sigfile", "sig",
            ],
            _ => &["dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "signed"],
        };
        match which("openssl") {
            Some(openssl) => {
                let run = support::finish(s.command(&openssl, args), b"", s.deadline);
                run.expect(0);
            }
            None => eprintln!("skipped: there is no openssl"),
        }
        std::fs::remove_file(s.work().join(&beside)).unwrap();
    }
}

#[test]
fn what_does_not_hold_is_told_from_what_nobody_knows() {
    let mut s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0);
    s.config(QA);
    attest_version(&s, "passed.json", &["--to", "ev"]).expect(0);
    let place = s.work().join("ev").join(sha256(&wheel("lib", "1.0.0")));
    let file = place.join("attestations.intoto.jsonl");
    let good = std::fs::read_to_string(&file).unwrap();
    let mut altered: Value = serde_json::from_str(&good).unwrap();
    let payload = altered["payload"].as_str().unwrap().to_owned();
    let text = String::from_utf8(BASE64_STANDARD.decode(payload).unwrap()).unwrap();
    altered["payload"] = BASE64_STANDARD.encode(text.replace("PASSED", "WARNED")).into();
    std::fs::write(&file, altered.to_string()).unwrap();
    let (code, found) = verify(&s, &[]);
    assert_eq!((code, found["evidence"][0]["state"].as_str()), (1, Some("invalid")), "{found}");
    // The same under an id that nobody knows proves nothing, and is not refused for it.
    altered["signatures"][0]["keyid"] = "somebody".into();
    std::fs::write(&file, altered.to_string()).unwrap();
    let (code, found) = verify(&s, &[]);
    assert_eq!((code, found["evidence"][0]["state"].as_str()), (3, Some("unreachable")), "{found}");
    // Beside one that holds it takes nothing away.
    std::fs::write(&file, format!("{good}{altered}\n")).unwrap();
    assert_eq!(verify(&s, &[]).0, 0);
}

#[test]
fn a_passphrase_is_asked_for_nowhere_without_a_terminal() {
    let mut s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0);
    s.env("COUNTERSIGN_PASSPHRASE", "wrong horse");
    attest(&s, "passed.json", &[]).expect(2).says("the passphrase does not open the key");
    let pass = s.write("pass", "correct horse\nand more\n").display().to_string();
    attest(&s, "passed.json", &["--passphrase-file", &pass, "-o", "a"]).expect(0);
    attest(&s, "passed.json", &["--passphrase-command", "head -1 pass", "-o", "a"]).expect(0);
    attest(&s, "passed.json", &["--passphrase-command", "false"]).expect(2);
    s.env("COUNTERSIGN_PASSPHRASE", "");
    attest(&s, "passed.json", &[]).expect(2).says("COUNTERSIGN_PASSPHRASE is empty");
    s = sandbox_without_passphrase(s);
    attest(&s, "passed.json", &[]).expect(2).says("no terminal").says("--passphrase-file");
    s.countersign(&["key", "generate", "other"]).expect(2).says("no terminal");
    assert_eq!(keys(&s).len(), 1, "nothing was made");
}

/// The sandbox with no passphrase in its environment.
fn sandbox_without_passphrase(mut s: Sandbox) -> Sandbox {
    s.unset("COUNTERSIGN_PASSPHRASE");
    s
}

#[test]
fn a_rotation_overlaps_and_a_revocation_takes_back_what_came_after() {
    let mut s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0);
    s.config(QA);
    attest_version(&s, "passed.json", &["--to", "ev"]).expect(0);
    s.countersign(&["key", "rotate", "qa"]).expect(0).says("ends at");
    let all = keys(&s);
    assert_eq!(all[0]["state"], "active", "both sign for a while");
    assert_eq!(all[1]["state"], "active");
    assert_eq!(all[1]["replaces"], all[0]["id"]);
    assert_eq!(verify(&s, &[]).0, 0);
    // The newer one signs now.
    attest_version(&s, "passed.json", &["--to", "ev"])
        .expect(0)
        .says(all[1]["id"].as_str().unwrap());
    // Windows are in whole seconds, and end before the second that they name.
    std::thread::sleep(Duration::from_millis(1100));
    s.countersign(&["key", "rotate", "qa", "--overlap-days", "0"]).expect(0);
    assert_eq!(keys(&s)[1]["state"], "ended");
    // What it signed before it ended was noted in time.
    let (code, found) = verify(&s, &[]);
    assert_eq!((code, found["evidence"].as_array().unwrap().len()), (0, 2), "{found}");
    // A key that is revoked as of now keeps what was noted before.
    let ids: Vec<String> = keys(&s).iter().map(|k| k["id"].as_str().unwrap().to_owned()).collect();
    std::thread::sleep(Duration::from_millis(1100));
    s.countersign(&["key", "revoke", "qa", "--reason", "x"]).expect(2).says(&ids[0]);
    s.countersign(&["key", "revoke", &ids[1], "--reason", "laptop stolen"]).expect(0);
    assert_eq!(verify(&s, &[]).0, 0);
    // As of an earlier time, it counts as the thief's.
    let earlier = ["key", "revoke", &ids[1], "--reason", "x", "--since", "2020-01-01T00:00:00Z"];
    s.countersign(&earlier).expect(0);
    let (code, found) = verify(&s, &[]);
    assert_eq!(code, 1, "{found}");
    let because = found["evidence"][1]["because"].as_str().unwrap();
    assert!(because.contains("was revoked as of 2020-01-01"), "{because}");
    attest(&s, "passed.json", &["--key", &ids[1]]).expect(2).says("revoked");
    s.countersign(&["key", "list"]).expect(0).says("revoked").says("active");
    s.countersign(&["ledger", "search", "--kind", "urn:countersign:signing-key:v1"])
        .expect(0)
        .says(&ids[1]);
    s.fsck();
}

#[test]
fn predicates_are_held_to_their_types_before_anything_is_signed() {
    let s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0);
    s.write("empty.json", "{}");
    s.write("twice.json", r#"{"result": "PASSED", "result": "FAILED", "configuration": []}"#);
    let file = wheel_name("lib", "1.0.0");
    let kinds = [
        "slsaprovenance1",
        "vsa",
        "test-result",
        "vulns",
        "release",
        "scai",
        "link",
        "cyclonedx",
        "spdx",
        "openvex",
    ];
    for kind in kinds {
        let args = ["attest", &file, "--type", kind, "--predicate", "empty.json"];
        s.countersign(&args).expect(2).says(kind);
    }
    s.countersign(&["attest", &file, "--type", "sbom", "--predicate", "empty.json"])
        .expect(2)
        .says("cyclonedx");
    attest(&s, "twice.json", &[]).expect(2).says("twice.json");
    attest(&s, "nowhere.json", &[]).expect(2).says("nowhere.json");
    s.countersign(&["attest", "sha256:00", "--type", "link", "--predicate", "empty.json"])
        .expect(2);
    let digest = format!("sha256:{}", "ab".repeat(32));
    let unknown = ["attest", &digest, "--type", "urn:acme:review", "--predicate", "empty.json"];
    s.countersign(&unknown).expect(2).says("--name");
    let named = [&unknown[..], &["--name", "acme.tgz", "-o", "out"]].concat();
    s.countersign(&named).expect(0);
    let out: Value =
        serde_json::from_str(&std::fs::read_to_string(s.work().join("out")).unwrap()).unwrap();
    let payload = BASE64_STANDARD.decode(out["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], "ab".repeat(32));
    assert_eq!(statement["predicateType"], "urn:acme:review");
}

#[test]
fn a_key_signs_nothing_that_the_configuration_does_not_name_it_for() {
    let mut s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0);
    s.config(QA);
    s.write("link.json", r#"{"name": "build"}"#);
    let file = wheel_name("lib", "1.0.0");
    let args = ["attest", &file, "--type", "link", "--predicate", "link.json"];
    let with = |purl: &str| s.countersign(&[&args[..], &["--purl", purl]].concat());
    with("pkg:pypi/lib@1.0.0").expect(2).says("may not attest");
    attest(&s, "passed.json", &["--purl", "pkg:npm/lib@1.0.0"]).expect(2).says("may not attest");
    attest(&s, "passed.json", &["--purl", "pkg:pypi/lib@1.0.0"]).expect(0);
    s.config("[[key]]\nname = \"nobody\"\nattests = \"*\"\npackages = \"*\"\n");
    attest(&s, "passed.json", &[]).expect(2).says("no key of this store");
    s.config("[[key]]\nname = \"qa\"\nattests = \"tests\"\n");
    attest(&s, "passed.json", &[]).expect(2).says("`tests` is no predicate type").says("packages");
}

/// The gate holds what nobody tested, admits what was tested, and refuses what was forged.
#[test]
fn the_gate_counts_what_the_organisation_attests() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let bytes = wheel("lib", "1.0.0");
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), bytes.clone(), OLD));
    let Some((mut s, _venv)) = support::pip_sandbox(&index) else { return };
    prepare(&mut s);
    s.countersign(&["key", "generate", "qa"]).expect(0);
    s.config(QA);
    s.write("policy/policy.toml", "extends = \"baseline\"\n");
    s.write("policy/tested.cedar", POLICY);
    s.countersign(&["policy", "check", "policy"]).expect(0);
    std::fs::create_dir(s.work().join("ev")).unwrap();
    let install = |folder: &str| {
        let options = ["--policy", "policy", "--evidence", "ev"];
        s.gate_with(&options, &["pip", "install", "--no-deps", "--target", folder, "lib"], b"")
    };
    install("a").expect(91).expect_stopped(&[("lib 1.0.0", "evidence-missing")]);

    let purl = ["--purl", "pkg:pypi/lib@1.0.0", "--to", "ev"];
    attest(&s, "failed.json", &purl).expect(0);
    install("b").expect(91).expect_stopped(&[("lib 1.0.0", "evidence-missing")]);

    let place = s.work().join("ev").join(sha256(&bytes));
    let file = place.join("attestations.intoto.jsonl");
    std::fs::remove_file(&file).unwrap();
    attest(&s, "passed.json", &purl).expect(0);
    let run = install("c");
    run.expect(0).expect_admitted(&["lib 1.0.0"]);
    let evidence = run.artifact("lib 1.0.0")["evidence"].clone();
    let kept = evidence.as_array().unwrap().iter().find(|e| e["kind"] == "attestation").unwrap();
    assert_eq!(kept["state"], "verified");
    assert_eq!(kept["claim"]["attested"]["outcome"], "passed");
    s.countersign(&["provenance", "pkg:pypi/lib@1.0.0"])
        .expect(0)
        .says("in short:         test-result");

    // A signature that does not hold is refused, and no waiver lifts it.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut forged: Value = serde_json::from_str(&text).unwrap();
    forged["signatures"][0]["sig"] = BASE64_STANDARD.encode([0; 64]).into();
    std::fs::write(&file, forged.to_string()).unwrap();
    install("d").expect(90).expect_stopped(&[("lib 1.0.0", "evidence-invalid")]);
    // The key's change and the configuration's are in the ledger.
    s.countersign(&["ledger", "search", "--kind", "urn:countersign:signing-key:v1"])
        .expect(0)
        .says("sha256:");
    s.fsck();
}

/// What the gate admitted it countersigns, in a form that others take, and nothing else.
#[test]
fn the_gate_countersigns_what_it_admitted() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), wheel("lib", "1.0.0"), OLD));
    index.add("bad", PyFile::new(&wheel_name("bad", "1.0.0"), wheel("bad", "1.0.0"), OLD));
    let Some((mut s, _venv)) = support::pip_sandbox(&index) else { return };
    prepare(&mut s);
    s.countersign(&["key", "generate", "gate"]).expect(0);
    s.config("deny = [\"pkg:pypi/bad\"]\n[[key]]\nname = \"gate\"\nattests = \"vsa\"\npackages = \"*\"\n");
    s.gate(&["pip", "install", "--no-deps", "lib"]).expect(0);
    s.gate(&["pip", "install", "--no-deps", "bad==1.0.0"]).expect(90);
    s.countersign(&["attest", "--vsa", "pkg:pypi/bad@1.0.0"]).expect(2);
    s.countersign(&["attest", "--vsa", "pkg:pypi/other@1.0.0"]).expect(2).says("no decision");

    let out = format!("{}.sigstore.json", wheel_name("lib", "1.0.0"));
    s.countersign(&["attest", "--vsa", "pkg:pypi/lib@1.0.0", "--bundle", "-o", &out]).expect(0);
    let bundle = std::fs::read_to_string(s.work().join(&out)).unwrap();
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    let hint = bundle["verificationMaterial"]["publicKey"]["hint"].as_str().unwrap();
    let id = keys(&s)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(format!("sha256:{}", hex::encode(BASE64_STANDARD.decode(hint).unwrap())), id);
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let statement: Value =
        serde_json::from_slice(&BASE64_STANDARD.decode(payload).unwrap()).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/verification_summary/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], sha256(&wheel("lib", "1.0.0")));
    let predicate = &statement["predicate"];
    assert_eq!(predicate["verificationResult"], "PASSED");
    assert_eq!(predicate["resourceUri"], "pkg:pypi/lib@1.0.0");
    assert_eq!(predicate.get("countersign"), None, "what is only ours stays with the ledger");
    let file = wheel_name("lib", "1.0.0");
    s.countersign(&["verify", &file, "--purl", "pkg:pypi/lib@1.0.0"]).expect(0).says("vsa");
    let digest = format!("sha256:{}", sha256(&wheel("lib", "1.0.0")));
    s.countersign(&["attest", "--vsa", &digest]).expect(0).says("ledger entry");
    s.countersign(&["attest", "--vsa", &file]).expect(0);
    // A policy that only records decides nothing.
    let policy = ["--policy", "audit"];
    s.gate_with(&policy, &["pip", "install", "--no-deps", "--target", "again", "lib"], b"")
        .expect(0);
    s.countersign(&["attest", "--vsa", &digest]).expect(2).says("only records");
}

/// ssh-agent, ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn keys_of_ssh_agent_sign_without_leaving_it() {
    let (Some(agent), Some(add), Some(keygen)) =
        (which("ssh-agent"), which("ssh-add"), which("ssh-keygen"))
    else {
        eprintln!("skipped: there is no ssh-agent");
        return;
    };
    let mut s = sandbox_without_passphrase(sandbox());
    let socket = s.at("agent.sock");
    let child = s
        .command(&agent, &["-D", "-a", &socket.display().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _ended = Ended(child);
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    s.countersign(&["key", "add", "alice", "--agent", "alice"]).expect(2).says("SSH_AUTH_SOCK");
    s.env("SSH_AUTH_SOCK", &socket);
    for kind in ["ed25519", "ecdsa"] {
        let key = s.at(kind).display().to_string();
        let make = ["-q", "-t", kind, "-N", "", "-C", kind, "-f", &key];
        support::finish(s.command(&keygen, &make), b"", s.deadline).expect(0);
        support::finish(s.command(&add, &["-q", &key]), b"", s.deadline).expect(0);
        s.countersign(&["key", "add", kind, "--agent", kind]).expect(0).says("(agent)");
        attest(&s, "passed.json", &["--key", kind, "--to", "ev"]).expect(0);
    }
    s.countersign(&["key", "add", "bob", "--agent", "bob"]).expect(2).says("ed25519");
    s.config("[[key]]\nname = \"ecdsa\"\nattests = \"*\"\npackages = \"*\"\n[[key]]\nname = \"ed25519\"\nattests = \"*\"\npackages = \"*\"\n");
    let (code, found) = verify(&s, &[]);
    assert_eq!((code, found["evidence"].as_array().unwrap().len()), (0, 2), "{found}");
}

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

#[test]
fn keys_of_a_token_sign_without_leaving_it() {
    let Some(util) = which("softhsm2-util").filter(|_| Path::new(SOFTHSM).is_file()) else {
        eprintln!("skipped: there is no SoftHSM (package softhsm2)");
        return;
    };
    let mut s = sandbox();
    let tokens = s.at("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = s.at("softhsm2.conf");
    std::fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    s.env("SOFTHSM2_CONF", &conf).env("COUNTERSIGN_PASSPHRASE", "pin-of-the-token");
    let init = [
        "--init-token",
        "--free",
        "--label",
        "build",
        "--pin",
        "pin-of-the-token",
        "--so-pin",
        "12345",
    ];
    support::finish(s.command(&util, &init), b"", s.deadline).expect(0);
    let uri = format!("pkcs11:token=build;object=release?module-path={SOFTHSM}");
    let make = ["key", "generate", "release", "--algorithm", "p256", "--token", &uri];
    s.countersign(&make).expect(0).says("pkcs11:token=build");
    s.countersign(&make).expect(2).says("already");
    attest(&s, "passed.json", &["--to", "ev"]).expect(0);
    s.env("COUNTERSIGN_PASSPHRASE", "1234");
    attest(&s, "passed.json", &[]).expect(2).says("does not open the key");
    s.config("[[key]]\nname = \"release\"\nattests = \"*\"\npackages = \"*\"\n");
    assert_eq!(verify(&s, &[]).0, 0);
    s.expect_nowhere("pin-of-the-token", &[]);
}

#[test]
fn a_key_file_is_its_owner_s_alone_and_holds_no_plain_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let s = sandbox();
    s.countersign(&["key", "generate", "qa"]).expect(0);
    let held: Vec<_> = std::fs::read_dir(s.state().join("keys"))
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("qa-"))
        .collect();
    let [file] = held.as_slice() else { panic!("{held:?}") };
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    // The file of another key is not taken for this one.
    s.countersign(&["key", "generate", "other"]).expect(0);
    let other = std::fs::read_dir(s.state().join("keys")).unwrap().flatten().map(|e| e.path());
    let other = { other }.find(|p| p.file_name().unwrap().to_string_lossy().starts_with("other-"));
    std::fs::copy(other.unwrap(), file).unwrap();
    attest(&s, "passed.json", &["--key", "qa"]).expect(2).says("holds key");
}

#[test]
fn a_store_without_a_key_says_what_to_do() {
    let s = sandbox();
    attest(&s, "passed.json", &[]).expect(2).says("countersign init");
    s.countersign(&["init"]).expect(0);
    attest(&s, "passed.json", &[]).expect(2).says("countersign key generate");
    s.countersign(&["key", "list"]).expect(0).says("no signing keys");
    s.countersign(&["key", "generate", "bad/name"]).expect(2).says("no name of a key");
    s.countersign(&["key", "show", "qa"]).expect(2);
    s.countersign(&["key", "rotate", "qa"]).expect(2);
    s.countersign(&["key", "revoke", "qa", "--reason", "x"]).expect(2);
}
