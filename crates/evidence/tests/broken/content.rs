//! What was signed: files, attestations, and about what they are.

use crate::broken;
use crate::case::{
    Door, accepted, attestation, attestation2, intoto, keyed, managed, message, message2,
};
use crate::mint::{ARTIFACT, IN_TOTO, b64, pem, x509};
use countersign_core::Timestamp;
use serde_json::json;
use sha2::Digest as _;

broken! {
    another_file: message(), "artifact", |c| c.artifact = b"another artifact".to_vec();
    another_file_in_the_second_version: message2(), "artifact",
        |c| c.artifact = b"another artifact".to_vec();
    an_empty_file: message(), "artifact", |c| c.artifact.clear();
    signature_over_other_bytes: message(), "signature", |c| c.recipe.sign_other = true;
    signature_over_other_bytes_in_the_second_version: message2(), "signature",
        |c| c.recipe.sign_other = true;
    signature_over_another_attestation: attestation(), "signature",
        |c| c.recipe.sign_other = true;
    signature_over_another_attestation_logged_whole: intoto(), "signature",
        |c| c.recipe.sign_other = true;
    announced_digest_of_another_file: message(), "artifact", |c| c.on_bundle(|b| {
        b["messageSignature"]["messageDigest"]["digest"] = b64(&[1; 32]).into();
    });
    announced_digest_in_a_weak_algorithm: message(), "malformed", |c| c.on_bundle(|b| {
        b["messageSignature"]["messageDigest"] = json!({"algorithm": "MD5", "digest": "AAAA"});
    });
    announced_digest_cut_short: message(), "artifact", |c| c.on_bundle(|b| {
        b["messageSignature"]["messageDigest"]["digest"] = b64(&[1; 16]).into();
    });
    an_empty_signature: message(), "signature",
        |c| c.on_bundle(|b| b["messageSignature"]["signature"] = "".into());
    another_key_than_the_caller_s: managed(), "signature",
        |c| c.pem = Some(pem("PUBLIC KEY", &x509::spki(&c.mint.other)));
    a_weak_managed_key: managed(), "weak-algorithm",
        |c| c.pem = Some(pem("PUBLIC KEY", &x509::weak_key("rsa-1024")));
    a_managed_key_on_an_unknown_curve: managed(), "weak-algorithm",
        |c| c.pem = Some(pem("PUBLIC KEY", &x509::weak_key("secp256k1")));
    a_managed_key_that_is_a_certificate: managed(), "trust-material",
        |c| c.pem = Some(pem("CERTIFICATE", &c.mint.leaf(&c.recipe.leaf)));
    a_key_where_a_certificate_is_asked_for: managed(), "bundle", |c| c.pem = None;
    a_certificate_where_a_key_is_asked_for: message(), "bundle",
        |c| c.pem = Some(c.mint.signer_pem());
    a_certificate_where_a_registry_s_key_is_asked_for: keyed(), "bundle",
        |c| c.recipe.managed = false;
    a_registry_s_key_where_a_certificate_is_asked_for: attestation(), "bundle",
        |c| c.recipe.managed = true;
    an_unknown_registry_key: keyed(), "unknown-key", |c| c.key.id = "other".into();
    another_registry_key_under_the_same_id: keyed(), "signature",
        |c| c.key.spki = x509::spki(&c.mint.other);
    registry_key_not_valid_yet: keyed(), "key-window",
        |c| c.key.not_before = Some(Timestamp(crate::mint::AT + 1));
    registry_key_not_valid_any_more: keyed(), "key-window",
        |c| c.key.not_after = Some(Timestamp(crate::mint::AT));
    attestation_for_a_file: message(), "malformed", |c| c.door = Door::Attestation;
    payload_type_of_something_else: attestation(), "unsupported",
        |c| c.recipe.payload_type = "application/json".into();
    payload_type_of_something_else_for_a_file: attestation(), "unsupported", |c| {
        c.door = Door::File;
        c.recipe.payload_type = "text/plain".into();
    };
    payload_type_that_was_not_signed: attestation(), "signature",
        |c| c.recipe.signed_type = Some("text/plain".into());
    payload_type_in_other_case: attestation(), "unsupported",
        |c| c.recipe.payload_type = IN_TOTO.to_uppercase();
    two_signatures_on_the_envelope: attestation(), "malformed", |c| c.on_bundle(|b| {
        let list = b["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    no_signature_on_the_envelope: attestation(), "malformed",
        |c| c.on_bundle(|b| b["dsseEnvelope"]["signatures"] = json!([]));
    payload_exchanged: attestation(), "signature", |c| {
        let other = c.recipe.payload.to_string().replace("\"a\":1", "\"a\":2");
        c.on_bundle(move |b| b["dsseEnvelope"]["payload"] = b64(other.as_bytes()).into());
    };
    two_subjects: attestation(), "malformed", |c| c.on_payload(|p| {
        let list = p["subject"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    no_subject: attestation(), "malformed", |c| c.on_payload(|p| p["subject"] = json!([]));
    no_subject_for_a_file: attestation(), "no-common-digest", |c| {
        c.door = Door::File;
        c.on_payload(|p| p["subject"] = json!([]));
    };
    subject_of_another_name: attestation(), "other-subject",
        |c| c.on_payload(|p| p["subject"][0]["name"] = "pkg:npm/right@1.0.0".into());
    subject_of_another_version: attestation2(), "other-subject",
        |c| c.on_payload(|p| p["subject"][0]["name"] = "pkg:npm/left@1.0.1".into());
    subject_without_a_name: attestation(), "malformed", |c| c.on_payload(|p| {
        p["subject"][0].as_object_mut().unwrap().remove("name");
    });
    asked_for_another_name: attestation(), "other-subject",
        |c| c.name = "pkg:npm/left@1.0.0-rc.1".into();
    asked_for_other_bytes: attestation(), "other-digest", |c| c.artifact = b"other".to_vec();
    asked_for_another_file: attestation(), "other-digest", |c| {
        c.door = Door::File;
        c.artifact = b"other".to_vec();
    };
    digest_in_another_algorithm_only: attestation(), "no-common-digest", |c| c.on_payload(|p| {
        p["subject"][0]["digest"] = json!({"sha384": hex::encode(sha2::Sha384::digest(ARTIFACT))});
    });
    digest_in_a_weak_algorithm_only: attestation(), "no-common-digest",
        |c| c.on_payload(|p| p["subject"][0]["digest"] = json!({"md5": "00"}));
    one_digest_right_and_one_wrong: attestation(), "other-digest", |c| {
        c.door = Door::File;
        c.on_payload(|p| p["subject"][0]["digest"]["sha512"] = "00".repeat(64).into());
    };
    digest_cut_short: attestation(), "other-digest", |c| c.on_payload(|p| {
        let digest = p["subject"][0]["digest"]["sha256"].as_str().unwrap()[..16].to_owned();
        p["subject"][0]["digest"]["sha256"] = digest.into();
    });
    digest_that_is_a_number: attestation(), "malformed",
        |c| c.on_payload(|p| p["subject"][0]["digest"]["sha256"] = 5.into());
    statement_of_an_unknown_version: attestation(), "malformed",
        |c| c.on_payload(|p| p["_type"] = "https://in-toto.io/Statement/v9".into());
    statement_without_a_predicate_type: attestation(), "malformed", |c| c.on_payload(|p| {
        p.as_object_mut().unwrap().remove("predicateType");
    });
    statement_that_is_no_json: attestation(), "malformed",
        |c| c.recipe.payload_text = Some("statement".into());
    statement_with_a_repeated_name: attestation(), "malformed", |c| {
        let text = c.recipe.payload.to_string();
        c.recipe.payload_text = Some(text.replacen('{', r#"{"subject":[],"#, 1));
    };
    statement_with_a_repeated_name_deep_inside: attestation2(), "malformed", |c| {
        let text = c.recipe.payload.to_string();
        c.recipe.payload_text = Some(text.replacen(r#""a":1"#, r#""a":1,"a":2"#, 1));
    };
    statement_with_something_behind_it: attestation(), "malformed", |c| {
        c.recipe.payload_text = Some(format!("{}{{}}", c.recipe.payload));
    };
    statement_with_a_repeated_name_for_a_file: attestation(), "malformed", |c| {
        c.door = Door::File;
        let text = c.recipe.payload.to_string();
        c.recipe.payload_text = Some(text.replacen('{', r#"{"subject":[],"#, 1));
    };
}

#[test]
fn good_variants_of_contents_hold() {
    accepted("no announced digest", message(), |c| {
        c.on_bundle(|b| {
            b["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
        });
    });
    accepted("a file among the subjects", attestation(), |c| {
        c.door = Door::File;
        c.on_payload(|p| {
            let list = p["subject"].as_array_mut().unwrap();
            list.insert(0, json!({"name": "other", "digest": {"sha256": "00".repeat(32)}}));
        });
    });
    accepted("a second digest that is right", attestation(), |c| {
        c.door = Door::File;
        c.on_payload(|p| {
            let digest = hex::encode(sha2::Sha512::digest(ARTIFACT));
            p["subject"][0]["digest"]["sha512"] = digest.into();
        });
    });
    accepted("the first version of statements", attestation2(), |c| {
        c.on_payload(|p| p["_type"] = "https://in-toto.io/Statement/v0.1".into());
    });
    accepted("a registry's key", keyed(), |_| {});
    accepted("a key of the caller's", managed(), |_| {});
    accepted("a key of the caller's, logged in the second version", managed(), |c| {
        c.recipe.rekor = crate::mint::Rekor::Second;
        c.recipe.promise = false;
        c.recipe.log_index = c.recipe.index;
    });
}
