//! Many entries in few bytes: how a store may keep entries that came long ago.
//!
//! An envelope's payload and signature are base64 in its canonical bytes, which hides from a
//! compressor that statements resemble each other. Packed entries hold both as they are, beside each
//! other by kind of field, and the canonical bytes are made again from them; an envelope of which
//! these would differ is kept as it came. A packed entry may also be forgotten: then nothing but its
//! commitment is left, from which every proof of the tree still follows.

use crate::dsse::{Envelope, EnvelopeSignature, PAYLOAD_TYPE};
use crate::leaf::{Commitment, Salt, commitment};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::Timestamp;

/// The first byte of the format that is written.
const VERSION: u8 = 1;

/// Most entries of a pack: as many as an entry bundle has.
pub const MAX_PACK: usize = 256;

/// The forms in which an entry is packed.
const RAW: u8 = 0;
const STATEMENT: u8 = 1;
const FORGOTTEN: u8 = 2;

/// An entry as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedEntry {
    /// Its predicate type.
    pub kind: String,
    /// When it was made.
    pub time: Timestamp,
    /// What is left of it.
    pub content: PackedContent,
}

/// What is left of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackedContent {
    /// All of it.
    Kept {
        /// The salt of its commitment.
        salt: Salt,
        /// The envelope's canonical bytes.
        envelope: Vec<u8>,
    },
    /// Its place in the tree alone.
    Forgotten {
        /// The commitment.
        commitment: Commitment,
    },
}

impl PackedEntry {
    /// The commitment: what the tree holds of it.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        match &self.content {
            PackedContent::Kept { salt, envelope } => commitment(salt, envelope),
            PackedContent::Forgotten { commitment } => *commitment,
        }
    }
}

/// Why bytes are no packed entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// Written by a later version, or by nobody.
    #[error("packed entries of an unknown form")]
    Version,
    /// Cut off, or something follows.
    #[error("packed entries have another length")]
    Length,
    /// A count, a form or a text that cannot be.
    #[error("packed entries are damaged")]
    Damaged,
}

/// Packs entries; `None` when there are more than [`MAX_PACK`], or one is too long for the format.
///
/// All numbers are big-endian. After the version and the number of entries (two bytes) come the texts
/// that entries name (predicate types and key ids), each with its length; then, each for all entries,
/// the forms, kinds, times, key ids and lengths; then salts, signatures and the commitments of
/// forgotten entries; then the payloads.
#[must_use]
pub fn pack(entries: &[PackedEntry]) -> Option<Vec<u8>> {
    let count = u16::try_from(entries.len()).ok().filter(|n| usize::from(*n) <= MAX_PACK)?;
    let mut texts = Texts::default();
    let (mut forms, mut kinds, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut keys, mut lengths) = (Vec::new(), Vec::new());
    let (mut fixed, mut payloads) = (Vec::new(), Vec::new());
    for entry in entries {
        kinds.extend(texts.place(&entry.kind)?);
        times.extend(entry.time.0.to_be_bytes());
        let (form, key, length) = match &entry.content {
            PackedContent::Forgotten { commitment } => {
                fixed.extend(commitment);
                (FORGOTTEN, [0; 2], 0)
            }
            PackedContent::Kept { salt, envelope } => {
                fixed.extend(salt);
                match split(envelope) {
                    Some((key_id, sig, payload)) => {
                        fixed.extend(sig);
                        payloads.extend(&payload);
                        (STATEMENT, texts.place(&key_id)?, payload.len())
                    }
                    None => {
                        payloads.extend(envelope);
                        (RAW, [0; 2], envelope.len())
                    }
                }
            }
        };
        forms.push(form);
        keys.extend(key);
        lengths.extend(u32::try_from(length).ok()?.to_be_bytes());
    }
    let head = [&[VERSION][..], &count.to_be_bytes(), &texts.bytes()?].concat();
    Some([head, forms, kinds, times, keys, lengths, fixed, payloads].concat())
}

