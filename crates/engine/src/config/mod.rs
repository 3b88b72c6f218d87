//! `countersign.toml`: what the clients' own configuration cannot say, and how the gateway serves.
//!
//! The file is read strictly, and to its end: each fault is named with its line and what to write
//! in its stead, all of them at once.

mod key;
mod problem;
mod read;
mod serve;
mod upstream;

pub use key::{KeyConfig, KeyPlace};
pub use problem::{ConfigError, Problem};
pub use serve::{
    AddressRange, DEFAULT_LISTEN, LogForm, MemoryConfig, ServeConfig, TlsFiles, TokenConfig,
    TokenRole,
};
pub use upstream::{CredentialConfig, CredentialPlace, CredentialScheme, UpstreamConfig};

use crate::recall::RecallConfig;
use crate::sources::EvidenceSource;
use crate::trust::TrustConfig;
use countersign_policy::PurlPattern;
use read::{At, Reader, Table};
use std::path::PathBuf;

/// The contents of `countersign.toml`; every key is optional.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The policy: `audit`, `baseline`, `strict`, or a folder.
    pub policy: Option<String>,
    /// Where evidence is kept by digest: folders, http trees, or repositories of OCI registries.
    pub evidence: Vec<EvidenceSource>,
    /// Folders of rules for malicious code, in YARA's language.
    pub rules: Vec<PathBuf>,
    /// Files of popular packages' names, by rank.
    pub popular: Vec<PathBuf>,
    /// Whether rules that do not compile are left out; else they are an error.
    pub skip_broken_rules: bool,
    /// Purl patterns that are always refused.
    pub deny: Vec<String>,
    /// Purl patterns that the cool-down does not apply to.
    pub allow: Vec<String>,
    /// What is to be known about upstreams beyond what the clients say.
    pub upstream: Vec<UpstreamConfig>,
    /// Keys of the organisation, and what each counts for.
    pub key: Vec<KeyConfig>,
    /// Names that belong to one upstream.
    pub reserve: Vec<Reserve>,
    /// Sizes that are refused.
    pub limits: LimitsConfig,
    /// How long an upstream may be silent.
    pub patience: PatienceConfig,
    /// How `countersign serve` serves.
    pub serve: ServeConfig,
    /// Who is told of recalls.
    pub recall: RecallConfig,
    /// Files of waivers.
    pub waivers: Vec<String>,
    /// Where VEX documents lie.
    pub vex: VexConfig,
    /// Where Sigstore's root is updated from, and how old it may become.
    pub trust: TrustConfig,
}

/// `[vex]`: files or folders of OpenVEX and CSAF documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VexConfig {
    /// Those of whoever runs the gate.
    pub own: Vec<String>,
    /// Those of vendors.
    pub vendor: Vec<String>,
}

/// One `[[reserve]]`: names that only one upstream may offer.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// The names, as a purl pattern: `pkg:npm/@acme/*`.
    pub pattern: String,
    /// The upstream's name or address.
    pub upstream: String,
}

/// `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Largest artifact in bytes.
    pub artifact_bytes: u64,
    /// Largest index document in bytes.
    pub index_bytes: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { artifact_bytes: 8 << 30, index_bytes: 256 << 20 }
    }
}

/// `[patience]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatienceConfig {
    /// Seconds for a connection to come about.
    pub connect_seconds: u64,
    /// Seconds without a byte after which an upstream counts as stalled.
    pub read_seconds: u64,
}

impl Default for PatienceConfig {
    fn default() -> Self {
        Self { connect_seconds: 20, read_seconds: 60 }
    }
}

/// The lists of a configuration, parsed.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    deny: Vec<PurlPattern>,
    allow: Vec<PurlPattern>,
    reserve: Vec<(PurlPattern, String)>,
}

