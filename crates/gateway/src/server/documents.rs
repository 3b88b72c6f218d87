//! Documents as they are sent: with this registry's address in them, with an entity tag of exactly
//! these bytes, and packed.

use super::negotiate::Coding;
use bytes::Bytes;
use countersign_core::Sha256Digest;
use countersign_engine::Document;
use countersign_engine::serving::{Route, STAND_IN, View};
use http::{HeaderValue, StatusCode};
use std::io::{self, Write as _};

/// Documents below this many bytes are not packed: they fit into one packet as they are.
const WORTH_PACKING: usize = 1024;

/// A document, ready to be sent any number of times.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    /// The upstream's date, where it is of these bytes.
    pub(super) last_modified: Option<HeaderValue>,
    pub(super) bytes: Packed,
}

/// One representation of a document.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    /// The digest of the document as it is before it is packed.
    pub(super) digest: Sha256Digest,
    /// The entity tag, strong: another coding has another one.
    pub(super) etag: HeaderValue,
    pub(super) body: Bytes,
}

impl Prepared {
    /// Puts the root of the registry into a document. What it costs grows with the document: for
    /// large ones this is not for the threads that answer.
    pub(super) fn new(document: Document, route: &Route, root: &str) -> Self {
        let value = |text: Option<String>| text.and_then(|t| HeaderValue::from_str(&t).ok());
        // A registry's own dates tell nothing of what is left of its document here; only Debian's
        // files are passed on as they are.
        let dated = matches!(route, Route::Debian { .. });
        let mut status = document.status;
        let mut body = document.body;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED) {
            // The client has no credentials for the upstream, and must not be asked for any.
            status = StatusCode::BAD_GATEWAY;
            body = Bytes::from_static(
                b"the upstream does not take the gate's credentials; whoever runs the gate has to \
                  set them\n",
            );
        }
        body = with_root(body, route, root);
        Self {
            status,
            content_type: value(document.content_type),
            last_modified: value(document.last_modified.filter(|_| dated)),
            bytes: Packed::plain(body),
        }
    }

    /// What is sent when a document was lost on the way.
    pub(super) fn failed() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            content_type: None,
            last_modified: None,
            bytes: Packed::plain(Bytes::from_static(b"the gate is shutting down\n")),
        }
    }

    /// Whether there is any use in packing it.
    pub(super) fn is_worth_packing(&self) -> bool {
        self.status == StatusCode::OK && self.bytes.body.len() > WORTH_PACKING
    }
}

impl Packed {
    fn plain(body: Bytes) -> Self {
        let digest = Sha256Digest::of(&body);
        Self { digest, etag: tag(&digest, ""), body }
    }

    /// The same document in another coding, with a tag of the packed bytes. Takes milliseconds for
    /// large ones.
    ///
    /// # Errors
    /// When a coder fails.
    pub(super) fn pack(&self, coding: Coding) -> io::Result<Self> {
        let body = match coding {
            Coding::Identity => return Ok(self.clone()),
            Coding::Gzip => {
                let level = flate2::Compression::new(6);
                let mut coder = flate2::write::GzEncoder::new(Vec::new(), level);
                coder.write_all(&self.body)?;
                coder.finish()?
            }
            Coding::Brotli => {
                let mut out = Vec::new();
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: 5,
                    lgwin: 22,
                    size_hint: self.body.len(),
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut self.body.as_ref(), &mut out, &parameters)?;
                out
            }
            Coding::Zstd => zstd::bulk::compress(&self.body, 6)?,
        };
        let etag = tag(&Sha256Digest::of(&body), coding.name());
        Ok(Self { digest: self.digest, etag, body: body.into() })
    }
}

