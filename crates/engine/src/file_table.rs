//! The files of a package's index: open for one run, packed in blocks for a long-lived engine, where
//! thousands of them would take most of the memory.

use crate::index::FileRef;
use crate::packed::Packed;
use crate::upstream::Upstream;
use countersign_core::{Evidence, ExpectedDigest, VersionFacts};
use countersign_evidence::npm::RegistrySignature;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

/// Files of one block: enough to compress well, few enough to unpack for one of them.
const BLOCK: usize = 48;

/// The files of all versions, offered or not, by file name.
#[derive(Debug)]
pub(crate) enum FileTable {
    /// As they are.
    Open(HashMap<String, Arc<FileRef>>),
    /// In the order of their names, each block with the name of its first file.
    Packed {
        /// The blocks.
        blocks: Vec<(String, Packed)>,
        /// The upstream of all of them.
        upstream: Arc<Upstream>,
    },
}

/// A file as it is packed.
#[derive(Serialize, Deserialize)]
struct Record {
    facts: VersionFacts,
    file_name: String,
    url: Url,
    expected: Vec<ExpectedDigest>,
    size: Option<u64>,
    attestations: Option<Url>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<(String, String)>,
    evidence: Vec<Evidence>,
    next_admissible: Option<String>,
}

impl FileTable {
    /// Packs a table. One that cannot be packed stays open: it is larger, not wrong.
    pub(crate) fn packed(files: HashMap<String, Arc<FileRef>>, upstream: &Arc<Upstream>) -> Self {
        let mut all: Vec<&Arc<FileRef>> = files.values().collect();
        all.sort_by(|a, b| a.file_name.cmp(&b.file_name));
        let blocks: Option<Vec<(String, Packed)>> = all
            .chunks(BLOCK)
            .map(|block| {
                let first = block.first()?.file_name.clone();
                let records: Vec<Record> = block.iter().map(|f| record(f)).collect();
                Some((first, Packed::always(serde_json::to_vec(&records).ok()?)))
            })
            .collect();
        match blocks {
            Some(blocks) => Self::Packed { blocks, upstream: upstream.clone() },
            None => Self::Open(files),
        }
    }

    /// The file of that name.
    pub(crate) fn get(&self, file_name: &str) -> Option<Arc<FileRef>> {
        match self {
            Self::Open(files) => files.get(file_name).cloned(),
            Self::Packed { blocks, upstream } => {
                let after = blocks.partition_point(|(first, _)| first.as_str() <= file_name);
                let (_, block) = blocks.get(after.checked_sub(1)?)?;
                let found = unpack(block).into_iter().find(|r| r.file_name == file_name)?;
                Some(Arc::new(found.into_file(upstream)))
            }
        }
    }

    /// The first file for which `wanted` holds; all may have to be looked at.
    pub(crate) fn find(&self, wanted: impl Fn(&FileRef) -> bool) -> Option<Arc<FileRef>> {
        match self {
            Self::Open(files) => files.values().find(|f| wanted(f)).cloned(),
            Self::Packed { blocks, upstream } => blocks
                .iter()
                .flat_map(|(_, block)| unpack(block))
                .map(|r| r.into_file(upstream))
                .find(wanted)
                .map(Arc::new),
        }
    }

    /// The open table's files; none of a packed one, whose files nobody holds.
    pub(crate) fn open_files(&self) -> impl Iterator<Item = &Arc<FileRef>> {
        match self {
            Self::Open(files) => Some(files.values()),
            Self::Packed { .. } => None,
        }
        .into_iter()
        .flatten()
    }

    /// About what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Open(files) => files.values().map(|f| 1_500 + f.facts.findings.len() * 600).sum(),
            Self::Packed { blocks, .. } => {
                blocks.iter().map(|(first, block)| first.len() + block.weight() + 100).sum()
            }
        }
    }
}

/// What is packed here is read back here: a block that cannot be read holds no file, and what is
/// asked for is not found.
fn unpack(block: &Packed) -> Vec<Record> {
    let bytes = block.unpack().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::error!(%error, "a kept index cannot be read");
        Vec::new()
    })
}

fn record(file: &FileRef) -> Record {
    Record {
        facts: file.facts.clone(),
        file_name: file.file_name.clone(),
        url: file.url.clone(),
        expected: file.expected.clone(),
        size: file.size,
        attestations: file.attestations.clone(),
        signatures: file
            .signatures
            .iter()
            .map(|s| (s.key_id.clone(), s.signature.clone()))
            .collect(),
        evidence: file.evidence.clone(),
        next_admissible: file.next_admissible.clone(),
    }
}

impl Record {
    fn into_file(self, upstream: &Arc<Upstream>) -> FileRef {
        FileRef {
            facts: self.facts,
            file_name: self.file_name,
            url: self.url,
            expected: self.expected,
            size: self.size,
            attestations: self.attestations,
            signatures: self
                .signatures
                .into_iter()
                .map(|(key_id, signature)| RegistrySignature { key_id, signature })
                .collect(),
            evidence: self.evidence,
            upstream: upstream.clone(),
            next_admissible: self.next_admissible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::{Age, Algorithm, Check, Ecosystem, Purl, Reservation, Timestamp};

    fn file(upstream: &Arc<Upstream>, i: usize) -> FileRef {
        let purl = Purl::new(Ecosystem::Pypi, "demo", Some(&format!("1.0.{i}")));
        let facts = VersionFacts {
            purl,
            upstream: "pypi".to_owned(),
            age: Age::Known { published: Timestamp(1_700_000_000) },
            yanked: i.is_multiple_of(2),
            reservation: Reservation::None,
            denied: false,
            allowed: false,
            fixes_installed: Vec::new(),
            findings: Vec::new(),
            advisories: Check::passed("advisories"),
            advised_as: None,
            upgrade: None,
            silent_days: None,
            claimed_repository: None,
        };
        let digest = ExpectedDigest::from_bytes(Algorithm::Sha256, vec![i as u8; 32]).unwrap();
        FileRef {
            facts,
            file_name: format!("demo-1.0.{i}-py3-none-any.whl"),
            url: Url::parse(&format!("https://files.example/{i}/demo.whl")).unwrap(),
            expected: vec![digest],
            size: Some(i as u64),
            attestations: None,
            signatures: Vec::new(),
            evidence: Vec::new(),
            upstream: upstream.clone(),
            next_admissible: Some("2.0.0".to_owned()),
        }
    }

    #[test]
    fn every_file_comes_back_as_it_was_put_in() {
        let upstream = Upstream::new(Ecosystem::Pypi, "https://registry.example/simple/").unwrap();
        let upstream = Arc::new(upstream);
        for n in [0, 1, BLOCK, BLOCK + 1, 500] {
            let files: HashMap<String, Arc<FileRef>> = (0..n)
                .map(|i| file(&upstream, i))
                .map(|f| (f.file_name.clone(), Arc::new(f)))
                .collect();
            let open = FileTable::Open(files.clone());
            let packed = FileTable::packed(files.clone(), &upstream);
            for (name, file) in &files {
                let found = packed.get(name).unwrap();
                assert_eq!(format!("{found:?}"), format!("{file:?}"));
                let found = packed.find(|f| f.url == file.url).unwrap();
                assert_eq!(found.file_name, *name);
            }
            for absent in ["", "demo", "demo-1.0.7-py3-none-any.whl.x", "zzz"] {
                assert!(packed.get(absent).is_none(), "{absent}");
            }
            assert!(n < 100 || packed.weight() * 10 < open.weight());
        }
    }
}
