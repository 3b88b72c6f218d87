//! `countersign audit`: what is already there, judged.

use crate::context::{Context, Failed, now};
use crate::render::audit::{self as render, FeedState, Summary};
use crate::{exit, print};
use clap::{Args, ValueEnum};
use countersign_core::{ExpectedDigest, Purl};
use countersign_engine::audit::{Auditor, Document, Ending, Feeding, find, read};
use countersign_engine::exemptions::Exemptions;
use countersign_engine::feeds::Feeds;
use countersign_engine::grounds::active_waivers;
use countersign_engine::policy::ActiveWaiver;
use countersign_engine::store::{Known, OpenMode, Store};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// `audit`.
#[derive(Args)]
#[command(
    after_help = concat!(
        "Reads requirements*.txt, uv.lock, poetry.lock, pylock.toml, package-lock.json, npm-shrinkwrap.json,\n",
        "pnpm-lock.yaml, yarn.lock, bun.lock, Cargo.lock, Python environments, node_modules, dpkg's status and\n",
        "SBOMs (CycloneDX and SPDX, JSON). A folder is searched; `/` or another root file system means its dpkg.\n",
        "Nothing is fetched, nothing is recorded.\n\n",
        "Exit codes:\n",
        "  0   everything was judged and nothing stands against it\n",
        "  90  refused: policy refuses a version\n",
        "  91  held: policy holds a version, and refuses none\n",
        "  95  not checked: no feed, or something could not be understood or judged\n",
        "  2   the command line or a file that it names cannot be used\n",
        "  94  internal: the audit failed\n\n",
        "Examples:\n",
        "  countersign audit\n",
        "  countersign audit uv.lock web/package-lock.json --feed ./feeds\n",
        "  countersign audit --format sarif --report audit.sarif\n",
        "  countersign audit /",
    )
)]
pub struct AuditArgs {
    /// Lock files, requirement files, environments, SBOMs, or folders to search
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Policy: audit (show only), baseline, strict, or a folder of your own
    #[arg(long, value_name = "NAME|DIR", env = "COUNTERSIGN_POLICY")]
    pub policy: Option<String>,
    /// One more advisory feed for this audit: an OSV zip, a record, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub feed: Vec<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = AuditFormat::Table)]
    pub format: AuditFormat,
    /// Write the report to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Leave out what only development needs, where a document tells
    #[arg(long)]
    pub production: bool,
}

/// How an audit is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// A table for people.
    Table,
    /// JSON.
    Json,
    /// SARIF 2.1.0, for code hosts.
    Sarif,
    /// JUnit XML, for build servers.
    Junit,
    /// CycloneDX 1.6 in JSON, with vulnerabilities.
    #[value(name = "cyclonedx")]
    CycloneDx,
}

/// Runs the subcommand. Returns the exit code.
pub async fn audit(context: &Context, args: AuditArgs) -> Result<u8, Failed> {
    let (config, lists) = context.config()?;
    let policy_name = args.policy.clone().or_else(|| config.policy.clone());
    let policy_name = policy_name.unwrap_or_else(|| "baseline".to_owned());
    let places = find(&args.paths).map_err(Failed::usage)?;
    // Reading documents takes as long as everything before the judging, and needs none of it.
    let reading = tokio::task::spawn_blocking(move || read(&places));
    let policy = context.policy(&policy_name)?;
    let mut grounds = Grounds::open(context, &args.feed).await?;
    let documents = reading.await.map_err(Failed::internal)?;
    let known = grounds.known(&documents).await?;
    let exemptions = Arc::new(Exemptions::read(&config, now()).map_err(Failed::usage)?);
    let of_files = exemptions.waivers.iter().map(|w| w.waiver.clone());
    grounds.waivers.extend(of_files.filter(|w| now() < w.until));
    let auditor = Auditor {
        policy,
        lists,
        upstreams: config.upstream,
        feeds: grounds.feeds,
        waivers: grounds.waivers,
        exemptions,
        known,
        now: now(),
    };
    let report = auditor.judge(&documents, args.production);
    let exit_code = match report.ending() {
        Ending::Clear => 0,
        Ending::Held => exit::HELD,
        Ending::NotChecked => exit::NOT_CHECKED,
        Ending::Refused => exit::REFUSED,
    };
    let feeds = match &auditor.feeds {
        Feeding::Open(feeds) => FeedState::Open(feeds.meta()),
        Feeding::Closed(because) => FeedState::Closed(because),
    };
    let summary = Summary {
        report: &report,
        policy: &policy_name,
        policy_set: &auditor.policy,
        feeds,
        production: args.production,
        exit_code,
    };
    write(&summary, &args)?;
    Ok(exit_code)
}

