//! Listening, and the life of one connection.

use super::Shared;
use super::ahead::Ahead;
use super::handle::handle;
use super::options::Limits;
use super::upgrade::{Change, Slot, WithFirst};
use super::wire::{Finding, Pulse, Socket, Wire};
use crate::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::TlsAcceptor;

/// What a request may know of its connection.
pub(super) struct Conn {
    pub(super) peer: SocketAddr,
    pub(super) tls: bool,
    pub(super) pulse: Arc<Pulse>,
    pub(super) ahead: Arc<Ahead>,
}

/// How far the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It serves.
    Running,
    /// It takes no connections, and ends those that it has after the request that they are at.
    Ending,
    /// Whatever is still open is given up.
    Over,
}

/// Connections that wait to be taken, at most.
const BACKLOG: u32 = 4096;

/// Opens a listening socket.
///
/// # Errors
/// When the address cannot be bound.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that is started again need not wait for the old connections' addresses.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises this process's limit of open descriptors as far as it may: the usual soft limit of 1024 is
/// below what a team's clients need, and is only there for programs that call `select`.
///
/// Gives the limit that holds from now on; `None` where there is none.
pub(super) fn raise_descriptors() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
    getrlimit(Resource::Nofile).current
}

/// Descriptors for everything that is no client's: the store, the log, idle upstreams.
const OWN_DESCRIPTORS: u64 = 64;

/// How many of `wanted` connections a limit of open descriptors has room for, each with an artifact's
/// file or an upstream beside it. With more, requests would fail in the middle for want of a file;
/// so the connections wait instead.
pub(super) fn connections_within(descriptors: Option<u64>, wanted: usize) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let room = (descriptors.saturating_sub(OWN_DESCRIPTORS) / 2).max(8);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            descriptors,
            connections = room,
            wanted,
            "the limit of open descriptors has room for fewer connections than are configured: more \
             wait; raise it (LimitNOFILE in a systemd unit, `ulimit -n`)"
        );
    }
    room.min(wanted)
}

