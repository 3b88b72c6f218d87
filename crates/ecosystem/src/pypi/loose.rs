//! Values of a project page, read one after the other: what is not wanted never becomes a tree in
//! memory, which takes up to thirty times the text.

use super::page::RawFile;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// Pairs of an object that are kept: more than there are kinds of digests.
const PAIRS: usize = 32;

/// A value, as far as any of a page is looked at.
#[derive(Debug, PartialEq)]
pub(super) enum Loose {
    Text(String),
    Flag(bool),
    Number(u64),
    /// An object's first members; a value that is no text becomes `?`, which is no digest.
    Pairs(Vec<(String, String)>),
    /// Anything else.
    Other,
}

impl Loose {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn pairs(self) -> Option<Vec<(String, String)>> {
        match self {
            Self::Pairs(pairs) => Some(pairs),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Loose;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<Loose, E> {
                Ok(Loose::Flag(v))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Loose, E> {
                Ok(Loose::Number(v))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }
            fn visit_unit<E: Error>(self) -> Result<Loose, E> {
                Ok(Loose::Other)
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Loose, E> {
                Ok(Loose::Text(v.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                while pairs.len() < PAIRS {
                    let Some(key) = map.next_key::<String>()? else {
                        return Ok(Loose::Pairs(pairs));
                    };
                    let value = map.next_value::<Loose>()?.text().unwrap_or_else(|| "?".to_owned());
                    // Of duplicate keys the last one counts, as everywhere here.
                    match pairs.iter_mut().find(|(k, _)| *k == key) {
                        Some((_, old)) => *old = value,
                        None => pairs.push((key, value)),
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Loose::Pairs(pairs))
            }
        }
        from.deserialize_any(Any)
    }
}

/// An entry of `files`; `None` when it is no object or lacks a name or an address.
struct Entry(Option<RawFile>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct File;
        impl<'de> Visitor<'de> for File {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file")
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Entry, E> {
                Ok(Entry(None))
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Entry, E> {
                Ok(Entry(None))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Entry, E> {
                Ok(Entry(None))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Entry, E> {
                Ok(Entry(None))
            }
            fn visit_unit<E: Error>(self) -> Result<Entry, E> {
                Ok(Entry(None))
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Entry, E> {
                Ok(Entry(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entry(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                read_file(map).map(Entry)
            }
        }
        from.deserialize_any(File)
    }
}

fn read_file<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<RawFile>, A::Error> {
    let mut file = RawFile::default();
    let (mut name, mut url) = (None, None);
    // The same under three names (PEP 658, PEP 714); the first of them that is there counts.
    let mut metadata = [None, None, None];
    while let Some(key) = map.next_key::<String>()? {
        let slot = match key.as_str() {
            "core-metadata" => 0,
            "dist-info-metadata" => 1,
            "data-dist-info-metadata" => 2,
            "filename" | "url" | "hashes" | "requires-python" | "yanked" | "upload-time"
            | "size" | "gpg-sig" | "provenance" => 3,
            _ => {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
        };
        let value = map.next_value::<Loose>()?;
        if let Some(slot) = metadata.get_mut(slot) {
            *slot = Some(value);
            continue;
        }
        match key.as_str() {
            "filename" => name = value.text(),
            "url" => url = value.text(),
            "hashes" => file.digests = value.pairs().unwrap_or_default(),
            "requires-python" => file.requires_python = value.text(),
            "yanked" => file.yanked = yanked(value),
            "upload-time" => file.upload_time = value.text(),
            "size" => file.size = if let Loose::Number(n) = value { Some(n) } else { None },
            "gpg-sig" => file.gpg_sig = if let Loose::Flag(f) = value { Some(f) } else { None },
            _ => file.provenance = value.text(),
        }
    }
    let (Some(name), Some(url)) = (name, url) else { return Ok(None) };
    file.core_metadata = match metadata.into_iter().flatten().next() {
        Some(Loose::Flag(true)) => Some(Vec::new()),
        Some(Loose::Pairs(pairs)) => Some(pairs),
        _ => None,
    };
    Ok(Some(RawFile { file_name: name, url, ..file }))
}

/// PEP 592: `true`, or the reason.
fn yanked(value: Loose) -> Option<String> {
    match value {
        Loose::Flag(true) => Some(String::new()),
        Loose::Text(reason) if !reason.is_empty() => Some(reason),
        _ => None,
    }
}

/// The entries of `files`, and how many were none; `None` where it is no list.
pub(super) type Files = Option<(Vec<RawFile>, usize)>;

/// Reads `files`, up to a number of entries. Beyond it `over` is set, and nothing more is read.
pub(super) struct ReadFiles<'a> {
    pub(super) most: usize,
    pub(super) over: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for ReadFiles<'_> {
    type Value = Files;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Files, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadFiles<'_> {
    type Value = Files;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Files, E> {
        Ok(None)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Files, E> {
        Ok(None)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Files, E> {
        Ok(None)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Files, E> {
        Ok(None)
    }
    fn visit_unit<E: Error>(self) -> Result<Files, E> {
        Ok(None)
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Files, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Files, A::Error> {
        let (mut files, mut rejected) = (Vec::new(), 0usize);
        while let Some(Entry(entry)) = seq.next_element()? {
            if files.len().saturating_add(rejected) >= self.most {
                self.over.set(true);
                return Err(A::Error::custom("too many files"));
            }
            match entry {
                Some(file) => files.push(file),
                None => rejected += 1,
            }
        }
        Ok(Some((files, rejected)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_far_as_they_are_looked_at() {
        let read = |text: &str| serde_json::from_str::<Loose>(text).unwrap();
        assert_eq!(read("\"a\""), Loose::Text("a".into()));
        assert_eq!((read("true"), read("7")), (Loose::Flag(true), Loose::Number(7)));
        for other in ["null", "-7", "1.5", "[1, {\"a\": 2}]"] {
            assert_eq!(read(other), Loose::Other, "{other}");
        }
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let text = r#"{"a": "1", "b": {"c": "2"}, "a": "3"}"#;
        assert_eq!(read(text).pairs().unwrap(), [pair("a", "3"), pair("b", "?")]);
        let many: Vec<String> = (0..100).map(|n| format!("\"{n}\": \"x\"")).collect();
        assert_eq!(read(&format!("{{{}}}", many.join(","))).pairs().unwrap().len(), PAIRS);
    }

    #[test]
    fn no_more_entries_are_read_than_there_may_be() {
        let over = Cell::new(false);
        let read = |text: &str, most| {
            let mut from = serde_json::Deserializer::from_str(text);
            ReadFiles { most, over: &over }.deserialize(&mut from)
        };
        let list = r#"[{"filename": "a", "url": "u"}, 1, {"filename": "b"}]"#;
        let (files, rejected) = read(list, 3).unwrap().unwrap();
        assert_eq!((files.len(), rejected, over.get()), (1, 2, false));
        // What follows is not even looked at.
        let cut = r#"[{"filename": "a", "url": "u"}, {"filename": "b", "url": "u"}, broken"#;
        assert!(read(cut, 1).is_err() && over.get());
        assert!(read("{\"a\": [1]}", 3).unwrap().is_none());
    }
}
