//! Entries of the crate index: one JSON object a line (Cargo Book, "Index Format").

use super::validate_name;
use crate::error::{IndexError, IndexLimits};
use countersign_core::{Sha256Digest, Timestamp};
use serde::Deserialize;
use std::collections::HashSet;

const WHAT: &str = "the crate index entry";

/// The index entry of a crate: all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateIndex {
    /// The versions, in the upstream's order.
    pub lines: Vec<IndexLine>,
    /// How many lines were left out: unreadable, about another crate, or a version told twice.
    pub rejected: usize,
}

/// One version in the index. All of it is the upstream's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLine {
    /// The line as it came, without its end.
    pub raw: String,
    /// The crate's name, as spelled here.
    pub name: String,
    /// The version.
    pub version: String,
    /// The SHA-256 of the crate's file.
    pub cksum: Sha256Digest,
    /// Whether it was yanked.
    pub yanked: bool,
    /// When it was published (`pubtime`), where the index tells.
    pub published: Option<Timestamp>,
    /// Other registries that its dependencies name: they bypass this one.
    pub dep_registries: Vec<String>,
}

/// The fields that are read; a field given twice is an error, as it is to cargo.
#[derive(Deserialize)]
struct RawLine {
    name: String,
    vers: String,
    cksum: String,
    #[serde(default)]
    yanked: Option<bool>,
    #[serde(default)]
    pubtime: Option<String>,
    #[serde(default)]
    deps: Vec<RawDep>,
}

#[derive(Deserialize)]
struct RawDep {
    #[serde(default)]
    registry: Option<String>,
}

/// Reads the index entry of the crate `name`. Lines that cannot be trusted to be about it are
/// left out and counted.
///
/// # Errors
/// When it is over a limit, or `name` is no crate name.
pub fn parse_index(
    name: &str,
    bytes: &[u8],
    limits: &IndexLimits,
) -> Result<CrateIndex, IndexError> {
    limits.check_bytes(WHAT, bytes.len())?;
    if !validate_name(name) {
        return Err(IndexError::malformed(WHAT, name, "it is asked for under no valid crate name"));
    }
    let mut index = CrateIndex { lines: Vec::new(), rejected: 0 };
    let mut seen = HashSet::new();
    for line in bytes.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match read_line(name, line).filter(|l| seen.insert(l.version.clone())) {
            Some(line) => index.lines.push(line),
            None => index.rejected += 1,
        }
        limits.check_entries(WHAT, index.lines.len().saturating_add(index.rejected))?;
    }
    Ok(index)
}

fn read_line(name: &str, line: &[u8]) -> Option<IndexLine> {
    let raw = std::str::from_utf8(line).ok()?;
    let read: RawLine = serde_json::from_str(raw).ok()?;
    let sound = read.name.eq_ignore_ascii_case(name)
        && semver::Version::parse(&read.vers).is_ok()
        && !read.cksum.contains(':');
    if !sound {
        return None;
    }
    let mut dep_registries: Vec<String> =
        read.deps.into_iter().filter_map(|d| d.registry).collect();
    dep_registries.sort();
    dep_registries.dedup();
    Some(IndexLine {
        raw: raw.to_owned(),
        name: read.name,
        version: read.vers,
        cksum: read.cksum.parse().ok()?,
        yanked: read.yanked.unwrap_or(false),
        published: read.pubtime.as_deref().and_then(Timestamp::parse),
        dep_registries,
    })
}

impl CrateIndex {
    /// Keeps the lines for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&IndexLine) -> bool) {
        self.lines.retain(keep);
    }

    /// Marks the lines for which `hide` holds as yanked: cargo takes them only where a lock file
    /// names them. Only lines that are marked are written anew.
    pub fn yank(&mut self, hide: impl Fn(&IndexLine) -> bool) {
        for line in &mut self.lines {
            if line.yanked || !hide(line) {
                continue;
            }
            let read =
                serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line.raw);
            if let Ok(mut object) = read {
                object.insert("yanked".to_owned(), true.into());
                line.raw = serde_json::Value::Object(object).to_string();
                line.yanked = true;
            }
        }
        // A line that could not be marked must not be offered.
        self.lines.retain(|l| l.yanked || !hide(l));
    }

    /// The entry as cargo reads it: the kept lines as they came.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for line in &self.lines {
            out.extend_from_slice(line.raw.as_bytes());
            out.push(b'\n');
        }
        out
    }
}

/// The folder of a crate in the index: `1`, `2`, `3/a`, `ab/cd`. The name's letters stay as they
/// are.
pub(super) fn prefix(name: &str) -> String {
    let part = |from: usize, to: usize| name.get(from..to).unwrap_or("");
    match name.len() {
        0..=2 => name.len().to_string(),
        3 => format!("3/{}", part(0, 1)),
        _ => format!("{}/{}", part(0, 2), part(2, 4)),
    }
}

/// Where a crate's entry is in the index, in lower case: `se/rd/serde`. `None` for what is no
/// crate name.
#[must_use]
pub fn index_path(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    validate_name(name).then(|| format!("{}/{lower}", prefix(&lower)))
}

