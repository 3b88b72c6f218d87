//! The secret of one run, without which the gateway answers nobody.

use base64::Engine as _;
use subtle::ConstantTimeEq as _;

/// A random secret that the client hands over as its proxy password.
#[derive(Clone)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The user name in the proxy's address. It carries no secret.
pub(crate) const PROXY_USER: &str = "countersign";

impl Secret {
    /// A new secret of 128 random bits.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn new() -> std::io::Result<Self> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The secret's text, for the client's environment and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a `Proxy-Authorization` header's value carries this secret (RFC 7617, Basic).
    #[must_use]
    pub fn is_in(&self, header: Option<&http::HeaderValue>) -> bool {
        let Some(text) = header.and_then(|h| h.to_str().ok()) else { return false };
        let Some((scheme, token)) = text.split_once(' ') else { return false };
        if !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let Ok(decoded) = base64::engine::general_purpose::STANDARD.decode(token.trim()) else {
            return false;
        };
        let want = format!("{PROXY_USER}:{}", self.0);
        decoded.ct_eq(want.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> http::HeaderValue {
        let token = base64::engine::general_purpose::STANDARD.encode(text);
        http::HeaderValue::from_str(&format!("Basic {token}")).unwrap()
    }

    #[test]
    fn only_the_whole_secret_opens() {
        let s = Secret::new().unwrap();
        assert!(s.is_in(Some(&basic(&format!("countersign:{}", s.expose())))));
        assert!(!s.is_in(Some(&basic("countersign:"))));
        assert!(!s.is_in(Some(&basic(&format!("countersign:{}x", s.expose())))));
        assert!(!s.is_in(Some(&basic(s.expose()))));
        assert!(!s.is_in(Some(&http::HeaderValue::from_static("Bearer x"))));
        assert!(!s.is_in(None));
    }

    #[test]
    fn debug_hides_it() {
        let s = Secret::new().unwrap();
        assert!(!format!("{s:?}").contains(s.expose()));
    }
}
