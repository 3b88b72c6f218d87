//! The engine behind a long-lived gateway: registry routes in, answers out.
//!
//! A gateway shows its clients registries of its own. A [`Route`] says what of such a registry is
//! asked for, without its address; the engine finds the upstream that owns the name, and answers
//! with documents whose addresses begin with [`STAND_IN`] in the place of the registry's own root.

pub(crate) mod admitted;
mod debian;
mod owner;
mod route;
mod serve;

pub(crate) use debian::Mirrors;
pub use route::{Form, Route, View};

use crate::request::Answer;
use std::time::Instant;

/// What stands in documents for the root of the gateway's registry that a client asked
/// (`https://gate.example/npm`); the gateway puts the root in. A name of RFC 6761's `.invalid`.
pub const STAND_IN: &str = "https://registry-root.invalid";

/// An answer, and how long it may be given again without asking the engine.
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// `None` for what must be asked anew each time.
    pub keep: Option<Keep>,
}

/// How long an answer holds: until a time, and no longer than the grounds that it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The end.
    pub until: Instant,
    /// The generation of the grounds; see [`crate::Engine::generation`].
    pub generation: u64,
}

/// Who asks: what the fetch log and policies may know of a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Asker {
    /// The name of the token that the client showed.
    pub token: Option<String>,
    /// The address that the connection came from.
    pub address: Option<std::net::IpAddr>,
    /// The client's own name for itself, from `User-Agent`, cut to 200 characters.
    pub agent: Option<String>,
}

/// An address below [`STAND_IN`], its segments encoded (RFC 3986, section 3.3). A scope's slash in
/// an npm package's name stays one.
pub(crate) fn own_address(segments: &[&str]) -> Option<url::Url> {
    let mut url = url::Url::parse(STAND_IN).ok()?;
    url.path_segments_mut().ok()?.extend(segments.iter().flat_map(|s| s.split('/')));
    Some(url)
}

impl crate::Engine {
    /// Whether this engine is behind a long-lived gateway.
    pub(crate) fn serves(&self) -> bool {
        self.inner.serving.is_some()
    }

    /// A document as it is kept: small where it is kept long.
    pub(crate) fn pack(&self, document: Vec<u8>) -> crate::packed::Packed {
        if self.serves() {
            crate::packed::Packed::aside(document, &self.index_folder())
        } else {
            crate::packed::Packed::plain(document)
        }
    }
}
