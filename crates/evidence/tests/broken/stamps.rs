//! RFC 3161 time stamps.

use crate::broken;
use crate::case::{accepted, attestation2, message, message2, stamped};
use crate::mint::tsa::Tsa;
use crate::mint::x509::{self, CODE_SIGNING};
use crate::mint::{AT, DAY, Mint, b64, unb64};

broken! {
    stamped_by_a_key_that_is_not_the_authority_s: message2(), "time-stamp",
        |c| c.recipe.stamps[0].foreign = true;
    stamped_by_an_unknown_authority: message2(), "time-stamp", |c| {
        let other = Mint::new().trusted_root();
        c.on_roots(move |r| r["timestampAuthorities"] = other["timestampAuthorities"].clone());
    };
    no_authority_in_the_roots: stamped(), "time-stamp",
        |c| c.on_roots(|r| r["timestampAuthorities"] = serde_json::json!([]));
    stamp_over_other_bytes: message2(), "time-stamp",
        |c| c.recipe.stamps[0].over = Some(b"other".to_vec());
    stamp_over_the_artifact: message2(), "time-stamp",
        |c| c.recipe.stamps[0].over = Some(crate::mint::ARTIFACT.to_vec());
    stamp_over_other_bytes_of_an_attestation: attestation2(), "time-stamp",
        |c| c.recipe.stamps[0].over = Some(b"other".to_vec());
    stamp_with_sha1: message2(), "time-stamp", |c| c.recipe.stamps[0].imprint = "sha1";
    stamp_whose_attributes_are_of_another_stamp: message2(), "time-stamp",
        |c| c.recipe.stamps[0].other_digest = true;
    stamp_that_was_not_granted: message2(), "time-stamp", |c| c.recipe.stamps[0].status = 2;
    stamp_that_is_no_stamp: message2(), "time-stamp",
        |c| c.recipe.stamps[0].content_type = "1.2.840.113549.1.7.1";
    stamp_after_the_signer_s_certificate: message2(), "certificate-expired",
        |c| c.recipe.stamps[0].at = AT + 541;
    stamp_before_the_signer_s_certificate: message2(), "certificate-not-yet-valid",
        |c| c.recipe.stamps[0].at = AT - 61;
    stamp_after_the_authority_s_certificate: message2(), "time-stamp", |c| {
        c.recipe.stamps[0].at = Tsa::too_late();
        c.recipe.leaf.not_after = Tsa::too_late() + DAY;
        c.now = Tsa::too_late() + DAY;
    };
    stamp_outside_of_the_authority_s_window: message2(), "time-stamp", |c| c.on_roots(|r| {
        r["timestampAuthorities"][0]["validFor"]["end"] = "2025-01-01T00:00:00Z".into();
    });
    stamp_before_the_authority_s_window: message2(), "time-stamp", |c| c.on_roots(|r| {
        r["timestampAuthorities"][0]["validFor"]["start"] = "2025-07-01T00:00:00Z".into();
    });
    authority_without_the_usage: message2(), "time-stamp",
        |c| { c.mint.tsa.leaf.extensions.pop(); };
    authority_for_code_signing: message2(), "time-stamp", |c| {
        c.mint.tsa.leaf.extensions.pop();
        c.mint.tsa.leaf.extensions.push(x509::extended_key_usage(&[CODE_SIGNING], true));
    };
    authority_with_another_key: message2(), "time-stamp",
        |c| c.mint.tsa.leaf.spki = x509::spki(&c.mint.other);
    authority_with_a_weak_key: message2(), "time-stamp",
        |c| c.mint.tsa.leaf.spki = x509::weak_key("rsa-1024");
    stamp_cut_short: message2(), "time-stamp", |c| c.on_bundle(|b| {
        let data = &mut b["verificationMaterial"]["timestampVerificationData"];
        let stamp = &mut data["rfc3161Timestamps"][0]["signedTimestamp"];
        let mut bytes = unb64(stamp);
        bytes.truncate(bytes.len() - 1);
        *stamp = b64(&bytes).into();
    });
    an_empty_stamp: message2(), "time-stamp", |c| c.on_bundle(|b| {
        let data = &mut b["verificationMaterial"]["timestampVerificationData"];
        data["rfc3161Timestamps"][0]["signedTimestamp"] = "".into();
    });
    a_bad_stamp_beside_a_good_one: message2(), "time-stamp", |c| {
        let mut bad = c.recipe.stamps[0].clone();
        bad.foreign = true;
        c.recipe.stamps.push(bad);
    };
    a_bad_stamp_beside_a_promise: message(), "time-stamp", |c| {
        c.recipe.stamps = vec![crate::mint::tsa::Stamp { foreign: true, ..Default::default() }];
    };
    a_backdated_stamp_beside_a_promise: message(), "certificate-not-yet-valid", |c| {
        c.recipe.stamps = vec![crate::mint::tsa::Stamp { at: AT - DAY, ..Default::default() }];
    };
    the_same_stamp_twice: message2(), "time-stamp", |c| c.on_bundle(|b| {
        let data = &mut b["verificationMaterial"]["timestampVerificationData"];
        let list = data["rfc3161Timestamps"].as_array_mut().unwrap();
        list.push(list[0].clone());
    });
}

#[test]
fn good_variants_of_stamps_hold() {
    accepted("two stamps", message2(), |c| {
        let mut other = c.recipe.stamps[0].clone();
        other.at += 1;
        c.recipe.stamps.push(other);
    });
    accepted("granted with changes", message2(), |c| c.recipe.stamps[0].status = 1);
}