/// Reads packed entries.
///
/// # Errors
/// When the bytes are not exactly what [`pack`] writes.
pub fn unpack(bytes: &[u8]) -> Result<Vec<PackedEntry>, PackError> {
    let mut from = Reader(bytes);
    if from.take(1)? != [VERSION] {
        return Err(PackError::Version);
    }
    let count = from.count()?;
    if count > MAX_PACK {
        return Err(PackError::Damaged);
    }
    let texts = (0..from.count()?).map(|_| from.text()).collect::<Result<Vec<_>, _>>()?;
    let text = |place: usize| texts.get(place).copied().ok_or(PackError::Damaged);
    let forms = from.take(count)?;
    let kinds = from.all(count, |f| f.count())?;
    let times = from.all(count, |f| f.array().map(i64::from_be_bytes))?;
    let keys = from.all(count, |f| f.count())?;
    let lengths = from.all(count, |f| f.array().map(u32::from_be_bytes))?;
    let mut fixed = Vec::with_capacity(count);
    for form in forms {
        let first: [u8; 32] = from.array()?;
        let sig: Option<[u8; 64]> = (*form == STATEMENT).then(|| from.array()).transpose()?;
        fixed.push((*form, first, sig));
    }
    let mut out = Vec::with_capacity(count);
    let rest = kinds.into_iter().zip(times).zip(keys).zip(lengths).zip(fixed);
    for ((((kind, time), key), length), (form, first, sig)) in rest {
        let payload = from.take(usize::try_from(length).map_err(|_| PackError::Length)?)?;
        let content = match (form, sig) {
            (RAW, None) => PackedContent::Kept { salt: first, envelope: payload.to_vec() },
            (STATEMENT, Some(sig)) => {
                let envelope = join(text(key)?, &sig, payload).ok_or(PackError::Damaged)?;
                PackedContent::Kept { salt: first, envelope }
            }
            (FORGOTTEN, None) if length == 0 => PackedContent::Forgotten { commitment: first },
            _ => return Err(PackError::Damaged),
        };
        out.push(PackedEntry { kind: text(kind)?.to_owned(), time: Timestamp(time), content });
    }
    if from.0.is_empty() { Ok(out) } else { Err(PackError::Length) }
}

/// Key id, signature and payload of canonical bytes that [`join`] makes again; `None` of others.
fn split(bytes: &[u8]) -> Option<(String, [u8; 64], Vec<u8>)> {
    let envelope = Envelope::parse(bytes).ok()?;
    let [signature] = envelope.signatures.as_slice() else { return None };
    let payload = BASE64_STANDARD.decode(&envelope.payload).ok()?;
    let sig: [u8; 64] = BASE64_STANDARD.decode(&signature.sig).ok()?.try_into().ok()?;
    let key_id = signature.keyid.clone();
    let same = join(&key_id, &sig, &payload).is_some_and(|again| again == bytes);
    same.then_some((key_id, sig, payload))
}

/// The canonical bytes of an envelope around a statement.
fn join(key_id: &str, sig: &[u8; 64], payload: &[u8]) -> Option<Vec<u8>> {
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: BASE64_STANDARD.encode(payload),
        signatures: vec![EnvelopeSignature {
            keyid: key_id.to_owned(),
            sig: BASE64_STANDARD.encode(sig),
        }],
    };
    envelope.to_bytes().ok()
}

