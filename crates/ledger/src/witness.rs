//! The protocol between logs and witnesses (C2SP tlog-witness): the request of `add-checkpoint`, and
//! what a witness answers. Keeping what was seen, and HTTP, are the caller's.

use crate::checkpoint::{VerifiedCheckpoint, verify_checkpoint};
use crate::cosignature::cosign;
use crate::hash::{EMPTY_ROOT, Hash};
use crate::key::{SigningKey, VerifierKey};
use crate::note::split_note;
use crate::proof::verify_consistency;
use crate::tile::MAX_TREE_SIZE;
use countersign_core::Timestamp;

/// Most consistency proof lines of a request, by the specification.
const MAX_PROOF: usize = 63;

/// Largest request, in bytes: 63 hashes and a checkpoint with a hundred signatures are below.
const MAX_REQUEST: usize = 64 << 10;

/// The body of `add-checkpoint`, unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the tree that the witness saw last, as the log believes.
    pub old: u64,
    /// The proof that the checkpoint continues it.
    pub proof: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
}

/// The newest tree of a log that a witness has cosigned; the default is that it saw none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Default for Observed {
    fn default() -> Self {
        Self { size: 0, root: EMPTY_ROOT }
    }
}

/// Why a witness does not cosign, with the HTTP status that the specification names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// The request is no request (400).
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// No known key of the origin has signed (403).
    #[error("the checkpoint is not signed by a key that is known for its origin")]
    Unsigned,
    /// The log is not known here (404).
    #[error("the log `{0}` is not known to this witness")]
    Unknown(String),
    /// The witness saw another tree last (409), of this size.
    #[error("the witness has last cosigned a tree of {0} entries")]
    OtherSize(u64),
    /// Another tree of the same size (409): the log has forked.
    #[error("the witness has cosigned another tree of {0} entries: the log has forked")]
    OtherRoot(u64),
    /// The proof does not lead from the one to the other (422).
    #[error("the consistency proof does not verify")]
    Inconsistent,
}

