//! The address that documents carry: which host a client may ask this server by.
//!
//! What a request says of its host ends up in documents, and a client follows it. So a host is only
//! taken from a request when the configuration knows it, or when it can only be the client's own
//! way here: `localhost` or an IP address with the listening port.

use super::networks::Network;
use http::{HeaderMap, HeaderName, Request, Version, header};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use url::Url;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How many roots are remembered; more are worked out each time.
const REMEMBERED: usize = 64;

/// Knows by which hosts this server may be asked.
pub(super) struct Origins {
    public: Option<Arc<str>>,
    names: Vec<(String, Option<u16>)>,
    ports: Vec<u16>,
    trusted: Vec<Network>,
    /// Roots that were worked out, by the host as it was written: over HTTP, over HTTPS.
    known: [RwLock<HashMap<String, Arc<str>>>; 2],
}

/// Why a request's host is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostError {
    /// There is none.
    Missing,
    /// There are several.
    Several,
    /// It is no host and port.
    Malformed,
    /// It is none that this server is known by.
    Unknown,
}

impl HostError {
    /// What is wrong, and what to do.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "the request names no host; send a `Host` header",
            Self::Several => "the request names several hosts",
            Self::Malformed => "the request's host is malformed",
            Self::Unknown => {
                "this gate is not known by the request's host; set its public address, or add the \
                 name to its allowed hosts"
            }
        }
    }
}

impl Origins {
    /// Takes over the configuration; `listening` are the addresses that were bound.
    pub(super) fn new(
        public: Option<&Url>,
        allowed: &[String],
        trusted: &[Network],
        listening: &[SocketAddr],
    ) -> Self {
        let names = allowed.iter().filter_map(|text| {
            let (name, port) = split(text)?;
            Some((name.to_ascii_lowercase(), port))
        });
        Self {
            public: public.map(|u| u.as_str().trim_end_matches('/').into()),
            names: names.collect(),
            ports: listening.iter().map(SocketAddr::port).collect(),
            trusted: trusted.to_vec(),
            known: Default::default(),
        }
    }

    /// Whether a peer is a trusted proxy.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|n| n.contains(peer))
    }

    /// The networks of the trusted proxies.
    pub(super) fn trusted(&self) -> &[Network] {
        &self.trusted
    }

    /// The address of this server's root as the client knows it, without a slash at its end.
    ///
    /// # Errors
    /// When the request's host is missing, ambiguous, malformed, or not this server's.
    pub(super) fn root<B>(
        &self,
        request: &Request<B>,
        tls: bool,
        peer: IpAddr,
    ) -> Result<Arc<str>, HostError> {
        let host = host_of(request)?;
        if let Some(public) = &self.public {
            // Nothing of the request is carried over, and what is malformed is still refused.
            return match host {
                Some(host) if split(host).is_none() => Err(HostError::Malformed),
                _ => Ok(public.clone()),
            };
        }
        let (mut host, mut tls) = (host, tls);
        if !self.trusted.is_empty() && self.trusts(peer) {
            host = single(request.headers(), &FORWARDED_HOST)?.or(host);
            if let Some(proto) = single(request.headers(), &FORWARDED_PROTO)? {
                tls = proto.eq_ignore_ascii_case("https");
            }
        }
        let host = host.ok_or(HostError::Missing)?;
        let [plain, secure] = &self.known;
        let known = if tls { secure } else { plain };
        if let Some(known) = known.read().get(host) {
            return Ok(known.clone());
        }
        let (name, port) = split(host).ok_or(HostError::Malformed)?;
        if !self.is_own(name, port, tls) {
            return Err(HostError::Unknown);
        }
        let scheme = if tls { "https" } else { "http" };
        let root: Arc<str> = format!("{scheme}://{}", host.to_ascii_lowercase()).into();
        let mut known = known.write();
        if known.len() < REMEMBERED {
            known.insert(host.to_owned(), root.clone());
        }
        Ok(root)
    }

    fn is_own(&self, name: &str, port: Option<u16>, tls: bool) -> bool {
        let name = name.to_ascii_lowercase();
        if self.names.iter().any(|(n, p)| *n == name && (p.is_none() || *p == port)) {
            return true;
        }
        let asked = port.unwrap_or(if tls { 443 } else { 80 });
        let literal = name.parse::<IpAddr>().is_ok() || bracketed(&name).is_some();
        (literal || name == "localhost") && self.ports.contains(&asked)
    }
}

/// The host that a request names: HTTP/2's authority, or the one `Host` header.
fn host_of<B>(request: &Request<B>) -> Result<Option<&str>, HostError> {
    let header = single(request.headers(), &header::HOST)?;
    if request.version() >= Version::HTTP_2 {
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        return match (authority, header) {
            // Two names in one request mean two things (RFC 9113, section 8.3.1).
            (Some(a), Some(h)) if !a.eq_ignore_ascii_case(h) => Err(HostError::Several),
            (a, h) => Ok(a.or(h)),
        };
    }
    Ok(header)
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, HostError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(HostError::Several);
    }
    first.map(|v| v.to_str().map_err(|_| HostError::Malformed)).transpose()
}

/// Takes `host[:port]` apart; `None` when it is not of that form (RFC 3986, section 3.2, without
/// user names, encodings and future address forms).
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, _)) if text.ends_with(']') || name.is_empty() => (text, None),
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port = match port {
        None => None,
        Some(p) if p.bytes().all(|b| b.is_ascii_digit()) && !p.is_empty() => {
            Some(p.parse().ok().filter(|p| *p != 0)?)
        }
        Some(_) => return None,
    };
    let is_name = !name.is_empty()
        && name.len() <= 253
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    (is_name || bracketed(name).is_some()).then_some((name, port))
}

