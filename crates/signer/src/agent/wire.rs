//! The messages of the agent's protocol (draft-ietf-sshm-ssh-agent, sections 3 and 4), with the
//! encodings of RFC 4251 (section 5), RFC 5656 (ECDSA) and RFC 8709 (Ed25519).

use crate::der::ecdsa_signature;
use crate::public::{Algorithm, PublicKey};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Keys of one agent that are looked at.
const MAX_KEYS: u32 = 1000;

const ED25519: &[u8] = b"ssh-ed25519";
const P256: &[u8] = b"ecdsa-sha2-nistp256";

/// What is still to be read of an answer.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("its answer is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| "its answer is cut short")?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.number()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn end(self) -> Result<(), &'static str> {
        if self.0.is_empty() { Ok(()) } else { Err("its answer is longer than it should be") }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

pub(super) fn list_request() -> Vec<u8> {
    string(&[REQUEST_IDENTITIES])
}

pub(super) fn sign_request(blob: &[u8], message: &[u8]) -> Vec<u8> {
    let flags = [0; 4];
    string(&[&[SIGN_REQUEST], string(blob).as_slice(), &string(message), &flags].concat())
}

/// The keys in an answer, with their comments.
pub(super) fn read_list(answer: &[u8]) -> Result<Vec<(Vec<u8>, String)>, &'static str> {
    let mut reader = Reader(answer);
    match reader.byte()? {
        IDENTITIES_ANSWER => {}
        FAILURE => return Err("it does not say which keys it holds; it may be locked"),
        _ => return Err("it answered with another message"),
    }
    let count = reader.number()?;
    if count > MAX_KEYS {
        return Err("it holds more than 1000 keys");
    }
    let mut out = Vec::new();
    for _ in 0..count {
        let blob = reader.string()?.to_vec();
        out.push((blob, String::from_utf8_lossy(reader.string()?).into_owned()));
    }
    reader.end()?;
    Ok(out)
}

/// The public key of a blob, where it is of a kind that signs here.
pub(super) fn read_key(blob: &[u8]) -> Option<PublicKey> {
    let mut reader = Reader(blob);
    let kind = reader.string().ok()?;
    let (algorithm, raw) = if kind == ED25519 {
        (Algorithm::Ed25519, reader.string().ok()?)
    } else if kind == P256 && reader.string().ok()? == b"nistp256" {
        (Algorithm::EcdsaP256, reader.string().ok()?)
    } else {
        return None;
    };
    reader.end().ok()?;
    PublicKey::from_raw(algorithm, raw).ok()
}

/// The signature in an answer, in the form that the rest of the world expects.
pub(super) fn read_signature(answer: &[u8], by: Algorithm) -> Result<Vec<u8>, &'static str> {
    let mut reader = Reader(answer);
    match reader.byte()? {
        SIGN_RESPONSE => {}
        FAILURE => return Err("it refused to sign"),
        _ => return Err("it answered with another message"),
    }
    let signature = reader.string()?;
    reader.end()?;
    let mut reader = Reader(signature);
    let kind = reader.string()?;
    let value = reader.string()?;
    reader.end()?;
    match by {
        Algorithm::Ed25519 if kind == ED25519 => Ok(value.to_vec()),
        Algorithm::EcdsaP256 if kind == P256 => {
            let mut reader = Reader(value);
            let (r, s) = (reader.string()?, reader.string()?);
            reader.end()?;
            ecdsa_signature(r, s).ok_or("its signature is malformed")
        }
        _ => Err("it signed in another way than the key's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Vec<u8> {
        [string(ED25519), string(&[7; 32])].concat()
    }

    fn list(keys: &[(&[u8], &str)]) -> Vec<u8> {
        let mut out = vec![IDENTITIES_ANSWER];
        out.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
        for (blob, comment) in keys {
            out.extend(string(blob));
            out.extend(string(comment.as_bytes()));
        }
        out
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let (rsa, own) = ([string(b"ssh-rsa"), string(&[1; 64])].concat(), blob());
        let answer = list(&[(rsa.as_slice(), "rsa"), (own.as_slice(), "me@here")]);
        let keys = read_list(&answer).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(read_key(&keys[0].0), None);
        assert_eq!(read_key(&keys[1].0).unwrap().raw(), [7; 32]);
        let longer = [blob(), vec![0]].concat();
        assert_eq!(read_key(&longer), None);
        assert_eq!(read_key(&[string(ED25519), string(&[7; 31])].concat()), None);
    }

    #[test]
    fn every_cut_and_every_addition_is_an_error() {
        let answer = list(&[(blob().as_slice(), "me@here")]);
        for length in 0..answer.len() {
            assert!(read_list(&answer[..length]).is_err(), "{length}");
        }
        assert!(read_list(&[answer, vec![0]].concat()).is_err());
        assert!(read_list(&[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(read_list(&[FAILURE]).is_err());

        let inner = [string(ED25519), string(&[9; 64])].concat();
        let answer = [&[SIGN_RESPONSE], string(&inner).as_slice()].concat();
        assert_eq!(read_signature(&answer, Algorithm::Ed25519).unwrap(), [9; 64]);
        assert!(read_signature(&answer, Algorithm::EcdsaP256).is_err());
        for length in 0..answer.len() {
            assert!(read_signature(&answer[..length], Algorithm::Ed25519).is_err(), "{length}");
        }
        assert!(read_signature(&[FAILURE], Algorithm::Ed25519).is_err());
    }

    #[test]
    fn ecdsa_signatures_become_der() {
        let numbers = [string(&[0, 0xff]), string(&[1])].concat();
        let inner = [string(P256), string(&numbers)].concat();
        let answer = [&[SIGN_RESPONSE], string(&inner).as_slice()].concat();
        let der = read_signature(&answer, Algorithm::EcdsaP256).unwrap();
        assert_eq!(der, [0x30, 7, 2, 2, 0, 0xff, 2, 1, 1]);
    }
}
