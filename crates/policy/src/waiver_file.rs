//! Waivers in a file: the allowlist that is kept under version control and reviewed there.
//!
//! ```toml
//! [[waiver]]
//! target = "pkg:npm/lodash@4.17.4"        # or sha256:…
//! covers = ["GHSA-jf85-cpcp-j695"]        # findings, rules or reasons
//! reason = "only used at build time, TICKET-7"
//! owner = "build team"
//! until = "2027-03-01"                    # a day (UTC, exclusive) or an RFC 3339 time
//! ```
//!
//! They are judged with the waivers of the store, by one evaluation.

use crate::error::{PolicyError, PolicyFile};
use crate::waiver::{ActiveWaiver, WaiverTarget};
use countersign_core::{Sha256Digest, Timestamp};
use serde::Deserialize;
use toml::Spanned;

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 4 << 20;
/// The longest a waiver may last from the day on which it is read, in days: one without a near end is
/// one that rots.
const MAX_DAYS: i64 = 366;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    waiver: Vec<Spanned<RawWaiver>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWaiver {
    target: Spanned<String>,
    covers: Spanned<Vec<String>>,
    reason: Spanned<String>,
    owner: Spanned<String>,
    until: Spanned<String>,
}

/// A waiver of a file, with what people want to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWaiver {
    /// What policy is asked with; its id is the file's name, and a digest of what it says.
    pub waiver: ActiveWaiver,
    /// Why the risk is accepted.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// The line on which it starts, from 1.
    pub line: usize,
}

/// Reads a file of waivers. Those that have ended are read as well: they are inert, and can be shown.
///
/// # Errors
/// All mistakes with their places: unknown keys, targets that are names alone, empty reasons and owners,
/// times that are none, ends more than a year ahead.
pub fn read_waivers(
    file: &PolicyFile,
    now: Timestamp,
) -> Result<Vec<FileWaiver>, Vec<PolicyError>> {
    if file.text.len() > MAX_FILE {
        return Err(vec![PolicyError::whole(&file.name, format!("larger than {MAX_FILE} bytes"))]);
    }
    let raw: RawFile = toml::from_str(&file.text).map_err(|e| {
        let offset = e.span().map_or(0, |s| s.start);
        let message = e.message().lines().next().unwrap_or("not valid TOML");
        vec![PolicyError::at(&file.name, &file.text, offset, message)]
    })?;
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    for entry in raw.waiver {
        let line = 1 + file.text.bytes().take(entry.span().start).filter(|b| *b == b'\n').count();
        match read_one(file, entry.into_inner(), now, &mut errors) {
            Some(waivers) => out.extend(waivers.into_iter().map(|w| FileWaiver { line, ..w })),
            None => continue,
        }
    }
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

fn read_one(
    file: &PolicyFile,
    raw: RawWaiver,
    now: Timestamp,
    errors: &mut Vec<PolicyError>,
) -> Option<Vec<FileWaiver>> {
    let before = errors.len();
    let mut wrong = |at: usize, message: String, help: &str| {
        errors.push(PolicyError::at(&file.name, &file.text, at, message).help(help));
    };
    let target = raw.target.get_ref().parse::<WaiverTarget>();
    if let Err(e) = &target {
        let message = format!("`{}` is no target of a waiver: {}", e.text, e.because);
        let help = "name a version (`pkg:npm/left-pad@1.3.0`) or a file's digest (`sha256:…`)";
        wrong(raw.target.span().start, message, help);
    }
    let until = time(raw.until.get_ref());
    match until {
        None => wrong(
            raw.until.span().start,
            format!("`{}` is no day and no time", raw.until.get_ref()),
            "write \"2027-03-01\" or \"2027-03-01T12:00:00Z\"",
        ),
        Some(until) if until > now.plus_seconds(MAX_DAYS * 86_400) => wrong(
            raw.until.span().start,
            format!("the end lies more than {MAX_DAYS} days ahead"),
            "choose a nearer day and look at it again then",
        ),
        Some(_) => {}
    }
    for (name, value) in [("reason", &raw.reason), ("owner", &raw.owner)] {
        if value.get_ref().trim().is_empty() {
            let help = "say it: somebody will read it when the waiver ends";
            wrong(value.span().start, format!("`{name}` is empty"), help);
        }
    }
    let covers = raw.covers.get_ref();
    if covers.is_empty() || covers.iter().any(|c| c.trim().is_empty()) {
        let help = "name findings (`GHSA-…`), rules (`baseline.cool-down`) or reasons";
        wrong(raw.covers.span().start, "`covers` names nothing".to_owned(), help);
    }
    if errors.len() > before {
        return None;
    }
    let (target, until) = (target.ok()?, until?);
    let make = |covers: &String| {
        let text = format!("{target}\n{covers}\n{until}\n{}", raw.reason.get_ref());
        let id = format!("{}#{}", file.name, Sha256Digest::of(text.as_bytes()).short());
        let waiver = ActiveWaiver { id, target: target.clone(), covers: covers.clone(), until };
        let (reason, owner) = (raw.reason.get_ref().clone(), raw.owner.get_ref().clone());
        FileWaiver { waiver, reason, owner, line: 0 }
    };
    Some(covers.iter().map(make).collect())
}

/// A day, which ends before it begins, or a time.
fn time(text: &str) -> Option<Timestamp> {
    let day = text.len() == 10;
    Timestamp::parse(&if day { format!("{text}T00:00:00Z") } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<FileWaiver>, Vec<PolicyError>> {
        let now = Timestamp::parse("2026-11-20T00:00:00Z").unwrap();
        read_waivers(&PolicyFile::new("waivers.toml", text), now)
    }

    const GOOD: &str = "# reviewed\n[[waiver]]\ntarget = \"pkg:npm/a@1.0.0\"\ncovers = [\"GHSA-1\", \"cool-down\"]\n\
        reason = \"TICKET-7\"\nowner = \"us\"\nuntil = \"2027-03-01\"\n";

    #[test]
    fn each_thing_that_is_covered_is_a_waiver() {
        let all = read(GOOD).unwrap();
        let covers: Vec<&str> = all.iter().map(|w| w.waiver.covers.as_str()).collect();
        assert_eq!(covers, ["GHSA-1", "cool-down"]);
        assert_eq!((all[0].line, all[0].owner.as_str()), (2, "us"));
        assert_eq!(all[0].waiver.until, Timestamp::parse("2027-03-01T00:00:00Z").unwrap());
        assert!(
            all[0].waiver.id.starts_with("waivers.toml#") && all[0].waiver.id != all[1].waiver.id
        );
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn mistakes_name_their_place_and_all_of_them_are_told() {
        for (from, to, line, part) in [
            ("a@1.0.0", "a", 3, "names no version"),
            ("\"GHSA-1\", \"cool-down\"", "", 4, "names nothing"),
            ("TICKET-7", " ", 5, "`reason` is empty"),
            ("2027-03-01", "2028-03-01", 7, "more than 366 days"),
            ("2027-03-01", "soon", 7, "no day and no time"),
            ("owner", "owned", 6, "unknown field"),
            ("until = \"2027-03-01\"", "", 2, "missing field"),
        ] {
            let errors = read(&GOOD.replace(from, to)).unwrap_err();
            assert!(errors[0].to_string().contains(part), "{}", errors[0]);
            assert_eq!(errors[0].line, line, "{}", errors[0]);
        }
        let two = GOOD.replace("TICKET-7", "").replace("\"us\"", "\"\"");
        assert_eq!(read(&two).unwrap_err().len(), 2);
    }
}
