//! Feeds of all kinds, VEX documents and files of waivers, on the real binary.

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

use serde_json::{Value, json};
use support::archives::{wheel_name, wheel_with};
use support::registries::{OLD, PyFile, Pypi};
use support::server::{Reply, Upstream};
use support::{Run, Sandbox, pip_sandbox};

fn record(id: &str, ecosystem: &str, name: &str, fixed: &str, modified: &str) -> Value {
    json!({
        "id": id, "modified": modified, "aliases": [id.replace("GHSA", "CVE")],
        "summary": format!("{name} has a fault"),
        "affected": [{"package": {"ecosystem": ecosystem, "name": name},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}],
        "database_specific": {"severity": "LOW"},
    })
}

fn zip(records: &[Value]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for record in records {
        let options: zip::write::SimpleFileOptions = Default::default();
        out.start_file(format!("{}.json", record["id"].as_str().unwrap()), options).unwrap();
        std::io::Write::write_all(&mut out, record.to_string().as_bytes()).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn audit(s: &Sandbox, path: &str) -> Run {
    let feed = s.at("feed").display().to_string();
    read(s.countersign(&["audit", path, "--feed", &feed, "--format", "json"]))
}

/// With the report that stands on standard output, where there is one.
fn read(mut run: Run) -> Run {
    run.report = serde_json::from_str(&run.stdout).unwrap_or_default();
    run
}

/// The verdicts of the first document's versions.
fn verdicts(run: &Run) -> Vec<String> {
    let all = run.report["documents"][0]["versions"].as_array().unwrap();
    all.iter().map(|v| v["verdict"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn only_what_changed_in_a_feed_is_fetched() {
    let upstream = Upstream::start();
    let day = |d: u32| format!("2026-01-0{d}T00:00:00Z");
    let old = [
        record("GHSA-1", "npm", "a", "1.0.1", &day(1)),
        record("GHSA-2", "npm", "b", "1.0.1", &day(2)),
    ];
    upstream.put("/npm/all.zip", Reply::file(zip(&old)));
    let s = Sandbox::new();
    s.countersign(&["feed", "add", &upstream.url("/npm/all.zip"), "--name", "npm"])
        .expect(0)
        .says("2 advisories");
    // A record is withdrawn, one changes, one is new; the archive is not touched again.
    let mut gone = record("GHSA-1", "npm", "a", "1.0.1", &day(3));
    gone["withdrawn"] = json!(day(3));
    let changed = [
        gone,
        record("GHSA-2", "npm", "b", "1.0.2", &day(4)),
        record("GHSA-3", "npm", "c", "2.0.0", &day(5)),
    ];
    let list: String = changed
        .iter()
        .rev()
        .map(|r| format!("{},{}\n", r["modified"].as_str().unwrap(), r["id"].as_str().unwrap()))
        .collect();
    upstream.put("/npm/modified_id.csv", Reply::ok("text/csv", list.clone()));
    for r in &changed {
        let path = format!("/npm/{}.json", r["id"].as_str().unwrap());
        upstream.put(&path, Reply::ok("application/json", serde_json::to_vec_pretty(r).unwrap()));
    }
    s.countersign(&["feed", "sync"]).expect(0).says("2 advisories");
    assert_eq!(upstream.count("/npm/all.zip"), 1);
    let lock = json!({"lockfileVersion": 3, "packages": {
        "node_modules/a": {"version": "1.0.0"}, "node_modules/b": {"version": "1.0.1"},
        "node_modules/c": {"version": "1.0.0"}}});
    let path = s.write("package-lock.json", lock.to_string()).display().to_string();
    let run = read(s.countersign(&["audit", &path, "--format", "json"]));
    let versions = run.report["documents"][0]["versions"].as_array().unwrap();
    let found: Vec<usize> =
        versions.iter().map(|v| v["findings"].as_array().unwrap().len()).collect();
    assert_eq!(found, [0, 1, 1], "{}", run.transcript());
    // Nothing changed: nothing but the list is asked for.
    let before = upstream.seen().len();
    s.countersign(&["feed", "sync"]).expect(0).says("2 advisories");
    assert_eq!(upstream.seen().len(), before + 1);
    // A record that is listed and not there: what was there before stays.
    upstream
        .put("/npm/modified_id.csv", Reply::ok("text/csv", format!("{},GHSA-9\n{list}", day(6))));
    s.countersign(&["feed", "sync"]).expect(93).says("stays in use");
    s.countersign(&["feed", "list"]).expect(0).says("2 advisories");
}

#[test]
fn what_is_exploited_is_refused_whatever_its_severity_and_told_with_its_due_date() {
    let s = Sandbox::new();
    std::fs::create_dir_all(s.at("feed")).unwrap();
    let put = |name: &str, text: String| std::fs::write(s.at("feed").join(name), text).unwrap();
    put("GHSA-1.json", record("GHSA-1", "npm", "a", "1.0.1", "2026-01-01T00:00:00Z").to_string());
    put("GHSA-2.json", record("GHSA-2", "npm", "b", "1.0.1", "2026-01-01T00:00:00Z").to_string());
    put(
        "kev.json",
        json!({"catalogVersion": "1", "vulnerabilities": [{"cveID": "CVE-1", "dueDate": "2026-02-01"}]})
            .to_string(),
    );
    put("epss.csv", "#model_version:v1,score_date:2026-01-01T00:00:00Z\ncve,epss,percentile\nCVE-1,0.94358,0.9\nCVE-2,0.1,0.5\n".to_owned());
    let lock = json!({"lockfileVersion": 3, "packages": {
        "node_modules/a": {"version": "1.0.0"}, "node_modules/b": {"version": "1.0.0"}}});
    let path = s.write("package-lock.json", lock.to_string()).display().to_string();
    let run = audit(&s, &path);
    run.expect(90);
    assert_eq!(verdicts(&run), ["refuse", "admit"], "{}", run.transcript());
    let first = &run.report["documents"][0]["versions"][0];
    assert_eq!(
        first["findings"][0]["exploitation"],
        json!({"known": true, "due": "2026-02-01", "epss": 944})
    );
    assert_eq!(first["upgrade"], "1.0.1");
    let detail = first["fired"][0]["detail"].as_str().unwrap();
    for want in ["exploited in the wild", "remedied by 2026-02-01", "EPSS 94.4 %", "1.0.1"] {
        assert!(detail.contains(want), "{detail}");
    }
}

#[test]
fn packages_of_go_and_maven_in_an_sbom_are_judged() {
    let s = Sandbox::new();
    std::fs::create_dir_all(s.at("feed")).unwrap();
    let put = |r: Value| {
        let name = format!("{}.json", r["id"].as_str().unwrap());
        std::fs::write(s.at("feed").join(name), r.to_string()).unwrap();
    };
    let mut go = record("GO-1", "Go", "golang.example/x/net", "0.17.0", "2026-01-01T00:00:00Z");
    go["database_specific"] = json!({"severity": "HIGH"});
    let mut maven = record("GHSA-m", "Maven", "org.example:core", "2.15.0", "2026-01-01T00:00:00Z");
    maven["database_specific"] = json!({"severity": "CRITICAL"});
    put(go);
    put(maven);
    let component = |purl: &str| json!({"type": "library", "name": "x", "purl": purl});
    let bom = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        component("pkg:golang/golang.example/x/net@v0.16.0"),
        component("pkg:golang/golang.example/x/net@v0.17.0"),
        component("pkg:maven/org.example/core@2.0-rc1"),
        component("pkg:maven/org.example/core@2.15.0"),
    ]});
    let path = s.write("bom.json", bom.to_string()).display().to_string();
    let run = audit(&s, &path);
    run.expect(90);
    assert_eq!(verdicts(&run), ["refuse", "admit", "refuse", "admit"], "{}", run.transcript());
}

#[test]
fn our_vex_and_a_reviewed_file_of_waivers_are_one_evaluation_with_policy() {
    let mut s = Sandbox::new();
    std::fs::create_dir_all(s.at("feed")).unwrap();
    for (id, name) in [("GHSA-1", "a"), ("GHSA-2", "b"), ("GHSA-3", "c"), ("GHSA-4", "d")] {
        let mut r = record(id, "npm", name, "1.0.1", "2026-01-01T00:00:00Z");
        r["database_specific"] = json!({"severity": "HIGH"});
        std::fs::write(s.at("feed").join(format!("{id}.json")), r.to_string()).unwrap();
    }
    let openvex = |cve: &str, purl: &str| {
        json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://vex.example/1", "statements": [{
            "vulnerability": {"name": cve}, "products": [{"@id": purl}], "status": "not_affected",
            "justification": "vulnerable_code_not_in_execute_path"}]})
        .to_string()
    };
    s.write("vex/own.openvex.json", openvex("CVE-1", "pkg:npm/a@1.0.0"));
    s.write("vendor/theirs.json", openvex("CVE-2", "pkg:npm/b@1.0.0"));
    s.write(
        "waivers.toml",
        "[[waiver]]\ntarget = \"pkg:npm/c@1.0.0\"\ncovers = [\"GHSA-3\"]\nreason = \"TICKET-7\"\n\
         owner = \"build team\"\nuntil = \"2099-01-01\"\n",
    );
    let work = s.work().display().to_string();
    let config = format!(
        "waivers = [\"{work}/waivers.toml\"]\n[vex]\nown = [\"{work}/vex\"]\nvendor = [\"{work}/vendor\"]\n"
    );
    s.config(&config);
    let lock = json!({"lockfileVersion": 3, "packages": {
        "node_modules/a": {"version": "1.0.0"}, "node_modules/b": {"version": "1.0.0"},
        "node_modules/c": {"version": "1.0.0"}, "node_modules/d": {"version": "1.0.0"}}});
    let path = s.write("package-lock.json", lock.to_string()).display().to_string();
    // An end that far ahead is no end.
    audit(&s, &path).expect(2).says("more than 366 days");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 30);
    let text = std::fs::read_to_string(s.work().join("waivers.toml")).unwrap();
    s.write("waivers.toml", text.replace("2099-01-01", &soon.to_string()));
    let run = audit(&s, &path);
    run.expect(90);
    assert_eq!(verdicts(&run), ["admit", "refuse", "admit", "refuse"], "{}", run.transcript());
    let versions = &run.report["documents"][0]["versions"];
    assert_eq!(versions[1]["findings"][0]["vex"][0]["source"], "vendor");
    assert!(versions[2]["waivers"][0].as_str().unwrap().starts_with("waivers.toml#"));
    // A document that cannot be read is an error, not silence.
    s.write("vex/torn.json", "{\"@context\": \"https://openvex.dev/ns\"");
    audit(&s, &path).expect(2).says("torn.json");
}

