//! What is known of many versions and digests at once, in a few queries: for an audit, which asks
//! about thousands.

use crate::decisions::StoredDecision;
use crate::error::StoreError;
use crate::store::Store;
use countersign_core::{Algorithm, ExpectedDigest, Purl, Sha256Digest, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A pin: the digest of a file of a version, the first that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The file's name.
    pub file_name: String,
    /// The digest.
    pub sha256: Sha256Digest,
    /// When it was first admitted.
    pub first_seen: Timestamp,
    /// Other strong digests of the same bytes, where they were taken.
    pub others: Vec<ExpectedDigest>,
}

/// Records about some versions and digests. They are looked up, and prove nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    pins: HashMap<String, Vec<Pin>>,
    by_other: HashMap<ExpectedDigest, Sha256Digest>,
    decisions: HashMap<Sha256Digest, Vec<StoredDecision>>,
}

impl Known {
    /// The pins of a version, by file name.
    #[must_use]
    pub fn pins(&self, purl: &Purl) -> &[Pin] {
        self.pins.get(&purl.to_string()).map_or(&[], Vec::as_slice)
    }

    /// The SHA-256 of bytes with this digest, where such bytes were judged.
    #[must_use]
    pub fn sha256_of(&self, digest: &ExpectedDigest) -> Option<Sha256Digest> {
        match (digest.algorithm(), digest.as_bytes().try_into()) {
            (Algorithm::Sha256, Ok(bytes)) => Some(Sha256Digest(bytes)),
            _ => self.by_other.get(digest).copied(),
        }
    }

    /// The latest decision about these bytes under each name, newest first.
    #[must_use]
    pub fn decisions(&self, sha256: &Sha256Digest) -> &[StoredDecision] {
        self.decisions.get(sha256).map_or(&[], Vec::as_slice)
    }
}

impl Store {
    /// What is known of these versions, and of files with these digests.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known(
        &self,
        purls: &[Purl],
        digests: &[ExpectedDigest],
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        let names: BTreeSet<String> = purls.iter().map(ToString::to_string).collect();
        self.known_pins(&names, &mut known).await?;
        let strong = |a: Algorithm| digests.iter().filter(move |d| d.algorithm() == a);
        for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
            let hexes: BTreeSet<String> = strong(algorithm).map(ExpectedDigest::to_hex).collect();
            self.known_others(algorithm, &hexes, &mut known).await?;
        }
        let mut wanted: BTreeSet<String> =
            strong(Algorithm::Sha256).map(ExpectedDigest::to_hex).collect();
        wanted.extend(known.by_other.values().map(|d| d.to_hex()));
        self.known_decisions(&wanted, &mut known).await?;
        Ok(known)
    }

    async fn known_pins(
        &self,
        names: &BTreeSet<String>,
        known: &mut Known,
    ) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT purl, file_name, sha256, first_seen FROM pins \
             WHERE purl IN (SELECT value FROM json_each(?)) ORDER BY purl, file_name",
        )
        .bind(list(names)?)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        let mut pinned = BTreeSet::new();
        for row in &rows {
            let hex: String = self.get(row, 2)?;
            let pin = Pin {
                file_name: self.get(row, 1)?,
                sha256: self.digest(&hex)?,
                first_seen: Timestamp(self.get(row, 3)?),
                others: Vec::new(),
            };
            pinned.insert(hex);
            known.pins.entry(self.get(row, 0)?).or_default().push(pin);
        }
        self.others_of(&pinned, known).await
    }

    /// The other strong digests of what is pinned.
    async fn others_of(
        &self,
        pinned: &BTreeSet<String>,
        known: &mut Known,
    ) -> Result<(), StoreError> {
        if pinned.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT algorithm, hex, sha256 FROM artifact_digests \
             WHERE sha256 IN (SELECT value FROM json_each(?)) ORDER BY algorithm, hex",
        )
        .bind(list(pinned)?)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        let mut others: BTreeMap<Sha256Digest, Vec<ExpectedDigest>> = BTreeMap::new();
        for row in &rows {
            let (algorithm, hex, sha256): (String, String, String) =
                (self.get(row, 0)?, self.get(row, 1)?, self.get(row, 2)?);
            let digest = Algorithm::from_name(&algorithm)
                .and_then(|a| ExpectedDigest::from_hex(a, &hex).ok())
                .ok_or_else(|| self.corrupt("a digest cannot be read"))?;
            others.entry(self.digest(&sha256)?).or_default().push(digest);
        }
        for pin in known.pins.values_mut().flatten() {
            pin.others = others.get(&pin.sha256).cloned().unwrap_or_default();
        }
        Ok(())
    }

    async fn known_others(
        &self,
        algorithm: Algorithm,
        hexes: &BTreeSet<String>,
        known: &mut Known,
    ) -> Result<(), StoreError> {
        if hexes.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT hex, sha256 FROM artifact_digests \
             WHERE algorithm = ? AND hex IN (SELECT value FROM json_each(?))",
        )
        .bind(algorithm.name())
        .bind(list(hexes)?)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        for row in &rows {
            let digest = ExpectedDigest::from_hex(algorithm, &self.get::<String>(row, 0)?);
            let digest = digest.map_err(|e| self.corrupt(e))?;
            known.by_other.insert(digest, self.digest(&self.get::<String>(row, 1)?)?);
        }
        Ok(())
    }

    async fn known_decisions(
        &self,
        wanted: &BTreeSet<String>,
        known: &mut Known,
    ) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT idx, purl, file_name, sha256, decision, facts, time FROM decisions \
             WHERE idx IN (SELECT max(idx) FROM decisions \
                           WHERE sha256 IN (SELECT value FROM json_each(?)) \
                           GROUP BY sha256, purl, file_name) ORDER BY idx DESC",
        )
        .bind(list(wanted)?)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        for row in &rows {
            let decision = self.decision(row)?;
            if let Some(sha256) = decision.sha256 {
                known.decisions.entry(sha256).or_default().push(decision);
            }
        }
        Ok(())
    }
}

/// A list as one parameter: SQLite has no parameters of any length.
fn list(items: &BTreeSet<String>) -> Result<String, StoreError> {
    serde_json::to_string(items).map_err(StoreError::invalid)
}
