//! Go's checksum database (golang.org/design/25530-sumdb): that the zip of a module has the hash
//! which a transparency log holds for its version.
//!
//! The database answers `/lookup/<module>@<version>` with the number of a record, the record, and a
//! signed note of its tree. Checked here: the note is signed by the caller's key and is of a checksum
//! database's tree; the record is the tree's leaf of that number; the record is of this module and
//! version; and its `h1:` hash is that of the zip. The key, with the database's name in it, is the
//! caller's: there is none built in.
//!
//! The record's second line, the hash of `go.mod`, is read for its form alone: it is about a file
//! that the module proxy serves beside the zip.

mod dirhash;
mod name;

pub use dirhash::{ZipEntry, ZippedModule};
pub use name::lookup_path;

use crate::error::{EvidenceError, Fault, shown};
use crate::json;
use crate::verified::Verified;
use countersign_core::{Claim, ProofClass};
use countersign_ledger::{
    Checkpoint, Hash, ProofError, TileError, TileSource, VerifierKey, inclusion_proof, leaf_hash,
    verify_inclusion, verify_note,
};

/// [`countersign_core::Evidence::kind`] of a record of the checksum database, and its claim's.
pub const KIND: &str = "go-sumdb";

/// The first line of a checksum database's tree note, whatever the database's name.
const TREE: &str = "go.sum database tree";

const LOOKUP: &str = "checksum database's record";
const NOTE: &str = "checksum database's tree note";

/// Bytes of a lookup: two lines and a note with some signatures.
const MAX_LOOKUP: usize = 64 << 10;
/// Hashes of a proof: a tree of 2⁶⁴ leaves needs no more.
const MAX_PROOF: usize = 64;

/// A record that the database's tree holds, about exactly these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoRecord {
    /// The module's path.
    pub module: String,
    /// Its version.
    pub version: String,
    /// The hash of its zip.
    pub h1: String,
    /// The record's number in the tree.
    pub id: u64,
    /// Leaves of the tree that it was proven to be in.
    pub tree_size: u64,
    /// The key that signed the tree, as `name+hash`.
    pub key: String,
}

impl Verified<GoRecord> {
    /// The record as a claim. It says nothing about a source or a time: a tree note has none.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let record = self.get();
        Claim {
            kind: KIND.to_owned(),
            signer: record.key.clone(),
            proof: ProofClass::InclusionProof,
            log: Some(format!("record {} of {}", record.id, record.tree_size)),
            ..Claim::default()
        }
    }
}

/// Reads a database's public key, written `name+hash+base64` as for Go's `GOSUMDB`.
///
/// # Errors
/// When it is no Ed25519 key in that form.
pub fn read_key(text: &str) -> Result<VerifierKey, EvidenceError> {
    VerifierKey::parse(text)
        .map_err(|e| EvidenceError::material("checksum database's key", e.to_string()))
}

/// Verifies a lookup, with the database's tiles: those of the tree that the lookup names.
///
/// # Errors
/// When it does not hold, is about another module or version, or has another hash for it. A tile that
/// is missing says nothing against it ([`EvidenceError::TrustMaterial`]).
pub fn verify_lookup(
    lookup: &[u8],
    tiles: &impl TileSource,
    module: &ZippedModule,
    key: &VerifierKey,
) -> Result<Verified<GoRecord>, EvidenceError> {
    let read = UnverifiedLookup::parse(lookup)?;
    let tree = read.tree(key)?;
    check_size(read.id, tree.size)?;
    let proof = inclusion_proof(read.id, tree.size, tiles).map_err(no_proof)?;
    read.verify(&tree, &proof, module, key)
}

/// Verifies a document of an evidence source: `{"lookup": "…", "proof": ["…", …]}`, the answer to the
/// lookup as it was, and the inclusion proof of the record in the tree of its note, from the leaf up,
/// each hash in base64.
///
/// # Errors
/// As [`verify_lookup`].
pub fn verify_document(
    document: &[u8],
    module: &ZippedModule,
    key: &VerifierKey,
) -> Result<Verified<GoRecord>, EvidenceError> {
    let value = json::parse(LOOKUP, document)?;
    let lookup = json::need_text(LOOKUP, &value, "/lookup")?;
    let proof = json::need_array(LOOKUP, &value, "/proof", MAX_PROOF)?;
    let proof = proof.iter().map(|h| h.as_str().and_then(Hash::from_base64));
    let proof: Option<Vec<Hash>> = proof.collect();
    let proof =
        proof.ok_or_else(|| EvidenceError::malformed(LOOKUP, "its proof holds what is no hash"))?;
    let read = UnverifiedLookup::parse(lookup.as_bytes())?;
    let tree = read.tree(key)?;
    check_size(read.id, tree.size)?;
    read.verify(&tree, &proof, module, key)
}

/// An answer to a lookup, of which nothing is proven.
struct UnverifiedLookup<'a> {
    id: u64,
    /// The leaf of the tree: both lines with their ends.
    text: &'a str,
    module: &'a str,
    version: &'a str,
    h1: &'a str,
    note: &'a str,
}

