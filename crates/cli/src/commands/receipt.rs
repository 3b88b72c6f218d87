//! `countersign receipt`: a decision's statement and proof in one file.

use crate::args::ReceiptArgs;
use crate::context::{Context, Failed};
use crate::print;
use countersign_core::{Purl, Sha256Digest};
use countersign_engine::store::{Store, StoredDecision};
use std::path::Path;

/// Writes the receipt of a file's or purl's newest decision.
pub async fn receipt(context: &Context, args: ReceiptArgs) -> Result<u8, Failed> {
    let store = context.open().await?;
    if let Some(lockfile) = &args.lockfile {
        return super::receipts::lockfile(&store, lockfile, args.output.as_deref()).await;
    }
    let decision = find(&store, args.subject.as_deref().unwrap_or_default()).await?;
    let receipt = store.receipt_for(decision.index).await?;
    let bytes = receipt.to_bytes().map_err(Failed::internal)?;
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    match args.output {
        Some(file) => {
            write(&file, &text)?;
            print::line(&format!(
                "{}: {} {} (ledger entry {})",
                file.display(),
                decision.purl,
                decision.decision.verdict,
                decision.index
            ));
        }
        None => print::line(&text),
    }
    Ok(0)
}

/// Writes a file of one line.
pub fn write(file: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(file, format!("{text}\n"))
        .map_err(|e| Failed::internal(format!("`{}` cannot be written: {e}", file.display())))
}

async fn find(store: &Store, subject: &str) -> Result<StoredDecision, Failed> {
    let none = |what: &str| {
        Failed::usage(format!(
            "the ledger holds no decision about {what}; run it through the gate first"
        ))
    };
    if subject.starts_with("pkg:") {
        let purl: Purl = subject.parse().map_err(Failed::usage)?;
        let found = if purl.version().is_some() {
            store.decisions_for_purl(&purl).await?
        } else {
            store.history(&purl, 1).await?
        };
        return found.into_iter().next().ok_or_else(|| none(subject));
    }
    let sha256: Sha256Digest = match subject.parse() {
        Ok(digest) => digest,
        Err(_) => digest_of(Path::new(subject))?,
    };
    let found = store.decisions_for_digest(&sha256).await?;
    found.into_iter().next().ok_or_else(|| none(&format!("`{subject}` (sha256 {sha256})")))
}

/// The SHA-256 of a file, read in pieces.
pub fn digest_of(path: &Path) -> Result<Sha256Digest, Failed> {
    use sha2::Digest as _;
    let fail =
        |e: std::io::Error| Failed::usage(format!("`{}` cannot be read: {e}", path.display()));
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let mut hasher = sha2::Sha256::new();
    std::io::copy(&mut file, &mut hasher).map_err(fail)?;
    Ok(Sha256Digest(hasher.finalize().into()))
}
