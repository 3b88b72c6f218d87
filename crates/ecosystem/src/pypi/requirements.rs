//! Requirements files, as far as the gate must know them: pins, hashes, and every line that
//! opens another way than the index.

use super::spec::{Spec, classify_spec};
use countersign_core::{Algorithm, ExpectedDigest};

/// One statement of a requirements file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementLine {
    /// The line that it starts on, counted from 1.
    pub line: usize,
    /// What it says.
    pub kind: RequirementKind,
}

/// What a statement of a requirements file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequirementKind {
    /// A requirement.
    Requirement {
        /// What it asks for.
        spec: Spec,
        /// The digests of which one must match (`--hash`).
        hashes: Vec<ExpectedDigest>,
        /// Whether it is installed in place (`-e`).
        editable: bool,
    },
    /// Another file to read: `-r` or `-c`.
    Include {
        /// Its path or URL, relative to this file.
        path: String,
        /// Whether it only constrains (`-c`).
        constraint: bool,
    },
    /// `--index-url`: replaces the index.
    IndexUrl(String),
    /// `--extra-index-url`: adds an index.
    ExtraIndexUrl(String),
    /// `--find-links`: adds a page or folder of files.
    FindLinks(String),
    /// `--trusted-host`: switches TLS checks off for a host.
    TrustedHost(String),
    /// `--no-index`: only `--find-links` are used.
    NoIndex,
    /// An option that opens no way round the index, as written.
    OtherOption(String),
    /// A statement that cannot be read; never to be taken as harmless.
    Unreadable(String),
}

#[derive(Clone, Copy, PartialEq)]
enum Opt {
    IndexUrl,
    ExtraIndexUrl,
    FindLinks,
    TrustedHost,
    NoIndex,
    Requirement,
    Constraint,
    Editable,
    Hash,
    /// Another option, with a value or without.
    Other {
        value: bool,
    },
}

/// Long options. Clients take any unambiguous prefix, so the first match by prefix counts and
/// those that open a way stand first.
const LONG: [(&str, Opt); 20] = [
    ("--index-url", Opt::IndexUrl),
    ("--pypi-url", Opt::IndexUrl),
    ("--extra-index-url", Opt::ExtraIndexUrl),
    ("--find-links", Opt::FindLinks),
    ("--trusted-host", Opt::TrustedHost),
    ("--no-index", Opt::NoIndex),
    ("--requirement", Opt::Requirement),
    ("--constraint", Opt::Constraint),
    ("--editable", Opt::Editable),
    ("--hash", Opt::Hash),
    ("--require-hashes", Opt::Other { value: false }),
    ("--prefer-binary", Opt::Other { value: false }),
    ("--pre", Opt::Other { value: false }),
    ("--no-binary", Opt::Other { value: true }),
    ("--only-binary", Opt::Other { value: true }),
    ("--use-feature", Opt::Other { value: true }),
    ("--config-settings", Opt::Other { value: true }),
    ("--global-option", Opt::Other { value: true }),
    ("--install-option", Opt::Other { value: true }),
    ("--all-releases", Opt::Other { value: true }),
];

const SHORT: [(&str, Opt); 6] = [
    ("-i", Opt::IndexUrl),
    ("-f", Opt::FindLinks),
    ("-r", Opt::Requirement),
    ("-c", Opt::Constraint),
    ("-e", Opt::Editable),
    ("-C", Opt::Other { value: true }),
];

/// Reads a requirements file. Every statement gives at least one entry; nothing is skipped
/// silently. Environment variables (`${NAME}`) stay as written.
#[must_use]
pub fn parse_requirements(text: &str) -> Vec<RequirementLine> {
    logical_lines(text)
        .into_iter()
        .flat_map(|(line, text)| {
            statement(&text).into_iter().map(move |kind| RequirementLine { line, kind })
        })
        .collect()
}

/// Joins continued lines and drops comments. Installers differ on a comment that ends with a
/// backslash; here it ends the statement, so that what follows is seen as its own.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let code = without_comment(raw);
        let commented = code.len() != raw.len();
        let (code, continues) = match code.strip_suffix('\\') {
            Some(head) if !commented => (head, true),
            _ => (code, false),
        };
        let (start, mut joined) = open.take().unwrap_or((at + 1, String::new()));
        joined.push_str(code);
        if continues {
            open = Some((start, joined));
        } else {
            out.push((start, joined));
        }
    }
    out.extend(open);
    out.retain(|(_, text)| !text.trim().is_empty());
    out
}

