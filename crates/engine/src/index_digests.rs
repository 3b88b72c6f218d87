//! The digests that an index gives of a file, as facts for policy.

use countersign_core::algorithm::{INDEX_DIGEST, INDEX_DIGEST_NOT_COMPARED};
use countersign_core::{AlgorithmUse, Digests, ExpectedDigest};

/// The algorithms of the digests that the index gives, each of which is enough where policy holds it
/// to be strong; those that are not computed are told apart.
pub(crate) fn index_digests(expected: &[ExpectedDigest], digests: &Digests) -> Vec<AlgorithmUse> {
    let of = |(way, e): (u32, &ExpectedDigest)| {
        let place = match digests.matches(e) {
            Some(true) => INDEX_DIGEST,
            None => INDEX_DIGEST_NOT_COMPARED,
            // One of several alternatives.
            Some(false) => return None,
        };
        Some(AlgorithmUse::new(e.algorithm().name(), place).in_way(way))
    };
    (0..).zip(expected).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::{Algorithm, Sha256Digest};

    #[test]
    fn each_digest_is_told_with_whether_it_was_compared() {
        let of = |algorithm: Algorithm, byte: u8| {
            ExpectedDigest::from_bytes(algorithm, vec![byte; algorithm.digest_len()]).unwrap()
        };
        let sha256 = Sha256Digest([7; 32]);
        let digests = Digests { sha256, others: vec![of(Algorithm::Sha1, 7)] };
        let told = |list: &[ExpectedDigest]| -> Vec<String> {
            index_digests(list, &digests).iter().map(ToString::to_string).collect()
        };
        use Algorithm::{Md5, Sha1, Sha256};
        // npm's `shasum` alone, a Python index's md5 alone, Debian's lists with all of them.
        assert_eq!(told(&[of(Sha1, 7)]), ["sha1 (index digest)"]);
        assert_eq!(told(&[of(Md5, 7)]), ["md5 (index digest, not compared)"]);
        assert_eq!(
            told(&[of(Md5, 7), of(Sha256, 7)]),
            ["md5 (index digest, not compared)", "sha256 (index digest)"]
        );
        assert_eq!(told(&[of(Sha256, 1), of(Sha256, 7)]), ["sha256 (index digest)"]);
        assert!(told(&[]).is_empty());
    }
}
