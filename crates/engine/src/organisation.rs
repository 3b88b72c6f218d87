//! The organisation's keys, and who may use which key for what.
//!
//! A key counts only for what a `[[key]]` of the configuration names: predicate types and packages.
//! Its public half is there or in a file, or it is one of this store's own by name; then its window
//! and its revocation are what the ledger says, also after a rotation.

use crate::config::{Config, KeyConfig, KeyPlace};
use crate::signing::SigningError;
use crate::signing::attest::statement_name;
use crate::signing::key::{SigningKey, keys};
use countersign_core::{Purl, Sha256Digest, Timestamp};
use countersign_evidence::keyed::{Keyring, OrganisationKey, statements};
use countersign_evidence::predicate::short_name;
use countersign_ledger::event::ATTESTATION_TYPE;
use countersign_policy::PurlPattern;
use countersign_signer::PublicKey;
use countersign_store::Store;
use serde_json::Value;
use std::collections::HashMap;

/// What a key counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Predicate types by short name or URI; `*` is every one.
    pub attests: Vec<String>,
    /// Packages; `None` is every one.
    pub packages: Option<Vec<PurlPattern>>,
}

impl KeyUse {
    fn covers(&self, uri: &str, purl: Option<&Purl>) -> bool {
        let types = || self.attests.iter().any(|t| t == "*" || t == uri || t == short_name(uri));
        let packages = || match (&self.packages, purl) {
            (None, _) => true,
            (Some(patterns), Some(purl)) => patterns.iter().any(|p| p.matches(purl)),
            // Of a file whose package is not known nobody can say that the key counts for it.
            (Some(_), None) => false,
        };
        types() && packages()
    }
}

/// A key with what it counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The key.
    pub key: OrganisationKey,
    /// What it counts for; nothing, where the configuration does not name it.
    pub uses: Vec<KeyUse>,
    /// Whether it is one of this store's own.
    pub own: bool,
}

/// The organisation's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganisationKeys {
    keys: Vec<KnownKey>,
    /// The same keys, as verifiers take them.
    plain: Vec<OrganisationKey>,
    /// What they were read from.
    configured: Vec<KeyConfig>,
    own: Vec<SigningKey>,
}

/// When keys signed statements, by the ledger's word: by the key's id and the statement's digest.
pub type Recorded = HashMap<(String, Sha256Digest), Timestamp>;

impl OrganisationKeys {
    /// Reads the configured keys, and those of the store where there is one.
    ///
    /// # Errors
    /// When a public key cannot be read, or a name is none of the store's.
    pub async fn load(config: &Config, store: Option<&Store>) -> Result<Self, SigningError> {
        let own = match store {
            // Without a ledger there never was a key.
            Some(store) if store.verifier_key().is_some() => keys(store).await?,
            _ => Vec::new(),
        };
        Self::of(&config.key, &own)
    }

    /// The keys of `[[key]]` entries, and of a store.
    ///
    /// # Errors
    /// As [`OrganisationKeys::load`].
    pub fn of(configured: &[KeyConfig], own: &[SigningKey]) -> Result<Self, SigningError> {
        let mut out: Vec<KnownKey> = own.iter().map(of_store).collect();
        for entry in configured {
            let used = KeyUse { attests: entry.attests.clone(), packages: entry.packages.clone() };
            let Some(public) = public_key(entry)? else {
                let mut found = false;
                for key in out.iter_mut().filter(|k| k.own && k.key.name == entry.name) {
                    key.uses.push(used.clone());
                    found = true;
                }
                if found {
                    continue;
                }
                return Err(SigningError::key(format!(
                    "`[[key]]` names `{0}`, which is no key of this store; make it with `countersign \
                     key generate {0}`, or give the public key with `file` or `public`",
                    entry.name
                )));
            };
            let key = OrganisationKey {
                id: public.id(),
                name: entry.name.clone(),
                spki: public.spki().to_vec(),
                not_before: entry.not_before,
                not_after: entry.not_after,
                revoked: entry.revoked,
            };
            out.push(KnownKey { key, uses: vec![used], own: false });
        }
        let plain = out.iter().map(|k| k.key.clone()).collect();
        let (configured, own) = (configured.to_vec(), own.to_vec());
        Ok(Self { keys: out, plain, configured, own })
    }

    /// The keys as they are after the store's own changed; `None` when these did not.
    ///
    /// # Errors
    /// As [`OrganisationKeys::load`].
    pub async fn changed(&self, store: &Store) -> Result<Option<Self>, SigningError> {
        let own = keys(store).await?;
        if own == self.own { Ok(None) } else { Self::of(&self.configured, &own).map(Some) }
    }

