//! in-toto statements: what an attestation says, and about what.

use crate::error::{EvidenceError, shown};
use crate::json;
use countersign_core::normalize_pypi_name;
use serde_json::Value;

/// The statement types of in-toto that are read; both have the same fields.
const STATEMENT_TYPES: [&str; 2] =
    ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"];

const WHAT: &str = "in-toto statement";

/// An in-toto statement with its one subject (in-toto Attestation Framework, `Statement` v0.1
/// and v1). It is only text until it stands in a [`crate::Verified`] attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The subject's name: a package URL, a file name.
    pub subject: String,
    /// The subject's digests as attested: algorithm's name, hexadecimal text.
    pub digests: Vec<(String, String)>,
    /// The predicate type.
    pub predicate_type: String,
    /// The predicate; `null` when the statement has none.
    pub predicate: Value,
}

/// What an attestation has to be about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The subject's name.
    pub name: SubjectName<'a>,
    /// The artifact's SHA-256, as the gate computed it.
    pub sha256: Option<&'a [u8; 32]>,
    /// The artifact's SHA-512, as the gate computed it.
    pub sha512: Option<&'a [u8; 64]>,
}

/// How the subject's name is compared.
#[derive(Debug, Clone, Copy)]
pub enum SubjectName<'a> {
    /// It is equal, byte for byte.
    Exact(&'a str),
    /// It is the file name of a Python distribution, whose project name may be spelled in any
    /// way that PEP 503 holds to be the same; all else is equal, byte for byte.
    Distribution(&'a str),
    /// It is equal to one of these, byte for byte.
    OneOf(&'a [&'a str]),
}

impl SubjectName<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Exact(name) | Self::Distribution(name) => name,
            Self::OneOf(names) => names.first().copied().unwrap_or_default(),
        }
    }

    fn matches(&self, found: &str) -> bool {
        match self {
            Self::Exact(name) => *name == found,
            Self::Distribution(name) => *name == found || same_distribution(name, found),
            Self::OneOf(names) => names.contains(&found),
        }
    }
}

/// Whether two file names of wheels or source distributions differ at most in the spelling of
/// the project's name (Python packaging: "Binary distribution format", "Source distribution file
/// name").
fn same_distribution(a: &str, b: &str) -> bool {
    match (split_distribution(a), split_distribution(b)) {
        (Some((name_a, rest_a)), Some((name_b, rest_b))) => {
            rest_a == rest_b && normalize_pypi_name(name_a) == normalize_pypi_name(name_b)
        }
        _ => false,
    }
}

/// The project's name and all that follows it.
fn split_distribution(file: &str) -> Option<(&str, &str)> {
    if file.ends_with(".whl") {
        return file.split_once('-');
    }
    [".tar.gz", ".zip"].iter().find(|e| file.ends_with(**e))?;
    file.rsplit_once('-')
}

