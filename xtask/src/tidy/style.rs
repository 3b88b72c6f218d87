//! Rules of the house about every source: short, documented, safe and finished.

use super::lex::{Kind, Token, tokens};
use super::{File, Finding, Tree};

/// The longest a source may be, in lines.
const MAX_LINES: usize = 700;

/// Endings of what people write and read as source.
const SOURCES: [&str; 5] = [".rs", ".cedar", ".py", ".sh", ".js"];

/// A source that is too long holds more than one thing.
pub(super) fn length(tree: &Tree) -> Vec<Finding> {
    let sources = tree.files().iter().filter(|f| SOURCES.iter().any(|s| f.path.ends_with(s)));
    sources
        .map(|f| (f, f.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| {
            let what = format!("{lines} lines, more than {MAX_LINES}");
            Finding::new(file, MAX_LINES + 1, "file-length", what, "split it by what its parts do")
        })
        .collect()
}

/// Every crate says at its top what it is for.
pub(super) fn crate_docs(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|f| f.path.ends_with("src/lib.rs") || f.path.ends_with("src/main.rs"))
        .filter(|f| !f.text.trim_start().starts_with("//! "))
        .map(|file| {
            let remedy = "begin the file with `//!` and one sentence on what the crate is for";
            Finding::new(file, 1, "crate-docs", "a crate without documentation", remedy)
        })
        .collect()
}

/// No unsafe code, in tests neither.
pub(super) fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    let remedy = "use a safe interface; a crate that must not has no place here";
    each_token(tree, |tokens, i| tokens.get(i).filter(|t| t.is("unsafe")).copied())
        .into_iter()
        .map(|(file, token)| Finding::new(file, token.line, "unsafe", "unsafe code", remedy))
        .collect()
}

/// Nothing is left for later.
pub(super) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let remedy = "finish it, or describe what is missing as a `HOLE:` with what would close it";
    let calls = |tokens: &[Token<'_>], i: usize| {
        let token = tokens.get(i).filter(|t| t.is("todo") || t.is("unimplemented"))?;
        tokens.get(i + 1).filter(|t| t.is("!")).map(|_| token.line)
    };
    let macros = each_token(tree, calls)
        .into_iter()
        .map(|(file, line)| Finding::new(file, line, "unfinished", "unfinished code", remedy));
    let marks = [["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let words = tree.files().iter().filter(|f| !f.path.ends_with(".lock")).flat_map(|file| {
        let marked = file.lines().filter(|(_, l)| marks.iter().any(|m| holds_word(l, m)));
        marked.map(move |(n, _)| {
            Finding::new(file, n, "unfinished", "a mark of unfinished work", remedy)
        })
    });
    let words: Vec<Finding> = words.collect();
    macros.chain(words).collect()
}

/// A test that does not run says why.
pub(super) fn ignored_tests(tree: &Tree) -> Vec<Finding> {
    let without_reason = |tokens: &[Token<'_>], i: usize| {
        let token = tokens.get(i).filter(|t| t.is("ignore"))?;
        let before = i.checked_sub(1).and_then(|b| tokens.get(b))?;
        let in_attribute = before.is("[") || (before.is(",") && in_cfg_attr(tokens, i));
        let reason = tokens.get(i + 2).filter(|t| t.kind == Kind::Str && !t.text.trim().is_empty());
        let given = tokens.get(i + 1).is_some_and(|t| t.is("=")) && reason.is_some();
        let ends = tokens.get(i + 1).is_some_and(|t| t.is("]") || t.is(")") || t.is("="));
        (in_attribute && ends && !given).then_some(token.line)
    };
    each_token(tree, without_reason)
        .into_iter()
        .map(|(file, line)| {
            let what = "a test is ignored without a reason";
            Finding::new(file, line, "ignored-test", what, "write `#[ignore = \"why\"]`, or run it")
        })
        .collect()
}

