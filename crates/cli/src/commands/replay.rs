//! `countersign policy replay`: recorded decisions judged again by another policy.

use super::ledger::time;
use crate::context::{Context, Failed};
use crate::print;
use clap::Args;
use countersign_engine::recall::{ReplayGroup, ReplayReport};
use std::path::PathBuf;

/// `policy replay`.
#[derive(Args)]
#[command(
    after_help = "Nothing is written and nothing is fetched: the facts are those of each decision, at its own time.\n\n\
                  Examples:\n  countersign policy replay --since 90d policies-new/\n  countersign policy replay strict --json"
)]
pub struct ReplayArgs {
    /// audit, baseline, strict, or a folder
    pub policy: String,
    /// Decisions from this time on (RFC 3339, or 90d for the last 90 days) [default: all]
    #[arg(long)]
    pub since: Option<String>,
    /// One more advisory feed: an OSV zip, a record, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub feed: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand. Returns the exit code.
pub async fn replay(context: &Context, args: &ReplayArgs) -> Result<u8, Failed> {
    let since = args.since.as_deref().map(time).transpose()?;
    let (config, lists) = context.config()?;
    let policy = context.policy(&args.policy)?;
    let engine = context.engine_of_records((config, lists), policy, &args.feed).await?;
    let report = engine.replay(since).await.map_err(Failed::internal)?;
    if args.json {
        print::line(&serde_json::to_string_pretty(&report).map_err(Failed::internal)?);
    } else {
        words(&args.policy, &report);
    }
    Ok(0)
}

fn words(policy: &str, report: &ReplayReport) {
    let differ: u64 = report.groups.iter().map(|g| g.count).sum();
    print::line(&format!(
        "{} decisions judged again by {policy}: {} the same, {differ} different",
        report.looked, report.same
    ));
    for (because, count) in &report.not_judged {
        print::line(&format!("{count} were not judged: {because}"));
    }
    for group in &report.groups {
        print::line(&format!("\n{:>7}  {}", group.count, heading(group)));
        for e in &group.examples {
            print::line(&format!("         entry {}  {}  {}", e.index, e.purl, e.why));
        }
        let named = u64::try_from(group.examples.len()).unwrap_or(group.count);
        if group.count > named {
            print::line(&format!("         and {} more", group.count - named));
        }
    }
}

fn heading(group: &ReplayGroup) -> String {
    let by = |rule: &Option<String>| rule.as_ref().map_or_else(String::new, |r| format!(" by {r}"));
    format!("{}{} → {}{}", group.was, by(&group.rule_then), group.now, by(&group.rule_now))
}
