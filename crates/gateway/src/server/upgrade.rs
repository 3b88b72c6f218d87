//! From HTTP/1.1 to HTTP/2 on a connection without TLS, when a client asks for it with `Upgrade: h2c`
//! (RFC 7540, section 3.2).
//!
//! RFC 9113 leaves this out, and libcurl has it: cargo asks so for every file that it wants, and takes
//! two connections when it is not heard, which makes 225 crates wait for each other. The server that
//! hyper gives knows only clients that begin with HTTP/2. So what the client sends after the change is
//! read through [`WithFirst`], which puts the request that came before the change in its place, as the
//! frame that it would have been: stream 1, closed by the client.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http::{Uri, header};
use hyper::body::Body;
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client sends first over HTTP/2 (RFC 9113, section 3.4); a SETTINGS frame follows.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's head.
const FRAME_HEAD: usize = 9;

/// The longest payload of a frame, before anybody said otherwise (`SETTINGS_MAX_FRAME_SIZE`).
const MAX_FRAME: usize = 16 << 10;

/// Fields that are about the connection, and `host`, which has another name in HTTP/2.
const NOT_CARRIED: [HeaderName; 5] =
    [header::CONNECTION, header::UPGRADE, header::HOST, header::TE, header::TRANSFER_ENCODING];

/// Where a connection finds that it is to go on with HTTP/2.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Change>>>);

/// A change that was agreed upon.
pub(super) struct Change {
    /// The connection, once the answer to the request is sent.
    pub(super) connection: OnUpgrade,
    /// The request, as the first frame of its stream.
    pub(super) first: Vec<u8>,
}

impl Slot {
    /// Takes the change, if one was agreed upon.
    pub(super) fn take(&self) -> Option<Change> {
        self.0.lock().take()
    }

    /// Agrees to the change if the request asks for it and has nothing that stands against it.
    pub(super) fn offer<B: Body>(&self, request: &mut Request<B>) -> Option<Response<()>> {
        if !asks(request) || !request.body().is_end_stream() {
            return None;
        }
        let first = first_frame(request.method(), request.uri(), request.headers())?;
        let connection = hyper::upgrade::on(request);
        *self.0.lock() = Some(Change { connection, first });
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        Some(response)
    }
}

/// Whether a request asks for HTTP/2, in the one form that is heard: it has no body and is meant for
/// this server.
fn asks<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let listed = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
    };
    request.version() == Version::HTTP_11
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && request.uri().authority().is_none()
        && listed(header::UPGRADE, "h2c")
        && listed(header::CONNECTION, "upgrade")
        && listed(header::CONNECTION, "http2-settings")
        && headers.get_all("http2-settings").iter().count() == 1
        && headers.get_all(header::HOST).iter().count() == 1
}

