//! Tidy: the walls between the crates and the rules of the house, checked over the tree's text.
//!
//! A rule is a function from the [`Tree`] to findings; each is tested with an example that breaks
//! it. `cargo xtask tidy` prints the findings, and a test fails on them, so that `cargo test`
//! keeps the walls too.

mod addresses;
mod arrows;
mod lex;
mod purity;
mod reasons;
mod style;
mod syntax;
mod tree;

pub use tree::{File, Tree};

use std::fmt;

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the project's root.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The rule's stable name.
    pub rule: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    fn new(
        file: &File,
        line: usize,
        rule: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { file: file.path.clone(), line, rule, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": [{}] {}\n    {}", self.rule, self.what, self.remedy)
    }
}

/// Every rule.
const RULES: &[fn(&Tree) -> Vec<Finding>] = &[
    arrows::workspace_crates,
    arrows::exclusive_crates,
    arrows::pure_dependencies,
    arrows::lints,
    purity::pure_crates,
    addresses::registry_hosts,
    addresses::machine_paths,
    addresses::lock_files,
    style::length,
    style::crate_docs,
    style::unsafe_code,
    style::unfinished,
    style::ignored_tests,
    reasons::documented,
];

/// Checks the tree against all rules; the findings come sorted by file and line.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tree = Tree::read(&root).unwrap();
        let known = ["Cargo.toml", "crates/core/src/lib.rs", "xtask/src/tidy/mod.rs"];
        for path in known {
            assert!(tree.file(path).is_some(), "the listing lacks `{path}`");
        }
        let findings: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    }

    #[test]
    fn a_finding_names_place_rule_and_remedy() {
        let tree = Tree::of(&[("a.rs", "")]);
        let f = Finding::new(&tree.files()[0], 7, "rule", "wrong", "do that");
        assert_eq!(f.to_string(), "a.rs:7: [rule] wrong\n    do that");
        let whole = Finding { line: 0, ..f };
        assert!(whole.to_string().starts_with("a.rs: [rule]"));
    }
}
