//! Documents as they are sent: with this registry's address in them, with an entity tag of exactly
//! these bytes, and packed.

use super::negotiate::Coding;
use bytes::Bytes;
use countersign_core::Sha256Digest;
use countersign_engine::Document;
use countersign_engine::serving::{Route, STAND_IN, View};
use http::{HeaderValue, StatusCode};
use std::io::{self, Write as _};
use std::sync::Arc;

/// Documents below this many bytes are not packed: they fit into one packet as they are.
const WORTH_PACKING: usize = 1024;

/// Documents above this many bytes are kept compressed: indexes repeat themselves, and shrink to a
/// tenth or less.
const WORTH_KEEPING_SMALL: usize = 64 << 10;

/// A document, ready to be sent any number of times.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    /// The upstream's date, where it is of these bytes.
    pub(super) last_modified: Option<HeaderValue>,
    /// The document itself.
    pub(super) text: Arc<Text>,
}

/// A document as it is kept.
#[derive(Debug)]
pub(super) struct Text {
    /// The digest of the document.
    pub(super) digest: Sha256Digest,
    /// The entity tag of the document as it is.
    etag: HeaderValue,
    /// Its length.
    len: usize,
    /// Its bytes; compressed (RFC 8878) where it is large.
    bytes: Bytes,
    compressed: bool,
}

/// The level at which documents are compressed: of the quick ones the one that still pays.
const KEPT_AT: i32 = 3;

/// One representation of a document.
#[derive(Debug, Clone)]
pub(super) struct Packed {
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
            text: Arc::new(Text::new(body)),
        }
    }

    /// What is sent when a document was lost on the way.
    pub(super) fn failed() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            content_type: None,
            last_modified: None,
            text: Arc::new(Text::new(Bytes::from_static(b"the gate is shutting down\n"))),
        }
    }

    /// Whether there is any use in packing it.
    pub(super) fn is_worth_packing(&self) -> bool {
        self.status == StatusCode::OK && self.text.len > WORTH_PACKING
    }
}

impl Text {
    fn new(body: Bytes) -> Self {
        let (digest, len) = (Sha256Digest::of(&body), body.len());
        let small = (len > WORTH_KEEPING_SMALL).then(|| zstd::bulk::compress(&body, KEPT_AT).ok());
        let small = small.flatten().filter(|s| s.len() < len / 2);
        let compressed = small.is_some();
        let bytes = small.map_or(body, exactly);
        Self { digest, etag: tag(&digest, ""), len, bytes, compressed }
    }

    /// What it takes in memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len()
    }

    /// The document as it is, where that takes no work.
    pub(super) fn at_hand(&self) -> Option<Packed> {
        (!self.compressed).then(|| Packed { etag: self.etag.clone(), body: self.bytes.clone() })
    }

    fn whole(&self) -> io::Result<Bytes> {
        if self.compressed {
            return Ok(zstd::bulk::decompress(&self.bytes, self.len)?.into());
        }
        Ok(self.bytes.clone())
    }

    /// The document in a coding, with a tag of the packed bytes. Takes milliseconds for large ones.
    ///
    /// # Errors
    /// When a coder fails.
    pub(super) fn pack(&self, coding: Coding) -> io::Result<Packed> {
        let whole = match coding {
            Coding::Zstd if self.compressed => Bytes::new(),
            _ => self.whole()?,
        };
        let body: Bytes = match coding {
            Coding::Identity => return Ok(Packed { etag: self.etag.clone(), body: whole }),
            Coding::Gzip => {
                let level = flate2::Compression::new(6);
                let mut coder = flate2::write::GzEncoder::new(Vec::new(), level);
                coder.write_all(&whole)?;
                exactly(coder.finish()?)
            }
            Coding::Brotli => {
                let mut out = Vec::new();
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: 5,
                    lgwin: 22,
                    size_hint: whole.len(),
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut whole.as_ref(), &mut out, &parameters)?;
                exactly(out)
            }
            Coding::Zstd if self.compressed => self.bytes.clone(),
            Coding::Zstd => exactly(zstd::bulk::compress(&whole, KEPT_AT)?),
        };
        let etag = tag(&Sha256Digest::of(&body), coding.name());
        Ok(Packed { etag, body })
    }
}

/// The bytes, without the room that was made in case there were more of them.
fn exactly(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
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
            exactly(text.replace(STAND_IN, &registry_root(route, root)).into_bytes())
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
            assert_eq!(p.text.whole().unwrap(), want.as_bytes(), "{route:?}");
        }
        let raw = Document::ok("x", vec![0xff, 0xfe]);
        let p = Prepared::new(raw, &project(View::All), "https://gate.example");
        assert_eq!(p.text.whole().unwrap(), &[0xff, 0xfe][..]);
    }

    #[test]
    fn every_representation_has_a_tag_of_its_own() {
        let route = project(View::All);
        let mut tags = Vec::new();
        for count in [1_000, 10_000] {
            let text = "<a>flask</a>".repeat(count);
            let p = Prepared::new(document(&text), &route, "http://a.example");
            assert!(p.is_worth_packing());
            assert_eq!(p.text.at_hand().is_none(), count > 1_000);
            assert!(count == 1_000 || p.text.weight() < text.len() / 10);
            for coding in [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd] {
                let packed = p.text.pack(coding).unwrap();
                assert!(coding == Coding::Identity || packed.body.len() < text.len() / 2);
                assert_eq!(unpack(coding, &packed.body), text.as_bytes());
                tags.push(packed.etag);
            }
            let text = text.replace("flask", STAND_IN);
            let other = Prepared::new(document(&text), &route, "http://b.example");
            tags.push(other.text.etag.clone());
        }
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
