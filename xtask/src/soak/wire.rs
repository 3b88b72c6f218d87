//! A client's side of HTTP/1.1: one connection, kept or not, read fast, slowly, or not to its end.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Who waits longer for a byte hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// The largest answer that is read.
const MOST: usize = 64 << 20;

/// A connection to the gateway.
pub(super) struct Wire {
    reader: BufReader<TcpStream>,
    port: u16,
}

/// An answer.
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// A header's value; the name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As it comes.
    Fast,
    /// 16 KiB at a time, with a rest between.
    Slow,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When nobody takes the connection.
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream), port })
    }

    /// Sends a request; `more` are header lines, each with its end.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(super) fn ask(&mut self, path: &str, more: &str) -> io::Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{more}\r\n", self.port);
        self.send(head.as_bytes())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads a few bytes of what comes and gives up.
    pub(super) fn abandon(mut self, after: usize) {
        let mut buffer = vec![0; after];
        // The gateway may be faster or slower than that; nobody waits for the outcome.
        let _ = self.reader.read(&mut buffer);
    }

    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// When it is no HTTP or does not come whole.
    pub(super) fn reply(&mut self, pace: Pace) -> io::Result<Reply> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        if status != 304 {
            let length = reply.header("content-length").map(str::parse::<usize>);
            reply.body = match length {
                Some(length) => self.exactly(length.map_err(|_| invalid("no length"))?, pace)?,
                None if reply.header("transfer-encoding").is_some() => self.chunks()?,
                None => Vec::new(),
            };
        }
        Ok(reply)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if (&mut self.reader).take(64 << 10).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn exactly(&mut self, length: usize, pace: Pace) -> io::Result<Vec<u8>> {
        if length > MOST {
            return Err(invalid("the answer is too large"));
        }
        let mut body = vec![0; length];
        for part in body.chunks_mut(16 << 10) {
            self.reader.read_exact(part)?;
            if pace == Pace::Slow {
                std::thread::sleep(Duration::from_millis(25));
            }
        }
        Ok(body)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().and_then(|s| usize::from_str_radix(s, 16).ok());
            let size =
                size.filter(|s| body.len() + s <= MOST).ok_or_else(|| invalid("no chunk"))?;
            body.extend(self.exactly(size, Pace::Fast)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn told(text: &'static str) -> io::Result<Reply> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(text.as_bytes()).unwrap();
        });
        let reply = Wire::open(port).unwrap().reply(Pace::Fast);
        server.join().unwrap();
        reply
    }

    #[test]
    fn answers_are_read_in_both_forms_and_never_short() {
        let r = told("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        assert_eq!(
            (r.status, r.header("etag"), r.body.as_slice()),
            (200, Some("\"x\""), &b"abc"[..])
        );
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(told(chunked).unwrap().body, b"abc");
        assert_eq!(told("HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n").unwrap().status, 304);
        assert!(told("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").is_err());
        assert!(told("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n").is_err());
        assert!(told("SSH-2.0\r\n\r\n").is_err());
    }
}
