//! `countersign incident`: what happened, on the record.

use crate::commands::waive::current_user;
use crate::context::{Context, Failed, now};
use crate::print;
use clap::{Args, Subcommand};
use countersign_engine::acts::{Incident, close_incident, incidents, open_incident};
use countersign_engine::store::Store;
use serde_json::json;

/// `incident …`.
#[derive(Subcommand)]
pub enum IncidentCommand {
    /// Open an incident: what happened, and which packages, versions or files it is about
    Open(OpenArgs),
    /// Close an incident, with what came of it
    Close(CloseArgs),
    /// List incidents, newest first
    List(ListArgs),
}

/// `incident open`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  countersign incident open 'left-pad: token stolen, TICKET-9' --about pkg:npm/left-pad --about sha256:f4bcbefc…"
)]
pub struct OpenArgs {
    /// What happened
    pub text: String,
    /// A package (pkg:npm/left-pad), a version or a file (sha256:…); may be given several times
    #[arg(long, value_name = "PURL|sha256:…")]
    pub about: Vec<String>,
    /// Who opens it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
}

/// `incident close`.
#[derive(Args)]
pub struct CloseArgs {
    /// Its id
    pub id: String,
    /// What came of it
    #[arg(long)]
    pub reason: String,
    /// Who closes it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
}

/// `incident list`.
#[derive(Args)]
pub struct ListArgs {
    /// Only those that are open
    #[arg(long)]
    pub open: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand.
pub async fn incident(context: &Context, command: IncidentCommand) -> Result<u8, Failed> {
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = made {
        print::error_line(&format!("countersign: {text}"));
    }
    match command {
        IncidentCommand::Open(args) => {
            let owner = args.owner.unwrap_or_else(current_user);
            let opened = open_incident(&store, &args.text, &args.about, &owner, now()).await?;
            let (id, recorded) = opened;
            print::line(&format!("{id} is open (ledger entry {})", recorded.index()));
            Ok(0)
        }
        IncidentCommand::Close(args) => {
            let owner = args.owner.unwrap_or_else(current_user);
            let recorded = close_incident(&store, &args.id, &owner, &args.reason, now()).await?;
            print::line(&format!("{} is closed (ledger entry {})", args.id, recorded.index()));
            Ok(0)
        }
        IncidentCommand::List(args) => list(&store, &args).await,
    }
}

async fn list(store: &Store, args: &ListArgs) -> Result<u8, Failed> {
    let all = incidents(store).await?;
    let shown: Vec<&Incident> =
        all.iter().rev().filter(|i| !args.open || i.closed.is_none()).collect();
    if args.json {
        shown.iter().for_each(|i| print::line(&as_json(i)));
        return Ok(0);
    }
    if shown.is_empty() {
        print::line("no incidents");
    }
    for i in shown {
        let state = i.closed.as_ref().map_or_else(
            || "open".to_owned(),
            |end| format!("closed {} by {}: {}", end.time.date(), end.owner, end.reason),
        );
        print::line(&format!("{}  {}  by {}  {state}", i.id, i.opened, i.owner));
        print::line(&format!("  {}", i.text));
        if !i.about.is_empty() {
            print::line(&format!("  about {}", i.about.join(", ")));
        }
    }
    Ok(0)
}

fn as_json(i: &Incident) -> String {
    let end = i
        .closed
        .as_ref()
        .map(|e| json!({"time": e.time, "entry": e.index, "owner": e.owner, "reason": e.reason}));
    json!({
        "id": i.id, "text": i.text, "about": i.about, "owner": i.owner, "opened": i.opened,
        "entry": i.index, "closed": end,
    })
    .to_string()
}
