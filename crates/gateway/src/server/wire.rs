//! A connection, watched: who sends nothing, or takes nothing, is let go.
//!
//! HTTP's own timers do not see everything: a client that never says which version it speaks, one
//! that takes an answer a byte at a time, one that opens HTTP/2 streams and gives them no window.
//! So the bytes themselves are counted here, and [`Pulse::look`] says when it is enough.

use super::ahead::Ahead;
use super::options::Limits;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What is known of one connection.
pub(super) struct Pulse {
    opened: Instant,
    /// Requests that are being answered.
    handling: AtomicUsize,
    /// Answers whose bodies are being sent.
    sending: AtomicUsize,
    /// Bodies that wait for their own source.
    waiting: AtomicUsize,
    /// Milliseconds after opening: when the bytes began that are no whole request yet; 0 for none.
    began: AtomicU64,
    /// Milliseconds after opening: when the last request ended.
    ended: AtomicU64,
    /// Bytes that the client took.
    written: AtomicU64,
    /// Whether bytes wait for the client.
    blocked: AtomicBool,
    /// Whether a request came at all.
    asked: AtomicBool,
    /// Whether it is HTTP/2, where bytes between requests are no beginning of one.
    streams: AtomicBool,
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is well.
    Well,
    /// It has lain idle for long enough.
    Idle,
    /// A request or the first byte does not come.
    SlowToAsk,
    /// The client does not take what it asked for.
    SlowToTake,
}

/// What [`Pulse::look`] remembers between looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    stuck_since: Instant,
    written_then: u64,
}

