//! `[[key]]`: the organisation's keys, and what each counts for.

use super::read::{At, Reader, Table};
use super::read_pattern;
use countersign_core::Timestamp;
use countersign_evidence::predicate::{PREDICATE_TYPES, PredicateType};
use countersign_policy::PurlPattern;
use std::path::PathBuf;

/// Where a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// Among the store's own, by name.
    Own,
    /// In a file, as PEM.
    File(PathBuf),
    /// Here, as PEM.
    Text(String),
}

/// One `[[key]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub place: KeyPlace,
    /// From when on it signs.
    pub not_before: Option<Timestamp>,
    /// Until when it signs, exclusively.
    pub not_after: Option<Timestamp>,
    /// From when on it counts as somebody else's.
    pub revoked: Option<Timestamp>,
    /// Predicate types that it may attest; `*` is every one.
    pub attests: Vec<String>,
    /// Packages that it may attest them for; `None` is every one.
    pub packages: Option<Vec<PurlPattern>>,
}

pub(super) fn read(root: &mut Table<'_, '_>) -> Vec<KeyConfig> {
    root.tables("key").into_iter().filter_map(read_one).collect()
}

fn read_one(mut table: Table<'_, '_>) -> Option<KeyConfig> {
    let (reader, span) = (table.reader(), table.span());
    let name = table.required("name", "\"release\"");
    let (file, public) = (table.text("file"), table.text("public"));
    let mut time = |key| table.text(key).and_then(|at| read_time(reader, &at));
    let (not_before, not_after) = (time("not-before"), time("not-after"));
    let revoked = time("revoked");
    let attests = table.one_or_texts("attests");
    let packages = table.one_or_texts("packages");
    table.finish();
    if attests.is_empty() {
        let remedy = "add attests = [\"vsa\", \"test-result\"], or [\"*\"] for everything";
        reader.problem(&span, "`key` does not say what it may attest", remedy);
    }
    if packages.is_empty() {
        let remedy = "add packages = [\"pkg:pypi/acme-*\"], or [\"*\"] for every package";
        reader.problem(&span, "`key` does not say which packages it counts for", remedy);
    }
    let attests = attests.into_iter().filter(|t| check_type(reader, t)).map(|t| t.value).collect();
    let every = packages.iter().any(|p| p.value == "*");
    let patterns = || packages.iter().filter_map(|p| read_pattern(reader, p)).collect();
    let packages = if every { None } else { Some(patterns()) };
    let own = file.is_none() && public.is_none();
    let place = match (file, public) {
        (Some(_), Some(at)) => {
            reader.problem(&at.span, "the key is given twice", "take out `file` or `public`");
            return None;
        }
        (Some(file), None) => KeyPlace::File(file.value.into()),
        (None, Some(text)) => KeyPlace::Text(text.value),
        (None, None) => KeyPlace::Own,
    };
    if own && [not_before, not_after, revoked].iter().any(Option::is_some) {
        let what = "the window of a key of this store is what its ledger says";
        reader.problem(&span, what, "take it out; use `countersign key rotate` and `key revoke`");
    }
    Some(KeyConfig { name: name?.value, place, not_before, not_after, revoked, attests, packages })
}

fn read_time(reader: &Reader<'_>, at: &At<String>) -> Option<Timestamp> {
    let found = Timestamp::parse(&at.value);
    if found.is_none() {
        let what = format!("`{}` is no time", at.value);
        reader.problem(&at.span, what, "write \"2027-01-31T00:00:00Z\"");
    }
    found
}

fn check_type(reader: &Reader<'_>, at: &At<String>) -> bool {
    let text = at.value.as_str();
    let fine = text == "*"
        || PredicateType::named(text).is_some()
        || text.contains("://")
        || text.starts_with("urn:");
    if !fine {
        let names: Vec<&str> = PREDICATE_TYPES.iter().map(|t| t.name).collect();
        let what = format!("`{text}` is no predicate type");
        reader.problem(&at.span, what, format!("write a type URI, or one of {}", names.join(", ")));
    }
    fine
}
