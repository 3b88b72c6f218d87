//! PEP 691 project pages, with what PEP 658, 700, 714, 740 and 792 add.

use super::loose::{Files, Loose, ReadFiles};
use super::normalize_name;
use super::page::{ProjectPage, WHAT};
use crate::error::{IndexError, IndexLimits};
use crate::json::{checked, syntax_error};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use url::Url;

/// The members of a page that are looked at.
#[derive(Default)]
struct Top {
    meta: Vec<(String, String)>,
    name: Option<String>,
    status: Option<Vec<(String, String)>>,
    files: Files,
}

pub(super) fn parse(
    body: &[u8],
    page_url: &Url,
    name: String,
    limits: &IndexLimits,
) -> Result<ProjectPage, IndexError> {
    let body = checked(WHAT, body, limits)?;
    let over = Cell::new(false);
    let files = ReadFiles { most: limits.max_entries, over: &over };
    let mut from = serde_json::Deserializer::from_slice(body);
    let read = ReadTop(files).deserialize(&mut from);
    let top = match read.and_then(|top| from.end().map(|()| top)) {
        Ok(top) => top,
        Err(_) if over.get() => {
            return Err(IndexError::TooManyEntries { what: WHAT, limit: limits.max_entries });
        }
        Err(e) => return Err(syntax_error(WHAT, &e)),
    };
    check_version(&top)?;
    let found = top
        .name
        .as_deref()
        .ok_or_else(|| IndexError::malformed(WHAT, "name", "it is missing or not a string"))?;
    if normalize_name(found) != name {
        let found = found.chars().take(200).collect();
        return Err(IndexError::NameMismatch { what: WHAT, wanted: name, found });
    }
    let (files, rejected) = top
        .files
        .ok_or_else(|| IndexError::malformed(WHAT, "files", "it is missing or not a list"))?;

    let mut page = ProjectPage { name, rejected, ..ProjectPage::default() };
    if let Some(status) = &top.status {
        page.status = member(status, "status").map(crate::text::clean);
        page.status_reason = member(status, "reason").map(crate::text::clean);
    }
    for raw in files {
        page.take(raw, page_url);
    }
    Ok(page)
}

/// Only major version 1 of the API is known (PEP 629).
fn check_version(top: &Top) -> Result<(), IndexError> {
    match member(&top.meta, "api-version") {
        Some(v) if v.split('.').next() != Some("1") => Err(IndexError::malformed(
            WHAT,
            "meta.api-version",
            format!("version `{v}` is not known"),
        )),
        _ => Ok(()),
    }
}

fn member<'p>(pairs: &'p [(String, String)], key: &str) -> Option<&'p str> {
    pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

/// Reads a page's top level, in whatever order its members come. Of duplicates the last one counts.
struct ReadTop<'a>(ReadFiles<'a>);

impl<'de> DeserializeSeed<'de> for ReadTop<'_> {
    type Value = Top;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Top, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadTop<'_> {
    type Value = Top;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top, A::Error> {
        let mut top = Top::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "meta" => top.meta = map.next_value::<Loose>()?.pairs().unwrap_or_default(),
                "name" => top.name = map.next_value::<Loose>()?.text(),
                "project-status" => top.status = map.next_value::<Loose>()?.pairs(),
                "files" => {
                    let ReadFiles { most, over } = self.0;
                    // The earlier of two lists goes before the next one is read.
                    top.files = None;
                    top.files = map.next_value_seed(ReadFiles { most, over })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(top)
    }
}
