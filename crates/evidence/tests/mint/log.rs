//! Transparency logs: trees, checkpoints, promises, and certificate time stamps.

use super::der::octets;
use super::key::KeyPair;
use super::{b64, x509};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn leaf_hash(data: &[u8]) -> [u8; 32] {
    sha256(&[&[0], data].concat())
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[1][..], left, right].concat())
}

/// The root of a tree and the path to one of its leaves, as RFC 6962 section 2.1 defines them.
fn root_and_path(leaves: &[[u8; 32]], index: usize) -> ([u8; 32], Vec<[u8; 32]>) {
    if leaves.len() == 1 {
        return (leaves[0], Vec::new());
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    if index < split {
        let ((l, mut path), (r, _)) = (root_and_path(left, index), root_and_path(right, 0));
        path.push(r);
        (node_hash(&l, &r), path)
    } else {
        let ((l, _), (r, mut path)) = (root_and_path(left, 0), root_and_path(right, index - split));
        path.push(l);
        (node_hash(&l, &r), path)
    }
}

/// A tree with one interesting leaf among others.
pub struct Tree {
    pub index: u64,
    pub size: u64,
    pub root: [u8; 32],
    pub path: Vec<[u8; 32]>,
}

impl Tree {
    pub fn around(body: &[u8], index: u64, size: u64) -> Self {
        let at = usize::try_from(index).unwrap();
        let mut leaves: Vec<[u8; 32]> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        leaves[at] = leaf_hash(body);
        let (root, path) = root_and_path(&leaves, at);
        Self { index, size, root, path }
    }
}

/// The key of a log: Rekor's first version signs with ECDSA, its second with Ed25519.
pub enum LogKey {
    Ecdsa(KeyPair),
    Ed25519 { name: String, key: Box<SigningKey> },
}

impl LogKey {
    pub fn first() -> Self {
        Self::Ecdsa(KeyPair::generate())
    }

    pub fn second(name: &str) -> Self {
        let seed: [u8; 32] = sha256(super::x509::spki(&KeyPair::generate()).as_slice());
        Self::Ed25519 { name: name.into(), key: Box::new(SigningKey::from_bytes(&seed)) }
    }

    pub fn spki(&self) -> Vec<u8> {
        use super::der::{bits, oid, seq};
        match self {
            Self::Ecdsa(key) => x509::spki(key),
            Self::Ed25519 { key, .. } => {
                seq(&[seq(&[oid("1.3.101.112")]), bits(0, key.verifying_key().as_bytes())])
            }
        }
    }

    /// The log's id; for the second version the key's id of C2SP signed-note.
    pub fn id(&self) -> [u8; 32] {
        match self {
            Self::Ecdsa(_) => sha256(&self.spki()),
            Self::Ed25519 { name, key } => {
                let public = key.verifying_key();
                sha256(&[name.as_bytes(), b"\n\x01", public.as_bytes()].concat())
            }
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ecdsa(key) => key.sign(message),
            Self::Ed25519 { key, .. } => key.sign(message).to_bytes().to_vec(),
        }
    }

    /// One signature line of a checkpoint.
    pub fn note_line(&self, name: &str, text: &str) -> String {
        let signed = [&self.id()[..4], &self.sign(text.as_bytes())].concat();
        format!("— {name} {}\n", b64(&signed))
    }
}

/// The text of a checkpoint, to be signed.
pub fn checkpoint_text(origin: &str, size: u64, root: &[u8; 32]) -> String {
    format!("{origin}\n{size}\n{}\n", b64(root))
}

/// A signed certificate time stamp over a certificate without it (RFC 6962, section 3.2).
pub fn sct(log: &KeyPair, issuer_spki: &[u8], tbs: &[u8], at: i64, hash: u8) -> Vec<u8> {
    let millis = u64::try_from(at * 1000).unwrap().to_be_bytes();
    let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
    let mut signed = vec![0, 0];
    signed.extend(millis);
    signed.extend([0, 1]);
    signed.extend(sha256(issuer_spki));
    signed.extend(&length[1..]);
    signed.extend(tbs);
    signed.extend([0, 0]);
    let signature = log.sign(&signed);
    let mut out = vec![0];
    out.extend(sha256(&x509::spki(log)));
    out.extend(millis);
    out.extend([0, 0, hash, 3]);
    out.extend(u16::try_from(signature.len()).unwrap().to_be_bytes());
    out.extend(signature);
    out
}

/// The extension that carries certificate time stamps.
pub fn sct_extension(scts: &[Vec<u8>]) -> Vec<u8> {
    let prefixed = |b: &[u8]| [&u16::try_from(b.len()).unwrap().to_be_bytes()[..], b].concat();
    let list: Vec<u8> = scts.iter().flat_map(|s| prefixed(s)).collect();
    x509::extension(x509::SCT_LIST, false, &octets(&prefixed(&list)))
}