impl Config {
    /// Reads a configuration's text.
    ///
    /// # Errors
    /// On unknown keys, wrong types, malformed patterns and addresses: all of them at once.
    pub fn parse(file: &str, text: &str) -> Result<(Self, Lists), ConfigError> {
        let (reader, root) = Reader::new(file, text);
        let mut root = reader.root(root);
        let policy = root.text("policy").map(|p| p.value);
        let evidence = root.texts("evidence");
        let rules = root.texts("rules").into_iter().map(|at| PathBuf::from(at.value)).collect();
        let popular = root.texts("popular").into_iter().map(|at| PathBuf::from(at.value));
        let popular = popular.collect();
        let skip_broken_rules = root.boolean("skip-broken-rules").unwrap_or(false);
        let (deny, allow) = (root.texts("deny"), root.texts("allow"));
        let waivers = root.one_or_texts("waivers");
        let vex = root.table("vex").map(read_vex).unwrap_or_default();
        let upstream = upstream::read(&mut root);
        let key = key::read(&mut root);
        let reserve: Vec<(At<String>, String)> =
            root.tables("reserve").into_iter().filter_map(read_reserve).collect();
        let limits = root.table("limits").map(read_limits).unwrap_or_default();
        let patience = root.table("patience").map(read_patience).unwrap_or_default();
        let serve = root.table("serve").map(ServeConfig::read).unwrap_or_default();
        let recall = root.table("recall").map(read_recall).unwrap_or_default();
        let trust = root.table("trust").map(read_trust).unwrap_or_default();
        root.finish();
        let patterns = |list: &[At<String>]| -> Vec<PurlPattern> {
            list.iter().filter_map(|p| read_pattern(&reader, p)).collect()
        };
        let evidence = evidence.iter().filter_map(|e| read_source(&reader, e)).collect();
        let lists = Lists {
            deny: patterns(&deny),
            allow: patterns(&allow),
            reserve: reserve
                .iter()
                .filter_map(|(p, u)| Some((read_pattern(&reader, p)?, u.clone())))
                .collect(),
        };
        let plain = |list: Vec<At<String>>| list.into_iter().map(|p| p.value).collect();
        let reserve = reserve
            .into_iter()
            .map(|(p, upstream)| Reserve { pattern: p.value, upstream })
            .collect();
        let config = Self {
            policy,
            evidence,
            rules,
            popular,
            skip_broken_rules,
            deny: plain(deny),
            allow: plain(allow),
            upstream,
            key,
            reserve,
            limits,
            patience,
            serve,
            recall,
            waivers: plain(waivers),
            vex,
            trust,
        };
        reader.finish((config, lists))
    }
}

fn read_pattern(reader: &Reader<'_>, at: &At<String>) -> Option<PurlPattern> {
    match PurlPattern::parse(&at.value) {
        Ok(pattern) => Some(pattern),
        Err(e) => {
            reader.problem(&at.span, format!("`{}`: {}", e.text, e.because), e.help);
            None
        }
    }
}

fn read_source(reader: &Reader<'_>, at: &At<String>) -> Option<EvidenceSource> {
    match at.value.parse() {
        Ok(source) => Some(source),
        Err(because) => {
            let help = "name a folder, or an http address that ends in a path";
            reader.problem(&at.span, because, help);
            None
        }
    }
}

fn read_reserve(mut table: Table<'_, '_>) -> Option<(At<String>, String)> {
    let pattern = table.required("pattern", "\"pkg:npm/@acme/*\"");
    let upstream = table.required("upstream", "the name of the upstream that owns these names");
    table.finish();
    Some((pattern?, upstream?.value))
}

fn read_limits(mut table: Table<'_, '_>) -> LimitsConfig {
    let default = LimitsConfig::default();
    let artifact_bytes = table.number("artifact-bytes", 1..=u64::MAX);
    // More than this many bytes of one document could not be parsed in memory anyway.
    let index_bytes = table.number("index-bytes", 1..=8 << 30);
    table.finish();
    LimitsConfig {
        artifact_bytes: artifact_bytes.unwrap_or(default.artifact_bytes),
        index_bytes: index_bytes
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(default.index_bytes),
    }
}