fn bracketed(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

    fn origins(public: Option<&str>, allowed: &[&str], trusted: &[&str]) -> Origins {
        let public = public.map(|u| Url::parse(u).unwrap());
        let allowed: Vec<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
        let trusted: Vec<Network> = trusted.iter().map(|n| n.parse().unwrap()).collect();
        Origins::new(public.as_ref(), &allowed, &trusted, &["127.0.0.1:8080".parse().unwrap()])
    }

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri("/npm/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn root(o: &Origins, headers: &[(&str, &str)]) -> Result<String, HostError> {
        // Asked twice: what is remembered must not differ from what was worked out.
        let first = o.root(&request(headers), false, PEER).map(|r| r.to_string());
        assert_eq!(o.root(&request(headers), false, PEER).map(|r| r.to_string()), first);
        first
    }

    #[test]
    fn hosts_of_ones_own_are_carried_over() {
        let o = origins(None, &["Gate.example", "other.example:9000"], &[]);
        for (host, want) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost:8080", "http://localhost:8080"),
            ("LOCALHOST:8080", "http://localhost:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("192.0.2.1:8080", "http://192.0.2.1:8080"),
            ("gate.example", "http://gate.example"),
            ("GATE.example:81", "http://gate.example:81"),
            ("other.example:9000", "http://other.example:9000"),
        ] {
            assert_eq!(root(&o, &[("host", host)]).as_deref(), Ok(want), "{host}");
        }
        let https = o.root(&request(&[("host", "gate.example")]), true, PEER).unwrap();
        assert_eq!(&*https, "https://gate.example");
    }

    #[test]
    fn every_other_host_is_refused() {
        let o = origins(None, &["gate.example", "other.example:9000"], &[]);
        for (host, want) in [
            ("evil.example", HostError::Unknown),
            ("evil.example:8080", HostError::Unknown),
            ("gate.example.evil.example", HostError::Unknown),
            ("other.example", HostError::Unknown),
            ("other.example:8080", HostError::Unknown),
            ("127.0.0.1", HostError::Unknown),
            ("127.0.0.1:8081", HostError::Unknown),
            ("localhost", HostError::Unknown),
            ("", HostError::Malformed),
            (":8080", HostError::Malformed),
            ("gate.example:", HostError::Malformed),
            ("gate.example:x", HostError::Malformed),
            ("gate.example:0", HostError::Malformed),
            ("gate.example:99999", HostError::Malformed),
            ("user@gate.example", HostError::Malformed),
            ("gate.example/../x", HostError::Malformed),
            ("gate.example\"><script>", HostError::Malformed),
            ("gate.example, evil.example", HostError::Malformed),
            ("gate.example evil.example", HostError::Malformed),
            ("[::1", HostError::Malformed),
            ("[fe80::1%25eth0]:8080", HostError::Malformed),
            ("[gate.example]:8080", HostError::Malformed),
            ("g%61te.example", HostError::Malformed),
        ] {
            assert_eq!(root(&o, &[("host", host)]), Err(want), "{host}");
        }
        assert_eq!(root(&o, &[]), Err(HostError::Missing));
        let two = [("host", "gate.example"), ("host", "gate.example")];
        assert_eq!(root(&o, &two), Err(HostError::Several));
    }

    #[test]
    fn a_public_address_is_the_only_one() {
        let o = origins(Some("https://gate.example/registry/"), &[], &["127.0.0.1"]);
        let want = Ok("https://gate.example/registry");
        for headers in [
            vec![],
            vec![("host", "evil.example")],
            vec![("host", "x"), ("x-forwarded-host", "evil.example")],
        ] {
            assert_eq!(root(&o, &headers).as_deref(), want, "{headers:?}");
        }
        assert_eq!(root(&o, &[("host", "a b")]), Err(HostError::Malformed));
    }

    #[test]
    fn forwarded_hosts_are_believed_from_trusted_proxies_only() {
        let headers = [
            ("host", "127.0.0.1:8080"),
            ("x-forwarded-host", "gate.example"),
            ("x-forwarded-proto", "https"),
        ];
        let trusting = origins(None, &["gate.example"], &["127.0.0.0/8"]);
        assert_eq!(root(&trusting, &headers).as_deref(), Ok("https://gate.example"));
        let not = origins(None, &["gate.example"], &["192.0.2.0/24"]);
        assert_eq!(root(&not, &headers).as_deref(), Ok("http://127.0.0.1:8080"));
        let evil = [("host", "127.0.0.1:8080"), ("x-forwarded-host", "evil.example")];
        assert_eq!(root(&trusting, &evil), Err(HostError::Unknown));
    }

    #[test]
    fn http_2_must_not_name_two_hosts() {
        let o = origins(None, &["gate.example", "b.example"], &[]);
        let two = Request::builder()
            .version(Version::HTTP_2)
            .uri("http://gate.example/npm/x")
            .header("host", "b.example")
            .body(())
            .unwrap();
        assert_eq!(o.root(&two, false, PEER), Err(HostError::Several));
        let one = Request::builder()
            .version(Version::HTTP_2)
            .uri("http://gate.example/npm/x")
            .body(())
            .unwrap();
        assert_eq!(o.root(&one, false, PEER).as_deref(), Ok("http://gate.example"));
    }
}
