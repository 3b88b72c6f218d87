//! Patterns over package URLs, for deny, allow and reserve lists.

use crate::spelling::nearest;
use countersign_core::{Ecosystem, Purl};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The longest pattern that is read, in bytes.
const MAX_LENGTH: usize = 512;

/// A package URL with `*` for any run of characters (also none, also across `/`) in its name and
/// its version: `pkg:npm/@acme/*`, `pkg:pypi/acme-*`, `pkg:cargo/serde@1.0.*`. Without a version
/// it matches every version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PurlPattern {
    ecosystem: Ecosystem,
    name: String,
    version: Option<String>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package pattern: {because}\n{help}")]
pub struct PatternError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub because: String,
    /// What to write instead.
    pub help: String,
}

impl PurlPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When the text has no known purl type or no name, or holds what the pattern language does
    /// not have (`?`, `[…]`, version ranges, qualifiers): a pattern that can never match protects
    /// nobody.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let err = |because: &str, help: &str| PatternError {
            text: text.chars().take(MAX_LENGTH).collect(),
            because: because.to_owned(),
            help: help.to_owned(),
        };
        if text.len() > MAX_LENGTH {
            return Err(err("it is too long", &format!("use at most {MAX_LENGTH} bytes")));
        }
        let rest = text
            .strip_prefix("pkg:")
            .ok_or_else(|| err("it does not start with `pkg:`", "write `pkg:npm/@acme/*`"))?;
        let (ty, rest) = rest
            .split_once('/')
            .ok_or_else(|| err("it names no package", "write `pkg:npm/*` for all of npm"))?;
        let ecosystem = Ecosystem::from_purl_type(ty)
            .ok_or_else(|| err(&format!("unknown type `{ty}`"), &type_advice(ty)))?;
        let rest = decode(rest).ok_or_else(|| {
            err("a `%` is not followed by two hexadecimal digits", "write the character itself")
        })?;
        if let Some(bad) = rest.chars().find(|c| !is_allowed(*c)) {
            return Err(err(
                &format!("`{}` has no meaning in it", bad.escape_default()),
                "`*` stands for any run of characters; there are no other wildcards, \
                 no version ranges and no qualifiers",
            ));
        }
        let (name, version) = split_version(&rest);
        if version.is_some_and(str::is_empty) {
            return Err(err("nothing follows the `@`", "leave the `@` out for every version"));
        }
        if ecosystem != Ecosystem::Debian && version.is_some_and(|v| v.starts_with('~')) {
            return Err(err(
                "a version is a text with `*`, not a range",
                "write `@1.2.*` instead of `@~1.2`",
            ));
        }
        let name = checked_name(ecosystem, name).map_err(|(because, help)| err(because, help))?;
        Ok(Self { ecosystem, name, version: version.map(str::to_owned) })
    }

    /// Whether `purl` is one of those that the pattern stands for. A pattern with a version does
    /// not match a purl without one.
    #[must_use]
    pub fn matches(&self, purl: &Purl) -> bool {
        self.ecosystem == purl.ecosystem()
            && glob(&self.name, purl.name())
            && match (&self.version, purl.version()) {
                (None, _) => true,
                (Some(pattern), Some(version)) => glob(pattern, version),
                (Some(_), None) => false,
            }
    }

    /// The ecosystem whose packages it matches.
    #[must_use]
    pub fn ecosystem(&self) -> Ecosystem {
        self.ecosystem
    }
}

fn type_advice(ty: &str) -> String {
    let types = Ecosystem::ALL.map(Ecosystem::purl_type);
    let lower = ty.to_ascii_lowercase();
    let meant = match lower.as_str() {
        "debian" | "apt" => Some("deb"),
        "python" | "pip" => Some("pypi"),
        "node" | "js" => Some("npm"),
        "rust" | "crate" | "crates" => Some("cargo"),
        "go" => Some("golang"),
        "java" => Some("maven"),
        other => nearest(other, types),
    };
    match meant {
        Some(word) => format!("did you mean `pkg:{word}/…`?"),
        None => format!("use one of: {}", types.join(", ")),
    }
}

