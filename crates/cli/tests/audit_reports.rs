//! `countersign audit`: reports for programs, what the ledger adds, and the real feeds.

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

mod support;

use serde_json::Value;
use std::path::PathBuf;
use support::archives::{sha256, wheel, wheel_name, wheel_with};
use support::registries::{OLD, PyFile, Pypi, advisory};
use support::server::Upstream;
use support::{Run, Sandbox, pip_sandbox};

fn audit(s: &Sandbox, args: &[&str]) -> Run {
    let all: Vec<&str> = std::iter::once("audit")
        .chain(args.iter().copied())
        .chain(s.options.iter().map(String::as_str))
        .collect();
    let mut run = s.countersign(&all);
    run.report = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
    run
}

/// A lock file with a vulnerable, a malicious, a clean and an unknown version.
fn mixed() -> Sandbox {
    let mut s = Sandbox::new();
    s.advisory(&advisory("CVE-2026-1", "npm", "@s/vuln", &["1.0.0"], "HIGH"));
    s.advisory(&advisory("MAL-2026-2", "npm", "evil", &[], ""));
    let names = ["@s/vuln", "evil", "good"];
    let entry = |n: &&str| format!("\"node_modules/{n}\": {{\"version\": \"1.0.0\"}}");
    let all: Vec<String> = names.iter().map(entry).collect();
    let text = format!(
        "{{\"lockfileVersion\": 3, \"packages\": {{\n{},\n\"node_modules/g\": {{\"version\": \"git+https://git.example/g\"}}}}}}",
        all.join(",\n")
    );
    s.write("a b/package-lock.json", text);
    s.write("Cargo.lock", "version = 99\n");
    s
}

#[test]
fn sarif_names_file_line_and_rule() {
    let s = mixed();
    let file = s.at("out.sarif").display().to_string();
    let run = audit(&s, &["--format", "sarif", "--report", &file]);
    run.expect(90);
    assert_eq!(run.stdout, "");
    run.says("countersign: 3 versions in 2 places: 2 refused").says("NOT CHECKED: Cargo.lock");
    let sarif: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let of = &sarif["runs"][0];
    let results = of["results"].as_array().unwrap();
    let got: Vec<_> = results
        .iter()
        .map(|r| {
            let place = &r["locations"][0]["physicalLocation"];
            let line = place["region"]["startLine"].as_u64().unwrap();
            let text = |v: &Value| v.as_str().unwrap().to_owned();
            (text(&r["ruleId"]), text(&r["level"]), text(&place["artifactLocation"]["uri"]), line)
        })
        .collect();
    let path = "a%20b/package-lock.json".to_owned();
    let error = |id: &str, line| (id.to_owned(), "error".to_owned(), path.clone(), line);
    assert_eq!(got, [error("CVE-2026-1", 2), error("MAL-2026-2", 3)]);
    let rules = of["tool"]["driver"]["rules"].as_array().unwrap();
    for r in results {
        let index = usize::try_from(r["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], r["ruleId"]);
    }
    assert_eq!(rules[1]["properties"]["security-severity"], "10.0");
    let invocation = &of["invocations"][0];
    assert_eq!(
        (&invocation["executionSuccessful"], &invocation["exitCode"]),
        (&false.into(), &90.into())
    );
    let noted = invocation["toolExecutionNotifications"].to_string();
    assert!(noted.contains("Cargo.lock") && noted.contains("versions up to 4"), "{noted}");
}

#[test]
fn junit_counts_failures_and_errors() {
    let s = mixed();
    let run = audit(&s, &["--format", "junit"]);
    run.expect(90);
    for want in [
        "<testsuites name=\"countersign audit\" tests=\"5\" failures=\"2\" errors=\"1\" skipped=\"1\">",
        "<testsuite name=\"a b/package-lock.json\" tests=\"4\" failures=\"2\" errors=\"0\" skipped=\"1\">",
        "<testcase classname=\"a b/package-lock.json\" name=\"good 1.0.0\"/>",
        "<failure type=\"known-malicious\" message=\"baseline.known-malicious: MAL-2026-2",
        "<error type=\"not-read\" message=\"it is malformed at `version`",
        "<skipped message=\"it is a git checkout\">",
    ] {
        assert!(run.stdout.contains(want), "`{want}` is missing\n{}", run.transcript());
    }
    // Every element that is opened is closed.
    let count = |what: &str| run.stdout.matches(what).count();
    for element in ["testsuites", "testsuite", "failure", "error", "skipped"] {
        let opened = count(&format!("<{element} "));
        assert_eq!(opened, count(&format!("</{element}>")), "{element}");
    }
}

#[test]
fn cyclonedx_holds_components_and_vulnerabilities() {
    let s = mixed();
    let run = audit(&s, &["--format", "cyclonedx"]);
    run.expect(90);
    let bom = &run.report;
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    let components = bom["components"].as_array().unwrap();
    assert_eq!(components.len(), 3);
    assert_eq!((&components[0]["group"], &components[0]["name"]), (&"@s".into(), &"vuln".into()));
    let vulnerabilities = bom["vulnerabilities"].as_array().unwrap();
    assert_eq!(vulnerabilities.len(), 2);
    assert_eq!(vulnerabilities[0]["affects"][0]["ref"], components[0]["bom-ref"]);
    assert_eq!(vulnerabilities[0]["ratings"][0]["severity"], "high");
    assert_eq!(vulnerabilities[1]["cwes"], serde_json::json!([506]));
    assert!(bom["properties"].to_string().contains("countersign:not-checked"));
    // What it writes it can read.
    s.write("own/bom.json", &run.stdout);
    let again = audit(&s, &["own", "--format", "json"]);
    again.expect(90);
    let counts = &again.report["counts"];
    assert_eq!((&counts["versions"], &counts["refused"]), (&3.into(), &2.into()));
}

/// A `uv.lock` that names one file of `lib 1.0.0` with this digest.
fn lock(s: &Sandbox, bytes: &[u8]) {
    let file = wheel_name("lib", "1.0.0");
    s.write("uv.lock", format!("version = 1\n[[package]]\nname = \"lib\"\nversion = \"1.0.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\nwheels = [{{ url = \"https://files.example/{file}\", hash = \"sha256:{}\" }}]\n", sha256(bytes)));
}

#[test]
fn a_digest_that_contradicts_the_admitted_one_is_a_finding() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = pip_sandbox(&index) else { return };
    s.advisory(&advisory("CVE-2026-9", "PyPI", "other", &["1.0.0"], "HIGH"));
    s.gate(&["pip", "install", "lib"]).expect(0);
    let ledger = s.ledger();
    let (entries, admitted) = (ledger.len(), ledger[0]["index"].clone());
    assert!(admitted.is_u64(), "{ledger:?}");
    // The file that was admitted.
    lock(&s, &wheel("lib", "1.0.0"));
    let run = audit(&s, &["uv.lock", "--format", "json"]);
    run.expect(0);
    let before = &run.report["documents"][0]["versions"][0]["before"][0];
    assert_eq!(
        (&before["verdict"], &before["ledger_index"]),
        (&"admit".into(), &admitted),
        "{}",
        run.transcript()
    );
    // `strict` wants to know the age, and the ledger knows it.
    let strict = audit(&s, &["uv.lock", "--format", "json", "--policy", "strict"]);
    assert_eq!(
        strict.report["documents"][0]["versions"][0]["not_checked"],
        serde_json::json!([]),
        "{}",
        strict.transcript()
    );
    // Another file under the same name and version; no policy can allow it.
    lock(&s, b"something else");
    for policy in ["baseline", "audit"] {
        let run = audit(&s, &["uv.lock", "--policy", policy]);
        run.expect(90).says("gate.digest-changed").says("other bytes");
    }
    // What was admitted then, and is known to be bad now.
    lock(&s, &wheel("lib", "1.0.0"));
    s.advisory(&advisory("MAL-2026-9", "PyPI", "lib", &["1.0.0"], ""));
    audit(&s, &["uv.lock"]).expect(90).says("baseline.known-malicious");
    assert_eq!(s.ledger().len(), entries, "the audit recorded something");
    s.fsck();
}

#[test]
fn an_earlier_refusal_of_the_same_bytes_is_shown() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    let attack = wheel_with("lib", "1.0.0", &[("../../escape.py", b"x = 1\n")], &[]);
    index.add("lib", PyFile::new(&wheel_name("lib", "1.0.0"), attack.clone(), OLD));
    let Some((mut s, _venv)) = pip_sandbox(&index) else { return };
    s.advisory(&advisory("CVE-2026-9", "PyPI", "other", &["1.0.0"], "HIGH"));
    s.gate(&["pip", "install", "lib"]).expect(90);
    // The bytes are those that were scanned then: no network is needed to know them.
    lock(&s, &attack);
    let run = audit(&s, &["uv.lock"]);
    run.expect(90).says("baseline.archive-unsafe").says("had refuse before").says("structure.");
    // Today's waiver counts for them as it does at the gate.
    let digest = format!("sha256:{}", sha256(&attack));
    let waive =
        ["waive", &digest, "--rule", "baseline.archive-unsafe", "--reason", "test", "--days", "3"];
    s.countersign(&waive).expect(0);
    audit(&s, &["uv.lock"]).expect(0);
}

