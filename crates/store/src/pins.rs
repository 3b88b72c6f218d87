//! Identity pins: a file of a version has one digest, the first that was seen, forever.

use crate::error::StoreError;
use crate::rows;
use crate::store::Store;
use countersign_core::{Sha256Digest, Timestamp};
use sqlx::sqlite::SqliteConnection;

/// What pinning found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinOutcome {
    /// Seen for the first time; pinned from now on.
    New,
    /// The pinned digest.
    Same,
    /// Another digest than the pinned one: the same name and version with other bytes.
    Changed {
        /// The digest that was seen first.
        first: Sha256Digest,
        /// When it was seen.
        first_seen: Timestamp,
    },
}

impl Store {
    /// Pins the digest of a file of a version, or compares it with the one pinned before. The first
    /// digest wins: any other is `Changed` on every later call, also after many of them.
    ///
    /// # Errors
    /// When the database fails; then nothing is known, and nothing may be released.
    pub async fn pin_identity(
        &self,
        purl: &str,
        file_name: &str,
        sha256: &Sha256Digest,
        now: Timestamp,
    ) -> Result<PinOutcome, StoreError> {
        let pinned = self.pinned(&mut *self.reader().await?, purl, file_name).await?;
        if let Some(pinned) = pinned {
            return Ok(compare(pinned, sha256));
        }
        let mut writer = self.writer().await?;
        let pinned = rows::pin(&mut writer.durable, purl, file_name, sha256, now).await;
        match pinned.map_err(|e| self.sql_error(e))? {
            None => Ok(PinOutcome::New),
            // Somebody else pinned it in between.
            Some((hex, time)) => Ok(compare((self.digest(&hex)?, Timestamp(time)), sha256)),
        }
    }

    /// Compares the digest of a file of a version with the one pinned before, and pins nothing: what
    /// is not admitted must not decide what the genuine file is.
    ///
    /// # Errors
    /// When the database fails; then nothing is known, and nothing may be released.
    pub async fn check_identity(
        &self,
        purl: &str,
        file_name: &str,
        sha256: &Sha256Digest,
    ) -> Result<PinOutcome, StoreError> {
        let pinned = self.pinned(&mut *self.reader().await?, purl, file_name).await?;
        Ok(pinned.map_or(PinOutcome::New, |p| compare(p, sha256)))
    }

    async fn pinned(
        &self,
        conn: &mut SqliteConnection,
        purl: &str,
        file_name: &str,
    ) -> Result<Option<(Sha256Digest, Timestamp)>, StoreError> {
        let row: Option<(String, i64)> =
            sqlx::query_as("SELECT sha256, first_seen FROM pins WHERE purl = ? AND file_name = ?")
                .bind(purl)
                .bind(file_name)
                .fetch_optional(conn)
                .await
                .map_err(|e| self.sql_error(e))?;
        row.map(|(hex, time)| Ok((self.digest(&hex)?, Timestamp(time)))).transpose()
    }
}

fn compare(pinned: (Sha256Digest, Timestamp), sha256: &Sha256Digest) -> PinOutcome {
    match pinned {
        (first, _) if first == *sha256 => PinOutcome::Same,
        (first, first_seen) => PinOutcome::Changed { first, first_seen },
    }
}
