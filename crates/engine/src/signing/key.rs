//! Which signing keys a store has and had: its ledger's entries, one after the other.

use super::SigningError;
use super::holder::Holder;
use countersign_core::Timestamp;
use countersign_ledger::event::SIGNING_KEY_TYPE;
use countersign_ledger::statement::event;
use countersign_signer::PublicKey;
use countersign_store::{NewEvent, Store};
use serde::{Deserialize, Serialize};

/// What happened to a key, as the ledger's entry says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum KeyChange {
    /// It signs from now on, or from a given time.
    Added {
        /// What it is called; keys that follow one another have one name.
        name: String,
        /// Its id.
        id: String,
        /// The public half, as PEM text.
        public: String,
        /// Where the private half is.
        holder: String,
        /// From when on it signs.
        not_before: Timestamp,
        /// Until when it signs, exclusively.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_after: Option<Timestamp>,
        /// The key whose place it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
        /// Who did this.
        owner: String,
    },
    /// It signs no longer than until then.
    Ended {
        /// Its id.
        id: String,
        /// Until when it signs, exclusively.
        not_after: Timestamp,
        /// Who did this.
        owner: String,
    },
    /// From then on it counts as somebody else's.
    Revoked {
        /// Its id.
        id: String,
        /// From when on.
        since: Timestamp,
        /// Why.
        reason: String,
        /// Who did this.
        owner: String,
    },
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// It signs.
    Active,
    /// It will sign.
    NotYet,
    /// It signs no more; what it signed still counts.
    Ended,
    /// It was revoked; what it signed since then does not count.
    Revoked,
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::NotYet => "not yet",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
        })
    }
}

/// A signing key of this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// What it is called.
    pub name: String,
    /// The public half.
    pub public: PublicKey,
    /// Where the private half is.
    pub holder: Holder,
    /// From when on it signs.
    pub not_before: Timestamp,
    /// Until when it signs, exclusively.
    pub not_after: Option<Timestamp>,
    /// From when on it counts as somebody else's, and why.
    pub revoked: Option<(Timestamp, String)>,
    /// The key whose place it took.
    pub replaces: Option<String>,
    /// The place of its first entry in the ledger.
    pub index: u64,
}

impl SigningKey {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> String {
        self.public.id()
    }

    /// How it stands at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked.is_some() {
            KeyState::Revoked
        } else if self.not_after.is_some_and(|end| end <= now) {
            KeyState::Ended
        } else if self.not_before > now {
            KeyState::NotYet
        } else {
            KeyState::Active
        }
    }
}

/// Every signing key that the store has or had, oldest first.
///
/// # Errors
/// When the store fails, or an entry about a key cannot be understood.
pub async fn keys(store: &Store) -> Result<Vec<SigningKey>, SigningError> {
    let mut keys: Vec<SigningKey> = Vec::new();
    let (always, ever) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    for entry in store.events_of(SIGNING_KEY_TYPE, always, ever).await? {
        let unreadable = |because: String| {
            SigningError::key(format!("ledger entry {} about a key: {because}", entry.index))
        };
        let change = entry.statement.value().get("predicate").cloned().unwrap_or_default();
        let change: KeyChange =
            serde_json::from_value(change).map_err(|e| unreadable(e.to_string()))?;
        apply(&mut keys, change, entry.index).map_err(unreadable)?;
    }
    Ok(keys)
}

fn apply(keys: &mut Vec<SigningKey>, change: KeyChange, index: u64) -> Result<(), String> {
    let find = |id: &str| {
        let at = keys.iter().position(|k| k.public.id() == id);
        at.ok_or_else(|| format!("it is about `{id}`, which was never added"))
    };
    match change {
        KeyChange::Added { name, id, public, holder, not_before, not_after, replaces, .. } => {
            let public = PublicKey::from_pem(&public).map_err(|e| e.to_string())?;
            if public.id() != id {
                return Err("its id is another key's".to_owned());
            }
            let holder = holder.parse()?;
            // Two processes may have added one key at once; the first entry counts.
            if find(&id).is_err() {
                let revoked = None;
                keys.push(SigningKey {
                    name,
                    public,
                    holder,
                    not_before,
                    not_after,
                    revoked,
                    replaces,
                    index,
                });
            }
        }
        KeyChange::Ended { id, not_after, .. } => {
            let at = find(&id)?;
            if let Some(key) = keys.get_mut(at) {
                // An end is only ever brought forward.
                key.not_after = Some(key.not_after.map_or(not_after, |end| end.min(not_after)));
            }
        }
        KeyChange::Revoked { id, since, reason, .. } => {
            let at = find(&id)?;
            if let Some(key) = keys.get_mut(at) {
                let earlier = key.revoked.take().filter(|(before, _)| *before <= since);
                key.revoked = Some(earlier.unwrap_or((since, reason)));
            }
        }
    }
    Ok(())
}

