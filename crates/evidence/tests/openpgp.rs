//! Signed lists of a Debian archive: real ones and our own, good and broken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use countersign_core::{AlgorithmUse, EvidenceState, Timestamp};
use countersign_evidence::EvidenceError;
use countersign_evidence::openpgp::{VerifiedRelease, verify_detached, verify_inrelease};
use sequoia_openpgp as openpgp;

use openpgp::cert::{Cert, CertBuilder};
use openpgp::packet::key::{Key4, PrimaryRole, SecretParts};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, Packet, UserID};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto as _;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NOW: Timestamp = Timestamp(1_760_000_000);
const DAY: i64 = 86_400;
const TEXT: &[u8] = b"Origin: Example\nSuite: stable\n- dashed\nSHA256:\n 00 1 main/Packages\n";

fn time(t: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(t.0.unsigned_abs())
}

fn archive_key(validity: Option<i64>) -> Cert {
    let (cert, _) = CertBuilder::new()
        .add_userid("Archive <archive@deb.example>")
        .set_creation_time(time(NOW.plus_seconds(-100 * DAY)))
        .set_validity_period(validity.map(|d| Duration::from_secs(d.unsigned_abs())))
        .add_signing_subkey()
        .generate()
        .unwrap();
    cert
}

type SigningKey = Key<SecretParts, openpgp::packet::key::UnspecifiedRole>;

fn signing_key(cert: &Cert) -> SigningKey {
    let policy = StandardPolicy::new();
    let at = time(NOW.plus_seconds(-99 * DAY));
    let mut keys = cert.keys().unencrypted_secret().with_policy(&policy, at).for_signing();
    keys.next().unwrap().key().clone()
}

fn clearsign(key: SigningKey, text: &[u8], at: Timestamp, hash: HashAlgorithm) -> Vec<u8> {
    let mut out = Vec::new();
    let signer = Signer::new(Message::new(&mut out), key.into_keypair().unwrap()).unwrap();
    let signer = signer.hash_algo(hash).unwrap().creation_time(time(at)).cleartext();
    let mut writer = signer.build().unwrap();
    writer.write_all(text).unwrap();
    writer.finalize().unwrap();
    out
}

fn sign(cert: &Cert) -> Vec<u8> {
    clearsign(signing_key(cert), TEXT, NOW.plus_seconds(-60), HashAlgorithm::SHA512)
}

fn detach(cert: &Cert, armoured: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut message = Message::new(&mut out);
    if armoured {
        message = Armorer::new(message).kind(openpgp::armor::Kind::Signature).build().unwrap();
    }
    let signer = Signer::new(message, signing_key(cert).into_keypair().unwrap()).unwrap();
    let signer = signer.creation_time(time(NOW.plus_seconds(-60))).detached();
    let mut writer = signer.build().unwrap();
    writer.write_all(TEXT).unwrap();
    writer.finalize().unwrap();
    out
}

fn keyring(certs: &[&Cert]) -> Vec<u8> {
    certs.iter().flat_map(|c| c.to_vec().unwrap()).collect()
}

fn text(release: &VerifiedRelease) -> &[u8] {
    &release.get().cleartext
}

#[test]
fn a_signed_list_gives_exactly_its_text_and_its_signer() {
    let cert = archive_key(None);
    let release = verify_inrelease(&sign(&cert), &keyring(&[&cert]), NOW).unwrap();
    assert_eq!(text(&release), TEXT);
    let signed = release.get();
    assert_eq!(signed.signatures.len(), 1);
    assert_eq!(signed.signatures[0].certificate, cert.fingerprint().to_hex());
    assert_eq!(signed.signatures[0].key, signing_key(&cert).fingerprint().to_hex());
    assert_eq!(signed.signed_at, NOW.plus_seconds(-60));
    assert_eq!(release.claim().signer, cert.fingerprint().to_hex());
}

#[test]
fn keyrings_are_binary_or_armoured_and_hold_several() {
    let (cert, other) = (archive_key(None), archive_key(None));
    let file = sign(&cert);
    let armoured = [&other, &cert].map(|c| c.armored().to_vec().unwrap()).concat();
    for ring in [keyring(&[&other, &cert]), keyring(&[&cert, &other]), armoured] {
        assert!(verify_inrelease(&file, &ring, NOW).is_ok());
    }
    for ring in [keyring(&[&other]), Vec::new(), b"no keyring".to_vec()] {
        assert!(verify_inrelease(&file, &ring, NOW).is_err());
    }
}

