//! `countersign.toml`: what the clients' own configuration cannot say.

use countersign_core::Ecosystem;
use countersign_policy::PurlPattern;
use serde::Deserialize;
use std::path::PathBuf;

/// The contents of `countersign.toml`; every key is optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The policy: `audit`, `baseline`, `strict`, or a folder.
    pub policy: Option<String>,
    /// Folders of evidence keyed by digest.
    #[serde(default)]
    pub evidence: Vec<PathBuf>,
    /// Purl patterns that are always refused.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Purl patterns that the cool-down does not apply to.
    #[serde(default)]
    pub allow: Vec<String>,
    /// What is to be known about upstreams beyond what the clients say.
    #[serde(default)]
    pub upstream: Vec<UpstreamConfig>,
    /// Names that belong to one upstream.
    #[serde(default)]
    pub reserve: Vec<Reserve>,
    /// Sizes that are refused.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// How long an upstream may be silent.
    #[serde(default)]
    pub patience: PatienceConfig,
}

/// One `[[upstream]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpstreamConfig {
    /// The protocol that it speaks.
    pub ecosystem: Ecosystem,
    /// Its base address.
    pub url: String,
    /// A name for reports, policies and `[[reserve]]`.
    pub name: Option<String>,
    /// Whether its publish times are its own: ages are then unknown, not new.
    #[serde(default)]
    pub mirror: bool,
    /// Hosts that its downloads may be redirected to.
    #[serde(default)]
    pub redirects: Vec<String>,
}

/// One `[[reserve]]`: names that only one upstream may offer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reserve {
    /// The names, as a purl pattern: `pkg:npm/@acme/*`.
    pub pattern: String,
    /// The upstream's name or address.
    pub upstream: String,
}

/// `[limits]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
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
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
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

/// Why a configuration cannot be used; names file, line and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("`{file}` is not a usable configuration: {because}")]
pub struct ConfigError {
    /// The file as named.
    pub file: String,
    /// What is wrong, with its line where the format tells.
    pub because: String,
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
    /// On unknown keys, wrong types and malformed purl patterns.
    pub fn parse(file: &str, text: &str) -> Result<(Self, Lists), ConfigError> {
        let err = |because: String| ConfigError { file: file.to_owned(), because };
        let config: Self = toml::from_str(text).map_err(|e| err(e.to_string()))?;
        let patterns = |list: &[String]| -> Result<Vec<PurlPattern>, ConfigError> {
            list.iter().map(|p| PurlPattern::parse(p).map_err(|e| err(e.to_string()))).collect()
        };
        let reserve = config
            .reserve
            .iter()
            .map(|r| {
                Ok((
                    PurlPattern::parse(&r.pattern).map_err(|e| err(e.to_string()))?,
                    r.upstream.clone(),
                ))
            })
            .collect::<Result<_, ConfigError>>()?;
        let lists =
            Lists { deny: patterns(&config.deny)?, allow: patterns(&config.allow)?, reserve };
        for u in &config.upstream {
            if crate::upstream::Upstream::new(u.ecosystem, &u.url).is_none() {
                return Err(err(format!(
                    "upstream `{}` is not an http or https address",
                    crate::shown_address(&u.url)
                )));
            }
        }
        Ok((config, lists))
    }
}

impl Lists {
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
mod tests {
    use super::*;
    use crate::upstream::Upstream;
    use countersign_core::{Purl, Reservation};

    #[test]
    fn a_typo_is_an_error_with_its_line() {
        let e = Config::parse("countersign.toml", "policy = \"strict\"\ndenny = []\n").unwrap_err();
        let text = e.to_string();
        assert!(text.contains("denny") && text.contains("line 2"), "{text}");
    }

    #[test]
    fn reserved_names_belong_to_one_upstream() {
        let (_, lists) = Config::parse(
            "c",
            "[[reserve]]\npattern = \"pkg:npm/@acme/*\"\nupstream = \"https://npm.acme.example\"\n",
        )
        .unwrap();
        let purl = Purl::new(Ecosystem::Npm, "@acme/tools", Some("1.0.0"));
        let public = Upstream::new(Ecosystem::Npm, "https://registry.example/").unwrap();
        let own = Upstream::new(Ecosystem::Npm, "https://npm.acme.example/").unwrap();
        assert!(matches!(lists.reservation(&purl, &public), Reservation::Elsewhere { .. }));
        assert_eq!(lists.reservation(&purl, &own), Reservation::Here);
        let other = Purl::new(Ecosystem::Npm, "lodash", Some("1.0.0"));
        assert_eq!(lists.reservation(&other, &public), Reservation::None);
    }
}
