//! Where a private key is, and opening it.

use super::key::SigningKey;
use super::{SigningError, key_folder};
use countersign_signer::{
    Agent, Algorithm, PublicKey, Signer, SignerError, TokenKey, TokenUri, decrypt, encrypt,
    generate, generate_on_token,
};
use countersign_store::Store;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Largest key file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// In an encrypted file: in the store's folder of keys when the path is relative.
    File(PathBuf),
    /// With ssh-agent.
    Agent,
    /// On a token.
    Token(Box<TokenUri>),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Agent => f.write_str("agent"),
            Self::Token(uri) => uri.fmt(f),
        }
    }
}

impl FromStr for Holder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self::File(PathBuf::from(path)));
        }
        if text == "agent" {
            return Ok(Self::Agent);
        }
        let uri = text.parse().map_err(|e: SignerError| e.to_string())?;
        Ok(Self::Token(Box::new(uri)))
    }
}

impl Holder {
    /// What opens it: a passphrase, a PIN, or nothing that is asked for here.
    #[must_use]
    pub fn secret(&self) -> Option<&'static str> {
        match self {
            Self::File(_) => Some("passphrase"),
            Self::Agent => None,
            Self::Token(_) => Some("PIN"),
        }
    }
}

/// Opens a key, and sees that it is the one that the ledger names.
///
/// # Errors
/// When it is not there, the secret is wrong, or it is another key.
pub fn open(
    store: &Store,
    key: &SigningKey,
    secret: &str,
    agent: Option<&Path>,
) -> Result<Box<dyn Signer>, SigningError> {
    let signer: Box<dyn Signer> = match &key.holder {
        Holder::File(path) => {
            let path = key_folder(store).join(path);
            Box::new(decrypt(&read(&path)?, secret)?)
        }
        Holder::Agent => Box::new(self::agent(agent)?.key(&key.id())?),
        Holder::Token(uri) => Box::new(TokenKey::open(uri, secret)?),
    };
    if *signer.public() != key.public {
        let (found, want) = (signer.public().id(), key.id());
        return Err(SigningError::key(format!(
            "`{}` holds key `{found}`, not `{want}`",
            key.holder
        )));
    }
    Ok(signer)
}

/// The agent at a socket.
///
/// # Errors
/// When no socket is named.
pub fn agent(socket: Option<&Path>) -> Result<Agent, SigningError> {
    let socket = socket.ok_or_else(|| {
        SigningError::key("SSH_AUTH_SOCK names no agent; start one with `eval $(ssh-agent)`")
    })?;
    Ok(Agent::at(socket))
}

/// Makes a key in an encrypted file of the store.
///
/// # Errors
/// When it cannot be made or written.
pub fn make_file(
    store: &Store,
    name: &str,
    algorithm: Algorithm,
    passphrase: &str,
) -> Result<(PublicKey, Holder), SigningError> {
    let key = generate(algorithm)?;
    let digest = key.public().id();
    let short = digest.trim_start_matches("sha256:").get(..12).unwrap_or_default().to_owned();
    let file = PathBuf::from(format!("{name}-{short}.pem"));
    let path = key_folder(store).join(&file);
    write_private(&path, &encrypt(&key, passphrase)?)?;
    Ok((key.public().clone(), Holder::File(file)))
}

/// Makes a key on a token.
///
/// # Errors
/// When there is one of that name, or the token cannot.
pub fn make_on_token(
    uri: TokenUri,
    algorithm: Algorithm,
    pin: &str,
) -> Result<(PublicKey, Holder), SigningError> {
    let public = generate_on_token(&uri, pin, algorithm)?.public().clone();
    Ok((public, Holder::Token(Box::new(uri))))
}

/// The public half of a key that is somewhere already.
///
/// # Errors
/// When it cannot be opened.
pub fn existing_file(path: &Path, secret: &str) -> Result<(PublicKey, Holder), SigningError> {
    let path = std::path::absolute(path).map_err(|e| unusable(path, &e))?;
    let public = decrypt(&read(&path)?, secret)?.public().clone();
    Ok((public, Holder::File(path)))
}

/// The public half of a token's key.
///
/// # Errors
/// When it cannot be opened.
pub fn existing_on_token(uri: TokenUri, pin: &str) -> Result<(PublicKey, Holder), SigningError> {
    let public = TokenKey::open(&uri, pin)?.public().clone();
    Ok((public, Holder::Token(Box::new(uri))))
}

/// The public half of the agent's key that `wanted` means: its comment, its fingerprint, or its id.
///
/// # Errors
/// When the agent has none, or several.
pub fn existing_in_agent(agent: &Agent, wanted: &str) -> Result<(PublicKey, Holder), SigningError> {
    let keys = agent.keys()?;
    let meant = |k: &&countersign_signer::AgentKey| {
        [k.comment(), &k.fingerprint(), &k.public().id()].contains(&wanted)
    };
    let found: Vec<_> = keys.iter().filter(meant).collect();
    match found.as_slice() {
        [key] => Ok((key.public().clone(), Holder::Agent)),
        [] => {
            let list: Vec<String> =
                keys.iter().map(|k| format!("{} {}", k.fingerprint(), k.comment())).collect();
            let has = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            Err(SigningError::key(format!(
                "ssh-agent has no Ed25519 or P-256 key `{wanted}`; it has {has}"
            )))
        }
        _ => Err(SigningError::key(format!(
            "several keys of ssh-agent are called `{wanted}`; name one by its SHA256:… fingerprint"
        ))),
    }
}

fn unusable(path: &Path, e: &std::io::Error) -> SigningError {
    SignerError::File { path: path.to_owned(), because: e.to_string() }.into()
}

fn read(path: &Path) -> Result<String, SigningError> {
    let size = std::fs::metadata(path).map_err(|e| unusable(path, &e))?.len();
    if size > MAX_FILE {
        return Err(SigningError::key(format!("`{}` is no key: it is too large", path.display())));
    }
    std::fs::read_to_string(path).map_err(|e| unusable(path, &e))
}

/// Writes a new file that only its owner may read, and syncs it.
fn write_private(path: &Path, text: &str) -> Result<(), SigningError> {
    let failed = |e: std::io::Error| unusable(path, &e);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