impl WitnessRefusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Unsigned => 403,
            Self::Unknown(_) => 404,
            Self::OtherSize(_) | Self::OtherRoot(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl AddCheckpoint {
    /// The request's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let proof: String = self.proof.iter().map(|h| format!("{h}\n")).collect();
        format!("old {}\n{proof}\n{}", self.old, self.checkpoint)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When the text is no request.
    pub fn parse(text: &str) -> Result<Self, WitnessRefusal> {
        let bad = WitnessRefusal::Malformed;
        if text.len() > MAX_REQUEST {
            return Err(bad("it is longer than 64 KiB"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(bad("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|l| l.strip_prefix("old ")).and_then(read_size);
        let old = old.ok_or(bad("it has no old size"))?;
        let proof: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let proof = proof.ok_or(bad("a proof line is not a hash"))?;
        if proof.len() > MAX_PROOF {
            return Err(bad("its proof has more than 63 lines"));
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The origin that the checkpoint claims, to look its key and state up by.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.checkpoint.split('\n').next().unwrap_or_default()
    }
}

/// A size in its one decimal form.
fn read_size(text: &str) -> Option<u64> {
    let one_form = text == "0" || !text.starts_with('0');
    if !one_form || text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|size| *size <= MAX_TREE_SIZE)
}

/// The size in the body of a 409 answer (`text/x.tlog.size`).
#[must_use]
pub fn read_size_body(body: &str) -> Option<u64> {
    read_size(body.strip_suffix('\n').unwrap_or(body))
}

/// Judges a request, given what was `observed` of the log whose keys are `log`: the new state, which
/// must be durable before the cosignature is given out, and the signature line.
///
/// # Errors
/// When the witness must not cosign.
pub fn witness(
    request: &AddCheckpoint,
    log: &[VerifierKey],
    observed: Observed,
    key: &SigningKey,
    now: Timestamp,
) -> Result<(Observed, String), WitnessRefusal> {
    let known = |k: &VerifierKey| verify_checkpoint(&request.checkpoint, k).ok();
    let checkpoint: VerifiedCheckpoint =
        log.iter().find_map(known).ok_or(WitnessRefusal::Unsigned)?;
    let (size, root) = (checkpoint.size(), checkpoint.root());
    if request.old > size {
        return Err(WitnessRefusal::Malformed("its old size is above the checkpoint's"));
    }
    if request.old != observed.size {
        return Err(WitnessRefusal::OtherSize(observed.size));
    }
    if size == observed.size && root != observed.root {
        return Err(WitnessRefusal::OtherRoot(size));
    }
    verify_consistency(observed.size, observed.root, size, root, &request.proof)
        .map_err(|_| WitnessRefusal::Inconsistent)?;
    let (text, _) = split_note(&request.checkpoint)
        .map_err(|_| WitnessRefusal::Malformed("its checkpoint is no signed note"))?;
    let line = cosign(text, key, now)
        .map_err(|_| WitnessRefusal::Malformed("its checkpoint cannot be cosigned"))?;
    Ok((Observed { size, root }, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosignature::Quorum;
    use crate::edge::tests::{entry, grow};
    use crate::edge::{Edge, Plan};
    use crate::proof::consistency_proof;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn keys() -> (SigningKey, SigningKey) {
        let log = SigningKey::from_seed("ledger.example/a", [1; 32]).unwrap();
        (log, SigningKey::from_seed("w.example/a", [2; 32]).unwrap())
    }

    fn tree(size: u64) -> Plan {
        let all: Vec<_> = (0..size).map(entry).collect();
        Edge::empty().plan(&all, "ledger.example/a").unwrap()
    }

    fn request(old: u64, new: u64) -> AddCheckpoint {
        let (log, _) = keys();
        let (_, tiles) = grow(new, 100);
        let proof = consistency_proof(old, new, &tiles).unwrap();
        AddCheckpoint { old, proof, checkpoint: tree(new).checkpoint.sign(&log).unwrap() }
    }

    fn ask(request: &AddCheckpoint, observed: Observed) -> Result<Observed, u16> {
        let (log, own) = keys();
        let again = AddCheckpoint::parse(&request.to_text()).unwrap();
        assert_eq!(&again, request);
        let (state, line) = witness(&again, &[log.verifier().clone()], observed, &own, NOW)
            .map_err(|e| e.status())?;
        let quorum = Quorum::new(vec![own.witness()], 1).unwrap();
        assert!(quorum.check(&format!("{}{line}", request.checkpoint)).is_ok());
        Ok(state)
    }

    #[test]
    fn a_log_that_grows_is_cosigned_at_each_step() {
        let mut observed = Observed::default();
        for size in [0, 1, 7, 7, 256, 300, 700] {
            observed = ask(&request(observed.size, size), observed).unwrap();
            assert_eq!((observed.size, observed.root), (size, tree(size).root));
        }
    }

    #[test]
    fn every_other_request_has_its_status() {
        let seven = Observed { size: 7, root: tree(7).root };
        assert_eq!(ask(&request(3, 9), seven), Err(409), "another old size");
        assert_eq!(ask(&request(0, 9), seven), Err(409));
        let forked = Observed { size: 7, root: tree(8).root };
        assert_eq!(ask(&request(7, 7), forked), Err(409), "another tree of this size");
        assert_eq!(ask(&request(7, 9), forked), Err(422), "another tree before");
        let mut changed = request(7, 9);
        changed.proof.pop();
        assert_eq!(ask(&changed, seven), Err(422));
        let mut back = request(7, 9);
        back.old = 10;
        assert_eq!(ask(&back, Observed { size: 10, root: EMPTY_ROOT }), Err(400));
        let (_, own) = keys();
        let unsigned = witness(&request(7, 9), &[own.verifier().clone()], seven, &own, NOW);
        assert_eq!(unsigned.unwrap_err().status(), 403);
    }

    #[test]
    fn requests_are_read_strictly() {
        let good = request(7, 9).to_text();
        assert_eq!(AddCheckpoint::parse(&good).unwrap().origin(), "ledger.example/a");
        for bad in [
            String::new(),
            good.replacen("old 7", "old 07", 1),
            good.replacen("old 7", "old +7", 1),
            good.replacen("old 7", "old", 1),
            good.replacen("old 7\n", "old 7\nAAAA\n", 1),
            good.replacen(
                "old 7\n",
                &format!("old 7\n{}", format!("{EMPTY_ROOT}\n").repeat(64)),
                1,
            ),
            "old 7\n".to_owned(),
        ] {
            assert!(AddCheckpoint::parse(&bad).is_err(), "{bad:.60}");
        }
        assert_eq!(read_size_body("20852163\n"), Some(20_852_163));
        assert_eq!(read_size_body("-1\n"), None);
    }
}
