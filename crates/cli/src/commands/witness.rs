//! `countersign witness`: cosigns others' ledgers, so that they cannot show different histories.

use super::receipts::ledger_key;
use crate::context::{Context, Failed, now};
use crate::print;
use clap::Args;
use countersign_engine::witnessing::WitnessDesk;
use countersign_gateway::serve_witness;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;

/// `witness`.
#[derive(Args)]
#[command(
    after_help = "The log asks it with `countersign ledger cosign --witness ADDRESS=KEY`. Put a proxy with TLS before it \
                  when it is reached over a network that others share.\n\n\
                  Example:\n  countersign witness --name witness.example/w1 --log gate.vkey --listen 127.0.0.1:7380"
)]
pub struct WitnessArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7380")]
    pub listen: SocketAddr,
    /// The witness's name for life; needed the first time, which makes its key
    #[arg(long)]
    pub name: Option<String>,
    /// The public key of a log to witness: the text, or a file that holds it; may be given several times
    #[arg(long, required = true, value_name = "KEY|FILE")]
    pub log: Vec<String>,
    /// Folder of the witness's key and of what it saw [default: witness/ below the state]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Runs the witness until it is ended.
pub async fn witness(context: &Context, args: WitnessArgs) -> Result<u8, Failed> {
    let logs = args.log.iter().map(|l| ledger_key(l)).collect::<Result<Vec<_>, _>>()?;
    let folder = args.folder.unwrap_or_else(|| context.state.join("witness"));
    let desk = WitnessDesk::open(&folder, args.name.as_deref(), logs).map_err(Failed::usage)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|e| Failed::usage(format!("cannot listen on {}: {e}", args.listen)))?;
    let address = listener.local_addr().map_err(Failed::internal)?;
    print::line(&format!("key {}", desk.key()));
    print::line(&format!("listening on http://{address}"));
    tokio::select! {
        () = serve_witness(listener, desk, now) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(0)
}
