//! Attestations that a key of the organisation signed: in an envelope, in a bundle, in a log.

use crate::mint::{ARTIFACT, AT, DAY, IN_TOTO, Kind, Mint, NAME, Recipe, Rekor, Version, b64};
use countersign_core::{Claim, EvidenceState, ProofClass, Sha256Digest, Timestamp};
use countersign_evidence::keyed::{
    About, Keyring, OrganisationKey, is_keyed_bundle, statements, verify_attestation,
    verify_attestations,
};
use countersign_evidence::sigstore::TrustRoots;
use countersign_evidence::{Context, EvidenceError};
use serde_json::{Value, json};

const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

type Edit = Box<dyn Fn(&mut Value)>;

/// A good attestation, and how it is held against the keyring.
struct Case {
    mint: Mint,
    payload: Value,
    payload_text: Option<String>,
    payload_type: String,
    /// The payload type that is signed, where it differs from the envelope's.
    signed_type: Option<String>,
    /// Signed by somebody else.
    by_other: bool,
    bundle: bool,
    /// In a log, by this recipe.
    logged: Option<Recipe>,
    /// Changes to the envelope or the bundle after it was signed.
    edit: Option<Edit>,
    text: Option<Box<dyn Fn(String) -> String>>,
    keys: Vec<OrganisationKey>,
    /// Which predicate types the keys may attest.
    may: Vec<String>,
    recorded: Option<i64>,
    artifact: Vec<u8>,
    names: Vec<String>,
    now: i64,
}

fn id(spki: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(spki).to_hex())
}

fn organisation_key(name: &str, spki: Vec<u8>) -> OrganisationKey {
    let id = id(&spki);
    let name = name.to_owned();
    OrganisationKey { id, name, spki, not_before: None, not_after: None, revoked: None }
}

fn envelope() -> Case {
    let mint = Mint::new();
    let keys = vec![
        organisation_key("qa", mint.signer.spki()),
        organisation_key("release", Mint::new().signer.spki()),
    ];
    let mut payload = crate::mint::statement();
    payload["predicateType"] = TEST_RESULT.into();
    payload["predicate"] = json!({"result": "PASSED", "configuration": []});
    Case {
        mint,
        payload,
        payload_text: None,
        payload_type: IN_TOTO.into(),
        signed_type: None,
        by_other: false,
        bundle: false,
        logged: None,
        edit: None,
        text: None,
        keys,
        may: vec![TEST_RESULT.into()],
        recorded: None,
        artifact: ARTIFACT.to_vec(),
        names: vec![NAME.into(), "left-1.0.0.tgz".into()],
        now: AT + DAY,
    }
}

fn bundle() -> Case {
    Case { bundle: true, ..envelope() }
}

/// A key that ends, and a ledger that noted the signature before that.
fn recorded() -> Case {
    let mut out = envelope();
    out.keys[0].not_before = Some(Timestamp(AT - DAY));
    out.keys[0].not_after = Some(Timestamp(AT + 60));
    out.recorded = Some(AT);
    out
}

/// A bundle with a log's entry.
fn logged() -> Case {
    let mut out = envelope();
    let mut recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
    recipe.managed = true;
    recipe.payload = out.payload.clone();
    // The mint's hint is `signer`.
    out.keys[0].id = "signer".into();
    out.logged = Some(recipe);
    out
}

impl Case {
    fn on(&mut self, edit: impl Fn(&mut Value) + 'static) {
        self.edit = Some(Box::new(edit));
    }

    fn on_text(&mut self, edit: impl Fn(String) -> String + 'static) {
        self.text = Some(Box::new(edit));
    }

    fn payload(&self) -> Vec<u8> {
        self.payload_text.clone().unwrap_or_else(|| self.payload.to_string()).into_bytes()
    }

    fn document(&self) -> String {
        let mut out = match &self.logged {
            Some(recipe) => self.mint.bundle(recipe),
            None => self.signed(),
        };
        if let Some(edit) = &self.edit {
            edit(&mut out);
        }
        let out = out.to_string();
        self.text.as_ref().map_or(out.clone(), |edit| edit(out))
    }

