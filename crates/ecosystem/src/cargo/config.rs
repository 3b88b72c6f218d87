//! The index's `config.json`, and the download template in it (Cargo Book, "Registry Index").

use super::index::prefix;
use super::validate_name;
use crate::error::{IndexError, IndexLimits};
use crate::json::{parse_object, string};
use countersign_core::Sha256Digest;
use serde_json::Value;
use url::Url;

const WHAT: &str = "the crate index's config.json";

/// Longest URL that is matched, in bytes; it bounds the work on hostile requests.
const MAX_URL: usize = 2048;

/// An index's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoConfig {
    /// The template of download addresses.
    pub dl: String,
    /// The address of the registry's API, when it has one.
    pub api: Option<String>,
    /// Whether every request must carry a token.
    pub auth_required: bool,
}

/// Reads an index's `config.json`.
///
/// # Errors
/// When it is over the default limits, malformed, or its `dl` is no http(s) template.
pub fn parse_config(bytes: &[u8]) -> Result<CargoConfig, IndexError> {
    let map = parse_object(WHAT, bytes, &IndexLimits::default())?;
    let bad = |because: &str| IndexError::malformed(WHAT, "dl", because);
    let dl = string(&map, "dl").ok_or_else(|| bad("it is missing or not a string"))?;
    if dl.len() > MAX_URL || compile(dl).is_none() {
        return Err(bad("it is no http or https address"));
    }
    Ok(CargoConfig {
        dl: dl.to_owned(),
        api: string(&map, "api").map(str::to_owned),
        auth_required: map.get("auth-required").and_then(Value::as_bool) == Some(true),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Crate,
    Version,
    Prefix,
    LowerPrefix,
    Checksum,
}

/// The markers, and for each a word that survives URL parsing unchanged.
const MARKERS: [(&str, Marker, &str); 5] = [
    ("{crate}", Marker::Crate, "csmarker0crate"),
    ("{version}", Marker::Version, "csmarker1version"),
    ("{prefix}", Marker::Prefix, "csmarker2prefix"),
    ("{lowerprefix}", Marker::LowerPrefix, "csmarker3lowerprefix"),
    ("{sha256-checksum}", Marker::Checksum, "csmarker4checksum"),
];

/// The template with the path that is meant when it has no marker.
fn full_template(dl: &str) -> String {
    if MARKERS.iter().any(|(marker, ..)| dl.contains(marker)) {
        dl.to_owned()
    } else {
        format!("{dl}/{{crate}}/{{version}}/download")
    }
}

/// Where a crate's file is.
#[must_use]
pub fn download_url(
    config: &CargoConfig,
    name: &str,
    version: &str,
    cksum: &Sha256Digest,
) -> String {
    let mut url = full_template(&config.dl);
    for (text, marker, _) in MARKERS {
        let value = match marker {
            Marker::Crate => name.to_owned(),
            Marker::Version => version.to_owned(),
            Marker::Prefix => prefix(name),
            Marker::LowerPrefix => prefix(&name.to_lowercase()),
            Marker::Checksum => cksum.to_hex(),
        };
        url = url.replace(text, &value);
    }
    url
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Marker(Marker),
}

/// The template as parts of a normalized URL; `None` when it is no http(s) URL.
fn compile(dl: &str) -> Option<Vec<Part>> {
    let mut template = full_template(dl);
    for (text, _, word) in MARKERS {
        template = template.replace(text, word);
    }
    let url = Url::parse(&template).ok().filter(crate::text::is_web)?;
    let text = normal_text(&url);
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let next = MARKERS
            .iter()
            .filter_map(|(_, marker, word)| Some((rest.find(word)?, *marker, word.len())))
            .min_by_key(|(at, ..)| *at);
        let Some((at, marker, len)) = next else {
            parts.push(Part::Text(rest.to_owned()));
            break;
        };
        if at > 0 {
            parts.push(Part::Text(rest.get(..at)?.to_owned()));
        }
        parts.push(Part::Marker(marker));
        rest = rest.get(at + len..)?;
    }
    // A marker in the host would let the answer come from anywhere.
    let host = url.host_str().unwrap_or("");
    let fixed = !MARKERS.iter().any(|(.., word)| host.contains(word));
    fixed.then_some(parts)
}

/// A URL's text for comparison: default port, user and fragment gone, `+` as itself.
fn normal_text(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    // These fail only for URLs without a host, which are not web addresses.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().replace("%2B", "+").replace("%2b", "+")
}

/// The crate and version that a download address is for: the inverse of [`download_url`].
///
/// `dl` and `url` are compared in normal form, so an explicit default port does not matter.
/// `None` when the URL is not one of the template's, or what it holds is no crate name or version.
#[must_use]
pub fn match_download(dl: &str, url: &Url) -> Option<(String, String)> {
    if dl.len() > MAX_URL || url.as_str().len() > MAX_URL {
        return None;
    }
    let parts = compile(dl)?;
    let text = normal_text(url);
    let found = Found::default().walk(&parts, &text)?;
    let (name, version) = (found.name?, found.version?);
    semver::Version::parse(version).ok()?;
    Some((name.to_owned(), version.to_owned()))
}

#[derive(Debug, Clone, Copy, Default)]
struct Found<'t> {
    name: Option<&'t str>,
    version: Option<&'t str>,
    prefix: Option<&'t str>,
    lower_prefix: Option<&'t str>,
}