/// Characters of names, versions and `*`; what has a meaning in other pattern languages is out.
fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "-._~+:!@/*()'".contains(c)
        || (!c.is_ascii() && !c.is_whitespace())
}

/// Splits `name@version`; an `@` that begins a scope is part of the name.
fn split_version(text: &str) -> (&str, Option<&str>) {
    let name_start = text.rfind('/').map_or(0, |i| i + 1);
    match text.get(name_start..).and_then(|last| last.rfind('@')) {
        Some(at) if name_start + at > 0 => {
            let (name, version) = text.split_at(name_start + at);
            (name, version.get(1..))
        }
        _ => (text, None),
    }
}

/// The name in the form in which purls hold it, or what is wrong with it and what to write.
fn checked_name(ecosystem: Ecosystem, name: &str) -> Result<String, (&'static str, &'static str)> {
    let name = match ecosystem {
        Ecosystem::Debian => name.strip_prefix("debian/").unwrap_or(name),
        _ => name,
    };
    if name.is_empty() || name.split('/').any(str::is_empty) {
        return Err(("it names no package", "write `*` for every package"));
    }
    match (ecosystem, name.split('/').count()) {
        (Ecosystem::Npm, 1) if name.starts_with('@') => {
            return Err(("it names a scope and no package", "write `pkg:npm/@scope/*`"));
        }
        (Ecosystem::Npm, 2) if !name.starts_with(['@', '*']) => {
            return Err(("an npm name with `/` starts with a scope", "write `pkg:npm/@scope/*`"));
        }
        (Ecosystem::Npm, 1 | 2) | (Ecosystem::Go, _) | (_, 1) => {}
        // As purls write it.
        (Ecosystem::Maven, 2) => return Ok(name.replacen('/', ":", 1)),
        _ => return Err(("names of its type have no such part before a `/`", "leave it out")),
    }
    Ok(ecosystem.canonical_name(name))
}

/// Percent-decodes, as purls write `@` (`%40`) and `+` (`%2B`).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b != b'%' {
            bytes.push(b);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Whether `text` is `pattern` with each `*` as any run of characters. Time is at most the product
