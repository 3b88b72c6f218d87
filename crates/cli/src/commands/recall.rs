//! `countersign recall`: what was admitted, judged again; and `countersign who`.

use crate::context::{Context, Failed};
use crate::{exit, print};
use clap::{Args, Subcommand};
use countersign_engine::Engine;
use countersign_engine::recall::{Fetcher, RecallOptions, RecallReport, Recalled};
use countersign_engine::store::{RecallState, StoredRecall};
use std::path::PathBuf;

/// `recall`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Judged again is what was admitted and what may have changed since the last recall: all of it after a \
                  change of policy, lists, waivers or trust roots, the packages that differ after a change of feeds.\n\n\
                  Exit codes:\n  0  nothing is recalled\n  90  something is recalled\n\n\
                  Examples:\n  countersign feed sync && countersign recall\n  countersign recall --policy strict --dry-run\n  countersign recall show 3"
)]
pub struct RecallArgs {
    /// What else than recalling.
    #[command(subcommand)]
    pub command: Option<RecallCommand>,
    /// Policy: audit (record only), baseline, strict, or a folder of your own
    #[arg(long, value_name = "NAME|DIR", env = "COUNTERSIGN_POLICY")]
    pub policy: Option<String>,
    /// One more advisory feed: an OSV zip, a record, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub feed: Vec<PathBuf>,
    /// Judge everything that is admitted, whether something has changed for it or not
    #[arg(long)]
    pub all: bool,
    /// Write nothing: only show what would be recalled
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `recall …`.
#[derive(Subcommand)]
pub enum RecallCommand {
    /// List the recalls that were made
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one recall: what it recalled, and who has it
    Show {
        /// Its number.
        id: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the subcommand. Returns the exit code.
pub async fn recall(context: &Context, args: RecallArgs) -> Result<u8, Failed> {
    match args.command {
        Some(RecallCommand::List { limit, json }) => list(context, limit, json).await,
        Some(RecallCommand::Show { id, json }) => {
            let store = context.open().await?;
            let report = RecallReport::kept(&store, id).await?;
            let report = report.ok_or_else(|| {
                Failed::usage(format!("there is no recall {id}; see `countersign recall list`"))
            })?;
            print_report(&report, json)?;
            Ok(0)
        }
        None => judge(context, args).await,
    }
}

async fn judge(context: &Context, args: RecallArgs) -> Result<u8, Failed> {
    let (config, lists) = context.config()?;
    let named = args.policy.clone().or_else(|| config.policy.clone());
    let policy = context.policy(named.as_deref().unwrap_or("baseline"))?;
    let engine = context.engine_of_records((config, lists), policy, &args.feed).await?;
    let options = RecallOptions { all: args.all, dry_run: args.dry_run };
    let report = engine.recall(options).await.map_err(Failed::internal)?;
    print_report(&report, args.json)?;
    Ok(if report.recalled.is_empty() { 0 } else { exit::REFUSED })
}

async fn list(context: &Context, limit: u32, json: bool) -> Result<u8, Failed> {
    let all = context.open().await?.recalls(limit).await?;
    if all.is_empty() && !json {
        print::line("no recalls");
    }
    for r in &all {
        print::line(&if json { json_line(r) } else { text_line(r) });
    }
    Ok(0)
}

fn text_line(r: &StoredRecall) -> String {
    format!(
        "{:>4}  {}  {:<10}  {} recalled of {} judged, {} admitted  {}",
        r.id,
        r.new.started,
        r.state.name(),
        r.recalled,
        r.counts.judged,
        r.counts.looked,
        r.new.why.join(", ")
    )
}

fn json_line(r: &StoredRecall) -> String {
    serde_json::json!({
        "id": r.id, "started": r.new.started, "finished": r.finished, "state": r.state,
        "why": r.new.why, "counts": r.counts, "recalled": r.recalled, "ledger_index": r.index,
    })
    .to_string()
}

fn print_report(report: &RecallReport, json: bool) -> Result<(), Failed> {
    if json {
        print::line(&serde_json::to_string_pretty(report).map_err(Failed::internal)?);
        return Ok(());
    }
    for line in lines(report) {
        print::line(&line);
    }
    for problem in &report.problems {
        print::error_line(&format!("countersign: {problem}"));
    }
    Ok(())
}

/// A recall in lines for people: what is recalled, then what was not done, then the counts.
fn lines(report: &RecallReport) -> Vec<String> {
    let mut out = Vec::new();
    for r in &report.recalled {
        out.extend(recalled_lines(r));
        out.push(String::new());
    }
    for u in &report.unjudged {
        out.push(format!(
            "NOT judged again: {} (ledger entry {}): {}",
            u.purl.label(),
            u.index,
            u.because
        ));
    }
    let c = &report.counts;
    if c.not_done > report.unjudged.len() as u64 {
        let more = c.not_done - report.unjudged.len() as u64;
        out.push(format!("NOT judged again: {more} more"));
    }
    if c.not_anew > 0 {
        out.push(format!(
            "evidence NOT checked anew of {} artifacts: the trust roots changed, and evidence documents are not kept",
            c.not_anew
        ));
    }
    let id = report.id.map_or_else(
        || if report.dry_run { "dry run".to_owned() } else { "recall".to_owned() },
        |id| format!("recall {id}"),
    );
    let state = match report.state {
        RecallState::Done => String::new(),
        other => format!(" ({})", other.name()),
    };
    out.push(format!("{id}{state}: {}", report.why.join(", ")));
    out.push(format!(
        "{} admitted artifacts looked at, {} concerned, {} judged again, {} recalled",
        c.looked,
        c.affected,
        c.judged,
        report.recalled.len()
    ));
    if let Some(index) = report.ledger_index {
        out.push(format!("recorded as ledger entry {index}"));
    }
    out
}

fn recalled_lines(r: &Recalled) -> Vec<String> {
    let mut out =
        vec![format!("{} ({}, sha256 {})", r.purl.label(), r.file_name, r.sha256.short())];
    out.push(format!("  admitted {} (ledger entry {})", r.admitted, r.admitted_index));
    let entry = r.index.map_or_else(String::new, |i| format!(" (ledger entry {i})"));
    let word = if r.verdict == "hold" { "held" } else { "refused" };
    out.push(format!("  now {word}: {}: {}{entry}", r.rule, r.detail));
    if !r.ids.is_empty() {
        out.push(format!("  advisories: {}", r.ids.join(", ")));
        let fixed = r.fixed.as_deref().map_or("no version is known to be", |v| v);
        out.push(format!("  fixed: {fixed}"));
    }
    if r.fetched.is_empty() {
        out.push("  fetched by: nobody that was noted".to_owned());
    }
    out.extend(r.fetched.iter().map(|f| format!("  fetched by: {}", fetcher_words(f))));
    out
}

fn fetcher_words(f: &Fetcher) -> String {
    let mut text = f.token.clone().unwrap_or_else(|| "no token".to_owned());
    text.push_str(&format!(" from {}", f.address.as_deref().unwrap_or("an unknown address")));
    if let Some(agent) = &f.agent {
        text.push_str(&format!(" ({agent})"));
    }
    let times = if f.count == 1 { "once".to_owned() } else { format!("{} times", f.count) };
    if f.first == f.last {
        text.push_str(&format!(", {times}, {}", f.first));
    } else {
        text.push_str(&format!(", {times}, from {} to {}", f.first, f.last));
    }
    text
}

/// This machine's name, as the fetch log calls it.
pub fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = kernel.ok().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    match name.trim() {
        "" => "this machine".to_owned(),
        name => name.to_owned(),
    }
}

/// `who`.
#[derive(Args)]
pub struct WhoArgs {
    /// A package or version (pkg:npm/left-pad@1.3.0), a digest (sha256:…), or a file
    pub subject: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What one file is known by, with its decisions and whoever fetched it.
#[derive(serde::Serialize)]
struct Known {
    purl: String,
    file_name: String,
    sha256: Option<String>,
    decisions: Vec<Step>,
    fetched: Vec<Fetcher>,
}

/// One decision of a file's history.
#[derive(serde::Serialize)]
struct Step {
    index: u64,
    time: countersign_core::Timestamp,
    verdict: String,
    rule: Option<String>,
    detail: Option<String>,
}

/// The most decisions that are shown for a package as a whole.
const MAX_HISTORY: u32 = 10_000;

/// Shows who holds an artifact, and what was decided about it over time.
pub async fn who(context: &Context, args: WhoArgs) -> Result<u8, Failed> {
    let store = context.open().await?;
    let mut decisions = if args.subject.starts_with("pkg:") {
        let purl: countersign_core::Purl = args.subject.parse().map_err(Failed::usage)?;
        match purl.version() {
            Some(_) => store.decisions_for_purl(&purl).await?,
            None => store.history(&purl, MAX_HISTORY).await?,
        }
    } else {
        let sha256 = match args.subject.parse() {
            Ok(digest) => digest,
            Err(_) => super::receipt::digest_of(std::path::Path::new(&args.subject))?,
        };
        store.decisions_for_digest(&sha256).await?
    };
    if decisions.is_empty() {
        return Err(Failed::usage(format!(
            "the ledger holds no decision about `{}`",
            args.subject
        )));
    }
    decisions.reverse();
    let mut known: Vec<Known> = Vec::new();
    for d in decisions {
        let sha256 = d.sha256.map(|s| s.to_hex());
        let (purl, file_name) = (d.purl.to_string(), d.file_name);
        let first = d.decision.leading();
        let step = Step {
            index: d.index,
            time: d.time,
            verdict: d.decision.verdict.to_string(),
            rule: first.map(|f| f.rule.clone()),
            detail: first.map(|f| f.detail.clone()),
        };
        let same =
            |k: &&mut Known| k.purl == purl && k.file_name == file_name && k.sha256 == sha256;
        if let Some(known) = known.iter_mut().find(same) {
            known.decisions.push(step);
            continue;
        }
        let fetched = match d.sha256 {
            Some(sha256) => store.who_fetched(&sha256).await?,
            None => Vec::new(),
        };
        let fetched = fetched.into_iter().filter(|f| f.purl == d.purl).map(Fetcher::from).collect();
        known.push(Known { purl, file_name, sha256, decisions: vec![step], fetched });
    }
    if args.json {
        print::line(&serde_json::to_string_pretty(&known).map_err(Failed::internal)?);
        return Ok(0);
    }
    for k in &known {
        who_lines(k).iter().for_each(|l| print::line(l));
    }
    Ok(0)
}

fn who_lines(k: &Known) -> Vec<String> {
    let digest = k.sha256.as_deref().map_or("never fetched", |s| s);
    let mut out = vec![format!("{}  {}  {digest}", k.purl, k.file_name)];
    for d in &k.decisions {
        let why = match (&d.rule, &d.detail) {
            (Some(rule), Some(detail)) => format!("  {rule}: {detail}"),
            _ => String::new(),
        };
        out.push(format!("  {}  {:<6}  ledger entry {}{why}", d.time, d.verdict, d.index));
    }
    if k.fetched.is_empty() && k.sha256.is_some() {
        out.push("  fetched by: nobody that was noted".to_owned());
    }
    out.extend(k.fetched.iter().map(|f| format!("  fetched by: {}", fetcher_words(f))));
    out
}

/// Tells the engine of a run on whose account its fetches are noted.
pub fn fetched_here(engine: &Engine) {
    engine.fetches().fetched_here(&super::waive::current_user(), &host_name());
}

/// Writes what a run has fetched. That it could not be noted is said, and is no reason to fail.
pub async fn write_fetches(engine: &Engine) {
    if let Err(error) = engine.fetches().flush().await {
        print::error_line(&format!("countersign: who fetched what could not be noted: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::now;

    #[test]
    fn a_fetcher_is_said_in_one_line() {
        let mut f = Fetcher {
            token: None,
            address: Some("10.0.0.7".to_owned()),
            agent: Some("pip/25".to_owned()),
            first: now(),
            last: now(),
            count: 1,
        };
        f.last = f.first;
        let text = fetcher_words(&f);
        assert!(text.starts_with("no token from 10.0.0.7 (pip/25), once, "), "{text}");
        f.last = f.first.plus_seconds(60);
        f.count = 3;
        assert!(fetcher_words(&f).contains("3 times, from "), "{}", fetcher_words(&f));
    }
}
