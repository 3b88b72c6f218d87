//! `ledger show`, `log` and `search`: what the ledger holds, in words.

use super::words::{event_json, event_text};
use super::{describe, json_line, text_line};
use crate::commands::receipt::digest_of;
use crate::context::Failed;
use crate::print;
use clap::Args;
use countersign_core::{Purl, Sha256Digest, Timestamp};
use countersign_engine::ledger::event::{FIRST_SEEN_TYPE, long_kind, short_kind};
use countersign_engine::ledger::verify_receipt;
use countersign_engine::store::{
    EntryLine, Search, Store, StoredDecision, StoredEntry, WaiverTarget,
};
use serde_json::json;
use std::path::Path;

/// `ledger search`.
#[derive(Args)]
pub struct SearchArgs {
    /// A text that the statement holds: a name, a digest, a rule, a person
    pub text: Option<String>,
    /// The kind: decision, first-seen, evidence, scan, waiver, waiver-revoked, grounds, feed, recall,
    /// incident, incident-closed, key-rotated, key-retired, forgotten, read, or a predicate type
    #[arg(long)]
    pub kind: Option<String>,
    /// The verdict of a decision
    #[arg(long, value_parser = ["admit", "hold", "refuse"])]
    pub verdict: Option<String>,
    /// From this time on (RFC 3339, or 90d for the last 90 days)
    #[arg(long)]
    pub since: Option<String>,
    /// Before this time (RFC 3339, or 90d)
    #[arg(long)]
    pub until: Option<String>,
    /// How many, newest first
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A time as people give it: RFC 3339, a date, or a number of days back.
pub fn time(text: &str) -> Result<Timestamp, Failed> {
    if let Some(days) = text.strip_suffix('d').and_then(|d| d.parse::<u32>().ok()) {
        return Ok(crate::context::now().plus_seconds(-i64::from(days) * 86_400));
    }
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z"))).ok_or_else(
        || Failed::usage(format!("`{text}` is no time; write 2026-11-20T12:00:00Z or 90d")),
    )
}

/// Shows one entry, verified.
pub async fn show(store: &Store, index: u64, json: bool) -> Result<u8, Failed> {
    let none = || Failed::usage(format!("there is no ledger entry {index}"));
    let key = store.verifier_key().ok_or_else(none)?;
    let receipt = store.receipt_for(index).await.map_err(|e| match e {
        countersign_engine::store::StoreError::NotFound { .. } => none(),
        e => e.into(),
    })?;
    let verified = verify_receipt(&receipt, key, None).map_err(|e| {
        Failed::internal(format!("entry {index} does not hold: {e}\nrun `countersign ledger fsck`"))
    })?;
    if json {
        let line = json!({
            "index": index, "statement": verified.statement().value(),
            "checkpoint": receipt.checkpoint(),
        });
        print::line(&line.to_string());
        return Ok(0);
    }
    for line in describe(&verified) {
        print::line(&line);
    }
    let statement = verified.statement().value();
    print::line(&serde_json::to_string_pretty(statement).map_err(Failed::internal)?);
    Ok(0)
}

/// What `log` is about.
enum Subject {
    Package(Purl),
    Version(Purl),
    File(Sha256Digest),
}

fn subject(text: &str) -> Result<Subject, Failed> {
    if text.starts_with("pkg:") {
        let purl: Purl = text.parse().map_err(Failed::usage)?;
        let version = purl.version().is_some();
        return Ok(if version { Subject::Version(purl) } else { Subject::Package(purl) });
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    match hex.parse() {
        Ok(digest) => Ok(Subject::File(digest)),
        Err(_) => Ok(Subject::File(digest_of(Path::new(text))?)),
    }
}

/// The newest decisions, or a subject's history: decisions, waivers, and what else names it.
pub async fn log(store: &Store, about: Option<&str>, limit: u32, json: bool) -> Result<u8, Failed> {
    let Some(text) = about else {
        for d in store.recent(None, limit).await? {
            print::line(&if json { json_line(&d) } else { text_line(&d) });
        }
        return Ok(0);
    };
    let subject = subject(text)?;
    let decisions = match &subject {
        Subject::Version(purl) => store.decisions_for_purl(purl).await?,
        Subject::Package(purl) => store.history(purl, limit).await?,
        Subject::File(digest) => store.decisions_for_digest(digest).await?,
    };
    let mut lines: Vec<(u64, String)> = decisions
        .iter()
        .map(|d| (d.index, if json { json_line(d) } else { text_line(d) }))
        .collect();
    lines.extend(waivers(store, &subject, &decisions, json).await?);
    let events = events(store, &subject, &decisions, limit).await?;
    let shown = events.iter().map(|e| if json { event_json(e) } else { event_text(e) });
    lines.extend(events.iter().map(|e| e.index).zip(shown));
    lines.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    lines.dedup_by_key(|(index, _)| *index);
    for (_, line) in lines.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
        print::line(line);
    }
    let seen = events.iter().filter(|e| e.statement.predicate_type() == FIRST_SEEN_TYPE);
    let seen = seen.map(|e| (e.index, e.time)).chain(decisions.iter().map(|d| (d.index, d.time)));
    if let (false, Some((index, time))) = (json, seen.min()) {
        print::line(&format!("        first seen {time} (entry {index})"));
    }
    Ok(0)
}

