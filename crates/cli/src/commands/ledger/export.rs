//! `ledger export`: everything in lines that other tools read.

use crate::context::Failed;
use countersign_engine::store::Store;
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Entries that are read at a time.
const PAGE: u32 = 1000;

/// Writes entries from `from` on, in order, and the checkpoint that covers them as the last line.
pub async fn export(
    store: &Store,
    public: bool,
    from: u64,
    output: Option<&Path>,
) -> Result<u8, Failed> {
    let shown = output.map_or("standard output".to_owned(), |p| p.display().to_string());
    let failed = |e: std::io::Error| Failed::internal(format!("`{shown}` cannot be written: {e}"));
    let mut out: Box<dyn Write> = match output {
        Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).map_err(failed)?)),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let mut next = from;
    loop {
        let page = store.entries(next, PAGE).await?;
        let Some(last) = page.last() else { break };
        next = last.index.saturating_add(1);
        for entry in &page {
            let entry_hex = hex::encode(entry.commitment);
            let mut line = json!({"index": entry.index, "entry": entry_hex});
            if let (Value::Object(line), false) = (&mut line, public) {
                line.insert("time".into(), json!(entry.time));
                match &entry.content {
                    Some(content) => {
                        line.insert("salt".into(), json!(hex::encode(content.salt)));
                        line.insert("envelope".into(), json!(content.envelope));
                    }
                    None => drop(line.insert("forgotten".into(), json!(true))),
                }
            }
            writeln!(out, "{line}").map_err(failed)?;
        }
    }
    // The checkpoint is read last: it covers at least what was written.
    let checkpoint = store.checkpoint().await?;
    writeln!(out, "{}", json!({"checkpoint": checkpoint})).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(0)
}
