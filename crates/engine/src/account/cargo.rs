//! cargo: every crate of the lock file against what was admitted, now or before.

use super::{Account, CargoPlan};
use crate::engine::Engine;
use crate::local::CachedFile;
use countersign_core::{Ecosystem, Purl, Verdict};
use countersign_ecosystem::cargo;
use std::collections::HashSet;

impl Engine {
    pub(crate) async fn account_cargo(&self, plan: &CargoPlan) -> Account {
        let mut account = Account::default();
        let Some(lock) = &plan.lock else { return account };
        let Ok(text) = tokio::fs::read_to_string(lock).await else {
            if !self.judged_crates().is_empty() {
                account.not_done.push(format!("`{}` cannot be read", lock.display()));
            }
            return account;
        };
        let crates = match cargo::parse_lock(&text) {
            Ok(crates) => crates,
            Err(e) => {
                account.gap(lock.display().to_string(), format!("cannot be read: {e}"));
                return account;
            }
        };
        let mut judged = self.judged_crates();
        let mut late = Vec::new();
        for c in &crates {
            let (Some(source), Some(checksum)) = (&c.source, c.checksum) else {
                if let Some(source) = c.source.as_ref().filter(|s| s.starts_with("git+")) {
                    let from = crate::shown_address(source);
                    account.gap(
                        format!("{} {}", c.name, c.version),
                        format!("comes from {from}, which is no registry"),
                    );
                }
                continue;
            };
            if !judged.contains(&checksum) && source.starts_with(['r', 's']) {
                late.extend(self.cached_crate(plan, &c.name, &c.version, checksum));
            }
        }
        // What cargo took from its own cache without asking is judged now, late but not never.
        if !late.is_empty() {
            self.judge_cached(late).await;
            judged = self.judged_crates();
        }
        for c in crates {
            let Some(checksum) = c.checksum.filter(|_| c.source.is_some()) else { continue };
            let fetched = self.cached_crate(plan, &c.name, &c.version, checksum).is_some();
            if judged.contains(&checksum) {
                account.matched += 1;
            } else if fetched {
                account.gap(
                    format!("{} {}", c.name, c.version),
                    "lies in cargo's cache and was not admitted",
                );
            }
        }
        account
    }

    fn judged_crates(&self) -> HashSet<countersign_core::Sha256Digest> {
        self.report()
            .entries()
            .into_iter()
            .filter(|e| e.decision.verdict == Verdict::Admit)
            .filter_map(|e| e.sha256)
            .collect()
    }

    fn cached_crate(
        &self,
        plan: &CargoPlan,
        name: &str,
        version: &str,
        checksum: countersign_core::Sha256Digest,
    ) -> Option<CachedFile> {
        let file_name = format!("{name}-{version}.crate");
        let cache = plan.home.as_ref()?.join("registry/cache");
        let path = std::fs::read_dir(cache)
            .ok()?
            .flatten()
            .map(|d| d.path().join(&file_name))
            .find(|p| p.is_file())?;
        Some(CachedFile {
            purl: Purl::new(Ecosystem::Cargo, name, Some(version)),
            file_name,
            checksum,
            path,
        })
    }
}
