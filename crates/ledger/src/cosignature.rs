//! Cosignatures of witnesses (C2SP tlog-cosignature, type Ed25519): "at this time, this is the largest
//! tree of this log that I have seen, and it continues every earlier one".
//!
//! A quorum of them is what keeps a log from showing different trees to different people.

use crate::key::{SigningKey, WitnessKey};
use crate::note::{NoteError, SignatureLine, check_text, signature_lines, split_note};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::Timestamp;

/// A cosignature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name.
    pub witness: String,
    /// When the witness says that it signed.
    pub time: Timestamp,
}

/// Which witnesses are believed, and how many of them must have signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quorum {
    witnesses: Vec<WitnessKey>,
    needed: usize,
}

/// Why witnesses do not vouch for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// The note cannot be read.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Too few of the known witnesses have signed.
    #[error("{found} of the {needed} witnesses that are needed have cosigned the checkpoint")]
    TooFew {
        /// Known witnesses whose cosignature verifies.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// More witnesses are wanted than are known.
    #[error("{needed} witnesses cannot be had of the {known} that are configured")]
    Unreachable {
        /// How many are needed.
        needed: usize,
        /// How many are known.
        known: usize,
    },
}

impl Quorum {
    /// `needed` of `witnesses`. A witness that is named twice counts once.
    ///
    /// # Errors
    /// When more are needed than are known.
    pub fn new(witnesses: Vec<WitnessKey>, needed: usize) -> Result<Self, QuorumError> {
        let mut known: Vec<WitnessKey> = Vec::new();
        for witness in witnesses {
            if !known.contains(&witness) {
                known.push(witness);
            }
        }
        if needed > known.len() {
            return Err(QuorumError::Unreachable { needed, known: known.len() });
        }
        Ok(Self { witnesses: known, needed })
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.witnesses
    }

    /// How many of them must have signed.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// The cosignatures under `note`, when there are enough. The log's own signature is not looked
    /// at here.
    ///
    /// # Errors
    /// When the note is malformed or too few witnesses have signed.
    pub fn check(&self, note: &str) -> Result<Vec<Cosigned>, QuorumError> {
        let found = cosignatures(note, &self.witnesses)?;
        if found.len() < self.needed {
            return Err(QuorumError::TooFew { found: found.len(), needed: self.needed });
        }
        Ok(found)
    }
}

/// What a witness signs: a header, its time, and the checkpoint's text.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The signature line, with its newline, of the witness `key` under the checkpoint `text`.
///
/// # Errors
/// When the text cannot be a note's, or the time is before 1970.
pub fn cosign(text: &str, key: &SigningKey, time: Timestamp) -> Result<String, NoteError> {
    check_text(text)?;
    let seconds = u64::try_from(time.0)
        .map_err(|_| NoteError::Malformed { because: "its time is before 1970" })?;
    let witness = key.witness();
    let signature = key.sign(message(text, seconds).as_bytes());
    let bytes = [&witness.id()[..], &seconds.to_be_bytes(), &signature].concat();
    Ok(format!("\u{2014} {} {}\n", witness.name(), BASE64_STANDARD.encode(bytes)))
}

/// The cosignatures of `witnesses` under `note` that verify, one a witness at most. Lines of others,
/// and lines that do not verify, are passed over: whoever hands out a checkpoint may add any line.
///
/// # Errors
/// When the note is malformed.
pub fn cosignatures(note: &str, witnesses: &[WitnessKey]) -> Result<Vec<Cosigned>, NoteError> {
    let (text, lines) = split_note(note)?;
    let by = |key: &WitnessKey| {
        let time = lines.iter().find_map(|line| verify_line(text, line, key))?;
        Some(Cosigned { witness: key.name().to_owned(), time })
    };
    Ok(witnesses.iter().filter_map(by).collect())
}

fn verify_line(text: &str, line: &SignatureLine<'_>, key: &WitnessKey) -> Option<Timestamp> {
    if line.name != key.name() || line.id != key.id() {
        return None;
    }
    let (time, signature) = line.signature.split_first_chunk::<8>()?;
    let seconds = u64::from_be_bytes(*time);
    let time = Timestamp(i64::try_from(seconds).ok()?);
    key.accepts(message(text, seconds).as_bytes(), signature).then_some(time)
}