    /// With a key more that counts for everything: one that the user names for one question.
    ///
    /// # Errors
    /// When the text is no public key.
    pub fn and_for_everything(mut self, name: &str, pem: &str) -> Result<Self, SigningError> {
        let public = PublicKey::from_pem(pem)?;
        let key = OrganisationKey {
            id: public.id(),
            name: name.to_owned(),
            spki: public.spki().to_vec(),
            not_before: None,
            not_after: None,
            revoked: None,
        };
        let uses = vec![KeyUse { attests: vec!["*".to_owned()], packages: None }];
        // Before the others: asked for by name, it is judged without their windows.
        self.plain.insert(0, key.clone());
        self.keys.insert(0, KnownKey { key, uses, own: false });
        Ok(self)
    }

    /// All keys, with what they count for.
    #[must_use]
    pub fn list(&self) -> &[KnownKey] {
        &self.keys
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether any of them is one of the store's, whose ledger then knows when it signed.
    #[must_use]
    pub fn any_own(&self) -> bool {
        self.keys.iter().any(|k| k.own)
    }

    /// A digest that tells these keys and uses from others.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(format!("{:?}", self.keys).as_bytes())
    }

    /// Whether a key may attest this about a package.
    #[must_use]
    pub fn may(&self, key: &OrganisationKey, uri: &str, purl: Option<&Purl>) -> bool {
        let same = |k: &&KnownKey| k.key == *key;
        self.keys.iter().filter(same).flat_map(|k| &k.uses).any(|u| u.covers(uri, purl))
    }

    /// Whether a key of this store may sign this, as far as the configuration speaks of it.
    ///
    /// # Errors
    /// When the configuration names the key, and not for this.
    pub fn check_use(
        &self,
        key: &SigningKey,
        uri: &str,
        purl: Option<&Purl>,
    ) -> Result<(), SigningError> {
        let id = key.id();
        let uses = || self.keys.iter().filter(|k| k.own && k.key.id == id).flat_map(|k| &k.uses);
        if uses().next().is_none() || uses().any(|u| u.covers(uri, purl)) {
            return Ok(());
        }
        let about = purl.map_or_else(
            || "a file of no known package (name it with --purl)".to_owned(),
            Purl::to_string,
        );
        Err(SigningError::key(format!(
            "key `{}` may not attest `{}` for {about}; `[[key]]` in the configuration says what it is for",
            key.name,
            short_name(uri)
        )))
    }

