//! The catalogue of known exploited vulnerabilities (CISA's KEV).

use super::error::FeedError;
use super::meta::CatalogueMeta;
use countersign_core::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;

/// Largest catalogue in bytes: stops a file that is there to exhaust memory (the real one has
/// 1.3 MiB).
const MAX_BYTES: usize = 64 << 20;

/// That a vulnerability is exploited in the wild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownExploited {
    /// The catalogue's id of it (`CVE-…`).
    pub cve: String,
    /// The date (`2025-09-15`) by which the catalogue wants it remedied, where it gives one.
    pub due: Option<String>,
}

/// Due dates by CVE.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    due: HashMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "catalogVersion", default)]
    version: String,
    #[serde(rename = "dateReleased", default)]
    released: Option<String>,
    vulnerabilities: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "cveID")]
    cve: String,
    #[serde(rename = "dueDate", default)]
    due: Option<String>,
}

impl Catalogue {
    /// Reads the catalogue's JSON text and adds what it lists.
    pub(super) fn add(&mut self, json: &[u8]) -> Result<CatalogueMeta, FeedError> {
        if json.len() > MAX_BYTES {
            let limit = MAX_BYTES as u64;
            return Err(FeedError::Limit { what: "catalogue of exploited vulnerabilities", limit });
        }
        let document: Document = serde_json::from_slice(json)
            .map_err(|e| FeedError::Catalogue { because: e.to_string() })?;
        let meta = CatalogueMeta {
            version: document.version,
            released: document.released.as_deref().and_then(Timestamp::parse),
            entries: document.vulnerabilities.len() as u64,
        };
        for entry in document.vulnerabilities {
            self.due.insert(entry.cve, entry.due.filter(|d| is_date(d)));
        }
        Ok(meta)
    }

    /// The first of `ids` that the catalogue lists.
    pub(super) fn find<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a String>,
    ) -> Option<KnownExploited> {
        ids.find_map(|id| {
            let due = self.due.get(id)?;
            Some(KnownExploited { cve: id.clone(), due: due.clone() })
        })
    }
}

/// Whether the text has the form `2025-09-15`; it is shown to people as it is.
fn is_date(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok_and(|d| d.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_vulnerabilities_have_their_due_date() {
        let mut c = Catalogue::default();
        let meta = c
            .add(
                br#"{"catalogVersion":"2025.08.25","dateReleased":"2025-08-25T17:04:19.9796Z","x":1,
                "vulnerabilities":[{"cveID":"CVE-2025-1","dueDate":"2025-09-15","cwes":[]},
                {"cveID":"CVE-2025-2","dueDate":"soon"}]}"#,
            )
            .unwrap();
        assert_eq!((meta.entries, meta.version.as_str()), (2, "2025.08.25"));
        let find = |id: &str| c.find([id.to_owned()].iter());
        assert_eq!(find("CVE-2025-1").unwrap().due.as_deref(), Some("2025-09-15"));
        assert_eq!(find("CVE-2025-2").unwrap().due, None);
        assert_eq!(find("CVE-2025-3"), None);
        assert!(c.add(b"{}").is_err() && c.add(b"").is_err());
    }
}