fn write(summary: &Summary<'_>, args: &AuditArgs) -> Result<(), Failed> {
    let to_terminal = args.report.is_none();
    let text = match args.format {
        AuditFormat::Table => render::table(summary, to_terminal),
        AuditFormat::Json => render::json(summary),
        AuditFormat::Sarif => render::sarif(summary),
        AuditFormat::Junit => render::junit(summary),
        AuditFormat::CycloneDx => render::cyclonedx(summary),
    };
    match &args.report {
        None => print::line(&text),
        Some(file) => std::fs::write(file, text + "\n").map_err(|e| {
            Failed::internal(format!("the report `{}` cannot be written: {e}", file.display()))
        })?,
    }
    if args.format != AuditFormat::Table || args.report.is_some() {
        print::error_line(&render::closing(summary));
    }
    Ok(())
}

/// The store and the feeds. A store that is there is only read, and none is made.
struct Grounds {
    feeds: Feeding,
    waivers: Vec<ActiveWaiver>,
    store: Option<Store>,
}

impl Grounds {
    async fn open(context: &Context, more: &[PathBuf]) -> Result<Self, Failed> {
        let mut places = Vec::new();
        let mut waivers = Vec::new();
        let mut store = None;
        if context.state.join("store.sqlite").is_file() {
            let opened = Store::open(&context.state, OpenMode::ReadOnly).await?;
            for feed in opened.feeds().await? {
                places.extend(super::feed::places(&context.state, &feed));
            }
            waivers = active_waivers(&opened, now()).await.map_err(Failed::internal)?;
            store = Some(opened);
        }
        for path in more {
            let path = std::path::absolute(path).map_err(Failed::usage)?;
            if !path.exists() {
                let shown = path.display();
                return Err(Failed::usage(format!("feed `{shown}` is not there; check the path")));
            }
            places.push(path);
        }
        places.dedup();
        Ok(Self { feeds: open_feeds(context, &places)?, waivers, store })
    }

    /// What the store knows of the listed versions and digests.
    async fn known(&self, documents: &[Document]) -> Result<Known, Failed> {
        let Some(store) = &self.store else { return Ok(Known::default()) };
        let listed = || documents.iter().flat_map(|d| &d.listed);
        let purls: Vec<Purl> = listed().map(|l| l.purl.clone()).collect();
        let digests: Vec<ExpectedDigest> =
            listed().flat_map(|l| &l.files).flat_map(|f| f.digests.iter().cloned()).collect();
        Ok(store.known(&purls, &digests).await?)
    }
}

/// Opens the feeds. What cannot be read is no reason to judge nothing: the audit says that
/// advisories are not checked, and does not end well.
fn open_feeds(context: &Context, places: &[PathBuf]) -> Result<Feeding, Failed> {
    if places.is_empty() {
        let because =
            "no feed is configured; add one with `countersign feed add`, or name one with --feed";
        return Ok(Feeding::Closed(because.to_owned()));
    }
    // The index of the feeds lies in the state's folder, which is the owner's alone.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&context.state);
    made.map_err(|e| {
        let shown = context.state.display();
        Failed::internal(format!("`{shown}` cannot be made: {e}; name another folder with --state"))
    })?;
    Ok(match Feeds::open(&context.state.join("feeds"), places, now()) {
        Ok(Some(feeds)) => Feeding::Open(Box::new(feeds)),
        Ok(None) => Feeding::Closed("the feeds hold nothing".to_owned()),
        Err(problem) => Feeding::Closed(problem.to_string()),
    })
}