/// Writes a change into the ledger. Returns the entry's place.
///
/// # Errors
/// When the change makes no sense, or the commit fails.
pub async fn record(
    store: &Store,
    change: &KeyChange,
    now: Timestamp,
) -> Result<u64, SigningError> {
    let mut present = keys(store).await?;
    if let KeyChange::Added { name, id, not_before, not_after, .. } = change {
        check_name(name)?;
        if present.iter().any(|k| k.id() == *id) {
            return Err(SigningError::key(format!("key `{id}` is there already")));
        }
        if not_after.is_some_and(|end| end <= *not_before) {
            return Err(SigningError::key("a key ends after it begins"));
        }
    }
    apply(&mut present, change.clone(), 0).map_err(SigningError::key)?;
    let name = match change {
        KeyChange::Added { id, .. }
        | KeyChange::Ended { id, .. }
        | KeyChange::Revoked { id, .. } => id,
    };
    let predicate = serde_json::to_value(change).map_err(|e| SigningError::key(e.to_string()))?;
    let statement = event(SIGNING_KEY_TYPE, name, predicate);
    let event = NewEvent { statement, time: now, about: vec![name.clone()], once: None };
    Ok(store.record_about(event).await?.index())
}

/// Checks a name, which stands in configurations, policies and reports.
///
/// # Errors
/// When it has other characters than these want, or is too long.
pub fn check_name(name: &str) -> Result<(), SigningError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fine = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 64
        && name.chars().all(plain);
    if fine {
        return Ok(());
    }
    Err(SigningError::key(format!(
        "`{name}` is no name of a key; use up to 64 letters, digits and . _ -"
    )))
}

/// The key that is meant by a name, an id or the beginning of one. Of several with one name the
/// newest that signs at `now`.
///
/// # Errors
/// When there is none, or not only one, or it does not sign at `now`.
pub fn choose<'k>(
    keys: &'k [SigningKey],
    wanted: Option<&str>,
    now: Timestamp,
) -> Result<&'k SigningKey, SigningError> {
    let active = |k: &&SigningKey| k.state(now) == KeyState::Active;
    let Some(wanted) = wanted else {
        let mut names: Vec<&str> = keys.iter().filter(active).map(|k| k.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        return match names.as_slice() {
            [name] => choose(keys, Some(name), now),
            [] => Err(SigningError::key(
                "there is no signing key; make one with `countersign key generate NAME`",
            )),
            _ => Err(SigningError::key(format!("which key? name one of {}", names.join(", ")))),
        };
    };
    let meant: Vec<&SigningKey> = named(keys, wanted);
    let signs = meant.iter().copied().filter(active).max_by_key(|k| (k.not_before, k.index));
    signs.ok_or_else(|| match meant.last() {
        Some(key) => SigningError::key(format!(
            "key `{wanted}` does not sign now: it is {}; `countersign key list` shows all",
            key.state(now)
        )),
        None => SigningError::key(format!(
            "there is no key `{wanted}`; `countersign key list` shows all"
        )),
    })
}