#[test]
fn a_bill_of_a_lock_file_is_judged_as_the_lock_file_is() {
    let s = Sandbox::new();
    std::fs::create_dir_all(s.at("feed")).unwrap();
    let mut r = record("GHSA-1", "crates.io", "vuln", "1.0.1", "2026-01-01T00:00:00Z");
    r["database_specific"] = json!({"severity": "HIGH"});
    std::fs::write(s.at("feed").join("GHSA-1.json"), r.to_string()).unwrap();
    let package = |name: &str, needs: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"registry+https://index.example\"\n{needs}\n"
        )
    };
    let lock = format!(
        "version = 4\n{}{}",
        package("good", "dependencies = [\"vuln\"]"),
        package("vuln", "")
    );
    let path = s.write("Cargo.lock", lock).display().to_string();
    let want = verdicts(&audit(&s, &path));
    for (format, name) in [("cyclonedx", "bom.cdx.json"), ("spdx", "bom.spdx.json")] {
        let out = s.work().join(name).display().to_string();
        s.countersign(&["sbom", &path, "--format", format, "-o", &out])
            .expect(0)
            .says("2 components, 1 relations");
        let run = audit(&s, &out);
        run.expect(90);
        assert_eq!(verdicts(&run), want, "{}", run.transcript());
    }
    s.countersign(&["sbom", "pkg:npm/never@1.0.0"]).expect(2).says("was not judged here");
}

