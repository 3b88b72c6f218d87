//! Judging beyond the shipped sets' own cases: users' rules, failures, the schema, speed.

use super::*;
use crate::cases::{artifact_for_tests, version_for_tests};
use crate::{PolicyFile, WaiverTarget};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_790_000_000);

fn ctx() -> DecisionContext {
    DecisionContext::at(NOW)
}

fn set(settings: &str, policies: &str) -> PolicySet {
    let files =
        vec![PolicyFile::new("policy.toml", settings), PolicyFile::new("a.cedar", policies)];
    PolicySet::load("mine", files)
        .unwrap_or_else(|e| panic!("{}", e.iter().map(ToString::to_string).collect::<String>()))
}

fn extended(policies: &str) -> PolicySet {
    set("extends = \"baseline\"", policies)
}

fn artifact(facts: Value) -> ArtifactFacts {
    artifact_for_tests(facts, NOW)
}

fn rules(d: &Decision) -> Vec<&str> {
    d.fired.iter().map(|f| f.rule.as_str()).collect()
}

#[test]
fn a_users_rule_gives_its_verdict_reason_and_message() {
    let set = extended(
        "@id(\"own-builders\") @verdict(\"hold\") @reason(\"evidence-missing\")
         @message(\"we want our own builder\")
         forbid (principal, action == Action::\"install\", resource)
         when { resource.ecosystem == \"npm\" }
         unless { resource.builders.contains(\"ours\") };",
    );
    let d = set.decide_artifact(&artifact(json!({ "evidence": [] })), &[], &ctx());
    assert_eq!((d.verdict, rules(&d)), (Verdict::Hold, vec!["own-builders"]));
    assert_eq!(d.fired[0].reason, ReasonCode::EvidenceMissing);
    assert_eq!(d.fired[0].detail, "we want our own builder: no evidence was looked for");
    assert_eq!(d.policy, set.digest().to_hex());
    let built = json!({ "evidence": [
        { "kind": "npm-provenance", "state": "verified", "claim": { "builder": "ours" } }
    ] });
    let d = set.decide_artifact(&artifact(built), &[], &ctx());
    assert_eq!(d.verdict, Verdict::Admit);
}

#[test]
fn every_attribute_of_the_schema_is_there_with_its_type() {
    let set = set("", "permit (principal, action, resource);");
    let v = set.vocabulary;
    let facts = artifact(json!({
        "findings": [{ "id": "a", "kind": "structure", "severity": "unknown" }],
    }));
    let settings = crate::Settings::default();
    let found = [&facts.findings[0]];
    let context = || attributes::context(&settings, &ctx(), &["x"]).unwrap();
    for (ty, action, attributes) in [
        (&v.finding, &v.tolerate, attributes::finding(found[0], &facts.version.purl, ctx().now)),
        (&v.version, &v.resolve, attributes::version(&facts.version, &found, &ctx())),
        (&v.artifact, &v.install, attributes::artifact(&facts, &found, set.algorithms(), &ctx())),
    ] {
        let uid = uid(ty, "this");
        let entity = Entity::new(uid.clone(), attributes, HashSet::new()).unwrap();
        Entities::from_entities([entity], Some(&v.schema)).unwrap();
        Request::new(v.gate.clone(), action.clone(), uid, context(), Some(&v.schema)).unwrap();
    }
}

#[test]
fn unknowns_err_on_the_safe_side_for_policies_that_forget_to_ask() {
    let set = set(
        "",
        "permit (principal, action in [Action::\"resolve\", Action::\"install\"], resource);
         permit (principal, action == Action::\"tolerate\", resource)
         when { resource.severity_rank <= 3 };
         @id(\"young\") forbid (principal, action == Action::\"resolve\", resource)
         when { resource.age_hours < 1 };",
    );
    let version = version_for_tests(json!({ "age": "unknown" }), NOW);
    assert_eq!(rules(&set.decide_version(&version, &[], &ctx())), ["young"]);
    let finding = &version_for_tests(json!({ "findings": [{ "id": "a", "kind": "notice" }] }), NOW);
    let finding = &finding.findings[0];
    assert!(!set.judge_finding(finding, &version, None, &[], &ctx()));
}

#[test]
fn a_policy_that_cannot_be_evaluated_refuses_by_name() {
    let overflow = "when { resource.size + 9223372036854775807 > 0 }";
    for (effect, name) in [("forbid", "sums"), ("permit", "sums")] {
        let set = extended(&format!(
            "@id(\"{name}\") {effect} (principal, action == Action::\"install\", resource) {overflow};"
        ));
        let d = set.decide_artifact(&artifact(json!({})), &[], &ctx());
        assert_eq!((d.verdict, rules(&d)), (Verdict::Refuse, vec![name]), "{effect}");
        assert_eq!(d.fired[0].reason, ReasonCode::PolicyError);
        assert!(d.fired[0].detail.contains("policy `sums` could not be evaluated"), "{d:?}");
        let d = set.decide_version(&artifact(json!({})).version, &[], &ctx());
        assert_eq!(d.verdict, Verdict::Admit, "another action is not touched");
    }
}

#[test]
fn a_tolerate_policy_that_cannot_be_evaluated_refuses() {
    let set = extended(
        "@id(\"sums\") permit (principal, action == Action::\"tolerate\", resource)
         when { resource.severity_rank + 9223372036854775807 > 0 };",
    );
    let facts = artifact(json!({ "findings": [
        { "id": "a", "kind": "notice", "severity": "low" },
        { "id": "b", "kind": "notice", "severity": "low" },
    ] }));
    let d = set.decide_artifact(&facts, &[], &ctx());
    assert_eq!(d.verdict, Verdict::Refuse);
    assert_eq!(rules(&d), ["sums", "baseline.untolerated-finding"]);
    assert!(!set.judge_finding(&facts.findings[0], &facts.version, None, &[], &ctx()));
    assert_eq!(set.decide_artifact(&artifact(json!({})), &[], &ctx()).verdict, Verdict::Admit);
}

#[test]
fn without_a_permit_that_matches_nothing_is_admitted() {
    let set = set(
        "",
        "permit (principal, action == Action::\"install\", resource)
         when { resource.ecosystem == \"npm\" };
         @id(\"wait\") @verdict(\"hold\") forbid (principal, action == Action::\"install\", resource);",
    );
    let pypi = artifact(json!({ "version": { "purl": "pkg:pypi/a@1" } }));
    let d = set.decide_artifact(&pypi, &[], &ctx());
    assert_eq!(d.verdict, Verdict::Refuse, "a hold does not hide it");
    assert_eq!(rules(&d), ["no-permit", "wait"]);
    assert_eq!(d.fired[0].reason, ReasonCode::Policy);
    assert_eq!(rules(&set.decide_artifact(&artifact(json!({})), &[], &ctx())), ["wait"]);
    assert_eq!(rules(&set.decide_version(&pypi.version, &[], &ctx())), ["no-permit"]);
}

#[test]
fn what_a_user_does_not_tolerate_is_held() {
    let set = extended(
        "@id(\"no-hooks\") forbid (principal, action == Action::\"tolerate\", resource)
         when { resource.kind == \"install-hook\" && resource.name != \"esbuild\" };",
    );
    let hook = json!([{ "id": "hook", "kind": "install-hook", "title": "runs `x`", "path": "package.json" }]);
    let d = set.decide_artifact(&artifact(json!({ "findings": hook })), &[], &ctx());
    assert_eq!((d.verdict, rules(&d)), (Verdict::Hold, vec!["baseline.untolerated-finding"]));
    assert_eq!(d.fired[0].detail, "hook (runs `x`) in `package.json`");
    let esbuild = json!({ "findings": hook, "version": { "purl": "pkg:npm/esbuild@1.0.0" } });
    assert_eq!(set.decide_artifact(&artifact(esbuild), &[], &ctx()).verdict, Verdict::Admit);
}

#[test]
fn a_cool_down_of_the_users_own_tells_its_end_when_it_can() {
    let rule = |annotation: &str, limit: &str| {
        extended(&format!(
            "@id(\"slow\") @verdict(\"hold\") @reason(\"cool-down\") {annotation}
             forbid (principal, action == Action::\"resolve\", resource)
             when {{ resource.age_hours < {limit} }};"
        ))
    };
    let published = NOW.plus_seconds(-100 * 3600);
    let facts = version_for_tests(json!({ "age": "known", "published": published }), NOW);
    for (annotation, limit, hours) in [
        ("@hours(\"240\")", "240", Some(240)),
        ("", "240", None),
        ("", "context.cool_down_hours + 1000", Some(72)),
    ] {
        let d = rule(annotation, limit).decide_version(&facts, &[], &ctx());
        let want = hours.map(|h| published.plus_seconds(h * 3600));
        assert_eq!((rules(&d), d.ends()), (vec!["slow"], want), "{annotation}");
    }
}

#[test]
fn a_waiver_of_an_announced_digest_lets_the_version_be_offered() {
    let digest = Sha256Digest::of(b"the wheel");
    let waiver = ActiveWaiver {
        id: "w".into(),
        target: WaiverTarget::Digest(digest),
        covers: "cool-down".into(),
        until: NOW.plus_seconds(1),
    };
    let set = PolicySet::shipped("baseline").unwrap();
    let facts = version_for_tests(json!({ "age": "known", "published": NOW }), NOW);
    let waivers = [waiver];
    let mut ctx = ctx();
    assert_eq!(set.decide_version(&facts, &waivers, &ctx).verdict, Verdict::Hold);
    ctx.index_digests.push(digest);
    let d = set.decide_version(&facts, &waivers, &ctx);
    assert_eq!((d.verdict, d.waivers), (Verdict::Admit, vec!["w".to_owned()]));
    ctx.now = NOW.plus_seconds(1);
    assert_eq!(set.decide_version(&facts, &waivers, &ctx).verdict, Verdict::Hold, "ended");
}

#[test]
fn long_lists_are_cut_and_foreign_text_is_one_short_line() {
    let set = PolicySet::shipped("baseline").unwrap();
    let many: Vec<Value> = (0..20)
        .map(|i| json!({ "id": format!("GHSA-{i:02}"), "kind": "vulnerability", "severity": "high" }))
        .collect();
    let d = set.decide_artifact(&artifact(json!({ "version": { "findings": many } })), &[], &ctx());
    assert!(d.fired[0].detail.contains("GHSA-07 (high) and 12 more; no fixed"), "{d:?}");
    let title = format!("a\nb\r\n{}", "x".repeat(5000));
    let bad = json!({ "findings": [{ "id": "s", "kind": "structure", "severity": "high", "title": title }] });
    let d = set.decide_artifact(&artifact(bad), &[], &ctx());
    assert!(d.fired[0].detail.starts_with("s (a b xxx"), "{d:?}");
    assert!(d.fired[0].detail.len() < 300 && !d.fired[0].detail.contains('\n'));
}

#[test]
fn decisions_do_not_depend_on_the_run() {
    let set = PolicySet::shipped("strict").unwrap();
    let facts = artifact(json!({
        "digest_confirmed": false, "checks": [], "evidence": [],
        "version": { "denied": true, "yanked": true, "age": "unknown" },
    }));
    let first = set.decide_artifact(&facts, &[], &ctx());
    assert!(first.fired.len() >= 6, "{first:?}");
    for _ in 0..20 {
        let again = PolicySet::shipped("strict").unwrap().decide_artifact(&facts, &[], &ctx());
        assert_eq!(again, first);
    }
}

#[test]
fn five_hundred_versions_are_judged_in_a_moment() {
    let set = PolicySet::shipped("strict").unwrap();
    let facts = version_for_tests(
        json!({ "findings": [{ "id": "GHSA-1", "kind": "vulnerability", "severity": "high" }] }),
        NOW,
    );
    let start = std::time::Instant::now();
    for _ in 0..500 {
        assert_eq!(set.decide_version(&facts, &[], &ctx()).verdict, Verdict::Refuse);
    }
    let each = start.elapsed() / 500;
    eprintln!("{each:?} a version");
    // Unoptimised and on a busy machine: an order of magnitude above what a release build takes.
    assert!(each < std::time::Duration::from_millis(5), "{each:?}");
}
