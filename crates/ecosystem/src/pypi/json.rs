//! PEP 691 project pages, with what PEP 658, 700, 714, 740 and 792 add.

use super::normalize_name;
use super::page::{ProjectPage, RawFile, WHAT};
use crate::error::{IndexError, IndexLimits};
use crate::json::{parse_object, string};
use serde_json::{Map, Value};
use url::Url;

pub(super) fn parse(
    body: &[u8],
    page_url: &Url,
    name: String,
    limits: &IndexLimits,
) -> Result<ProjectPage, IndexError> {
    let top = parse_object(WHAT, body, limits)?;
    check_version(&top)?;
    let found = string(&top, "name")
        .ok_or_else(|| IndexError::malformed(WHAT, "name", "it is missing or not a string"))?;
    if normalize_name(found) != name {
        let found = found.chars().take(200).collect();
        return Err(IndexError::NameMismatch { what: WHAT, wanted: name, found });
    }
    let files = top
        .get("files")
        .and_then(Value::as_array)
        .ok_or_else(|| IndexError::malformed(WHAT, "files", "it is missing or not a list"))?;
    limits.check_entries(WHAT, files.len())?;

    let mut page = ProjectPage { name, ..ProjectPage::default() };
    if let Some(status) = top.get("project-status").and_then(Value::as_object) {
        page.status = string(status, "status").map(crate::text::clean);
        page.status_reason = string(status, "reason").map(crate::text::clean);
    }
    for file in files {
        match file.as_object().and_then(read_file) {
            Some(raw) => page.take(raw, page_url),
            None => page.rejected += 1,
        }
    }
    Ok(page)
}

/// Only major version 1 of the API is known (PEP 629).
fn check_version(top: &Map<String, Value>) -> Result<(), IndexError> {
    let version = top.get("meta").and_then(|m| m.get("api-version")).and_then(Value::as_str);
    match version {
        Some(v) if v.split('.').next() != Some("1") => Err(IndexError::malformed(
            WHAT,
            "meta.api-version",
            format!("version `{v}` is not known"),
        )),
        _ => Ok(()),
    }
}

fn read_file(file: &Map<String, Value>) -> Option<RawFile> {
    let owned = |key| string(file, key).map(str::to_owned);
    let metadata = ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"]
        .iter()
        .find_map(|key| file.get(*key));
    Some(RawFile {
        file_name: owned("filename")?,
        url: owned("url")?,
        digests: file.get("hashes").map(hashes).unwrap_or_default(),
        requires_python: owned("requires-python"),
        yanked: match file.get("yanked") {
            Some(Value::Bool(true)) => Some(String::new()),
            Some(Value::String(reason)) if !reason.is_empty() => Some(reason.clone()),
            _ => None,
        },
        upload_time: owned("upload-time"),
        size: file.get("size").and_then(Value::as_u64),
        core_metadata: match metadata {
            Some(Value::Bool(true)) => Some(Vec::new()),
            Some(value @ Value::Object(_)) => Some(hashes(value)),
            _ => None,
        },
        gpg_sig: file.get("gpg-sig").and_then(Value::as_bool),
        provenance: owned("provenance"),
    })
}

/// The pairs of a `hashes` object; a value that is no string becomes one that is no digest.
fn hashes(value: &Value) -> Vec<(String, String)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, v)| (name.clone(), v.as_str().unwrap_or("?").to_owned()))
        .collect()
}
