//! What a leaf holds: a salted commitment to an envelope, and nothing that tells what is in it.

use sha2::{Digest as _, Sha256};

/// 32 random bytes that hide an envelope in its commitment.
pub type Salt = [u8; 32];

/// The 32 bytes of one entry.
pub type Commitment = [u8; 32];

/// Keeps commitments apart from every other hash in the house.
const DOMAIN: &[u8] = b"countersign/ledger-entry/v1\n";

/// The entry of an envelope: `SHA-256(domain || salt || SHA-256(envelope))`.
///
/// The domain is the text `countersign/ledger-entry/v1` and a newline. Without the salt, whoever
/// guesses an envelope (most of its content is public) could tell whether it is in the tree.
#[must_use]
pub fn commitment(salt: &Salt, envelope: &[u8]) -> Commitment {
    let hasher = Sha256::new().chain_update(DOMAIN).chain_update(salt);
    hasher.chain_update(Sha256::digest(envelope)).finalize().into()
}

/// The entry bundle of `entries`: each with its length before it, as two big-endian bytes
/// (C2SP tlog-tiles, "Log entries").
#[must_use]
pub fn entry_bundle(entries: &[Commitment]) -> Vec<u8> {
    entries.iter().flat_map(|e| [&[0, 32][..], e].concat()).collect()
}

/// The entries of a bundle of this ledger; `None` when it holds anything but whole commitments.
#[must_use]
pub fn parse_entry_bundle(bytes: &[u8]) -> Option<Vec<Commitment>> {
    let chunks = bytes.chunks_exact(34);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(|c| c.strip_prefix(&[0, 32])?.try_into().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salt_and_envelope_both_count() {
        let base = commitment(&[1; 32], b"envelope");
        assert_ne!(base, commitment(&[2; 32], b"envelope"));
        assert_ne!(base, commitment(&[1; 32], b"envelopf"));
        // Recorded once: a change of the construction would orphan every receipt ever handed out.
        let inner = Sha256::digest(b"envelope");
        let all = [b"countersign/ledger-entry/v1\n".as_slice(), &[1; 32], &inner].concat();
        assert_eq!(base, <[u8; 32]>::from(Sha256::digest(all)));
    }

    #[test]
    fn bundles_round_trip_and_others_are_rejected() {
        let entries = vec![[1; 32], [2; 32], [3; 32]];
        let bundle = entry_bundle(&entries);
        assert_eq!(parse_entry_bundle(&bundle), Some(entries));
        assert_eq!(parse_entry_bundle(&[]), Some(vec![]));
        assert_eq!(parse_entry_bundle(&bundle[1..]), None);
        assert_eq!(parse_entry_bundle(&bundle[..35]), None);
        let mut other = bundle;
        other[1] = 31;
        assert_eq!(parse_entry_bundle(&other), None);
    }
}
