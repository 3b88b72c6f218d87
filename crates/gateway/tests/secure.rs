//! HTTPS: which protocol is spoken, and certificates that change while the server runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests fail by panicking, and each uses a part of the shared support"
)]

mod support;

use countersign_gateway::server::{Limits, ServerError, ServerOptions, TlsFiles};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Double, project, start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate for `localhost` with its key, in PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn write(folder: &Path, pair: &(String, String)) {
    std::fs::write(folder.join("cert.pem"), &pair.0).unwrap();
    std::fs::write(folder.join("key.pem"), &pair.1).unwrap();
}

fn options(folder: &Path, look_every: Duration) -> ServerOptions {
    let tls =
        TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem"), look_every };
    let limits = Limits { read_timeout: Duration::from_millis(500), ..Limits::default() };
    ServerOptions { tls: Some(tls), limits, ..ServerOptions::default() }
}

/// Connects, trusting only this certificate.
async fn connect(
    address: SocketAddr,
    trusted: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn ask(stream: &mut TlsStream<TcpStream>, host: &str) -> String {
    let text =
        format!("GET /pypi/simple/flask/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

fn page() -> String {
    format!("<a href=\"{}/x\">x</a>", countersign_engine::serving::STAND_IN)
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_carry_https_and_the_newest_protocol_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let own = pair();
    write(folder.path(), &own);
    let double = Double::default();
    double.document(project("flask"), "text/html", page());
    let (_server, address) = start(&double, options(folder.path(), Duration::from_secs(60))).await;
    let host = format!("localhost:{}", address.port());
    let mut stream = connect(address, &own.0, &["http/1.1"]).await.unwrap();
    let text = ask(&mut stream, &host).await;
    assert!(text.contains(&format!("\"https://{host}/pypi/x\"")), "{text}");
    let stream = connect(address, &own.0, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut out = Vec::new();
    let _ = plain.read_to_end(&mut out).await;
    assert!(!out.starts_with(b"HTTP/"), "nothing is answered without TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &pair());
    let double = Double::default();
    let (_server, address) = start(&double, options(folder.path(), Duration::from_secs(60))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0x16, 0x03]).await.unwrap();
    let began = Instant::now();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_exchanged_while_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, third) = (pair(), pair(), pair());
    write(folder.path(), &first);
    let double = Double::default();
    double.document(project("flask"), "text/html", page());
    let (server, address) = start(&double, options(folder.path(), Duration::from_millis(50))).await;
    let mut old = connect(address, &first.0, &["http/1.1"]).await.unwrap();
    assert!(connect(address, &second.0, &[]).await.is_err());

    write(folder.path(), &second);
    let end = Instant::now() + Duration::from_secs(10);
    while connect(address, &second.0, &[]).await.is_err() {
        assert!(Instant::now() < end, "the files are not read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(connect(address, &first.0, &[]).await.is_err(), "the old one is gone");
    let host = format!("localhost:{}", address.port());
    assert!(ask(&mut old, &host).await.starts_with("HTTP/1.1 200"), "what was open goes on");

    // A pair that does not fit leaves the one in use, by itself and when asked for.
    std::fs::write(folder.path().join("cert.pem"), &third.0).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(connect(address, &second.0, &[]).await.is_ok());
    let error = server.reload_tls().unwrap_err().to_string();
    assert!(error.contains("cert.pem") && error.contains("belong together"), "{error}");
    assert!(connect(address, &second.0, &[]).await.is_ok());
    std::fs::write(folder.path().join("key.pem"), &third.1).unwrap();
    server.reload_tls().unwrap();
    assert!(connect(address, &third.0, &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let double = Double::default;
    let try_start = |options: ServerOptions| async move {
        match countersign_gateway::Server::start(double(), options).await {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    };
    let error = try_start(ServerOptions::default()).await;
    assert!(matches!(error, ServerError::NoAddress));
    let o = options(folder.path(), Duration::from_secs(1));
    let error = try_start(ServerOptions { listen: listen.clone(), ..o }).await;
    assert!(error.to_string().contains("cert.pem"), "{error}");
    for bad in ["ftp://x.example", "https://me:pw@x.example/", "https://x.example/?q"] {
        let public_url = Some(bad.parse().unwrap());
        let error =
            try_start(ServerOptions { listen: listen.clone(), public_url, ..Default::default() })
                .await;
        assert!(matches!(error, ServerError::PublicUrl(_)), "{bad}");
        assert!(!error.to_string().contains("pw"), "{error}");
    }
    let (_server, address) = start(&Double::default(), ServerOptions::default()).await;
    let taken = vec![address];
    let error = try_start(ServerOptions { listen: taken, ..Default::default() }).await;
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
