//! Package URLs (purl specification, ECMA-427): the name of a package version everywhere.

use crate::ecosystem::Ecosystem;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A package URL of an ecosystem that the gate knows, with the name in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Purl {
    ecosystem: Ecosystem,
    /// The full name as its ecosystem spells it: `flask`, `@scope/name`, `serde`, `libc6`,
    /// `golang.org/x/net`, `org.example:artifact`.
    name: String,
    version: Option<String>,
    /// Qualifiers in canonical (sorted) order, such as `arch=amd64`.
    qualifiers: Vec<(String, String)>,
}

impl Purl {
    /// The purl of `name` at `version`; the name is brought to its canonical form.
    #[must_use]
    pub fn new(ecosystem: Ecosystem, name: &str, version: Option<&str>) -> Self {
        Self {
            ecosystem,
            name: ecosystem.canonical_name(name),
            version: version.map(str::to_owned),
            qualifiers: Vec::new(),
        }
    }

    /// The same purl with one more qualifier.
    #[must_use]
    pub fn with_qualifier(mut self, key: &str, value: &str) -> Self {
        self.qualifiers.retain(|(k, _)| k != key);
        self.qualifiers.push((key.to_owned(), value.to_owned()));
        self.qualifiers.sort();
        self
    }

    /// The ecosystem.
    #[must_use]
    pub fn ecosystem(&self) -> Ecosystem {
        self.ecosystem
    }

