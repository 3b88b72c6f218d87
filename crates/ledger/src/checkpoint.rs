//! Checkpoints (C2SP tlog-checkpoint): origin, size and root of a tree, as a signed note.

use crate::hash::Hash;
use crate::key::{SigningKey, VerifierKey};
use crate::note::{NoteError, sign_note, verify_note};
use crate::tile::MAX_TREE_SIZE;

/// What a checkpoint says. By itself it is only text: see [`VerifiedCheckpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ledger's name.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// The Merkle tree hash over them.
    pub root: Hash,
    /// Further lines, which this ledger does not write and carries no meaning in.
    pub extensions: Vec<String>,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is malformed or not signed by the key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is no checkpoint.
    #[error("malformed checkpoint: {because}")]
    Malformed {
        /// What is wrong with it.
        because: &'static str,
    },
    /// It is signed by the right key, for another ledger.
    #[error("the checkpoint is of the ledger `{found}`, not of `{wanted}`")]
    Origin {
        /// The origin in the checkpoint.
        found: String,
        /// The name of the key.
        wanted: String,
    },
}

impl Checkpoint {
    /// The note's text: three lines, then the extensions.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads a checkpoint's text, without the signatures.
    ///
    /// # Errors
    /// When it is not one: a size with leading zeros, a root that is no hash, an empty line.
    pub fn parse_body(text: &str) -> Result<Self, CheckpointError> {
        let bad = |because| CheckpointError::Malformed { because };
        let text = text.strip_suffix('\n').ok_or(bad("it does not end in a newline"))?;
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|l| !l.is_empty()).ok_or(bad("it has no origin"))?;
        let size = lines.next().and_then(parse_size).ok_or(bad("it has no size"))?;
        let root = lines.next().and_then(Hash::from_base64).ok_or(bad("it has no root hash"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(bad("an extension line is empty"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// The checkpoint as a note signed by `key`.
    ///
    /// # Errors
    /// When the text cannot be a note's.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        sign_note(&self.body(), key)
    }

    /// The checkpoint as a note signed by several keys of one ledger: while its key is rotated, by the
    /// new one and the old one.
    ///
    /// # Errors
    /// When the text cannot be a note's.
    pub fn sign_all(&self, keys: &[&SigningKey]) -> Result<String, NoteError> {
        let body = self.body();
        let mut note = format!("{body}\n");
        for key in keys {
            let signed = sign_note(&body, key)?;
            note.push_str(signed.get(body.len().saturating_add(1)..).unwrap_or_default());
        }
        Ok(note)
    }
}

/// A decimal number in its one form: digits only, no leading zero, below the largest tree.
fn parse_size(text: &str) -> Option<u64> {
    let one_form = text == "0" || !text.starts_with('0');
    if !one_form || text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|size| *size <= MAX_TREE_SIZE)
}

/// A checkpoint whose signature was verified. Only [`verify_checkpoint`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
}

impl VerifiedCheckpoint {
    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.checkpoint.root
    }

    /// The ledger's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.checkpoint.origin
    }
}

/// Verifies a signed checkpoint: the signature, and that the origin is the key's name.
///
/// # Errors
/// When the note is malformed, not signed by `key`, or of another ledger.
pub fn verify_checkpoint(
    note: &str,
    key: &VerifierKey,
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let checkpoint = Checkpoint::parse_body(verify_note(note, key)?)?;
    if checkpoint.origin != key.name() {
        return Err(CheckpointError::Origin {
            found: checkpoint.origin,
            wanted: key.name().to_owned(),
        });
    }
    Ok(VerifiedCheckpoint { checkpoint })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body that the tlog-checkpoint specification shows as its example.
    const SPEC_BODY: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_example_of_the_specification_parses() {
        let c = Checkpoint::parse_body(SPEC_BODY).unwrap();
        assert_eq!((c.origin.as_str(), c.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(c.body(), SPEC_BODY);
        let theirs = tlog_tiles::Checkpoint::from_bytes(SPEC_BODY.as_bytes()).unwrap();
        assert_eq!((theirs.size(), theirs.hash().0), (c.size, c.root.0));
        let with_extension = format!("{SPEC_BODY}and another thing\n");
        let c = Checkpoint::parse_body(&with_extension).unwrap();
        assert_eq!((c.extensions.len(), c.body()), (1, with_extension));
    }

    #[test]
    fn other_bodies_are_rejected() {
        for bad in [
            "",
            "\n",
            &SPEC_BODY.replace("20852163", "020852163"),
            &SPEC_BODY.replace("20852163", "+20852163"),
            &SPEC_BODY.replace("20852163", "-1"),
            &SPEC_BODY.replace("20852163", "18446744073709551615"),
            &SPEC_BODY.replace("20852163", "99999999999999999999999"),
            &SPEC_BODY.replace("I=", "I"),
            &SPEC_BODY.replace("example.com/behind-the-sofa", ""),
            &format!("{SPEC_BODY}\n"),
            SPEC_BODY.trim_end(),
        ] {
            assert!(Checkpoint::parse_body(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_checkpoint_is_believed_only_for_the_key_and_the_origin() {
        let key = SigningKey::from_seed("ledger.example/a", [1; 32]).unwrap();
        let other = SigningKey::from_seed("ledger.example/a", [2; 32]).unwrap();
        let mut c = Checkpoint {
            origin: "ledger.example/a".into(),
            size: 3,
            root: crate::EMPTY_ROOT,
            extensions: vec![],
        };
        let note = c.sign(&key).unwrap();
        assert_eq!(verify_checkpoint(&note, key.verifier()).unwrap().size(), 3);
        assert!(verify_checkpoint(&note, other.verifier()).is_err());
        c.origin = "ledger.example/b".into();
        let elsewhere = c.sign(&key).unwrap();
        assert!(matches!(
            verify_checkpoint(&elsewhere, key.verifier()),
            Err(CheckpointError::Origin { .. })
        ));
    }
}
