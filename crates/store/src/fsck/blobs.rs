//! Blobs against the ledger: what was admitted and is here, what is not here, and what lies here
//! without an entry.

use super::FsckReport;
use crate::bundles::is_of_an_earlier_version;
use crate::error::StoreError;
use crate::events::{kept_here, subject_key};
use crate::store::{Store, blocking};
use countersign_core::{Sha256Digest, Verdict};
use sqlx::sqlite::SqliteConnection;
use std::collections::HashSet;
use std::path::Path;

/// Admitted digests that are looked up at a time.
const PAGE: usize = 4096;

impl Store {
    /// Counts admitted artifacts without their bytes, and bytes that no entry names. A file among the
    /// blobs that cannot be one is a problem.
    pub(super) async fn check_blobs(
        &self,
        conn: &mut SqliteConnection,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let mut last = String::new();
        loop {
            let page: Vec<(String, String)> = sqlx::query_as(
                "SELECT sha256, verdict FROM (SELECT sha256, verdict, max(idx) FROM decisions \
                 WHERE sha256 > ? GROUP BY sha256 ORDER BY sha256 LIMIT ?)",
            )
            .bind(&last)
            .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
            .fetch_all(&mut *conn)
            .await
            .map_err(|e| self.sql_error(e))?;
            let Some((end, _)) = page.last() else { break };
            last.clone_from(end);
            let admitted: Vec<Sha256Digest> = page
                .iter()
                .filter(|(_, verdict)| *verdict == Verdict::Admit.to_string())
                .filter_map(|(hex, _)| hex.parse().ok())
                .collect();
            let store = self.clone();
            let (all, missing) = blocking(move || {
                let all = admitted.len();
                let missing = admitted.into_iter().filter(|d| store.blob_file(d).is_none());
                Ok((all, missing.collect::<Vec<_>>()))
            })
            .await?;
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            report.admitted = report.admitted.saturating_add(count(all));
            report.without_blob = report.without_blob.saturating_add(count(missing.len()));
            for digest in missing {
                self.check_missing(conn, &digest, report).await?;
            }
        }
        self.check_folders(conn, report).await
    }

    /// Bytes that were kept here once must be here, or their erasure be recorded.
    async fn check_missing(
        &self,
        conn: &mut SqliteConnection,
        digest: &Sha256Digest,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let found: Result<(bool, bool), sqlx::Error> = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM forgotten_blobs WHERE sha256 = ?), \
             EXISTS (SELECT 1 FROM about WHERE subject = ?)",
        )
        .bind(digest.to_hex())
        .bind(subject_key(&kept_here(digest)))
        .fetch_one(conn)
        .await;
        let (forgotten, kept) = match found {
            Err(e) if is_of_an_earlier_version(&e) => (false, false),
            found => found.map_err(|e| self.sql_error(e))?,
        };
        if forgotten {
            report.forgotten_blobs = report.forgotten_blobs.saturating_add(1);
        } else if kept {
            report.problem(format!(
                "the bytes of the admitted artifact sha256:{digest} are gone, and no entry says why; \
                 `countersign ledger forget sha256:{digest} --reason …` records it"
            ));
        }
        Ok(())
    }

    /// Looks through the blobs, a folder at a time.
    async fn check_folders(
        &self,
        conn: &mut SqliteConnection,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        for first in 0..=255u8 {
            let dir = self.paths().blobs().join(format!("{first:02x}"));
            let (names, strangers) = blocking(move || Ok(names_in(&dir))).await?;
            for stranger in strangers {
                report.problem(format!("`{stranger}` lies among the blobs and is none"));
            }
            let named: Vec<String> = sqlx::query_scalar(
                "SELECT DISTINCT sha256 FROM decisions WHERE sha256 >= ? AND sha256 < ?",
            )
            .bind(format!("{first:02x}"))
            .bind(format!("{first:02x}g"))
            .fetch_all(&mut *conn)
            .await
            .map_err(|e| self.sql_error(e))?;
            let named: HashSet<String> = named.into_iter().collect();
            let unnamed = names.iter().filter(|n| !named.contains(*n)).count();
            report.unnamed_blobs =
                report.unnamed_blobs.saturating_add(unnamed.try_into().unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// The digests that files of a folder are named by, and names that are no digest of this folder.
fn names_in(dir: &Path) -> (Vec<String>, Vec<String>) {
    let prefix = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    names.partition(|name| name.starts_with(&prefix) && name.parse::<Sha256Digest>().is_ok())
}
