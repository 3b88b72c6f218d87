//! `ledger monitor` and `ledger cosign`: other people's eyes on a ledger.

use crate::commands::receipts::{ledger_key, quorum, text_or_file};
use crate::context::Failed;
use crate::{exit, print};
use clap::Args;
use countersign_engine::auditor::{self, FollowError, Followed, RemoteLog, Witness};
use countersign_engine::store::Store;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The exit code of an alarm.
const ALARM: u8 = 1;

/// `ledger monitor`.
#[derive(Args)]
#[command(
    after_help = "Exit codes:\n  0  the ledger continues what was seen before\n  1  alarm: it does not; keep the file of --seen, it is the proof\n  93 it could not be read\n\nExamples:\n  countersign ledger monitor https://gate.example/ledger --key gate.vkey --seen gate.seen\n  countersign ledger monitor /srv/ledger --key gate.vkey --every 60"
)]
pub struct MonitorArgs {
    /// The address under which `checkpoint` and `tile/` are, or a folder
    pub ledger: String,
    /// The ledger's public key: the text, or a file that holds it
    #[arg(long, value_name = "KEY|FILE")]
    pub key: String,
    /// Where the last checkpoint that was seen is kept [default: <name of the ledger>.seen]
    #[arg(long, value_name = "FILE")]
    pub seen: Option<PathBuf>,
    /// A witness's public key; may be given several times
    #[arg(long, value_name = "KEY|FILE")]
    pub witness: Vec<String>,
    /// How many of the witnesses must have cosigned [default: all that are given]
    #[arg(long, value_name = "N")]
    pub quorum: Option<usize>,
    /// Go on, and look again after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub every: Option<u64>,
}

/// `ledger cosign`.
#[derive(Args)]
pub struct CosignArgs {
    /// A witness: its address and its public key, as ADDRESS=KEY or ADDRESS=FILE
    #[arg(long, required = true, value_name = "ADDRESS=KEY")]
    pub witness: Vec<String>,
    /// How many of them must cosign [default: all]
    #[arg(long, value_name = "N")]
    pub quorum: Option<usize>,
}

/// Runs `ledger monitor`.
pub async fn monitor(args: &MonitorArgs) -> Result<u8, Failed> {
    let key = ledger_key(&args.key)?;
    let quorum = quorum(&args.witness, args.quorum)?;
    let log = RemoteLog::new(&args.ledger).map_err(Failed::usage)?;
    let plain: String =
        key.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let file = args.seen.clone().unwrap_or_else(|| PathBuf::from(format!("{plain}.seen")));
    loop {
        let before = kept(&file)?;
        match auditor::follow(&log, &key, &quorum, before.as_deref()).await {
            Ok(followed) => {
                keep(&file, &followed.note)?;
                print::line(&words(key.name(), &followed));
                if let Some(new) = &followed.key {
                    print::line(&format!(
                        "{}: the key was rotated, as the key that you gave says; give the new one from now on: {new}",
                        key.name()
                    ));
                }
            }
            Err(FollowError::Alarm(because)) => {
                print::error_line(&format!("countersign: ALARM: {}: {because}", key.name()));
                return Ok(ALARM);
            }
            Err(FollowError::Unreadable(because)) => {
                print::error_line(&format!("countersign: {}: {because}", key.name()));
                if args.every.is_none() {
                    return Ok(exit::UPSTREAM);
                }
            }
        }
        let Some(seconds) = args.every else { return Ok(0) };
        tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
    }
}

fn words(name: &str, f: &Followed) -> String {
    let grown = match f.before {
        None => "first seen".to_owned(),
        Some(before) if before == f.size => "unchanged".to_owned(),
        Some(before) => format!("continues the {before} that were seen before"),
    };
    let cosigned: Vec<&str> = f.cosigned.iter().map(|c| c.witness.as_str()).collect();
    let cosigned = match cosigned.as_slice() {
        [] => String::new(),
        names => format!("; cosigned by {}", names.join(", ")),
    };
    let (size, entries) = (f.size, f.entries);
    let statements = match f.statements {
        0 => String::new(),
        n => format!(", {n} published statements with their commitments"),
    };
    format!(
        "{name}: {size} entries, {grown}; {entries} entries compared with the tiles{statements}{cosigned}"
    )
}

fn kept(file: &Path) -> Result<Option<String>, Failed> {
    match std::fs::read_to_string(file) {
        Ok(note) => Ok(Some(note)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failed::usage(format!("`{}` cannot be read: {e}", file.display()))),
    }
}

/// Keeps a checkpoint by rename: what is kept is the old one or the new one.
fn keep(file: &Path, note: &str) -> Result<(), Failed> {
    let failed = |e: std::io::Error| {
        Failed::internal(format!("`{}` cannot be written: {e}", file.display()))
    };
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut new = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    std::io::Write::write_all(&mut new, note.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(file).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Runs `ledger cosign`.
pub async fn cosign(store: &Store, args: &CosignArgs) -> Result<u8, Failed> {
    let mut witnesses = Vec::new();
    for text in &args.witness {
        // A key holds `=` only at its end, and an address none before its query.
        let (url, key) = text.split_once('=').ok_or_else(|| {
            Failed::usage(format!("`{text}` is no witness; write ADDRESS=KEY or ADDRESS=FILE"))
        })?;
        let url = url.parse().map_err(|e| Failed::usage(format!("`{url}` is no address: {e}")))?;
        let key = text_or_file(key)?
            .parse()
            .map_err(|e| Failed::usage(format!("the key of `{url}` cannot be read: {e}")))?;
        witnesses.push(Witness { url, key });
    }
    let needed = args.quorum.unwrap_or(witnesses.len());
    if needed > witnesses.len() {
        return Err(Failed::usage(format!(
            "{needed} witnesses cannot be had of {}",
            witnesses.len()
        )));
    }
    let collected = auditor::collect(store, &witnesses, needed).await?;
    for c in &collected.cosigned {
        let size = collected.size;
        print::line(&format!("{} cosigned {size} entries at {}", c.witness, c.time));
    }
    for (name, because) in &collected.failed {
        print::error_line(&format!("countersign: {name} did not cosign: {because}"));
    }
    if collected.cosigned.len() >= needed {
        return Ok(0);
    }
    let found = collected.cosigned.len();
    print::error_line(&format!(
        "countersign: {found} of the {needed} witnesses that are needed have cosigned; \
         receipts stay under the last checkpoint that had enough"
    ));
    Ok(exit::UPSTREAM)
}
