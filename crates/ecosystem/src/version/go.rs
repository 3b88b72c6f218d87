//! Versions of Go modules and of Go itself.
//!
//! Source: the Go modules reference, "Versions" and "Pseudo-versions"; the short forms are those of
//! `golang.org/x/mod/semver` (`v1.2` is `v1.2.0`) and of Go's own releases (`go1.21rc2`).

use std::cmp::Ordering;

/// A version that was read. Versions that differ by build metadata alone are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    core: [Number; 3],
    pre: Pre,
}

/// A number without leading zeros: the longer one is the larger one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Number(usize, String);

/// One part of a pre-release: numbers come before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(Number),
    Word(String),
}

/// The parts of a pre-release; none is after all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pre(Vec<Part>);

impl Ord for Pre {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0.is_empty(), other.0.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for Pre {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Number {
    /// SemVer 2.0, sections 2 and 9: no leading zeros.
    fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let plain = text == "0" || !text.starts_with('0');
        (digits && plain).then(|| Self(text.len(), text.to_owned()))
    }
}

impl Version {
    /// Reads `v1.2.3-pre+build`, `1.2.3`, `v1.2`, `go1.21rc2`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("go").or_else(|| text.strip_prefix('v')).unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(t, b)| (t, Some(b)));
        if build.is_some_and(|b| !b.split('.').all(is_identifier)) {
            return None;
        }
        let (release, pre) = match text.split_once('-') {
            Some((release, pre)) => (release, parts(pre)?),
            None => of_go(text)?,
        };
        let mut core: [Number; 3] = std::array::from_fn(|_| Number(1, "0".to_owned()));
        let mut places = core.iter_mut();
        for number in release.split('.') {
            *places.next()? = Number::parse(number)?;
        }
        Some(Self { core, pre: Pre(pre) })
    }

    pub(super) fn is_prerelease(&self) -> bool {
        !self.pre.0.is_empty()
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn parts(text: &str) -> Option<Vec<Part>> {
    let part = |p: &str| {
        if p.bytes().all(|b| b.is_ascii_digit()) {
            return Number::parse(p).map(Part::Number);
        }
        is_identifier(p).then(|| Part::Word(p.to_owned()))
    };
    text.split('.').map(part).collect()
}

/// A release of Go itself has its pre-release without a hyphen: `1.21rc2`.
fn of_go(text: &str) -> Option<(&str, Vec<Part>)> {
    let Some(at) = text.find(|c: char| c.is_ascii_alphabetic()) else {
        return Some((text, Vec::new()));
    };
    let (release, pre) = text.split_at(at);
    let word = ["beta", "rc"].into_iter().find(|w| pre.starts_with(w))?;
    let number = Number::parse(pre.get(word.len()..)?)?;
    Some((release, vec![Part::Word(word.to_owned()), Part::Number(number)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(a: &str, b: &str) -> Option<Ordering> {
        Some(Version::parse(a)?.cmp(&Version::parse(b)?))
    }

    #[test]
    fn rows_of_the_references_are_ascending() {
        // SemVer 2.0 section 11, the modules reference on pseudo-versions (a base version's
        // pseudo-versions lie between it and the next patch), and releases of Go.
        for row in [
            &["v1.0.0-alpha", "v1.0.0-alpha.1", "v1.0.0-alpha.beta", "v1.0.0-beta"][..],
            &["v1.0.0-beta.2", "v1.0.0-beta.11", "v1.0.0-rc.1", "v1.0.0"],
            &[
                "v0.0.0-20191109021931-daa7c04131f5",
                "v0.0.0-20200109021931-0123456789ab",
                "v1.2.2",
                "v1.2.3-pre",
                "v1.2.3-pre.0.20191109021931-daa7c04131f5",
                "v1.2.3",
                "v1.2.4-0.20191109021931-daa7c04131f5",
                "v1.2.4",
                "v2.0.0+incompatible",
            ],
            &["1.20.9", "1.21.0-0", "go1.21beta1", "go1.21rc2", "1.21.0-rc.3", "go1.21", "1.21.1"],
            &["v1.9", "v1.10", "v1.99999999999999999999999999.0", "v2"],
        ] {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    assert_eq!(order(a, b), Some(i.cmp(&j)), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal_and_nonsense_is_none() {
        for (a, b) in [("v1", "1.0.0"), ("v2.0.0+incompatible", "v2.0.0"), ("go1.21", "v1.21.0")] {
            assert_eq!(order(a, b), Some(Ordering::Equal), "{a} {b}");
        }
        for bad in
            ["", "v", "v01.2.3", "v1.2.3.4", "v1.2.3-", "v1.2.3-01", "1.x", "latest", "v1..2"]
        {
            assert!(Version::parse(bad).is_none(), "{bad}");
        }
    }
}
