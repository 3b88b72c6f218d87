//! Values that can be had again (scan results, manifests, settings), and the newest times seen.

use crate::error::StoreError;
use crate::store::Store;
use countersign_core::{Sha256Digest, Timestamp};
use serde_json::Value;
use sqlx::Connection as _;

/// How a time compares with the newest that was seen for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// Newer than any before, or the first: now the newest.
    Advanced,
    /// The newest, seen again.
    Same,
    /// Older than one seen before: a replay.
    Older {
        /// The newest that was seen.
        newest: Timestamp,
    },
}

impl Store {
    /// Keeps what a scanner said about these bytes. `scanner_version` names scanner, rules and feed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_result(
        &self,
        sha256: &Sha256Digest,
        kind: &str,
        scanner_version: &str,
        json: &Value,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO results (sha256, kind, scanner, json) VALUES (?, ?, ?, ?)",
        )
        .bind(sha256.to_hex())
        .bind(kind)
        .bind(scanner_version)
        .bind(json.to_string())
        .execute(&mut writer.relaxed)
        .await
        .map(drop)
        .map_err(|e| self.sql_error(e))
    }

    /// Keeps what a scanner said about these bytes, and their manifest, in one write.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_scan(
        &self,
        sha256: &Sha256Digest,
        kind: &str,
        scanner_version: &str,
        json: &Value,
        manifest: &[u8],
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let err = |e| self.sql_error(e);
        let mut tx = writer.relaxed.begin_with("BEGIN IMMEDIATE").await.map_err(err)?;
        sqlx::query("INSERT OR REPLACE INTO manifests (sha256, data) VALUES (?, ?)")
            .bind(sha256.to_hex())
            .bind(manifest)
            .execute(&mut *tx)
            .await
            .map_err(err)?;
        sqlx::query(
            "INSERT OR REPLACE INTO results (sha256, kind, scanner, json) VALUES (?, ?, ?, ?)",
        )
        .bind(sha256.to_hex())
        .bind(kind)
        .bind(scanner_version)
        .bind(json.to_string())
        .execute(&mut *tx)
        .await
        .map_err(err)?;
        tx.commit().await.map_err(err)
    }

    /// What that version of the scanner said about these bytes, if it was asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_result(
        &self,
        sha256: &Sha256Digest,
        kind: &str,
        scanner_version: &str,
    ) -> Result<Option<Value>, StoreError> {
        let query = "SELECT json FROM results WHERE sha256 = ? AND kind = ? AND scanner = ?";
        let json: Option<String> = sqlx::query_scalar(query)
            .bind(sha256.to_hex())
            .bind(kind)
            .bind(scanner_version)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))?;
        json.map(|j| serde_json::from_str(&j).map_err(|e| self.corrupt(e))).transpose()
    }

    /// Keeps the manifest of an artifact (paths, digests), as bytes that the caller understands.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_manifest(&self, sha256: &Sha256Digest, data: &[u8]) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("INSERT OR REPLACE INTO manifests (sha256, data) VALUES (?, ?)")
            .bind(sha256.to_hex())
            .bind(data)
            .execute(&mut writer.relaxed)
            .await
            .map(drop)
            .map_err(|e| self.sql_error(e))
    }

    /// The manifest of an artifact, if it was kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_manifest(&self, sha256: &Sha256Digest) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT data FROM manifests WHERE sha256 = ?")
            .bind(sha256.to_hex())
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))
    }

    /// Keeps a setting or a small cached value.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meta_put(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")
            .bind(key)
            .bind(value)
            .execute(&mut writer.relaxed)
            .await
            .map(drop)
            .map_err(|e| self.sql_error(e))
    }

    /// A setting or a small cached value.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meta_get(&self, key: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))
    }

    /// The newest time seen for a key, such as the date of a suite's Release file.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_seen(&self, key: &str) -> Result<Option<Timestamp>, StoreError> {
        let time: Option<i64> = sqlx::query_scalar("SELECT time FROM newest WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))?;
        Ok(time.map(Timestamp))
    }

    /// Notes a time for a key, durably, unless a newer one was seen: against replay of an older
    /// signed index.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bump_newest(&self, key: &str, time: Timestamp) -> Result<Newest, StoreError> {
        if self.newest_seen(key).await? == Some(time) {
            return Ok(Newest::Same);
        }
        let mut writer = self.writer().await?;
        let done = sqlx::query(
            "INSERT INTO newest (key, time) VALUES (?, ?) \
             ON CONFLICT (key) DO UPDATE SET time = excluded.time WHERE excluded.time > time",
        )
        .bind(key)
        .bind(time.0)
        .execute(&mut writer.durable)
        .await
        .map_err(|e| self.sql_error(e))?;
        drop(writer);
        if done.rows_affected() == 1 {
            return Ok(Newest::Advanced);
        }
        match self.newest_seen(key).await? {
            Some(newest) if newest == time => Ok(Newest::Same),
            Some(newest) => Ok(Newest::Older { newest }),
            None => Err(self.corrupt("a newest time was removed")),
        }
    }
}