    /// The package's full name as its ecosystem spells it (`@scope/name` for npm).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, if the purl names one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The value of a qualifier.
    #[must_use]
    pub fn qualifier(&self, key: &str) -> Option<&str> {
        self.qualifiers.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// `name version`, or the name alone: how people say it.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.version {
            Some(v) => format!("{} {v}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Percent-encodes what a purl component may not hold as it is (ECMA-427, section 5.4).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b".-_~:".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// The name of an npm purl as it is written, which the general parser lower-cases.
fn npm_name(text: &str) -> Option<String> {
    let text = text.split(['?', '#']).next()?;
    let path = text.strip_prefix("pkg:")?.trim_start_matches('/').split_once('/')?.1;
    let name =
        path.rfind('@').filter(|at| *at > 0).map_or(path, |at| path.get(..at).unwrap_or(path));
    let mut out = Vec::new();
    let mut bytes = name.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let text = std::str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(text, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    let name = String::from_utf8(out).ok()?;
    let parts: Vec<&str> = name.split('/').collect();
    let sound = match parts.as_slice() {
        [one] => !one.is_empty(),
        [scope, one] => scope.len() > 1 && scope.starts_with('@') && !one.is_empty(),
        _ => false,
    };
    sound.then_some(name)
}

impl fmt::Display for Purl {
    /// Every part is encoded by itself, so that no character of a hostile name or version can begin
    /// another part. Names stay as they are: old npm names differ by case alone (`JSONStream`), and
    /// one text for two packages would let one stand for the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.ecosystem.purl_type())?;
        match (self.ecosystem, self.name.split_once('/')) {
            (Ecosystem::Npm, Some((scope, name))) => {
                write!(f, "{}/{}", escaped(scope), escaped(name))?;
            }
            (Ecosystem::Debian, _) => write!(f, "debian/{}", escaped(&self.name))?,
            (Ecosystem::Go, Some(_)) => {
                let parts: Vec<String> = self.name.split('/').map(escaped).collect();
                write!(f, "{}", parts.join("/"))?;
            }
            (Ecosystem::Maven, _) => match self.name.split_once(':') {
                Some((group, artifact)) => write!(f, "{}/{}", escaped(group), escaped(artifact))?,
                None => write!(f, "{}", escaped(&self.name))?,
            },
            _ => write!(f, "{}", escaped(&self.name))?,
        }
        if let Some(v) = &self.version {
            write!(f, "@{}", escaped(v))?;
        }
        for (i, (k, v)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{k}={}", if i == 0 { '?' } else { '&' }, escaped(v))?;
        }
        Ok(())
    }
}

/// Why a text is not a purl that the gate can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package URL that countersign knows: {because}")]
pub struct PurlError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub because: String,
}

impl FromStr for Purl {
    type Err = PurlError;
    fn from_str(text: &str) -> Result<Self, PurlError> {
        let err = |because: String| PurlError { text: text.to_owned(), because };
        let p = packageurl::PackageUrl::from_str(text).map_err(|e| err(e.to_string()))?;
        let ecosystem = Ecosystem::from_purl_type(p.ty()).ok_or_else(|| {
            let known = Ecosystem::ALL.map(Ecosystem::purl_type).join(", ");
            err(format!("type `{}` is not one of {known}", p.ty()))
        })?;
        let name = match (ecosystem, p.namespace()) {
            (Ecosystem::Npm, _) => {
                npm_name(text).ok_or_else(|| err("its name cannot be read".into()))?
            }
            (Ecosystem::Go, Some(namespace)) => format!("{namespace}/{}", p.name()),
            (Ecosystem::Maven, Some(group)) => format!("{group}:{}", p.name()),
            _ => p.name().to_owned(),
        };
        if ecosystem == Ecosystem::Go && name.split('/').any(str::is_empty) {
            return Err(err("a part of its name is empty".into()));
        }
        let mut qualifiers: Vec<(String, String)> =
            p.qualifiers().iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        qualifiers.sort();
        Ok(Self {
            ecosystem,
            name: ecosystem.canonical_name(&name),
            version: p.version().map(str::to_owned),
            qualifiers,
        })
    }
}

impl Serialize for Purl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_path_with_an_empty_part_is_no_name() {
        for text in ["pkg:golang/x/%2f@1", "pkg:golang/x%2f@1", "pkg:golang/%2fx@1"] {
            assert!(text.parse::<Purl>().is_err(), "{text}");
        }
    }

    #[test]
    fn canonical_texts_round_trip() {
        for text in [
            "pkg:pypi/flask@3.0.0",
            "pkg:npm/lodash@4.17.21",
            "pkg:npm/%40sigstore/core@1.0.0",
            "pkg:cargo/serde@1.0.228",
            "pkg:deb/debian/hello@2.10-3?arch=amd64",
            "pkg:deb/debian/gcc-12-base@12.2.0-14%2Bdeb12u1?arch=amd64",
            "pkg:golang/golang.org/x/net@v0.17.0",
            "pkg:golang/stdlib@1.21.3",
            "pkg:maven/org.apache.logging.log4j/log4j-core@2.17.1",
        ] {
            let p: Purl = text.parse().unwrap();
            let again: Purl = p.to_string().parse().unwrap();
            assert_eq!(p, again, "{text}");
        }
    }

    #[test]
    fn names_are_canonical() {
        let p: Purl = "pkg:pypi/Zope.Interface@5".parse().unwrap();
        assert_eq!(p.name(), "zope-interface");
        let p: Purl = "pkg:npm/%40Sigstore/core@1".parse().unwrap();
        assert_eq!(p.name(), "@Sigstore/core");
        let p: Purl = "pkg:golang/github.com/Masterminds/goutils@v1.1.0".parse().unwrap();
        assert_eq!(p.name(), "github.com/masterminds/goutils");
        let p: Purl = "pkg:maven/org.example/a.b@1".parse().unwrap();
        assert_eq!(p.name(), "org.example:a.b");
    }

    #[test]
    fn npm_names_that_differ_by_case_are_two() {
        let p: Purl = "pkg:npm/JSONStream@1.3.5".parse().unwrap();
        assert_eq!((p.name(), p.version()), ("JSONStream", Some("1.3.5")));
        assert_eq!(p.to_string(), "pkg:npm/JSONStream@1.3.5");
        let scoped = Purl::new(Ecosystem::Npm, "@a/b", Some("1.0.0+x"));
        assert_eq!(scoped.to_string(), "pkg:npm/%40a/b@1.0.0%2Bx");
        assert_eq!(scoped.to_string().parse::<Purl>().unwrap(), scoped);
    }

    #[test]
    fn no_part_can_begin_another() {
        let evil = Purl::new(Ecosystem::Debian, "libc6", Some("2.36/evil?x=y#z@1"));
        assert_eq!(evil.to_string().parse::<Purl>().unwrap(), evil);
        for text in ["pkg:npm/#a/b@1", "pkg:npm/J20%2f", "pkg:npm/a/b@1", "pkg:npm/@1.0.0"] {
            assert!(text.parse::<Purl>().is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_types_are_named() {
        let e = "pkg:gem/rails@7".parse::<Purl>().unwrap_err();
        assert!(e.to_string().contains("gem"), "{e}");
        assert!("flask".parse::<Purl>().is_err());
    }
}
