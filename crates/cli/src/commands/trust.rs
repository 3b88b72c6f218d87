//! `countersign trust`: which roots and keys evidence is verified by, and every change of them.

use crate::args::FormatArgs;
use crate::commands::waive::current_user;
use crate::context::{Context, Failed, now};
use crate::{exit, print};
use clap::{Args, Subcommand};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_engine::config::Config;
use countersign_engine::evidence_kinds::trust::{TrustId, TrustKind};
use countersign_engine::store::{OpenMode, Store};
use countersign_engine::trust::list::{self, TrustItem};
use countersign_engine::trust::tuf::{self, Origin, Repository};
use countersign_engine::trust::{RecordedChange, RootUpdate, TrustChange, TrustState, record};
use countersign_engine::{EvidenceSource, debian};
use std::path::{Path, PathBuf};

/// `trust …`.
#[derive(Subcommand)]
pub enum TrustCommand {
    /// List the roots and keys, with their windows, pins and revocations
    List(FormatArgs),
    /// Show one root or key, and what was changed of it
    Show(ShowArgs),
    /// Take up Sigstore's present root from a TUF repository
    Update(UpdateArgs),
    /// Let only this root or key count, of its kind
    Pin(PinArgs),
    /// What a key or root signs from a day on counts no more; what it provably signed before does
    Revoke(RevokeArgs),
}

/// `trust show`.
#[derive(Args)]
pub struct ShowArgs {
    /// Its name, as `trust list` shows it
    pub id: TrustId,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `trust update`.
#[derive(Args)]
#[command(
    after_help = "The first update needs the TUF root to start from (--root, or `root` under [trust] in the configuration);\nlater ones start where the first did.\n\nExamples:\n  countersign trust update --from https://tuf.example/ --root root.json\n  countersign trust update\n  countersign trust update --offline"
)]
pub struct UpdateArgs {
    /// The repository: a folder, or an http address [default: `repository` under [trust]]
    #[arg(long, value_name = "DIR|ADDRESS", conflicts_with = "offline")]
    pub from: Option<Repository>,
    /// The TUF root to start from (a root.json that you trust)
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Ask nobody: verify what the last update kept, as of now
    #[arg(long)]
    pub offline: bool,
    /// Who answers for it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
}

/// `trust pin`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign trust pin sigstore\n  countersign trust pin npm/SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA\n  countersign trust pin sigstore --remove"
)]
pub struct PinArgs {
    /// Its name, as `trust list` shows it
    pub id: TrustId,
    /// Its digest (sha256:…) [default: that of the one that is listed now]
    pub sha256: Option<Sha256Digest>,
    /// Take the pin away
    #[arg(long, conflicts_with = "sha256")]
    pub remove: bool,
    /// Why
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Who answers for it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
}

/// `trust revoke`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign trust revoke npm/SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA --since 2026-03-01 --reason 'key was stolen'\n  countersign recall"
)]
pub struct RevokeArgs {
    /// Its name, as `trust list` shows it
    pub id: TrustId,
    /// From when on: a day, or an RFC 3339 time
    #[arg(long, value_name = "DAY", value_parser = time)]
    pub since: Timestamp,
    /// Why
    #[arg(long)]
    pub reason: String,
    /// Who answers for it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("`{text}` is neither a day nor an RFC 3339 time"))
}

/// Runs a trust subcommand.
pub async fn trust(context: &Context, command: TrustCommand) -> Result<u8, Failed> {
    let (config, _) = context.config()?;
    match command {
        TrustCommand::List(args) => show_all(context, &config, args.json).await,
        TrustCommand::Show(args) => show(context, &config, &args).await,
        TrustCommand::Update(args) => update(context, &config, args).await,
        TrustCommand::Pin(args) => pin(context, &config, args).await,
        TrustCommand::Revoke(args) => revoke(context, args).await,
    }
}