    fn signed(&self) -> Value {
        let payload = self.payload();
        let kind = self.signed_type.as_ref().unwrap_or(&self.payload_type);
        let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
        let message = [head.as_bytes(), payload.as_slice()].concat();
        let key = if self.by_other { &self.mint.other } else { &self.mint.signer };
        let hint = id(&self.mint.signer.spki());
        let envelope = json!({
            "payload": b64(&payload), "payloadType": self.payload_type,
            "signatures": [{"keyid": hint, "sig": b64(&key.sign(&message))}],
        });
        if !self.bundle {
            return envelope;
        }
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": envelope,
        })
    }

    /// Verifies the document, by the door for one and by the door for many.
    fn verify(&self) -> Result<Claim, EvidenceError> {
        let roots = self.mint.trusted_root().to_string();
        let roots = TrustRoots::from_trusted_root_json(roots.as_bytes()).unwrap();
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let sha256 = Sha256Digest::of(&self.artifact);
        let about = About { names: &names, sha256: &sha256, sha512: None };
        let (allowed, recorded) = (&self.may, self.recorded);
        let may = |_: &OrganisationKey, uri: &str| allowed.iter().any(|m| m == uri);
        let payload = Sha256Digest::of(&self.payload());
        let when =
            |_: &str, digest: &Sha256Digest| recorded.filter(|_| *digest == payload).map(Timestamp);
        let keyring = Keyring { keys: &self.keys, may: &may, recorded: &when };
        let context = Context { roots: &roots, now: Timestamp(self.now), source: "test" };
        let document = self.document();
        let found = verify_attestation(document.as_bytes(), &about, &keyring, &context);
        let all = verify_attestations(document.as_bytes(), &about, &keyring, &context);
        let states: Vec<_> = all.into_iter().map(|e| e.state).collect();
        let expected = match &found {
            Ok(claim) => EvidenceState::Verified { claim: Box::new(claim.get().clone()) },
            Err(e) => e.clone().into_state(),
        };
        assert_eq!(states, [expected]);
        found.map(countersign_evidence::Verified::into_inner)
    }
}

fn refused(name: &str, mut case: Case, code: &str, change: impl Fn(&mut Case)) {
    if let Err(e) = case.verify() {
        panic!("{name}: the unchanged attestation does not hold: {} {e}", e.code());
    }
    change(&mut case);
    match case.verify() {
        Ok(claim) => panic!("{name}: accepted: {claim:?}"),
        Err(e) => assert_eq!(e.code(), code, "{name}: {e}"),
    }
}

/// One test: a name, the reason, and the change to a good attestation.
macro_rules! broken_keyed {
    ($($name:ident: $start:expr, $code:literal, $change:expr;)+) => {
        $(
            #[test]
            fn $name() {
                refused(stringify!($name), $start, $code, $change);
            }
        )+
    };
}