/// The crate (in lower case) whose entry is at `path`; `None` when that is not the place of the
/// crate that it names.
#[must_use]
pub fn name_from_index_path(path: &str) -> Option<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let name = path.rsplit('/').next()?;
    (index_path(name)? == path).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(name: &str, version: &str) -> String {
        format!(
            r#"{{"name":"{name}","vers":"{version}","deps":[{{"name":"d","req":"^1","registry":null}}],"cksum":"{}","features":{{}},"yanked":false,"new":{{"kept":1}}}}"#,
            "0a".repeat(32)
        )
    }

    fn parse(text: &str) -> CrateIndex {
        parse_index("demo", text.as_bytes(), &IndexLimits::default()).unwrap()
    }

    #[test]
    fn lines_are_read_and_written_as_they_came() {
        let dated = line("Demo", "1.1.0")
            .replace(r#""yanked":false"#, r#""yanked":true,"pubtime":"2025-01-02T03:04:05Z""#)
            .replace(r#""registry":null"#, r#""registry":"https://other.example/index""#);
        let text = format!("{}\n{dated}\n\n", line("demo", "1.0.0"));
        let mut index = parse(&text);
        assert_eq!((index.lines.len(), index.rejected), (2, 0));
        assert!(!index.lines[0].yanked && index.lines[1].yanked);
        assert_eq!(index.lines[0].cksum, Sha256Digest([10; 32]));
        assert_eq!(index.lines[0].published, None);
        assert_eq!(index.lines[1].published, Timestamp::parse("2025-01-02T03:04:05Z"));
        assert_eq!(index.lines[1].dep_registries, ["https://other.example/index"]);
        assert_eq!(index.to_bytes(), text.replace("\n\n", "\n").into_bytes());
        index.retain(|l| l.version == "1.0.0");
        assert_eq!(index.to_bytes(), format!("{}\n", line("demo", "1.0.0")).into_bytes());
    }

    #[test]
    fn hidden_lines_are_marked_and_the_others_stay_as_they_came() {
        let (a, b) = (line("demo", "1.0.0"), line("demo", "1.1.0"));
        let mut index = parse(&format!("{a}\n{b}"));
        index.yank(|l| l.version == "1.1.0");
        let text = String::from_utf8(index.to_bytes()).unwrap();
        let (first, second) = text.trim_end().split_once('\n').unwrap();
        assert_eq!(first, a);
        let second: serde_json::Value = serde_json::from_str(second).unwrap();
        assert_eq!(second["yanked"], true);
        assert_eq!((&second["vers"], &second["new"]["kept"]), (&"1.1.0".into(), &1.into()));
        let again = parse(&text);
        assert_eq!(again.lines.iter().filter(|l| l.yanked).count(), 1);
    }

    #[test]
    fn lines_that_are_not_about_the_crate_are_left_out() {
        let good = line("demo", "1.0.0");
        let zero = "0a".repeat(32);
        for (why, bad) in [
            ("other crate", line("other", "1.0.0")),
            ("dash for underscore", line("de-mo", "1.0.0")),
            ("no version", line("demo", "1.0")),
            ("short digest", good.replace(&zero, "0a")),
            ("prefixed digest", good.replace(&zero, &format!("sha256:{zero}"))),
            ("no JSON", "{".to_owned()),
            ("a field twice", good.replace(r#""yanked""#, r#""cksum":"x","yanked""#)),
            ("deep", format!("{{\"deps\":{}", "[".repeat(10_000))),
        ] {
            let index = parse(&bad);
            assert_eq!((index.lines.len(), index.rejected), (0, 1), "{why}");
        }
        let other_digest = good.replace(&zero, &"0b".repeat(32));
        let index = parse(&format!("{good}\n{other_digest}"));
        assert_eq!((index.lines.len(), index.rejected), (1, 1), "a version told twice");
        assert_eq!(index.lines[0].raw, good);
        let index = parse_index("demo", b"\xff\xfe\n", &IndexLimits::default()).unwrap();
        assert_eq!(index.rejected, 1);
    }

    #[test]
    fn limits_and_names_are_errors() {
        let text = format!("{}\n{}", line("demo", "1.0.0"), line("demo", "1.0.1"));
        let limits = IndexLimits { max_entries: 1, ..IndexLimits::default() };
        let got = parse_index("demo", text.as_bytes(), &limits);
        assert!(matches!(got, Err(IndexError::TooManyEntries { .. })));
        let limits = IndexLimits { max_bytes: 1, ..IndexLimits::default() };
        assert!(matches!(parse_index("demo", b"ab", &limits), Err(IndexError::TooLarge { .. })));
        assert!(parse_index("../demo", b"", &IndexLimits::default()).is_err());
    }

    #[test]
    fn index_paths_are_the_names_own() {
        for (name, path) in [
            ("a", "1/a"),
            ("ab", "2/ab"),
            ("ABC", "3/a/abc"),
            ("Serde", "se/rd/serde"),
            ("a-_b", "a-/_b/a-_b"),
        ] {
            assert_eq!(index_path(name).as_deref(), Some(path));
            assert_eq!(name_from_index_path(path), Some(name.to_lowercase()));
            assert_eq!(name_from_index_path(&format!("/{path}")), Some(name.to_lowercase()));
        }
        for path in [
            "",
            "/",
            "serde",
            "ab/cd/serde",
            "se/rd/Serde",
            "se/rd/../serde",
            "1/ab",
            "config.json",
        ] {
            assert_eq!(name_from_index_path(path), None, "{path}");
        }
        assert_eq!(index_path("a/b"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(versions in prop::collection::vec("[0-9]\\.[0-9]\\.[0-9]", 0..8), noise in "\\PC{0,40}") {
            let text: String = versions.iter().map(|v| line("demo", v) + "\n").collect::<String>() + &noise;
            let mut index = parse(&text);
            index.rejected = 0;
            let again = parse_index("demo", &index.to_bytes(), &IndexLimits::default()).unwrap();
            prop_assert_eq!(again, index);
        }
    }
}