    /// Judges with these keys, for the time of `work`.
    pub(crate) fn with_keyring<T>(
        &self,
        purl: Option<&Purl>,
        recorded: &Recorded,
        work: impl FnOnce(&Keyring<'_>) -> T,
    ) -> T {
        let may = |key: &OrganisationKey, uri: &str| self.may(key, uri, purl);
        let when =
            |id: &str, digest: &Sha256Digest| recorded.get(&(id.to_owned(), *digest)).copied();
        work(&Keyring { keys: &self.plain, may: &may, recorded: &when })
    }
}

fn of_store(key: &SigningKey) -> KnownKey {
    let key = OrganisationKey {
        id: key.id(),
        name: key.name.clone(),
        spki: key.public.spki().to_vec(),
        not_before: Some(key.not_before),
        not_after: key.not_after,
        revoked: key.revoked.as_ref().map(|(since, _)| *since),
    };
    KnownKey { key, uses: Vec::new(), own: true }
}

fn public_key(entry: &KeyConfig) -> Result<Option<PublicKey>, SigningError> {
    let text = match &entry.place {
        KeyPlace::Own => return Ok(None),
        KeyPlace::Text(pem) => pem.clone(),
        KeyPlace::File(path) => std::fs::read_to_string(path).map_err(|e| {
            let path = path.display();
            SigningError::key(format!("`[[key]]` {}: `{path}` cannot be read: {e}", entry.name))
        })?,
    };
    let key = PublicKey::from_pem(&text)
        .map_err(|e| SigningError::key(format!("`[[key]]` {}: {e}", entry.name)))?;
    Ok(Some(key))
}

/// Entries about one statement that are looked at: it is signed once, or by a few keys.
const MAX_SIGNINGS: u32 = 100;

/// When keys of the store signed the statements of a document, by the ledger's word.
///
/// # Errors
/// When the store fails.
pub async fn recorded(store: &Store, document: &[u8]) -> Result<Recorded, SigningError> {
    let mut out = Recorded::new();
    let names: Vec<String> = statements(document).iter().map(statement_name).collect();
    if names.is_empty() {
        return Ok(out);
    }
    let limit = MAX_SIGNINGS.saturating_mul(u32::try_from(names.len()).unwrap_or(u32::MAX));
    for entry in store.events_about(&names, limit).await? {
        let said = entry.statement.value();
        if entry.statement.predicate_type() != ATTESTATION_TYPE {
            continue;
        }
        let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str);
        let digest = text("/predicate/statement/sha256").and_then(|t| t.parse().ok());
        if let (Some(id), Some(digest)) = (text("/predicate/key/id"), digest) {
            // The first signature over a statement is the one that counts; the newest entry comes first.
            out.insert((id.to_owned(), digest), entry.time);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use countersign_signer::{Algorithm, Signer as _, generate};

    fn keys_of(text: &str, own: &[SigningKey]) -> Result<OrganisationKeys, SigningError> {
        let (config, _) = Config::parse("countersign.toml", text).unwrap();
        OrganisationKeys::of(&config.key, own)
    }

    fn own(name: &str) -> SigningKey {
        SigningKey {
            name: name.to_owned(),
            public: generate(Algorithm::Ed25519).unwrap().public().clone(),
            holder: crate::signing::holder::Holder::Agent,
            not_before: Timestamp(0),
            not_after: None,
            revoked: None,
            replaces: None,
            index: 0,
        }
    }

    const TESTS: &str = "https://in-toto.io/attestation/test-result/v0.1";
    const VSA: &str = "https://slsa.dev/verification_summary/v1";

    #[test]
    fn a_key_counts_for_what_it_is_named_for_and_nothing_else() {
        let (a, b) = (own("release"), own("release"));
        let text = "[[key]]\nname = \"release\"\nattests = [\"test-result\"]\n\
                    packages = [\"pkg:pypi/acme-*\"]\n";
        let keys = keys_of(text, &[a.clone(), b, own("other")]).unwrap();
        let purl = |t: &str| -> Purl { t.parse().unwrap() };
        let (in_scope, outside) = (purl("pkg:pypi/acme-a@1"), purl("pkg:pypi/flask@1"));
        let may = |i: usize, uri, p| keys.may(&keys.list()[i].key, uri, p);
        assert!(may(0, TESTS, Some(&in_scope)));
        assert!(may(1, TESTS, Some(&in_scope)), "its successor of the same name");
        assert!(!may(2, TESTS, Some(&in_scope)), "a key that no entry names");
        assert!(!may(0, VSA, Some(&in_scope)));
        assert!(!may(0, TESTS, Some(&outside)));
        assert!(!may(0, TESTS, None));
        assert!(keys.check_use(&a, TESTS, Some(&in_scope)).is_ok());
        assert!(keys.check_use(&a, VSA, Some(&in_scope)).is_err());
        assert!(keys.check_use(&own("unnamed"), VSA, None).is_ok());
    }

    #[test]
    fn a_public_key_is_given_in_place_or_in_a_file() {
        let pem = own("x").public.to_pem();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("qa.pub");
        std::fs::write(&file, &pem).unwrap();
        let rest = "attests = [\"*\"]\npackages = [\"*\"]\nnot-after = \"2030-01-01T00:00:00Z\"\n";
        let inline = format!("[[key]]\nname = \"qa\"\npublic = '''\n{pem}'''\n{rest}");
        let filed =
            format!("[[key]]\nname = \"qa\"\nfile = {:?}\n{rest}", file.display().to_string());
        let (a, b) = (keys_of(&inline, &[]).unwrap(), keys_of(&filed, &[]).unwrap());
        assert_eq!(a.list(), b.list());
        assert_eq!(a.digest(), b.digest());
        assert!(a.may(&a.list()[0].key, "urn:anything", None));
        assert_eq!(a.list()[0].key.not_after, Timestamp::parse("2030-01-01T00:00:00Z"));
    }

    #[test]
    fn a_key_that_is_nowhere_is_an_error() {
        let rest = "attests = [\"*\"]\npackages = [\"*\"]\n";
        for entry in ["", "file = \"/nowhere/qa.pub\"\n", "public = \"key\"\n"] {
            let e = keys_of(&format!("[[key]]\nname = \"qa\"\n{entry}{rest}"), &[]).unwrap_err();
            assert!(e.to_string().contains("qa"), "{e}");
        }
    }
}
