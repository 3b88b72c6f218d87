//! What of the ledger is shown to whom: the published folder, and auditors over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests say why they were skipped, and fail by panicking"
)]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of the shared support"
)]

#[path = "../../ledger/tests/spec_reader/mod.rs"]
mod spec_reader;
mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use support::registries::{OLD, Pypi};
use support::server::Upstream;
use support::serving::{Serving, get};
use support::{Sandbox, files_below, pip_sandbox as start};

fn key(s: &Sandbox) -> String {
    s.countersign(&["ledger", "key"]).expect(0).stdout.trim().to_owned()
}

/// A published folder as a web server would give it out.
fn site(folder: &Path) -> spec_reader::Site {
    let files = files_below(folder).into_iter();
    let name = |p: &Path| p.strip_prefix(folder).unwrap().display().to_string();
    files.map(|p| (name(&p), std::fs::read(&p).unwrap())).collect()
}

/// The statements that lie beside the bundles, each with its line.
fn statements(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("statement/000.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn payload(envelope: &Value) -> Value {
    let bytes = BASE64_STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

const RULES: &str = r#"
permit (principal == Role::"owner", action, resource);
permit (principal == Role::"auditor", action, resource) unless { resource.kind == "incident" };
permit (principal == Role::"public", action, resource)
    when { ["tree", "scan"].contains(resource.kind) };
@redact("/predicate/owner /predicate/reason")
permit (principal == Role::"public", action, resource) when { resource.kind == "waiver" };
"#;

/// A policy folder with a disclosure policy of its own.
fn policy(s: &Sandbox, rules: &str) -> String {
    let folder = s.at("policy");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.toml"), "extends = \"baseline\"\n").unwrap();
    std::fs::write(folder.join("disclosure.cedar"), rules).unwrap();
    folder.display().to_string()
}

fn waive(s: &Sandbox) {
    let words = ["--rule", "r", "--reason", "TICKET-7", "--owner", "ada", "--days", "3"];
    s.countersign(&[&["waive", "pkg:pypi/lib@1.0.0"][..], &words].concat()).expect(0);
}

#[test]
fn the_public_log_shows_what_the_policy_shows_and_every_reader_accepts_it() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("other", "1.0.0", OLD);
    let Some((s, _venv)) = start(&index) else { return };
    s.gate(&["pip", "download", "-d", "out", "lib"]).expect(0);
    waive(&s);
    let (public, out) = (s.at("public"), s.at("public").display().to_string());
    let folder = policy(&s, RULES);
    let publish =
        |folder: &str| s.countersign(&["ledger", "publish", "-o", &out, "--policy", folder]);
    publish(&folder).expect(0).says("5 entries; 1 statements in clear, 1 in part, 3 withheld");

    // A reader that was written from the specifications alone.
    let site = site(&public);
    let note = String::from_utf8(site["checkpoint"].clone()).unwrap();
    let head = spec_reader::head(&note, &key(&s), &[]).unwrap();
    let entries = spec_reader::read_all(&site, head.size).unwrap();
    let leaves: Vec<_> = entries.iter().map(|e| spec_reader::leaf(e)).collect();
    assert_eq!((leaves.len(), spec_reader::mth(&leaves)), (5, head.root));

    let lines = statements(&public);
    for (line, entry) in lines.iter().zip(&entries) {
        assert_eq!(line["entry"], hex::encode(entry));
        // In clear: the salt and the envelope open what the tree holds, as docs/ledger.md says.
        let Some(salt) = line["salt"].as_str() else { continue };
        let envelope = serde_json::to_string(&line["envelope"]).unwrap();
        let members = ["payloadType", "payload", "signatures"].map(|m| envelope.find(m).unwrap());
        let ordered = format!(
            "{{\"payloadType\":{},\"payload\":{},\"signatures\":[{{\"keyid\":{},\"sig\":{}}}]}}",
            line["envelope"]["payloadType"],
            line["envelope"]["payload"],
            line["envelope"]["signatures"][0]["keyid"],
            line["envelope"]["signatures"][0]["sig"],
        );
        assert_eq!(members.len(), 3);
        let mut bytes = b"countersign/ledger-entry/v1\n".to_vec();
        bytes.extend(hex::decode(salt).unwrap());
        bytes.extend(Sha256::digest(ordered));
        assert_eq!(Sha256::digest(&bytes).as_slice(), entry.as_slice());
    }
    let scan = payload(&lines[2]["envelope"]);
    assert_eq!(scan["predicateType"], "urn:countersign:scan:v1");
    let waiver = payload(&lines[4]["redacted"]);
    let left = &waiver["predicate"]["statement"]["predicate"];
    assert_eq!((&left["rule"], &left["owner"]), (&"r".into(), &Value::Null));
    let removed = &waiver["predicate"]["removed"];
    assert_eq!(removed.as_array().unwrap().len(), 3, "{removed}");
    assert_eq!(waiver["predicate"]["statement"]["subject"][0]["digest"], Value::Null);
    for (name, bytes) in &site {
        let text = String::from_utf8_lossy(bytes);
        let decoded: String = text
            .lines()
            .filter_map(|l| {
                let line: Value = serde_json::from_str(l).ok()?;
                let shown = line.get("envelope").or(line.get("redacted"))?;
                shown.get("payload")?;
                Some(payload(shown).to_string())
            })
            .collect();
        for secret in ["TICKET-7", "\"ada\""] {
            assert!(!text.contains(secret) && !decoded.contains(secret), "{name}: {secret}");
        }
    }

    // The monitor accepts it, follows as it grows, and alarms when a statement was bent.
    let (key, seen) = (key(&s), s.at("seen").display().to_string());
    let watch = || s.countersign(&["ledger", "monitor", &out, "--key", &key, "--seen", &seen]);
    watch().expect(0).says("2 published statements");
    s.gate(&["pip", "download", "-d", "out", "other"]).expect(0);
    publish(&folder).expect(0).says("9 entries");
    watch().expect(0).says("continues the 5");
    std::fs::remove_file(&seen).unwrap();
    let file = public.join("statement/000.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [("\"salt\":\"", "\"salt\":\"00"), ("\"index\":4", "\"index\":3")] {
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        watch().expect(1).says("ALARM");
    }
    let swapped: Vec<&str> = text.lines().collect();
    let as_other = swapped[4].replace("\"index\":4", "\"index\":8");
    let moved = text.replace(swapped[8], &as_other);
    std::fs::write(&file, moved).unwrap();
    watch().expect(1).says("ALARM");

    // Another ledger does not go into the same folder; a policy with a typo goes nowhere.
    let other = Sandbox::new();
    other.countersign(&["init"]).expect(0);
    waive(&other);
    other.countersign(&["ledger", "publish", "-o", &out]).expect(94).says("holds another ledger");
    let typo = policy(&s, "permit (principal, action, resource) when { resource.kin == \"x\" };");
    publish(&typo).expect(2).says("disclosure.cedar");
}

