//! What the rules ask of a source's tokens: which belong to tests, which modules are declared,
//! which paths are named.

use super::lex::{Kind, Token};

/// For each token whether it belongs to an item that only tests see (`#[cfg(test)]`).
pub(super) fn test_mask(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut mask = vec![false; tokens.len()];
    let mut i = 0;
    while i < tokens.len() {
        let Some((inner, end)) = attribute(tokens, i) else {
            i += 1;
            continue;
        };
        if !is_test_cfg(tokens.get(i..end).unwrap_or_default()) {
            i = end;
            continue;
        }
        let until = if inner { tokens.len() } else { item_end(tokens, end) };
        mask.iter_mut().take(until).skip(i).for_each(|m| *m = true);
        i = until;
    }
    mask
}

/// Whether an attribute starts at `i`: whether it is an inner one, and the index behind it.
fn attribute(tokens: &[Token<'_>], i: usize) -> Option<(bool, usize)> {
    let is = |i: usize, text| tokens.get(i).is_some_and(|t| t.is(text));
    if !is(i, "#") {
        return None;
    }
    let inner = is(i + 1, "!");
    let open = i + 1 + usize::from(inner);
    is(open, "[").then(|| (inner, closing(tokens, open)))
}

/// The index behind the bracket that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match nesting(token) {
            1 => depth += 1,
            -1 => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

fn nesting(token: &Token<'_>) -> i8 {
    match (token.kind, token.text) {
        (Kind::Punct, "(" | "[" | "{") => 1,
        (Kind::Punct, ")" | "]" | "}") => -1,
        _ => 0,
    }
}

/// `cfg(test)`, or `cfg(all(…))` with `test` among its members.
fn is_test_cfg(attribute: &[Token<'_>]) -> bool {
    let start = attribute.iter().position(|t| t.is("["));
    let words: Vec<&str> =
        attribute.iter().skip(start.map_or(0, |s| s + 1)).map(|t| t.text).collect();
    match words.as_slice() {
        ["cfg", "(", "test", ")", "]"] => true,
        ["cfg", "(", "all", "(", members @ ..] => {
            let mut depth = 0i32;
            members.iter().any(|word| {
                depth += i32::from(*word == "(") - i32::from(*word == ")");
                depth == 0 && *word == "test"
            })
        }
        _ => false,
    }
}

/// The index behind the item (or field, or statement) that starts at `start`.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let mut i = start;
    while let Some((_, end)) = attribute(tokens, i) {
        i = end;
    }
    // A field or a variant ends at a comma; in an item's head a comma may stand in generics.
    let head = tokens.get(i).map(|t| t.text).unwrap_or_default();
    let item = [
        "pub",
        "mod",
        "fn",
        "use",
        "struct",
        "enum",
        "union",
        "impl",
        "trait",
        "type",
        "const",
        "static",
        "extern",
        "async",
        "unsafe",
        "macro_rules",
        "let",
    ];
    let comma_ends = !item.contains(&head);
    while let Some(token) = tokens.get(i) {
        match (nesting(token), token.text) {
            (1, "{") => return closing(tokens, i),
            (1, _) => i = closing(tokens, i),
            (-1, _) => return i,
            (_, ";") if token.kind == Kind::Punct => return i + 1,
            (_, ",") if token.kind == Kind::Punct && comma_ends => return i + 1,
            _ => i += 1,
        }
    }
    tokens.len()
}

/// A declaration `mod name;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModDeclaration {
    /// The inline modules around it.
    pub(super) within: Vec<String>,
    pub(super) name: String,
    /// The file that a `#[path]` attribute names.
    pub(super) path: Option<String>,
    /// Whether only tests see it.
    pub(super) test: bool,
}

pub(super) fn mod_declarations(tokens: &[Token<'_>]) -> Vec<ModDeclaration> {
    let mask = test_mask(tokens);
    let mut out = Vec::new();
    let mut path = None;
    // The braces that are open, with the name of those that are inline modules.
    let mut open: Vec<Option<String>> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(i + n);
        let is = |n: usize, text: &str| next(n).is_some_and(|t| t.is(text));
        match (token.kind, token.text) {
            (Kind::Punct, "{") => {
                let module = i.checked_sub(2).and_then(|m| tokens.get(m)).filter(|t| t.is("mod"));
                let name = module.and_then(|_| tokens.get(i - 1)).map(|t| t.text.to_owned());
                open.push(name);
                path = None;
            }
            (Kind::Punct, "}") => {
                open.pop();
                path = None;
            }
            (Kind::Ident, "path") if is(1, "=") => {
                path = next(2).filter(|t| t.kind == Kind::Str).map(|t| t.text.to_owned());
            }
            (Kind::Ident, "mod") if is(2, ";") => {
                let Some(name) = next(1).filter(|t| t.kind == Kind::Ident) else { continue };
                out.push(ModDeclaration {
                    within: open.iter().flatten().cloned().collect(),
                    name: name.text.to_owned(),
                    path: path.take(),
                    test: mask.get(i).copied().unwrap_or(false),
                });
            }
            (Kind::Punct, ";") => path = None,
            _ => {}
        }
    }
    out
}

/// A path that the source names, in an import or in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPath<'t> {
    /// Its segments; `*` stands for all that a module exports.
    pub(super) segments: Vec<&'t str>,
    /// The name that it is imported as.
    pub(super) alias: Option<&'t str>,
    pub(super) line: usize,
    /// Whether it names a macro that is called.
    pub(super) is_macro: bool,
}

