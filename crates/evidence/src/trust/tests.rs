use super::*;
use serde_json::json;

const NOW: Timestamp = Timestamp(1_000_000);
const ALICE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const BOB: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

fn id(text: &str) -> TrustId {
    text.parse().unwrap()
}

fn signed(kind: &str, by: &[&str], at: Option<i64>, proof: ProofClass) -> Evidence {
    let claim = Claim {
        signer: by[0].to_owned(),
        also_signed_by: by[1..].iter().map(|s| (*s).to_owned()).collect(),
        signed_at: at.map(Timestamp),
        proof,
        ..Claim::default()
    };
    let state = EvidenceState::Verified { claim: Box::new(claim) };
    Evidence { kind: kind.to_owned(), source: "a test".to_owned(), state }
}

fn revoked(name: &str, since: i64) -> Restrictions {
    Restrictions { revoked: [(id(name), Timestamp(since))].into(), ..Restrictions::default() }
}

fn pinned(names: &[&str]) -> Restrictions {
    let pins = names.iter().map(|n| (id(n), None)).collect();
    Restrictions { pins, ..Restrictions::default() }
}

fn holds(restrictions: &Restrictions, mut evidence: Evidence) -> bool {
    restrictions.apply(&mut evidence, NOW);
    evidence.claim().is_some()
}

#[test]
fn names_are_read_as_they_are_written() {
    for text in [
        "sigstore".to_owned(),
        format!("sigstore/{}", "0a".repeat(32)),
        "npm/SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA".to_owned(),
        format!("debian/{ALICE}"),
        "organisation/key-1".to_owned(),
    ] {
        assert_eq!(id(&text).to_string(), text);
        let json = serde_json::to_string(&id(&text)).unwrap();
        assert_eq!(serde_json::from_str::<TrustId>(&json).unwrap(), id(&text));
    }
    assert_eq!(id(&format!("debian/{}", ALICE.to_lowercase())), id(&format!("debian/{ALICE}")));
    for bad in
        ["", "x", "npm", "npm/", "npm/a b", "sigstore/", "sigstore/00", "debian/1234ABCD", "debian"]
    {
        assert!(bad.parse::<TrustId>().is_err(), "{bad}");
    }
}

#[test]
fn a_revocation_is_judged_at_the_time_of_signing() {
    let npm = revoked("npm/key", 500);
    use ProofClass::{InclusionPromise, InclusionProof, KeyOnly};
    for (at, proof, good) in [
        (Some(499), InclusionProof, true),
        (Some(499), InclusionPromise, true),
        (Some(500), InclusionProof, false),
        (Some(501), InclusionProof, false),
        // Nobody but the signer says when.
        (Some(499), KeyOnly, false),
        (None, KeyOnly, false),
    ] {
        for kind in ["npm-publish", "npm-signature"] {
            assert_eq!(
                holds(&npm, signed(kind, &["key"], at, proof)),
                good,
                "{kind} {at:?} {proof:?}"
            );
            assert!(holds(&npm, signed(kind, &["other"], at, proof)));
        }
        // The signer of a provenance is a certificate's identity, not a registry's key.
        assert!(holds(&npm, signed("npm-provenance", &["key"], at, proof)));
    }
    // One that lies ahead counts for nothing yet, but for what is dated after it.
    let ahead = revoked("npm/key", NOW.0 + 1);
    assert!(holds(&ahead, signed("npm-signature", &["key"], None, KeyOnly)));
}

#[test]
fn one_signer_that_is_not_revoked_is_enough() {
    let gone = revoked(&format!("debian/{ALICE}"), 500);
    let release = |by: &[&str]| signed("debian-release", by, Some(499), ProofClass::KeyOnly);
    assert!(!holds(&gone, release(&[ALICE])));
    assert!(holds(&gone, release(&[ALICE, BOB])));
    assert!(holds(&gone, release(&[BOB])));
    let mut evidence = release(&[ALICE]);
    gone.apply(&mut evidence, NOW);
    let EvidenceState::Invalid { because, .. } = &evidence.state else { panic!("{evidence:?}") };
    assert_eq!(
        *because,
        format!(
            "key `{ALICE}` is revoked since 1970-01-01T00:08:20Z, and nothing proves that it signed before"
        )
    );
}

