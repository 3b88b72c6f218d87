//! A client that sends what a test writes, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// The status line.
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; the first, if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Longest time that a test waits for bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes and reads until the server closes the connection.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads until the server closes the connection.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = vec![0; 64 << 10];
    loop {
        match tokio::time::timeout(PATIENCE, stream.read(&mut part)).await {
            Ok(Ok(0)) | Ok(Err(_)) => return out,
            Ok(Ok(n)) => out.extend_from_slice(&part[..n]),
            Err(_) => panic!("the server keeps the connection: {}", String::from_utf8_lossy(&out)),
        }
    }
}

/// A GET with these headers, and the connection closed after it.
pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    request(address, "GET", path, headers).await
}

/// A request without a body, and the connection closed after it.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
        text.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("connection: close\r\n\r\n");
    let bytes = exchange(address, text).await;
    let mut replies = replies(&bytes, method == "HEAD");
    assert_eq!(replies.len(), 1, "{}", String::from_utf8_lossy(&bytes));
    replies.remove(0)
}

/// The answers in what a server sent. Panics on what is none: a server must not send it.
pub fn replies(bytes: &[u8], head: bool) -> Vec<Reply> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = find(rest, b"\r\n\r\n").expect("a head ends in an empty line");
        let text = std::str::from_utf8(&rest[..end]).expect("a head is ASCII");
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|l| l.split_once(": ").expect("a header has a colon"))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        let mut reply = Reply { status, line, headers, body: Vec::new() };
        rest = &rest[end + 4..];
        let bodiless = head || status == 304 || status == 204 || (100..200).contains(&status);
        if !bodiless {
            let length = reply.header("content-length").map(|v| v.parse::<usize>().unwrap());
            match length {
                Some(n) => {
                    reply.body = rest[..n.min(rest.len())].to_vec();
                    rest = &rest[n.min(rest.len())..];
                }
                None if reply.header("transfer-encoding") == Some("chunked") => {
                    let (body, after) = unchunked(rest);
                    reply.body = body;
                    rest = after;
                }
                None => {
                    reply.body = rest.to_vec();
                    rest = b"";
                }
            }
        }
        out.push(reply);
    }
    out
}

fn unchunked(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut out = Vec::new();
    loop {
        let end = find(rest, b"\r\n").expect("a chunk begins with its size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        out.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            return (out, rest);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}
