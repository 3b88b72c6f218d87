//! Requests that a client sends before earlier ones are answered (pipelining, RFC 9112, section 9.3.2).
//!
//! They are answered one after the other. apt asks for up to ten packages so, and each would be
//! fetched, unpacked and judged alone while other processors have nothing to do. So the bytes that
//! come in are looked at on their way, and packages that are asked for further back are begun. What is
//! seen here is a hint and no more: nothing is answered by it, and every request is read again, and
//! admitted by itself, when its turn comes.

use super::Shared;
use super::hot::Key;
use super::registry::{Asked, for_engine, land};
use countersign_engine::serving::Route;
use futures_util::{StreamExt as _, stream};
use http::Uri;
use memchr::memmem;
use parking_lot::Mutex;
use std::num::NonZero;
use std::sync::Arc;

const END: &[u8] = b"\r\n\r\n";
/// The longest head that is looked at, in bytes.
const LONGEST: usize = 8 << 10;
/// Requests of one connection that are remembered, at most.
const MOST: usize = 16;

/// The requests that were seen on a connection and not answered yet.
pub(super) struct Ahead(Mutex<Option<Seen>>);

#[derive(Default)]
struct Seen {
    /// The beginning of a head.
    part: Vec<u8>,
    coming: Vec<Uri>,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(Seen::default())))
    }

    /// Bytes came in. From the first that are no plain request on nothing is looked at: where the
    /// next one begins is then no longer sure.
    pub(super) fn came(&self, bytes: &[u8]) {
        let mut seen = self.0.lock();
        let Some(s) = seen.as_mut() else { return };
        let whole = bytes.len().checked_sub(END.len());
        let nothing_before = s.part.is_empty() && s.coming.is_empty();
        if nothing_before && whole.is_some() && memmem::find(bytes, END) == whole {
            // One request and nothing around it, as nearly always.
            return;
        }
        if s.read(bytes).is_none() {
            *seen = None;
        }
    }

    /// Takes what was seen behind the request for `own`, which is being answered.
    pub(super) fn behind(&self, own: &Uri) -> Vec<Uri> {
        let mut seen = self.0.lock();
        let Some(seen) = seen.as_mut().filter(|s| !s.coming.is_empty()) else { return Vec::new() };
        let mut coming = std::mem::take(&mut seen.coming);
        coming.retain(|uri| uri != own);
        coming
    }
}

impl Seen {
    /// `None` when the bytes are no plain requests.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        self.part.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(length) = memmem::find(self.part.get(from..)?, END) {
            let uri = plain(self.part.get(from..from + length)?)?;
            if self.coming.len() < MOST {
                self.coming.push(uri);
            }
            from += length + END.len();
        }
        self.part.drain(..from);
        if self.part.is_empty() {
            self.part = Vec::new();
        }
        (self.part.len() <= LONGEST).then_some(())
    }
}

/// The target of a request that has no body and changes nothing about its connection.
fn plain(head: &[u8]) -> Option<Uri> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let target = lines.next()?.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let other = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        ["content-length", "transfer-encoding", "upgrade"]
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n))
    };
    if lines.any(other) {
        return None;
    }
    target.parse().ok()
}

/// Begins the packages among `coming`, as many at a time as there are processors. `asked` is the
/// request that is being answered; it lends its headers, as to everybody who wants the same.
pub(super) fn begin(shared: &Arc<Shared>, coming: Vec<Route>, asked: &Asked<'_>) {
    let packages = coming.into_iter().filter(is_package);
    let keys: Vec<Key> =
        packages.map(|route| Key { route, form: asked.form, root: asked.root.clone() }).collect();
    if keys.is_empty() {
        return;
    }
    let (headers, asker) = (for_engine(asked.headers), asked.asker.clone());
    let shared = shared.clone();
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    tokio::spawn(stream::iter(keys).for_each_concurrent(cores, move |key| {
        let (shared, headers, asker) = (shared.clone(), headers.clone(), asker.clone());
        async move {
            if shared.hot.get(&key, shared.answers.generation()).is_none() {
                let start = || land(shared.clone(), key.clone(), headers, asker);
                shared.hot.fly(&key, start).await;
            }
        }
    }));
}

/// Whether it is a package of a Debian repository. Lists are streams, for one client each.
pub(super) fn is_package(route: &Route) -> bool {
    matches!(route, Route::Debian { path, .. } if path.ends_with(".deb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: mirror.example\r\nUser-Agent: a\r\n\r\n")
    }

    fn behind(ahead: &Ahead, own: &str) -> Vec<String> {
        ahead.behind(&own.parse().unwrap()).iter().map(Uri::to_string).collect()
    }

    #[test]
    fn what_stands_behind_a_request_is_seen_once() {
        let ahead = Ahead::new();
        let all = ["http://mirror.example/a.deb", "/b.deb", "/c.deb"].map(request).concat();
        ahead.came(all.as_bytes());
        assert_eq!(behind(&ahead, "http://mirror.example/a.deb"), ["/b.deb", "/c.deb"]);
        assert_eq!(behind(&ahead, "/b.deb"), [""; 0]);
        ahead.came((request("/d.deb") + &request("/e.deb")).as_bytes());
        assert_eq!(behind(&ahead, "/c.deb"), ["/d.deb", "/e.deb"]);
    }

    #[test]
    fn requests_are_seen_wherever_they_are_cut() {
        let all = ["/a.deb", "/b.deb", "/c.deb"].map(request).concat();
        for cut in 0..all.len() {
            let ahead = Ahead::new();
            ahead.came(&all.as_bytes()[..cut]);
            ahead.came(&all.as_bytes()[cut..]);
            let seen = behind(&ahead, "/a.deb");
            assert!(seen == ["/b.deb", "/c.deb"], "cut at {cut}: {seen:?}");
        }
    }

    #[test]
    fn after_what_is_no_plain_request_nothing_is_looked_at() {
        let body = "POST /x HTTP/1.1\r\nContent-Length: 40\r\n\r\n";
        let sized = "GET /x HTTP/1.1\r\ncontent-LENGTH: 40\r\n\r\n";
        let chunked = "GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let upgrade = "GET /x HTTP/1.1\r\nUpgrade: h2c\r\n\r\n";
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let endless = "GET /x HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(LONGEST);
        let bare = "GET /x HTTP/1.1\nHost: a\n\r\n\r\n";
        for odd in
            [body, sized, chunked, upgrade, preface, &endless, bare, "\r\n\r\n", "\u{1}\r\n\r\n"]
        {
            let ahead = Ahead::new();
            ahead.came((request("/a.deb") + odd).as_bytes());
            ahead.came((request("/b.deb") + &request("/c.deb")).as_bytes());
            assert_eq!(behind(&ahead, "/a.deb"), [""; 0], "{odd:?}");
        }
    }

    #[test]
    fn a_crowd_of_requests_takes_no_room() {
        let ahead = Ahead::new();
        ahead.came(request("/a.deb").repeat(10_000).as_bytes());
        assert_eq!(behind(&ahead, "/b.deb").len(), MOST);
    }
}