/// The line before a `#` that stands at its start or after a blank.
fn without_comment(line: &str) -> &str {
    let comment = line.char_indices().find(|(at, c)| {
        *c == '#'
            && line.get(..*at).is_some_and(|h| h.is_empty() || h.ends_with(char::is_whitespace))
    });
    comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line)
}

fn statement(text: &str) -> Vec<RequirementKind> {
    let Some(words) = words(text) else {
        return vec![RequirementKind::Unreadable(text.trim().to_owned())];
    };
    // What stands before the first option is the requirement, with its blanks and quotes.
    let requirement = before_options(text);
    let mut out = Vec::new();
    let mut hashes = Vec::new();
    let first_option = words.iter().position(|w| is_option(w)).unwrap_or(words.len());
    let mut rest = words.into_iter().skip(first_option);
    while let Some(word) = rest.next() {
        match option(&word, &mut rest) {
            Some((Opt::Hash, value)) => match hash(&value) {
                Some(digest) => hashes.push(digest),
                None => out.push(RequirementKind::Unreadable(format!("--hash={value}"))),
            },
            Some((opt, value)) => out.push(said(opt, &word, value)),
            None => out.push(RequirementKind::Unreadable(word)),
        }
    }
    if !requirement.is_empty() {
        let spec = classify_spec(requirement);
        out.insert(0, RequirementKind::Requirement { spec, hashes, editable: false });
    } else if !hashes.is_empty() || out.is_empty() {
        // Hashes of nothing, or a dash that begins no option: said, not skipped.
        out.push(RequirementKind::Unreadable(text.trim().to_owned()));
    }
    out
}

fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

fn before_options(text: &str) -> &str {
    let text = text.trim();
    if is_option(text) {
        return "";
    }
    let option = text.char_indices().find(|(at, c)| {
        *c == '-' && text.get(..*at).is_some_and(|head| head.ends_with(char::is_whitespace))
    });
    option.and_then(|(at, _)| text.get(..at)).unwrap_or(text).trim_end()
}

/// Which option a word is, and its value: after `=`, in the same word, or the next word.
fn option(word: &str, rest: &mut impl Iterator<Item = String>) -> Option<(Opt, String)> {
    let (opt, inline) = if word.starts_with("--") {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let exact = LONG.iter().find(|(long, _)| *long == name);
        let (_, opt) = exact
            .or_else(|| LONG.iter().find(|(long, _)| name.len() > 2 && long.starts_with(name)))?;
        (*opt, value)
    } else {
        let (short, opt) = SHORT.iter().find(|(short, _)| word.starts_with(short))?;
        let tail = word.get(short.len()..).filter(|t| !t.is_empty());
        (*opt, tail.map(|t| t.strip_prefix('=').unwrap_or(t).to_owned()))
    };
    match (opt, inline) {
        (Opt::NoIndex | Opt::Other { value: false }, inline) => {
            Some((opt, inline.unwrap_or_default()))
        }
        (_, Some(value)) => Some((opt, value)),
        (_, None) => Some((opt, rest.next()?)),
    }
}

fn said(opt: Opt, word: &str, value: String) -> RequirementKind {
    match opt {
        Opt::IndexUrl => RequirementKind::IndexUrl(value),
        Opt::ExtraIndexUrl => RequirementKind::ExtraIndexUrl(value),
        Opt::FindLinks => RequirementKind::FindLinks(value),
        Opt::TrustedHost => RequirementKind::TrustedHost(value),
        Opt::NoIndex => RequirementKind::NoIndex,
        Opt::Requirement => RequirementKind::Include { path: value, constraint: false },
        Opt::Constraint => RequirementKind::Include { path: value, constraint: true },
        Opt::Editable => RequirementKind::Requirement {
            spec: classify_editable(&value),
            hashes: Vec::new(),
            editable: true,
        },
        Opt::Hash | Opt::Other { .. } => RequirementKind::OtherOption(word.to_owned()),
    }
}

/// What follows `-e` is a folder unless it is a URL, even when it looks like a name.
fn classify_editable(value: &str) -> Spec {
    match classify_spec(value) {
        Spec::Pinned { .. } | Spec::Named { .. } => {
            Spec::LocalPath { name: None, path: value.to_owned() }
        }
        other => other,
    }
}