/// The store that the changes stand in, made where there is none.
async fn opened(context: &Context) -> Result<Store, Failed> {
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = made {
        print::error_line(&format!("countersign: {text}"));
    }
    Ok(store)
}

/// What the ledger says, where there is one.
async fn state(context: &Context) -> Result<TrustState, Failed> {
    if !context.state.join("store.sqlite").is_file() {
        return Ok(TrustState::default());
    }
    let store = Store::open(&context.state, OpenMode::ReadOnly).await?;
    TrustState::load(&store).await.map_err(Failed::internal)
}

/// Everything that is trusted, and the sources that could not be read.
fn items(config: &Config, state: &TrustState) -> Result<(Vec<TrustItem>, Vec<String>), Failed> {
    let (mut items, mut unread) = (Vec::new(), Vec::new());
    let source = match &state.root {
        Some((update, time)) => format!("update of {} from {}", time.date(), update.repository),
        None => "embedded".to_owned(),
    };
    match state.roots(&config.trust) {
        Ok(roots) => items.extend(list::of_sigstore(&roots, &source)),
        Err(e) => unread.push(e.to_string()),
    }
    for folder in config.evidence.iter() {
        let EvidenceSource::Folder(folder) = folder else { continue };
        for name in ["npm-keys.json", "keys.json"] {
            let path = folder.join(name);
            let Ok(document) = std::fs::read(&path) else { continue };
            match list::of_npm_keys(&document, &path.display().to_string()) {
                Ok(keys) => items.extend(keys),
                Err(e) => unread.push(format!("`{}`: {e}", path.display())),
            }
        }
    }
    for (source, keyring) in keyrings(config) {
        match keyring
            .map_err(|e| e.to_string())
            .and_then(|bytes| list::of_keyring(&bytes, &source, now()).map_err(|e| e.to_string()))
        {
            Ok(certificates) => items.extend(certificates),
            Err(e) => unread.push(format!("`{source}`: {e}")),
        }
    }
    list::mark(&mut items, &state.restrictions);
    Ok((items, unread))
}

/// The keyrings that the configuration names, and apt's own.
fn keyrings(config: &Config) -> Vec<(String, std::io::Result<Vec<u8>>)> {
    let named = config.upstream.iter().filter_map(|u| u.keyring.clone());
    let mut paths: Vec<PathBuf> = named.chain(debian::default_keyrings()).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().map(|p| (p.display().to_string(), std::fs::read(&p))).collect()
}

async fn show_all(context: &Context, config: &Config, json: bool) -> Result<u8, Failed> {
    let state = state(context).await?;
    let (items, unread) = items(config, &state)?;
    if json {
        let value = serde_json::json!({ "trusted": items, "unread": unread });
        print::line(&value.to_string());
    } else {
        items.iter().for_each(|i| print::line(&one_line(i)));
    }
    unread.iter().for_each(|u| print::error_line(&format!("countersign: {u}")));
    Ok(if unread.is_empty() { 0 } else { exit::USAGE })
}

fn one_line(item: &TrustItem) -> String {
    let day = |t: Option<Timestamp>| t.map_or_else(|| "…".to_owned(), Timestamp::date);
    let mut line = format!("{}  {}..{}  {}", item.id, day(item.from), day(item.until), item.what);
    if item.pinned {
        line.push_str("  pinned");
    }
    match item.revoked {
        Some(since) => line.push_str(&format!("  REVOKED since {}", since.date())),
        None if item.until.is_some_and(|t| t <= now()) => line.push_str("  ended"),
        None => {}
    }
    line
}

