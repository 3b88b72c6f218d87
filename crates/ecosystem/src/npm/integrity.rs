//! Subresource Integrity values, as npm uses them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::{Algorithm, ExpectedDigest};

/// Most hashes that one integrity value may hold; more are not looked at.
const MAX_HASHES: usize = 64;

/// The digests in an integrity value (W3C Subresource Integrity): `sha512-<base64>`, several with
/// blanks between, options after `?` ignored.
///
/// Hashes of unknown algorithms and malformed ones are left out, so an empty answer to a value
/// that is there means that nothing can be compared. Of several digests of one algorithm any may
/// match.
#[must_use]
pub fn parse_integrity(text: &str) -> Vec<ExpectedDigest> {
    text.split_ascii_whitespace()
        .take(MAX_HASHES)
        .filter_map(|item| {
            let (name, rest) = item.split_once('-')?;
            let value = rest.split('?').next()?;
            let algorithm = Algorithm::from_name(name)?;
            ExpectedDigest::from_bytes(algorithm, STANDARD.decode(value).ok()?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes_are_kept() {
        let sha1 = format!("sha1-{}", STANDARD.encode([1u8; 20]));
        let sha512 = format!("sha512-{}", STANDARD.encode([2u8; 64]));
        for (text, want) in [
            (sha512.clone(), vec![Algorithm::Sha512]),
            (format!(" {sha512}?foo {sha1}\n"), vec![Algorithm::Sha512, Algorithm::Sha1]),
            (format!("{sha512} {sha512}"), vec![Algorithm::Sha512, Algorithm::Sha512]),
            ("sha512-AAAA".to_owned(), vec![]),
            ("sha999-AAAA sha512 - ?".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            let got: Vec<_> =
                parse_integrity(&text).iter().map(ExpectedDigest::algorithm).collect();
            assert_eq!(got, want, "{text}");
        }
        assert_eq!(parse_integrity(&sha1)[0].to_hex(), "01".repeat(20));
    }
}
