//! Certificates of every form, good and bad.

use super::der::{bits, boolean, context, implicit, int, name, octets, oid, seq, utc_time};
use super::key::KeyPair;

pub const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
pub const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
pub const SCT_LIST: &str = "1.3.6.1.4.1.11129.2.4.2";

/// What a certificate says, before somebody signs it.
#[derive(Clone)]
pub struct Certificate {
    pub serial: u64,
    pub subject: String,
    pub issuer: String,
    pub not_before: i64,
    pub not_after: i64,
    pub spki: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
    /// The signature algorithm that it names; the signature itself is always ECDSA with SHA-256.
    pub algorithm: String,
}

impl Certificate {
    pub fn tbs(&self) -> Vec<u8> {
        let validity = seq(&[utc_time(self.not_before), utc_time(self.not_after)]);
        seq(&[
            context(0, &int(2)),
            int(self.serial),
            seq(&[oid(&self.algorithm)]),
            name(&self.issuer),
            validity,
            name(&self.subject),
            self.spki.clone(),
            context(3, &seq(&self.extensions)),
        ])
    }

    pub fn sign(&self, key: &KeyPair) -> Vec<u8> {
        let tbs = self.tbs();
        let signature = key.sign(&tbs);
        seq(&[tbs, seq(&[oid(&self.algorithm)]), bits(0, &signature)])
    }
}

pub fn extension(id: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    if critical {
        return seq(&[oid(id), boolean(true), octets(value)]);
    }
    seq(&[oid(id), octets(value)])
}

pub fn basic_constraints(ca: bool) -> Vec<u8> {
    let body = if ca { seq(&[boolean(true)]) } else { seq(&[]) };
    extension("2.5.29.19", true, &body)
}

/// Bits as RFC 5280 numbers them: 0 `digitalSignature`, 5 `keyCertSign`, 6 `cRLSign`.
pub fn key_usage(set: &[u8]) -> Vec<u8> {
    let byte = set.iter().fold(0_u8, |acc, bit| acc | (0x80 >> bit));
    let unused = u8::try_from(byte.trailing_zeros()).unwrap().min(7);
    extension("2.5.29.15", true, &bits(unused, &[byte]))
}

pub fn extended_key_usage(usages: &[&str], critical: bool) -> Vec<u8> {
    let usages: Vec<Vec<u8>> = usages.iter().map(|u| oid(u)).collect();
    extension("2.5.29.37", critical, &seq(&usages))
}

/// A subject alternative name.
#[derive(Clone)]
pub enum San {
    Uri(String),
    Email(String),
    Dns(String),
}

pub fn alternative_names(names: &[San]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names
        .iter()
        .map(|n| match n {
            San::Email(text) => implicit(1, text.as_bytes()),
            San::Dns(text) => implicit(2, text.as_bytes()),
            San::Uri(text) => implicit(6, text.as_bytes()),
        })
        .collect();
    extension("2.5.29.17", true, &seq(&names))
}

pub fn spki(key: &KeyPair) -> Vec<u8> {
    key.spki()
}

/// An authority's certificate.
pub fn authority(subject: &str, issuer: &str, key: &KeyPair, by: &KeyPair, usage: &str) -> Vec<u8> {
    Certificate {
        serial: 1,
        subject: subject.into(),
        issuer: issuer.into(),
        not_before: super::AT - 10 * super::YEAR / 10,
        not_after: super::AT + super::YEAR,
        spki: spki(key),
        extensions: vec![
            basic_constraints(true),
            key_usage(&[5, 6]),
            extended_key_usage(&[usage], false),
        ],
        algorithm: ECDSA_SHA256.into(),
    }
    .sign(by)
}

/// Public keys that nobody should use: only their form matters, nobody can sign with them.
pub fn weak_key(kind: &str) -> Vec<u8> {
    let rsa = |bytes: usize| {
        let mut modulus = vec![0, 0xc1];
        modulus.resize(bytes + 1, 0x55);
        let key = seq(&[super::der::tlv(2, &modulus), int(65_537)]);
        seq(&[seq(&[oid("1.2.840.113549.1.1.1"), vec![5, 0]]), bits(0, &key)])
    };
    let curve = |id: &str, size: usize| {
        let mut point = vec![4];
        point.resize(1 + 2 * size, 7);
        seq(&[seq(&[oid("1.2.840.10045.2.1"), oid(id)]), bits(0, &point)])
    };
    match kind {
        "rsa-1024" => rsa(128),
        "rsa-512" => rsa(64),
        "p-224" => curve("1.3.132.0.33", 28),
        "p-192" => curve("1.2.840.10045.3.1.1", 24),
        "secp256k1" => curve("1.3.132.0.10", 32),
        "dsa" => seq(&[seq(&[oid("1.2.840.10040.4.1")]), bits(0, &int(7))]),
        other => panic!("{other}"),
    }
}
