//! The tokens that clients show.
//!
//! A token is known by the SHA-256 of its secret alone, so that a configuration that leaks opens
//! nothing. Secrets are expected to be long and random; there is no slow hash, since each request
//! of a client would pay for it.

use base64::Engine as _;
use countersign_core::{Sha256Digest, Timestamp};
use countersign_engine::config::TokenRole;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// Who may ask, by what they show.
#[derive(Clone)]
pub struct Token {
    /// The name in logs, the fetch log and policies.
    pub name: Arc<str>,
    /// The SHA-256 of the secret.
    pub sha256: Sha256Digest,
    /// From when on it opens nothing; `None` for no end.
    pub expires: Option<Timestamp>,
    /// What it is for.
    pub role: TokenRole,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("expires", &self.expires).finish()
    }
}

/// What a request's credentials say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// A token that holds; its name and what it is for.
    Holds(Arc<str>, TokenRole),
    /// None was shown.
    Nothing,
    /// What was shown opens nothing.
    Unknown,
    /// The token that was shown has ended; its name.
    Expired(Arc<str>),
}

/// Finds the token whose secret a header carries: as Bearer (RFC 6750), as the password of Basic
/// with any user name (RFC 7617), or alone, as cargo sends it.
///
/// Every token is compared, in constant time, so that the time of the answer tells nothing.
pub(super) fn shown(tokens: &[Token], header: Option<&HeaderValue>, now: Timestamp) -> Shown {
    let Some(header) = header else { return Shown::Nothing };
    let Some(secret) = secret_of(header).filter(|s| !s.is_empty()) else { return Shown::Unknown };
    let digest = Sha256Digest::of(&secret);
    let mut found = u32::MAX;
    for (i, token) in (0u32..).zip(tokens) {
        let same: Choice = token.sha256.0.ct_eq(&digest.0);
        found.conditional_assign(&i, same);
    }
    match usize::try_from(found).ok().and_then(|i| tokens.get(i)) {
        None => Shown::Unknown,
        Some(t) if t.expires.is_some_and(|end| now >= end) => Shown::Expired(t.name.clone()),
        Some(t) => Shown::Holds(t.name.clone(), t.role),
    }
}

fn secret_of(header: &HeaderValue) -> Option<Vec<u8>> {
    let text = header.to_str().ok()?.trim();
    let (scheme, rest) = text.split_once(' ').unwrap_or(("", text));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
        let at = pair.iter().position(|b| *b == b':')?;
        return pair.get(at + 1..).map(<[u8]>::to_vec);
    }
    Some(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, secret: &str, expires: Option<i64>) -> Token {
        Token {
            name: name.into(),
            sha256: Sha256Digest::of(secret.as_bytes()),
            expires: expires.map(Timestamp),
            role: TokenRole::Client,
        }
    }

    fn look(header: &str) -> Shown {
        let tokens = [
            token("ci", "s3cret", None),
            token("old", "gone", Some(100)),
            token("soon", "still", Some(101)),
        ];
        shown(&tokens, Some(&HeaderValue::from_str(header).unwrap()), Timestamp(100))
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }

    #[test]
    fn a_secret_is_taken_in_three_forms() {
        let holds = Shown::Holds("ci".into(), TokenRole::Client);
        for header in [
            "Bearer s3cret".to_owned(),
            "bearer  s3cret".into(),
            "s3cret".into(),
            basic("anyone:s3cret"),
            basic(":s3cret"),
        ] {
            assert_eq!(look(&header), holds, "{header}");
        }
        assert_eq!(look("Bearer still"), Shown::Holds("soon".into(), TokenRole::Client));
    }

    #[test]
    fn nothing_else_opens() {
        for header in [
            "Bearer s3cre".to_owned(),
            "Bearer s3cret2".into(),
            "Bearer".into(),
            "".into(),
            "Digest s3cret".into(),
            "Basic s3cret".into(),
            "Basic !!!".into(),
            basic("s3cret"),
            basic("s3cret:"),
            basic("anyone:x:s3cret"),
        ] {
            assert_eq!(look(&header), Shown::Unknown, "{header}");
        }
        assert_eq!(look("Bearer gone"), Shown::Expired("old".into()));
        assert_eq!(shown(&[], None, Timestamp(0)), Shown::Nothing);
        assert_eq!(
            shown(&[], Some(&HeaderValue::from_static("Bearer x")), Timestamp(0)),
            Shown::Unknown
        );
    }

    #[test]
    fn debug_shows_no_digest() {
        let t = token("ci", "s3cret", None);
        assert!(!format!("{t:?}").contains(&t.sha256.to_hex()));
    }
}