/// Waivers for the subject and their revocations.
async fn waivers(
    store: &Store,
    subject: &Subject,
    decisions: &[StoredDecision],
    json: bool,
) -> Result<Vec<(u64, String)>, Failed> {
    let concerns = |target: &WaiverTarget| match (target, subject) {
        (WaiverTarget::Purl(t), Subject::Version(p)) => t == p,
        (WaiverTarget::Purl(t), Subject::Package(p)) => {
            (t.ecosystem(), t.name()) == (p.ecosystem(), p.name())
        }
        (WaiverTarget::Purl(t), Subject::File(_)) => decisions.iter().any(|d| d.purl == *t),
        (WaiverTarget::Sha256(t), Subject::File(d)) => t == d,
        (WaiverTarget::Sha256(t), _) => decisions.iter().any(|d| d.sha256 == Some(*t)),
    };
    let mut out = Vec::new();
    for w in store.waivers().await?.iter().filter(|w| concerns(&w.waiver.target)) {
        let granted = &w.waiver;
        let text = format!(
            "{:>6}  {}  waiver  {}  {} by {} until {}: {}",
            w.index,
            granted.created,
            granted.target,
            granted.rule,
            granted.owner,
            granted.until,
            granted.reason
        );
        let line = json!({"index": w.index, "time": granted.created, "waiver": granted});
        out.push((w.index, if json { line.to_string() } else { text }));
        if let (Some(time), Some(index)) = (w.revoked, w.revoked_index) {
            let text = format!("{index:>6}  {time}  waiver revoked  {}", granted.id);
            let line = json!({"index": index, "time": time, "waiverRevoked": granted.id});
            out.push((index, if json { line.to_string() } else { text }));
        }
    }
    Ok(out)
}

/// Entries of other kinds that are about the subject: those of its versions, or its bytes.
async fn events(
    store: &Store,
    subject: &Subject,
    decisions: &[StoredDecision],
    limit: u32,
) -> Result<Vec<StoredEntry>, Failed> {
    let mut names = match subject {
        Subject::Package(purl) | Subject::Version(purl) => vec![purl.to_string()],
        Subject::File(digest) => vec![format!("sha256:{digest}")],
    };
    match subject {
        Subject::Package(_) => names.extend(decisions.iter().map(|d| d.purl.to_string())),
        // An incident may name the package alone, or the bytes.
        Subject::Version(purl) => {
            names.push(Purl::new(purl.ecosystem(), purl.name(), None).to_string());
            let bytes = decisions.iter().filter_map(|d| d.sha256);
            names.extend(bytes.map(|d| format!("sha256:{d}")));
        }
        Subject::File(_) => {}
    }
    names.sort();
    names.dedup();
    Ok(store.events_about(&names, limit).await?)
}

/// Runs `ledger search`.
pub async fn search(store: &Store, args: &SearchArgs) -> Result<u8, Failed> {
    let search = Search {
        kind: args.kind.as_deref().map(long_kind),
        text: args.text.clone(),
        verdict: args.verdict.clone(),
        since: args.since.as_deref().map(time).transpose()?,
        until: args.until.as_deref().map(time).transpose()?,
        events_only: false,
        limit: args.limit,
    };
    let found = store.search(&search).await?;
    for line in &found {
        print::line(&if args.json { line_json(line) } else { line_text(line) });
    }
    Ok(u8::from(found.is_empty()))
}

fn line_text(e: &EntryLine) -> String {
    let what = match (&e.purl, &e.subject) {
        (Some(purl), _) => {
            let why = e.reason.as_ref().map_or_else(String::new, |r| format!("  {r}"));
            format!("{}  {purl}{why}", e.verdict.as_deref().unwrap_or_default())
        }
        (None, subject) => subject.clone().unwrap_or_default(),
    };
    format!("{:>6}  {}  {:<8}  {what}", e.index, e.time, short_kind(&e.kind))
}

fn line_json(e: &EntryLine) -> String {
    json!({
        "index": e.index, "time": e.time, "kind": e.kind, "purl": e.purl, "file": e.file_name,
        "sha256": e.sha256, "verdict": e.verdict, "reason": e.reason, "subject": e.subject,
    })
    .to_string()
}