fn hash(value: &str) -> Option<ExpectedDigest> {
    let (name, hex) = value.split_once(':')?;
    ExpectedDigest::from_hex(Algorithm::from_name(name)?, hex).ok()
}

/// Splits into words as a POSIX shell does; `None` when a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().push(chars.next().unwrap_or('\\')),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    quote.is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str) -> Vec<RequirementKind> {
        parse_requirements(text).into_iter().map(|l| l.kind).collect()
    }

    #[test]
    fn pins_with_hashes_span_lines() {
        let sha = "0".repeat(64);
        let text = format!(
            "# top\n\nflask==3.0 ; python_version >= '3.8' \\\n    --hash=sha256:{sha} \\\n    --hash sha256:{sha}\nx==1 # why\n"
        );
        let lines = parse_requirements(&text);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((lines[0].line, lines[1].line), (3, 6));
        let RequirementKind::Requirement {
            spec: Spec::Pinned { name, version, marker, .. },
            hashes,
            editable,
        } = &lines[0].kind
        else {
            panic!("{lines:?}")
        };
        assert_eq!(
            (name.as_str(), version.as_str(), hashes.len(), *editable),
            ("flask", "3.0", 2, false)
        );
        assert_eq!(marker.as_deref(), Some("python_version >= '3.8'"));
    }

    #[test]
    fn side_doors_are_found_however_they_are_spelled() {
        use RequirementKind::*;
        let u = || "https://files.example/x".to_owned();
        for (text, want) in [
            ("-i https://files.example/x", IndexUrl(u())),
            ("-ihttps://files.example/x", IndexUrl(u())),
            ("--index-url=https://files.example/x", IndexUrl(u())),
            ("--index 'https://files.example/x'", IndexUrl(u())),
            ("--extra-index-url https://files.example/x", ExtraIndexUrl(u())),
            ("--ext https://files.example/x", ExtraIndexUrl(u())),
            ("-f \"https://files.example/x\"", FindLinks(u())),
            ("--find-links\\\n https://files.example/x", FindLinks(u())),
            ("--trusted-host files.example", TrustedHost("files.example".into())),
            ("--no-index", NoIndex),
            ("-r more.txt", Include { path: "more.txt".into(), constraint: false }),
            ("-c=c.txt", Include { path: "c.txt".into(), constraint: true }),
            ("--pre", OtherOption("--pre".into())),
            ("--only-binary :all:", OtherOption("--only-binary".into())),
            ("--unknown-thing", Unreadable("--unknown-thing".into())),
            ("-i", Unreadable("-i".into())),
            ("x 'y", Unreadable("x 'y".into())),
        ] {
            assert_eq!(kinds(text), [want], "{text}");
        }
    }

    #[test]
    fn one_line_may_hold_several_options() {
        let got = kinds("--no-index -f a --trusted-host b\n");
        assert_eq!(got.len(), 3, "{got:?}");
        let got = kinds("x==1 --hash=sha256:zz");
        assert!(got.contains(&RequirementKind::Unreadable("--hash=sha256:zz".into())), "{got:?}");
    }

    #[test]
    fn a_comment_does_not_hide_the_next_line() {
        assert_eq!(kinds("a==1 # x \\\nb==2\n").len(), 2);
        assert_eq!(kinds("a @ https://files.example/a#egg=a\n#c\n").len(), 1);
    }

    #[test]
    fn editables_are_folders_or_checkouts() {
        let spec = |text| match kinds(text).pop() {
            Some(RequirementKind::Requirement { spec, editable: true, .. }) => spec,
            other => panic!("{other:?}"),
        };
        assert!(matches!(spec("-e ."), Spec::LocalPath { .. }));
        assert!(matches!(spec("-e name"), Spec::LocalPath { .. }));
        assert!(matches!(spec("--editable=git+https://git.example/x"), Spec::Vcs { .. }));
    }

    #[test]
    fn a_dash_that_begins_no_option_is_said() {
        assert!(matches!(kinds("- a").pop(), Some(RequirementKind::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn no_statement_is_skipped(text in "[a-z=<>@:/.'\"\\\\# -]{0,60}|\\PC{0,40}") {
            let logical = logical_lines(&text).len();
            prop_assert!(parse_requirements(&text).len() >= logical);
        }
    }
}