broken_keyed! {
    keyed_signature_by_somebody_else_under_the_key_s_id: envelope(), "signature",
        |c| c.by_other = true;
    keyed_signature_by_somebody_else_in_a_bundle: bundle(), "signature", |c| c.by_other = true;
    keyed_signature_by_a_key_that_nobody_knows: envelope(), "not-judged", |c| {
        c.by_other = true;
        let other = id(&c.mint.other.spki());
        c.on(move |e| e["signatures"][0]["keyid"] = other.as_str().into());
    };
    keyed_signature_by_nobody_that_is_named: envelope(), "not-judged", |c| {
        c.by_other = true;
        c.on(|e| { e["signatures"][0].as_object_mut().unwrap().remove("keyid"); });
    };
    keyed_signature_and_no_key_is_known: envelope(), "not-judged", |c| c.keys.clear();
    keyed_signature_under_another_known_key_s_id: envelope(), "signature", |c| {
        let other = c.keys[1].id.clone();
        c.on(move |e| e["signatures"][0]["keyid"] = other.as_str().into());
    };
    keyed_signature_cut_short: envelope(), "signature", |c| c.on(|e| {
        let sig = crate::mint::unb64(&e["signatures"][0]["sig"]);
        e["signatures"][0]["sig"] = b64(&sig[..sig.len() - 1]).into();
    });
    keyed_signature_with_a_byte_more: envelope(), "signature", |c| c.on(|e| {
        let sig = crate::mint::unb64(&e["signatures"][0]["sig"]);
        e["signatures"][0]["sig"] = b64(&[sig, vec![0]].concat()).into();
    });
    keyed_signature_that_is_empty: envelope(), "signature",
        |c| c.on(|e| e["signatures"][0]["sig"] = "".into());
    keyed_signature_that_is_no_base64: envelope(), "malformed",
        |c| c.on(|e| e["signatures"][0]["sig"] = "%".into());
    keyed_signature_that_is_a_number: envelope(), "malformed",
        |c| c.on(|e| e["signatures"][0]["sig"] = 1.into());
    keyed_second_signature_by_a_known_key_does_not_hold: envelope(), "signature", |c| {
        let other = c.keys[1].id.clone();
        c.on(move |e| {
            let mut second = e["signatures"][0].clone();
            second["keyid"] = other.as_str().into();
            e["signatures"].as_array_mut().unwrap().push(second);
        });
    };
    keyed_envelope_without_signatures: envelope(), "malformed",
        |c| c.on(|e| e["signatures"] = json!([]));
    keyed_envelope_with_many_signatures: envelope(), "too-large", |c| c.on(|e| {
        let one = e["signatures"][0].clone();
        e["signatures"] = vec![one; 9].into();
    });
    keyed_bundle_with_two_signatures: bundle(), "too-large", |c| c.on(|b| {
        let list = b["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    keyed_payload_exchanged: envelope(), "signature", |c| {
        let other = c.payload.to_string().replace("PASSED", "WARNED");
        c.on(move |e| e["payload"] = b64(other.as_bytes()).into());
    };
    keyed_payload_that_is_no_base64: envelope(), "malformed",
        |c| c.on(|e| e["payload"] = "%".into());
    keyed_payload_that_is_no_json: envelope(), "malformed",
        |c| c.payload_text = Some("statement".into());
    keyed_payload_with_a_repeated_name: envelope(), "malformed", |c| {
        let text = c.payload.to_string();
        c.payload_text = Some(text.replacen('{', "{\"predicate\":{},", 1));
    };
    keyed_payload_type_of_something_else: envelope(), "unsupported",
        |c| c.payload_type = "application/json".into();
    keyed_payload_type_that_was_not_signed: envelope(), "signature",
        |c| c.signed_type = Some("text/plain".into());
    keyed_envelope_without_a_payload_type: envelope(), "malformed",
        |c| c.on(|e| { e.as_object_mut().unwrap().remove("payloadType"); });
    keyed_envelope_with_a_repeated_name: envelope(), "malformed",
        |c| c.on_text(|t| t.replacen('{', "{\"payload\":\"\",", 1));
    keyed_envelope_that_is_a_list: envelope(), "malformed", |c| c.on(|e| *e = json!([e.clone()]));
    keyed_envelope_that_is_cut_short: envelope(), "malformed",
        |c| c.on_text(|t| t[..t.len() - 1].to_owned());
    keyed_bundle_without_an_envelope: bundle(), "malformed",
        |c| c.on(|b| { b.as_object_mut().unwrap().remove("dsseEnvelope"); });
    keyed_bundle_over_the_file_alone: bundle(), "unsupported",
        |c| c.on(|b| b["messageSignature"] = json!({"signature": "AA=="}));
    keyed_bundle_whose_key_is_taken_out: bundle(), "malformed",
        |c| c.on(|b| b["verificationMaterial"] = json!({}));
    keyed_statement_of_another_file: envelope(), "other-subject",
        |c| c.payload["subject"][0]["name"] = "right-1.0.0.tgz".into();
    keyed_statement_of_other_bytes: envelope(), "other-digest",
        |c| c.artifact = b"another artifact".to_vec();
    keyed_statement_with_a_weak_digest_only: envelope(), "no-common-digest",
        |c| c.payload["subject"][0]["digest"] = json!({"sha1": "00"});
    keyed_statement_without_a_subject: envelope(), "malformed",
        |c| c.payload["subject"] = json!([]);
    keyed_statement_about_other_files_of_the_release: envelope(), "other-subject", |c| {
        let other = json!({"name": "other.tgz", "digest": c.payload["subject"][0]["digest"]});
        c.payload["subject"] = vec![other; 2].into();
    };
    keyed_statement_that_names_the_file_twice: envelope(), "malformed", |c| {
        let one = c.payload["subject"][0].clone();
        c.payload["subject"] = vec![one; 2].into();
    };
    keyed_statement_that_lists_the_file_with_other_bytes: envelope(), "other-digest", |c| {
        let (mut one, other) = (c.payload["subject"][0].clone(), c.payload["subject"][0].clone());
        one["digest"]["sha256"] = "00".repeat(32).into();
        let other = json!({"name": "other.tgz", "digest": other["digest"]});
        c.payload["subject"] = json!([one, other]);
    };
    keyed_statement_of_an_unknown_version: envelope(), "malformed",
        |c| c.payload["_type"] = "https://in-toto.io/Statement/v9".into();
    keyed_predicate_without_what_its_type_requires: envelope(), "malformed",
        |c| c.payload["predicate"] = json!({"result": "PASSED"});
    keyed_predicate_with_an_unknown_outcome: envelope(), "malformed",
        |c| c.payload["predicate"]["result"] = "FINE".into();
    keyed_predicate_that_the_key_may_not_attest: envelope(), "not-judged", |c| c.may.clear();
    keyed_predicate_of_another_type_than_the_key_may: envelope(), "not-judged",
        |c| c.payload["predicateType"] = "https://predicate.example/v1".into();
    keyed_signature_by_a_revoked_key: envelope(), "revoked-key",
        |c| c.keys[0].revoked = Some(Timestamp(AT));
    keyed_signature_by_a_key_that_will_be_revoked: envelope(), "revoked-key",
        |c| c.keys[0].revoked = Some(Timestamp(AT + 2 * DAY));
    keyed_signature_by_a_key_that_has_ended: envelope(), "not-judged",
        |c| c.keys[0].not_after = Some(Timestamp(AT + DAY));
    keyed_signature_by_a_key_that_has_not_begun: envelope(), "key-window",
        |c| c.keys[0].not_before = Some(Timestamp(AT + DAY + 1));
    keyed_signature_noted_after_the_key_ended: recorded(), "key-window",
        |c| c.recorded = Some(AT + 60);
    keyed_signature_noted_before_the_key_began: recorded(), "key-window",
        |c| c.recorded = Some(AT - DAY - 1);
    keyed_signature_noted_after_the_revocation: recorded(), "revoked-key",
        |c| c.keys[0].revoked = Some(Timestamp(AT));
    keyed_signature_noted_in_the_future: recorded(), "future", |c| c.now = AT - 1;
    keyed_signature_by_an_ended_key_that_nobody_noted: recorded(), "not-judged",
        |c| c.recorded = None;
    keyed_key_of_a_kind_that_is_not_used: envelope(), "trust-material",
        |c| c.keys[0].spki = crate::mint::x509::weak_key("rsa-1024");
    keyed_log_entry_after_the_revocation: logged(), "revoked-key",
        |c| c.keys[0].revoked = Some(Timestamp(AT));
    keyed_log_entry_after_the_key_ended: logged(), "key-window",
        |c| c.keys[0].not_after = Some(Timestamp(AT));
    keyed_log_entry_of_another_tree: logged(), "inclusion-proof",
        |c| c.on(|b| {
            let hashes = &mut b["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"];
            hashes[0] = b64(&[0; 32]).into();
        });
    keyed_log_that_nobody_knows: logged(), "unknown-log", |c| c.on(|b| {
        b["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"] = b64(&[1; 32]).into();
    });
}

fn holds(mut case: Case, change: impl Fn(&mut Case)) -> Claim {
    change(&mut case);
    case.verify().unwrap_or_else(|e| panic!("{} {e}", e.code()))
}

#[test]
fn a_keyed_attestation_says_who_what_and_how_it_ended() {
    for start in [envelope(), bundle()] {
        let claim = holds(start, |_| ());
        let attested = claim.attested.unwrap();
        assert_eq!((claim.kind.as_str(), claim.signer.as_str()), (TEST_RESULT, "qa"));
        assert!(attested.key.starts_with("sha256:"));
        assert_eq!(attested.predicate, "test-result");
        assert_eq!(attested.outcome.as_deref(), Some("passed"));
        assert_eq!((claim.signed_at, claim.proof), (None, ProofClass::KeyOnly));
    }
    let failed = holds(envelope(), |c| c.payload["predicate"]["result"] = "FAILED".into());
    assert_eq!(failed.attested.unwrap().outcome.as_deref(), Some("failed"));
}

#[test]
fn the_key_s_hint_may_be_written_in_other_ways_or_left_out() {
    let hex = |c: &Case| c.keys[0].id["sha256:".len()..].to_owned();
    let as_hint =
        |hint: String| move |e: &mut Value| e["signatures"][0]["keyid"] = hint.clone().into();
    holds(envelope(), |c| c.on(as_hint(hex(c))));
    holds(envelope(), |c| c.on(as_hint(b64(&hex::decode(hex(c)).unwrap()))));
    holds(envelope(), |c| c.on(as_hint(String::new())));
    holds(envelope(), |c| c.on(as_hint("laptop".into())));
    holds(bundle(), |c| {
        c.on(|b| {
            b["dsseEnvelope"]["signatures"][0].as_object_mut().unwrap().remove("keyid");
        })
    });
}

#[test]
fn a_time_that_is_vouched_for_outlives_the_key() {
    let noted = holds(recorded(), |_| ());
    assert_eq!(noted.signed_at, Some(Timestamp(AT)));
    holds(recorded(), |c| c.keys[0].revoked = Some(Timestamp(AT + 1)));
    let logged = holds(logged(), |c| {
        c.keys[0].revoked = Some(Timestamp(AT + 1));
        c.keys[0].not_after = Some(Timestamp(AT + 1));
    });
    assert_eq!(logged.signed_at, Some(Timestamp(AT)));
    assert_eq!(logged.proof, ProofClass::InclusionProof);
    assert!(logged.log.unwrap().starts_with("https://log.example"));
}

#[test]
fn while_two_keys_overlap_both_count() {
    for (old, new) in [(0, 1), (1, 0)] {
        holds(envelope(), |c| {
            c.keys[old].not_after = Some(Timestamp(c.now + 1));
            c.keys[new].not_before = Some(Timestamp(c.now));
        });
    }
}

#[test]
fn a_release_lists_all_of_its_files() {
    holds(envelope(), |c| {
        let mut others = vec![json!({"name": "other.tgz", "digest": {"sha256": "00".repeat(32)}})];
        others.push(c.payload["subject"][0].clone());
        c.payload["subject"] = others.into();
    });
}

#[test]
fn a_document_holds_one_attestation_or_one_on_each_line() {
    let case = envelope();
    let roots = case.mint.trusted_root().to_string();
    let roots = TrustRoots::from_trusted_root_json(roots.as_bytes()).unwrap();
    let sha256 = Sha256Digest::of(ARTIFACT);
    let about = About { names: &[NAME], sha256: &sha256, sha512: None };
    let keyring = Keyring { keys: &case.keys, may: &|_, _| true, recorded: &|_, _| None };
    let context = Context { roots: &roots, now: Timestamp(AT + DAY), source: "test" };
    let count = |document: &str| {
        let all = verify_attestations(document.as_bytes(), &about, &keyring, &context);
        let holds = all.iter().filter(|e| e.claim().is_some()).count();
        (all.len(), holds)
    };
    let one = case.document();
    let pretty = serde_json::to_string_pretty(&case.signed()).unwrap();
    assert_eq!(count(&one), (1, 1));
    assert_eq!(count(&pretty), (1, 1));
    assert_eq!(count(&format!("{one}\n\n  {one}\r\n")), (2, 2));
    assert_eq!(count(&format!("{one}\nnonsense\n{one}")), (3, 2));
    assert_eq!(count(""), (1, 0));
    assert_eq!(count(&format!("{one}\n").repeat(257)), (1, 0));
    assert_eq!(statements(format!("{one}\n{one}").as_bytes()).len(), 2);
    assert!(!is_keyed_bundle(one.as_bytes()));
    assert!(is_keyed_bundle(bundle().document().as_bytes()));
}

#[test]
fn a_certificate_s_bundle_is_sigstore_s_to_judge() {
    let mint = Mint::new();
    let roots = mint.trusted_root().to_string();
    let roots = TrustRoots::from_trusted_root_json(roots.as_bytes()).unwrap();
    let recipe = Recipe::new(Version::V03, Kind::Statement, Rekor::First);
    let line = mint.bundle(&recipe).to_string();
    let sha256 = Sha256Digest::of(ARTIFACT);
    let about = About { names: &[NAME], sha256: &sha256, sha512: None };
    let keyring = Keyring { keys: &[], may: &|_, _| false, recorded: &|_, _| None };
    let context = Context { roots: &roots, now: Timestamp(AT + DAY), source: "test" };
    let all = verify_attestations(line.as_bytes(), &about, &keyring, &context);
    assert_eq!(all[0].kind, "sigstore");
    assert!(all[0].claim().unwrap().attested.is_none(), "{all:?}");
}

/// One bit of a good envelope flipped, at every byte: it is refused, or says the same.
#[test]
fn a_flipped_bit_never_makes_another_claim() {
    for start in [envelope(), bundle()] {
        let good = start.verify().unwrap();
        let text = start.document();
        let mut case = start;
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(other) = String::from_utf8(bytes) else { continue };
            case.text = Some(Box::new(move |_| other.clone()));
            if let Ok(claim) = case.verify() {
                assert_eq!(claim, good, "byte {at}");
            }
        }
    }
}