impl<'a> UnverifiedLookup<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, EvidenceError> {
        let bad = |because: &str| EvidenceError::malformed(LOOKUP, because);
        if bytes.len() > MAX_LOOKUP {
            let limit = format!("{MAX_LOOKUP} bytes");
            return Err(EvidenceError::TooLarge { what: LOOKUP, limit });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (id, rest) = text.split_once('\n').ok_or_else(|| bad("it has no number"))?;
        let id = number(id).ok_or_else(|| bad("its number is none"))?;
        let at = rest.find("\n\n").ok_or_else(|| bad("it has no tree note"))?;
        let (text, note) = rest.split_at(at.saturating_add(1));
        let note = note.strip_prefix('\n').unwrap_or(note);
        let mut lines = text.lines();
        let (Some(zip), Some(go_mod), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(bad("it does not have two lines"));
        };
        let (module, version, h1) = line(zip).ok_or_else(|| bad("its first line is none"))?;
        let about = line(go_mod).ok_or_else(|| bad("its second line is none"))?;
        if (about.0, about.1.strip_suffix("/go.mod")) != (module, Some(version)) {
            return Err(bad("its two lines are about different versions"));
        }
        Ok(Self { id, text, module, version, h1, note })
    }

    /// The tree of the note, when `key` signed it.
    fn tree(&self, key: &VerifierKey) -> Result<Checkpoint, EvidenceError> {
        let text = verify_note(self.note, key)
            .map_err(|e| EvidenceError::fault(Fault::Checkpoint, format!("{NOTE}: {e}")))?;
        let tree = Checkpoint::parse_body(text)
            .map_err(|e| EvidenceError::fault(Fault::Checkpoint, format!("{NOTE}: {e}")))?;
        if tree.origin != TREE {
            let because = format!("{NOTE}: it is of `{}`", shown(&tree.origin));
            return Err(EvidenceError::fault(Fault::Checkpoint, because));
        }
        Ok(tree)
    }

    fn verify(
        &self,
        tree: &Checkpoint,
        proof: &[Hash],
        module: &ZippedModule,
        key: &VerifierKey,
    ) -> Result<Verified<GoRecord>, EvidenceError> {
        let leaf = leaf_hash(self.text.as_bytes());
        verify_inclusion(leaf, self.id, tree.size, proof, tree.root)
            .map_err(|e| EvidenceError::fault(Fault::InclusionProof, e.to_string()))?;
        if (self.module, self.version) != (module.path(), module.version()) {
            return Err(EvidenceError::OtherSubject {
                found: shown(&format!("{}@{}", self.module, self.version)),
                expected: shown(&format!("{}@{}", module.path(), module.version())),
            });
        }
        if !self.h1.starts_with("h1:") {
            return Err(EvidenceError::Unsupported { what: "Go hash", found: shown(self.h1) });
        }
        if self.h1 != module.h1() {
            return Err(EvidenceError::OtherDigest { algorithm: "h1".to_owned() });
        }
        Ok(Verified::mint(GoRecord {
            module: self.module.to_owned(),
            version: self.version.to_owned(),
            h1: self.h1.to_owned(),
            id: self.id,
            tree_size: tree.size,
            key: key.key_id(),
        }))
    }
}

/// A decimal number in its one form.
fn number(text: &str) -> Option<u64> {
    let one_form = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (one_form && digits).then(|| text.parse().ok())?
}

/// The three words of a line of `go.sum`, each without white space and control characters.
fn line(text: &str) -> Option<(&str, &str, &str)> {
    let mut words = text.split(' ');
    let (module, version, hash) = (words.next()?, words.next()?, words.next()?);
    let sound = |w: &&str| !w.is_empty() && !w.chars().any(|c| c.is_whitespace() || c.is_control());
    let all = [module, version, hash];
    (words.next().is_none() && all.iter().all(sound)).then_some((module, version, hash))
}

fn check_size(id: u64, size: u64) -> Result<(), EvidenceError> {
    if id >= size {
        let because = format!("record {id} is not in a tree of {size}");
        return Err(EvidenceError::fault(Fault::InclusionProof, because));
    }
    Ok(())
}

fn no_proof(error: ProofError) -> EvidenceError {
    const TILES: &str = "checksum database's tiles";
    match error {
        ProofError::Tile(TileError::Damaged { .. }) => {
            EvidenceError::fault(Fault::InclusionProof, error.to_string())
        }
        _ => EvidenceError::material(TILES, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_read_in_one_way() {
        let good = "7\nm.example/a v1.0.0 h1:aa=\nm.example/a v1.0.0/go.mod h1:bb=\n\nnote\n";
        let read = UnverifiedLookup::parse(good.as_bytes()).unwrap();
        assert_eq!((read.id, read.module, read.version), (7, "m.example/a", "v1.0.0"));
        assert_eq!((read.h1, read.note), ("h1:aa=", "note\n"));
        assert!(read.text.ends_with("h1:bb=\n") && read.text.starts_with("m.example"));
        for (from, to) in [
            ("7\n", "07\n"),
            ("7\n", "-7\n"),
            ("7\n", "18446744073709551616\n"),
            ("7\n", ""),
            ("\n\n", "\n"),
            ("h1:aa=\n", "h1:aa=\n\n"),
            ("h1:aa=", "h1:aa= h1:cc="),
            ("h1:aa=", ""),
            ("h1:aa=", "h1:a\ta="),
            ("v1.0.0/go.mod", "v1.0.1/go.mod"),
            ("v1.0.0/go.mod", "v1.0.0"),
            ("m.example/a v1.0.0/", "m.example/b v1.0.0/"),
            ("h1:bb=\n", "h1:bb=\nm.example/a v1.0.0 h1:cc=\n"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert!(UnverifiedLookup::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(UnverifiedLookup::parse(&[0xff; 9]).is_err());
        assert!(UnverifiedLookup::parse(&vec![b'1'; MAX_LOOKUP + 1]).is_err());
    }
}
