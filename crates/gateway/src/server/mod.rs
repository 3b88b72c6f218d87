//! The long-lived server behind `countersign serve`: registries of its own, for a team.
//!
//! A request becomes a [`Route`](countersign_engine::serving::Route) by its path alone; the engine
//! answers it, and the answer is kept in memory for as long as the engine says that it holds. What
//! is in that memory decides nothing: an artifact's bytes leave through the same one function as
//! in a run, which takes an [`Admitted`](countersign_engine::Admitted).

mod ahead;
mod answers;
mod connection;
mod counters;
mod documents;
mod exposition;
mod handle;
mod hot;
mod negotiate;
mod networks;
mod options;
mod origin;
mod registry;
mod routes;
mod segments;
mod story;
mod tls;
mod tokens;
mod upgrade;
mod wire;

pub use answers::{Answers, Ask, FeedAge};
pub use networks::{Network, NetworkError};
pub use options::{FetchHook, Limits, Memory, ServerOptions, TlsFiles};
pub use tls::TlsError;
pub use tokens::Token;

use crate::memory::ArtifactMemory;
use connection::Phase;
use counters::Counters;
use countersign_core::Ecosystem;
use countersign_engine::Upstream;
use hot::Hot;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use origin::Origins;
use parking_lot::RwLock;
use registry::CacheControl;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use story::RequestIds;
use tls::Reloading;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

/// What all connections share.
pub(crate) struct Shared {
    answers: Arc<dyn Answers>,
    limits: Limits,
    http: auto::Builder<TokioExecutor>,
    tls: Option<Arc<ServerConfig>>,
    origins: Origins,
    tokens: RwLock<Arc<[Token]>>,
    kinds: HashMap<String, Ecosystem>,
    debian: Vec<Arc<Upstream>>,
    hot: Arc<Hot>,
    artifacts: ArtifactMemory,
    /// For answers to everybody, and for those that only a token opens.
    cache_control: [CacheControl; 2],
    counters: Counters,
    ids: RequestIds,
    on_fetch: Option<FetchHook>,
    stopping: AtomicBool,
    room: Arc<Semaphore>,
    started: Instant,
}

impl Shared {
    fn new(
        answers: Arc<dyn Answers>,
        options: ServerOptions,
        addresses: &[SocketAddr],
        tls: Option<Arc<ServerConfig>>,
        room: u32,
    ) -> Result<Self, ServerError> {
        let upstreams = answers.upstreams();
        let kinds = kinds(&upstreams)?;
        let debian = upstreams.iter().filter(|u| u.ecosystem == Ecosystem::Debian);
        let origins = Origins::new(
            options.public_url.as_ref(),
            &options.allowed_hosts,
            &options.trusted_proxies,
            addresses,
        );
        Ok(Self {
            answers,
            limits: options.limits,
            http: connection::builder(&options.limits),
            tls,
            origins,
            cache_control: [false, true].map(CacheControl::new),
            tokens: RwLock::new(options.tokens.into()),
            kinds,
            debian: debian.cloned().collect(),
            hot: Arc::new(Hot::new(&options.memory)),
            artifacts: ArtifactMemory::new(options.memory.artifacts, options.memory.artifact),
            counters: Counters::default(),
            ids: RequestIds::new().map_err(ServerError::Random)?,
            on_fetch: options.on_fetch,
            stopping: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(room as usize)),
            started: Instant::now(),
        })
    }

    /// Whether clients have to show a token.
    fn wants_login(&self) -> bool {
        !self.tokens.read().is_empty()
    }

    fn cache_control(&self) -> &CacheControl {
        let [open, private] = &self.cache_control;
        if self.wants_login() { private } else { open }
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No address was given.
    #[error("the server has no address to listen on; name one, such as `127.0.0.1:8080`")]
    NoAddress,
    /// An address could not be bound.
    #[error("cannot listen on `{address}`: {because}; choose another address or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        because: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The public address cannot be one.
    #[error("the public address `{0}` is not http or https with a host, or has a query")]
    PublicUrl(String),
    /// Two upstreams have one name.
    #[error("two upstreams are named `{0}`; give each its own name")]
    SameName(String),
    /// The system has no randomness to give.
    #[error("no random numbers can be had: {0}")]
    Random(io::Error),
}

/// Checks that a certificate and its key can be used together, without a server.
///
/// # Errors
/// When they cannot be read or do not belong together.
pub fn check_tls(files: &TlsFiles) -> Result<(), TlsError> {
    Reloading::open(files.clone()).map(drop)
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Requests that were given up because the time was over.
    pub requests_left: usize,
    /// Questions to the engine that nobody waits for any more and that had not ended.
    pub questions_left: usize,
}

