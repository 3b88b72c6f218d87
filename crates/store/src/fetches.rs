//! Who fetched which artifact: the list that a recall is sent out by.

use crate::error::StoreError;
use crate::store::Store;
use crate::tiles::{to_i64, to_u64};
use countersign_core::{Purl, Sha256Digest, Timestamp};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

/// Notes of one statement: 9 columns times this stays below SQLite's 32,766 parameters.
const CHUNK: usize = 512;

/// How many names of its own a client may have for one artifact. A client chooses its name freely;
/// what goes beyond is counted together, so that nobody fills the disk with names.
const MAX_AGENTS: u32 = 16;

/// The name under which a client's further names are counted.
const OTHER_AGENTS: &str = "(others)";

/// Who fetched an artifact, how often, first and last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchNote {
    /// The digest of the bytes.
    pub sha256: Sha256Digest,
    /// The version that was asked for.
    pub purl: Purl,
    /// The file that was asked for.
    pub file_name: String,
    /// The name of the token that the client showed; for a run, the user.
    pub token: Option<String>,
    /// The address that it came from; for a run, this machine's name.
    pub address: Option<String>,
    /// The client's own name for itself.
    pub agent: Option<String>,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl Store {
    /// Adds fetches to the log. Of one client and artifact there is one line, however often it
    /// comes. Not synced: a power loss may take the last moments, a crash of the process does not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_fetches(&self, notes: Vec<FetchNote>) -> Result<(), StoreError> {
        for chunk in notes.chunks(CHUNK) {
            let mut query = QueryBuilder::<Sqlite>::new(format!(
                "INSERT INTO fetches \
                 (sha256, purl, token, address, agent, file_name, first, last, count) \
                 SELECT n.column1, n.column2, n.column3, n.column4, CASE WHEN EXISTS \
                 (SELECT 1 FROM fetches f WHERE f.sha256 = n.column1 AND f.purl = n.column2 \
                 AND f.token = n.column3 AND f.address = n.column4 AND f.agent = n.column5) \
                 OR (SELECT count(*) FROM (SELECT 1 FROM fetches f WHERE f.sha256 = n.column1 \
                 AND f.purl = n.column2 AND f.token = n.column3 AND f.address = n.column4 \
                 LIMIT {MAX_AGENTS})) < {MAX_AGENTS} THEN n.column5 ELSE '{OTHER_AGENTS}' END, \
                 n.column6, n.column7, n.column8, n.column9 FROM ("
            ));
            query.push_values(chunk, |mut row, n| {
                row.push_bind(n.sha256.to_hex());
                row.push_bind(n.purl.to_string());
                row.push_bind(n.token.as_deref().unwrap_or(""));
                row.push_bind(n.address.as_deref().unwrap_or(""));
                row.push_bind(n.agent.as_deref().unwrap_or(""));
                row.push_bind(n.file_name.as_str());
                row.push_bind(n.first.0);
                row.push_bind(n.last.0);
                row.push_bind(to_i64(n.count));
            });
            query.push(
                ") n WHERE true ON CONFLICT DO UPDATE SET file_name = excluded.file_name, \
                 first = min(first, excluded.first), last = max(last, excluded.last), \
                 count = count + excluded.count",
            );
            let mut writer = self.writer().await?;
            // Not kept prepared: each chunk size is another statement.
            let done = query.build().persistent(false).execute(&mut writer.relaxed).await;
            done.map_err(|e| self.sql_error(e))?;
        }
        Ok(())
    }

    /// Who fetched these bytes, under any name, the latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn who_fetched(&self, sha256: &Sha256Digest) -> Result<Vec<FetchNote>, StoreError> {
        let rows = sqlx::query(
            "SELECT sha256, purl, file_name, token, address, agent, first, last, count \
             FROM fetches WHERE sha256 = ? ORDER BY last DESC, address, token, agent",
        )
        .bind(sha256.to_hex())
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.fetch_note(row)).collect()
    }

    fn fetch_note(&self, row: &SqliteRow) -> Result<FetchNote, StoreError> {
        let known = |at: usize| -> Result<Option<String>, StoreError> {
            Ok(Some(self.get::<String>(row, at)?).filter(|t| !t.is_empty()))
        };
        Ok(FetchNote {
            sha256: self.digest(&self.get::<String>(row, 0)?)?,
            purl: self.get::<String>(row, 1)?.parse().map_err(|e| self.corrupt(e))?,
            file_name: self.get(row, 2)?,
            token: known(3)?,
            address: known(4)?,
            agent: known(5)?,
            first: Timestamp(self.get(row, 6)?),
            last: Timestamp(self.get(row, 7)?),
            count: to_u64(self.get(row, 8)?, &self.paths().database())?,
        })
    }
}
