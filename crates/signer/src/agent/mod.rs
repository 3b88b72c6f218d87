//! Keys that ssh-agent holds (draft-ietf-sshm-ssh-agent): it signs, and never gives a key out.
//!
//! Of its protocol two questions are asked: which keys there are, and a signature. Keys of other
//! kinds than Ed25519 and ECDSA on P-256 are passed over, as are keys of security keys (`sk-…`), whose
//! signatures are about more than the message.

mod wire;

use crate::Signer;
use crate::error::SignerError;
use crate::public::PublicKey;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the agent may take: it may ask a person.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest answer that is read, in bytes: OpenSSH's own limit.
const MAX_ANSWER: usize = 256 << 10;

/// An agent's socket.
#[derive(Debug, Clone)]
pub struct Agent {
    socket: PathBuf,
}

/// A key that an agent holds.
#[derive(Debug, Clone)]
pub struct AgentKey {
    agent: Agent,
    public: PublicKey,
    blob: Vec<u8>,
    comment: String,
}

impl Agent {
    /// The agent that listens at `socket`, by custom named in `SSH_AUTH_SOCK`.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Its keys that can sign here.
    ///
    /// # Errors
    /// When it cannot be asked, or answers with something else.
    pub fn keys(&self) -> Result<Vec<AgentKey>, SignerError> {
        let answer = self.ask(&wire::list_request())?;
        let keys = wire::read_list(&answer).map_err(SignerError::agent)?;
        let own = |(blob, comment): (Vec<u8>, String)| {
            let public = wire::read_key(&blob)?;
            Some(AgentKey { agent: self.clone(), public, blob, comment })
        };
        Ok(keys.into_iter().filter_map(own).collect())
    }

    /// The key with that id.
    ///
    /// # Errors
    /// When the agent cannot be asked, or does not have it.
    pub fn key(&self, id: &str) -> Result<AgentKey, SignerError> {
        let found = self.keys()?.into_iter().find(|k| k.public.id() == id);
        found.ok_or_else(|| {
            SignerError::agent(format!("it does not hold key `{id}`; add it with `ssh-add`"))
        })
    }

    fn ask(&self, request: &[u8]) -> Result<Vec<u8>, SignerError> {
        let failed = |e: std::io::Error| {
            let at = self.socket.display();
            SignerError::agent(format!("`{at}` cannot be asked: {e}; is ssh-agent running?"))
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.write_all(request).map_err(failed)?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(SignerError::agent(format!("its answer is beyond {MAX_ANSWER} bytes")));
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).map_err(failed)?;
        Ok(answer)
    }
}

impl AgentKey {
    /// What the agent calls it: by custom the file's name, or user and host.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Its fingerprint as `ssh-add -l` shows it: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }
}

impl Signer for AgentKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        let answer = self.agent.ask(&wire::sign_request(&self.blob, message))?;
        wire::read_signature(&answer, self.public.algorithm()).map_err(SignerError::agent)
    }
}