fn shared_feeds() -> Option<PathBuf> {
    let root = std::env::var_os("COUNTERSIGN_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let feeds = root.join("feeds");
    if feeds.join("npm.zip").is_file() {
        return Some(feeds);
    }
    eprintln!("skipped: no feeds in the shared folder");
    None
}

#[test]
fn real_feeds_find_real_faults() {
    let Some(feeds) = shared_feeds() else { return };
    let s = Sandbox::new();
    let entry = |n: &str, v: &str| format!("\"node_modules/{n}\": {{\"version\": \"{v}\"}}");
    // Names with a dash first are typing errors come true, and malicious.
    let all = [entry("lodash", "4.17.4"), entry("-d3-ushape", "1.0.0"), entry("left-pad", "1.3.0")];
    s.write(
        "package-lock.json",
        format!("{{\"lockfileVersion\": 3, \"packages\": {{{}}}}}", all.join(",")),
    );
    s.write("requirements.txt", "jinja2==2.10\nrequests==2.32.3\n");
    s.write("Cargo.lock", "version = 4\n[[package]]\nname = \"smallvec\"\nversion = \"1.6.0\"\nsource = \"registry+https://registry.example/index\"\n");
    let feeds = feeds.display().to_string();
    let run = s.countersign(&["audit", "--feed", &feeds]);
    run.expect(90);
    for want in [
        "lodash 4.17.4",
        "CVE-2019-10744",
        "fixed in 4.17.12",
        "MAL-2022-5",
        "jinja2 2.10",
        "RUSTSEC-2021-0003",
    ] {
        run.says(want);
    }
    assert!(
        !run.stdout.contains("left-pad") && !run.stdout.contains("requests"),
        "{}",
        run.transcript()
    );
}
