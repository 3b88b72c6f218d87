//! TOML lock files as a tree that borrows from the text: they are read, never kept.

use crate::error::IndexError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a document.
pub(crate) fn parse<'a>(what: &'static str, text: &'a str) -> Result<DeValue<'a>, IndexError> {
    match DeTable::parse(text) {
        Ok(table) => Ok(DeValue::Table(table.into_inner())),
        Err(e) => Err(IndexError::malformed(what, "the text", e.message())),
    }
}

/// The value under a key of a table.
pub(crate) fn get<'v, 'a>(value: &'v DeValue<'a>, key: &str) -> Option<&'v DeValue<'a>> {
    value.get(key).map(Spanned::get_ref)
}

/// The text under a key.
pub(crate) fn text<'v>(value: &'v DeValue<'_>, key: &str) -> Option<&'v str> {
    get(value, key)?.as_str()
}

/// The number under a key.
pub(crate) fn number(value: &DeValue<'_>, key: &str) -> Option<i64> {
    let integer = get(value, key)?.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The items under a key; none where there is no list.
pub(crate) fn items<'v, 'a>(
    value: &'v DeValue<'a>,
    key: &str,
) -> impl Iterator<Item = &'v DeValue<'a>> {
    let array = get(value, key).and_then(DeValue::as_array);
    array.into_iter().flat_map(|a| a.iter()).map(Spanned::get_ref)
}

/// The list under a key, which may be missing and not be anything else; with how many items it has.
pub(crate) fn list<'v, 'a>(
    what: &'static str,
    value: &'v DeValue<'a>,
    key: &str,
) -> Result<(impl Iterator<Item = &'v DeValue<'a>>, usize), IndexError> {
    match get(value, key) {
        Some(other) if !other.is_array() => {
            Err(IndexError::malformed(what, key, "it is not a list"))
        }
        found => {
            let length = found.and_then(DeValue::as_array).map_or(0, |a| a.iter().len());
            Ok((items(value, key), length))
        }
    }
}
