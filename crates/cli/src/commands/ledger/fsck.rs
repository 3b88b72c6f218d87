//! `ledger fsck`.

use crate::context::Failed;
use crate::print;
use countersign_engine::store::{FsckReport, Store};

/// Checks, after writing the published files again where that is asked for.
pub async fn fsck(store: &Store, quick: bool, republish: bool, json: bool) -> Result<u8, Failed> {
    if republish {
        store.republish().await?;
    }
    let report = store.fsck(quick).await?;
    if json {
        print::line(&as_json(&report));
        return Ok(u8::from(!report.is_clean()));
    }
    print::line(&format!(
        "{} entries, {} of them decisions; {} verified",
        report.entries, report.decisions, report.verified
    ));
    if !quick {
        print::line(&format!(
            "{} published entries, every tile derived again from them",
            report.published
        ));
        print::line(&format!(
            "{} artifacts are admitted, {} of them have no blob here; {} blobs have no entry",
            report.admitted, report.without_blob, report.unnamed_blobs
        ));
        if report.forgotten > 0 || report.forgotten_blobs > 0 {
            print::line(&format!(
                "forgotten, with a record: the content of {} entries, the bytes of {} artifacts",
                report.forgotten, report.forgotten_blobs
            ));
        }
    }
    for p in &report.problems {
        print::error_line(&format!("countersign: {p}"));
    }
    let bytes_only = |p: &String| p.contains("no entry says why");
    let files_only = |p: &String| p.starts_with("the published") || p.contains("ledger's tile");
    if report.is_clean() {
        print::line("the ledger is consistent");
    } else if report.problems.iter().all(files_only) {
        print::line(
            "the ledger is NOT consistent: published files are lost or damaged; \
             `countersign ledger fsck --republish` writes them again",
        );
    } else if report.problems.iter().all(bytes_only) {
        print::line(
            "the ledger itself is consistent; bytes of artifacts are gone without a record: \
             restore them, or record it with `countersign ledger forget`",
        );
    } else {
        print::line("the ledger is NOT consistent; keep this folder as it is and restore a copy");
    }
    Ok(u8::from(!report.is_clean()))
}

fn as_json(report: &FsckReport) -> String {
    serde_json::json!({
        "entries": report.entries,
        "decisions": report.decisions,
        "verified": report.verified,
        "published": report.published,
        "admitted": report.admitted,
        "withoutBlob": report.without_blob,
        "unnamedBlobs": report.unnamed_blobs,
        "forgotten": report.forgotten,
        "forgottenBlobs": report.forgotten_blobs,
        "problems": report.problems,
        "consistent": report.is_clean(),
    })
    .to_string()
}