/// Texts that entries name by their place.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn place(&mut self, text: &str) -> Option<[u8; 2]> {
        let at = self.0.iter().position(|t| t == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        u16::try_from(at).ok().map(u16::to_be_bytes)
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        let mut out = u16::try_from(self.0.len()).ok()?.to_be_bytes().to_vec();
        for text in &self.0 {
            out.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
            out.extend(text.as_bytes());
        }
        Some(out)
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], PackError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(PackError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PackError> {
        self.take(N)?.try_into().map_err(|_| PackError::Length)
    }

    fn count(&mut self) -> Result<usize, PackError> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn text(&mut self) -> Result<&'a str, PackError> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| PackError::Damaged)
    }

    fn all<T>(
        &mut self,
        count: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, PackError>,
    ) -> Result<Vec<T>, PackError> {
        (0..count).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::sign_statement;
    use crate::key::SigningKey;
    use proptest::prelude::*;
    use serde_json::json;

    fn kept(kind: &str, n: u8, envelope: Vec<u8>) -> PackedEntry {
        let content = PackedContent::Kept { salt: [n; 32], envelope };
        PackedEntry {
            kind: kind.to_owned(),
            time: Timestamp(1_800_000_000 - i64::from(n)),
            content,
        }
    }

    fn signed(n: u8) -> Vec<u8> {
        let key = SigningKey::from_seed("ledger.example/a", [n % 3 + 1; 32]).unwrap();
        let statement = json!({"predicateType": "urn:x", "n": n, "text": "ä\n\"quoted\""});
        sign_statement(&key, &statement).unwrap().to_bytes().unwrap()
    }

    fn some() -> Vec<PackedEntry> {
        let mut spaced = signed(7);
        spaced.push(b' ');
        let forgotten = PackedContent::Forgotten { commitment: [9; 32] };
        vec![
            kept("urn:x", 1, signed(1)),
            kept("urn:y", 2, signed(2)),
            kept("urn:x", 3, spaced),
            kept("", 4, b"no envelope".to_vec()),
            PackedEntry { kind: "urn:x".into(), time: Timestamp(-5), content: forgotten },
            kept("urn:y", 5, signed(3)),
        ]
    }

    #[test]
    fn entries_come_back_as_they_were_byte_for_byte() {
        let packed = pack(&some()).unwrap();
        assert_eq!(unpack(&packed).unwrap(), some());
        assert_eq!(unpack(&pack(&[]).unwrap()).unwrap(), []);
        let whole: Vec<PackedEntry> = (0..=255).map(|n| kept("urn:x", n, signed(n))).collect();
        assert_eq!(unpack(&pack(&whole).unwrap()).unwrap(), whole);
        assert_eq!(pack(&[whole, some()].concat()), None, "more than a bundle");
    }

    #[test]
    fn statements_are_packed_without_base64() {
        let (one, packed) = (signed(1), pack(&[kept("urn:x", 1, signed(1))]).unwrap());
        assert!(packed.len() < one.len(), "{} of {}", packed.len(), one.len());
        assert!(packed.windows(8).any(|w| w == b"\"quoted\"" || w == b"quoted\\\""));
    }

    #[test]
    fn a_forgotten_entry_keeps_its_commitment() {
        let entry = kept("urn:x", 1, signed(1));
        let commitment = entry.commitment();
        let forgotten = PackedEntry { content: PackedContent::Forgotten { commitment }, ..entry };
        let again = unpack(&pack(&[forgotten]).unwrap()).unwrap();
        assert_eq!(again[0].commitment(), commitment);
    }

    #[test]
    fn what_is_cut_off_or_longer_is_an_error() {
        let packed = pack(&some()).unwrap();
        for n in 0..packed.len() {
            assert!(unpack(&packed[..n]).is_err(), "{n} bytes");
        }
        assert_eq!(unpack(&[&packed[..], b"x"].concat()), Err(PackError::Length));
        assert_eq!(unpack(&[2, 0, 0, 0, 0]), Err(PackError::Version));
        assert_eq!(unpack(&[1, 2, 0, 0, 0]), Err(PackError::Damaged));
    }

    proptest! {
        #[test]
        fn any_envelope_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200), n: u8) {
            let entry = kept("urn:x", n, bytes);
            prop_assert_eq!(unpack(&pack(std::slice::from_ref(&entry)).unwrap()).unwrap(), [entry]);
        }

        #[test]
        fn damaged_bytes_are_read_or_refused_and_never_more(at in 0usize..2000, to: u8) {
            let mut packed = pack(&some()).unwrap();
            let at = at % packed.len();
            packed[at] = to;
            if let Ok(entries) = unpack(&packed) {
                prop_assert!(entries.len() <= MAX_PACK);
            }
        }
    }
}