async fn show(context: &Context, config: &Config, args: &ShowArgs) -> Result<u8, Failed> {
    let state = state(context).await?;
    let (items, _) = items(config, &state)?;
    let found: Vec<&TrustItem> = items.iter().filter(|i| i.id == args.id).collect();
    let changes: Vec<_> =
        state.history.iter().filter(|(_, c)| is_about(&c.change, &args.id)).collect();
    if found.is_empty() {
        return Err(Failed::usage(format!(
            "nothing is trusted under the name `{}`; `countersign trust list` shows what is",
            args.id
        )));
    }
    if args.json {
        let changes: Vec<_> = changes
            .iter()
            .map(|(index, c)| serde_json::json!({ "ledgerIndex": index, "change": c }))
            .collect();
        let value = serde_json::json!({ "trusted": found, "changes": changes });
        print::line(&serde_json::to_string_pretty(&value).map_err(Failed::internal)?);
        return Ok(0);
    }
    for item in found {
        print::line(&one_line(item));
        print::line(&format!("  from:     {}", item.source));
        if let Some(digest) = item.sha256 {
            print::line(&format!("  sha256:   {digest}"));
        }
    }
    for (index, c) in changes {
        let why = if c.reason.is_empty() { String::new() } else { format!(": {}", c.reason) };
        print::line(&format!(
            "  {}  {} by {}{why} (ledger entry {index})",
            c.time,
            words(&c.change),
            c.owner
        ));
    }
    Ok(0)
}

fn is_about(change: &TrustChange, id: &TrustId) -> bool {
    match change {
        TrustChange::Update(_) => id.kind == TrustKind::Sigstore && id.id.is_empty(),
        TrustChange::Pin { subject, .. }
        | TrustChange::Unpin { subject }
        | TrustChange::Revoke { subject, .. } => subject == id,
    }
}

fn words(change: &TrustChange) -> String {
    match change {
        TrustChange::Update(u) => format!("updated to sha256:{} from {}", u.sha256, u.repository),
        TrustChange::Pin { sha256: Some(digest), .. } => format!("pinned to sha256:{digest}"),
        TrustChange::Pin { sha256: None, .. } => "pinned".to_owned(),
        TrustChange::Unpin { .. } => "pin taken away".to_owned(),
        TrustChange::Revoke { since, .. } => format!("revoked since {since}"),
    }
}

async fn update(context: &Context, config: &Config, args: UpdateArgs) -> Result<u8, Failed> {
    let store = opened(context).await?;
    let state = TrustState::load(&store).await.map_err(Failed::internal)?;
    let repository = args.from.as_ref().or(config.trust.repository.as_ref());
    let from = match (args.offline, repository) {
        (true, _) => Origin::Kept,
        (false, Some(repository)) => Origin::Repository(repository),
        (false, None) => {
            return Err(Failed::usage(
                "no repository is named; give one with --from, or as `repository` under [trust] in the configuration",
            ));
        }
    };
    let start = start(&args, config, &state)?;
    let kept = context.state.join("trust/tuf");
    let fetched = tuf::fetch(from, start.as_bytes(), &kept, now()).await;
    let fetched = fetched.map_err(|e| Failed {
        message: format!("Sigstore's root was not updated: {e}; what was trusted before stays"),
        code: exit::UPSTREAM,
    })?;
    let document = String::from_utf8(fetched.document).map_err(|_| {
        Failed::usage("the repository's root is no text; what was trusted before stays")
    })?;
    let before = state.document().0;
    let shown = match from {
        Origin::Repository(repository) => repository.to_string(),
        Origin::Kept => "what the last update kept".to_owned(),
    };
    let root = RootUpdate {
        repository: shown,
        sha256: Sha256Digest::of(document.as_bytes()),
        tuf_root: start,
        metadata: fetched.versions,
        document,
    };
    let same = before == root.document.as_bytes();
    let (digest, versions) = (root.sha256, root.metadata);
    let change = change(TrustChange::Update(Box::new(root)), String::new(), args.owner);
    // What cannot be used, or is not what is pinned, is not taken up.
    let mut next = state.clone();
    next.root = match &change.change {
        TrustChange::Update(update) => Some((update.as_ref().clone(), change.time)),
        _ => None,
    };
    next.roots(&config.trust)
        .map_err(|e| Failed::usage(format!("{e}; what was trusted before stays")))?;
    let entry = record(&store, &change).await.map_err(Failed::internal)?;
    print::line(&format!(
        "Sigstore's root is {} as of now: sha256:{digest} (TUF root {}, targets {}, confirmed until {}; ledger entry {})",
        if same { "the same" } else { "another one" },
        versions.root,
        versions.targets,
        versions.expires.date(),
        entry.index()
    ));
    Ok(0)
}

