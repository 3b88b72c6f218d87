//! `countersign report`: what the ledger shows for a period.

use super::report_page::page;
use crate::commands::ledger::time;
use crate::context::{Context, Failed, now};
use crate::print;
use clap::{Args, ValueEnum};
use countersign_engine::compliance::{self, Mapping};
use std::path::PathBuf;

/// `report`.
#[derive(Args)]
#[command(
    after_help = "Every line names the entries that it rests on; the proofs lead to the checkpoint that the report carries. \
What was not recorded is shown as no evidence.\n\n\
Examples:\n  countersign report --since 30d -o report.html\n  countersign report --since 2026-10-01 --until 2026-11-01 --format json -o october.json"
)]
pub struct ReportArgs {
    /// From this time on (RFC 3339, a date, or 30d for the last 30 days)
    #[arg(long, default_value = "30d")]
    pub since: String,
    /// Before this time [default: now]
    #[arg(long)]
    pub until: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which measures are evidence for which requirement (a TOML file) [default: SLSA, S2C2F, SSDF, CRA]
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Print the mapping that comes with the gate, to be edited
    #[arg(long, conflicts_with_all = ["output", "mapping"])]
    pub print_mapping: bool,
}

/// `--format` of a report.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A page for people, to be read or printed.
    Html,
    /// The same data.
    Json,
}

/// Runs `report`.
pub async fn report(context: &Context, args: &ReportArgs) -> Result<u8, Failed> {
    if args.print_mapping {
        print::line(compliance::SHIPPED_MAPPING.trim_end());
        return Ok(0);
    }
    let mapping = match &args.mapping {
        None => Mapping::shipped(),
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = text
                .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", file.display())))?;
            Mapping::parse(&text)
        }
    };
    let mapping = mapping.map_err(|e| match &args.mapping {
        Some(file) => Failed::usage(format!("`{}`: {e}", file.display())),
        None => Failed::internal(e),
    })?;
    let since = time(&args.since)?;
    let until =
        args.until.as_deref().map(time).transpose()?.unwrap_or_else(|| now().plus_seconds(1));
    if until <= since {
        return Err(Failed::usage(format!("the period ends at {until}, before it begins")));
    }
    let store = context.open().await?;
    let report = compliance::report(&store, &mapping, since, until, now()).await?;
    let text = match args.format {
        ReportFormat::Html => page(&report),
        ReportFormat::Json => serde_json::to_string_pretty(&report).map_err(Failed::internal)?,
    };
    match &args.output {
        None => print::line(text.trim_end()),
        Some(file) => {
            std::fs::write(file, text + "\n").map_err(|e| {
                Failed::internal(format!("`{}` cannot be written: {e}", file.display()))
            })?;
            print::line(&format!("{}: {}", file.display(), summary(&report)));
        }
    }
    Ok(0)
}

fn summary(report: &compliance::Report) -> String {
    let artifacts: u64 = report.ecosystems.iter().map(|e| e.artifacts).sum();
    let controls = || report.frameworks.iter().flat_map(|f| &f.controls);
    let count = |state: &str| controls().filter(|c| c.state == state).count();
    format!(
        "{artifacts} artifacts from {} to {}; of {} requirements {} met, {} partly, {} not met, {} without evidence",
        report.since.date(),
        report.until.date(),
        controls().count(),
        count("met"),
        count("partly met"),
        count("not met"),
        count("no evidence")
    )
}