impl Pulse {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            handling: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            streams: AtomicBool::new(false),
        })
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.opened).as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A request came whole.
    pub(super) fn request_came(&self, streams: bool) {
        self.handling.fetch_add(1, Ordering::Relaxed);
        self.began.store(0, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        if streams {
            self.streams.store(true, Ordering::Relaxed);
        }
    }

    /// Its answer is there; the body is sent from now on.
    pub(super) fn answer_began(&self) {
        self.sending.fetch_add(1, Ordering::Relaxed);
        self.handling.fetch_sub(1, Ordering::Relaxed);
    }

    /// The request was given up before there was an answer.
    pub(super) fn request_gone(&self) {
        self.handling.fetch_sub(1, Ordering::Relaxed);
        self.ended.store(self.millis(Instant::now()), Ordering::Relaxed);
    }

    /// The answer's body was handed over or given up.
    pub(super) fn answer_ended(&self, at: Instant) {
        self.sending.fetch_sub(1, Ordering::Relaxed);
        self.ended.store(self.millis(at), Ordering::Relaxed);
    }

    /// A body waits for its own source, or no longer does.
    pub(super) fn body_waits(&self, waits: bool) {
        if waits {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn came(&self) {
        // While a request is answered, what comes is its body or the next one, read ahead.
        if self.handling.load(Ordering::Relaxed) == 0 && self.began.load(Ordering::Relaxed) == 0 {
            self.began.store(self.millis(Instant::now()), Ordering::Relaxed);
        }
    }

    fn went(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.blocked.store(false, Ordering::Relaxed);
    }

    /// Whether nothing is being answered or sent.
    pub(super) fn is_quiet(&self) -> bool {
        self.handling.load(Ordering::Relaxed) == 0
            && self.sending.load(Ordering::Relaxed) == 0
            && !self.blocked.load(Ordering::Relaxed)
    }

    /// A first look.
    pub(super) fn first_look(&self) -> Look {
        Look { stuck_since: self.opened, written_then: 0 }
    }

    /// Says how the connection does. To be called several times within each of the limits.
    pub(super) fn look(&self, look: &mut Look, limits: &Limits, now: Instant) -> Finding {
        let load = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        let blocked = self.blocked.load(Ordering::Relaxed);
        let (handling, sending) = (load(&self.handling), load(&self.sending));
        // A body that nobody asks for more of waits for the client, unless it waits for its source.
        let untaken = sending > load(&self.waiting) && handling == 0;
        if !blocked && !untaken {
            *look = Look { stuck_since: now, written_then: written };
        } else if now.duration_since(look.stuck_since) >= limits.write_timeout {
            if written.saturating_sub(look.written_then) < limits.min_progress {
                return Finding::SlowToTake;
            }
            *look = Look { stuck_since: now, written_then: written };
        }
        if handling > 0 || sending > 0 || blocked {
            return Finding::Well;
        }
        let since = |millis: u64| {
            now.duration_since(self.opened).saturating_sub(Duration::from_millis(millis))
        };
        let asked = self.asked.load(Ordering::Relaxed);
        let began = self.began.load(Ordering::Relaxed);
        let in_request = began != 0 && !self.streams.load(Ordering::Relaxed);
        if (!asked && since(0) >= limits.read_timeout)
            || (in_request && since(began) >= limits.read_timeout)
        {
            return Finding::SlowToAsk;
        }
        if asked && since(self.ended.load(Ordering::Relaxed)) >= limits.idle_timeout {
            return Finding::Idle;
        }
        Finding::Well
    }
}

/// A socket with or without TLS.
pub(super) enum Socket {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket whose bytes are counted.
pub(super) struct Wire {
    socket: Socket,
    pulse: Arc<Pulse>,
    ahead: Arc<Ahead>,
}

impl Wire {
    pub(super) fn new(socket: Socket, pulse: Arc<Pulse>, ahead: Arc<Ahead>) -> Self {
        Self { socket, pulse, ahead }
    }

    fn note(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(Ok(n)) => self.pulse.went(*n),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.blocked.store(true, Ordering::Relaxed),
        }
    }
}

macro_rules! on_socket {
    ($self:expr, $method:ident ( $($arg:expr),* )) => {
        match &mut $self.socket {
            Socket::Plain(s) => Pin::new(s).$method($($arg),*),
            Socket::Tls(s) => Pin::new(s.as_mut()).$method($($arg),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = on_socket!(self, poll_read(cx, buf));
        if let Some(came) =
            buf.filled().get(before..).filter(|b| polled.is_ready() && !b.is_empty())
        {
            self.pulse.came();
            self.ahead.came(came);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = on_socket!(self, poll_write(cx, buf));
        self.note(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = on_socket!(self, poll_write_vectored(cx, bufs));
        self.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(s) => s.is_write_vectored(),
            Socket::Tls(s) => s.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = on_socket!(self, poll_flush(cx));
        if matches!(self.socket, Socket::Tls(_)) {
            // What TLS still holds waits for the client as well.
            self.pulse.blocked.store(polled.is_pending(), Ordering::Relaxed);
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(20),
            min_progress: 1000,
            ..Limits::default()
        }
    }

    fn at(pulse: &Pulse, seconds: u64) -> Instant {
        pulse.opened + Duration::from_secs(seconds)
    }

    #[test]
    fn who_never_asks_is_let_go() {
        let p = Pulse::new();
        let mut look = p.first_look();
        assert_eq!(p.look(&mut look, &limits(), at(&p, 9)), Finding::Well);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 10)), Finding::SlowToAsk);
    }

    #[test]
    fn half_a_request_has_less_time_than_an_idle_connection() {
        let p = Pulse::new();
        let mut look = p.first_look();
        p.came();
        p.request_came(false);
        p.answer_began();
        p.answer_ended(at(&p, 1));
        assert_eq!(p.look(&mut look, &limits(), at(&p, 60)), Finding::Well);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 61)), Finding::Idle);
        p.came();
        assert_eq!(p.look(&mut look, &limits(), at(&p, 11)), Finding::SlowToAsk);
        p.streams.store(true, Ordering::Relaxed);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 11)), Finding::Well);
    }

    #[test]
    fn an_answer_may_take_long_and_a_client_may_not() {
        let p = Pulse::new();
        let mut look = p.first_look();
        p.request_came(false);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 500)), Finding::Well);
        p.answer_began();
        p.body_waits(true);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 1000)), Finding::Well);
        p.body_waits(false);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 1019)), Finding::Well);
        p.went(1000);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 1021)), Finding::Well);
        p.went(999);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 1041)), Finding::SlowToTake);
    }

    #[test]
    fn bytes_that_wait_in_the_socket_count_though_the_body_is_handed_over() {
        let p = Pulse::new();
        let mut look = p.first_look();
        p.request_came(false);
        p.answer_began();
        p.answer_ended(at(&p, 0));
        assert_eq!(p.look(&mut look, &limits(), at(&p, 1)), Finding::Well);
        p.blocked.store(true, Ordering::Relaxed);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 20)), Finding::Well);
        assert_eq!(p.look(&mut look, &limits(), at(&p, 21)), Finding::SlowToTake);
    }
}
