//! What is signed: in-toto statements about artifacts and about the gate's own acts.
//!
//! A decision is a SLSA Verification Summary (SLSA v1.0, "Verification Summary Attestation"). What
//! the summary has no place for (the verdict in three values, the rules that fired, the waivers,
//! the evidence) stands in the member `countersign` of the predicate.
//!
//! # Subjects without bytes
//!
//! An artifact that was refused before all of its bytes arrived has no digest, and an in-toto
//! subject needs one. Its subject is the purl alone: `digest` holds the single algorithm
//! [`REFUSED_PURL`], whose value is the SHA-256 of the purl's text in hexadecimal. No artifact can
//! match it, and such a statement can never say PASSED.

use countersign_core::{
    Decision, Digests, Evidence, ExpectedDigest, Purl, Sha256Digest, Timestamp, Verdict,
};
use serde_json::{Map, Value, json};

/// The type of an in-toto statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The predicate type of a decision.
pub const VSA_TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// The predicate type of a waiver that was granted.
pub const WAIVER_TYPE: &str = "urn:countersign:waiver:v1";

/// The predicate type of a waiver that was taken back.
pub const WAIVER_REVOKED_TYPE: &str = "urn:countersign:waiver-revoked:v1";

/// The predicate type of a recall: what was admitted, judged again.
pub const RECALL_TYPE: &str = "urn:countersign:recall:v1";

/// The predicate type of a change of what decisions rest on: policy, lists, feeds, trust roots.
pub const GROUNDS_TYPE: &str = "urn:countersign:grounds:v1";

/// The predicate type of a change of what is trusted: a root that was taken up, a pin, a revocation.
pub const TRUST_TYPE: &str = "urn:countersign:trust:v1";

/// The digest algorithm of a subject that has no bytes.
pub const REFUSED_PURL: &str = "countersignRefusedPurl";

/// Why a statement cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A verdict is bound to a digest; an admission without one would be bound to a name.
    #[error("`{purl}` cannot be admitted without the digest of its bytes")]
    AdmitWithoutDigest {
        /// The artifact.
        purl: String,
    },
    /// The name cannot be written as a purl and read back: nobody could tell what was decided upon.
    #[error("`{purl}` cannot be read back as a package URL, so no decision about it can be signed")]
    Unnameable {
        /// The purl's text.
        purl: String,
    },
    /// The statement has not the form of a decision.
    #[error("the statement is not a decision of the gate: {because}")]
    NotADecision {
        /// What is missing or contradicts itself.
        because: &'static str,
    },
}

/// Who verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// A URI that names the gate.
    pub id: String,
    /// The gate's version.
    pub version: String,
}

/// An attestation that took part in the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputAttestation {
    /// Where it was found, without credentials.
    pub uri: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

/// Everything that a decision's statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The version that was asked for.
    pub purl: Purl,
    /// The name of the file.
    pub file_name: String,
    /// The digests of all its bytes; `None` when it was refused before they had arrived.
    pub digests: Option<Digests>,
    /// The decision.
    pub decision: Decision,
    /// When it was made.
    pub time_verified: Timestamp,
    /// A URI that names the policy; its digest is the decision's.
    pub policy_uri: String,
    /// Who made it.
    pub verifier: Verifier,
    /// The attestations that were used.
    pub input_attestations: Vec<InputAttestation>,
    /// All evidence that was looked for, and how it stood.
    pub evidence: Vec<Evidence>,
    /// The digest of the facts that were judged, as stored.
    pub facts_digest: Option<Sha256Digest>,
    /// The SLSA levels that were verified, at most one a track; only shown where the verdict is
    /// admit.
    pub verified_levels: Vec<String>,
}

