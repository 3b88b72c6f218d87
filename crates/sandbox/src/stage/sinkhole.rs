//! The sinkhole: it answers for every name and address, writes down what came, and leads nowhere.

use super::journal::{Journal, lock};
use super::wire;
use crate::canary::Canaries;
use crate::event::Deed;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections that are read at a time; more are closed unread.
const CONNECTIONS: usize = 64;
/// Ports that are listened on, against a scan of all of them.
const PORTS: usize = 512;
/// Names that get an address of their own.
const NAMES: usize = 4096;
/// Bytes of a connection that are looked at.
const KEPT: usize = 256 << 10;
/// How long a silent connection is waited for.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What each request gets: a program that does nothing, in the shell's language, in Python's and in
/// JavaScript. Who runs what it fetches, shows that it does.
const PAYLOAD: &[u8] = b"#!/bin/sh\n";

/// The names and the listeners.
pub(super) struct Sinkhole {
    journal: Arc<Journal>,
    bait: Canaries,
    state: Mutex<State>,
    open: AtomicUsize,
}

#[derive(Default)]
struct State {
    names: BTreeMap<Ipv4Addr, String>,
    ports: BTreeSet<u16>,
    udp: BTreeSet<SocketAddr>,
    /// Who asked for names last, and who connected to each port.
    asks: String,
    connects: BTreeMap<u16, String>,
}

impl Sinkhole {
    /// Begins to answer questions about names.
    pub(super) fn open(journal: Arc<Journal>, bait: Canaries) -> Result<Arc<Self>, String> {
        let state = Mutex::default();
        let this = Arc::new(Self { journal, bait, state, open: AtomicUsize::new(0) });
        this.answer_names(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)))
            .map_err(|e| format!("the sinkhole cannot answer for names: {e}"))?;
        Ok(this)
    }

    /// The name that an address was given out for.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(v4) = address.to_canonical() else { return None };
        lock(&self.state).names.get(&v4).cloned()
    }

    /// Prepares for a connection to `to`, which the kernel makes after this returns.
    pub(super) fn expect(self: &Arc<Self>, actor: &str, to: SocketAddr) {
        let mut state = lock(&self.state);
        if to.port() == 53 {
            actor.clone_into(&mut state.asks);
        }
        if to.ip().to_canonical().is_loopback() {
            return;
        }
        state.connects.insert(to.port(), actor.to_owned());
        let new_udp = to.port() == 53 && state.udp.len() < PORTS && state.udp.insert(to);
        let new_port = state.ports.len() < PORTS && state.ports.insert(to.port());
        drop(state);
        if new_udp {
            let _ = self.answer_names(to);
        }
        if new_port {
            self.listen(to.port());
        }
    }

    fn answer_names(self: &Arc<Self>, at: SocketAddr) -> std::io::Result<()> {
        let socket = UdpSocket::bind(at)?;
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let mut message = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut message) {
                let message = message.get(..length).unwrap_or_default();
                if let Some(answer) = this.answer(message) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(())
    }

    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let question = wire::dns_question(message)?;
        let (address, asks) = self.address_of(&question.name);
        let bait = self.bait.in_data(question.name.as_bytes());
        self.journal.did(&asks, Deed::Resolved { name: question.name.clone() });
        if !bait.is_empty() {
            let (target, beginning) = ("DNS".to_owned(), question.name.clone());
            let name = Some(question.name.clone());
            self.journal.did(&asks, Deed::Sent { target, name, beginning, bait });
        }
        Some(wire::dns_answer(message, &question, address))
    }

    /// An address for a name, always the same: of the network for benchmarks (RFC 2544), which is
    /// nobody's.
    fn address_of(&self, name: &str) -> (Ipv4Addr, String) {
        let mut state = lock(&self.state);
        let asks = state.asks.clone();
        if let Some((address, _)) = state.names.iter().find(|(_, n)| *n == name) {
            return (*address, asks);
        }
        let number = u32::try_from(state.names.len() + 1).unwrap_or(u32::MAX).min(NAMES as u32);
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number);
        state.names.insert(address, name.to_owned());
        (address, asks)
    }

    fn listen(self: &Arc<Self>, port: u16) {
        // One listener for both families; without version 6, one for the other.
        let any = TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port));
        let Ok(listener) = any.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))) else {
            return;
        };
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if this.open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                    this.open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let this = Arc::clone(&this);
                std::thread::spawn(move || {
                    this.read(stream);
                    this.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }

    /// Reads a connection, writes down what came, and answers as an HTTP server would.
    fn read(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_write_timeout(Some(PATIENCE));
        let Ok(target) = stream.local_addr() else { return };
        let mut data = Vec::new();
        let mut chunk = [0; 8192];
        while data.len() < KEPT {
            if wire::http_length(&data).is_some_and(|whole| data.len() >= whole) {
                break;
            }
            // A handshake waits for its answer, which nobody here can give.
            if data.first() == Some(&0x16) && wire::host(&data).is_some() {
                break;
            }
            if data.ends_with(b"\r\n\r\n") && data.starts_with(b"HEAD") {
                break;
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(n) => data.extend(chunk.get(..n).unwrap_or_default()),
            }
            self.go_on(&mut stream, &data);
        }
        let actor = lock(&self.state).connects.get(&target.port()).cloned().unwrap_or_default();
        if !data.is_empty() {
            let ip = target.ip().to_canonical();
            let name = wire::host(&data).or_else(|| self.name_of(ip));
            let (beginning, bait) = (wire::beginning(&data), self.bait.in_data(&data));
            let target = SocketAddr::from((ip, target.port())).to_string();
            self.journal.did(&actor, Deed::Sent { target, name, beginning, bait });
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            PAYLOAD.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), PAYLOAD].concat());
    }

    /// A client that asks first gets leave to send its body (RFC 9110, section 10.1.1).
    fn go_on(&self, stream: &mut TcpStream, data: &[u8]) {
        let asks = data.ends_with(b"\r\n\r\n")
            && data.to_ascii_lowercase().windows(20).any(|w| w == b"expect: 100-continue");
        if asks {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
}
