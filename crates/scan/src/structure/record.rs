//! A wheel's RECORD against its content (PEP 427, "The .dist-info directory"; the recording
//! installed projects specification).

use super::Notes;
use countersign_core::{Severity, Sha256Digest};
use countersign_ecosystem::archive::ManifestEntry;
use std::collections::{HashMap, HashSet};

/// Compares each file with its row: equal digests, and no file without a row.
pub(super) fn check(record: &[u8], info: &str, manifest: &[ManifestEntry], notes: &mut Notes) {
    let Ok(text) = std::str::from_utf8(record) else {
        return malformed(info, notes);
    };
    let Some(rows) = rows(text) else {
        return malformed(info, notes);
    };
    let mut listed: HashMap<String, &str> = HashMap::new();
    for row in &rows {
        let (Some(path), Some(hash)) = (row.first(), row.get(1)) else { continue };
        if listed.insert(spelled(path), hash).is_some_and(|other| other != hash) {
            let title = "RECORD lists a file twice with different hashes".to_owned();
            notes.structure("record-mismatch", Severity::High, title, Some(path));
        }
    }
    let mut missing: HashSet<&str> = listed.keys().map(String::as_str).collect();
    for file in manifest {
        let exempt = is_exempt(&file.path, info);
        missing.remove(file.path.as_str());
        match listed.get(&file.path) {
            Some(hash) => compare(file, hash, exempt, notes),
            None if exempt => {}
            None => {
                let title = "a file that RECORD does not list".to_owned();
                notes.structure("record-mismatch", Severity::High, title, Some(&file.path));
            }
        }
    }
    for path in missing.into_iter().filter(|p| !p.is_empty() && !is_exempt(p, info)) {
        let title = "RECORD lists a file that the wheel does not hold".to_owned();
        notes.structure("record-missing-file", Severity::Low, title, Some(path));
    }
}

fn malformed(info: &str, notes: &mut Notes) {
    let title = "RECORD is no comma-separated text".to_owned();
    notes.structure("metadata-malformed", Severity::High, title, Some(&format!("{info}/RECORD")));
}

/// RECORD cannot hold its own hash, and signatures over it come after it.
fn is_exempt(path: &str, info: &str) -> bool {
    let name = path.strip_prefix(info).and_then(|p| p.strip_prefix('/'));
    matches!(name, Some("RECORD" | "RECORD.jws" | "RECORD.p7s"))
}

fn compare(file: &ManifestEntry, hash: &str, exempt: bool, notes: &mut Notes) {
    let mut structure = |code, severity, title: &str| {
        notes.structure(code, severity, title.to_owned(), Some(&file.path));
    };
    match hash.split_once('=') {
        Some(("sha256", value)) if value.trim_end_matches('=') == base64url(file.sha256) => {}
        Some(("sha256", _)) => {
            structure("record-mismatch", Severity::High, "the file's hash differs from RECORD's");
        }
        None if exempt && hash.is_empty() => {}
        None => {
            structure("record-unhashed", Severity::Moderate, "RECORD gives no hash for the file")
        }
        Some(_) => {
            structure("record-unhashed", Severity::Moderate, "RECORD's hash is no SHA-256");
        }
    }
}

/// A path as the manifest spells it. Old tools on Windows wrote backslashes.
fn spelled(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    path.replace('\\', "/")
}

/// Base 64 for URLs without padding (RFC 4648, section 5), as RECORD spells digests.
pub(super) fn base64url(digest: Sha256Digest) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(43);
    for chunk in digest.0.chunks(3) {
        let byte = |i| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * i)) & 63;
            out.extend(LETTERS.get(index as usize).map(|b| char::from(*b)));
        }
    }
    out
}

/// The rows of comma-separated text as Python's `csv` writes it (RFC 4180); `None` when a quote is
/// not closed.
fn rows(text: &str) -> Option<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    if quoted {
        return None;
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_spelled_as_record_does() {
        let empty = Sha256Digest::of(b"");
        assert_eq!(base64url(empty), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }

    #[test]
    fn rows_parse_with_quotes() {
        let rows = rows("a.py,sha256=x,1\r\n\"b,\"\"c\",,\nlast,,").unwrap();
        assert_eq!(rows, [["a.py", "sha256=x", "1"], ["b,\"c", "", ""], ["last", "", ""]]);
        assert!(super::rows("\"open").is_none());
    }
}