/// The statement of a decision.
///
/// `verificationResult` is PASSED for admit and FAILED for hold and refuse. In audit mode the
/// verdict is admit whatever fired: `countersign.auditOnly` says so, with the rules.
///
/// # Errors
/// When an admission has no digest, or the purl's text is no purl (an empty name, for example).
pub fn vsa(record: &DecisionRecord) -> Result<Value, StatementError> {
    let purl = record.purl.to_string();
    if purl.parse::<Purl>().is_err() {
        return Err(StatementError::Unnameable { purl });
    }
    let decision = &record.decision;
    let admitted = decision.verdict == Verdict::Admit;
    if admitted && record.digests.is_none() {
        return Err(StatementError::AdmitWithoutDigest { purl });
    }
    let levels = match (admitted, record.verified_levels.is_empty()) {
        (false, _) => json!(["FAILED"]),
        (true, true) => json!(["SLSA_BUILD_LEVEL_UNEVALUATED"]),
        (true, false) => json!(record.verified_levels),
    };
    let inputs: Vec<Value> = record
        .input_attestations
        .iter()
        .map(|a| json!({"uri": a.uri, "digest": {"sha256": a.sha256}}))
        .collect();
    let mut details = json!({
        "verdict": decision.verdict,
        "auditOnly": decision.audit_only,
        "fired": decision.fired,
        "waivers": decision.waivers,
        "evidence": record.evidence,
    });
    if let (Some(facts), Value::Object(map)) = (record.facts_digest, &mut details) {
        map.insert("factsDigest".into(), json!({"sha256": facts}));
    }
    Ok(json!({
        "_type": STATEMENT_TYPE,
        "subject": [{
            "name": record.file_name,
            "uri": purl,
            "digest": subject_digest(record.digests.as_ref(), &purl),
        }],
        "predicateType": VSA_TYPE,
        "predicate": {
            "verifier": {
                "id": record.verifier.id,
                "version": {"countersign": record.verifier.version},
            },
            "timeVerified": record.time_verified,
            "resourceUri": purl,
            "policy": {"uri": record.policy_uri, "digest": policy_digest(&decision.policy)},
            "inputAttestations": inputs,
            "verificationResult": if admitted { "PASSED" } else { "FAILED" },
            "verifiedLevels": levels,
            "slsaVersion": "1.0",
            "countersign": details,
        },
    }))
}

fn subject_digest(digests: Option<&Digests>, purl: &str) -> Value {
    let mut map = Map::new();
    match digests {
        Some(digests) => {
            map.insert("sha256".into(), json!(digests.sha256));
            let name = |d: &ExpectedDigest| (d.algorithm().name().to_owned(), json!(d.to_hex()));
            let others = digests.others.iter().map(name).filter(|(n, _)| n != "sha256");
            map.extend(others);
        }
        None => {
            map.insert(REFUSED_PURL.into(), json!(Sha256Digest::of(purl.as_bytes())));
        }
    }
    Value::Object(map)
}

/// The policy's digest under `sha256` when it is one, and under a name of ours when it is another.
fn policy_digest(text: &str) -> Value {
    match text.parse::<Sha256Digest>() {
        Ok(digest) => json!({"sha256": digest}),
        Err(_) => json!({"countersignPolicy": text}),
    }
}

/// A statement about an act of the gate that is no decision: a waiver, a key, a configuration.
///
/// The subject is `name` with the SHA-256 of the predicate's JSON.
#[must_use]
pub fn event(predicate_type: &str, name: &str, predicate: Value) -> Value {
    let digest = Sha256Digest::of(predicate.to_string().as_bytes());
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// What a decision's statement says, read back. Worth as much as the statement: verify that first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionView {
    /// The version.
    pub purl: Purl,
    /// The file.
    pub file_name: String,
    /// The digest; `None` for a subject without bytes.
    pub sha256: Option<Sha256Digest>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the policy only recorded.
    pub audit_only: bool,
    /// When it was decided.
    pub time_verified: Timestamp,
    /// Who decided.
    pub verifier_id: String,
}