#[test]
fn keyrings_of_several_files_may_mix_both_forms() {
    let all: Vec<Cert> = (0..4).map(|_| archive_key(None)).collect();
    let keyring = [
        keyring(&[&all[0]]),
        b"pub   a comment of somebody's".to_vec(),
        all[1].armored().to_vec().unwrap(),
        keyring(&[&all[2]]),
        all[3].armored().to_vec().unwrap(),
    ]
    .join(&b'\n');
    for cert in [&all[0], &all[1], &all[2], &all[3]] {
        verify_inrelease(&sign(cert), &keyring, NOW).expect("the certificate is in the keyring");
    }
    verify_inrelease(&sign(&archive_key(None)), &keyring, NOW).expect_err("it is not");
}

#[test]
fn tampered_text_and_text_beside_it_are_refused() {
    let cert = archive_key(None);
    let ring = keyring(&[&cert]);
    let good = String::from_utf8(sign(&cert)).unwrap();
    assert!(verify_inrelease(good.as_bytes(), &ring, NOW).is_ok());
    for (from, to) in [
        ("Suite: stable", "Suite: stabld"),
        ("00 1 main", "00 2 main"),
        ("Suite: stable\n", ""),
        ("Suite: stable\n", "Suite: stable\n\n"),
        ("Suite: stable\n", "Suite: stable\nSuite: evil\n"),
        ("-----BEGIN PGP SIGNED", "Suite: evil\n-----BEGIN PGP SIGNED"),
        ("Hash: ", "Suite: evil\nHash: "),
        ("-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\nSuite: evil\n"),
        ("Suite: stable\n", "Suite: stable\n\u{2014}\u{2014}BEGIN PGP SIGNATURE\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from:?}");
        assert!(verify_inrelease(bad.as_bytes(), &ring, NOW).is_err(), "{from:?} to {to:?}");
    }
    // What a signature does not cover is not handed on: white space, and headers of the armour.
    for (from, to) in [
        ("Suite: stable\n", "Suite: stable \t\n"),
        ("-----BEGIN PGP SIGNATURE-----\n", "-----BEGIN PGP SIGNATURE-----\nSuite: evil\n"),
    ] {
        let file = good.replacen(from, to, 1);
        assert_eq!(text(&verify_inrelease(file.as_bytes(), &ring, NOW).unwrap()), TEXT, "{to:?}");
    }
    // Two files in one.
    assert!(verify_inrelease(format!("{good}{good}").as_bytes(), &ring, NOW).is_err());
    for unsigned in [TEXT, b"", b"\xff\xfe"] {
        assert!(verify_inrelease(unsigned, &ring, NOW).is_err());
    }
}

#[test]
fn every_truncation_is_refused() {
    let cert = archive_key(None);
    let (ring, good) = (keyring(&[&cert]), sign(&cert));
    let whole = good.trim_ascii_end().len();
    for end in (0..whole).step_by(7).chain([whole - 1]) {
        assert!(verify_inrelease(&good[..end], &ring, NOW).is_err(), "{end}");
    }
}

#[test]
fn signatures_from_the_future_and_keys_that_ended_are_refused() {
    let cert = archive_key(Some(101 * DAY));
    let (ring, file) = (keyring(&[&cert]), sign(&cert));
    assert!(verify_inrelease(&file, &ring, NOW).is_ok());
    let earlier = verify_inrelease(&file, &ring, NOW.plus_seconds(-3600));
    assert!(earlier.is_err());
    // Signed while the key was valid; at the time of verification it no longer is.
    assert!(verify_inrelease(&file, &ring, NOW.plus_seconds(2 * DAY)).is_err());
    assert!(verify_inrelease(&file, &ring, Timestamp(-1)).is_err());
}

