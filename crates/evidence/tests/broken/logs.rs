//! Logs: proofs, checkpoints, promises, and what the entry is about.

use crate::broken;
use crate::case::{
    accepted, attestation, attestation2, first, intoto, keyed, managed, message, message2, second,
    stamped,
};
use crate::mint::log::{LogKey, sha256};
use crate::mint::{AT, DAY, b64, pem, unb64, x509};
use serde_json::{Value, json};

/// The same bytes with the first one changed.
fn changed(value: &Value) -> Value {
    let mut bytes = unb64(value);
    bytes[0] ^= 1;
    b64(&bytes).into()
}

fn ends(log: usize, end: &'static str) -> impl Fn(&mut Value) {
    move |r| r["tlogs"][log]["publicKey"]["validFor"]["end"] = end.into()
}

fn starts(log: usize, start: &'static str) -> impl Fn(&mut Value) {
    move |r| r["tlogs"][log]["publicKey"]["validFor"]["start"] = start.into()
}

broken! {
    a_hash_of_the_proof: message(), "inclusion-proof",
        |c| c.on_proof(|p| p["hashes"][0] = changed(&p["hashes"][0]));
    a_hash_of_the_second_version_s_proof: message2(), "inclusion-proof",
        |c| c.on_proof(|p| p["hashes"][1] = changed(&p["hashes"][1]));
    a_hash_too_few: message(), "inclusion-proof",
        |c| c.on_proof(|p| { p["hashes"].as_array_mut().unwrap().pop(); });
    a_hash_too_many: message(), "inclusion-proof", |c| c.on_proof(|p| {
        let more = p["hashes"][0].clone();
        p["hashes"].as_array_mut().unwrap().push(more);
    });
    hashes_in_another_order: message(), "inclusion-proof",
        |c| c.on_proof(|p| p["hashes"].as_array_mut().unwrap().reverse());
    no_hashes: message(), "inclusion-proof", |c| c.on_proof(|p| p["hashes"] = json!([]));
    the_proof_s_index: message(), "inclusion-proof", |c| c.on_proof(|p| p["logIndex"] = "2".into());
    the_second_version_s_index: message2(), "inclusion-proof",
        |c| c.on_entry(|e| e["logIndex"] = "2".into());
    index_beyond_the_tree: message(), "inclusion-proof",
        |c| c.on_proof(|p| p["logIndex"] = "7".into());
    index_beyond_the_second_version_s_tree: message2(), "inclusion-proof",
        |c| c.on_entry(|e| e["logIndex"] = "9".into());
    the_proof_s_root: message(), "checkpoint",
        |c| c.on_proof(|p| p["rootHash"] = changed(&p["rootHash"]));
    the_checkpoint_s_root: message(), "checkpoint", |c| c.recipe.checkpoint_root = Some([7; 32]);
    the_second_version_s_checkpoint_s_root: message2(), "inclusion-proof",
        |c| c.recipe.checkpoint_root = Some([7; 32]);
    the_proof_s_tree_size: message(), "checkpoint", |c| c.on_proof(|p| p["treeSize"] = "8".into());
    the_checkpoint_s_tree_size: message(), "checkpoint",
        |c| c.recipe.checkpoint_size = Some(8);
    checkpoint_smaller_than_the_index: message(), "checkpoint",
        |c| c.recipe.checkpoint_size = Some(2);
    second_version_s_checkpoint_smaller_than_the_index: message2(), "inclusion-proof",
        |c| c.recipe.checkpoint_size = Some(2);
    an_empty_tree: message2(), "inclusion-proof", |c| c.recipe.checkpoint_size = Some(0);
    checkpoint_by_an_unknown_key: message(), "checkpoint",
        |c| c.recipe.checkpoint_by = Some(LogKey::first());
    second_version_s_checkpoint_by_an_unknown_key: message2(), "checkpoint",
        |c| c.recipe.checkpoint_by = Some(LogKey::second("log2.example"));
    checkpoint_with_another_log_s_signature_too: message(), "checkpoint", |c| {
        let text = "x\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        c.recipe.checkpoint_more = c.mint.second.note_line("log2.example", text);
    };
    checkpoint_s_signature_changed: message(), "checkpoint", |c| c.on_checkpoint(|t| {
        let (head, signature) = t.trim_end().rsplit_once(' ').unwrap();
        let mut bytes = unb64(&signature.into());
        *bytes.last_mut().unwrap() ^= 1;
        format!("{head} {}\n", b64(&bytes))
    });
    checkpoint_s_origin_changed: message(), "checkpoint",
        |c| c.on_checkpoint(|t| t.replacen("log.example", "xog.example", 1));
    checkpoint_without_signatures: message(), "malformed",
        |c| c.on_checkpoint(|t| format!("{}\n\n", t.split_once("\n\n").unwrap().0));
    checkpoint_of_the_other_version_s_log: message2(), "checkpoint", |c| {
        let first = std::mem::replace(&mut c.mint.first, LogKey::first());
        let id = first.id();
        let spki = first.spki();
        c.recipe.checkpoint_by = Some(first);
        c.on_roots(move |r| {
            r["tlogs"][0]["logId"]["keyId"] = b64(&id).into();
            r["tlogs"][0]["publicKey"]["rawBytes"] = b64(&spki).into();
        });
    };
    text_behind_the_checkpoint: message(), "checkpoint",
        |c| c.on_checkpoint(|t| format!("{t}\n\nmore"));
    checkpoint_with_carriage_returns: message(), "checkpoint",
        |c| c.on_checkpoint(|t| t.replacen('\n', "\r\n", 1));
    an_empty_checkpoint: message(), "checkpoint", |c| c.on_checkpoint(|_| String::new());
    no_checkpoint: message(), "checkpoint",
        |c| c.on_proof(|p| { p.as_object_mut().unwrap().remove("checkpoint"); });
    no_log_entry: message(), "bundle",
        |c| c.on_bundle(|b| b["verificationMaterial"]["tlogEntries"] = json!([]));
    the_same_log_entry_twice: message(), "bundle", |c| c.on_bundle(|b| {
        let list = b["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    neither_proof_nor_promise: message(), "inclusion-proof", |c| {
        c.recipe.proof = false;
        c.recipe.promise = false;
    };
    no_proof_in_the_third_version: message(), "bundle", |c| c.recipe.proof = false;
    no_proof_in_the_second_version: second(), "bundle", |c| c.recipe.proof = false;
    no_promise_in_the_first_version: first(), "bundle", |c| {
        c.recipe.promise = false;
        c.recipe.proof = true;
        c.recipe.stamps = vec![crate::mint::tsa::Stamp::default()];
    };
    no_time_at_all: message(), "no-time", |c| c.recipe.promise = false;
    no_time_in_the_second_version: message2(), "no-time", |c| c.recipe.stamps.clear();
    promise_by_an_unknown_key: message(), "inclusion-promise",
        |c| c.recipe.promised_by = Some(LogKey::first());
    promise_by_an_unknown_key_in_the_first_version: first(), "inclusion-promise",
        |c| c.recipe.promised_by = Some(LogKey::first());
    promise_for_another_time: message(), "inclusion-promise",
        |c| c.recipe.promised = Some(AT + 1);
    time_moved_back_into_the_certificate: message(), "inclusion-promise", |c| {
        c.recipe.integrated = AT + DAY;
        c.on_entry(|e| e["integratedTime"] = AT.to_string().into());
    };
    promise_for_another_body: first(), "inclusion-promise", |c| c.on_entry(|e| {
        let body = String::from_utf8(unb64(&e["canonicalizedBody"])).unwrap();
        e["canonicalizedBody"] = b64(format!("{body} ").as_bytes()).into();
    });
    promise_for_another_index: first(), "inclusion-promise",
        |c| c.on_entry(|e| e["logIndex"] = "104".into());
    an_empty_promise: first(), "inclusion-promise",
        |c| c.on_entry(|e| e["inclusionPromise"]["signedEntryTimestamp"] = "".into());
    an_unknown_log: message(), "unknown-log",
        |c| c.on_entry(|e| e["logId"]["keyId"] = b64(&[9; 32]).into());
    a_log_id_that_is_none: message(), "unknown-log",
        |c| c.on_entry(|e| e["logId"]["keyId"] = b64(&[9; 31]).into());
    the_other_log: message(), "checkpoint", |c| {
        let id = b64(&c.mint.second.id());
        c.on_entry(move |e| e["logId"]["keyId"] = id.clone().into());
    };
    the_roots_know_another_log: message(), "unknown-log", |c| {
        let other = crate::mint::Mint::new().trusted_root();
        c.on_roots(move |r| r["tlogs"] = other["tlogs"].clone());
    };
    logged_after_the_log_s_key: message(), "inclusion-promise",
        |c| c.on_roots(ends(0, "2025-01-01T00:00:00Z"));
    logged_before_the_log_s_key: message(), "inclusion-promise",
        |c| c.on_roots(starts(0, "2025-07-01T00:00:00Z"));
    stamped_after_the_log_s_key: stamped(), "log-window",
        |c| c.on_roots(ends(0, "2025-01-01T00:00:00Z"));
    stamped_before_the_log_s_key: stamped(), "log-window",
        |c| c.on_roots(starts(0, "2025-07-01T00:00:00Z"));
    second_version_after_the_log_s_key: message2(), "log-window",
        |c| c.on_roots(ends(1, "2025-01-01T00:00:00Z"));
    second_version_before_the_log_s_key: attestation2(), "log-window",
        |c| c.on_roots(starts(1, "2025-07-01T00:00:00Z"));
    entry_of_another_signature: message(), "log-entry", |c| {
        let other = b64(&c.mint.signer.sign(b"an artifact"));
        c.on_body(move |b| b["spec"]["signature"]["content"] = other.clone().into());
    };
    entry_of_another_certificate: message(), "log-entry", |c| {
        let mut leaf = c.recipe.leaf.clone();
        leaf.not_after += 1;
        let other = b64(pem("CERTIFICATE", &c.mint.leaf(&leaf)).as_bytes());
        c.on_body(move |b| {
            b["spec"]["signature"]["publicKey"]["content"] = other.clone().into();
        });
    };
    entry_of_another_digest: message(), "log-entry",
        |c| c.on_body(|b| b["spec"]["data"]["hash"]["value"] = hex::encode([1; 32]).into());
    entry_with_a_weak_digest: message(), "log-entry",
        |c| c.on_body(|b| b["spec"]["data"]["hash"] = json!({"algorithm": "md5", "value": "00"}));
    second_version_s_entry_of_another_digest: message2(), "log-entry", |c| c.on_body(|b| {
        b["spec"]["hashedRekordV002"]["data"]["digest"] = b64(&sha256(b"other")).into();
    });
    second_version_s_entry_of_another_signature: attestation2(), "log-entry", |c| c.on_body(|b| {
        b["spec"]["hashedRekordV002"]["signature"]["content"] = "AAAA".into();
    });
    second_version_s_entry_of_another_certificate: message2(), "log-entry", |c| {
        let mut leaf = c.recipe.leaf.clone();
        leaf.not_after += 1;
        let other = b64(&c.mint.leaf(&leaf));
        c.on_body(move |b| {
            let verifier = &mut b["spec"]["hashedRekordV002"]["signature"]["verifier"];
            verifier["x509Certificate"]["rawBytes"] = other.clone().into();
        });
    };
    attestation_s_entry_of_another_payload: attestation(), "log-entry",
        |c| c.on_body(|b| b["spec"]["payloadHash"]["value"] = hex::encode([1; 32]).into());
    attestation_s_entry_of_another_signature: attestation(), "log-entry",
        |c| c.on_body(|b| b["spec"]["signatures"][0]["signature"] = "AAAA".into());
    attestation_s_entry_of_two_signatures: attestation(), "log-entry", |c| c.on_body(|b| {
        let list = b["spec"]["signatures"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    attestation_s_entry_of_another_certificate: attestation(), "log-entry", |c| {
        let mut leaf = c.recipe.leaf.clone();
        leaf.not_after += 1;
        let other = b64(pem("CERTIFICATE", &c.mint.leaf(&leaf)).as_bytes());
        c.on_body(move |b| b["spec"]["signatures"][0]["verifier"] = other.clone().into());
    };
    whole_entry_of_another_payload: intoto(), "log-entry", |c| c.on_body(|b| {
        b["spec"]["content"]["payloadHash"]["value"] = hex::encode([1; 32]).into();
    });
    whole_entry_of_another_payload_type: intoto(), "log-entry", |c| c.on_body(|b| {
        b["spec"]["content"]["envelope"]["payloadType"] = "text/plain".into();
    });
    whole_entry_of_another_signature: intoto(), "log-entry", |c| c.on_body(|b| {
        b["spec"]["content"]["envelope"]["signatures"][0]["sig"] = b64(b"AAAA").into();
    });
    whole_entry_of_another_certificate_of_the_same_key: intoto(), "log-entry", |c| {
        let mut leaf = c.recipe.leaf.clone();
        leaf.names = vec![x509::San::Uri("https://forge.example/evil".into())];
        let other = b64(pem("CERTIFICATE", &c.mint.leaf(&leaf)).as_bytes());
        c.on_body(move |b| {
            let signature = &mut b["spec"]["content"]["envelope"]["signatures"][0];
            signature["publicKey"] = other.clone().into();
        });
    };
    whole_entry_of_a_key_alone: intoto(), "log-entry", |c| {
        let key = b64(c.mint.signer_pem().as_bytes());
        c.on_body(move |b| {
            let signature = &mut b["spec"]["content"]["envelope"]["signatures"][0];
            signature["publicKey"] = key.clone().into();
        });
    };
    entry_of_a_key_where_a_certificate_signed: message(), "log-entry", |c| {
        let key = b64(c.mint.signer_pem().as_bytes());
        c.on_body(move |b| b["spec"]["signature"]["publicKey"]["content"] = key.clone().into());
    };
    managed_key_s_entry_of_another_key: managed(), "log-entry", |c| {
        let other = b64(pem("PUBLIC KEY", &x509::spki(&c.mint.other)).as_bytes());
        c.on_body(move |b| b["spec"]["signature"]["publicKey"]["content"] = other.clone().into());
    };
    registry_key_s_entry_of_another_key: keyed(), "log-entry", |c| {
        let other = b64(pem("PUBLIC KEY", &x509::spki(&c.mint.other)).as_bytes());
        c.on_body(move |b| b["spec"]["signatures"][0]["verifier"] = other.clone().into());
    };
    body_announces_another_kind: message(), "log-entry", |c| c.on_body(|b| b["kind"] = "dsse".into());
    body_announces_another_version: message(), "log-entry",
        |c| c.on_body(|b| b["apiVersion"] = "0.0.2".into());
    body_with_a_repeated_name: message(), "log-entry", |c| {
        c.recipe.body_text = Some(r#"{"apiVersion":"0.0.1","kind":"hashedrekord","kind":"x"}"#.into());
    };
    body_that_is_no_json: message(), "log-entry", |c| c.recipe.body_text = Some("{".into());
    second_version_called_the_first: message2(), "log-entry",
        |c| c.on_entry(|e| e["kindVersion"]["version"] = "0.0.1".into());
    first_version_called_the_second: message(), "log-entry",
        |c| c.on_entry(|e| e["kindVersion"]["version"] = "0.0.2".into());
    second_version_with_a_promise: message2(), "log-entry", |c| c.recipe.promise = true;
    second_version_with_a_time: message2(), "log-entry",
        |c| c.on_entry(|e| e["integratedTime"] = AT.to_string().into());
    an_entry_of_a_kind_for_attestations: message(), "log-entry",
        |c| c.on_entry(|e| e["kindVersion"] = json!({"kind": "dsse", "version": "0.0.1"}));
    an_entry_of_an_unknown_kind: message(), "malformed",
        |c| c.on_entry(|e| e["kindVersion"] = json!({"kind": "rpm", "version": "0.0.1"}));
    logged_in_the_future: message(), "future", |c| c.now = AT - 1;
    stamped_in_the_future: message2(), "future", |c| c.now = AT + 1;
    logged_before_the_signer_s_certificate: message(), "certificate-not-yet-valid",
        |c| c.recipe.integrated = AT - DAY;
    a_negative_time: message(), "inclusion-promise", |c| c.recipe.integrated = -5;
}

#[test]
fn good_variants_of_logs_hold() {
    accepted("a witness beside the log", message2(), |c| {
        let witness = LogKey::second("witness.example");
        c.recipe.checkpoint_more = witness.note_line("witness.example", "text");
    });
    accepted("the only leaf", message(), |c| (c.recipe.index, c.recipe.size) = (0, 1));
    accepted("the last leaf", message2(), |c| {
        (c.recipe.index, c.recipe.size, c.recipe.log_index) = (6, 7, 6);
    });
    accepted("the log's key ended later", message2(), |c| {
        c.on_roots(ends(1, "2025-07-01T00:00:00Z"));
    });
    // What the second version repeats outside of the checkpoint is unsigned and not looked at.
    accepted("unsigned duplicates", message2(), |c| {
        c.on_proof(|p| p["rootHash"] = changed(&p["rootHash"]));
    });
}