fn tag(digest: &Sha256Digest, coding: &str) -> HeaderValue {
    let mut text = digest.to_hex();
    text.truncate(24);
    let dash = if coding.is_empty() { "" } else { "-" };
    HeaderValue::from_str(&format!("\"{text}{dash}{coding}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The root of the registry that a route belongs to, below this server's own root.
pub(super) fn registry_root(route: &Route, root: &str) -> String {
    let (view, folder) = match route {
        Route::PypiRoot { view }
        | Route::PypiProject { view, .. }
        | Route::PypiFile { view, .. }
        | Route::PypiMetadata { view, .. }
        | Route::PypiProvenance { view, .. } => (view, "pypi"),
        Route::NpmPackage { view, .. }
        | Route::NpmTarball { view, .. }
        | Route::NpmApi { view, .. } => (view, "npm"),
        Route::CargoConfig { view }
        | Route::CargoIndex { view, .. }
        | Route::CargoDownload { view, .. } => (view, "cargo"),
        Route::Debian { upstream, .. } => return format!("{root}/debian/{}", encoded(upstream)),
    };
    match view {
        View::All => format!("{root}/{folder}"),
        View::Named(name) => format!("{root}/u/{}", encoded(name)),
    }
}

/// A name as one segment of a path: everything but RFC 3986's unreserved characters is encoded.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for b in name.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn with_root(body: Bytes, route: &Route, root: &str) -> Bytes {
    // Nothing but documents that the engine wrote itself holds the stand-in, and those are UTF-8.
    match std::str::from_utf8(&body) {
        Ok(text) if text.contains(STAND_IN) => {
            text.replace(STAND_IN, &registry_root(route, root)).into()
        }
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn project(view: View) -> Route {
        Route::PypiProject { view, project: "flask".into() }
    }

    fn document(text: &str) -> Document {
        Document::ok("text/html", text.as_bytes().to_vec())
    }

    #[test]
    fn the_root_takes_the_stand_ins_place() {
        let text = format!("<a href=\"{STAND_IN}/files/flask/a.whl\">a</a> {STAND_IN}");
        for (route, root) in [
            (project(View::All), "https://gate.example/pypi"),
            (project(View::Named("own py".into())), "https://gate.example/u/own%20py"),
            (Route::CargoConfig { view: View::All }, "https://gate.example/cargo"),
            (
                Route::NpmApi { view: View::All, api: "ping".into(), query: None },
                "https://gate.example/npm",
            ),
            (
                Route::Debian { upstream: "b/d".into(), path: "x".into() },
                "https://gate.example/debian/b%2Fd",
            ),
        ] {
            let p = Prepared::new(document(&text), &route, "https://gate.example");
            let want = format!("<a href=\"{root}/files/flask/a.whl\">a</a> {root}");
            assert_eq!(p.bytes.body, want.as_bytes(), "{route:?}");
        }
        let raw = Document::ok("x", vec![0xff, 0xfe]);
        let p = Prepared::new(raw, &project(View::All), "https://gate.example");
        assert_eq!(p.bytes.body, &[0xff, 0xfe][..]);
    }

    #[test]
    fn every_representation_has_a_tag_of_its_own() {
        let text = "<a>flask</a>".repeat(1000);
        let route = project(View::All);
        let p = Prepared::new(document(&text), &route, "http://a.example");
        assert!(p.is_worth_packing());
        let mut tags = vec![p.bytes.etag.clone()];
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let packed = p.bytes.pack(coding).unwrap();
            assert!(packed.body.len() < text.len() / 2);
            assert_eq!(unpack(coding, &packed.body), text.as_bytes());
            tags.push(packed.etag);
        }
        let other =
            Prepared::new(document(&text.replace("flask", STAND_IN)), &route, "http://b.example");
        tags.push(other.bytes.etag);
        for (i, tag) in tags.iter().enumerate() {
            assert!(!tags.iter().skip(i + 1).any(|t| t == tag), "{tags:?}");
        }
    }

    fn unpack(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(bytes),
            Coding::Gzip => {
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
            }
            Coding::Brotli => {
                brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap();
            }
            Coding::Zstd => out = zstd::decode_all(bytes).unwrap(),
        }
        out
    }

    #[test]
    fn an_upstream_that_wants_a_login_does_not_ask_the_client() {
        let mut d = Document::error(StatusCode::UNAUTHORIZED, "log in\n");
        d.www_authenticate = Some("Basic realm=\"x\"".into());
        let p = Prepared::new(d, &project(View::All), "http://a.example");
        assert_eq!(p.status, StatusCode::BAD_GATEWAY);
    }
}
