//! What a client asks and what it is answered, without saying how either travels.

use crate::pipeline::Admitted;
use crate::refusal::Refusal;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use url::Url;

/// One request of a client, with the address that the client itself wrote.
#[derive(Debug)]
pub struct ClientRequest {
    /// The method.
    pub method: Method,
    /// The address, absolute.
    pub url: Url,
    /// The client's headers; its credentials travel to the same origin and nowhere else.
    pub headers: HeaderMap,
    /// The body, already read under a limit.
    pub body: Bytes,
}

impl ClientRequest {
    /// A header's value as text.
    #[must_use]
    pub fn header(&self, name: http::header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// A small document: an index page, a configuration, an error of the upstream.
#[derive(Debug, Clone)]
pub struct Document {
    /// HTTP status.
    pub status: StatusCode,
    /// Media type.
    pub content_type: Option<String>,
    /// Entity tag of exactly these bytes.
    pub etag: Option<String>,
    /// The upstream's `Last-Modified`, where it is passed on.
    pub last_modified: Option<String>,
    /// The upstream's challenge, where it asks the client for credentials.
    pub www_authenticate: Option<String>,
    /// The bytes.
    pub body: Bytes,
}

impl Document {
    /// A document with status 200 and an entity tag taken from its bytes.
    #[must_use]
    pub fn ok(content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = countersign_core::Sha256Digest::of(&body).short();
        Self {
            status: StatusCode::OK,
            content_type: Some(content_type.to_owned()),
            etag: Some(format!("\"{tag}\"")),
            last_modified: None,
            www_authenticate: None,
            body,
        }
    }

    /// An error document in plain text.
    #[must_use]
    pub fn error(status: StatusCode, text: &str) -> Self {
        Self {
            status,
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            etag: None,
            last_modified: None,
            www_authenticate: None,
            body: Bytes::copy_from_slice(text.as_bytes()),
        }
    }
}

/// A stream of bytes whose length is not known beforehand.
pub type ByteStream = Pin<Box<dyn futures_util::Stream<Item = io::Result<Bytes>> + Send>>;

/// Metadata that is passed on byte for byte (Debian's signed indexes).
pub struct PassedOn {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers to pass on.
    pub headers: HeaderMap,
    /// The bytes as they come.
    pub body: ByteStream,
}

/// The engine's answer to one request.
pub enum Answer {
    /// A document that holds no artifact.
    Document(Document),
    /// Signed metadata, as the upstream sends it.
    Stream(PassedOn),
    /// An artifact that was admitted.
    Artifact(Arc<Admitted>),
    /// Nothing, and why.
    Refused(Arc<Refusal>),
}