/// Reads a decision's statement: exactly one subject, and a result that agrees with the verdict.
///
/// # Errors
/// When the statement is no decision, or contradicts itself.
pub fn read_decision(statement: &Value) -> Result<DecisionView, StatementError> {
    let bad = |because| StatementError::NotADecision { because };
    let at = |path: &str| statement.pointer(path);
    let text = |path: &str| at(path).and_then(Value::as_str);
    if text("/_type") != Some(STATEMENT_TYPE) || text("/predicateType") != Some(VSA_TYPE) {
        return Err(bad("it is of another type"));
    }
    if at("/subject").and_then(Value::as_array).is_none_or(|s| s.len() != 1) {
        return Err(bad("it does not have exactly one subject"));
    }
    let purl: Purl = text("/predicate/resourceUri")
        .and_then(|t| t.parse().ok())
        .ok_or(bad("it names no package"))?;
    let verdict = at("/predicate/countersign/verdict").cloned();
    let verdict: Verdict =
        verdict.and_then(|v| serde_json::from_value(v).ok()).ok_or(bad("it has no verdict"))?;
    let result = if verdict == Verdict::Admit { "PASSED" } else { "FAILED" };
    if text("/predicate/verificationResult") != Some(result) {
        return Err(bad("its result contradicts its verdict"));
    }
    let digests = at("/subject/0/digest").and_then(Value::as_object);
    let digests = digests.ok_or(bad("its subject has no digest"))?;
    let sha256 = match digests.get("sha256") {
        Some(hex) => Some(
            hex.as_str().and_then(|h| h.parse().ok()).ok_or(bad("its subject has a bad digest"))?,
        ),
        None if digests.contains_key(REFUSED_PURL) && verdict != Verdict::Admit => None,
        None => return Err(bad("its subject has no digest")),
    };
    Ok(DecisionView {
        purl,
        file_name: text("/subject/0/name").ok_or(bad("its subject has no name"))?.to_owned(),
        sha256,
        verdict,
        audit_only: at("/predicate/countersign/auditOnly")
            .and_then(Value::as_bool)
            .ok_or(bad("it does not say whether it is an audit"))?,
        time_verified: text("/predicate/timeVerified")
            .and_then(Timestamp::parse)
            .ok_or(bad("it has no time"))?,
        verifier_id: text("/predicate/verifier/id").ok_or(bad("it has no verifier"))?.to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use countersign_core::{Algorithm, EvidenceState, FiredRule, ReasonCode};

    pub(crate) fn record(verdict: Verdict, bytes: Option<&[u8]>) -> DecisionRecord {
        let fired = match verdict {
            Verdict::Admit => vec![],
            verdict => vec![FiredRule {
                rule: "cool-down".into(),
                verdict,
                reason: ReasonCode::CoolDown,
                detail: "2 days old, 7 wanted".into(),
                until: Some(Timestamp(2_000_000_000)),
            }],
        };
        DecisionRecord {
            purl: "pkg:pypi/flask@3.0.0".parse().unwrap(),
            file_name: "flask-3.0.0-py3-none-any.whl".into(),
            digests: bytes.map(|b| Digests {
                sha256: Sha256Digest::of(b),
                others: vec![ExpectedDigest::from_bytes(Algorithm::Sha512, vec![5; 64]).unwrap()],
            }),
            decision: Decision::from_fired(fired, false, Sha256Digest::of(b"policy").to_hex()),
            time_verified: Timestamp(1_800_000_000),
            policy_uri: "file:policies/default.cedar".into(),
            verifier: Verifier { id: "https://gate.example/".into(), version: "0.1.0".into() },
            input_attestations: vec![InputAttestation {
                uri: "https://files.example/flask.provenance".into(),
                sha256: Sha256Digest::of(b"attestation"),
            }],
            evidence: vec![Evidence {
                kind: "pep740".into(),
                source: "index".into(),
                state: EvidenceState::Absent,
            }],
            facts_digest: Some(Sha256Digest::of(b"facts")),
            verified_levels: vec!["SLSA_BUILD_LEVEL_2".into()],
        }
    }

    #[test]
    fn an_admission_passes_with_every_member_that_slsa_asks_for() {
        let s = vsa(&record(Verdict::Admit, Some(b"wheel"))).unwrap();
        let p = &s["predicate"];
        assert_eq!(s["_type"], STATEMENT_TYPE);
        assert_eq!(s["predicateType"], VSA_TYPE);
        assert_eq!(s["subject"][0]["digest"]["sha256"], Sha256Digest::of(b"wheel").to_hex());
        assert_eq!(s["subject"][0]["digest"]["sha512"], "05".repeat(64));
        assert_eq!(p["verificationResult"], "PASSED");
        assert_eq!(p["verifiedLevels"], json!(["SLSA_BUILD_LEVEL_2"]));
        assert_eq!(p["resourceUri"], "pkg:pypi/flask@3.0.0");
        assert_eq!(p["timeVerified"], "2027-01-15T08:00:00Z");
        assert_eq!(p["policy"]["digest"]["sha256"], Sha256Digest::of(b"policy").to_hex());
        assert_eq!(p["verifier"]["id"], "https://gate.example/");
        assert!(p["inputAttestations"][0]["digest"]["sha256"].is_string());
        assert_eq!(p["countersign"]["verdict"], "admit");
    }

    #[test]
    fn holds_and_refusals_fail_and_name_their_rules() {
        for verdict in [Verdict::Hold, Verdict::Refuse] {
            let s = vsa(&record(verdict, Some(b"wheel"))).unwrap();
            let p = &s["predicate"];
            assert_eq!(p["verificationResult"], "FAILED");
            assert_eq!(p["verifiedLevels"], json!(["FAILED"]));
            assert_eq!(p["countersign"]["fired"][0]["rule"], "cool-down");
            assert_eq!(read_decision(&s).unwrap().verdict, verdict);
        }
    }

    #[test]
    fn a_refusal_without_bytes_names_the_purl_and_an_admission_cannot() {
        let s = vsa(&record(Verdict::Refuse, None)).unwrap();
        let digest = &s["subject"][0]["digest"];
        assert_eq!(digest[REFUSED_PURL], Sha256Digest::of(b"pkg:pypi/flask@3.0.0").to_hex());
        assert!(digest.get("sha256").is_none());
        assert_eq!(s["subject"][0]["uri"], "pkg:pypi/flask@3.0.0");
        assert_eq!(read_decision(&s).unwrap().sha256, None);
        assert!(vsa(&record(Verdict::Admit, None)).is_err());
    }

    #[test]
    fn a_name_that_no_purl_can_carry_is_not_signed() {
        let mut r = record(Verdict::Refuse, None);
        r.purl = Purl::new(countersign_core::Ecosystem::Npm, "", Some("1.0.0"));
        assert!(matches!(vsa(&r), Err(StatementError::Unnameable { .. })));
    }

    #[test]
    fn a_decision_reads_back_and_contradictions_do_not() {
        let r = record(Verdict::Admit, Some(b"wheel"));
        let s = vsa(&r).unwrap();
        let view = read_decision(&s).unwrap();
        assert_eq!((view.purl, view.file_name), (r.purl, r.file_name));
        assert_eq!(view.sha256, Some(Sha256Digest::of(b"wheel")));
        assert_eq!((view.verdict, view.time_verified), (Verdict::Admit, Timestamp(1_800_000_000)));
        for (path, value) in [
            ("/_type", json!("x")),
            ("/predicateType", json!(WAIVER_TYPE)),
            ("/subject", json!([])),
            ("/subject", json!([s["subject"][0], s["subject"][0]])),
            ("/subject/0/digest", json!({})),
            ("/subject/0/digest", json!({"sha256": "zz"})),
            ("/subject/0/digest", json!({REFUSED_PURL: "00"})),
            ("/predicate/verificationResult", json!("FAILED")),
            ("/predicate/countersign/verdict", json!("refuse")),
            ("/predicate/countersign/verdict", json!("maybe")),
            ("/predicate/timeVerified", json!(7)),
        ] {
            let mut other = s.clone();
            *other.pointer_mut(path).unwrap() = value.clone();
            assert!(read_decision(&other).is_err(), "{path} = {value}");
        }
    }

    #[test]
    fn another_kind_of_policy_digest_keeps_its_text() {
        assert_eq!(policy_digest("v1:abc"), json!({"countersignPolicy": "v1:abc"}));
    }
}
