//! PKCS#11 URIs (RFC 7512), as far as they name a key on a token and the module that reaches it.

use crate::error::SignerError;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest URI that is read, in bytes.
const MAX_LENGTH: usize = 2048;

/// Which key on which token: `pkcs11:token=build;object=release?module-path=/usr/lib/….so`.
///
/// The PIN is no part of it: it would be kept and shown with the URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's label.
    pub object: Option<String>,
    /// The key's id.
    pub id: Option<Vec<u8>>,
    /// The module, a shared library.
    pub module: PathBuf,
}

impl FromStr for TokenUri {
    type Err = SignerError;

    fn from_str(text: &str) -> Result<Self, SignerError> {
        let bad = |because: &str| SignerError::Uri {
            text: text.chars().take(MAX_LENGTH).collect(),
            because: because.to_owned(),
        };
        if text.len() > MAX_LENGTH {
            return Err(bad("it is too long"));
        }
        let rest = text.strip_prefix("pkcs11:").ok_or_else(|| bad("it does not start so"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut token, mut serial, mut object, mut id, mut module) =
            (None, None, None, None, None);
        let pairs = path.split(';').chain(query.split('&')).filter(|p| !p.is_empty());
        for pair in pairs {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| bad("an attribute has no `=`"))?;
            let bytes = decode(value).ok_or_else(|| bad("a `%` is not followed by two digits"))?;
            let text = || {
                let text = String::from_utf8(bytes.clone());
                text.map_err(|_| bad("an attribute is not UTF-8"))
            };
            let again = match name {
                "token" => token.replace(text()?).is_some(),
                "serial" => serial.replace(text()?).is_some(),
                "object" => object.replace(text()?).is_some(),
                "id" => id.replace(bytes.clone()).is_some(),
                "module-path" => module.replace(PathBuf::from(text()?)).is_some(),
                // What kind of object is meant is known; who made the token is not asked.
                "type" | "manufacturer" | "model" | "slot-description" | "slot-manufacturer" => {
                    false
                }
                "pin-value" | "pin-source" => {
                    return Err(bad("it must not hold the PIN; give it as a passphrase is given"));
                }
                _ => return Err(bad(&format!("`{name}` is not understood"))),
            };
            if again {
                return Err(bad(&format!("`{name}` stands twice")));
            }
        }
        let module = module.ok_or_else(|| {
            bad("it names no module; add ?module-path=/path/to/the/token's/library.so")
        })?;
        if !module.is_absolute() {
            return Err(bad("module-path must be an absolute path"));
        }
        if object.is_none() && id.is_none() {
            return Err(bad("it names no key; add object=LABEL or id=%01"));
        }
        Ok(Self { token, serial, object, id, module })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.extend(hex::decode(digits).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

fn encode(bytes: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]@!$'()*+,".contains(&b);
    let one = |b: &u8| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") };
    bytes.iter().map(one).collect()
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [("token", &self.token), ("serial", &self.serial), ("object", &self.object)];
        let mut parts: Vec<String> = texts
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
            .map(|(name, value)| format!("{name}={}", encode(value.as_bytes())))
            .collect();
        let every = |id: &Vec<u8>| id.iter().map(|b| format!("%{b:02X}")).collect::<String>();
        parts.extend(self.id.iter().map(|id| format!("id={}", every(id))));
        let module = encode(self.module.as_os_str().as_encoded_bytes());
        write!(f, "pkcs11:{}?module-path={module}", parts.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_reads_back_as_it_was_written() {
        for text in [
            "pkcs11:token=build;object=release?module-path=/usr/lib/softhsm/libsofthsm2.so",
            "pkcs11:serial=4A;id=%01%FF?module-path=/m.so",
            "pkcs11:token=My%20token%3B;object=a%3Fb?module-path=/m.so",
        ] {
            let uri: TokenUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
        }
        let uri: TokenUri = "pkcs11:object=a;type=private?module-path=/m.so".parse().unwrap();
        assert_eq!(uri.object.as_deref(), Some("a"));
    }

    #[test]
    fn what_names_no_key_or_holds_the_pin_is_refused() {
        let long = format!("pkcs11:object={}?module-path=/m.so", "a".repeat(3000));
        for (text, because) in [
            ("", "start"),
            ("pkcs11:object=a", "module"),
            ("pkcs11:object=a?module-path=m.so", "absolute"),
            ("pkcs11:token=a?module-path=/m.so", "names no key"),
            ("pkcs11:object=a;object=b?module-path=/m.so", "twice"),
            ("pkcs11:object=%4?module-path=/m.so", "digits"),
            ("pkcs11:object=%FF?module-path=/m.so", "UTF-8"),
            ("pkcs11:object?module-path=/m.so", "no `=`"),
            ("pkcs11:object=a?module-path=/m.so&pin-value=1234", "PIN"),
            ("pkcs11:object=a;colour=red?module-path=/m.so", "`colour`"),
            (&long, "too long"),
        ] {
            let e = text.parse::<TokenUri>().unwrap_err().to_string();
            assert!(e.contains(because), "{text}: {e}");
        }
    }
}
