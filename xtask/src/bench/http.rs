//! One request at a time over a plain connection: enough to ask a server on the loopback interface.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// An answer.
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// A port that nothing listens on now.
///
/// # Errors
///
/// When the system has none.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// Gets a path of the server at a loopback port.
///
/// # Errors
///
/// When there is no answer that can be read.
pub(super) fn get(port: u16, path: &str, fields: &[(&str, &str)]) -> Result<Reply, String> {
    ask(port, "GET", path, fields, b"")
}

/// Asks the server at a loopback port. HTTP/1.0, so that the answer ends with the connection.
///
/// # Errors
///
/// When there is no answer that can be read.
pub(super) fn ask(
    port: u16,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, String> {
    let cannot = |e: std::io::Error| format!("the server on port {port} does not answer: {e}");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(cannot)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(cannot)?;
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).map_err(cannot)?;
    stream.write_all(body).map_err(cannot)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(cannot)?;
    read(answer).ok_or_else(|| format!("the server on port {port} does not speak HTTP"))
}

fn read(mut answer: Vec<u8>) -> Option<Reply> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let reply = read(b"HTTP/1.1 404 Not Found\r\nETag: \"a:b\"\r\n\r\nno\r\n\r\n".to_vec());
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (404, b"no\r\n\r\n".as_slice()));
        assert!(read(b"SSH-2.0\r\n".to_vec()).is_none());
    }

    #[test]
    fn nothing_at_a_free_port() {
        assert!(get(free_port().unwrap(), "/", &[]).is_err());
    }
}
