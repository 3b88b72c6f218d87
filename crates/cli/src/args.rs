//! The command line, with help texts that teach.

use clap::{Args, Parser, Subcommand, ValueEnum};
use countersign_core::Purl;
use countersign_engine::EvidenceSource;
use std::ffi::OsString;
use std::path::PathBuf;

/// The gate that each package passes before it is installed.
#[derive(Parser)]
#[command(
    name = "countersign",
    version,
    about = "Nothing installs until it is countersigned.",
    long_about = "Countersign stands between package managers and registries. Put `countersign run --` before \
                  the command that you already type: every artifact is fetched, its evidence verified, scanned, \
                  judged by policy and recorded in a tamper-evident ledger before the client gets a byte of it.",
    after_help = "Start here:\n  countersign run -- pip install flask\n  countersign doctor\n  countersign feed add ./feeds",
    propagate_version = true
)]
pub struct Cli {
    /// What every subcommand understands.
    #[command(flatten)]
    pub common: Common,
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand.
#[derive(Args, Clone)]
pub struct Common {
    /// Folder of the store, the ledger and its key [default: the user's data folder]
    #[arg(long, global = true, value_name = "DIR", env = "COUNTERSIGN_STATE")]
    pub state: Option<PathBuf>,
    /// Configuration file [default: countersign.toml in the user's configuration folder]
    #[arg(long, global = true, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Log what happens inside, for finding faults (error, warn, info, debug)
    #[arg(long, global = true, value_name = "LEVEL", env = "COUNTERSIGN_LOG")]
    pub log: Option<String>,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Run a package manager behind the gate
    Run(RunArgs),
    /// Show which clients, upstreams, feeds and keys there are, and whether each works
    Doctor(FormatArgs),
    /// Make the store and the key that signs its ledger
    Init(InitArgs),
    /// Advisory feeds: what is known to be vulnerable or malicious
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Policies: check, explain and test them
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Accept a risk for one version or one file, with a reason and an end
    Waive(WaiveArgs),
    /// Give out the receipt of a decision: statement, proof and checkpoint in one file
    Receipt(ReceiptArgs),
    /// Check the evidence of a file, a version or a folder, or a receipt, offline
    Verify(Box<VerifyArgs>),
    /// Show where a package's artifacts come from: who signed, which repository, commit and build
    Provenance(crate::commands::provenance::ProvenanceArgs),
    /// Check a Sigstore bundle against a file, as the client protocol of sigstore-conformance asks
    VerifyBundle(crate::commands::verify_bundle::VerifyBundleArgs),
    /// Sign what is known of an artifact, so that others can rely on it: an in-toto attestation
    Attest(crate::commands::attest::AttestArgs),
    /// Keys that sign attestations: make, rotate and revoke them
    #[command(subcommand)]
    Key(crate::commands::key::KeyCommand),
    /// Look into the ledger
    #[command(subcommand)]
    Ledger(crate::commands::ledger::LedgerCommand),
    /// Record an incident: open it, close it, list them
    #[command(subcommand)]
    Incident(crate::commands::incident::IncidentCommand),
    /// Report what the ledger shows for a period: coverage, refusals, waivers, recalls, with proofs
    Report(crate::commands::report::ReportArgs),
    /// Roots and keys that evidence is verified by: list, update, pin, revoke
    #[command(subcommand)]
    Trust(crate::commands::trust::TrustCommand),
    /// Cosign the ledgers of others, as a witness
    Witness(crate::commands::witness::WitnessArgs),
    /// Run the gateway for a team: the same gate, long-lived, for any number of clients
    Serve(crate::commands::serve::ServeArgs),
    /// Judge what is already there: lock files, environments, SBOMs
    Audit(crate::commands::audit::AuditArgs),
    /// Show what was found in what was judged, since when, and how it stands now
    Findings(crate::commands::findings::FindingsArgs),
    /// Write a bill of materials of a lock file, an environment, a version or an artifact
    Sbom(crate::commands::sbom::SbomArgs),
    /// Judge everything that was admitted again, and show what no longer is
    Recall(crate::commands::recall::RecallArgs),
    /// Show who fetched a package, version or file, and what was decided about it over time
    Who(crate::commands::recall::WhoArgs),
    /// Put the gate before the package managers of this user, or take it away again
    Setup(crate::commands::setup::SetupArgs),
    /// Tokens that clients of the gateway show
    #[command(subcommand)]
    Token(crate::commands::token::TokenCommand),
    /// Show what differs between two versions that were judged: hooks, capabilities, publisher, files
    Diff(crate::commands::diff::DiffArgs),
    /// Install a package in a jail and show what it does: processes, files, connections
    Detonate(crate::commands::detonate::DetonateArgs),
    /// Check a list of version pairs against the order that an ecosystem's versions have here
    VersionOrder(crate::commands::version_order::VersionOrderArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// A stage of the jail, started by itself
    #[command(hide = true)]
    Jail {
        /// Which.
        stage: String,
    },
    /// Ask the running gate whether apt may install these packages
    #[command(hide = true)]
    AptAccount {
        /// The socket of the run.
        socket: PathBuf,
    },
}

/// `run`.
#[derive(Args)]
#[command(
    after_help = concat!(
        "Clients: pip, pip3, python -m pip (install, download, wheel), uv (pip install, pip sync, add, sync),\n",
        "uvx, uv tool (run, install, upgrade), uv run, pipx (install, run, inject, upgrade, reinstall),\n",
        "poetry (install, add, update, sync, lock),\n",
        "npm (install, ci), cargo (fetch, build, install), apt-get and apt (install, download);\n",
        "npx, npm exec; pnpm (install, add, update, dlx), pnpx; yarn 1 (install, add, upgrade, global),\n",
        "yarn berry (install, add, up, dlx); bun (install, add, update, x), bunx.\n\n",
        "The client keeps its own configuration, lock files and addresses; it reaches them through the gate.\n",
        "Addresses outside its configured upstreams are closed and named. What uvx, uv run and pipx run start,\n",
        "starts outside the gate, when its environment is reconciled; its exit code is then the run's.\n\n",
        "Exit codes:\n",
        "  the client's own, when everything that it took was admitted\n",
        "  90  refused: policy refused an artifact and the client failed\n",
        "  91  held: an artifact waits for its cool-down or for a person\n",
        "  92  ungated: something was installed that the gate did not admit\n",
        "  93  upstream failed: a registry could not be used\n",
        "  94  internal: the gate failed, or cannot gate this command\n\n",
        "Examples:\n",
        "  countersign run -- pip install flask\n",
        "  countersign run --feed ./feeds -- npm ci\n",
        "  countersign run --policy strict --format json -- cargo fetch",
    )
)]
pub struct RunArgs {
    /// Policy: audit (record only), baseline, strict, or a folder of your own
    #[arg(long, value_name = "NAME|DIR", env = "COUNTERSIGN_POLICY")]
    pub policy: Option<String>,
    /// One more advisory feed for this run: an OSV zip, a record, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub feed: Vec<PathBuf>,
    /// Folder or http tree of evidence keyed by digest (<sha256>/*.json), or oci+https://registry/repository
    #[arg(long, value_name = "DIR|ADDRESS")]
    pub evidence: Vec<EvidenceSource>,
    /// More rules for malicious code, in YARA's language: a folder, or a file
    #[arg(long, value_name = "DIR|FILE")]
    pub rules: Vec<PathBuf>,
    /// Take the publish times of this upstream (part of its address) for its own: ages are unknown
    #[arg(long, value_name = "ADDRESS")]
    pub mirror: Vec<String>,
    /// How the report is written; json and sarif are best sent to a file with --report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write the report to a file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Say nothing unless something was refused or went wrong
    #[arg(long, short)]
    pub quiet: bool,
    /// The command, as you would type it
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// JSON.
    Json,
    /// SARIF 2.1.0, for code hosts.
    Sarif,
}