#[test]
fn a_signing_subkey_that_ended_is_refused_though_its_certificate_stands() {
    let days = |d: i64| Duration::from_secs((d * DAY).unsigned_abs());
    let (cert, _) = CertBuilder::new()
        .add_userid("Archive <archive@deb.example>")
        .set_creation_time(time(NOW.plus_seconds(-100 * DAY)))
        .add_subkey(KeyFlags::empty().set_signing(), days(101), None)
        .generate()
        .unwrap();
    let (ring, file) = (keyring(&[&cert]), sign(&cert));
    assert!(verify_inrelease(&file, &ring, NOW).is_ok());
    assert!(verify_inrelease(&file, &ring, NOW.plus_seconds(2 * DAY)).is_err());
}

/// Sequoia takes other dashes for armour, too; a reader that does not would see signed text.
#[test]
fn a_file_that_two_readers_would_read_differently_is_refused() {
    let cert = archive_key(None);
    let good = String::from_utf8(sign(&cert)).unwrap();
    let block = good.find("-----BEGIN PGP SIGNATURE").unwrap();
    let (text, signature) = good.split_at(block);
    let disguised = signature.replace("-----", "\u{2014}\u{2014}\u{2014}\u{2014}\u{2014}");
    let file = format!("{text}{disguised}{signature}");
    let got = verify_inrelease(file.as_bytes(), &keyring(&[&cert]), NOW);
    assert!(got.is_err(), "{got:?}");
}

#[test]
fn a_revoked_key_is_refused_whenever_it_signed() {
    let cert = archive_key(None);
    let file = sign(&cert);
    let mut primary =
        cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    for reason in [ReasonForRevocation::KeyCompromised, ReasonForRevocation::KeyRetired] {
        let revocation = openpgp::cert::CertRevocationBuilder::new()
            .set_reason_for_revocation(reason, b"")
            .unwrap()
            .set_signature_creation_time(time(NOW.plus_seconds(-30)))
            .unwrap()
            .build(&mut primary, &cert, None)
            .unwrap();
        let (revoked, _) = cert.clone().insert_packets([revocation]).unwrap();
        assert!(verify_inrelease(&file, &keyring(&[&revoked]), NOW).is_err(), "{reason:?}");
    }
}

#[test]
fn weak_digests_and_small_keys_are_refused() {
    let cert = archive_key(None);
    let at = NOW.plus_seconds(-60);
    for (hash, good) in [(HashAlgorithm::SHA256, true), (HashAlgorithm::SHA1, false)] {
        let file = clearsign(signing_key(&cert), TEXT, at, hash);
        assert_eq!(verify_inrelease(&file, &keyring(&[&cert]), NOW).is_ok(), good, "{hash}");
    }
    for (bits, good) in [(2048, true), (1024, false)] {
        let (cert, key) = of_one_key(Key4::generate_rsa(bits).unwrap());
        let file = clearsign(key, TEXT, at, HashAlgorithm::SHA512);
        let got = verify_inrelease(&file, &keyring(&[&cert]), NOW);
        assert_eq!(got.is_ok(), good, "{bits}: {got:?}");
        let seen = match got {
            Ok(release) => release.claim().algorithms,
            Err(e) => weak(e),
        };
        assert!(seen.iter().any(|u| u.label() == format!("rsa-{bits}")), "{bits}: {seen:?}");
    }
}

