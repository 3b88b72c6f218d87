//! What a server is started with.

use super::networks::Network;
use super::tokens::Token;
use countersign_engine::Admitted;
use countersign_engine::serving::{Asker, Route};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Called after an artifact was handed to a client, whole or in part. It runs where answers are
/// sent and has to return at once.
pub type FetchHook = Arc<dyn Fn(&Admitted, &Route, &Asker) + Send + Sync>;

/// What a server is started with.
#[derive(Clone)]
pub struct ServerOptions {
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The address that clients know this server by, with a path where a proxy in front of it adds
    /// one. Without it, documents carry the host that the client asked.
    pub public_url: Option<Url>,
    /// Names (`gate.example`, `gate.example:8443`) that clients may ask this server by, beside the
    /// public address, the listening addresses, `localhost` and IP addresses of the listening port.
    pub allowed_hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed.
    pub trusted_proxies: Vec<Network>,
    /// The certificate, for HTTPS.
    pub tls: Option<TlsFiles>,
    /// Who may ask. With none, everybody may.
    pub tokens: Vec<Token>,
    /// Limits.
    pub limits: Limits,
    /// What is kept in memory.
    pub memory: Memory,
    /// How long a server that was told to stop still takes connections while `/readyz` says 503,
    /// so that a balancer can send new clients elsewhere.
    pub drain: Duration,
    /// Called for each artifact that was handed out.
    pub on_fetch: Option<FetchHook>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            public_url: None,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            tokens: Vec::new(),
            limits: Limits::default(),
            memory: Memory::default(),
            drain: Duration::ZERO,
            on_fetch: None,
        }
    }
}

/// A certificate and its key, as files in PEM that are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// How often the files are looked at.
    pub look_every: Duration,
}

/// What clients may take up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections; more wait until one ends.
    pub connections: usize,
    /// Requests that are answered at one time, over all connections; more get 503.
    pub requests: usize,
    /// Requests at one time on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request's line and headers. At least 8 KiB.
    pub header_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long a client may take for TLS, for a request's headers, and for a request's body.
    pub read_timeout: Duration,
    /// How long a connection may lie idle between requests.
    pub idle_timeout: Duration,
    /// In each such time a client has to take [`Limits::min_progress`] bytes of what waits for it.
    pub write_timeout: Duration,
    /// Bytes that a client has to take in [`Limits::write_timeout`]. A total time would cut off
    /// large artifacts on slow lines; this only cuts off who takes next to nothing.
    pub min_progress: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            requests: 8192,
            streams: 128,
            header_bytes: 32 << 10,
            body_bytes: 8 << 20,
            read_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            min_progress: 16 << 10,
        }
    }
}

/// What is kept in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Documents as they are sent.
    pub documents: u64,
    /// Their compressed forms.
    pub compressed: u64,
    /// Small artifacts.
    pub artifacts: u64,
    /// The largest artifact that counts as small.
    pub artifact: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { documents: 8 << 20, compressed: 2 << 20, artifacts: 8 << 20, artifact: 4 << 20 }
    }
}
