//! The frame of a cleartext-signed file (RFC 9580 section 7), read strictly.
//!
//! Readers of this format are lenient in different ways about what stands before, between and
//! after its parts; text smuggled in there is unsigned and has been taken for signed. Here each
//! line has one place, or the file is refused.

use super::{MAX_SIGNATURES, MAX_TEXT, RELEASE, limit};
use crate::error::EvidenceError;

const BEGIN_MESSAGE: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
pub(super) const BEGIN_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &[u8] = b"-----END PGP SIGNATURE-----";

/// The text that the file's signatures would cover, with nothing proven about them.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<u8>, EvidenceError> {
    limit(RELEASE, bytes, MAX_TEXT)?;
    let mut lines = bytes.split_inclusive(|b| *b == b'\n').map(split_end);
    match lines.next() {
        Some((BEGIN_MESSAGE, _)) => {}
        _ => return bad("it does not start with a signed message"),
    }
    loop {
        match lines.next() {
            Some((b"", _)) => break,
            Some((header, _)) if header.starts_with(b"Hash: ") => {}
            _ => return bad("there is more than `Hash` before the signed text"),
        }
    }
    let mut text: Vec<u8> = Vec::with_capacity(bytes.len());
    // A line's end belongs to the text only when another line follows.
    let mut pending: &[u8] = b"";
    loop {
        let Some((line, end)) = lines.next() else { return bad("it has no signature") };
        if line == BEGIN_SIGNATURE {
            break;
        }
        let line = match line.strip_prefix(b"- ") {
            Some(rest) => rest,
            None if line.starts_with(b"-") => return bad("a dash is not escaped"),
            None => line,
        };
        text.extend_from_slice(pending);
        text.extend_from_slice(trim_end(line));
        pending = end;
    }
    let mut armour = 0_usize;
    loop {
        match lines.next() {
            Some((END_SIGNATURE, _)) => break,
            Some((line, _)) if !line.starts_with(b"-") => armour += line.len(),
            _ => return bad("its signature does not end"),
        }
    }
    if armour > MAX_SIGNATURES {
        let limit = format!("{MAX_SIGNATURES} bytes");
        return Err(EvidenceError::TooLarge { what: "signature", limit });
    }
    if lines.any(|(line, _)| !line.is_empty()) {
        return bad("there is text after the signature");
    }
    Ok(text)
}

fn bad<T>(because: &str) -> Result<T, EvidenceError> {
    Err(EvidenceError::malformed(RELEASE, because))
}

/// A line and its end.
fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    if let Some(rest) = line.strip_suffix(b"\r\n") {
        return (rest, b"\r\n");
    }
    match line.strip_suffix(b"\n") {
        Some(rest) => (rest, b"\n"),
        None => (line, b""),
    }
}

/// Without spaces and tabs at the end, which the signature does not cover.
fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: x \n- -dash\n\n\
        -----BEGIN PGP SIGNATURE-----\n\niQ\n=AAAA\n-----END PGP SIGNATURE-----\n\n";

    #[test]
    fn the_text_is_what_a_signature_covers() {
        assert_eq!(read(GOOD.as_bytes()).unwrap(), b"Origin: x\n-dash\n");
        let crlf = GOOD.replace('\n', "\r\n");
        assert_eq!(read(crlf.as_bytes()).unwrap(), b"Origin: x\r\n-dash\r\n");
    }

    #[test]
    fn every_other_frame_is_refused() {
        for (from, to) in [
            ("-----BEGIN PGP SIGNED", "Origin: evil\n-----BEGIN PGP SIGNED"),
            ("-----BEGIN PGP SIGNED", "\n-----BEGIN PGP SIGNED"),
            ("Hash: SHA512", "Origin: evil"),
            ("Hash: SHA512\n\n", "Hash: SHA512\n"),
            ("- -dash", "-dash"),
            ("- -dash", "-----BEGIN PGP SIGNATURE-----"),
            ("=AAAA\n", ""),
            ("-----END PGP SIGNATURE-----\n", ""),
            ("-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----\nOrigin: evil\n"),
            ("-----END PGP SIGNATURE-----\n", "-----END PGP SIGNATURE-----x\n"),
            ("-----BEGIN PGP SIGNATURE-----\n", ""),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let same = to.is_empty() && from.starts_with("=AAAA");
            assert_eq!(read(text.as_bytes()).is_ok(), same, "{from:?} to {to:?}");
        }
        assert!(read(b"").is_err());
        assert!(read(b"Origin: x\n").is_err());
    }
}
