//! The feeds that are configured (advisories, malicious lists), and when each was last synced.

use crate::error::StoreError;
use crate::store::Store;
use countersign_core::{Sha256Digest, Timestamp};
use sqlx::sqlite::SqliteRow;

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its name, unique.
    pub name: String,
    /// Where it comes from: a URL or a path, without credentials.
    pub location: String,
    /// What it is (`osv`, `malicious`, …).
    pub kind: String,
    /// When it was configured.
    pub added: Timestamp,
    /// When it was last read to the end.
    pub last_synced: Option<Timestamp>,
    /// The digest of what was read.
    pub sha256: Option<Sha256Digest>,
    /// The HTTP entity tag of what was read, for a conditional request.
    pub etag: Option<String>,
}

impl Store {
    /// Adds a feed, or changes the one of that name as a whole.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_feed(&self, feed: &Feed) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO feeds (name, location, kind, added, last_synced, sha256, etag) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&feed.name)
        .bind(&feed.location)
        .bind(&feed.kind)
        .bind(feed.added.0)
        .bind(feed.last_synced.map(|t| t.0))
        .bind(feed.sha256.map(Sha256Digest::to_hex))
        .bind(feed.etag.as_deref())
        .execute(&mut writer.durable)
        .await
        .map(drop)
        .map_err(|e| self.sql_error(e))
    }

    /// All feeds, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feeds(&self) -> Result<Vec<Feed>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, location, kind, added, last_synced, sha256, etag FROM feeds ORDER BY name",
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.read_feed(row)).collect()
    }

    /// The feed of that name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feed(&self, name: &str) -> Result<Option<Feed>, StoreError> {
        Ok(self.feeds().await?.into_iter().find(|f| f.name == name))
    }

    /// Notes that a feed was read to its end.
    ///
    /// # Errors
    /// When there is no such feed, or the database fails.
    pub async fn note_feed_sync(
        &self,
        name: &str,
        now: Timestamp,
        sha256: Option<&Sha256Digest>,
        etag: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let done =
            sqlx::query("UPDATE feeds SET last_synced = ?, sha256 = ?, etag = ? WHERE name = ?")
                .bind(now.0)
                .bind(sha256.map(|d| d.to_hex()))
                .bind(etag)
                .bind(name)
                .execute(&mut writer.durable)
                .await
                .map_err(|e| self.sql_error(e))?;
        match done.rows_affected() {
            0 => Err(StoreError::NotFound { what: format!("the feed `{name}`") }),
            _ => Ok(()),
        }
    }

    /// Removes a feed; whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_feed(&self, name: &str) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        let done = sqlx::query("DELETE FROM feeds WHERE name = ?")
            .bind(name)
            .execute(&mut writer.durable)
            .await
            .map_err(|e| self.sql_error(e))?;
        Ok(done.rows_affected() > 0)
    }

    fn read_feed(&self, row: &SqliteRow) -> Result<Feed, StoreError> {
        let sha256: Option<String> = self.get(row, 5)?;
        Ok(Feed {
            name: self.get(row, 0)?,
            location: self.get(row, 1)?,
            kind: self.get(row, 2)?,
            added: Timestamp(self.get(row, 3)?),
            last_synced: self.get::<Option<i64>>(row, 4)?.map(Timestamp),
            sha256: sha256.map(|hex| self.digest(&hex)).transpose()?,
            etag: self.get(row, 6)?,
        })
    }
}
