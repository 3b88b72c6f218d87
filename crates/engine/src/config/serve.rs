//! `[serve]`: how the gateway for a team serves.

use super::problem::ConfigError;
use super::read::{At, Reader, Table};
use countersign_core::{Sha256Digest, Timestamp};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// Where the gateway listens unless it is told otherwise: on this machine alone.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8417);

/// `[serve]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Where it listens; never empty.
    pub listen: Vec<SocketAddr>,
    /// The address that clients know it by, where that is not what they connect to.
    pub public_url: Option<Url>,
    /// Further names that it may be addressed by (`Host`).
    pub allowed_hosts: Vec<String>,
    /// Who may say in `X-Forwarded-For` whom a request comes from.
    pub trusted_proxies: Vec<AddressRange>,
    /// The certificate that it shows; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Who may ask; without any, everybody may.
    pub tokens: Vec<TokenConfig>,
    /// A file with more of them.
    pub tokens_file: Option<PathBuf>,
    /// How many seconds an index counts as fresh.
    pub index_seconds: u64,
    /// For how many days after that it may be used while its upstream cannot be reached.
    pub stale_days: u64,
    /// What is kept in memory.
    pub memory: MemoryConfig,
    /// How many connections are open at one time; more wait.
    pub connections: usize,
    /// How many requests are answered at one time; more are told to come back.
    pub requests: usize,
    /// How many seconds a gateway that was told to stop still takes connections while it says that
    /// it is not ready, so that a balancer can turn away.
    pub drain_seconds: u64,
    /// How many seconds requests have to end when the gateway stops.
    pub grace_seconds: u64,
    /// After how many seconds feeds with addresses are fetched again.
    pub feed_seconds: u64,
    /// How it logs.
    pub log: LogForm,
    /// Where traces go: the base address of an OpenTelemetry collector that takes OTLP over HTTP.
    pub otlp: Option<Url>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: vec![DEFAULT_LISTEN],
            public_url: None,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            tokens: Vec::new(),
            tokens_file: None,
            index_seconds: 300,
            stale_days: 7,
            memory: MemoryConfig::default(),
            connections: 8192,
            requests: 8192,
            drain_seconds: 0,
            grace_seconds: 30,
            feed_seconds: 3600,
            log: LogForm::Text,
            otlp: None,
        }
    }
}

/// `[serve.memory]`: what is kept in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Indexes as they were judged.
    pub indexes: u64,
    /// Documents as they are sent.
    pub documents: u64,
    /// Their compressed forms.
    pub compressed: u64,
    /// Small artifacts.
    pub artifacts: u64,
    /// The largest artifact that counts as small.
    pub artifact: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            indexes: 4 << 20,
            documents: 4 << 20,
            compressed: 1 << 20,
            artifacts: 2 << 20,
            artifact: 2 << 20,
        }
    }
}

/// `[serve.tls]`: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who may ask: a token is known by its digest alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// Whose it is, for the fetch log and policies.
    pub name: String,
    /// SHA-256 of the token's text.
    pub sha256: Sha256Digest,
    /// From when on it opens nothing; `None` for no end.
    pub expires: Option<Timestamp>,
    /// What it is for.
    pub role: TokenRole,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenRole {
    /// Installing packages.
    #[default]
    Client,
    /// Reading the ledger, and nothing else; each read is recorded.
    Auditor,
    /// Both, as whoever runs the gate.
    Owner,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogForm {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Addresses that begin with the same bits (RFC 4632).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    bits: u8,
}

impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| ())?;
        if bits > most {
            return Err(());
        }
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// A day in seconds: the most that times of seconds may be.
const DAY: u64 = 24 * 3600;