impl<'t> Found<'t> {
    /// Matches the parts against the text. Each marker is tried with each text that it may have,
    /// once: a second occurrence must have the text of the first, so the work is bounded by the
    /// lengths of a name and a version and by the few forms of a prefix.
    fn walk(self, parts: &[Part], text: &'t str) -> Option<Self> {
        let Some((part, parts)) = parts.split_first() else {
            return (text.is_empty() && self.agrees()).then_some(self);
        };
        let marker = match part {
            Part::Text(fixed) => return self.walk(parts, text.strip_prefix(fixed.as_str())?),
            Part::Marker(marker) => *marker,
        };
        let known = match marker {
            Marker::Crate => self.name,
            Marker::Version => self.version,
            Marker::Prefix => self.prefix,
            Marker::LowerPrefix => self.lower_prefix,
            Marker::Checksum => None,
        };
        if let Some(known) = known {
            return self.walk(parts, text.strip_prefix(known)?);
        }
        lengths(marker, text).into_iter().find_map(|len| {
            let (value, rest) = text.split_at_checked(len)?;
            self.with(marker, value)?.walk(parts, rest)
        })
    }

    fn with(mut self, marker: Marker, value: &'t str) -> Option<Self> {
        match marker {
            Marker::Crate => self.name = Some(value).filter(|v| validate_name(v)),
            Marker::Version => self.version = Some(value),
            Marker::Prefix => self.prefix = Some(value),
            Marker::LowerPrefix => self.lower_prefix = Some(value),
            Marker::Checksum => return Some(self),
        }
        (marker != Marker::Crate || self.name.is_some()).then_some(self)
    }

    /// Whether the prefixes are the name's own and the version is one.
    fn agrees(&self) -> bool {
        let Some(name) = self.name else { return false };
        self.prefix.is_none_or(|p| p == prefix(name))
            && self.lower_prefix.is_none_or(|p| p == prefix(&name.to_lowercase()))
            && self.version.is_some_and(|v| semver::Version::parse(v).is_ok())
    }
}

