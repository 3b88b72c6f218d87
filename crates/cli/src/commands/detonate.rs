//! `countersign detonate`: what a package does when it is installed and used, seen in a jail.

use crate::context::{Context, Failed};
use crate::render::detonation;
use crate::{exit, print};
use clap::Args;
use countersign_core::{Finding, Outcome, Purl, Severity, Sha256Digest};
use countersign_engine::sandbox::{Artifact, Detonation, Detonator, Limits, Program};
use countersign_engine::store::BlobState;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `detonate`.
#[derive(Args)]
#[command(
    after_help = concat!(
        "A file is installed by its own client (pip, npm, cargo, dpkg) in a jail of namespaces, Landlock and\n",
        "seccomp, with bait in its home folder and a network that answers everything and leads nowhere. Then it is\n",
        "loaded. What the client does by itself is left out. A purl means the files of that version that the store\n",
        "keeps, admitted or not. Nothing is fetched: dependencies are missing unless --with names them.\n\n",
        "Exit codes:\n",
        "  0   it did nothing above low\n",
        "  1   it did\n",
        "  95  not checked: no jail here, no client, or it could not be installed or loaded\n",
        "  2   the command line or a file that it names cannot be used\n",
        "  94  internal: the command failed\n\n",
        "Examples:\n",
        "  countersign detonate ./left-pad-1.3.0.tgz\n",
        "  countersign detonate pkg:npm/left-pad@1.3.0\n",
        "  countersign detonate requests-2.32.3-py3-none-any.whl --with urllib3-2.2.3-py3-none-any.whl",
    )
)]
pub struct DetonateArgs {
    /// A version in the store (pkg:npm/left-pad@1.3.0), or a file
    #[arg(value_name = "PURL|FILE")]
    pub subject: String,
    /// A dependency's file, to be installed before it; may be given several times
    #[arg(long, value_name = "FILE")]
    pub with: Vec<PathBuf>,
    /// Seconds that it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub time: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A file that is meant.
pub struct Subject {
    /// Its name.
    pub file_name: String,
    /// What the store knows it as.
    pub purl: Option<Purl>,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    path: PathBuf,
}

/// Runs the subcommand. Returns the exit code.
pub async fn detonate(context: &Context, args: &DetonateArgs) -> Result<u8, Failed> {
    let subjects = match args.subject.starts_with("pkg:") {
        true => of_purl(context, &args.subject).await?,
        false => vec![of_file(Path::new(&args.subject))?],
    };
    if let Some(path) = args.with.iter().find(|p| !p.is_file()) {
        return Err(Failed::usage(format!("`{}` is no file", path.display())));
    }
    let detonator = detonator(context, Duration::from_secs(args.time))?;
    let mut done: Vec<(Subject, Detonation)> = Vec::new();
    for subject in subjects {
        let artifact = Artifact {
            path: subject.path.clone(),
            file_name: subject.file_name.clone(),
            companions: args.with.clone(),
        };
        let detonator = detonator.clone();
        let ran = tokio::task::spawn_blocking(move || detonator.detonate(&artifact));
        done.push((subject, ran.await.map_err(Failed::internal)?));
    }
    if args.json {
        let all: Vec<_> = done.iter().map(|(s, d)| detonation::json(s, d)).collect();
        print::line(&serde_json::to_string_pretty(&all).map_err(Failed::internal)?);
    } else {
        done.iter().for_each(|(s, d)| print::line(&detonation::text(s, d)));
    }
    Ok(done
        .iter()
        .map(|(_, d)| code(d))
        .max_by_key(|c| [0, exit::NOT_CHECKED, 1].iter().position(|o| o == c))
        .unwrap_or(0))
}

fn code(ran: &Detonation) -> u8 {
    let weighs = |f: &Finding| f.severity > Severity::Low;
    match ran.check.outcome {
        _ if ran.findings.iter().any(weighs) => 1,
        Outcome::Passed => 0,
        Outcome::Failed { .. } => 1,
        Outcome::NotDone { .. } => exit::NOT_CHECKED,
    }
}

/// This program is the one whose stages run; what clients do by themselves is kept beside the store.
fn detonator(context: &Context, time: Duration) -> Result<Detonator, Failed> {
    let path = std::env::current_exe()
        .map_err(|e| Failed::internal(format!("this program cannot find itself: {e}")))?;
    let mut seed = vec![0; 16];
    getrandom::fill(&mut seed).map_err(Failed::internal)?;
    Ok(Detonator {
        program: Program { path, arguments: vec!["jail".into()] },
        cache: Some(context.state.join("behaviour")),
        limits: Limits { time, ..Limits::default() },
        seed,
    })
}

fn of_file(path: &Path) -> Result<Subject, Failed> {
    if !path.is_file() {
        return Err(Failed::usage(format!("`{}` is no file", path.display())));
    }
    let sha256 = super::receipt::digest_of(path)?;
    let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Subject { file_name, purl: None, sha256, path: path.to_owned() })
}

/// The files of a version that this store keeps, whatever was decided about them.
async fn of_purl(context: &Context, subject: &str) -> Result<Vec<Subject>, Failed> {
    let purl: Purl = subject.parse().map_err(Failed::usage)?;
    if purl.version().is_none() {
        return Err(Failed::usage(format!("`{subject}` names no version")));
    }
    let store = context.open().await?;
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for decision in store.decisions_for_purl(&purl).await? {
        let Some(sha256) = decision.sha256.filter(|d| seen.insert(d.to_hex())) else { continue };
        let Some(path) = store.blob_file(&sha256) else { continue };
        // Bytes on a disk are believed when they were hashed again.
        if store.verify_blob(&sha256).await? != BlobState::Intact {
            return Err(Failed::internal(format!(
                "the store's file of {} is damaged; run `countersign ledger fsck`",
                decision.file_name
            )));
        }
        let (file_name, purl) = (decision.file_name, Some(decision.purl));
        out.push(Subject { file_name, purl, sha256, path });
    }
    if out.is_empty() {
        return Err(Failed::usage(format!(
            "this store keeps no file of {subject}; run it through the gate first, or name a file"
        )));
    }
    Ok(out)
}
