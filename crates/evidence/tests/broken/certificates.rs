//! Certificates: their time, their use, their issuer, their names, their time stamp in the log.

use crate::broken;
use crate::case::{accepted, attestation, attestation2, first, message, message2, second, stamped};
use crate::mint::x509::{self, San};
use crate::mint::{AT, By, DAY, Sct, YEAR, der};

const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const ANY_USAGE: &str = "2.5.29.37.0";

broken! {
    expired_when_logged: message(), "certificate-expired", |c| c.recipe.leaf.not_after = AT - 1;
    not_yet_valid_when_logged: message(), "certificate-not-yet-valid",
        |c| c.recipe.leaf.not_before = AT + 1;
    expired_when_stamped: message2(), "certificate-expired", |c| c.recipe.leaf.not_after = AT + 1;
    not_yet_valid_when_stamped: stamped(), "certificate-not-yet-valid",
        |c| c.recipe.leaf.not_before = AT + 3;
    expired_in_a_bundle_of_the_first_version: first(), "certificate-expired",
        |c| c.recipe.leaf.not_after = AT - 1;
    expired_of_an_attestation: attestation(), "certificate-expired",
        |c| c.recipe.leaf.not_after = AT - 1;
    for_servers_not_for_code: message(), "certificate-usage",
        |c| c.recipe.leaf.usages = vec![SERVER_AUTH];
    for_time_stamps_not_for_code: message(), "certificate-usage",
        |c| c.recipe.leaf.usages = vec![x509::TIME_STAMPING];
    for_any_usage: message(), "certificate-usage", |c| c.recipe.leaf.usages = vec![ANY_USAGE];
    for_no_named_usage: message(), "certificate-usage", |c| c.recipe.leaf.usages.clear();
    an_authority_signs: message(), "certificate-usage", |c| c.recipe.leaf.ca = true;
    an_authority_signs_an_attestation: attestation(), "certificate-usage",
        |c| c.recipe.leaf.ca = true;
    key_not_for_signatures: message(), "certificate-usage",
        |c| c.recipe.leaf.key_usage = Some(vec![2]);
    key_for_certificates: message(), "certificate-usage",
        |c| c.recipe.leaf.key_usage = Some(vec![0, 5]);
    key_for_revocation_lists: message(), "certificate-usage",
        |c| c.recipe.leaf.key_usage = Some(vec![0, 6]);
    key_usage_unsaid: message(), "certificate-usage", |c| c.recipe.leaf.key_usage = None;
    foreign_authority_of_the_same_name: message(), "certificate-issuer",
        |c| c.recipe.leaf.by = By::Foreign;
    foreign_authority_of_an_attestation: attestation2(), "certificate-issuer",
        |c| c.recipe.leaf.by = By::Foreign;
    signed_by_itself: message(), "certificate-issuer", |c| c.recipe.leaf.by = By::Itself;
    the_roots_know_another_authority: message(), "certificate-issuer", |c| {
        let other = crate::mint::Mint::new().trusted_root();
        c.on_roots(move |r| r["certificateAuthorities"] = other["certificateAuthorities"].clone());
    };
    the_authority_ended_before: message(), "certificate-issuer", |c| c.on_roots(|r| {
        r["certificateAuthorities"][0]["validFor"]["end"] = "2024-01-01T00:00:00Z".into();
    });
    the_authority_started_later: message(), "certificate-issuer", |c| c.on_roots(|r| {
        r["certificateAuthorities"][0]["validFor"]["start"] = "2025-07-01T00:00:00Z".into();
    });
    names_nobody: message(), "certificate", |c| c.recipe.leaf.names.clear();
    two_names: message(), "certificate",
        |c| c.recipe.leaf.names.push(San::Uri("https://other.example".into()));
    two_kinds_of_names: message(), "certificate",
        |c| c.recipe.leaf.names.insert(0, San::Email("a@mail.example".into()));
    a_host_s_name: message(), "certificate",
        |c| c.recipe.leaf.names = vec![San::Dns("forge.example".into())];
    an_extension_twice: message(), "certificate", |c| {
        let other = der::utf8("https://forge.example/evil/r");
        c.recipe.leaf.more.push(x509::extension("1.3.6.1.4.1.57264.1.12", false, &other));
    };
    key_usage_twice: message(), "certificate",
        |c| c.recipe.leaf.more.push(x509::key_usage(&[0]));
    an_unknown_critical_extension: message(), "certificate",
        |c| c.recipe.leaf.more.push(x509::extension("1.2.3.4", true, &[5, 0]));
    no_certificate_time_stamp: message(), "sct", |c| c.recipe.leaf.sct = Sct::Missing;
    no_certificate_time_stamp_in_the_first_version: first(), "sct",
        |c| c.recipe.leaf.sct = Sct::Missing;
    certificate_logged_in_an_unknown_log: message(), "sct",
        |c| c.recipe.leaf.sct = Sct::UnknownLog;
    certificate_time_stamp_of_another_certificate: message(), "sct",
        |c| c.recipe.leaf.sct = Sct::OtherCertificate;
    certificate_time_stamp_of_another_issuer: message(), "sct",
        |c| c.recipe.leaf.sct = Sct::OtherIssuer;
    two_certificate_time_stamps: message(), "sct", |c| c.recipe.leaf.sct = Sct::Twice;
    an_empty_list_of_certificate_time_stamps: message(), "sct",
        |c| c.recipe.leaf.sct = Sct::Empty;
    a_certificate_time_stamp_of_nothing: message(), "sct", |c| c.recipe.leaf.sct = Sct::Garbage;
    a_certificate_time_stamp_with_sha1: message(), "sct", |c| c.recipe.leaf.sct = Sct::Sha1;
    certificate_logged_before_the_log_s_key: message(), "sct", |c| c.on_roots(|r| {
        r["ctlogs"][0]["publicKey"]["validFor"]["start"] = "2025-07-01T00:00:00Z".into();
    });
    certificate_logged_after_the_log_s_key: message(), "sct",
        |c| c.on_roots(|r| {
            r["ctlogs"][0]["publicKey"]["validFor"]["end"] = "2024-01-01T00:00:00Z".into();
        });
    certificate_logged_far_in_the_past: message(), "sct", |c| {
        c.recipe.leaf.sct = Sct::At(AT - 10 * YEAR);
    };
    certificate_of_another_key: message(), "signature", |c| {
        c.recipe.leaf.spki = Some(x509::spki(&c.mint.other));
    };
    certificate_of_another_key_in_an_attestation: attestation(), "signature", |c| {
        c.recipe.leaf.spki = Some(x509::spki(&c.mint.other));
    };
    another_subject: message(), "identity", |c| c.subject.push('x');
    a_subject_s_prefix: message(), "identity", |c| { c.subject.pop(); };
    a_subject_in_other_case: message(), "identity", |c| c.subject = c.subject.to_uppercase();
    no_subject_asked_for: message(), "identity", |c| c.subject.clear();
    another_issuer: message(), "issuer", |c| c.issuer = "https://other.example".into();
    an_issuer_with_a_slash: message(), "issuer", |c| c.issuer.push('/');
    no_issuer_in_the_certificate: message(), "issuer", |c| c.recipe.leaf.issuer = None;
    no_issuer_asked_for: message(), "identity", |c| c.issuer.clear();
    rsa_of_1024_bits: message(), "weak-algorithm",
        |c| c.recipe.leaf.spki = Some(x509::weak_key("rsa-1024"));
    rsa_of_512_bits: message(), "weak-algorithm",
        |c| c.recipe.leaf.spki = Some(x509::weak_key("rsa-512"));
    curve_p224: message(), "weak-algorithm",
        |c| c.recipe.leaf.spki = Some(x509::weak_key("p-224"));
    curve_p192: attestation(), "weak-algorithm",
        |c| c.recipe.leaf.spki = Some(x509::weak_key("p-192"));
    curve_secp256k1: message(), "weak-algorithm",
        |c| c.recipe.leaf.spki = Some(x509::weak_key("secp256k1"));
    a_dsa_key: message(), "weak-algorithm",
        |c| c.recipe.leaf.spki = Some(x509::weak_key("dsa"));
    certificate_with_sha1_and_ecdsa: message(), "weak-algorithm",
        |c| c.recipe.leaf.algorithm = "1.2.840.10045.4.1".into();
    certificate_with_sha1_and_rsa: message(), "weak-algorithm",
        |c| c.recipe.leaf.algorithm = "1.2.840.113549.1.1.5".into();
    certificate_with_md5: attestation(), "weak-algorithm",
        |c| c.recipe.leaf.algorithm = "1.2.840.113549.1.1.4".into();
    certificate_with_dsa: message(), "weak-algorithm",
        |c| c.recipe.leaf.algorithm = "2.16.840.1.101.3.4.3.2".into();
    certificate_with_an_unknown_algorithm: message(), "weak-algorithm",
        |c| c.recipe.leaf.algorithm = "1.2.3.4".into();
    certificate_names_another_strong_algorithm: message(), "certificate-issuer",
        |c| c.recipe.leaf.algorithm = "1.2.840.10045.4.3.3".into();
    an_intermediate_with_sha1: second(), "weak-algorithm", |c| {
        let weak = x509::Certificate {
            serial: 9,
            subject: "weak".into(),
            issuer: "root".into(),
            not_before: AT - DAY,
            not_after: AT + DAY,
            spki: x509::spki(&c.mint.other),
            extensions: vec![x509::basic_constraints(true)],
            algorithm: "1.2.840.113549.1.1.5".into(),
        };
        c.recipe.intermediates.push(weak.sign(&c.mint.other));
    };
    certificate_with_a_byte_behind_it: message(), "certificate", |c| c.on_bundle(|b| {
        let raw = &mut b["verificationMaterial"]["certificate"]["rawBytes"];
        let mut bytes = crate::mint::unb64(raw);
        bytes.push(0);
        *raw = crate::mint::b64(&bytes).into();
    });
    certificate_cut_short: message(), "certificate", |c| c.on_bundle(|b| {
        let raw = &mut b["verificationMaterial"]["certificate"]["rawBytes"];
        let mut bytes = crate::mint::unb64(raw);
        bytes.truncate(bytes.len() - 1);
        *raw = crate::mint::b64(&bytes).into();
    });
}

#[test]
fn good_variants_of_certificates_hold() {
    accepted("e-mail", message(), |c| {
        c.recipe.leaf.names = vec![San::Email("a@mail.example".into())];
        c.subject = "a@mail.example".into();
    });
    accepted("exactly when it ends", message(), |c| c.recipe.leaf.not_after = AT);
    accepted("exactly when it starts", message(), |c| c.recipe.leaf.not_before = AT);
    accepted("issued by the root", message(), |c| c.recipe.leaf.by = By::Root);
    accepted("further usages", message(), |c| {
        c.recipe.leaf.usages = vec![SERVER_AUTH, x509::CODE_SIGNING];
    });
    accepted("an unknown extension", message(), |c| {
        c.recipe.leaf.more.push(x509::extension("1.2.3.4", false, &[5, 0]));
    });
    accepted("a good intermediate beside", second(), |c| {
        let intermediate = c.mint.intermediate();
        c.recipe.intermediates.push(intermediate);
    });
}