/// The lengths that a marker's text may have at the start of `text`, longest first.
fn lengths(marker: Marker, text: &str) -> Vec<usize> {
    let run = |allowed: fn(u8) -> bool, max: usize| {
        text.bytes().take(max).take_while(|b| allowed(*b)).count()
    };
    match marker {
        Marker::Crate => {
            let max = run(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b), super::MAX_NAME);
            (1..=max).rev().collect()
        }
        Marker::Version => {
            let max = run(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b), 256);
            (5..=max).rev().collect()
        }
        // `1`, `2`, `3/a`, `ab/cd`.
        Marker::Prefix | Marker::LowerPrefix => vec![5, 3, 1],
        Marker::Checksum => {
            let max = run(|b| b.is_ascii_hexdigit(), 64);
            if max == 64 { vec![64] } else { Vec::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEMPLATES: [&str; 8] = [
        "https://registry.example/api/v1/crates",
        "https://registry.example:443/api/v1/crates",
        "http://127.0.0.1:8080/dl/",
        "https://files.example/{crate}/{crate}-{version}.crate",
        "https://files.example/{lowerprefix}/{crate}/{version}/download",
        "https://files.example/{prefix}/{crate}-{version}",
        "https://files.example/{sha256-checksum}/{crate}/{version}?x=1",
        "https://Files.Example/a/../{crate}-{version}/{sha256-checksum}.crate",
    ];

    fn config(dl: &str) -> CargoConfig {
        parse_config(format!(r#"{{"dl":"{dl}"}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn configurations_are_read() {
        let text = br#"{"dl":"https://files.example/dl","api":"https://registry.example","auth-required":true}"#;
        let got = parse_config(text).unwrap();
        assert_eq!(got.api.as_deref(), Some("https://registry.example"));
        assert!(got.auth_required);
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"dl":1}"#,
            r#"{"dl":"file:///x"}"#,
            r#"{"dl":"x"}"#,
            r#"{"dl":"https://{crate}.files.example/{version}"}"#,
        ] {
            assert!(parse_config(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn download_urls_follow_the_template() {
        let cksum = Sha256Digest([0xab; 32]);
        let hex = "ab".repeat(32);
        for (dl, want) in [
            (
                TEMPLATES[0],
                "https://registry.example/api/v1/crates/My-Crate/1.0.0/download".to_owned(),
            ),
            (TEMPLATES[3], "https://files.example/My-Crate/My-Crate-1.0.0.crate".to_owned()),
            (TEMPLATES[4], "https://files.example/my/-c/My-Crate/1.0.0/download".to_owned()),
            (TEMPLATES[5], "https://files.example/My/-C/My-Crate-1.0.0".to_owned()),
            (TEMPLATES[6], format!("https://files.example/{hex}/My-Crate/1.0.0?x=1")),
        ] {
            assert_eq!(download_url(&config(dl), "My-Crate", "1.0.0", &cksum), want);
        }
    }

    #[test]
    fn foreign_urls_do_not_match() {
        for (dl, url) in [
            (TEMPLATES[0], "https://files.example/api/v1/crates/a/1.0.0/download"),
            (TEMPLATES[0], "http://registry.example/api/v1/crates/a/1.0.0/download"),
            (TEMPLATES[0], "https://registry.example:444/api/v1/crates/a/1.0.0/download"),
            (TEMPLATES[0], "https://registry.example/api/v1/crates/a/1.0.0/download/x"),
            (TEMPLATES[0], "https://registry.example/api/v1/crates/a/1.0/download"),
            (TEMPLATES[0], "https://registry.example/api/v1/crates/a%2F/1.0.0/download"),
            (TEMPLATES[3], "https://files.example/a/b-1.0.0.crate"),
            (TEMPLATES[4], "https://files.example/ab/cd/serde/1.0.0/download"),
            (TEMPLATES[6], "https://files.example/abc/serde/1.0.0?x=1"),
        ] {
            assert_eq!(match_download(dl, &Url::parse(url).unwrap()), None, "{dl} {url}");
        }
    }

    proptest! {
        #[test]
        fn matching_inverts_downloading(
            dl in prop::sample::select(&TEMPLATES[..]),
            name in "[A-Za-z][A-Za-z0-9_-]{0,8}",
            version in "[1-9]?[0-9]\\.[0-9]\\.[0-9](-[a-z]{1,3}\\.1)?(\\+[a-z]{1,3})?",
            cksum in any::<[u8; 32]>(),
        ) {
            let url = Url::parse(&download_url(&config(dl), &name, &version, &Sha256Digest(cksum))).unwrap();
            // A name has no dot and a version has one, so `a-1-1.0.0` has only one reading.
            prop_assert_eq!(match_download(dl, &url), Some((name, version)));
        }

        #[test]
        fn hostile_input_never_panics(dl in "https://f\\.example/([a-z{}/-]|\\{crate\\}|\\{version\\}|\\{prefix\\}){0,12}", path in "[a-z0-9./%-]{0,80}") {
            if let Ok(url) = Url::parse(&format!("https://f.example/{path}")) {
                let _ = match_download(&dl, &url);
            }
        }
    }
}
