//! Many receipts: of what a lock file lists, and checked at deployment.

pub mod gate;

use super::ledger::describe;
use super::receipt::{digest_of, write};
use crate::context::Failed;
use crate::{exit, print};
use clap::Args;
use countersign_core::{Sha256Digest, Verdict};
use countersign_ecosystem::inventory::{self, Inventory, Listed, SkipKind};
use countersign_engine::ledger::{
    BatchAbout, Quorum, Receipt, ReceiptBatch, VerifiedReceipt, VerifierKey, WitnessKey,
    verify_batch, verify_receipt as verify_one,
};
use countersign_engine::store::{Known, Store};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `verify receipt`.
#[derive(Args)]
pub struct VerifyReceiptArgs {
    /// The receipt, or a file of many
    pub receipt: PathBuf,
    /// The ledger's public key: the text, or a file that holds it
    #[arg(long, value_name = "KEY|FILE")]
    pub key: String,
    /// The artifact that it should be for
    #[arg(long)]
    pub artifact: Option<PathBuf>,
    /// The lock file of which every package should be covered
    #[arg(long, value_name = "FILE", conflicts_with = "artifact")]
    pub lockfile: Option<PathBuf>,
    /// A witness's public key: the text, or a file that holds it; may be given several times
    #[arg(long, value_name = "KEY|FILE")]
    pub witness: Vec<String>,
    /// How many of the witnesses must have cosigned [default: all that are given]
    #[arg(long, value_name = "N")]
    pub quorum: Option<usize>,
}

/// A text, or the content of the file that it names.
pub fn text_or_file(text: &str) -> Result<String, Failed> {
    if !Path::new(text).is_file() {
        return Ok(text.trim().to_owned());
    }
    std::fs::read_to_string(text)
        .map(|t| t.trim().to_owned())
        .map_err(|e| Failed::usage(format!("`{text}` cannot be read: {e}")))
}

/// A ledger's key, by its text or file.
pub fn ledger_key(text: &str) -> Result<VerifierKey, Failed> {
    text_or_file(text)?.parse().map_err(|e| {
        Failed::usage(format!(
            "the ledger's public key cannot be read: {e}; `countersign ledger key` prints it"
        ))
    })
}

/// A quorum of witnesses, by their keys' texts or files.
pub fn quorum(witnesses: &[String], needed: Option<usize>) -> Result<Quorum, Failed> {
    let mut keys: Vec<WitnessKey> = Vec::new();
    for witness in witnesses {
        let key = text_or_file(witness)?;
        keys.push(key.parse().map_err(|e| {
            Failed::usage(format!("the witness's key `{witness}` cannot be read: {e}"))
        })?);
    }
    let needed = needed.unwrap_or(keys.len());
    Quorum::new(keys, needed).map_err(Failed::usage)
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(path)
        .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", path.display())))
}

/// Runs `verify receipt`.
pub fn verify_receipt(args: &VerifyReceiptArgs) -> Result<u8, Failed> {
    let key = ledger_key(&args.key)?;
    let quorum = quorum(&args.witness, args.quorum)?;
    let bytes = read(&args.receipt)?;
    let shown = args.receipt.display();
    let fails = |because: String| {
        print::error_line(&format!("countersign: `{shown}` does not hold: {because}"));
        Ok(1)
    };
    if ReceiptBatch::is_batch(&bytes) {
        return match batch(args, &bytes, &key, &quorum)? {
            Ok(lines) => {
                lines.iter().for_each(|l| print::line(l));
                Ok(0)
            }
            Err(because) => fails(because),
        };
    }
    if args.lockfile.is_some() {
        return fails("it is one receipt, and a lock file needs a file of many".to_owned());
    }
    let artifact = args.artifact.as_deref().map(digest_of).transpose()?;
    let checked = Receipt::parse(&bytes).and_then(|r| {
        let verified = verify_one(&r, &key, artifact.as_ref())?;
        Ok((r, verified))
    });
    let (receipt, verified) = match checked {
        Ok(checked) => checked,
        Err(e) => return fails(e.to_string()),
    };
    let cosigned = match quorum.check(receipt.checkpoint()) {
        Ok(cosigned) => cosigned,
        Err(e) => return fails(e.to_string()),
    };
    print::line(&format!("{shown}: the receipt holds"));
    for l in describe(&verified) {
        print::line(&format!("  {l}"));
    }
    for c in cosigned {
        print::line(&format!("  cosigned:   {} at {}", c.witness, c.time));
    }
    if artifact.is_none() {
        print::line("  the artifact itself was not compared; name it with --artifact");
    }
    Ok(0)
}

