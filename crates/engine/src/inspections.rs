//! What is recorded of an artifact beside its decision: first sight, evidence, scan. Each once for the
//! same bytes and the same result, however often they are judged.

use crate::engine::Engine;
use crate::http_client::redacted;
use crate::index::FileRef;
use crate::recall::GroundsId;
use crate::scanning::scanner;
use countersign_core::{ArtifactFacts, Digests, ExpectedDigest, Finding, Sha256Digest};
use countersign_ledger::event::{EVIDENCE_TYPE, FIRST_SEEN_TYPE, SCAN_TYPE, about_artifact};
use countersign_scan::malware;
use countersign_store::{NewEvent, StoreError};
use serde_json::{Value, json};

/// Findings that a statement lists; all of them are in the decision's facts.
const LISTED: usize = 100;

impl Engine {
    /// The events of an artifact that are not recorded yet.
    pub(crate) async fn inspections(
        &self,
        file: &FileRef,
        digests: Option<&Digests>,
        facts: Option<&ArtifactFacts>,
    ) -> Result<Vec<NewEvent>, StoreError> {
        let Some(digests) = digests else { return Ok(Vec::new()) };
        let mut events = vec![self.first_seen(file, digests)];
        if let Some(facts) = facts {
            events.push(self.evidence_found(file, facts));
            let rules = self.rules().await.ok().flatten();
            events.push(self.scanned(file, facts, &scanner(rules.as_deref())));
        }
        self.inner.store.new_ones(events).await
    }

    fn first_seen(&self, file: &FileRef, digests: &Digests) -> NewEvent {
        let index: Vec<String> = file
            .expected
            .iter()
            .map(|e: &ExpectedDigest| format!("{}:{}", e.algorithm().name(), e.to_hex()))
            .collect();
        let predicate = json!({
            "time": self.now(),
            "upstream": file.facts.upstream,
            "address": redacted(&file.url),
            "indexDigests": index,
            "size": file.size,
            "age": file.facts.age,
        });
        self.event(FIRST_SEEN_TYPE, file, &digests.sha256, predicate, "")
    }

    fn evidence_found(&self, file: &FileRef, facts: &ArtifactFacts) -> NewEvent {
        let said = json!(facts.evidence).to_string();
        let predicate = json!({
            "time": self.now(),
            "evidence": facts.evidence,
            "roots": self.grounds().roots.digest().to_hex(),
            "changes": facts.changes,
        });
        self.event(EVIDENCE_TYPE, file, &facts.sha256, predicate, &said)
    }

    fn scanned(&self, file: &FileRef, facts: &ArtifactFacts, scanner: &str) -> NewEvent {
        // The version's advisories follow from the feeds, whose changes lead to decisions anew: they are
        // no part of what makes a scan another.
        let said = format!("{scanner} {}", json!([facts.checks, facts.findings]));
        let grounds = self.grounds();
        let predicate = json!({
            "time": self.now(),
            "scanner": scanner,
            "rules": malware::VERSION,
            "feeds": GroundsId::of(&grounds).feeds,
            "checks": facts.checks,
            "findings": listed(&facts.findings),
            "findingsTotal": facts.findings.len(),
            "advisories": listed(&facts.version.findings),
            "advisoriesTotal": facts.version.findings.len(),
        });
        self.event(SCAN_TYPE, file, &facts.sha256, predicate, &said)
    }

    fn event(
        &self,
        kind: &str,
        file: &FileRef,
        sha256: &Sha256Digest,
        predicate: Value,
        said: &str,
    ) -> NewEvent {
        let (purl, name) = (file.purl(), &file.file_name);
        NewEvent {
            statement: about_artifact(kind, purl, name, sha256, predicate),
            time: self.now(),
            about: vec![purl.to_string(), format!("sha256:{sha256}")],
            once: Some(format!("{kind} {sha256} {purl} {name} {said}")),
        }
    }
}

fn listed(findings: &[Finding]) -> Vec<Value> {
    let short =
        |f: &Finding| json!({"kind": f.kind, "id": f.id, "severity": f.severity, "path": f.path});
    findings.iter().take(LISTED).map(short).collect()
}