/// The TUF root to start from: the one that is named, or where the last update started.
fn start(args: &UpdateArgs, config: &Config, state: &TrustState) -> Result<String, Failed> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", path.display())))
    };
    match (&args.root, &state.root, &config.trust.root) {
        (Some(path), ..) => read(path),
        (None, Some((update, _)), _) => Ok(update.tuf_root.clone()),
        (None, None, Some(path)) => read(path),
        (None, None, None) => Err(Failed::usage(
            "the first update needs a TUF root to start from; give a root.json that you trust with --root, or as `root` under [trust]",
        )),
    }
}

fn change(change: TrustChange, reason: String, owner: Option<String>) -> RecordedChange {
    RecordedChange { change, owner: owner.unwrap_or_else(current_user), reason, time: now() }
}

async fn pin(context: &Context, config: &Config, args: PinArgs) -> Result<u8, Failed> {
    let store = opened(context).await?;
    let state = TrustState::load(&store).await.map_err(Failed::internal)?;
    let subject = args.id;
    if subject.kind == TrustKind::Sigstore && !subject.id.is_empty() {
        return Err(Failed::usage(
            "Sigstore's root is pinned as a whole: `countersign trust pin sigstore`",
        ));
    }
    let done = if args.remove {
        if !state.restrictions.pins.contains_key(&subject) {
            return Err(Failed::usage(format!("`{subject}` is not pinned")));
        }
        TrustChange::Unpin { subject: subject.clone() }
    } else {
        let sha256 = match args.sha256 {
            Some(digest) => Some(digest),
            None => present_digest(config, &state, &subject)?,
        };
        TrustChange::Pin { subject: subject.clone(), sha256 }
    };
    let said = words(&done);
    let entry = record(&store, &change(done, args.reason, args.owner)).await;
    let entry = entry.map_err(Failed::internal)?;
    print::line(&format!("{subject}: {said} (ledger entry {})", entry.index()));
    Ok(0)
}

/// The digest of what is listed under that name now.
fn present_digest(
    config: &Config,
    state: &TrustState,
    subject: &TrustId,
) -> Result<Option<Sha256Digest>, Failed> {
    if subject.kind == TrustKind::Sigstore {
        return Ok(Some(Sha256Digest::of(&state.document().0)));
    }
    let (items, _) = items(config, state)?;
    let mut found = items.iter().filter(|i| i.id == *subject && i.source != "the ledger");
    match found.next() {
        Some(item) if found.all(|other| other.sha256 == item.sha256) => Ok(item.sha256),
        Some(_) => Err(Failed::usage(format!(
            "several keys are named `{subject}`; name the digest of the one that is meant, as `countersign trust show {subject}` tells it"
        ))),
        None => Err(Failed::usage(format!(
            "no key `{subject}` is in any source; name its digest (sha256:…) to pin it all the same"
        ))),
    }
}

async fn revoke(context: &Context, args: RevokeArgs) -> Result<u8, Failed> {
    if args.reason.trim().is_empty() {
        return Err(Failed::usage("a revocation needs a reason; give one with --reason"));
    }
    let store = opened(context).await?;
    let (subject, since) = (args.id, args.since);
    let done = TrustChange::Revoke { subject: subject.clone(), since };
    let entry = record(&store, &change(done, args.reason, args.owner)).await;
    let entry = entry.map_err(Failed::internal)?;
    print::line(&format!(
        "{subject}: revoked since {since} (ledger entry {}); `countersign recall` names what is no longer admissible",
        entry.index()
    ));
    Ok(0)
}
