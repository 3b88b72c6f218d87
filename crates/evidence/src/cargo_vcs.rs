//! What a crate says about its source: `.cargo_vcs_info.json`, which `cargo package` writes (The Cargo
//! Book, "cargo package"). Whoever made the crate could write anything there: it is a claim and never
//! evidence, and nothing in this module makes it verified.

use crate::error::{EvidenceError, shown};
use crate::json;
use serde::Serialize;
use serde_json::Value;

/// The file's name, in the crate's own folder.
pub const FILE: &str = ".cargo_vcs_info.json";

/// Bytes of the file that are read; cargo's own have some hundred.
pub const MAX: usize = 64 << 10;

const WHAT: &str = "crate's source information";

/// What a crate claims, unverified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VcsInfo {
    /// The git commit that the crate is said to be made of, in hexadecimal.
    pub commit: String,
    /// Whether the crate is said to hold changes beyond the commit.
    pub dirty: bool,
    /// Where in the repository the crate is said to lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Reads the file.
///
/// # Errors
/// When it is not in cargo's form.
pub fn read(bytes: &[u8]) -> Result<VcsInfo, EvidenceError> {
    if bytes.len() > MAX {
        return Err(EvidenceError::TooLarge { what: WHAT, limit: format!("{MAX} bytes") });
    }
    let value = json::parse(WHAT, bytes)?;
    let commit = json::need_text(WHAT, &value, "/git/sha1")?;
    let hex = commit.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex || !matches!(commit.len(), 40 | 64) {
        return Err(EvidenceError::malformed(WHAT, "its commit is none"));
    }
    let dirty = value.pointer("/git/dirty").and_then(Value::as_bool).unwrap_or(false);
    let path = json::text(&value, "/path_in_vcs").filter(|p| !p.is_empty()).map(shown);
    Ok(VcsInfo { commit: commit.to_owned(), dirty, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_s_form_is_read_and_no_other() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let good = format!(r#"{{"git":{{"sha1":"{commit}"}},"path_in_vcs":"crates/a"}}"#);
        let said = read(good.as_bytes()).unwrap();
        assert_eq!((said.commit.as_str(), said.dirty), (commit, false));
        assert_eq!(said.path.as_deref(), Some("crates/a"));
        let dirty = format!(r#"{{"git":{{"sha1":"{commit}","dirty":true}},"path_in_vcs":""}}"#);
        let said = read(dirty.as_bytes()).unwrap();
        assert!(said.dirty && said.path.is_none());
        for bad in [
            "",
            "{}",
            r#"{"git":{}}"#,
            r#"{"git":{"sha1":"main"}}"#,
            r#"{"git":{"sha1":5}}"#,
            &good.replace("0123", "zzzz"),
            &good.replacen("\"git\"", "\"git\":{},\"git\"", 1),
            &" ".repeat(MAX + 1),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{}", shown(bad));
        }
        let hostile = good.replace("crates/a", "a\\u001b[31m");
        assert!(!read(hostile.as_bytes()).unwrap().path.unwrap().contains('\u{1b}'));
    }
}