/// All paths, those of imports with their groups spread.
pub(super) fn paths<'t>(tokens: &[Token<'t>]) -> Vec<NamedPath<'t>> {
    let mut out = Vec::new();
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        let imports = token.is("use") && !tokens.get(i + 1).is_some_and(|t| t.is("<"));
        if imports {
            i = use_tree(tokens, i + 1, &[], &mut out);
        } else if token.kind == Kind::Ident {
            i = plain_path(tokens, i, &mut out);
        } else {
            i += 1;
        }
    }
    out
}

fn is_colons(tokens: &[Token<'_>], i: usize) -> bool {
    tokens.get(i).is_some_and(|t| t.is(":")) && tokens.get(i + 1).is_some_and(|t| t.is(":"))
}

fn plain_path<'t>(tokens: &[Token<'t>], start: usize, out: &mut Vec<NamedPath<'t>>) -> usize {
    let mut path = NamedPath { segments: Vec::new(), alias: None, line: 0, is_macro: false };
    let mut i = start;
    while let Some(token) = tokens.get(i).filter(|t| t.kind == Kind::Ident) {
        path.segments.push(token.text);
        path.line = token.line;
        i += 1;
        if !is_colons(tokens, i) {
            break;
        }
        i += 2;
    }
    path.is_macro = tokens.get(i).is_some_and(|t| t.is("!"));
    out.push(path);
    i
}

/// Reads one tree of an import behind `prefix`; gives the index behind it.
fn use_tree<'t>(
    tokens: &[Token<'t>],
    start: usize,
    prefix: &[&'t str],
    out: &mut Vec<NamedPath<'t>>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut i = if is_colons(tokens, start) { start + 2 } else { start };
    while let Some(token) = tokens.get(i) {
        if token.is("{") {
            i += 1;
            while tokens.get(i).is_some_and(|t| !t.is("}") && !t.is(";")) {
                i = use_tree(tokens, i, &segments, out);
                i += usize::from(tokens.get(i).is_some_and(|t| t.is(",")));
            }
            return i + usize::from(tokens.get(i).is_some_and(|t| t.is("}")));
        }
        if token.kind != Kind::Ident && !token.is("*") {
            // Not an import after all; whoever called goes on behind this token.
            return i + 1;
        }
        segments.push(token.text);
        i += 1;
        if is_colons(tokens, i) {
            i += 2;
            continue;
        }
        let renamed = tokens.get(i).is_some_and(|t| t.is("as"));
        let alias = tokens.get(i + 1).filter(|_| renamed).map(|t| t.text);
        out.push(NamedPath { segments, alias, line: token.line, is_macro: false });
        return i + if renamed { 2 } else { 0 };
    }
    i
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    fn production(source: &str) -> Vec<String> {
        let tokens = tokens(source);
        let mask = test_mask(&tokens);
        let kept = tokens.iter().zip(mask).filter(|(t, test)| !test && t.kind == Kind::Ident);
        kept.map(|(t, _)| t.text.to_owned()).collect()
    }

    #[test]
    fn items_of_tests_are_masked_and_nothing_else() {
        for (source, want) in [
            ("a #[cfg(test)] mod tests { b { c } } d", "a d"),
            ("a #[cfg(test)] mod tests; d", "a d"),
            ("a #[cfg(test)] #[path = \"x\"] mod tests; d", "a d"),
            ("a #[cfg(all(test, unix))] fn f<A, B>(c: A) { c } d", "a d"),
            ("struct S { #[cfg(test)] a: B, c: D }", "struct S c D"),
            ("#[cfg(test)] use x::{y, z}; d", "d"),
            ("#[cfg(test)] const X: [u8; 2] = [1; 2]; d", "d"),
            ("#[cfg(not(test))] a", "cfg not test a"),
            ("#[cfg(any(test, unix))] a", "cfg any test unix a"),
            ("#[cfg(all(not(test), unix))] a", "cfg all not test unix a"),
            ("#[cfg(feature = \"test\")] a", "cfg feature a"),
            ("a #![cfg(test)] b c", "a"),
            ("#[cfg_attr(test, allow(x))] a", "cfg_attr test allow x a"),
        ] {
            assert_eq!(production(source).join(" "), want, "{source}");
        }
    }

    #[test]
    fn modules_are_found_with_their_place() {
        let source = "mod a; pub(crate) mod b; #[cfg(test)] mod c; #[path = \"d_x.rs\"] mod d;\n\
                      mod e { mod f; fn g() { } } mod h { } use x::path; mod i;";
        let found = mod_declarations(&tokens(source));
        let shown: Vec<String> = found
            .iter()
            .map(|m| format!("{:?}{}{:?}{}", m.within, m.name, m.path, m.test))
            .collect();
        assert_eq!(
            shown,
            [
                "[]aNonefalse",
                "[]bNonefalse",
                "[]cNonetrue",
                "[]dSome(\"d_x.rs\")false",
                "[\"e\"]fNonefalse",
                "[]iNonefalse"
            ]
        );
    }

    #[test]
    fn imports_are_spread_and_paths_are_whole() {
        let source = "use std::{fs, io::{self, Read as R}, net::*}; pub use ::a::b;\n\
                      fn f() -> impl I + use<'a> { std::env!(\"X\"); c::d::<u8>::e() }";
        let found: Vec<String> = paths(&tokens(source))
            .iter()
            .filter(|p| p.segments.len() > 1)
            .map(|p| format!("{}{}", p.segments.join("::"), if p.is_macro { "!" } else { "" }))
            .collect();
        assert_eq!(
            found,
            [
                "std::fs",
                "std::io::self",
                "std::io::Read",
                "std::net::*",
                "a::b",
                "std::env!",
                "c::d"
            ]
        );
    }

    #[test]
    fn broken_imports_end() {
        for source in ["use", "use {", "use a::{b", "use a as", "use ;", "use a::{(}", "use (a)"] {
            paths(&tokens(source));
        }
    }
}