impl ServeConfig {
    /// Reads `[serve]`.
    pub(super) fn read(mut table: Table<'_, '_>) -> Self {
        let default = Self::default();
        let reader = table.reader();
        let listen = table.one_or_texts("listen");
        let public_url = table.text("public-url").and_then(|u| read_public_url(reader, &u));
        let allowed_hosts = table.texts("allowed-hosts");
        let trusted_proxies = table.texts("trusted-proxies");
        let tls = table.table("tls").and_then(read_tls);
        let tokens = read_tokens(reader, table.tables("tokens"));
        let tokens_file = table.text("tokens-file").map(|f| f.value.into());
        let index_seconds = table.number("index-seconds", 0..=DAY);
        let stale_days = table.number("stale-days", 0..=3650);
        let memory = table.table("memory").map(read_memory).unwrap_or_default();
        let connections = table.number("connections", 1..=1 << 20);
        let requests = table.number("requests", 1..=1 << 20);
        let drain = table.number("drain-seconds", 0..=DAY);
        let grace = table.number("grace-seconds", 0..=DAY);
        let feed = table.number("feed-seconds", 10..=30 * DAY);
        let log = table.text("log").and_then(|l| read_log(reader, &l));
        let otlp = table.text("otlp").and_then(|u| read_otlp(reader, &u));
        table.finish();
        let listen = read_all(reader, &listen, "no address to listen on", LISTEN_REMEDY);
        check_hosts(reader, &allowed_hosts);
        Self {
            listen: if listen.is_empty() { default.listen } else { listen },
            public_url,
            allowed_hosts: allowed_hosts.into_iter().map(|h| h.value).collect(),
            trusted_proxies: read_all(
                reader,
                &trusted_proxies,
                "no range of addresses",
                "write \"10.0.0.0/8\", \"fd00::/8\" or a single address",
            ),
            tls,
            tokens,
            tokens_file,
            index_seconds: index_seconds.unwrap_or(default.index_seconds),
            stale_days: stale_days.unwrap_or(default.stale_days),
            memory,
            connections: size(connections).unwrap_or(default.connections),
            requests: size(requests).unwrap_or(default.requests),
            drain_seconds: drain.unwrap_or(default.drain_seconds),
            grace_seconds: grace.unwrap_or(default.grace_seconds),
            feed_seconds: feed.unwrap_or(default.feed_seconds),
            log: log.unwrap_or_default(),
            otlp,
        }
    }
}

impl TokenConfig {
    /// Reads a file of tokens: `[[token]]` with `name` and `sha256`.
    ///
    /// # Errors
    /// All that is wrong in it, at once.
    pub fn parse_file(file: &str, text: &str) -> Result<Vec<Self>, ConfigError> {
        let (reader, root) = Reader::new(file, text);
        let mut root = reader.root(root);
        let tokens = read_tokens(&reader, root.tables("token"));
        root.finish();
        reader.finish(tokens)
    }
}

const LISTEN_REMEDY: &str = "write an address with a port: \"127.0.0.1:8417\" or \"[::]:8417\"";

fn read_all<T: FromStr>(
    reader: &Reader<'_>,
    texts: &[At<String>],
    wrong: &str,
    remedy: &str,
) -> Vec<T> {
    let mut out = Vec::new();
    for text in texts {
        match text.value.parse() {
            Ok(value) => out.push(value),
            Err(_) => reader.problem(&text.span, format!("`{}` is {wrong}", text.value), remedy),
        }
    }
    out
}

fn size(number: Option<u64>) -> Option<usize> {
    number.and_then(|n| usize::try_from(n).ok())
}

fn read_memory(mut table: Table<'_, '_>) -> MemoryConfig {
    let d = MemoryConfig::default();
    let mut bytes = |key, default| table.number(key, 0..=1 << 40).unwrap_or(default);
    let memory = MemoryConfig {
        indexes: bytes("index-bytes", d.indexes),
        documents: bytes("document-bytes", d.documents),
        compressed: bytes("compressed-bytes", d.compressed),
        artifacts: bytes("artifact-bytes", d.artifacts),
        artifact: bytes("largest-artifact-bytes", d.artifact),
    };
    table.finish();
    memory
}

fn read_public_url(reader: &Reader<'_>, at: &At<String>) -> Option<Url> {
    let url = read_http_url(reader, at)?;
    if url.query().is_some() || url.fragment().is_some() {
        let what = format!("`{}` has a query or a fragment", at.value);
        reader.problem(&at.span, what, "write \"https://gate.example\"");
        return None;
    }
    Some(url)
}