/// of the lengths; there is no recursion.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        // Every part but the last is taken as early as it comes; the last must end the text.
        if let Some(middle) = last.replace(part) {
            match rest.split_once(middle) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

impl FromStr for PurlPattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for PurlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = if self.ecosystem == Ecosystem::Debian { "debian/" } else { "" };
        write!(f, "pkg:{}/{namespace}{}", self.ecosystem.purl_type(), self.name)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

impl Serialize for PurlPattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PurlPattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, purl, want) in [
            ("pkg:npm/@acme/*", "pkg:npm/%40acme/core@1.0.0", true),
            ("pkg:npm/%40acme/*", "pkg:npm/%40acme/core@1.0.0", true),
            ("pkg:npm/@acme/*", "pkg:npm/%40acme-evil/core@1.0.0", false),
            ("pkg:npm/@acme/*", "pkg:npm/acme@1.0.0", false),
            ("pkg:npm/*", "pkg:npm/%40acme/core@1.0.0", true),
            ("pkg:npm/*-internal", "pkg:npm/%40acme/x-internal@1", true),
            ("pkg:npm/*/*", "pkg:npm/lodash@1", false),
            ("pkg:npm/lodash@4.17.*", "pkg:npm/lodash@4.17.21", true),
            ("pkg:npm/lodash@4.17.*", "pkg:npm/lodash@4.18.0", false),
            ("pkg:npm/lodash@4.17.*", "pkg:npm/lodash", false),
            ("pkg:npm/@acme/core@1.0.0", "pkg:npm/%40acme/core@1.0.0", true),
            ("pkg:npm/@acme/core@1.0.0", "pkg:npm/%40acme/core@1.0.1", false),
            ("pkg:npm/lodash", "pkg:npm/lodash@4.17.21", true),
            ("pkg:npm/lodash", "pkg:npm/lodash-es@4.17.21", false),
            ("pkg:npm/*", "pkg:pypi/flask@3", false),
            ("pkg:pypi/Acme_*", "pkg:pypi/acme-tools@1", true),
            ("pkg:pypi/acme.tools", "pkg:pypi/Acme__Tools@1", true),
            ("pkg:cargo/a*b*c", "pkg:cargo/axxbyybc@1", true),
            ("pkg:cargo/a*b*c", "pkg:cargo/ac@1", false),
            ("pkg:cargo/ab*ba", "pkg:cargo/aba@1", false),
            ("pkg:deb/debian/openssl*", "pkg:deb/debian/openssl@3.0.11-1?arch=amd64", true),
            ("pkg:deb/openssl", "pkg:deb/debian/openssl@3.0.11-1", true),
            ("pkg:deb/debian/a@1:2.0~rc1+b1", "pkg:deb/debian/a@1:2.0~rc1%2Bb1", true),
        ] {
            let purl: Purl = purl.parse().unwrap();
            assert_eq!(
                PurlPattern::parse(pattern).unwrap().matches(&purl),
                want,
                "{pattern} {purl}"
            );
        }
    }

    #[test]
    fn mistakes_are_errors_that_say_what_to_write() {
        for (pattern, part) in [
            ("npm/@acme/*", "pkg:"),
            ("lodash", "pkg:"),
            ("pkg:npm", "names no package"),
            ("pkg:npm/", "names no package"),
            ("pkg:npm/@acme", "pkg:npm/@scope/*"),
            ("pkg:npm/@acme/", "names no package"),
            ("pkg:npm/acme/core", "scope"),
            ("pkg:npm/@acme/core/x", "leave it out"),
            ("pkg:debian/openssl", "did you mean `pkg:deb/"),
            ("pkg:pipy/flask", "did you mean `pkg:pypi/"),
            ("pkg:NPM/lodash", "did you mean `pkg:npm/"),
            ("pkg:gem/rails", "use one of: pypi, npm, cargo, deb"),
            ("pkg:deb/ubuntu/openssl", "leave it out"),
            ("pkg:npm/lod?sh", "no other wildcards"),
            ("pkg:npm/[a-z]*", "no other wildcards"),
            ("pkg:npm/{a,b}", "no other wildcards"),
            ("pkg:npm/lodash@>=4", "no version ranges"),
            ("pkg:npm/lodash@^4", "no version ranges"),
            ("pkg:npm/lodash@~4.1", "@1.2.*"),
            ("pkg:npm/lodash@", "leave the `@` out"),
            ("pkg:npm/lodash ", "has no meaning"),
            ("pkg:npm/%4", "hexadecimal"),
            ("pkg:npm/%ff", "hexadecimal"),
            ("pkg:deb/debian/a?arch=amd64", "no qualifiers"),
        ] {
            let e = PurlPattern::parse(pattern).expect_err(pattern);
            assert!(e.to_string().contains(part), "{pattern}: {e}");
        }
        assert!(PurlPattern::parse(&format!("pkg:npm/{}", "a".repeat(600))).is_err());
    }

    #[test]
    fn texts_round_trip() {
        for text in
            ["pkg:npm/@acme/*", "pkg:npm/lodash@4.*", "pkg:deb/debian/open*", "pkg:pypi/a-b"]
        {
            let p = PurlPattern::parse(text).unwrap();
            assert_eq!(p.to_string(), text);
            assert_eq!(serde_json::from_str::<PurlPattern>(&format!("{text:?}")).unwrap(), p);
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = PurlPattern::parse(&format!("pkg:cargo/{}b", "a*".repeat(100))).unwrap();
        assert!(!pattern.matches(&Purl::new(Ecosystem::Cargo, &"a".repeat(100_000), Some("1"))));
    }
}