fn token(name: &str, role: &str) -> String {
    let digest = hex::encode(Sha256::digest(name));
    let role = if role == "client" { String::new() } else { format!("role = \"{role}\"\n") };
    format!("[[serve.tokens]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{role}")
}

fn body(answer: &str) -> Value {
    let text = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

#[test]
fn auditors_read_over_http_and_each_read_is_recorded() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let mut s = Sandbox::new();
    let folder = policy(&s, RULES);
    let tokens = ["client", "auditor", "owner"].map(|r| token(&format!("the-{r}"), r)).concat();
    s.config(&format!(
        "policy = \"{folder}\"\n[[upstream]]\necosystem = \"pypi\"\nname = \"pypi\"\nurl = \"{}\"\n{tokens}",
        index.url()
    ));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let (client, auditor, owner) = (Some("the-client"), Some("the-auditor"), Some("the-owner"));
    let wheel = "/pypi/files/lib/lib-1.0.0-py3-none-any.whl";
    assert_eq!(get(&address, wheel, client).0, 200);
    assert_eq!(get(&address, wheel, auditor).0, 403, "auditors do not install");
    waive(&s);
    s.countersign(&["incident", "open", "secret"]).expect(0);

    // Entries: 0 first-seen, 1 evidence, 2 scan, 3 decision, 4 waiver, 5 incident.
    for (path, public, for_client, for_auditor, for_owner) in [
        ("/ledger/checkpoint", 200, 200, 200, 200),
        ("/ledger/tile/0/000.p/6", 200, 200, 200, 200),
        ("/ledger/proof/3", 200, 200, 200, 200),
        ("/ledger/entry/2", 200, 200, 200, 200),
        ("/ledger/receipt/2", 200, 200, 200, 200),
        ("/ledger/entry/4", 200, 200, 200, 200),
        ("/ledger/receipt/4", 401, 403, 200, 200),
        ("/ledger/entry/3", 401, 403, 200, 200),
        ("/ledger/entry/5", 401, 403, 403, 200),
        ("/ledger/entries", 401, 403, 200, 200),
        ("/ledger/search?text=lib", 401, 403, 200, 200),
        ("/ledger/entry/99", 404, 404, 404, 404),
        ("/ledger/keys/ledger.pem", 404, 404, 404, 404),
        ("/ledger/tile/../store.sqlite", 400, 400, 400, 400),
    ] {
        for (token, want) in
            [(None, public), (client, for_client), (auditor, for_auditor), (owner, for_owner)]
        {
            let (status, text) = get(&address, path, token);
            assert_eq!(status, want, "{path} for {token:?}:\n{text}");
        }
    }
    assert_eq!(get(&address, "/ledger/entry/2", Some("wrong")).0, 401);

    let reads = || {
        let run = s.countersign(&["ledger", "search", "--kind", "read", "--json", "--limit", "99"]);
        let read = |l: &str| serde_json::from_str::<Value>(l).unwrap();
        run.stdout.lines().map(read).collect::<Vec<_>>()
    };
    let before = reads();
    // The auditor's: entries 4 and 3, receipt 4, the list and the search; the owner's: one more, the
    // incident. What is public is no read that is recorded.
    let of = |name: &str| before.iter().filter(|r| r["subject"] == name).count();
    assert_eq!((of("the-auditor"), of("the-owner")), (5, 6), "{before:?}");
    for path in ["/ledger/entry/3", "/ledger/receipt/4"] {
        assert_eq!(get(&address, path, auditor).0, 200);
    }
    assert_eq!(reads().len(), before.len(), "the same read is recorded once an hour");
    let shown = s.countersign(&["ledger", "show", &before[0]["index"].to_string()]);
    shown.expect(0).says("127.0.0.1").says("\"entries\"");

    // What is shown in part is shown so to whoever sees no more; what is withheld is counted.
    let part = body(&get(&address, "/ledger/entry/4", client).1);
    assert!(part["redacted"]["payload"].is_string() && part["salt"].is_null(), "{part}");
    assert!(body(&get(&address, "/ledger/entry/4", auditor).1)["salt"].is_string());
    let all = body(&get(&address, "/ledger/entries?from=0&limit=6", auditor).1);
    assert_eq!((all["entries"].as_array().unwrap().len(), &all["withheld"]), (5, &1.into()));

    // A receipt that was fetched so is a receipt.
    let receipt = get(&address, "/ledger/receipt/3", auditor).1;
    let file = s.write("r.json", receipt.split_once("\r\n\r\n").unwrap().1);
    let key = key(&s);
    let file = file.display().to_string();
    s.countersign(&["verify", "receipt", &file, "--key", &key]).expect(0).says("admit");
    // And the log is one that is followed over the network.
    let seen = s.at("seen").display().to_string();
    let log = format!("http://{address}/ledger");
    s.countersign(&["ledger", "monitor", &log, "--key", &key, "--seen", &seen]).expect(0);
    gateway.end();
    s.fsck();
}

