//! The one pipeline: fetch, verify, scan, decide, record, release. Owns the clock and the HTTP
//! client; knows no listening socket and no terminal.
//!
//! [`Engine::answer`] takes a client's request and gives an [`Answer`]. An artifact's bytes are
//! only ever in [`Answer::Artifact`], and the [`Admitted`] in it can be made in one place: after
//! the decision to admit is durable in the ledger.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

pub mod account;
pub mod acts;
mod answer;
pub mod audit;
pub mod auditor;
mod cargo;
pub mod compliance;
pub mod config;
mod continuity;
mod credential;
pub mod debian;
mod dependencies;
pub mod difference;
pub mod disclosure;
mod download;
mod engine;
mod evidence;
pub mod exemptions;
mod facts;
mod feed_changes;
pub mod feeds;
mod fetch;
pub mod fetches;
mod file_table;
pub mod findings;
mod gathered;
pub mod grounds;
mod http_client;
mod index;
mod index_cache;
mod index_digests;
mod inspections;
mod listed;
pub mod local;
pub mod metrics;
mod names;
mod npm;
pub mod organisation;
mod packed;
mod passing;
mod pipeline;
mod pypi;
mod pypi_release;
pub mod reading;
pub mod recall;
mod referrers;
pub mod refusal;
pub mod report;
mod request;
mod rules;
mod scanning;
pub mod serving;
mod shelf;
pub mod signing;
mod silence;
mod source_answers;
mod sources;
pub mod trust;
pub mod upstream;
pub mod verify;
pub mod witnessing;

pub use credential::check_credential;
pub use download::{Downloaded, Poster, download};
pub use engine::{Engine, EngineError, Serving, Setup};
pub use feed_changes::{Changes, changes};
pub use grounds::Grounds;
pub use http_client::{Failure, check_roots};
pub use index::FileRef;
pub use pipeline::{Admitted, Outcome, evidence_words};
pub use referrers::OciRepository;
pub use refusal::Refusal;
pub use request::{Answer, ByteStream, ClientRequest, Document, PassedOn};
pub use sources::EvidenceSource;
pub use upstream::{Upstream, Upstreams};

/// The crates below that a command line needs to name.
pub use countersign_core as core;
pub use countersign_ecosystem as ecosystem;
pub use countersign_evidence as evidence_kinds;
pub use countersign_ledger as ledger;
pub use countersign_policy as policy;
pub use countersign_sandbox as sandbox;
pub use countersign_signer as signer;
pub use countersign_store as store;

/// An address as it may be shown: without credentials, query and fragment. What is no address is
/// shown up to anything that could be a secret.
#[must_use]
pub fn shown_address(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(url) if url.has_host() => http_client::redacted(&url),
        _ => match text.rsplit_once('@') {
            Some((before, after)) if before.contains("://") => format!("…@{after}"),
            _ => text.chars().take(200).collect(),
        },
    }
}

/// The credentials in an address, as a header that belongs to its origin alone (RFC 7617).
#[must_use]
pub fn credential_of(address: &str) -> Option<http::HeaderValue> {
    use base64::Engine as _;
    let url = url::Url::parse(address.strip_prefix("sparse+").unwrap_or(address)).ok()?;
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    // A client that shows its settings hides the password.
    if url.password() == Some("****") {
        return None;
    }
    let user = answer::percent_decode(url.username());
    let password = answer::percent_decode(url.password().unwrap_or(""));
    let token = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = http::HeaderValue::from_str(&format!("Basic {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether an address answers at all, and with which status.
///
/// # Errors
/// Why it does not, in words for people.
pub async fn reach(url: &url::Url) -> Result<http::StatusCode, String> {
    http_client::Http::plain()?.status(url).await.map_err(|f| f.detail)
}

/// Whether an upstream answers the gate, asked with its configured credential and certificates.
///
/// # Errors
/// Why it does not, in words for people.
pub async fn reach_upstream(
    upstream: &config::UpstreamConfig,
    patience: &config::PatienceConfig,
) -> Result<http::StatusCode, String> {
    use std::time::Duration;
    let patience = http_client::Patience {
        connect: Duration::from_secs(patience.connect_seconds),
        read: Duration::from_secs(patience.read_seconds),
    };
    let known = Upstream::new(upstream.ecosystem, &upstream.url).ok_or("is no http address")?;
    // Debian's root answers differently from mirror to mirror; all that counts is an answer.
    let url = match upstream.ecosystem {
        core::Ecosystem::Cargo => known.base.join("config.json").unwrap_or(known.base),
        _ => known.base,
    };
    let http = http_client::Http::new(&[], patience, std::slice::from_ref(upstream))?;
    http.status(&url).await.map_err(|f| f.detail)
}
