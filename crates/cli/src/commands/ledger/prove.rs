//! `ledger prove`: proofs that anyone can check with RFC 6962 in hand.

use crate::context::Failed;
use crate::print;
use countersign_engine::ledger::{Hash, leaf_hash, verify_checkpoint, verify_inclusion};
use countersign_engine::store::Store;
use serde_json::json;

fn hashes(proof: &[Hash]) -> Vec<String> {
    proof.iter().map(ToString::to_string).collect()
}

/// Prints a proof, after checking it as its reader would.
pub async fn prove(store: &Store, index: Option<u64>, from: Option<u64>) -> Result<u8, Failed> {
    let nothing = || Failed::usage("there is no ledger yet; `countersign init` begins one");
    let key = store.verifier_key().ok_or_else(nothing)?;
    if let Some(old) = from {
        let (note, proof) = store.consistency_from(old).await?;
        let head = verify_checkpoint(&note, key).map_err(Failed::internal)?;
        let line = json!({
            "oldSize": old, "newSize": head.size(), "consistencyProof": hashes(&proof),
            "checkpoint": note,
        });
        print::line(&line.to_string());
        return Ok(0);
    }
    let index = index.ok_or_else(nothing)?;
    let (note, head) = store.published_checkpoint().await?.ok_or_else(nothing)?;
    let missing =
        || Failed::usage(format!("there is no entry {index} in the ledger of {}", head.size()));
    if index >= head.size() {
        return Err(missing());
    }
    let entry = store.entries(index, 1).await?.pop().ok_or_else(missing)?;
    // Also of an entry whose content was forgotten: the commitment stays.
    let commitment = entry.commitment;
    let mut prover = store.prover().await?.ok_or_else(nothing)?;
    let proof = prover.inclusion(index).map_err(Failed::internal)?;
    let leaf = leaf_hash(&commitment);
    verify_inclusion(leaf, index, head.size(), &proof, head.root()).map_err(|e| {
        Failed::internal(format!(
            "the published files do not prove entry {index}: {e}\nrun `countersign ledger fsck`"
        ))
    })?;
    let line = json!({
        "index": index, "size": head.size(), "entry": hex::encode(commitment),
        "leafHash": leaf.to_string(), "inclusionProof": hashes(&proof), "checkpoint": note,
    });
    print::line(&line.to_string());
    Ok(0)
}
