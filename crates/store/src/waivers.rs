//! Waivers: exemptions with an owner, a reason and an end, each an entry of the ledger.

use crate::decisions::RecordedEvent;
use crate::entry::EntryRow;
use crate::error::StoreError;
use crate::store::Store;
use crate::tiles::to_u64;
use countersign_core::{Purl, Sha256Digest, Timestamp};
use countersign_ledger::statement::{WAIVER_REVOKED_TYPE, WAIVER_TYPE, event};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::fmt;

/// What a waiver is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaiverTarget {
    /// One version of a package.
    Purl(Purl),
    /// One artifact.
    Sha256(Sha256Digest),
}

impl fmt::Display for WaiverTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purl(purl) => purl.fmt(f),
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

impl std::str::FromStr for WaiverTarget {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text.strip_prefix("sha256:") {
            Some(hex) => Ok(Self::Sha256(hex.parse().map_err(StoreError::invalid)?)),
            None => Ok(Self::Purl(text.parse().map_err(StoreError::invalid)?)),
        }
    }
}

/// An exemption of one version or artifact from one rule or finding, until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Its id, unique forever.
    pub id: String,
    /// What it is for: a purl with a version, or a digest.
    pub target: WaiverTarget,
    /// The rule or finding that it lifts.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// When it was granted.
    pub created: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

/// A waiver as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWaiver {
    /// The waiver.
    pub waiver: Waiver,
    /// Its place in the ledger.
    pub index: u64,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The place of its revocation in the ledger.
    pub revoked_index: Option<u64>,
}

impl StoredWaiver {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.waiver.created <= now && now < self.waiver.until
    }
}

/// A waiver that names no version, no owner or no end is one that rots.
fn check(waiver: &Waiver) -> Result<(), StoreError> {
    for (name, text) in [
        ("an id", &waiver.id),
        ("a rule or finding", &waiver.rule),
        ("a reason", &waiver.reason),
        ("an owner", &waiver.owner),
    ] {
        if text.trim().is_empty() {
            return Err(StoreError::invalid(format!("a waiver needs {name}")));
        }
    }
    match &waiver.target {
        WaiverTarget::Purl(purl) if purl.version().is_none() => {
            return Err(StoreError::invalid(format!("a waiver for `{purl}` needs a version")));
        }
        _ => {}
    }
    if waiver.until <= waiver.created {
        return Err(StoreError::invalid("a waiver ends after it begins"));
    }
    Ok(())
}

impl Store {
    /// Grants a waiver: a record and a ledger entry in one commit.
    ///
    /// # Errors
    /// When it lacks an id, version, rule, reason, owner or a future end, the id was used before, or
    /// the commit fails.
    pub async fn add_waiver(&self, waiver: Waiver) -> Result<RecordedEvent, StoreError> {
        check(&waiver)?;
        let predicate = serde_json::to_value(&waiver).map_err(StoreError::invalid)?;
        let statement = event(WAIVER_TYPE, &waiver.id, predicate);
        let created = waiver.created;
        self.append_one(&statement, created, EntryRow::Waiver(Box::new(waiver))).await
    }

    /// Takes a waiver back, with a ledger entry of its own.
    ///
    /// # Errors
    /// When there is no such waiver, it was revoked before, or the commit fails.
    pub async fn revoke_waiver(
        &self,
        id: &str,
        owner: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<RecordedEvent, StoreError> {
        let predicate = json!({"id": id, "owner": owner, "reason": reason, "revoked": now});
        let statement = event(WAIVER_REVOKED_TYPE, id, predicate);
        self.append_one(&statement, now, EntryRow::Revocation { waiver: id.to_owned() }).await
    }

    /// The waivers that hold at `now`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn active_waivers(&self, now: Timestamp) -> Result<Vec<Waiver>, StoreError> {
        let all = self.waivers().await?;
        Ok(all.into_iter().filter(|w| w.is_active(now)).map(|w| w.waiver).collect())
    }

    /// Every waiver that was ever granted, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waivers(&self) -> Result<Vec<StoredWaiver>, StoreError> {
        self.waivers_in(&mut *self.reader().await?).await
    }

    pub(crate) async fn waivers_in(
        &self,
        conn: &mut SqliteConnection,
    ) -> Result<Vec<StoredWaiver>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, target, rule, reason, owner, created, until, idx, revoked, revoked_idx \
             FROM waivers ORDER BY idx",
        )
        .fetch_all(conn)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.stored_waiver(row)).collect()
    }

    fn stored_waiver(&self, row: &SqliteRow) -> Result<StoredWaiver, StoreError> {
        let target: String = self.get(row, 1)?;
        let path = self.paths().database();
        let revoked_index: Option<i64> = self.get(row, 9)?;
        Ok(StoredWaiver {
            waiver: Waiver {
                id: self.get(row, 0)?,
                target: target.parse().map_err(|e: StoreError| self.corrupt(e))?,
                rule: self.get(row, 2)?,
                reason: self.get(row, 3)?,
                owner: self.get(row, 4)?,
                created: Timestamp(self.get(row, 5)?),
                until: Timestamp(self.get(row, 6)?),
            },
            index: to_u64(self.get(row, 7)?, &path)?,
            revoked: self.get::<Option<i64>>(row, 8)?.map(Timestamp),
            revoked_index: revoked_index.map(|i| to_u64(i, &path)).transpose()?,
        })
    }
}
