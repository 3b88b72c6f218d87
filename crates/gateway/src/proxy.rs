//! The listening side: a forward proxy that terminates what it can recognise and closes the rest.

use crate::authority::Authority;
use crate::body::Body;
use crate::respond;
use crate::secret::{PROXY_USER, Secret};
use countersign_engine::{ClientRequest, Engine};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A running gateway on a loopback port that the system chose.
pub struct Gateway {
    address: SocketAddr,
    secret: Secret,
    authority: Arc<Authority>,
    task: tokio::task::JoinHandle<()>,
}

/// Why the gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The loopback interface gave no port, or no randomness was to be had.
    #[error("cannot listen on the loopback interface: {0}")]
    Listen(#[from] std::io::Error),
    /// The run's certificate authority could not be made.
    #[error(transparent)]
    Authority(#[from] crate::authority::AuthorityError),
}

struct Shared {
    engine: Engine,
    secret: Secret,
    authority: Arc<Authority>,
}

/// Largest request body that is read: clients only send small queries (audit requests).
const MAX_REQUEST_BODY: usize = 8 << 20;

impl Gateway {
    /// Starts listening; requests are answered until [`Gateway::stop`].
    ///
    /// # Errors
    /// When no port or no certificate can be had.
    pub async fn start(engine: Engine) -> Result<Self, GatewayError> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let secret = Secret::new()?;
        let authority = Arc::new(Authority::new()?);
        let shared =
            Arc::new(Shared { engine, secret: secret.clone(), authority: authority.clone() });
        let task = tokio::spawn(accept(listener, shared));
        Ok(Self { address, secret, authority, task })
    }

    /// The address that the client is given as its proxy, with the secret of this run in it.
    #[must_use]
    pub fn proxy_url(&self) -> String {
        format!("http://{PROXY_USER}:{}@{}", self.secret.expose(), self.address)
    }

    /// The address without the secret, for people.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that the client is to trust for this run, in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// Stops accepting; the port is free afterwards.
    pub fn stop(self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: give the open connections time to end.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        // Without it every small answer waits for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve_connection(stream, shared.clone()));
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(outer(request, shared).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "client connection ended");
    }
}

/// A request to the proxy itself: `CONNECT`, or an absolute address over plain HTTP.
async fn outer(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Body> {
    if !shared.secret.is_in(request.headers().get(header::PROXY_AUTHORIZATION)) {
        return respond::proxy_authentication_required();
    }
    if request.method() == Method::CONNECT {
        return connect(request, shared);
    }
    match Url::parse(&request.uri().to_string()) {
        Ok(url) if url.has_host() => inner(request, url, &shared).await,
        _ => respond::plain(
            StatusCode::BAD_REQUEST,
            "this is countersign's gate for one run; it answers proxy requests only\n",
        ),
    }
}

/// Opens a tunnel that ends here: the client's TLS is terminated with this run's certificate, and
/// what it asks inside is answered like any other request. Nothing is tunnelled through unseen.
fn connect(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Body> {
    let Some(authority) = request.uri().authority().cloned() else {
        return respond::plain(StatusCode::BAD_REQUEST, "CONNECT names no host\n");
    };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let tls = match shared.authority.server_config(&host) {
        Ok(config) => config,
        Err(error) => return respond::plain(StatusCode::BAD_REQUEST, &format!("{error}\n")),
    };
    let origin = match authority.port_u16() {
        None | Some(443) => format!("https://{}", authority.host()),
        Some(port) => format!("https://{}:{port}", authority.host()),
    };
    let plain = format!("http://{authority}");
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut stream = tokio::io::BufReader::new(TokioIo::new(upgraded));
        // Some clients open a tunnel for plain HTTP as well (yarn): what it asks is answered like a
        // request to the proxy for that address. A TLS record begins with its kind, 22 for a
        // handshake (RFC 8446, section 5.1); a request begins with its method.
        if stream.fill_buf().await.is_ok_and(|b| b.first().is_some_and(u8::is_ascii_uppercase)) {
            return serve_tunnel(stream, plain, shared).await;
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(tls);
        match acceptor.accept(stream).await {
            Ok(stream) => serve_tunnel(stream, origin, shared).await,
            Err(error) => {
                // A client that does not trust this run's certificate ends here: nothing passed.
                shared.engine.note_closed_door(&origin, &format!("no TLS with the gate: {error}"));
            }
        }
    });
    Response::new(Body::empty())
}

/// Answers the requests inside a tunnel to `origin`.
async fn serve_tunnel(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    origin: String,
    shared: Arc<Shared>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (shared, origin) = (shared.clone(), origin.clone());
        async move { Ok::<_, Infallible>(within(request, &origin, &shared).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().preserve_header_case(true);
    builder.http2().max_concurrent_streams(256);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "client tunnel ended");
    }
}

/// A request inside a tunnel. The tunnel's host is the one that counts: another host in the
/// request's own address or `Host` header is a request that means two things, and is refused.
async fn within(request: Request<Incoming>, origin: &str, shared: &Shared) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let Ok(url) = Url::parse(&format!("{origin}{path}")) else {
        return respond::plain(StatusCode::BAD_REQUEST, "the request's path is malformed\n");
    };
    let named = request
        .uri()
        .authority()
        .map(|a| a.as_str().to_owned())
        .or_else(|| request.headers().get(header::HOST)?.to_str().ok().map(str::to_owned));
    if let Some(named) = named {
        let same = Url::parse(&format!("{}://{named}/", url.scheme())).is_ok_and(|n| {
            n.host_str() == url.host_str()
                && n.port_or_known_default() == url.port_or_known_default()
        });
        if !same {
            return respond::plain(
                StatusCode::MISDIRECTED_REQUEST,
                "the request names another host than its tunnel\n",
            );
        }
    }
    inner(request, url, shared).await
}

async fn inner(request: Request<Incoming>, url: Url, shared: &Shared) -> Response<Body> {
    use http_body_util::{BodyExt as _, Limited};
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, MAX_REQUEST_BODY).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => return respond::plain(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n"),
    };
    let asked = ClientRequest {
        method: parts.method.clone(),
        url,
        headers: without_proxy_headers(parts.headers),
        body,
    };
    let headers = asked.headers.clone();
    let wants = respond::Wants::of(&headers, parts.method == Method::HEAD);
    let answer = shared.engine.answer(asked).await;
    respond::render(answer, &wants).await
}

fn without_proxy_headers(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::PROXY_AUTHORIZATION);
    headers.remove("proxy-connection");
    headers
}