impl Ended {
    /// Whether everything that was begun came to its end.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.requests_left == 0 && self.questions_left == 0
    }
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    phase: watch::Sender<Phase>,
    listening: Vec<JoinHandle<()>>,
    certificate: Option<Arc<Reloading>>,
    watching: Option<JoinHandle<()>>,
    drain: Duration,
    /// All of the room there is: connections and listeners.
    room: u32,
}

impl Server {
    /// Binds the addresses and answers from then on.
    ///
    /// # Errors
    /// When an address, the certificate or the configuration cannot be used.
    pub async fn start(
        answers: impl Answers,
        mut options: ServerOptions,
    ) -> Result<Self, ServerError> {
        if options.listen.is_empty() {
            return Err(ServerError::NoAddress);
        }
        check_public(options.public_url.as_ref())?;
        let descriptors = connection::raise_descriptors();
        let wanted = options.limits.connections;
        options.limits.connections = connection::connections_within(descriptors, wanted);
        let certificate = options.tls.clone().map(Reloading::open).transpose()?;
        let tls = certificate.as_ref().map(Reloading::server_config).transpose()?;
        let mut listeners = Vec::new();
        for address in &options.listen {
            let failed = |because| ServerError::Listen { address: *address, because };
            listeners.push(connection::listen(*address).map_err(failed)?);
        }
        let addresses: Vec<SocketAddr> =
            listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        // A listener holds the room of its next connection already; so each but one has its own.
        let room = u32::try_from(options.limits.connections.max(1) + listeners.len() - 1);
        let room = room.unwrap_or(u32::MAX >> 4).min(u32::MAX >> 4);
        let drain = options.drain;
        let shared = Shared::new(Arc::new(answers), options, &addresses, tls, room)?;
        let shared = Arc::new(shared);
        let (phase, seen) = watch::channel(Phase::Running);
        let listening = listeners
            .into_iter()
            .map(|l| tokio::spawn(connection::accept(l, shared.clone(), seen.clone())))
            .collect();
        let watching = certificate.clone().map(|c| tokio::spawn(c.watch()));
        Ok(Self { shared, addresses, phase, listening, certificate, watching, drain, room })
    }

    /// The addresses that are listened on, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Reads the certificate again, now. A server without one has nothing to read.
    ///
    /// # Errors
    /// When the new one cannot be used; the old one then stays.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        self.certificate.as_ref().map_or(Ok(()), |c| c.reload())
    }

    /// Puts other tokens in the place of the present ones. From the return on, those that are gone
    /// open nothing.
    pub fn replace_tokens(&self, tokens: Vec<Token>) {
        *self.shared.tokens.write() = tokens.into();
    }

    /// Ends the server: `/readyz` says 503 at once; when the drain time is over no connection is
    /// taken any more, and what is being answered is answered to its end, for as long as `grace`
    /// lasts in all. What the engine was asked is waited for as well, so that no decision is lost.
    pub async fn shutdown(mut self, grace: Duration) -> Ended {
        let end = tokio::time::Instant::now() + grace;
        self.shared.stopping.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.drain.min(grace)).await;
        self.phase.send_replace(Phase::Ending);
        for listener in self.listening.drain(..) {
            let _ = listener.await;
        }
        let all = self.shared.room.acquire_many(self.room);
        let quiet = tokio::time::timeout_at(end, all).await;
        while self.shared.hot.flying() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let counted = self.shared.counters.in_flight.load(Ordering::Relaxed);
        let requests_left = if quiet.is_ok() { 0 } else { counted };
        let ended = Ended { requests_left, questions_left: self.shared.hot.flying() };
        self.phase.send_replace(Phase::Over);
        ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

fn check_public(url: Option<&url::Url>) -> Result<(), ServerError> {
    let fits = url.is_none_or(|u| {
        matches!(u.scheme(), "http" | "https")
            && u.has_host()
            && u.query().is_none()
            && u.fragment().is_none()
            && u.username().is_empty()
            && u.password().is_none()
    });
    // A login in the address would stand in every document.
    let shown = |u: &url::Url| u.host_str().unwrap_or("").to_owned();
    if fits { Ok(()) } else { Err(ServerError::PublicUrl(url.map(shown).unwrap_or_default())) }
}

/// The ecosystem of each upstream that has a name. Without one it is known by its address, which is
/// no part of a path.
fn kinds(upstreams: &[Arc<Upstream>]) -> Result<HashMap<String, Ecosystem>, ServerError> {
    let mut out = HashMap::new();
    for u in upstreams.iter().filter(|u| !u.name.contains('/') && !u.is_this_machine()) {
        if out.insert(u.name.clone(), u.ecosystem).is_some() {
            return Err(ServerError::SameName(u.name.clone()));
        }
    }
    Ok(out)
}