/// `--format` where there are two.
#[derive(Args)]
pub struct FormatArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `init`.
#[derive(Args)]
pub struct InitArgs {
    /// The ledger's name for life, by custom an address without scheme [default: countersign.local/<user>]
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
}

/// `feed …`.
#[derive(Subcommand)]
pub enum FeedCommand {
    /// Add a feed: an OSV zip, KEV, EPSS, a folder of feeds, or an http address of one
    Add {
        /// Path or address.
        location: String,
        /// Its name [default: taken from the location]
        #[arg(long)]
        name: Option<String>,
    },
    /// Fetch feeds with addresses again, and build the index
    Sync,
    /// Show the feeds, what they hold and how old they are
    List(FormatArgs),
    /// Remove a feed
    Remove {
        /// Its name.
        name: String,
    },
    /// Build the index of these places, for a gateway that must stay small
    #[command(hide = true)]
    Index {
        /// The folder of the index.
        folder: PathBuf,
        /// Where the feeds lie.
        places: Vec<PathBuf>,
    },
}

/// `policy …`.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Load a policy and say what is wrong with it, with file, line and column
    Check {
        /// audit, baseline, strict, or a folder.
        policy: String,
    },
    /// Explain a rule, or list all rules of a policy
    Explain {
        /// A rule's id, such as baseline.cool-down.
        rule: Option<String>,
        /// The policy.
        #[arg(long, default_value = "baseline")]
        policy: String,
    },
    /// Judge what was decided again by another policy: what would have been refused or admitted
    Replay(crate::commands::replay::ReplayArgs),
    /// Run a policy's tests: files of facts and expected verdicts
    Test {
        /// The policy.
        policy: String,
        /// Test files or folders [default: the policy folder's tests/]
        files: Vec<PathBuf>,
    },
}