#[test]
fn a_report_names_its_entries_and_calls_nothing_met_without_them() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("bad", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.config("deny = [\"pkg:pypi/bad*\"]\n");
    s.gate(&["pip", "download", "-d", "out", "lib"]).expect(0);
    assert_ne!(s.gate(&["pip", "download", "-d", "out", "bad==1.0.0"]).code, 0);
    waive(&s);
    let reason = "<script>alert(1)</script>";
    s.countersign(&["incident", "open", reason, "--about", "pkg:pypi/lib"]).expect(0);
    let (html, json) = (s.at("r.html"), s.at("r.json"));
    let made = |format: &str, out: &Path, more: &[&str]| {
        let out = out.display().to_string();
        let words = ["report", "--since", "1d", "--format", format, "-o", &out];
        s.countersign(&[&words[..], more].concat())
    };
    made("html", &html, &[]).expect(0).says("1 artifacts");
    made("json", &json, &[]).expect(0);
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(!page.contains("<script"), "no scripts, and no text that becomes one");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    for text in ["TICKET-7", "prefers-color-scheme: dark", "@media print", "no evidence"] {
        assert!(page.contains(text), "{text}");
    }
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let line = &report["ecosystems"][0];
    assert_eq!((&line["ecosystem"], &line["admitted"]), (&"pypi".into(), &1.into()));
    assert_eq!(report["stopped"][0]["reason"], "denied");
    assert_eq!(report["waivers"][0]["owner"], "ada");
    // What was not recorded is no evidence; what was has entries.
    let frameworks = report["frameworks"].as_array().unwrap();
    let controls = frameworks.iter().flat_map(|f| f["controls"].as_array().unwrap());
    for c in controls.clone().filter(|c| c["state"] == "met") {
        assert_ne!(c["proof"]["count"], 0, "{c}");
    }
    let state = |id: &str| controls.clone().find(|c| c["id"] == id).unwrap()["state"].clone();
    assert_eq!(state("AUD-3"), "met");
    assert_eq!(state("REB-1"), "no evidence");
    assert_eq!(state("RV.1.1"), "no evidence", "there are no feeds");
    assert_eq!(state("AUD-1"), "not met", "nothing has provenance");

    // The proofs lead to the signed checkpoint of the report.
    let note = report["ledger"]["checkpoint"].as_str().unwrap();
    let head = spec_reader::head(note, &key(&s), &[]).unwrap();
    let site = site(&s.state().join("ledger"));
    let entries = spec_reader::read_all(&site, head.size).unwrap();
    let leaves: Vec<_> = entries.iter().map(|e| spec_reader::leaf(e)).collect();
    let proofs = report["proofs"].as_object().unwrap();
    assert!(!proofs.is_empty());
    for (index, proof) in proofs {
        let at: usize = index.parse().unwrap();
        assert_eq!(proof["entry"], hex::encode(&entries[at]));
        let path = spec_reader::path(at, &leaves);
        let wanted: Vec<String> = path.iter().map(|h| BASE64_STANDARD.encode(h)).collect();
        assert_eq!(proof["inclusionProof"], serde_json::json!(wanted));
    }

    // A mapping of one's own; one that names nothing is refused with what there is.
    let mine = "[[framework]]\nname = \"Mine\"\n[[framework.control]]\nid = \"M-1\"\ntext = \"x\"\nmeasures = [\"waivers\"]\n";
    let mapping = s.write("mine.toml", mine).display().to_string();
    made("json", &json, &["--mapping", &mapping]).expect(0).says("of 1 requirements 1 met");
    let typo = s.write("typo.toml", mine.replace("waivers", "wavers")).display().to_string();
    made("json", &json, &["--mapping", &typo]).expect(2).says("wavers").says("provenance");
    s.countersign(&["report", "--print-mapping"]).expect(0).says("S2C2F");
    s.countersign(&["report", "--since", "1d", "--until", "2d"]).expect(2);
}
