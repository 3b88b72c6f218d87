//! The gate at deployment: a folder of artifacts, each of which needs a receipt that a policy
//! accepts. No store, no network.

use super::{ledger_key, quorum, read};
use crate::context::Failed;
use crate::{exit, print};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_engine::ledger::{
    Quorum, Receipt, ReceiptBatch, VerifiedReceipt, VerifierKey, verify_batch, verify_receipt,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whose receipts are accepted, as its TOML file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    /// The ledger's public key, or a file that holds it.
    key: String,
    /// Public keys of witnesses, or files that hold them.
    #[serde(default)]
    witnesses: Vec<String>,
    /// How many of them must have cosigned; all, when nothing is said.
    quorum: Option<usize>,
    /// Days after which an admission is too old.
    max_age_days: Option<u32>,
    /// Digests of the policies whose admissions count; any, when nothing is said.
    #[serde(default)]
    policies: Vec<String>,
    /// Whether admissions by a policy that only records count.
    #[serde(default)]
    audit_only: bool,
}

struct Policy {
    key: VerifierKey,
    quorum: Quorum,
    file: PolicyFile,
}

/// What receipts say of the digests that they are about: accepted, or why not.
type Said = BTreeMap<Sha256Digest, Result<(), String>>;

fn load(path: &Path) -> Result<Policy, Failed> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Failed::usage(format!("`{}` is not UTF-8", path.display())))?;
    let file: PolicyFile = toml::from_str(&text)
        .map_err(|e| Failed::usage(format!("`{}`: {}", path.display(), e.message())))?;
    // Files that the policy names lie beside it.
    let beside = |text: &String| {
        let file = path.parent().unwrap_or(Path::new("")).join(text);
        if file.is_file() { file.display().to_string() } else { text.clone() }
    };
    let witnesses: Vec<String> = file.witnesses.iter().map(beside).collect();
    Ok(Policy {
        key: ledger_key(&beside(&file.key))?,
        quorum: quorum(&witnesses, file.quorum)?,
        file,
    })
}

impl Policy {
    /// Whether a verified receipt is accepted.
    fn accepts(&self, receipt: &VerifiedReceipt, now: Timestamp) -> Result<(), String> {
        let Some(decision) = receipt.decision().filter(|_| receipt.admits()) else {
            return Err("its receipt does not admit it".into());
        };
        if decision.audit_only && !self.file.audit_only {
            return Err("it was admitted by a policy that only records".into());
        }
        if let Some(days) = self.file.max_age_days {
            let hours = now.hours_since(decision.time_verified);
            if hours > i64::from(days) * 24 {
                return Err(format!("its admission is {} days old, {days} allowed", hours / 24));
            }
        }
        let policy = receipt.statement().value().pointer("/predicate/policy/digest/sha256");
        let policy = policy.and_then(|p| p.as_str()).unwrap_or_default();
        if !self.file.policies.is_empty() && !self.file.policies.iter().any(|p| p == policy) {
            return Err(format!("it was admitted by the policy `{policy}`, which is not accepted"));
        }
        Ok(())
    }

    /// Notes what a file of receipts says. A file that does not verify says nothing, and is named.
    fn read(&self, bytes: &[u8], now: Timestamp, said: &mut Said) -> Result<(), String> {
        let (note, receipts) = if ReceiptBatch::is_batch(bytes) {
            let batch = ReceiptBatch::parse(bytes).map_err(|e| e.to_string())?;
            let verified = verify_batch(&batch, &self.key).map_err(|e| e.to_string())?;
            (batch.checkpoint().to_owned(), verified.receipts().to_vec())
        } else {
            let receipt = Receipt::parse(bytes).map_err(|e| e.to_string())?;
            let verified = verify_receipt(&receipt, &self.key, None).map_err(|e| e.to_string())?;
            (receipt.checkpoint().to_owned(), vec![verified])
        };
        self.quorum.check(&note).map_err(|e| e.to_string())?;
        for receipt in &receipts {
            let Some(sha256) = receipt.decision().and_then(|d| d.sha256) else { continue };
            let verdict = self.accepts(receipt, now);
            // A later refusal in the same folder is not outweighed by an earlier admission.
            let kept = said.entry(sha256).or_insert(Ok(()));
            if kept.is_ok() {
                *kept = verdict;
            }
        }
        Ok(())
    }
}

/// Files of receipts end so.
const SUFFIXES: [&str; 2] = [".receipt.json", ".receipts.json"];

fn is_receipt(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    SUFFIXES.iter().any(|s| name.ends_with(s))
}

/// All files below a folder; links are not followed, and are an error: what they lead to could
/// change after the check.
fn files(dir: &Path, out: &mut Vec<PathBuf>) -> Result<(), Failed> {
    let failed =
        |e: std::io::Error| Failed::usage(format!("`{}` cannot be read: {e}", dir.display()));
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                out.push(entry.path());
            } else {
                return Err(Failed::usage(format!(
                    "`{}` is neither file nor folder; a receipt cannot cover it",
                    entry.path().display()
                )));
            }
        }
    }
    out.sort();
    Ok(())
}

/// Checks a folder. Returns the exit code.
pub fn deploy(folder: &Path, policy: &Path, now: Timestamp) -> Result<u8, Failed> {
    let policy_path = std::path::absolute(policy).map_err(Failed::usage)?;
    let policy = load(policy)?;
    let mut all = Vec::new();
    files(folder, &mut all)?;
    all.retain(|f| std::path::absolute(f).ok().as_ref() != Some(&policy_path));
    let (receipts, artifacts): (Vec<_>, Vec<_>) = all.into_iter().partition(|f| is_receipt(f));
    let mut said = Said::new();
    let mut wrong = 0;
    let mut problem = |path: &Path, because: &str| {
        wrong += 1;
        print::error_line(&format!("countersign: `{}`: {because}", path.display()));
    };
    for file in &receipts {
        if let Err(because) = policy.read(&read(file)?, now, &mut said) {
            problem(file, &format!("it does not hold: {because}"));
        }
    }
    for file in &artifacts {
        match said.get(&super::digest_of(file)?) {
            Some(Ok(())) => {}
            Some(Err(because)) => problem(file, because),
            None => problem(file, "no receipt is for these bytes"),
        }
    }
    if artifacts.is_empty() {
        problem(folder, "there is nothing in it to check");
    }
    let (n, r) = (artifacts.len(), receipts.len());
    if wrong == 0 {
        print::line(&format!("{n} artifacts, {r} files of receipts: all of them are admitted"));
        return Ok(0);
    }
    print::error_line(&format!("countersign: {n} artifacts, {wrong} problems: do not deploy this"));
    Ok(exit::REFUSED)
}
