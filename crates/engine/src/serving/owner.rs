//! Which upstream a name belongs to, where a registry of the gateway shows several.
//!
//! The first that has a name owns it. One that cannot be asked may own it: then nobody else offers
//! it. Once a name was seen at an upstream, no later one takes it over when it is gone there.

use super::View;
use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::PackageIndex;
use crate::pipeline::store_failure;
use crate::upstream::Upstream;
use countersign_core::{Ecosystem, Purl, ReasonCode, Reservation};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::Instant;
use url::Url;

type Owned = (Arc<Upstream>, Arc<PackageIndex>, Instant);

impl Engine {
    /// The upstream that a name belongs to, with its index and until when that is fresh.
    ///
    /// # Errors
    /// When nobody has the name, somebody who may own it cannot be asked, or it is gone at its owner.
    pub(super) async fn owned(
        &self,
        ecosystem: Ecosystem,
        view: &View,
        name: &str,
    ) -> Result<Owned, Failure> {
        let shown = self.upstreams_in(ecosystem, view);
        let several = shown.len() > 1;
        let shown = self.unreserved(ecosystem, name, shown)?;
        let key = format!("owner {ecosystem} {}", ecosystem.canonical_name(name));
        let owner = if several {
            self.inner.store.meta_get(&key).await.map_err(store_failure)?
        } else {
            None
        };
        let mut absent = None;
        for upstream in shown {
            match self.package_until(&upstream, name, &HeaderMap::new()).await {
                Ok((index, until)) => {
                    if several && owner.as_deref() != Some(upstream.name.as_str()) {
                        let put = self.inner.store.meta_put(&key, &upstream.name).await;
                        put.map_err(store_failure)?;
                    }
                    return Ok((upstream, index, until));
                }
                Err(failure) if failure.says_absent() => {
                    if owner.as_deref() == Some(upstream.name.as_str()) {
                        return Err(gone(name, &upstream));
                    }
                    absent = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(absent.unwrap_or_else(|| not_configured(ecosystem, view)))
    }

    /// The upstreams that may offer a name: the one that it is reserved for, or all.
    fn unreserved(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        shown: Vec<Arc<Upstream>>,
    ) -> Result<Vec<Arc<Upstream>>, Failure> {
        let lists = self.grounds().lists.clone();
        let purl = Purl::new(ecosystem, name, None);
        let mut elsewhere = None;
        let mut free = Vec::new();
        for upstream in shown {
            match lists.reservation(&purl, &upstream) {
                Reservation::Here => return Ok(vec![upstream]),
                Reservation::Elsewhere { owner } => elsewhere = Some(owner),
                Reservation::None => free.push(upstream),
            }
        }
        match elsewhere {
            Some(owner) => Err(Failure::new(
                ReasonCode::ReservedNamespace,
                format!("{name} is reserved for `{owner}`, which this registry does not show"),
            )),
            None => Ok(free),
        }
    }

    /// The gate's own credentials for an address of an upstream: they go to its origin alone.
    pub(crate) fn upstream_credentials(&self, upstream: &Upstream, url: &Url) -> HeaderMap {
        let mut out = HeaderMap::new();
        if upstream.base.origin() == url.origin()
            && let Some(value) = self.credential_of(upstream)
        {
            out.insert(header::AUTHORIZATION, value);
        }
        out
    }
}

fn gone(name: &str, owner: &Upstream) -> Failure {
    Failure {
        reason: ReasonCode::NotInIndex,
        detail: format!(
            "{name} belongs to `{}`, which no longer has it; no other upstream may take the name \
             over: reserve it for another in countersign.toml if that is right",
            owner.name
        ),
        status: Some(StatusCode::NOT_FOUND),
    }
}

fn not_configured(ecosystem: Ecosystem, view: &View) -> Failure {
    let detail = match view {
        View::All => format!("no {ecosystem} upstream is configured"),
        View::Named(name) => format!("there is no {ecosystem} upstream `{name}`"),
    };
    Failure { reason: ReasonCode::NotInIndex, detail, status: Some(StatusCode::NOT_FOUND) }
}