/// The algorithms that a text was refused for.
fn weak(error: EvidenceError) -> Vec<AlgorithmUse> {
    assert_eq!(error.code(), "weak-algorithm", "{error}");
    match error.into_state() {
        EvidenceState::Invalid { algorithms, .. } => algorithms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_list_was_signed_with_is_told() {
    let cert = archive_key(None);
    let at = NOW.plus_seconds(-60);
    let sign = |hash| clearsign(signing_key(&cert), TEXT, at, hash);
    let release = verify_inrelease(&sign(HashAlgorithm::SHA512), &keyring(&[&cert]), NOW).unwrap();
    let seen = release.claim().algorithms;
    let labels: Vec<String> = seen.iter().map(AlgorithmUse::label).collect();
    assert_eq!(labels, ["sha512", "openpgp-v4-unsalted", "ed25519"]);

    let refused = verify_inrelease(&sign(HashAlgorithm::SHA1), &keyring(&[&cert]), NOW);
    assert_eq!(weak(refused.unwrap_err()), [AlgorithmUse::new("sha1", "OpenPGP signature")]);

    // A broken signature is not called weak.
    let mut tampered = sign(HashAlgorithm::SHA512);
    let place = tampered.windows(6).position(|w| w == b"Origin").unwrap();
    tampered[place] = b'o';
    let e = verify_inrelease(&tampered, &keyring(&[&cert]), NOW).unwrap_err();
    assert_eq!(e.code(), "signature", "{e}");
}

/// A certificate whose one key certifies and signs.
fn of_one_key(mut key: Key4<SecretParts, PrimaryRole>) -> (Cert, SigningKey) {
    let created = time(NOW.plus_seconds(-100 * DAY));
    key.set_creation_time(created).unwrap();
    let key: Key<SecretParts, PrimaryRole> = key.into();
    let mut signer = key.clone().into_keypair().unwrap();
    let user = UserID::from("Small <small@deb.example>");
    let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_key_flags(KeyFlags::empty().set_certification().set_signing())
        .unwrap()
        .set_signature_creation_time(created)
        .unwrap()
        .sign_userid_binding(&mut signer, key.parts_as_public(), &user)
        .unwrap();
    let packets: Vec<Packet> = vec![key.clone().into(), user.into(), binding.into()];
    let cert = Cert::from_packets(packets.into_iter()).unwrap();
    (cert, key.role_into_unspecified())
}

#[test]
fn detached_signatures_hold_over_exactly_their_file() {
    let (cert, other) = (archive_key(None), archive_key(None));
    let ring = keyring(&[&cert]);
    for armoured in [false, true] {
        let signature = detach(&cert, armoured);
        let release = verify_detached(TEXT, &signature, &ring, NOW).unwrap();
        assert_eq!(text(&release), TEXT);
        let mut tampered = TEXT.to_vec();
        tampered[0] ^= 1;
        let longer = [TEXT, b"x"].concat();
        for bad in [&tampered[..], &longer, b""] {
            assert!(verify_detached(bad, &signature, &ring, NOW).is_err());
        }
        assert!(verify_detached(TEXT, &signature, &keyring(&[&other]), NOW).is_err());
        let half = &signature[..signature.len() / 2];
        assert!(verify_detached(TEXT, half, &ring, NOW).is_err());
    }
    for nothing in [&b""[..], b"no signature", &sign(&cert)] {
        assert!(verify_detached(TEXT, nothing, &ring, NOW).is_err());
    }
    assert!(verify_detached(TEXT, &vec![0; 1 << 20], &ring, NOW).is_err());
}

/// Debian's own lists and keyring, where this runs on Debian.
#[test]
fn debian_s_own_lists_hold() {
    let Ok(ring) = std::fs::read("/usr/share/keyrings/debian-archive-keyring.gpg") else {
        eprintln!("skipped: no keyring of Debian's on this machine");
        return;
    };
    let lists = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    let names = lists.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with("_InRelease"));
    let files = names.filter_map(|p| Some((p.clone(), std::fs::read(p).ok()?)));
    let mut seen = 0;
    for (path, bytes) in files {
        let plain = String::from_utf8_lossy(&bytes).into_owned();
        if !plain.contains("\nOrigin: Debian\n") {
            continue;
        }
        seen += 1;
        let date = plain.lines().find_map(|l| l.strip_prefix("Date: ")).unwrap();
        let date = Timestamp::parse_rfc2822(date).unwrap();
        let now = date.plus_seconds(DAY);
        let release = verify_inrelease(&bytes, &ring, now).unwrap();
        let cleartext = std::str::from_utf8(text(&release)).unwrap();
        assert!(cleartext.starts_with("Origin: Debian\n") && !cleartext.contains("-----"));
        assert!(cleartext.lines().last().unwrap().starts_with(' '), "{}", path.display());
        assert!(release.get().signed_at >= date.plus_seconds(-DAY));

        let at = plain.find("\nSHA256:\n").unwrap() + 12;
        let mut tampered = bytes.clone();
        tampered[at] = if tampered[at] == b'0' { b'1' } else { b'0' };
        assert!(verify_inrelease(&tampered, &ring, now).is_err());
        let other = archive_key(None);
        assert!(verify_inrelease(&bytes, &keyring(&[&other]), now).is_err());
    }
    if seen == 0 {
        eprintln!("skipped: apt holds no list of Debian's on this machine");
    }
}
