//! The upstreams of a run, and which of them an address belongs to.

use countersign_core::Ecosystem;
use std::sync::Arc;
use url::Url;

/// A registry, index or repository that the client's own configuration, or `countersign.toml`,
/// names as a place that packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Which protocol it speaks.
    pub ecosystem: Ecosystem,
    /// Its name in reports and policies: the configured one, or its address without credentials.
    pub name: String,
    /// Its base address, always ending in a slash and without credentials.
    pub base: Url,
    /// Whether its publish times are its own, so that ages are unknown.
    pub mirror: bool,
    /// Hosts that its downloads may be redirected to.
    pub redirects: Vec<String>,
    /// The keyring that the client trusts for it (Debian's `Signed-By`).
    pub keyring: Option<String>,
    /// Whether it serves only packages that the client's configuration binds to it: it then owns no
    /// name by being asked first, and no other owns what it is asked for.
    pub explicit: bool,
}

/// The stand-in address of files that lie on this machine: one of RFC 6761's `.invalid`.
pub(crate) const THIS_MACHINE: &str = "https://this-machine.invalid/";

impl Upstream {
    /// Whether it stands for files that lie on this machine.
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        self.base.as_str() == THIS_MACHINE
    }

    /// An upstream of the client's configuration; `None` for an address that is not HTTP.
    #[must_use]
    pub fn new(ecosystem: Ecosystem, address: &str) -> Option<Self> {
        let mut base = Url::parse(address.strip_prefix("sparse+").unwrap_or(address)).ok()?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return None;
        }
        // The client sends its credentials itself; here they could only leak.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let name = base.as_str().trim_end_matches('/').to_owned();
        Some(Self {
            ecosystem,
            name,
            base,
            mirror: false,
            redirects: Vec::new(),
            keyring: None,
            explicit: false,
        })
    }

    /// What comes after the base in `url`, if `url` lies under this upstream.
    #[must_use]
    pub fn rest<'u>(&self, url: &'u Url) -> Option<&'u str> {
        let same = url.scheme() == self.base.scheme() && url.origin() == self.base.origin();
        if !same {
            return None;
        }
        url.path().strip_prefix(self.base.path())
    }
}

/// All upstreams of a run, in the client's order.
#[derive(Debug, Clone, Default)]
pub struct Upstreams(Vec<Arc<Upstream>>);

impl Upstreams {
    /// Adds an upstream unless one with that ecosystem and base is there.
    pub fn add(&mut self, upstream: Upstream) {
        let known =
            self.0.iter().any(|u| u.ecosystem == upstream.ecosystem && u.base == upstream.base);
        if !known {
            self.0.push(Arc::new(upstream));
        }
    }

    /// The upstream that `url` lies under, with the rest of the path: the longest base wins.
    #[must_use]
    pub fn find<'u>(&self, url: &'u Url) -> Option<(Arc<Upstream>, &'u str)> {
        self.0
            .iter()
            .filter_map(|u| u.rest(url).map(|rest| (u.clone(), rest)))
            .max_by_key(|(u, _)| u.base.path().len())
    }

    /// The upstreams of an ecosystem, in the client's order.
    pub fn of(&self, ecosystem: Ecosystem) -> impl Iterator<Item = Arc<Upstream>> + '_ {
        self.0.iter().filter(move |u| u.ecosystem == ecosystem).cloned()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn credentials_are_taken_off() {
        let u = Upstream::new(Ecosystem::Pypi, "https://me:token@registry.example/simple").unwrap();
        assert_eq!(u.base.as_str(), "https://registry.example/simple/");
        assert!(!format!("{u:?}").contains("token"));
    }

    #[test]
    fn only_what_lies_under_the_base_belongs_to_it() {
        let u = Upstream::new(Ecosystem::Pypi, "https://registry.example/simple/").unwrap();
        for (address, want) in [
            ("https://registry.example/simple/flask/", Some("flask/")),
            ("https://registry.example:443/simple/flask/", Some("flask/")),
            ("https://registry.example/simpleton/flask/", None),
            ("http://registry.example/simple/flask/", None),
            ("https://registry.example.evil.example/simple/flask/", None),
            ("https://registry.example:8443/simple/flask/", None),
            ("https://registry.example/simple/../other/", None),
        ] {
            assert_eq!(u.rest(&url(address)), want, "{address}");
        }
    }

    #[test]
    fn the_longest_base_wins() {
        let mut all = Upstreams::default();
        for b in ["https://r.example/", "https://r.example/npm/private/"] {
            all.add(Upstream::new(Ecosystem::Npm, b).unwrap());
        }
        let found =
            all.find(&url("https://r.example/npm/private/x")).map(|(u, _)| u.base.to_string());
        assert_eq!(found.as_deref(), Some("https://r.example/npm/private/"));
    }

    #[test]
    fn other_schemes_are_no_upstreams() {
        for a in ["file:///srv/wheels", "git+https://x.example/y", "sparse+ftp://x/", "nonsense"] {
            assert!(Upstream::new(Ecosystem::Cargo, a).is_none(), "{a}");
        }
        assert!(Upstream::new(Ecosystem::Cargo, "sparse+https://x.example/").is_some());
    }
}
