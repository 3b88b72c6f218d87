//! From a route to an answer.

use super::{Asker, Form, Route, Served};
use crate::engine::Engine;
use crate::request::{Answer, Document};
use http::{HeaderMap, Method, StatusCode};

impl Engine {
    /// Answers one request to a registry of the gateway. `headers` are the client's, `body` is only
    /// there for questions of npm's API.
    pub async fn serve(
        &self,
        _route: &Route,
        _form: Form,
        _method: &Method,
        _headers: &HeaderMap,
        _body: bytes::Bytes,
        _asker: &Asker,
    ) -> Served {
        let document = Document::error(StatusCode::NOT_FOUND, "nothing is served here yet\n");
        Served { answer: Answer::Document(document), keep: None }
    }
}