#[test]
fn what_an_artifact_needs_is_judged_with_it_and_findings_are_kept() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    for (name, needs) in [("fine", "harmless"), ("bait", "evil")] {
        let wheel = wheel_with(name, "1.0.0", &[(&format!("{name}.py"), b"x = 1\n")], &[needs]);
        index.add(name, PyFile::new(&wheel_name(name, "1.0.0"), wheel, OLD));
    }
    let Some((mut s, _)) = pip_sandbox(&index) else { return };
    let evil = json!({"id": "MAL-1", "modified": "2026-01-01T00:00:00Z", "summary": "steals",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "evil"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]});
    s.advisory(&evil);
    s.gate(&["pip", "install", "--no-deps", "fine"]).expect(0).expect_admitted(&["fine 1.0.0"]);
    s.gate(&["pip", "install", "--no-deps", "bait"])
        .expect(90)
        .expect_stopped(&[("bait 1.0.0", "known-malicious")])
        .says("dependency.malicious");
    let run = s.countersign(&["findings", "pkg:pypi/bait", "--json"]);
    run.expect(1);
    let all: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(all[0]["state"], "open");
    assert_eq!(all[0]["finding"]["id"], "dependency.malicious");
    let id = all[0]["id"].as_str().unwrap().to_owned();
    s.countersign(&[
        "waive",
        "pkg:pypi/bait@1.0.0",
        "--rule",
        "dependency.malicious",
        "--reason",
        "looked at",
        "--days",
        "3",
    ])
    .expect(0);
    s.countersign(&["findings", "pkg:pypi/bait"]).expect(0).says(&id).says("waived by W-");
    s.gate(&["pip", "install", "--no-deps", "bait"]).expect(0).expect_admitted(&["bait 1.0.0"]);
    s.countersign(&["sbom", "pkg:pypi/bait@1.0.0"]).expect(0).says("`evil`");
}
