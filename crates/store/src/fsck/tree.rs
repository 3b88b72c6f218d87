//! The published files alone: every tile derived again from the published entries.

use super::FsckReport;
use crate::error::StoreError;
use crate::files::TileFiles;
use crate::publish::read_checkpoint;
use crate::store::{Store, blocking};
use countersign_ledger::{Edge, KeyHistory, TileId, TileKind, TileSource as _, parse_entry_bundle};

/// Bundles that are taken at a time: 16,384 entries.
const PAGE: u64 = 64;

impl Store {
    /// Derives the published tree again from nothing but the published files: every hash tile from
    /// the entry bundles, and the root against the signed checkpoint. Needs no database.
    ///
    /// # Errors
    /// When the checkpoint cannot be read; what can be read and is wrong stands in the report.
    pub async fn fsck_published(&self) -> Result<FsckReport, StoreError> {
        let mut report = FsckReport::default();
        let Some(keys) = self.key_history().await? else { return Ok(report) };
        let files = TileFiles::new(self.paths().ledger());
        let Some(note) = read_checkpoint(&self.paths().checkpoint())? else { return Ok(report) };
        report = blocking(move || Ok(derive(&files, &note, &keys))).await?;
        Ok(report)
    }

    /// The published files by themselves.
    pub(super) async fn check_files(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        let alone = self.fsck_published().await?;
        report.published = alone.published;
        alone.problems.into_iter().for_each(|p| report.problem(p));
        Ok(())
    }
}

/// Derives all tiles of a published tree, whose head is `note`.
fn derive(files: &TileFiles, note: &str, keys: &KeyHistory) -> FsckReport {
    let mut report = FsckReport::default();
    let head = match keys.verify_checkpoint(note) {
        Ok(head) => head,
        Err(e) => {
            report.problem(format!("the published checkpoint is not trusted: {e}"));
            return report;
        }
    };
    let mut edge = Edge::empty();
    for page in (0..head.size().div_ceil(256)).step_by(usize::try_from(PAGE).unwrap_or(64)) {
        let mut entries = Vec::new();
        for index in page..page.saturating_add(PAGE) {
            let Some(id) = TileId::in_tree(TileKind::Entries, index, head.size()) else { break };
            match files.tile(id).map(|b| parse_entry_bundle(&b)) {
                Ok(Some(some)) if some.len() == usize::from(id.width) => entries.extend(some),
                Ok(_) => {
                    report.problem(format!("the published bundle `{id}` is damaged"));
                    return report;
                }
                Err(e) => {
                    report.problem(e.to_string());
                    return report;
                }
            }
        }
        let Ok(plan) = edge.plan(&entries, keys.current().name()) else { return report };
        // Tiles that later entries fill are compared when they are full, or at the end.
        let last = plan.new_size == head.size();
        for tile in plan.tiles.iter().filter(|t| t.id.is_full() || last) {
            if files.tile(tile.id).ok().as_ref() != Some(&tile.data) {
                report.problem(format!(
                    "the published tile `{}` is not what the entries make it",
                    tile.id
                ));
            }
        }
        edge = plan.edge;
        report.published = edge.size();
    }
    if edge.root() != head.root() {
        report.problem("the published entries do not lead to the published checkpoint's root");
    }
    report
}
