//! A time stamp authority (RFC 3161, with RFC 5652 around it).

use super::der::{context, int, name, octets, oid, seq, set, time};
use super::key::KeyPair;
use super::log::sha256;
use super::x509::{self, Certificate};
use super::{AT, DAY, YEAR};
use sha2::Digest as _;

const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const SHA512: &str = "2.16.840.1.101.3.4.2.3";
const SHA1: &str = "1.3.14.3.2.26";

/// How a stamp comes out; the default is a good one.
#[derive(Clone)]
pub struct Stamp {
    pub at: i64,
    /// Bytes stamped in place of the signature.
    pub over: Option<Vec<u8>>,
    /// The digest's name in the imprint: `sha256`, `sha512`, `sha1`.
    pub imprint: &'static str,
    /// Signed by a key that is not the authority's.
    pub foreign: bool,
    /// The PKI status of the response (0: granted).
    pub status: u64,
    /// The `messageDigest` attribute is over something else.
    pub other_digest: bool,
    /// Without signed attributes' message digest.
    pub content_type: &'static str,
}

impl Default for Stamp {
    fn default() -> Self {
        Self {
            at: AT + 2,
            over: None,
            imprint: "sha256",
            foreign: false,
            status: 0,
            other_digest: false,
            content_type: TST_INFO,
        }
    }
}

pub struct Tsa {
    root: KeyPair,
    pub key: KeyPair,
    /// The authority's own certificate, before it is signed.
    pub leaf: Certificate,
}

impl Tsa {
    pub fn new() -> Self {
        let key = KeyPair::generate();
        let leaf = Certificate {
            serial: 77,
            subject: "tsa".into(),
            issuer: "tsa root".into(),
            not_before: AT - YEAR / 2,
            not_after: AT + YEAR / 2,
            spki: x509::spki(&key),
            extensions: vec![
                x509::basic_constraints(false),
                x509::key_usage(&[0]),
                x509::extended_key_usage(&[x509::TIME_STAMPING], true),
            ],
            algorithm: x509::ECDSA_SHA256.into(),
        };
        Self { root: KeyPair::generate(), key, leaf }
    }

    /// The chain, the authority's own certificate first.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let usage = x509::TIME_STAMPING;
        let root = x509::authority("tsa root", "tsa root", &self.root, &self.root, usage);
        vec![self.leaf.sign(&self.root), root]
    }

    /// A response with a time stamp over `signature`.
    pub fn stamp(&self, signature: &[u8], how: &Stamp) -> Vec<u8> {
        let over = how.over.as_deref().unwrap_or(signature);
        let (algorithm, digest) = match how.imprint {
            "sha512" => (SHA512, sha2::Sha512::digest(over).to_vec()),
            "sha1" => (SHA1, sha256(over)[..20].to_vec()),
            _ => (SHA256, sha256(over).to_vec()),
        };
        let info = seq(&[
            int(1),
            oid("1.3.6.1.4.1.57264.2"),
            seq(&[seq(&[oid(algorithm)]), octets(&digest)]),
            int(5),
            time(how.at),
        ]);
        let digest = if how.other_digest { sha256(b"other") } else { sha256(&info) };
        let attributes = [
            seq(&[oid("1.2.840.113549.1.9.3"), set(&[oid(how.content_type)])]),
            seq(&[oid("1.2.840.113549.1.9.4"), set(&[octets(&digest)])]),
        ];
        let signed = set(&attributes);
        let foreign = KeyPair::generate();
        let key = if how.foreign { &foreign } else { &self.key };
        let mut implicit = signed.clone();
        implicit[0] = 0xa0;
        let signer = seq(&[
            int(1),
            seq(&[name(&self.leaf.issuer), int(self.leaf.serial)]),
            seq(&[oid(SHA256)]),
            implicit,
            seq(&[oid(x509::ECDSA_SHA256)]),
            octets(&key.sign(&signed)),
        ]);
        let data = seq(&[
            int(3),
            set(&[seq(&[oid(SHA256)])]),
            seq(&[oid(how.content_type), context(0, &octets(&info))]),
            set(&[signer]),
        ]);
        let token = seq(&[oid("1.2.840.113549.1.7.2"), context(0, &data)]);
        seq(&[seq(&[int(how.status)]), token])
    }

    /// A time at which the authority's certificate has expired.
    pub fn too_late() -> i64 {
        AT + YEAR / 2 + DAY
    }
}