/// The request as a HEADERS frame; `None` when it does not fit into one.
fn first_frame(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Vec<u8>> {
    const HEADERS: u8 = 1;
    const END_STREAM_AND_HEADERS: u8 = 0x1 | 0x4;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut block = Vec::with_capacity(512);
    literal(&mut block, ":method", method.as_str().as_bytes());
    literal(&mut block, ":scheme", b"http");
    literal(&mut block, ":path", path.as_bytes());
    literal(&mut block, ":authority", headers.get(header::HOST)?.as_bytes());
    for (name, value) in headers {
        let about_it =
            matches!(name.as_str(), "http2-settings" | "keep-alive" | "proxy-connection");
        if !about_it && !NOT_CARRIED.contains(name) {
            literal(&mut block, name.as_str(), value.as_bytes());
        }
    }
    if block.len() > MAX_FRAME {
        return None;
    }
    let mut out = u32::try_from(block.len()).ok()?.to_be_bytes().get(1..)?.to_vec();
    out.extend([HEADERS, END_STREAM_AND_HEADERS]);
    out.extend(1u32.to_be_bytes());
    out.extend(block);
    Some(out)
}

/// A field that is in no table and comes into none (RFC 7541, section 6.2.2), so that the client's
/// own fields find the tables as the client thinks they are.
fn literal(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(0);
    for text in [name.as_bytes(), value] {
        length(out, text.len());
        out.extend(text);
    }
}

/// A length in a prefix of seven bits (RFC 7541, section 5.1).
fn length(out: &mut Vec<u8>, length: usize) {
    const FULL: usize = 127;
    if length < FULL {
        out.push(length as u8);
        return;
    }
    out.push(FULL as u8);
    let mut rest = length - FULL;
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// A connection on which a frame stands after the client's preface and settings that the client did
/// not send.
pub(super) struct WithFirst<T> {
    inner: T,
    state: State,
}

enum State {
    /// What came so far of the preface and the settings, and what is to follow them.
    Begins { came: Vec<u8>, first: Vec<u8> },
    /// Both together, and how much of it was given out.
    Given { bytes: Vec<u8>, at: usize },
    /// Nothing stands between any more.
    Through,
}

impl<T> WithFirst<T> {
    pub(super) fn new(inner: T, first: Vec<u8>) -> Self {
        Self { inner, state: State::Begins { came: Vec::with_capacity(128), first } }
    }
}

/// How long the preface and the frame after it are, as far as can be told; 0 for what is neither.
fn beginning(came: &[u8]) -> usize {
    const SETTINGS: u8 = 4;
    let Some(head) = came.get(PREFACE.len()..PREFACE.len() + FRAME_HEAD) else {
        return PREFACE.len() + FRAME_HEAD;
    };
    let [a, b, c, kind, ..] = *head else { return 0 };
    let payload = u32::from_be_bytes([0, a, b, c]) as usize;
    if kind != SETTINGS || payload > MAX_FRAME || !came.starts_with(PREFACE) {
        return 0;
    }
    PREFACE.len() + FRAME_HEAD + payload
}

impl<T: AsyncRead + Unpin> AsyncRead for WithFirst<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Through => return Pin::new(&mut this.inner).poll_read(cx, out),
                State::Given { bytes, at } => {
                    let rest = bytes.get(*at..).unwrap_or_default();
                    if rest.is_empty() {
                        this.state = State::Through;
                        continue;
                    }
                    let now = rest.get(..out.remaining().min(rest.len())).unwrap_or_default();
                    out.put_slice(now);
                    *at += now.len();
                    return Poll::Ready(Ok(()));
                }
                State::Begins { came, first } => {
                    let end = beginning(came);
                    let mut bytes = std::mem::take(came);
                    if end == 0 {
                        // No HTTP/2: the server sees what came, and says so.
                        this.state = State::Given { bytes, at: 0 };
                        continue;
                    }
                    let missing = end - bytes.len();
                    if missing == 0 {
                        bytes.append(first);
                        this.state = State::Given { bytes, at: 0 };
                        continue;
                    }
                    // Not a byte more, so that the frame comes right behind.
                    let mut part = [0; 1 << 10];
                    let take = missing.min(part.len());
                    let mut part = ReadBuf::new(part.get_mut(..take).unwrap_or_default());
                    let polled = Pin::new(&mut this.inner).poll_read(cx, &mut part);
                    let closed = polled.is_ready() && part.filled().is_empty();
                    bytes.extend(part.filled());
                    if closed {
                        this.state = State::Given { bytes, at: 0 };
                    } else {
                        *came = bytes;
                    }
                    ready!(polled)?;
                }
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WithFirst<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn request(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static("/healthz?a=b");
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("gate.example"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        let connection = HeaderValue::from_static("Upgrade, HTTP2-Settings");
        headers.insert(header::CONNECTION, connection);
        headers.insert("http2-settings", HeaderValue::from_static("AAMAAABk"));
        change(&mut request);
        request
    }

    #[test]
    fn only_a_whole_request_for_this_server_is_heard() {
        assert!(asks(&request(|_| ())));
        let header = |name: &'static str, value: &'static str| {
            move |r: &mut Request<()>| {
                r.headers_mut().insert(name, HeaderValue::from_static(value));
            }
        };
        assert!(!asks(&request(header("upgrade", "websocket"))));
        assert!(!asks(&request(header("connection", "upgrade"))));
        assert!(!asks(&request(|r| *r.method_mut() = Method::POST)));
        assert!(!asks(&request(|r| *r.version_mut() = Version::HTTP_10)));
        assert!(!asks(&request(|r| *r.uri_mut() = Uri::from_static("http://debian.example/a"))));
        assert!(!asks(&request(|r| {
            r.headers_mut().append("http2-settings", HeaderValue::from_static("AAMAAABk"));
        })));
        assert!(!asks(&request(|r| {
            r.headers_mut().remove(header::HOST);
        })));
    }

    #[test]
    fn the_first_frame_holds_the_request_and_nothing_of_the_connection() {
        let r = request(|r| {
            r.headers_mut().insert("x-long", HeaderValue::from_str(&"y".repeat(300)).unwrap());
        });
        let frame = first_frame(r.method(), r.uri(), r.headers()).unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        assert_eq!((frame.len(), &frame[3..9]), (9 + length, [1, 5, 0, 0, 0, 1].as_slice()));
        let holds = |part: &[u8]| frame.windows(part.len()).any(|w| w == part);
        assert!(holds(b"\0\x05:path\x0c/healthz?a=b"));
        assert!(holds(b"\0\x0a:authority\x0cgate.example"));
        // 300 is 127 and 173: 45 with a bit for more, then 1 (RFC 7541, section 5.1).
        assert!(holds(b"\0\x06x-long\x7f\xad\x01yyy"));
        for gone in ["upgrade", "http2-settings", "connection", "host"] {
            assert!(!holds(&[&[0, gone.len() as u8], gone.as_bytes()].concat()), "{gone}");
        }
        let long = request(|r| {
            r.headers_mut().insert("x", HeaderValue::from_str(&"y".repeat(MAX_FRAME)).unwrap());
        });
        assert!(first_frame(long.method(), long.uri(), long.headers()).is_none());
    }

    /// What the server reads when a client sends these pieces.
    async fn read(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(64);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|p| p.to_vec()).collect();
        tokio::spawn(async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut out = Vec::new();
        WithFirst::new(server, b"FIRST".to_vec()).read_to_end(&mut out).await.unwrap();
        out
    }

    #[tokio::test]
    async fn the_frame_stands_behind_the_settings() {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        let whole = [PREFACE, &settings, b"next"].concat();
        let expected = [PREFACE, &settings, b"FIRST", b"next"].concat();
        assert_eq!(read(&[&whole]).await, expected);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&bytes).await, expected);
    }

    #[tokio::test]
    async fn what_is_no_http2_passes_as_it_is() {
        for other in [
            b"GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n".to_vec(),
            [PREFACE, &[0, 0, 1, 6, 0, 0, 0, 0, 0, 7]].concat(),
            [PREFACE, &[0xff, 0, 1, 4, 0, 0, 0, 0, 0, 7]].concat(),
            PREFACE[..10].to_vec(),
            Vec::new(),
        ] {
            assert_eq!(read(&[&other]).await, other);
        }
    }
}
