//! The table: what it holds to be weak, from when, in which ways, and how folders change it.

use super::*;
use crate::cases::artifact_for_tests;
use crate::{DecisionContext, PolicySet, shipped_files};
use countersign_core::{ReasonCode, Verdict};
use serde_json::{Value, json};

/// 2026-09-21.
const NOW: Timestamp = Timestamp(1_790_000_000);

fn file(text: &str) -> PolicyFile {
    PolicyFile::new(ALGORITHMS_FILE, text)
}

fn used(label: &str) -> AlgorithmUse {
    match label.rsplit_once('-') {
        Some((name @ ("rsa" | "dsa"), bits)) => {
            AlgorithmUse::new(name, "a key").of_bits(Some(bits.parse().unwrap()))
        }
        _ => AlgorithmUse::new(label, "a place"),
    }
}

fn shipped(set: &str) -> PolicySet {
    PolicySet::shipped(set).unwrap()
}

fn date(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn the_shipped_tables_say_what_is_weak() {
    let (baseline, strict) = (shipped("baseline"), shipped("strict"));
    for (label, in_baseline, in_strict) in [
        ("sha256", false, false),
        ("sha512", false, false),
        ("sha3-256", false, false),
        ("ecdsa-p256", false, false),
        ("ed25519", false, false),
        ("ml-dsa-65", false, false),
        ("openpgp-v4-unsalted", false, false),
        ("rsa-4096", false, false),
        ("rsa-3072", false, false),
        ("rsa-3071", false, true),
        ("rsa-2048", false, true),
        ("rsa-2047", true, true),
        ("rsa-1024", true, true),
        ("rsa", true, true),
        ("dsa-3072", true, true),
        ("dsa", true, true),
        ("md5", true, true),
        ("sha1", true, true),
        ("sha224", true, true),
        ("ripemd160", true, true),
        ("openpgp-v3-unsalted", true, true),
        // Nobody knows them.
        ("ecdsa-secp256k1", true, true),
        ("ecdsa-p192", true, true),
        ("1.2.3.4", true, true),
        ("crc32", true, true),
        ("", true, true),
    ] {
        let weak = |set: &PolicySet| set.algorithms().weakness(&used(label), NOW).is_some();
        assert_eq!((weak(&baseline), weak(&strict)), (in_baseline, in_strict), "`{label}`");
    }
}

#[test]
fn a_row_counts_from_its_date_on() {
    let table = AlgorithmTable::parse(&file(
        "strong = [\"rsa\", \"sha512\"]
         [[weak]]\nalgorithm = \"rsa\"\nbelow = 2048
         [[weak]]\nalgorithm = \"rsa\"\nbelow = 3072\nsince = \"2031-01-01\"
         [[weak]]\nalgorithm = \"sha256\"\nsince = \"2031-01-01\"",
    ))
    .unwrap();
    let (before, after) = (date("2030-12-31T23:59:59Z"), date("2031-01-01"));
    for (label, weak_before, weak_after) in [
        ("rsa-1024", true, true),
        ("rsa-2048", false, true),
        ("rsa-3072", false, false),
        ("sha256", false, true),
        ("sha512", false, false),
    ] {
        let weak = |at| table.weakness(&used(label), at).is_some();
        assert_eq!((weak(before), weak(after)), (weak_before, weak_after), "{label}");
    }
    let words = table.weakness(&used("rsa-2048"), after).unwrap();
    assert_eq!(words, "weak below 3072 bits since 2031-01-01");
}

fn evidence(uses: &Value, proof: &str, signed_at: &str) -> Value {
    json!({ "kind": "npm-provenance", "state": "verified", "claim": {
        "algorithms": uses, "proof": proof, "signed_at": date(signed_at) } })
}

fn one(name: &str, way: u32) -> Value {
    digest(name, "a place", way)
}

fn digest(name: &str, place: &str, way: u32) -> Value {
    serde_json::to_value(AlgorithmUse::new(name, place).in_way(way)).unwrap()
}

#[test]
fn what_was_provably_signed_before_the_date_stays_strong() {
    let table = AlgorithmTable::parse(&file(
        "[[weak]]\nalgorithm = \"sha1\"\nsince = \"2017-02-23\"\nbecause = \"SHAttered\"",
    ))
    .unwrap();
    for (proof, signed_at, weak) in [
        ("inclusion-proof", "2016-01-01", false),
        ("inclusion-promise", "2016-01-01", false),
        ("inclusion-proof", "2018-01-01", true),
        // Nobody but the signer says when.
        ("key-only", "2016-01-01", true),
    ] {
        let piece = evidence(&json!([one("sha1", 0)]), proof, signed_at);
        let facts = artifact_for_tests(json!({ "evidence": [piece] }), NOW);
        let found = table.weak_evidence(&facts, NOW);
        assert_eq!(!found.is_empty(), weak, "{proof} {signed_at}");
    }
}

#[test]
fn evidence_is_weak_when_each_of_its_ways_is() {
    let set = shipped("baseline");
    for (uses, weak) in [
        (json!([]), vec![]),
        (json!([one("sha256", 0), one("ed25519", 0)]), vec![]),
        (json!([one("sha1", 0), one("ed25519", 0)]), vec!["sha1"]),
        // An archive signs with its old and its new key: the new one is enough.
        (json!([one("sha1", 0), one("sha256", 1), one("ed25519", 1)]), vec![]),
        (json!([one("sha1", 0), one("sha256", 1), one("dsa", 1)]), vec!["sha1", "dsa"]),
    ] {
        let piece = evidence(&uses, "key-only", "2026-01-01");
        let facts = artifact_for_tests(json!({ "evidence": [piece] }), NOW);
        let found = set.algorithms().weak_evidence(&facts, NOW);
        let names: Vec<&str> = found.iter().map(|w| w.used.name.as_str()).collect();
        assert_eq!(names, weak, "{uses}");
        let decision = set.decide_artifact(&facts, &[], &DecisionContext::at(NOW));
        let leading = decision.leading().map(|f| f.reason);
        let want = (!weak.is_empty()).then_some(ReasonCode::AlgorithmWeak);
        assert_eq!(leading, want, "{uses}: {decision:?}");
    }
}

#[test]
fn evidence_that_failed_for_its_algorithm_says_so_by_its_own_reason() {
    let set = shipped("baseline");
    let piece = json!({ "kind": "sigstore", "state": "invalid", "because": "too weak",
        "algorithms": [{ "name": "rsa", "bits": 1024, "place": "certificate key" }] });
    let facts = artifact_for_tests(json!({ "evidence": [piece] }), NOW);
    let decision = set.decide_artifact(&facts, &[], &DecisionContext::at(NOW));
    assert_eq!(decision.verdict, Verdict::Refuse);
    let fired = decision.fired.iter().find(|f| f.reason == ReasonCode::AlgorithmWeak).unwrap();
    assert!(
        fired.detail.starts_with(
            "sigstore: rsa-1024 (certificate key), weak below 2048 bits since 2014-01-01"
        ),
        "{}",
        fired.detail
    );
}

#[test]
fn one_strong_digest_of_the_index_is_enough_and_weak_ones_alone_are_named() {
    let set = shipped("baseline");
    let not_compared = countersign_core::algorithm::INDEX_DIGEST_NOT_COMPARED;
    for (digests, detail) in [
        (json!([digest("sha1", INDEX_DIGEST, 0), digest("sha512", INDEX_DIGEST, 1)]), None),
        (json!([digest("md5", not_compared, 0), digest("sha256", INDEX_DIGEST, 1)]), None),
        // npm's `shasum` alone, a Python index's md5 alone, Debian's MD5sum alone.
        (
            json!([digest("sha1", INDEX_DIGEST, 0)]),
            Some("index: sha1 (index digest), weak since 2017"),
        ),
        (json!([digest("md5", not_compared, 0)]), Some("index: md5 (index digest, not compared)")),
    ] {
        let facts = artifact_for_tests(json!({ "index_digests": digests }), NOW);
        let decision = set.decide_artifact(&facts, &[], &DecisionContext::at(NOW));
        match detail {
            None => assert_eq!(decision.verdict, Verdict::Admit, "{digests} {decision:?}"),
            Some(part) => {
                let fired = decision.leading().unwrap();
                assert_eq!(fired.reason, ReasonCode::DigestWeak);
                assert!(fired.detail.contains(part), "{}", fired.detail);
            }
        }
    }
}

#[test]
fn a_folder_s_table_is_laid_over_that_of_the_set_it_extends() {
    let with = |text: &str| {
        let files = vec![
            PolicyFile::new("policy.toml", "extends = \"baseline\""),
            PolicyFile::new("algorithms.toml", text),
        ];
        PolicySet::load("mine", files).unwrap()
    };
    let weak =
        |set: &PolicySet, label: &str| set.algorithms().weakness(&used(label), NOW).is_some();
    let lax = with("strong = [\"sha1\", \"ecdsa-secp256k1\"]");
    assert!(!weak(&lax, "sha1") && !weak(&lax, "ecdsa-secp256k1"));
    assert!(weak(&lax, "md5") && weak(&lax, "rsa-1024") && !weak(&lax, "sha256"));

    let hard = with("[[weak]]\nalgorithm = \"ecdsa-p256\"\nsince = \"2026-01-01\"");
    assert!(weak(&hard, "ecdsa-p256") && !weak(&hard, "ecdsa-p384") && weak(&hard, "md5"));

    // The table is part of the set's digest.
    let digests = [shipped("baseline").digest(), lax.digest(), hard.digest()];
    assert!(digests.iter().enumerate().all(|(i, d)| !digests[..i].contains(d)), "{digests:?}");
}

#[test]
fn a_set_that_says_nothing_of_algorithms_judges_them_as_baseline_does() {
    let files = vec![PolicyFile::new("a.cedar", "permit (principal, action, resource);")];
    let set = PolicySet::load("mine", files).unwrap();
    assert_eq!(set.algorithms(), shipped("baseline").algorithms());
}

#[test]
fn mistakes_in_the_table_name_their_place() {
    for (text, line, part) in [
        ("strong = [\"SHA256\"]", 1, "`SHA256` is no name of an algorithm"),
        ("strong = [\"a\",\n\"a\"]", 2, "`a` is listed twice"),
        ("strng = []", 1, "strng"),
        ("[[weak]]\nalgorithm = \"md5\"\nsince = \"soon\"", 3, "`soon` is no date"),
        ("[[weak]]\nalgorithm = \"rsa\"\nbelow = -1", 3, "-1"),
        ("[[weak]]\nbelow = 5", 1, "algorithm"),
        ("strong = [\"a\"]\n[[weak]]\nalgorithm = \"a\"", 3, "`a` is strong and weak"),
        ("strong = ", 1, ""),
    ] {
        let errors = AlgorithmTable::parse(&file(text)).unwrap_err();
        let e = errors.first().unwrap();
        assert_eq!(e.line, line, "{text}: {e}");
        assert!(e.to_string().contains(part), "{text}: {e}");
    }
    let errors =
        PolicySet::load("mine", vec![PolicyFile::new("x/algorithms.toml", "")]).unwrap_err();
    assert!(errors[0].to_string().contains("in the folder itself"), "{}", errors[0]);
    assert!(shipped_files("strict").unwrap().iter().any(|f| f.name.ends_with(ALGORITHMS_FILE)));
}