/// All keys that a name, an id or the beginning of an id (8 digits or more) means, oldest first.
#[must_use]
pub fn named<'k>(keys: &'k [SigningKey], wanted: &str) -> Vec<&'k SigningKey> {
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let begins = |k: &SigningKey| {
        hex.len() >= 8 && k.id().strip_prefix("sha256:").is_some_and(|id| id.starts_with(hex))
    };
    keys.iter().filter(|k| k.name == wanted || begins(k)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_signer::{Algorithm, Signer as _, generate};

    fn added(name: &str, from: i64, until: Option<i64>) -> (String, KeyChange) {
        let key = generate(Algorithm::Ed25519).unwrap();
        let id = key.public().id();
        let change = KeyChange::Added {
            name: name.to_owned(),
            id: id.clone(),
            public: key.public().to_pem(),
            holder: "agent".to_owned(),
            not_before: Timestamp(from),
            not_after: until.map(Timestamp),
            replaces: None,
            owner: "me".to_owned(),
        };
        (id, change)
    }

    fn folded(changes: Vec<KeyChange>) -> Result<Vec<SigningKey>, String> {
        let mut keys = Vec::new();
        for (index, change) in (0..).zip(changes) {
            apply(&mut keys, change, index)?;
        }
        Ok(keys)
    }

    #[test]
    fn a_rotation_overlaps_and_the_newer_key_signs() {
        let ((old, a), (new, b)) = (added("release", 0, None), added("release", 100, None));
        let ended =
            KeyChange::Ended { id: old.clone(), not_after: Timestamp(200), owner: "me".into() };
        let keys = folded(vec![a, b, ended]).unwrap();
        let at = |t| choose(&keys, Some("release"), Timestamp(t)).unwrap().id();
        assert_eq!([at(50), at(100), at(150), at(500)], [&old, &new, &new, &new].map(Clone::clone));
        assert_eq!(keys[0].state(Timestamp(150)), KeyState::Active);
        assert_eq!(keys[0].state(Timestamp(200)), KeyState::Ended);
        assert_eq!(choose(&keys, None, Timestamp(150)).unwrap().id(), new);
        assert_eq!(choose(&keys, Some(&old), Timestamp(150)).unwrap().id(), old);
        assert!(choose(&keys, Some(&old), Timestamp(250)).is_err());
        assert_eq!(named(&keys, &old["sha256:".len()..][..12]).len(), 1);
        assert!(named(&keys, "sha256:").is_empty());
    }

    #[test]
    fn an_end_is_only_brought_forward_and_a_revocation_only_earlier() {
        let (id, a) = added("k", 0, Some(100));
        let end =
            |t| KeyChange::Ended { id: id.clone(), not_after: Timestamp(t), owner: "m".into() };
        let revoke = |t| KeyChange::Revoked {
            id: id.clone(),
            since: Timestamp(t),
            reason: format!("since {t}"),
            owner: "m".into(),
        };
        let keys = folded(vec![a.clone(), end(500), end(50), end(70)]).unwrap();
        assert_eq!(keys[0].not_after, Some(Timestamp(50)));
        let keys = folded(vec![a, revoke(40), revoke(60), revoke(20)]).unwrap();
        assert_eq!(keys[0].revoked, Some((Timestamp(20), "since 20".to_owned())));
        assert_eq!(keys[0].state(Timestamp(10)), KeyState::Revoked);
    }

    #[test]
    fn entries_that_make_no_sense_are_errors() {
        let (id, a) = added("k", 0, None);
        let end = KeyChange::Ended { id, not_after: Timestamp(1), owner: "m".into() };
        assert!(folded(vec![end]).is_err());
        let KeyChange::Added {
            name, public, holder, not_before, not_after, replaces, owner, ..
        } = a
        else {
            panic!()
        };
        let id = "sha256:00".to_owned();
        let other =
            KeyChange::Added { name, id, public, holder, not_before, not_after, replaces, owner };
        assert!(folded(vec![other]).is_err());
        for bad in ["", "a b", "-a", &"a".repeat(65), "a/b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_a_name_the_only_one_is_meant() {
        let ((_, a), (_, b)) = (added("one", 0, None), added("two", 0, None));
        let keys = folded(vec![a.clone(), b]).unwrap();
        let e = choose(&keys, None, Timestamp(1)).unwrap_err().to_string();
        assert!(e.contains("one, two"), "{e}");
        assert_eq!(choose(&folded(vec![a]).unwrap(), None, Timestamp(1)).unwrap().name, "one");
        assert!(choose(&[], None, Timestamp(1)).unwrap_err().to_string().contains("key generate"));
    }
}
