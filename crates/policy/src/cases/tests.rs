//! The shipped sets against their own cases, and the runner against mistakes in cases.

use super::*;
use crate::annotation::Effect;
use std::collections::BTreeSet;

const SHIPPED_CASES: [(&str, &str); 3] = [
    ("audit", include_str!("../../../../policies/tests/audit.toml")),
    ("baseline", include_str!("../../../../policies/tests/baseline.toml")),
    ("strict", include_str!("../../../../policies/tests/strict.toml")),
];

fn run(set: &str, name: &str, text: &str) -> Vec<TestOutcome> {
    run_tests(&PolicySet::shipped(set).unwrap(), &[PolicyFile::new(name, text)])
}

#[test]
fn shipped_sets_pass_their_cases() {
    for (set, text) in SHIPPED_CASES {
        let outcomes = run(set, set, text);
        let failed: Vec<String> = outcomes
            .iter()
            .filter_map(|o| Some(format!("{set}: {}: {}", o.name, o.failure.as_ref()?)))
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(outcomes.len() >= 4, "{set}");
    }
}

#[test]
fn every_shipped_rule_fires_in_a_case_and_not_in_all() {
    let mut fired = BTreeSet::new();
    for (set, text) in SHIPPED_CASES {
        let outcomes = run(set, set, text);
        for rule in PolicySet::shipped(set).unwrap().rules() {
            assert!(!outcomes.iter().all(|o| o.fired.contains(&rule.id)), "{}", rule.id);
        }
        fired.extend(outcomes.into_iter().flat_map(|o| o.fired));
    }
    let set = PolicySet::shipped("strict").unwrap();
    let rules = set.rules().iter().filter(|r| r.effect == Effect::Forbid);
    // Baseline tolerates every notice and hook; the rule is for users' stricter `tolerate`.
    let rules = rules.filter(|r| r.id != "baseline.untolerated-finding");
    let silent: Vec<&str> =
        rules.map(|r| r.id.as_str()).filter(|id| !fired.contains(*id)).collect();
    assert!(silent.is_empty(), "no case fires {silent:?}");
}

#[test]
fn wrong_expectations_fail_with_what_came() {
    for (case, part) in [
        ("expect = \"hold\"", "the verdict is admit"),
        ("expect = \"admit\"\nrules = [\"baseline.denied\"]", "fired []"),
        ("expect = \"admit\"\nreason = \"denied\"", "the reason is `none`"),
        ("expect = \"admit\"\nneeds = [\"w\"]", "needs the waivers []"),
        ("expect = \"admit\"\ndetail = [\"GHSA\"]", "no detail holds `GHSA`"),
        (
            "expect = \"hold\"\nage_hours = 1\nuntil = \"2030-01-01T00:00:00Z\"",
            "the hold ends 2026-01-03",
        ),
        (
            "expect = \"tolerated\"\naction = \"tolerate\"\nfinding = { id = \"M\", kind = \"malicious\" }",
            "the finding is not tolerated",
        ),
    ] {
        let outcomes = run("baseline", "t.toml", &format!("[[case]]\nname = \"c\"\n{case}"));
        let failure = outcomes[0].failure.clone().unwrap_or_default();
        assert!(failure.contains(part), "{case}: {failure}");
        assert!(!outcomes[0].passed());
    }
}

#[test]
fn mistakes_in_cases_are_failures() {
    let case = |more: &str| format!("[[case]]\nname = \"c\"\nexpect = \"admit\"\n{more}\n");
    for (text, part) in [
        (case("facts = { version = { yankd = true } }"), "unknown key `facts.version.yankd`"),
        (
            case("facts = { findings = [{ id = \"a\", kind = \"notice\", sevrity = \"low\" }] }"),
            "sevrity",
        ),
        (case("facts = { size = \"big\" }"), "not understood"),
        (case("rule = []"), "line 4, column 1: unknown field `rule`"),
        (case("action = \"tolerate\""), "needs a `finding`"),
        ("expect".to_owned(), "line 1"),
        (String::new(), "holds no `[[case]]`"),
    ] {
        let outcomes = run("baseline", "t.toml", &text);
        let failure = outcomes[0].failure.clone().unwrap_or_default();
        assert!(failure.contains(part), "{text}: {failure}");
    }
}

#[test]
fn json_files_and_a_base_work() {
    let text = r#"{
        "base": { "version": { "purl": "pkg:pypi/flask@3.0.0" } },
        "case": [
            { "name": "base", "expect": "admit" },
            { "name": "resolve", "action": "resolve", "facts": { "denied": true }, "expect": "refuse",
              "detail": ["pkg:pypi/flask@3.0.0"] }
        ]
    }"#;
    let outcomes = run("baseline", "t.json", text);
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(TestOutcome::passed), "{outcomes:?}");
}

const GUIDE: &str = include_str!("../../../../docs/policy.md");

/// The fenced blocks of a language in the user's guide.
fn blocks(language: &str) -> Vec<&'static str> {
    let fenced = GUIDE.split("```").skip(1).step_by(2);
    fenced.filter_map(|b| b.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn the_guides_examples_work() {
    let (policies, toml) = (blocks("cedar"), blocks("toml"));
    let (cases, tables): (Vec<&str>, Vec<&str>) = toml.iter().partition(|t| t.contains("[[case]]"));
    assert!(policies.len() >= 3 && cases.len() == 1 && tables.len() == 1);
    let mut files = vec![PolicyFile::new("policy.toml", "extends = \"baseline\"")];
    files.push(PolicyFile::new("algorithms.toml", tables[0]));
    let named = policies.iter().enumerate();
    files.extend(named.map(|(i, text)| PolicyFile::new(format!("{i}.cedar"), *text)));
    let set = PolicySet::load("guide", files).unwrap();
    let own = set.rules().iter().filter(|r| !r.shipped);
    assert_eq!(own.filter(|r| r.waivable).count(), 2);
    let baseline = PolicySet::shipped("baseline").unwrap();
    let outcomes = run_tests(&baseline, &[PolicyFile::new("guide.toml", cases[0])]);
    assert!(outcomes.len() == 2 && outcomes.iter().all(TestOutcome::passed), "{outcomes:?}");
}

#[test]
fn the_guide_lists_every_rule_with_its_verdict_and_reason() {
    for rule in PolicySet::shipped("strict").unwrap().rules() {
        let row = format!("| `{}` | {} | `{}` |", rule.id, rule.verdict, rule.reason);
        assert!(rule.effect == Effect::Permit || GUIDE.contains(&row), "{row}");
    }
}