/// Checks a file of many receipts. The inner error says what does not hold.
fn batch(
    args: &VerifyReceiptArgs,
    bytes: &[u8],
    key: &VerifierKey,
    quorum: &Quorum,
) -> Result<Result<Vec<String>, String>, Failed> {
    let parsed = ReceiptBatch::parse(bytes).and_then(|b| {
        let verified = verify_batch(&b, key)?;
        Ok((b, verified))
    });
    let (batch, verified) = match parsed {
        Ok(parsed) => parsed,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let cosigned = match quorum.check(batch.checkpoint()) {
        Ok(cosigned) => cosigned,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let all = verified.receipts();
    let admits = all.iter().filter(|r| r.admits()).count();
    let mut lines = vec![
        format!("{}: {} receipts hold, {admits} of them admit", args.receipt.display(), all.len()),
        format!("  ledger:     {} entries under {}", verified.checkpoint().size(), key.name()),
    ];
    lines.extend(cosigned.iter().map(|c| format!("  cosigned:   {} at {}", c.witness, c.time)));
    if let Some(artifact) = &args.artifact {
        let wanted = digest_of(artifact)?;
        if !admitted(all).contains(&wanted) {
            return Ok(Err(format!("no receipt in it admits `{}`", artifact.display())));
        }
        lines.push(format!("  artifact:   `{}` is admitted", artifact.display()));
    }
    match &args.lockfile {
        Some(file) => match uncovered(file, all)? {
            (covered, missing) if missing.is_empty() => {
                lines.push(format!("  lock file:  all of its {covered} packages are admitted"));
            }
            (_, missing) => return Ok(Err(missing.join("; "))),
        },
        None => {
            lines.push("  the lock file itself was not compared; name it with --lockfile".into())
        }
    }
    Ok(Ok(lines))
}

/// The digests that receipts admit.
fn admitted(receipts: &[VerifiedReceipt]) -> BTreeSet<Sha256Digest> {
    let admits = receipts.iter().filter(|r| r.admits());
    admits.filter_map(|r| r.decision().and_then(|d| d.sha256)).collect()
}

/// The number of packages that a lock file lists, and those that no receipt admits.
fn uncovered(file: &Path, receipts: &[VerifiedReceipt]) -> Result<(usize, Vec<String>), Failed> {
    let (_, inventory) = inventory_of(file)?;
    let digests = admitted(receipts);
    let mut missing = not_judged(&inventory);
    for listed in &inventory.listed {
        // By the digests of the signed subjects; of npm's, which are of SHA-512, by those beside.
        let covers = |r: &VerifiedReceipt| {
            let Some(d) = r.decision().filter(|_| r.admits()) else { return false };
            let named = listed.files.iter().flat_map(|f| &f.digests);
            let subject = r.statement().value().pointer("/subject/0/digest");
            let same = |e: &countersign_core::ExpectedDigest| {
                let hex = subject.and_then(|s| s.get(e.algorithm().name()));
                !e.algorithm().is_weak() && hex.and_then(|h| h.as_str()) == Some(&e.to_hex())
            };
            d.purl.ecosystem() == listed.purl.ecosystem() && named.into_iter().any(same)
        };
        let listed_sha256 = listed.files.iter().flat_map(|f| &f.digests).any(|e| {
            e.as_bytes().try_into().is_ok_and(|bytes| digests.contains(&Sha256Digest(bytes)))
        });
        if !listed_sha256 && !receipts.iter().any(covers) {
            missing.push(format!("no receipt admits {}", listed.purl));
        }
    }
    Ok((inventory.listed.len(), missing))
}

fn inventory_of(file: &Path) -> Result<(Vec<u8>, Inventory), Failed> {
    let bytes = read(file)?;
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let format = inventory::detect(&name, &bytes).ok_or_else(|| {
        Failed::usage(format!(
            "`{}` is no lock file or SBOM that is known here; see docs/audit.md",
            file.display()
        ))
    })?;
    let inventory = inventory::parse(format, &bytes)
        .map_err(|e| Failed::usage(format!("`{}`: {e}", file.display())))?;
    Ok((bytes, inventory))
}

/// What a document lists that no registry's decision can cover.
fn not_judged(inventory: &Inventory) -> Vec<String> {
    let counts = inventory.skipped.iter().filter(|s| s.kind != SkipKind::Own);
    let skipped = counts.map(|s| format!("`{}` cannot be covered: {}", s.what, s.because));
    let includes = inventory.includes.iter();
    skipped.chain(includes.map(|i| format!("`{}` is another document", i.path))).collect()
}

/// Runs `receipt --lockfile`: a file of receipts that proves that all of it was admitted, or nothing.
pub async fn lockfile(store: &Store, file: &Path, output: Option<&Path>) -> Result<u8, Failed> {
    let (bytes, inventory) = inventory_of(file)?;
    let purls: Vec<_> = inventory.listed.iter().map(|l| l.purl.clone()).collect();
    let digests: Vec<_> =
        inventory.listed.iter().flat_map(|l| &l.files).flat_map(|f| f.digests.clone()).collect();
    let known = store.known(&purls, &digests).await?;
    let mut missing = not_judged(&inventory);
    let mut places = BTreeSet::new();
    for listed in &inventory.listed {
        match admissions(listed, &known) {
            Ok(found) => places.extend(found),
            Err(because) => missing.push(format!("{} {because}", listed.purl)),
        }
    }
    if !missing.is_empty() || places.is_empty() {
        for m in &missing {
            print::error_line(&format!("countersign: {m}"));
        }
        let (n, all) = (missing.len(), inventory.listed.len());
        print::error_line(&format!(
            "countersign: {n} of what `{}` lists ({all} packages) is not covered; nothing was \
             written. Install it through the gate first",
            file.display()
        ));
        return Ok(exit::REFUSED);
    }
    let places: Vec<u64> = places.into_iter().collect();
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let about = BatchAbout { name, sha256: Sha256Digest::of(&bytes) };
    let batch = ReceiptBatch::new(Some(about), store.receipts_for(&places).await?);
    let batch = batch.map_err(Failed::internal)?;
    let text = String::from_utf8_lossy(&batch.to_bytes().map_err(Failed::internal)?).into_owned();
    match output {
        None => print::line(&text),
        Some(output) => {
            write(output, &text)?;
            print::line(&format!(
                "{}: {} receipts cover the {} packages of `{}`",
                output.display(),
                batch.len(),
                inventory.listed.len(),
                file.display()
            ));
        }
    }
    Ok(0)
}

/// The places of the newest decisions that admit files of a listed version. One file is enough: a
/// lock file lists the files of every platform, and no machine takes them all.
fn admissions(listed: &Listed, known: &Known) -> Result<Vec<u64>, &'static str> {
    let digests = listed.files.iter().flat_map(|f| &f.digests);
    let mut files: BTreeSet<Sha256Digest> =
        digests.filter(|d| !d.algorithm().is_weak()).filter_map(|d| known.sha256_of(d)).collect();
    if listed.files.iter().all(|f| f.digests.is_empty()) {
        return Err("is listed without a digest, so no receipt can prove that it was admitted");
    }
    files.retain(|f| !known.decisions(f).is_empty());
    if files.is_empty() {
        return Err("was never judged");
    }
    let newest = |f: &Sha256Digest| {
        let of_it = known.decisions(f).iter().filter(|d| d.purl.name() == listed.purl.name());
        of_it.max_by_key(|d| d.index)
    };
    let mut found = Vec::new();
    for decision in files.iter().filter_map(newest) {
        if decision.decision.verdict != Verdict::Admit {
            return Err("is not admitted by its newest decision");
        }
        found.push(decision.index);
    }
    if found.is_empty() { Err("was judged under another name only") } else { Ok(found) }
}