impl Statement {
    /// Reads the payload of an attestation.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, EvidenceError> {
        Self::from_value(json::parse(WHAT, payload)?)
    }

    /// Reads a payload that was parsed strictly.
    pub(crate) fn from_value(mut value: Value) -> Result<Self, EvidenceError> {
        check_type(&value)?;
        let [subject] = json::need_array(WHAT, &value, "/subject", usize::MAX)? else {
            return Err(EvidenceError::malformed(WHAT, "it does not have exactly one subject"));
        };
        let digests = subject
            .pointer("/digest")
            .and_then(Value::as_object)
            .ok_or_else(|| EvidenceError::malformed(WHAT, "its subject has no digests"))?;
        let digests = digests
            .iter()
            .map(|(algorithm, hex)| Some((algorithm.clone(), hex.as_str()?.to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| EvidenceError::malformed(WHAT, "a digest is not text"))?;
        Ok(Self {
            subject: json::need_text(WHAT, subject, "/name")?.to_owned(),
            digests,
            predicate_type: json::need_text(WHAT, &value, "/predicateType")?.to_owned(),
            predicate: value.pointer_mut("/predicate").map(Value::take).unwrap_or_default(),
        })
    }

    /// Checks that the statement is about `expected`: the name holds, every digest that can be
    /// compared is equal, and there is at least one.
    pub(crate) fn check(&self, expected: &Expected<'_>) -> Result<(), EvidenceError> {
        if !expected.name.matches(&self.subject) {
            return Err(EvidenceError::OtherSubject {
                found: shown(&self.subject),
                expected: shown(expected.name.text()),
            });
        }
        let mut compared = false;
        for (algorithm, found) in &self.digests {
            let Some(want) = expected.digest(algorithm) else { continue };
            if hex::decode(found).ok().as_deref() != Some(want) {
                return Err(EvidenceError::OtherDigest { algorithm: algorithm.clone() });
            }
            compared = true;
        }
        if compared { Ok(()) } else { Err(EvidenceError::NoCommonDigest) }
    }
}

/// Checks that a value is an in-toto statement of a version that is read.
pub(crate) fn check_type(value: &Value) -> Result<(), EvidenceError> {
    let kind = json::need_text(WHAT, value, "/_type")?;
    if STATEMENT_TYPES.contains(&kind) {
        return Ok(());
    }
    Err(EvidenceError::malformed(WHAT, format!("its type is `{kind}`")))
}

impl<'a> Expected<'a> {
    /// The artifact's digest under in-toto's name of the algorithm, when the gate has it.
    fn digest(&self, algorithm: &str) -> Option<&'a [u8]> {
        match algorithm {
            "sha256" => self.sha256.map(<[u8; 32]>::as_slice),
            "sha512" => self.sha512.map(<[u8; 64]>::as_slice),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; 32] = [1; 32];
    const TWO: [u8; 64] = [2; 64];

    fn statement(subjects: &str) -> Result<Statement, EvidenceError> {
        Statement::parse(
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","subject":{subjects},
                    "predicateType":"p","predicate":{{"a":1}}}}"#
            )
            .as_bytes(),
        )
    }

    fn expected(name: &str) -> Expected<'_> {
        Expected { name: SubjectName::Exact(name), sha256: Some(&ONE), sha512: Some(&TWO) }
    }

    #[test]
    fn all_comparable_digests_must_be_equal() {
        let (one, two, other) = (hex::encode(ONE), hex::encode(TWO), "03".repeat(32));
        let cases = [
            (format!(r#"{{"sha256":"{one}"}}"#), true),
            (format!(r#"{{"sha256":"{one}","sha512":"{two}"}}"#), true),
            (format!(r#"{{"sha512":"{two}","gitCommit":"00"}}"#), true),
            (format!(r#"{{"sha256":"{other}"}}"#), false),
            (format!(r#"{{"sha256":"{other}","sha512":"{two}"}}"#), false),
            (format!(r#"{{"sha256":"{one}","sha512":"{one}"}}"#), false),
            (r#"{"sha1":"00"}"#.to_owned(), false),
            ("{}".to_owned(), false),
            (r#"{"sha256":""}"#.to_owned(), false),
        ];
        for (digests, holds) in cases {
            let s = statement(&format!(r#"[{{"name":"n","digest":{digests}}}]"#)).unwrap();
            assert_eq!(s.check(&expected("n")).is_ok(), holds, "{digests}");
            assert!(s.check(&expected("m")).is_err(), "{digests}");
        }
    }

    #[test]
    fn exactly_one_subject() {
        let subject = format!(r#"{{"name":"n","digest":{{"sha256":"{}"}}}}"#, hex::encode(ONE));
        assert!(statement(&format!("[{subject}]")).is_ok());
        assert!(statement("[]").is_err());
        assert!(statement(&format!("[{subject},{subject}]")).is_err());
        assert!(statement(&subject).is_err());
        assert!(statement(r#"[{"digest":{}}]"#).is_err());
        assert!(statement(r#"[{"name":"n"}]"#).is_err());
        assert!(statement(r#"[{"name":"n","digest":{"sha256":1}}]"#).is_err());
    }

    #[test]
    fn only_in_toto_statements_are_read() {
        for bad in [
            r#"{"_type":"https://in-toto.io/Statement/v9","subject":[],"predicateType":"p"}"#,
            r#"{"subject":[],"predicateType":"p"}"#,
            "[]",
            "null",
        ] {
            assert!(Statement::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn distributions_are_compared_by_normalised_project_name() {
        for (a, b, same) in [
            ("Zope.Interface-5.0-py3-none-any.whl", "zope_interface-5.0-py3-none-any.whl", true),
            ("my-pkg-1.0.tar.gz", "my_pkg-1.0.tar.gz", true),
            ("my_pkg-1.0.tar.gz", "my_pkg-1.0.zip", false),
            ("my_pkg-1.0.tar.gz", "my_pkg-1.0.1.tar.gz", false),
            ("a-1.0-py3-none-any.whl", "a-1.0-py2-none-any.whl", false),
            ("a-1.0-py3-none-any.whl", "b-1.0-py3-none-any.whl", false),
            ("a.exe", "A.exe", false),
        ] {
            assert_eq!(SubjectName::Distribution(a).matches(b), same, "{a} {b}");
            assert_eq!(SubjectName::Exact(a).matches(b), a == b);
        }
    }
}