fn read_otlp(reader: &Reader<'_>, at: &At<String>) -> Option<Url> {
    read_http_url(reader, at)
}

fn read_http_url(reader: &Reader<'_>, at: &At<String>) -> Option<Url> {
    let url = Url::parse(&at.value).ok();
    let url = url.filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    let url = url.filter(|u| u.username().is_empty() && u.password().is_none());
    if url.is_none() {
        let shown = crate::shown_address(&at.value);
        let what = format!("`{shown}` is no http or https address without credentials");
        reader.problem(&at.span, what, "write \"https://host\" or \"http://host:port\"");
    }
    url
}

fn check_hosts(reader: &Reader<'_>, hosts: &[At<String>]) {
    for host in hosts {
        // Whatever can follow `https://` up to the path: a name or an address, perhaps with a port.
        let as_url = Url::parse(&format!("http://{}/", host.value)).ok();
        let fine = as_url.is_some_and(|u| u.path() == "/" && u.username().is_empty())
            && !host.value.contains(['/', '@', '?', '#']);
        if !fine {
            let what = format!("`{}` is no host", host.value);
            reader.problem(&host.span, what, "write the name alone: \"gate.example\"");
        }
    }
}

fn read_log(reader: &Reader<'_>, at: &At<String>) -> Option<LogForm> {
    match at.value.as_str() {
        "text" => Some(LogForm::Text),
        "json" => Some(LogForm::Json),
        other => {
            let what = format!("`{other}` is no form of log");
            reader.problem(&at.span, what, "write \"text\" or \"json\"");
            None
        }
    }
}

fn read_tls(mut table: Table<'_, '_>) -> Option<TlsFiles> {
    let certificate = table.required("certificate", "\"/path/to/chain.pem\"");
    let key = table.required("key", "\"/path/to/key.pem\"");
    table.finish();
    Some(TlsFiles { certificate: certificate?.value.into(), key: key?.value.into() })
}

fn read_tokens(reader: &Reader<'_>, tables: Vec<Table<'_, '_>>) -> Vec<TokenConfig> {
    let mut out: Vec<TokenConfig> = Vec::new();
    for mut table in tables {
        let name = table.required("name", "\"whose it is\"");
        let remedy = "the line that `countersign token new` prints";
        let sha256 = table.required("sha256", remedy);
        let expires = table.text("expires");
        let role = table.text("role");
        table.finish();
        let role = match role.as_ref().map(|r| r.value.as_str()) {
            None | Some("client") => TokenRole::Client,
            Some("auditor") => TokenRole::Auditor,
            Some("owner") => TokenRole::Owner,
            Some(other) => {
                let span = role.as_ref().map(|r| r.span.clone()).unwrap_or_default();
                let what = format!("`{other}` is no role of a token");
                reader.problem(&span, what, "write \"client\", \"auditor\" or \"owner\"");
                continue;
            }
        };
        let end = expires.as_ref().and_then(|e| Timestamp::parse(&e.value));
        if let Some(e) = expires.as_ref().filter(|_| end.is_none()) {
            let what = format!("`{}` is no time", e.value);
            reader.problem(&e.span, what, "write \"2030-01-31T00:00:00Z\"");
            continue;
        }
        let (Some(name), Some(sha256)) = (name, sha256) else { continue };
        let Ok(digest) = sha256.value.parse::<Sha256Digest>() else {
            // What stands there may be the token itself.
            let what =
                format!("`sha256` of `{}` is no digest of 64 hexadecimal digits", name.value);
            reader.problem(&sha256.span, what, format!("write {remedy}"));
            continue;
        };
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
        if name.value.is_empty() || name.value.len() > 100 || !name.value.chars().all(named) {
            let what = format!("`{}` is no name of a token", name.value);
            reader.problem(&name.span, what, "use up to 100 letters, digits and - _ . @ +");
            continue;
        }
        if out.iter().any(|t| t.name == name.value || t.sha256 == digest) {
            let what = format!("the token of `{}` is there twice", name.value);
            reader.problem(&name.span, what, "give each its own name and token");
            continue;
        }
        out.push(TokenConfig { name: name.value, sha256: digest, expires: end, role });
    }
    out
}
