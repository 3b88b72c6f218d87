//! The shortest upgrade: from a version that something is known about to the nearest one that nothing
//! is known about.

use super::order::Position;
use countersign_core::Ecosystem;
use countersign_ecosystem::version::is_prerelease;

/// A version that no advisory is about.
#[derive(Debug, Clone)]
pub(super) struct Clear {
    at: Position,
    text: String,
    line: Option<String>,
    early: bool,
}

impl Clear {
    pub(super) fn new(ecosystem: Ecosystem, at: Position, text: &str) -> Self {
        let (line, early) = (line(ecosystem, text), is_prerelease(ecosystem, text));
        Self { at, text: text.to_owned(), line, early }
    }
}

/// The lowest of `clear`, which ascend, above a version: of its own line first.
pub(super) fn shortest<'a>(
    ecosystem: Ecosystem,
    clear: &'a [Clear],
    at: Position,
    version: &str,
) -> Option<&'a str> {
    let (own, early) = (line(ecosystem, version), is_prerelease(ecosystem, version));
    let above = || clear.iter().filter(move |c| c.at > at && (early || !c.early));
    let same = above().find(|c| own.is_some() && c.line == own);
    same.or_else(|| above().next()).map(|c| c.text.as_str())
}

/// The release line of a version: its first number, and while that is 0 its second as well, as semantic
/// versioning gives out compatible versions. Debian's versions have the epoch as their line.
fn line(ecosystem: Ecosystem, version: &str) -> Option<String> {
    if ecosystem == Ecosystem::Debian {
        return Some(version.split_once(':').map_or("0", |(epoch, _)| epoch).to_owned());
    }
    let text = version.trim_start_matches(['v', '=']);
    let (epoch, text) = text.split_once('!').unwrap_or(("0", text));
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    let first = numbers.next().filter(|n| !n.is_empty())?;
    let second = if first == "0" { numbers.next().unwrap_or("0") } else { "" };
    Some(format!("{epoch}!{first}.{second}"))
}

#[cfg(test)]
mod tests {
    use super::line;
    use countersign_core::Ecosystem::{Debian, Go, Npm, Pypi};

    #[test]
    fn lines_are_those_of_compatible_versions() {
        for (ecosystem, a, b, same) in [
            (Npm, "1.2.3", "1.9.0", true),
            (Npm, "1.2.3", "2.0.0", false),
            (Npm, "0.2.3", "0.2.9", true),
            (Npm, "0.2.3", "0.3.0", false),
            (Go, "v1.2.3", "1.3.0", true),
            (Pypi, "1!1.0", "1.0", false),
            (Pypi, "0.2rc1", "0.2", true),
            (Debian, "1.0-1", "2.0-1", true),
            (Debian, "1:1.0-1", "2.0-1", false),
        ] {
            assert_eq!(line(ecosystem, a) == line(ecosystem, b), same, "{a} {b}");
        }
        assert_eq!(line(Npm, "latest"), None);
    }
}
