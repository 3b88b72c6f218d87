//! `countersign key`: the keys that sign attestations.

use super::key_show;
use super::secret::SecretArgs;
use super::waive::current_user;
use crate::context::{Context, Failed, now};
use crate::print;
use clap::{Args, Subcommand};
use countersign_core::Timestamp;
use countersign_engine::signer::{Algorithm, PublicKey, TokenUri};
use countersign_engine::signing::holder::{self, Holder};
use countersign_engine::signing::key::{self, KeyChange, KeyState, SigningKey};
use countersign_engine::store::Store;
use std::path::PathBuf;

const DAY: i64 = 86_400;

/// `key …`.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key, in an encrypted file or on a token
    Generate(GenerateArgs),
    /// Take up a key that is somewhere already: in a file, with ssh-agent, on a token
    Add(AddArgs),
    /// Show which keys there are and were
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a key's public half, its window, and what to write into the configuration
    Show {
        /// Its name, or its id
        key: String,
        /// Print the public key alone, as PEM
        #[arg(long, conflicts_with = "json")]
        pem: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a new key in a key's place; both sign until the old one ends
    Rotate(RotateArgs),
    /// Declare that a key is somebody else's: what it signed since then no longer counts
    Revoke(RevokeArgs),
}

/// `key generate`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign key generate release\n  countersign key generate qa --algorithm ecdsa-p256 --days 365 --passphrase-file qa.pass\n  countersign key generate release --token 'pkcs11:token=build;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so'"
)]
pub struct GenerateArgs {
    /// What it is called; configurations and policies name it so
    name: String,
    /// ed25519, or ecdsa-p256
    #[arg(long, default_value = "ed25519")]
    algorithm: Algorithm,
    /// Make it on this token, as a PKCS#11 URI (RFC 7512) with module-path; it cannot be taken out
    #[arg(long, value_name = "URI")]
    token: Option<TokenUri>,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    secret: SecretArgs,
}

/// Where a key is already.
#[derive(Args)]
#[group(multiple = false)]
pub struct Existing {
    /// An encrypted PKCS#8 file, as `openssl genpkey -aes256` writes it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A key of ssh-agent: its comment or SHA256:… fingerprint (`ssh-add -l`)
    #[arg(long, value_name = "KEY")]
    agent: Option<String>,
    /// A key on a token, as a PKCS#11 URI (RFC 7512) with module-path
    #[arg(long, value_name = "URI")]
    token: Option<TokenUri>,
}

impl Existing {
    fn is_given(&self) -> bool {
        self.file.is_some() || self.agent.is_some() || self.token.is_some()
    }
}

/// `key add`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign key add alice --agent alice@laptop\n  countersign key add release --token 'pkcs11:token=build;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so'"
)]
pub struct AddArgs {
    /// What it is called; configurations and policies name it so
    name: String,
    #[command(flatten)]
    place: Existing,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    secret: SecretArgs,
}

/// `key rotate`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign key rotate release\n  countersign key rotate release --overlap-days 7 --agent release@ci"
)]
pub struct RotateArgs {
    /// The key's name
    name: String,
    /// Days until the old key ends
    #[arg(long, default_value_t = 30)]
    overlap_days: u32,
    /// The new key's algorithm [default: the old one's]
    #[arg(long)]
    algorithm: Option<Algorithm>,
    #[command(flatten)]
    place: Existing,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    secret: SecretArgs,
}

/// `key revoke`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  countersign key revoke release --reason 'laptop stolen' --since 2026-11-18T00:00:00Z"
)]
pub struct RevokeArgs {
    /// The key's name, or its id where several have that name
    key: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// From when on it counts as somebody else's, as an RFC 3339 time [default: now]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// How long a key signs.
#[derive(Args, Clone, Copy)]
pub struct Window {
    /// Days until it ends [default: it does not]
    #[arg(long)]
    days: Option<u32>,
}

impl Window {
    fn end(self, from: Timestamp) -> Option<Timestamp> {
        self.days.map(|days| from.plus_seconds(i64::from(days) * DAY))
    }
}

/// Runs the subcommand. Returns the exit code.
pub async fn key(context: &Context, command: KeyCommand) -> Result<u8, Failed> {
    match command {
        KeyCommand::List { json } => {
            let keys = key::keys(&context.open().await?).await.map_err(Failed::internal)?;
            key_show::list(&keys, json)
        }
        KeyCommand::Show { key, pem, json } => {
            let keys = key::keys(&context.open().await?).await.map_err(Failed::internal)?;
            key_show::show(&keys, &key, pem, json)
        }
        KeyCommand::Generate(args) => {
            let store = open_or_init(context).await?;
            let made = make(&store, &args.name, args.algorithm, args.token, &args.secret)?;
            let added = add(&store, &args.name, made, args.window, None).await?;
            key_show::added(&added);
            Ok(0)
        }
        KeyCommand::Add(args) => {
            let store = open_or_init(context).await?;
            let found = existing(&args.place, &args.secret)?;
            let added = add(&store, &args.name, found, args.window, None).await?;
            key_show::added(&added);
            Ok(0)
        }
        KeyCommand::Rotate(args) => rotate(context, args).await,
        KeyCommand::Revoke(args) => revoke(context, args).await,
    }
}

async fn open_or_init(context: &Context) -> Result<Store, Failed> {
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = made {
        print::error_line(&format!("countersign: {text}"));
    }
    Ok(store)
}

/// The socket of ssh-agent.
pub fn agent_socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty()).map(PathBuf::from)
}

