//! Every reason that a person can be refused for has its place in the documentation.

use super::lex::{Kind, tokens};
use super::{Finding, Tree};

const RULE: &str = "reason-docs";
const SOURCE: &str = "crates/core/src/reason.rs";
const DOCS: &str = "docs/refusals.md";

/// Each reason code has a heading or a row of a table in the documentation of refusals.
pub(super) fn documented(tree: &Tree) -> Vec<Finding> {
    let Some(source) = tree.file(SOURCE) else { return Vec::new() };
    let names = names(&source.text);
    if names.is_empty() {
        let what = "no reason codes were found";
        let remedy = "keep the form `Variant = \"name\", \"short\";`, or teach xtask/src/tidy/reasons.rs the new one";
        return vec![Finding::new(source, 0, RULE, what, remedy)];
    }
    let Some(docs) = tree.file(DOCS) else {
        let what = format!("`{DOCS}` is missing; it explains the {} reason codes", names.len());
        return vec![Finding::new(source, 0, RULE, what, format!("write `{DOCS}`"))];
    };
    names
        .into_iter()
        .filter(|(name, _)| !docs.lines().any(|(_, line)| explains(line, name)))
        .map(|(name, line)| {
            let what = format!("the reason `{name}` is not in `{DOCS}`");
            let remedy = format!("add a heading ``### `{name}` `` or a row ``| `{name}` | … |``");
            Finding::new(source, line, RULE, what, remedy)
        })
        .collect()
}

/// The stable names: the first of the two strings of `Variant = "name", "short";`.
fn names(source: &str) -> Vec<(&str, usize)> {
    let tokens = tokens(source);
    let reason = |window: &[super::lex::Token<'_>]| match window {
        [variant, equals, name, comma, short, end] => {
            variant.kind == Kind::Ident
                && equals.is("=")
                && name.kind == Kind::Str
                && comma.is(",")
                && short.kind == Kind::Str
                && end.is(";")
        }
        _ => false,
    };
    let found = tokens.windows(6).filter(|w| reason(w));
    found.filter_map(|w| w.get(2)).map(|t| (t.text, t.line)).collect()
}

/// Whether the line is the reason's heading, or a row whose first cell names it.
fn explains(line: &str, name: &str) -> bool {
    let named = format!("`{name}`");
    let row = line.strip_prefix('|').and_then(|l| l.split('|').next());
    match row {
        Some(cell) => cell.contains(&named),
        None => line.starts_with('#') && line.contains(&named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: &str = "macro_rules! reasons { () => { x = $name, $short; } }\nreasons! {\n\
        /// A.\nDenied = \"denied\", \"on the deny list\";\n/// B.\nYanked = \"yanked\", \"yanked\";\n}";

    fn missing(docs: &str) -> Vec<(usize, String)> {
        let tree = Tree::of(&[(SOURCE, REASONS), (DOCS, docs)]);
        documented(&tree).into_iter().map(|f| (f.line, f.what)).collect()
    }

    #[test]
    fn an_undocumented_reason_is_found() {
        let want = vec![(6, format!("the reason `yanked` is not in `{DOCS}`"))];
        for docs in [
            "### `denied`\n\nOf `yanked` nothing is said.\n",
            "| `denied` | words |\n| other | `yanked` |\n",
            "### `denied`\n### yanked\n",
        ] {
            assert_eq!(missing(docs), want, "{docs}");
        }
        assert_eq!(missing("").len(), 2);
    }

    #[test]
    fn headings_and_rows_document() {
        assert_eq!(missing("### `denied`\n## `yanked` and more\n"), []);
        assert_eq!(missing("| `denied` | x |\n| <a id=\"yanked\"></a>`yanked` | y |\n"), []);
    }

    #[test]
    fn a_missing_document_is_found() {
        let found = documented(&Tree::of(&[(SOURCE, REASONS)]));
        assert!(found[0].what.contains("is missing"), "{found:?}");
    }

    #[test]
    fn reasons_in_a_form_that_is_not_understood_are_found() {
        let found = documented(&Tree::of(&[(SOURCE, "enum R { Denied }"), (DOCS, "")]));
        assert_eq!(found[0].what, "no reason codes were found");
    }
}