/// The HTTP settings of all connections.
pub(super) fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let headers = limits.header_bytes.max(8 << 10);
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Pulse` looks after idle and slow clients, and tells one from the other.
        .header_read_timeout(None)
        .max_headers(128)
        .max_buf_size(headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX))
        // Streams that are opened and reset at once cost more here than there (CVE-2023-44487).
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(128)
        .max_send_buf_size(256 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Takes connections until the server ends.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        // A connection is only taken when there is room: the rest waits in the system's queue.
        let room = tokio::select! {
            room = shared.room.clone().acquire_owned() => room,
            () = ending(&mut phase) => return,
        };
        let Ok(room) = room else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending(&mut phase) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                let (shared, phase) = (shared.clone(), phase.clone());
                tokio::spawn(connection(stream, peer, shared, phase, room));
            }
            Err(error) => {
                shared.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
                if pause == FIRST_PAUSE {
                    tracing::warn!(%error, "no connection can be taken at present");
                }
                drop(room);
                // Out of descriptors, most likely, and the listener stays readable: without a
                // pause this would spin and take the time that open connections need to end.
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = ending(&mut phase) => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Returns once the server is to end.
async fn ending(phase: &mut watch::Receiver<Phase>) {
    // A server that was dropped ends, too.
    let _ = phase.wait_for(|p| *p >= Phase::Ending).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
    _room: OwnedSemaphorePermit,
) {
    // Without it every small answer waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let _open = Open::new(&shared);
    let (socket, tls) = match &shared.tls {
        None => (Socket::Plain(stream), false),
        Some(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(shared.limits.read_timeout, acceptor.accept(stream)) => shaken,
                () = ending(&mut phase) => return,
            };
            match shaken {
                Ok(Ok(stream)) => (Socket::Tls(Box::new(stream)), true),
                Ok(Err(error)) => {
                    tracing::debug!(%error, %peer, "no TLS with a client");
                    return;
                }
                Err(_) => {
                    shared.counters.too_slow.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    };
    let pulse = Pulse::new();
    let conn = Arc::new(Conn { peer, tls, pulse, ahead: Arc::new(Ahead::new()) });
    serve(socket, &shared, &conn, phase).await;
}

/// Serves one connection to its end, by HTTP/2 from where the client asks for it.
async fn serve(
    socket: Socket,
    shared: &Arc<Shared>,
    conn: &Arc<Conn>,
    phase: watch::Receiver<Phase>,
) {
    let slot = Slot::default();
    let io = TokioIo::new(Wire::new(socket, conn.pulse.clone(), conn.ahead.clone()));
    if !attend(io, shared, conn, &slot, phase.clone()).await {
        return;
    }
    let Some(Change { connection, first }) = slot.take() else { return };
    if let Ok(connection) = connection.await {
        let io = TokioIo::new(WithFirst::new(TokioIo::new(connection), first));
        // In a box, since few change, and each connection would carry the room for it.
        Box::pin(attend(io, shared, conn, &slot, phase)).await;
    }
}

/// Serves until the connection ends or changes to HTTP/2, looking after it in between. Whether it
/// ended by itself.
async fn attend<I>(
    io: I,
    shared: &Arc<Shared>,
    conn: &Arc<Conn>,
    slot: &Slot,
    mut phase: watch::Receiver<Phase>,
) -> bool
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(|mut request| {
        let (shared, conn, slot) = (shared.clone(), conn.clone(), slot.clone());
        async move {
            // A proxy would hand on whatever comes after the change, without a look at it.
            let proxies = shared.origins.trusted();
            if !conn.tls
                && !proxies.iter().any(|n| n.contains(conn.peer.ip()))
                && let Some(changing) = slot.offer(&mut request)
            {
                return Ok(changing.map(|()| Body::empty()));
            }
            Ok::<_, Infallible>(handle(shared, conn, request).await)
        }
    });
    let mut served = pin!(shared.http.serve_connection_with_upgrades(io, service));
    let limits = &shared.limits;
    let mut look = conn.pulse.first_look();
    let mut tick = tokio::time::interval(look_every(limits));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked_to_end = 0u32;
    loop {
        tokio::select! {
            biased;
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %conn.peer, "a connection ended early");
                    return false;
                }
                return true;
            }
            () = ending(&mut phase), if asked_to_end == 0 => {
                served.as_mut().graceful_shutdown();
                asked_to_end = 1;
            }
            _ = tick.tick() => {
                if *phase.borrow() == Phase::Over {
                    return false;
                }
                match conn.pulse.look(&mut look, limits, Instant::now()) {
                    Finding::Well if asked_to_end == 0 => {}
                    // Asked to end, it lies quiet all the same: half a request, or nothing at all.
                    Finding::Well | Finding::Idle if asked_to_end > 1 && conn.pulse.is_quiet() => return false,
                    Finding::Well => asked_to_end += 1,
                    Finding::Idle => {
                        served.as_mut().graceful_shutdown();
                        asked_to_end += 1;
                    }
                    Finding::SlowToAsk | Finding::SlowToTake => {
                        shared.counters.too_slow.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(peer = %conn.peer, "a client was too slow");
                        return false;
                    }
                }
            }
        }
    }
}

fn look_every(limits: &Limits) -> Duration {
    let shortest = limits.read_timeout.min(limits.idle_timeout).min(limits.write_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// Counts an open connection.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answers, Ask, FeedAge, ServerOptions};
    use super::*;
    use countersign_engine::Upstream;
    use countersign_engine::metrics::Metrics;
    use countersign_engine::policy::Reader;
    use countersign_engine::reading::{LedgerAnswer, LedgerRoute};
    use countersign_engine::serving::{Asker, Served};
    use futures_util::future::BoxFuture;

    /// Is never asked.
    struct Nobody;

    impl Answers for Nobody {
        fn serve<'a>(&'a self, _: Ask<'a>) -> BoxFuture<'a, Served> {
            unreachable!()
        }
        fn generation(&self) -> u64 {
            0
        }
        fn upstreams(&self) -> Vec<Arc<Upstream>> {
            Vec::new()
        }
        fn metrics(&self) -> &Metrics {
            unreachable!()
        }
        fn feeds(&self) -> Vec<FeedAge> {
            Vec::new()
        }
        fn read_ledger<'a>(
            &'a self,
            _: &'a LedgerRoute,
            _: Reader,
            _: &'a Asker,
        ) -> BoxFuture<'a, LedgerAnswer> {
            unreachable!()
        }
        fn ledger_size(&self) -> BoxFuture<'_, Result<u64, String>> {
            unreachable!()
        }
    }

    #[test]
    fn connections_leave_room_for_what_they_ask_for() {
        for (descriptors, wanted, want) in [
            (None, 8192, 8192),
            (Some(524_288), 8192, 8192),
            (Some(4096), 8192, 2016),
            (Some(1024), 8192, 480),
            (Some(1024), 100, 100),
            (Some(40), 8192, 8),
        ] {
            assert_eq!(connections_within(descriptors, wanted), want, "{descriptors:?}");
        }
    }

    /// Thousands of connections lie idle at a time: each costs this state, beside hyper's two
    /// buffers.
    #[tokio::test]
    async fn the_state_of_a_connection_is_small() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let options = ServerOptions::default();
        let shared = Shared::new(Arc::new(Nobody), options, &[address], None, 1).unwrap();
        let shared = Arc::new(shared);
        let room = shared.room.clone().acquire_owned().await.unwrap();
        let (_end, phase) = watch::channel(Phase::Running);
        let task = connection(stream, address, shared, phase, room);
        let size = std::mem::size_of_val(&task);
        assert!(size < 4096, "{size} bytes");
    }
}