fn make(
    store: &Store,
    name: &str,
    algorithm: Algorithm,
    token: Option<TokenUri>,
    secret: &SecretArgs,
) -> Result<(PublicKey, Holder), Failed> {
    key::check_name(name).map_err(Failed::usage)?;
    let made = match token {
        Some(uri) => {
            let pin = secret.get("PIN of the token", false)?;
            holder::make_on_token(uri, algorithm, &pin)
        }
        None => {
            let passphrase = secret.get("passphrase of the new key", true)?;
            holder::make_file(store, name, algorithm, &passphrase)
        }
    };
    made.map_err(Failed::usage)
}

fn existing(place: &Existing, secret: &SecretArgs) -> Result<(PublicKey, Holder), Failed> {
    let found = match (&place.file, &place.agent, &place.token) {
        (Some(file), ..) => {
            let passphrase = secret.get("passphrase of the key", false)?;
            holder::existing_file(file, &passphrase)
        }
        (_, Some(wanted), _) => holder::agent(agent_socket().as_deref())
            .and_then(|agent| holder::existing_in_agent(&agent, wanted)),
        (_, _, Some(uri)) => {
            let pin = secret.get("PIN of the token", false)?;
            holder::existing_on_token(uri.clone(), &pin)
        }
        _ => return Err(Failed::usage("where is the key? give --file, --agent or --token")),
    };
    found.map_err(Failed::usage)
}

/// Writes the new key into the ledger.
async fn add(
    store: &Store,
    name: &str,
    (public, holder): (PublicKey, Holder),
    window: Window,
    replaces: Option<String>,
) -> Result<SigningKey, Failed> {
    let from = now();
    let id = public.id();
    let change = KeyChange::Added {
        name: name.to_owned(),
        id: id.clone(),
        public: public.to_pem(),
        holder: holder.to_string(),
        not_before: from,
        not_after: window.end(from),
        replaces,
        owner: current_user(),
    };
    key::record(store, &change, from).await.map_err(Failed::usage)?;
    let keys = key::keys(store).await.map_err(Failed::internal)?;
    let added = keys.into_iter().find(|k| k.id() == id);
    added.ok_or_else(|| Failed::internal("the key that was just added is not in the ledger"))
}

async fn rotate(context: &Context, args: RotateArgs) -> Result<u8, Failed> {
    let store = context.open().await?;
    let keys = key::keys(&store).await.map_err(Failed::internal)?;
    let old = key::choose(&keys, Some(&args.name), now()).map_err(Failed::usage)?.clone();
    let new = if args.place.is_given() {
        existing(&args.place, &args.secret)?
    } else if matches!(old.holder, Holder::File(_)) {
        let algorithm = args.algorithm.unwrap_or(old.public.algorithm());
        make(&store, &old.name, algorithm, None, &args.secret)?
    } else {
        return Err(Failed::usage(format!(
            "`{}` is kept by {}; name the new key with --agent, --token or --file",
            old.name,
            if old.holder == Holder::Agent { "ssh-agent" } else { "a token" }
        )));
    };
    // The new key comes first: a crash in between leaves both, and never none.
    let added = add(&store, &old.name, new, args.window, Some(old.id())).await?;
    let end = now().plus_seconds(i64::from(args.overlap_days) * DAY);
    let ended = KeyChange::Ended { id: old.id(), not_after: end, owner: current_user() };
    let index = key::record(&store, &ended, now()).await.map_err(Failed::internal)?;
    key_show::taken_up(&added);
    print::line(&format!("the key before it, {}, ends at {end} (ledger entry {index})", old.id()));
    Ok(0)
}

async fn revoke(context: &Context, args: RevokeArgs) -> Result<u8, Failed> {
    let store = context.open().await?;
    let keys = key::keys(&store).await.map_err(Failed::internal)?;
    let since = match &args.since {
        None => now(),
        Some(text) => Timestamp::parse(text)
            .ok_or_else(|| Failed::usage(format!("`{text}` is not an RFC 3339 time")))?,
    };
    if args.reason.trim().is_empty() {
        return Err(Failed::usage("a revocation needs a reason; give one with --reason"));
    }
    let meant: Vec<&SigningKey> = key::named(&keys, &args.key)
        .into_iter()
        .filter(|k| k.state(now()) != KeyState::Revoked || args.since.is_some())
        .collect();
    let key = match meant.as_slice() {
        [key] => *key,
        [] => {
            let key = &args.key;
            let said =
                format!("there is no key `{key}` that can be revoked; see `countersign key list`");
            return Err(Failed::usage(said));
        }
        several => {
            let ids: Vec<String> = several.iter().map(|k| k.id()).collect();
            let said =
                format!("several keys are called `{}`; name one of {}", args.key, ids.join(", "));
            return Err(Failed::usage(said));
        }
    };
    let (id, reason, owner) = (key.id(), args.reason, current_user());
    let change = KeyChange::Revoked { id: id.clone(), since, reason, owner };
    let index = key::record(&store, &change, now()).await.map_err(Failed::internal)?;
    print::line(&format!("revoked {} ({id}) as of {since} (ledger entry {index})", key.name));
    print::line("What it signed before that counts where this ledger or a log noted when.");
    Ok(0)
}