/// `note` with those lines of a witness's `answer` that are valid cosignatures of `key`, in place of
/// older ones of the same key; `None` when the answer holds none.
///
/// # Errors
/// When note or answer are malformed.
pub fn merge_cosignatures(
    note: &str,
    answer: &str,
    key: &WitnessKey,
) -> Result<Option<(String, Cosigned)>, NoteError> {
    let (text, lines) = split_note(note)?;
    let mut found = None;
    for line in signature_lines(answer)? {
        if let Some(time) = verify_line(text, &line, key) {
            found = Some((line, time));
        }
    }
    let Some((new, time)) = found else { return Ok(None) };
    let others = lines.iter().filter(|l| l.name != new.name || l.id != new.id);
    let mut merged = format!("{text}\n");
    for line in others.chain([&new]) {
        let bytes = [&line.id[..], &line.signature].concat();
        merged.push_str(&format!("\u{2014} {} {}\n", line.name, BASE64_STANDARD.encode(bytes)));
    }
    Ok(Some((merged, Cosigned { witness: key.name().to_owned(), time })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, verify_checkpoint};
    use crate::hash::EMPTY_ROOT;

    const NOW: Timestamp = Timestamp(1_679_315_147);

    fn key(name: &str, seed: u8) -> SigningKey {
        SigningKey::from_seed(name, [seed; 32]).unwrap()
    }

    fn note() -> (String, SigningKey) {
        let log = key("ledger.example/a", 1);
        let body = Checkpoint {
            origin: log.name().to_owned(),
            size: 9,
            root: EMPTY_ROOT,
            extensions: vec![],
        };
        (body.sign(&log).unwrap(), log)
    }

    fn text(note: &str) -> String {
        format!("{}\n", note.split_once("\n\n").unwrap().0)
    }

    #[test]
    fn the_message_is_that_of_the_specification() {
        let body =
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(
            message(body, 1_679_315_147),
            "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
             CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
        );
    }

    #[test]
    fn a_quorum_counts_each_known_witness_once() {
        let (note, log) = note();
        let (a, b, stranger) =
            (key("w.example/a", 2), key("w.example/b", 3), key("w.example/c", 4));
        let mut signed = note.clone();
        for k in [&a, &a, &stranger] {
            signed.push_str(&cosign(&text(&note), k, NOW).unwrap());
        }
        let two = Quorum::new(vec![a.witness(), b.witness(), a.witness()], 2).unwrap();
        assert_eq!(two.check(&signed), Err(QuorumError::TooFew { found: 1, needed: 2 }));
        let (merged, who) =
            merge_cosignatures(&signed, &cosign(&text(&note), &b, NOW).unwrap(), &b.witness())
                .unwrap()
                .unwrap();
        assert_eq!((who.witness.as_str(), who.time), ("w.example/b", NOW));
        assert_eq!(two.check(&merged).unwrap().len(), 2);
        // The log's signature stands as before.
        assert_eq!(verify_checkpoint(&merged, log.verifier()).unwrap().size(), 9);
        assert!(Quorum::new(vec![a.witness()], 2).is_err());
    }

    #[test]
    fn what_is_not_a_cosignature_of_this_text_counts_for_nothing() {
        let (note, log) = note();
        let w = key("w.example/a", 2);
        let quorum = Quorum::new(vec![w.witness()], 1).unwrap();
        let good = cosign(&text(&note), &w, NOW).unwrap();
        assert!(quorum.check(&format!("{note}{good}")).is_ok());
        let other = cosign(&text(&note).replace("\n9\n", "\n8\n"), &w, NOW).unwrap();
        assert!(quorum.check(&format!("{note}{other}")).is_err(), "of another tree");
        let named = good.replace("w.example/a", "w.example/b");
        assert!(quorum.check(&format!("{note}{named}")).is_err(), "under another name");
        // A log's signature by the same key is no cosignature, and the reverse.
        let plain = crate::note::sign_note(&text(&note), &w).unwrap();
        let line = plain.split_once("\n\n").unwrap().1;
        assert!(quorum.check(&format!("{note}{line}")).is_err(), "a log's signature");
        let own = cosign(&text(&note), &log, NOW).unwrap();
        let posing = format!("{}\n{own}", text(&note));
        assert!(verify_checkpoint(&posing, log.verifier()).is_err());
        // The time is signed.
        let mut bytes =
            BASE64_STANDARD.decode(good.trim_end().rsplit(' ').next().unwrap()).unwrap();
        bytes[11] ^= 1;
        let later = format!("\u{2014} w.example/a {}\n", BASE64_STANDARD.encode(&bytes));
        assert!(quorum.check(&format!("{note}{later}")).is_err(), "another time");
        assert_eq!(merge_cosignatures(&note, &later, &w.witness()).unwrap(), None);
    }

    #[test]
    fn the_two_kinds_of_key_do_not_read_as_each_other() {
        let k = key("w.example/a", 5);
        let (log, witness) = (k.verifier().to_string(), k.witness().to_string());
        assert_eq!(WitnessKey::parse(&witness).unwrap(), k.witness());
        assert!(WitnessKey::parse(&log).is_err());
        assert!(crate::VerifierKey::parse(&witness).is_err());
    }
}
