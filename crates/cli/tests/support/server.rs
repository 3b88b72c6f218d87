//! An HTTP/1.1 upstream on the loopback interface that serves what a test gives it, misbehaves on
//! demand, and remembers who asked for what.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query, as the client wrote them.
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Bytes of an answer.
#[derive(Clone)]
pub enum Body {
    Bytes(Arc<[u8]>),
    /// Head, `zeros` zero bytes, tail: large files that nobody holds in memory.
    Padded {
        head: Arc<[u8]>,
        zeros: u64,
        tail: Arc<[u8]>,
    },
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(b) => b.len() as u64,
            Self::Padded { head, zeros, tail } => (head.len() + tail.len()) as u64 + zeros,
        }
    }

    /// Writes the first `limit` bytes.
    fn write(&self, stream: &mut TcpStream, limit: u64) -> std::io::Result<()> {
        let mut left = limit;
        let mut part = |stream: &mut TcpStream, bytes: &[u8]| {
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            left -= n as u64;
            stream.write_all(&bytes[..n])
        };
        match self {
            Self::Bytes(bytes) => part(stream, bytes),
            Self::Padded { head, zeros, tail } => {
                part(stream, head)?;
                let block = vec![0u8; 1 << 20];
                let mut zeros = *zeros;
                while zeros > 0 {
                    let n = zeros.min(block.len() as u64);
                    part(stream, &block[..usize::try_from(n).unwrap()])?;
                    zeros -= n;
                }
                part(stream, tail)
            }
        }
    }
}

/// How an answer goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection ends after that many bytes of the body, whatever was announced.
    CloseAfter(u64),
    /// Nothing more comes after that many bytes of the body; the connection stays open.
    StallAfter(u64),
    /// Not even a status line comes.
    StallAtOnce,
    /// The connection ends without a byte.
    CloseAtOnce,
    /// `Content-Length` says that many bytes, all the same the whole body is sent.
    Announce(u64),
    /// No length is announced; the body ends with the connection, after that many bytes.
    Unannounced(u64),
    /// The body comes in chunks, and the connection ends after that many bytes without a last chunk.
    ChunkedUntil(u64),
}

/// An answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    pub fault: Fault,
    /// Waits before answering.
    pub delay: Duration,
}

impl Reply {
    /// Status 200 with these bytes.
    pub fn ok(content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), content_type.into())],
            body: Body::Bytes(bytes.into().into()),
            fault: Fault::None,
            delay: Duration::ZERO,
        }
    }

    /// Another status with a short text.
    pub fn error(status: u16) -> Self {
        Self { status, ..Self::ok("text/plain", format!("status {status}\n")) }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::error(302).header("location", to)
    }

    /// A file.
    pub fn file(bytes: impl Into<Vec<u8>>) -> Self {
        Self::ok("application/octet-stream", bytes)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, Handler>>,
    seen: Mutex<Vec<Seen>>,
    /// The `Authorization` that every request must carry, if any.
    authorization: Mutex<Option<String>>,
    stopped: AtomicBool,
}

/// A running upstream; it ends when dropped.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Listens on a port that the system chooses.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let inside = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if inside.stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = inside.clone();
                std::thread::spawn(move || {
                    // A client that goes away in the middle is no fault of the server.
                    let _ = serve(stream, &shared);
                });
            }
        });
        Self { address, shared }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Serves an answer at a path (without query), in place of what was there.
    pub fn put(&self, path: &str, reply: Reply) {
        self.put_fn(path, move |_| reply.clone());
    }

    /// Serves what a function says.
    pub fn put_fn(&self, path: &str, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.shared.routes.lock().unwrap().insert(path.to_owned(), Arc::new(handler));
    }

    /// Lets what is served at a path go wrong from now on.
    pub fn break_with(&self, path: &str, change: impl Fn(Reply) -> Reply + Send + Sync + 'static) {
        let mut routes = self.shared.routes.lock().unwrap();
        let good =
            routes.get(path).cloned().unwrap_or_else(|| panic!("nothing is served at {path}"));
        routes.insert(path.to_owned(), Arc::new(move |seen| change(good(seen))));
    }

    /// From now on answers only who carries this login (RFC 7617).
    pub fn require_login(&self, user_and_password: &str) {
        use base64::Engine as _;
        let token = base64::engine::general_purpose::STANDARD.encode(user_and_password);
        self.require_authorization(&format!("Basic {token}"));
    }

    /// From now on answers only who carries this `Authorization`.
    pub fn require_authorization(&self, value: &str) {
        *self.shared.authorization.lock().unwrap() = Some(value.to_owned());
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often a path was asked for, by GET.
    pub fn count(&self, path: &str) -> usize {
        let own = |s: &&Seen| s.method == "GET" && s.path.split('?').next() == Some(path);
        self.shared.seen.lock().unwrap().iter().filter(own).count()
    }

    /// Waits until a path was asked for.
    pub fn wait_for(&self, path: &str, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if self.count(path) > 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(seen) = read_request(&mut reader)? {
        shared.seen.lock().unwrap().push(seen.clone());
        let reply = answer(&seen, shared);
        if !send(&mut stream, &seen, &reply, shared)? {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) =
        (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let seen = Seen { method, path, headers };
    let length: u64 = seen.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    Ok(Some(seen))
}

fn answer(seen: &Seen, shared: &Shared) -> Reply {
    let wanted = shared.authorization.lock().unwrap().clone();
    if wanted.is_some() && seen.header("authorization") != wanted.as_deref() {
        return Reply::error(401).header("www-authenticate", "Basic realm=\"test\"");
    }
    let path = seen.path.split('?').next().unwrap_or("");
    let handler = shared.routes.lock().unwrap().get(path).cloned();
    handler.map_or_else(|| Reply::error(404), |h| h(seen))
}

/// Sends an answer; false when the connection cannot be used again.
fn send(
    stream: &mut TcpStream,
    seen: &Seen,
    reply: &Reply,
    shared: &Shared,
) -> std::io::Result<bool> {
    std::thread::sleep(reply.delay);
    let length = reply.body.len();
    let (announced, sent) = match reply.fault {
        Fault::CloseAtOnce => return Ok(false),
        Fault::StallAtOnce => {
            stall(shared);
            return Ok(false);
        }
        Fault::None => (Some(length), length),
        Fault::CloseAfter(n) | Fault::StallAfter(n) => (Some(length), n),
        Fault::Announce(n) => (Some(n), length),
        Fault::Unannounced(n) | Fault::ChunkedUntil(n) => (None, n),
    };
    let chunked = matches!(reply.fault, Fault::ChunkedUntil(_));
    let mut head = format!("HTTP/1.1 {} Said\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(n) = announced {
        head.push_str(&format!("content-length: {n}\r\n"));
    }
    if chunked {
        head.push_str("transfer-encoding: chunked\r\n");
    }
    let whole = reply.fault == Fault::None;
    if !whole {
        head.push_str("connection: close\r\n");
    }
    head.push_str("\r\n");
    if chunked {
        head.push_str(&format!("{:x}\r\n", length));
    }
    stream.write_all(head.as_bytes())?;
    if seen.method != "HEAD" {
        reply.body.write(stream, sent)?;
    }
    stream.flush()?;
    if matches!(reply.fault, Fault::StallAfter(_)) {
        stall(shared);
    }
    Ok(whole)
}

/// Longer than any patience that a test configures, shorter than a test's own.
fn stall(shared: &Shared) {
    let end = Instant::now() + Duration::from_secs(90);
    while Instant::now() < end && !shared.stopped.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
}
