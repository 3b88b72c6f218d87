//! Recall: what was admitted and installed turns out bad.

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
use support::archives::{sha256, wheel};
use support::pip_sandbox as start;
use support::registries::{OLD, Pypi, advisory};
use support::server::Upstream;
use support::{Run, Sandbox};

/// The JSON that a command printed.
#[track_caller]
fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}\n{}", run.transcript()))
}

fn feed(s: &Sandbox) -> String {
    s.at("feed").display().to_string()
}

fn install(s: &Sandbox, what: &str) -> Run {
    s.gate(&["pip", "install", "--force-reinstall", "--no-cache-dir", what])
}

/// This machine's name, as the kernel has it.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[test]
fn what_was_installed_and_is_listed_later_is_recalled_with_who_has_it() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD).wheel("other", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.env("USER", "kim");
    s.advisory(&advisory("CVE-2020-1", "PyPI", "unrelated", &["1.0.0"], "HIGH"));
    install(&s, "lib==1.0.0").expect(0);
    install(&s, "lib==1.0.0").expect(0);
    s.gate(&["pip", "install", "other"]).expect(0);
    let feed = feed(&s);
    let first = s.countersign(&["recall", "--feed", &feed]);
    first.expect(0).says("2 admitted artifacts looked at, 2 concerned, 2 judged again, 0 recalled");
    s.countersign(&["recall", "--feed", &feed]).expect(0).says("0 judged again");

    s.advisory(&advisory("MAL-2026-1", "PyPI", "lib", &[], ""));
    let size = s.ledger().len();
    let dry = s.countersign(&["recall", "--feed", &feed, "--dry-run", "--json"]);
    dry.expect(90);
    assert_eq!(json(&dry)["recalled"][0]["ids"][0], "MAL-2026-1");
    assert_eq!(s.ledger().len(), size, "a dry run records nothing");

    let run = s.countersign(&["recall", "--feed", &feed]);
    run.expect(90);
    run.says("lib 1.0.0 (lib-1.0.0-py3-none-any.whl").says("refused: baseline.known-malicious");
    run.says("advisories: MAL-2026-1").says(&format!("kim from {} (run), 2 times", host()));
    run.says("2 admitted artifacts looked at, 1 concerned, 1 judged again, 1 recalled");
    assert!(!run.stdout.contains("other 1.0.0"), "{}", run.transcript());
    s.expect_decision("pkg:pypi/lib@1.0.0", "refuse", "known-malicious");
    s.expect_decision("pkg:pypi/lib@1.0.0", "admit", "");
    s.fsck();

    let list = s.countersign(&["recall", "list", "--json"]);
    let newest: Value = serde_json::from_str(list.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&newest["recalled"], &newest["why"][0]), (&1.into(), &"the feeds changed".into()));
    let id = newest["id"].to_string();
    s.countersign(&["recall", "show", &id]).expect(0).says("MAL-2026-1").says("kim from");
    s.countersign(&["recall", "show", "99"]).expect(2).says("no recall 99");

    let digest = format!("sha256:{}", sha256(&wheel("lib", "1.0.0")));
    for subject in ["pkg:pypi/lib@1.0.0", "pkg:pypi/lib", &digest] {
        let who = s.countersign(&["who", subject, "--json"]);
        who.expect(0);
        let known = json(&who);
        let verdicts: Vec<&str> = known[0]["decisions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["verdict"].as_str().unwrap())
            .collect();
        assert_eq!(verdicts, ["admit", "refuse"], "{subject}");
        assert_eq!(known[0]["fetched"][0]["address"], host());
        assert_eq!(known[0]["fetched"][0]["count"], 2);
    }
    let file = s.write("lib.whl", wheel("lib", "1.0.0"));
    s.countersign(&["who", &file.display().to_string()]).expect(0).says("kim from");
    s.countersign(&["who", "pkg:pypi/nothing"]).expect(2).says("no decision");

    install(&s, "lib==1.0.0").expect(90).expect_stopped(&[("lib 1.0.0", "known-malicious")]);
    let waive = ["waive", &digest, "--rule", "MAL-2026-1", "--reason", "a drill", "--days", "1"];
    s.countersign(&waive).expect(0);
    install(&s, "lib==1.0.0").expect(0).expect_admitted(&["lib 1.0.0"]);
    s.countersign(&["recall", "--feed", &feed]).expect(0).says("the waivers changed");
    s.fsck();
}

#[test]
fn a_torn_feed_changes_nothing() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-1", "PyPI", "unrelated", &["1.0.0"], "HIGH"));
    install(&s, "lib==1.0.0").expect(0);
    let feed = feed(&s);
    s.countersign(&["recall", "--feed", &feed]).expect(0);
    let before = (s.ledger(), s.countersign(&["recall", "list", "--json"]).stdout);
    let whole = advisory("MAL-1", "PyPI", "lib", &[], "").to_string();
    std::fs::write(s.at("feed").join("MAL-1.json"), &whole[..whole.len() / 2]).unwrap();
    let run = s.countersign(&["recall", "--feed", &feed]);
    run.expect(2).says("MAL-1.json");
    let after = (s.ledger(), s.countersign(&["recall", "list", "--json"]).stdout);
    assert_eq!(before, after);
    std::fs::write(s.at("feed").join("MAL-1.json"), &whole).unwrap();
    s.countersign(&["recall", "--feed", &feed]).expect(90).says("MAL-1");
}

#[test]
fn a_command_is_told_and_a_stricter_policy_recalls() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("lib", "1.0.0", OLD);
    let Some((mut s, _venv)) = start(&index) else { return };
    s.advisory(&advisory("CVE-2020-1", "PyPI", "lib", &["1.0.0"], "CRITICAL"));
    let told = s.at("told.json");
    s.config(&format!(
        "policy = \"audit\"\n[recall]\ncommand = [\"sh\", \"-c\", \"cat > {}\"]\n",
        told.display()
    ));
    install(&s, "lib==1.0.0").expect(0);
    let feed = feed(&s);
    s.countersign(&["recall", "--feed", &feed]).expect(0);
    assert!(!told.exists(), "nobody is told of nothing");
    let run = s.countersign(&["recall", "--feed", &feed, "--policy", "baseline"]);
    run.expect(90).says("the policy changed").says("baseline.known-vulnerable");
    let report: Value = serde_json::from_slice(&std::fs::read(&told).unwrap()).unwrap();
    assert_eq!(report["recalled"][0]["purl"], "pkg:pypi/lib@1.0.0");
    assert_eq!(report["recalled"][0]["fetched"][0]["agent"], "run");
}

#[test]
fn without_a_store_it_says_what_to_do() {
    let s = Sandbox::new();
    s.countersign(&["recall"]).expect(2).says("countersign init");
    s.countersign(&["who", "pkg:npm/x"]).expect(2).says("countersign init");
}
