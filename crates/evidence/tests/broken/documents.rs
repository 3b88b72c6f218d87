//! The document itself: one reading of it, or none.

use crate::broken;
use crate::case::{attestation, first, message, message2, second};
use crate::mint::{Version, b64};
use serde_json::json;

broken! {
    a_repeated_name: message(), "malformed",
        |c| c.on_text(|t| t.replacen('{', r#"{"mediaType":"x","#, 1));
    a_repeated_name_deep_inside: message(), "malformed",
        |c| c.on_text(|t| t.replacen(r#""logIndex":"#, r#""logIndex":"9","logIndex":"#, 1));
    a_repeated_name_in_other_writing: message(), "malformed",
        |c| c.on_text(|t| t.replacen('{', r#"{"media\u0054ype":"x","#, 1));
    something_behind_it: message(), "malformed", |c| c.on_text(|t| t + "{}");
    two_documents: message(), "malformed", |c| c.on_text(|t| format!("{t}\n{t}"));
    cut_short: message(), "malformed", |c| c.on_text(|t| t[..t.len() - 1].to_owned());
    empty: message(), "malformed", |c| c.on_text(|_| String::new());
    a_list: message(), "malformed", |c| c.on_text(|t| format!("[{t}]"));
    nested_without_end: message(), "malformed", |c| c.on_text(|_| "[".repeat(100_000));
    beyond_the_limit: message(), "too-large", |c| c.on_text(|t| t + &" ".repeat(5 << 20));
    with_a_comment: message(), "malformed", |c| c.on_text(|t| format!("// bundle\n{t}"));
    with_a_byte_order_mark: message(), "malformed", |c| c.on_text(|t| format!("\u{feff}{t}"));
    an_unknown_media_type: message(), "malformed",
        |c| c.on_bundle(|b| b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json".into());
    no_media_type: message(), "malformed",
        |c| c.on_bundle(|b| { b.as_object_mut().unwrap().remove("mediaType"); });
    a_media_type_that_is_a_list: message(), "malformed",
        |c| c.on_bundle(|b| b["mediaType"] = json!([b["mediaType"]]));
    a_chain_in_the_third_version: second(), "bundle", |c| c.on_bundle(|b| {
        b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.3+json".into();
    });
    a_first_version_called_the_second: first(), "bundle", |c| c.on_bundle(|b| {
        b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into();
    });
    the_second_log_in_the_first_version: message2(), "bundle",
        |c| c.recipe.version = Version::V01;
    an_unknown_field: message(), "malformed", |c| c.on_bundle(|b| b["note"] = "x".into());
    a_misspelt_field: message2(), "malformed", |c| c.on_bundle(|b| {
        let stamps = b["verificationMaterial"]["timestampVerificationData"].take();
        b["verificationMaterial"]["tymestampVerificationData"] = stamps;
    });
    no_material: message(), "malformed",
        |c| c.on_bundle(|b| { b.as_object_mut().unwrap().remove("verificationMaterial"); });
    no_content: message(), "malformed",
        |c| c.on_bundle(|b| { b.as_object_mut().unwrap().remove("messageSignature"); });
    no_certificate: message(), "malformed", |c| c.on_bundle(|b| {
        b["verificationMaterial"].as_object_mut().unwrap().remove("certificate");
    });
    both_contents: message(), "malformed", |c| {
        let envelope = attestation();
        let other = envelope.mint.bundle(&envelope.recipe)["dsseEnvelope"].clone();
        c.on_bundle(move |b| b["dsseEnvelope"] = other.clone());
    };
    a_certificate_and_a_key: message(), "malformed",
        |c| c.on_bundle(|b| b["verificationMaterial"]["publicKey"] = json!({"hint": "x"}));
    a_certificate_and_a_chain: message(), "malformed", |c| c.on_bundle(|b| {
        let certificate = b["verificationMaterial"]["certificate"].clone();
        b["verificationMaterial"]["x509CertificateChain"] = json!({"certificates": [certificate]});
    });
    an_empty_chain: second(), "bundle", |c| c.on_bundle(|b| {
        b["verificationMaterial"]["x509CertificateChain"]["certificates"] = json!([]);
    });
    too_many_certificates: second(), "too-large", |c| {
        let intermediate = c.mint.intermediate();
        c.recipe.intermediates = vec![intermediate; 8];
    };
    too_many_log_entries: message(), "too-large", |c| c.on_bundle(|b| {
        let list = b["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap();
        let entry = list[0].clone();
        list.extend(std::iter::repeat_n(entry, 8));
    });
    too_many_stamps: message2(), "too-large",
        |c| c.recipe.stamps = vec![c.recipe.stamps[0].clone(); 9];
    base64_with_a_line_end: message(), "malformed", |c| c.on_bundle(|b| {
        let text = b["messageSignature"]["signature"].as_str().unwrap().to_owned();
        b["messageSignature"]["signature"] = format!("{text}\n").into();
    });
    base64_with_a_space: message(), "malformed", |c| c.on_bundle(|b| {
        let text = b["messageSignature"]["signature"].as_str().unwrap().to_owned();
        b["messageSignature"]["signature"] = format!("{} {}", &text[..8], &text[8..]).into();
    });
    base64_with_too_much_padding: message(), "malformed", |c| c.on_bundle(|b| {
        let text = b["messageSignature"]["signature"].as_str().unwrap().to_owned();
        b["messageSignature"]["signature"] = format!("{text}====").into();
    });
    base64_with_loose_bits: message(), "malformed", |c| c.on_bundle(|b| {
        // 32 bytes leave two bits of the last letter unused; they must be zero.
        b["messageSignature"]["messageDigest"]["digest"] =
            format!("{}B=", &b64(&[0; 32])[..42]).into();
    });
    hexadecimal_for_base64: message(), "malformed", |c| c.on_bundle(|b| {
        let bytes = crate::mint::unb64(&b["messageSignature"]["signature"]);
        b["messageSignature"]["signature"] = format!("{}-!", hex::encode(bytes)).into();
    });
    an_index_that_is_no_number: message(), "malformed",
        |c| c.on_bundle(|b| b["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "x".into());
    a_negative_index: message(), "malformed",
        |c| c.on_bundle(|b| b["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "-1".into());
    an_index_beyond_all_numbers: message(), "malformed", |c| c.on_bundle(|b| {
        b["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "99999999999999999999".into();
    });
    a_time_that_is_no_number: message(), "malformed", |c| c.on_bundle(|b| {
        b["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "noon".into();
    });
    roots_without_a_log: message(), "trust-material",
        |c| c.on_roots(|r| r["tlogs"] = json!([]));
    roots_without_a_certificate_log: message(), "trust-material",
        |c| c.on_roots(|r| r["ctlogs"] = json!([]));
    roots_without_an_authority: message(), "trust-material",
        |c| c.on_roots(|r| r["certificateAuthorities"] = json!([]));
    roots_of_an_unknown_media_type: message(), "trust-material",
        |c| c.on_roots(|r| r["mediaType"] = "x".into());
    roots_with_the_same_log_twice: message(), "trust-material", |c| c.on_roots(|r| {
        let list = r["tlogs"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
    roots_with_two_logs_of_one_hint: message(), "trust-material", |c| c.on_roots(|r| {
        let mut other = r["tlogs"][1].clone();
        let mut id = crate::mint::unb64(&r["tlogs"][0]["logId"]["keyId"]);
        id[31] ^= 1;
        other["logId"]["keyId"] = b64(&id).into();
        r["tlogs"].as_array_mut().unwrap().push(other);
    });
    roots_with_a_window_that_ends_before_it_starts: message(), "trust-material",
        |c| c.on_roots(|r| {
            r["tlogs"][0]["publicKey"]["validFor"]["end"] = "2019-01-01T00:00:00Z".into();
        });
    roots_with_a_weak_log_key: message(), "trust-material", |c| c.on_roots(|r| {
        let weak = crate::mint::x509::weak_key("p-224");
        r["tlogs"][0]["publicKey"]["rawBytes"] = b64(&weak).into();
    });
}