/// `waive`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign waive 'pkg:npm/lodash@4.17.4' --rule baseline.known-vulnerable --reason 'not reachable, TICKET-7' --days 14\n  countersign waive --list"
)]
pub struct WaiveArgs {
    /// A version (pkg:npm/left-pad@1.3.0) or a file (sha256:…)
    #[arg(required_unless_present_any = ["list", "revoke"])]
    pub target: Option<String>,
    /// The rule or finding to lift; may be given several times
    #[arg(long, value_name = "ID")]
    pub rule: Vec<String>,
    /// Why the risk is accepted
    #[arg(long)]
    pub reason: Option<String>,
    /// Who answers for it [default: the current user]
    #[arg(long)]
    pub owner: Option<String>,
    /// Days until it ends
    #[arg(long, conflicts_with = "until")]
    pub days: Option<u32>,
    /// When it ends, as an RFC 3339 time
    #[arg(long)]
    pub until: Option<String>,
    /// List all waivers
    #[arg(long)]
    pub list: bool,
    /// End a waiver now
    #[arg(long, value_name = "ID")]
    pub revoke: Option<String>,
}

/// `receipt`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign receipt flask-3.1.3-py3-none-any.whl -o flask.receipt.json\n  countersign receipt pkg:npm/lodash@4.17.21\n  countersign receipt --lockfile uv.lock -o uv.lock.receipts.json"
)]
pub struct ReceiptArgs {
    /// A file whose decision is wanted, a purl, or sha256:…
    #[arg(required_unless_present = "lockfile", conflicts_with = "lockfile")]
    pub subject: Option<String>,
    /// A lock file or SBOM: one file of receipts that proves that all of it was admitted
    #[arg(long, value_name = "FILE")]
    pub lockfile: Option<PathBuf>,
    /// Where to write it [default: standard output]
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// `verify`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes:\n  0  every artifact has evidence that holds, and none that does not\n  1  evidence was found that does not hold\n  3  of an artifact, nothing could be verified\n\nExamples:\n  countersign verify --evidence ./evidence dist/pkg-1.0-py3-none-any.whl\n  countersign verify --evidence ./evidence pkg:npm/sigstore@2.3.1\n  countersign verify --keyring signers.asc library-1.0.jar\n  countersign verify --bundle app.sigstore.json --key cosign.pub pkg:oci/app@sha256:<64 hexadecimal digits>\n  countersign verify receipt r.json --key ledger.pub\n  countersign verify --receipts ./image --policy deploy.toml"
)]
pub struct VerifyArgs {
    /// A file, a version in the store (pkg:npm/sigstore@2.3.1), a folder of packages, or an image's digest
    #[arg(required_unless_present = "receipts")]
    pub subject: Option<String>,
    /// The file's version, where the ledger does not know it; npm's attestations are about one
    #[arg(long, value_name = "PURL")]
    pub purl: Option<Purl>,
    /// Folder of evidence keyed by digest (<sha256>/*.json)
    #[arg(long, value_name = "DIR")]
    pub evidence: Vec<PathBuf>,
    /// Trust roots of your own (a trusted_root.json) [default: Sigstore's, as of the build]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// A public key (PEM) to believe for this once, beside the `[[key]]` entries of the configuration;
    /// with --bundle the one that must have signed the image
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Keys of the user's own
    #[command(flatten)]
    pub trust: crate::commands::trust_args::TrustArgs,
    /// An image's signature, and who must have made it
    #[command(flatten)]
    pub image: crate::commands::image::ImageArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The gate at deployment: every file of this folder needs a receipt that the policy accepts
    #[arg(long, value_name = "DIR", requires = "policy", conflicts_with = "subject")]
    pub receipts: Option<PathBuf>,
    /// Whose receipts are accepted: the ledger's key, witnesses, ages, policies (a TOML file)
    #[arg(long, value_name = "FILE", requires = "receipts")]
    pub policy: Option<PathBuf>,
    /// What else can be checked
    #[command(subcommand)]
    pub command: Option<VerifyCommand>,
}

/// `verify …`.
#[derive(Subcommand)]
pub enum VerifyCommand {
    /// Check a receipt, or a file of many, with the ledger's public key alone
    Receipt(crate::commands::receipts::VerifyReceiptArgs),
}