/// Whether the token at `i` is inside `#[cfg_attr(…)]`.
fn in_cfg_attr(tokens: &[Token<'_>], i: usize) -> bool {
    let before = tokens.get(..i).unwrap_or_default();
    let opened = before.iter().rposition(|t| t.is("["));
    opened.and_then(|o| tokens.get(o + 1)).is_some_and(|t| t.is("cfg_attr"))
}

fn each_token<'t, T>(
    tree: &'t Tree,
    find: impl Fn(&[Token<'t>], usize) -> Option<T>,
) -> Vec<(&'t File, T)> {
    let mut out = Vec::new();
    for file in tree.rust() {
        let tokens = tokens(&file.text);
        out.extend((0..tokens.len()).filter_map(|i| Some((file, find(&tokens, i)?))));
    }
    out
}

fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|b| b.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|a| a.chars().next());
        ![before, after].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&Tree) -> Vec<Finding>;

    fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[(path, text)])).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn long_sources_are_found() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(lines(length, "crates/a/src/b.rs", &long), [701]);
        assert_eq!(lines(length, "policies/a.cedar", &long), [701]);
        assert_eq!(lines(length, "a.rs", &"x\n".repeat(MAX_LINES)), [0usize; 0]);
        assert_eq!(lines(length, "Cargo.lock", &long), [0usize; 0]);
    }

    #[test]
    fn undocumented_crates_are_found() {
        for bad in ["", "pub mod a;\n", "// not a doc\n", "//!\npub mod a;"] {
            assert_eq!(lines(crate_docs, "crates/a/src/lib.rs", bad), [1], "{bad}");
            assert_eq!(lines(crate_docs, "crates/a/src/main.rs", bad), [1], "{bad}");
        }
        assert_eq!(lines(crate_docs, "crates/a/src/lib.rs", "//! Words.\n"), [0usize; 0]);
    }

    #[test]
    fn unsafe_code_is_found_where_it_is_code() {
        for bad in ["\nfn f() { unsafe { g() } }", "\n#[cfg(test)] mod t { unsafe fn f() {} }"] {
            assert_eq!(lines(unsafe_code, "a.rs", bad), [2], "{bad}");
        }
        let good = "// unsafe\nconst X: &str = \"unsafe\"; const ARCHIVE_UNSAFE: u8 = 0;";
        assert_eq!(lines(unsafe_code, "a.rs", good), [0usize; 0]);
    }

    #[test]
    fn unfinished_work_is_found() {
        for bad in ["\nfn f() { todo!() }", "\nfn f() { unimplemented!(\"x\") }"] {
            assert_eq!(lines(unfinished, "a.rs", bad), [2], "{bad}");
        }
        for mark in [["FIX", "ME"].concat(), ["XX", "X"].concat()] {
            let text = format!("\n// {mark}: later");
            assert_eq!(lines(unfinished, "a.rs", &text), [2], "{text}");
            assert_eq!(lines(unfinished, "docs/a.md", &text), [2], "{text}");
            let longer = format!("{mark}X a{mark}");
            assert_eq!(lines(unfinished, "docs/a.md", &longer), [0usize; 0], "{longer}");
        }
        assert_eq!(lines(unfinished, "a.rs", "// todo!\nlet todo = 1;"), [0usize; 0]);
    }

    #[test]
    fn ignored_tests_need_a_reason() {
        for bad in [
            "\n#[ignore] fn f() {}",
            "\n#[ignore = \"\"] fn f() {}",
            "\n#[cfg_attr(windows, ignore)] fn f() {}",
        ] {
            assert_eq!(lines(ignored_tests, "a.rs", bad), [2], "{bad}");
        }
        for good in [
            "#[ignore = \"needs a network\"] fn f() {}",
            "#[cfg_attr(windows, ignore = \"no links\")] fn f() {}",
            "let a = [ignore, b]; f(a, ignore);",
        ] {
            assert_eq!(lines(ignored_tests, "a.rs", good), [0usize; 0], "{good}");
        }
    }
}