fn read_patience(mut table: Table<'_, '_>) -> PatienceConfig {
    let default = PatienceConfig::default();
    let connect = table.number("connect-seconds", 1..=3600);
    let read = table.number("read-seconds", 1..=3600);
    table.finish();
    PatienceConfig {
        connect_seconds: connect.unwrap_or(default.connect_seconds),
        read_seconds: read.unwrap_or(default.read_seconds),
    }
}

fn read_vex(mut table: Table<'_, '_>) -> VexConfig {
    let mut places = |key| table.one_or_texts(key).into_iter().map(|p| p.value).collect();
    let vex = VexConfig { own: places("own"), vendor: places("vendor") };
    table.finish();
    vex
}

fn read_trust(mut table: Table<'_, '_>) -> TrustConfig {
    let reader = table.reader();
    let max_age = table.number("max-age-days", 1..=36_500).and_then(|n| u32::try_from(n).ok());
    let repository = table.text("repository").and_then(|at| match at.value.parse() {
        Ok(repository) => Some(repository),
        Err(because) => {
            let because: String = because;
            let help = "name a folder, or an http address that ends in a path";
            reader.problem(&at.span, because, help);
            None
        }
    });
    let root = table.text("root").map(|at| at.value.into());
    table.finish();
    let default = TrustConfig::default();
    TrustConfig { max_age_days: max_age.unwrap_or(default.max_age_days), repository, root }
}

fn read_recall(mut table: Table<'_, '_>) -> RecallConfig {
    let reader = table.reader();
    let command = table.texts("command").into_iter().map(|w| w.value).collect();
    let webhook = table.text("webhook").and_then(|at| match url::Url::parse(&at.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
        _ => {
            let what = "`webhook` is not an http or https address";
            reader.problem(&at.span, what, "write the address that the recall is posted to");
            None
        }
    });
    table.finish();
    RecallConfig { command, webhook }
}

impl Lists {
    /// A digest that tells these lists from others. Another version of the program may give
    /// another one: that costs a recall that finds nothing.
    #[must_use]
    pub fn digest(&self) -> countersign_core::Sha256Digest {
        countersign_core::Sha256Digest::of(format!("{self:?}").as_bytes())
    }

    /// Whether a deny pattern names it.
    #[must_use]
    pub fn denies(&self, purl: &countersign_core::Purl) -> bool {
        self.deny.iter().any(|p| p.matches(purl))
    }

    /// Whether an allow pattern names it.
    #[must_use]
    pub fn allows(&self, purl: &countersign_core::Purl) -> bool {
        self.allow.iter().any(|p| p.matches(purl))
    }

    /// The upstreams that the name is reserved for, by name or address without a slash at the end.
    pub fn owners(&self, purl: &countersign_core::Purl) -> impl Iterator<Item = &str> {
        let reserved = self.reserve.iter().filter(move |(p, _)| p.matches(purl));
        reserved.map(|(_, upstream)| upstream.trim_end_matches('/'))
    }

    /// Whether the name is reserved, seen from the upstream of that name and base address.
    #[must_use]
    pub fn reservation(
        &self,
        purl: &countersign_core::Purl,
        upstream: &crate::upstream::Upstream,
    ) -> countersign_core::Reservation {
        use countersign_core::Reservation;
        let owners: Vec<&String> =
            self.reserve.iter().filter(|(p, _)| p.matches(purl)).map(|(_, u)| u).collect();
        let is_here = |owner: &&String| {
            owner.trim_end_matches('/') == upstream.name
                || owner.trim_end_matches('/') == upstream.base.as_str().trim_end_matches('/')
        };
        match owners.first() {
            None => Reservation::None,
            Some(_) if owners.iter().any(is_here) => Reservation::Here,
            Some(owner) => Reservation::Elsewhere { owner: (*owner).clone() },
        }
    }
}

#[cfg(test)]
mod tests;