#[test]
fn where_something_is_pinned_nothing_else_of_its_kind_counts() {
    let release = |by: &[&str]| signed("debian-release", by, None, ProofClass::KeyOnly);
    let pin = pinned(&[&format!("debian/{ALICE}")]);
    assert!(holds(&pin, release(&[ALICE])));
    assert!(holds(&pin, release(&[BOB, ALICE])));
    assert!(!holds(&pin, release(&[BOB])));
    assert!(holds(&pin, signed("npm-publish", &["key"], None, ProofClass::KeyOnly)));
}

#[test]
fn a_registry_s_key_is_pinned_by_its_digest() {
    let key = |id: &str, spki: &[u8]| TrustedKey {
        id: id.to_owned(),
        spki: spki.to_vec(),
        not_before: None,
        not_after: None,
    };
    let keys = || vec![key("a", b"right"), key("a", b"swapped"), key("b", b"right")];
    assert_eq!(Restrictions::default().pinned_keys(keys()).unwrap().len(), 3);
    let pins =
        |digest| Restrictions { pins: [(id("npm/a"), digest)].into(), ..Restrictions::default() };
    let kept = pins(Some(Sha256Digest::of(b"right"))).pinned_keys(keys()).unwrap();
    assert_eq!(kept, [key("a", b"right")]);
    assert_eq!(pins(None).pinned_keys(keys()).unwrap().len(), 2);
    let e = pins(Some(Sha256Digest::of(b"none"))).pinned_keys(keys()).unwrap_err();
    assert!(matches!(e.clone().into_state(), EvidenceState::Unreachable { .. }), "{e}");
}

#[test]
fn revoked_parts_of_a_root_end_at_their_revocation() {
    use base64::Engine as _;
    let b64 = |b: &[u8]| base64::engine::general_purpose::STANDARD.encode(b);
    let root = json!({
        "tlogs": [
            {"baseUrl": "https://log.example", "publicKey": {"rawBytes": b64(b"one"),
                "validFor": {"start": "1970-01-01T00:00:10Z"}}},
            {"publicKey": {"rawBytes": b64(b"two")}},
        ],
        "certificateAuthorities": [{"uri": "https://ca.example",
            "certChain": {"certificates": [{"rawBytes": b64(b"ca")}]},
            "validFor": {"start": "1970-01-01T00:00:10Z", "end": "1970-01-01T00:00:20Z"}}],
    });
    let ends = |restrictions: &Restrictions| -> Vec<Option<i64>> {
        let mut root = root.clone();
        end_revoked(&mut root, restrictions);
        root_parts(&root).iter().map(|p| p.until.map(|t| t.0)).collect()
    };
    assert_eq!(ends(&Restrictions::default()), [Some(20), None, None]);
    let one = format!("sigstore/{}", Sha256Digest::of(b"one"));
    assert_eq!(ends(&revoked(&one, 15)), [Some(20), Some(15), None]);
    assert_eq!(ends(&revoked("sigstore", 15)), [Some(15), Some(15), Some(15)]);
    // An end that comes before stays.
    assert_eq!(ends(&revoked("sigstore", 25)), [Some(20), Some(25), Some(25)]);
    let parts = root_parts(&root);
    assert_eq!(parts[0].what, "certificate authority");
    assert_eq!(
        (parts[1].address.as_str(), parts[1].from),
        ("https://log.example", Some(Timestamp(10)))
    );
}

#[test]
fn other_restrictions_have_another_text() {
    let all = [
        Restrictions::default(),
        revoked("npm/a", 1),
        revoked("npm/a", 2),
        revoked("npm/b", 1),
        pinned(&["npm/a"]),
    ];
    let texts: BTreeSet<String> = all.iter().map(Restrictions::canonical).collect();
    assert_eq!(texts.len(), all.len());
    assert!(all[0].is_empty() && !all[1].is_empty() && !all[4].is_empty());
}
