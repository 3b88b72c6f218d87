//! Finding keys in the line-based formats of the clients' configuration files.

use super::block::Place;
use std::path::PathBuf;

/// The notation of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// Sections and `key = value`; npm's has no sections.
    Ini,
    /// TOML.
    Toml,
    /// YAML, of which only keys at the left margin are looked at.
    Yaml,
    /// A shell's start-up file: a block at its end.
    Shell,
}

/// Settings that belong together in one file.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The client, for messages.
    pub client: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Its notation.
    pub notation: Notation,
    /// The section or table that the settings belong to, as its header is written.
    pub section: Option<&'static str>,
    /// Keys there that would contradict.
    pub keys: &'static [&'static str],
    /// What to write, without the section's header.
    pub lines: Vec<String>,
}

/// Where a piece goes in a text, and what of the text stands against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The place.
    pub place: Place,
    /// Lines that would contradict, counted from 0, each with its key.
    pub against: Vec<(usize, String)>,
    /// What to write, with the section's header where the text has none.
    pub lines: Vec<String>,
}

impl Piece {
    /// Looks where it goes in a text without blocks.
    pub fn fit(&self, text: &str) -> Fit {
        let all: Vec<&str> = text.lines().collect();
        let header = self.section.and_then(|s| all.iter().position(|l| is_header(l, s)));
        let within = match (self.section, header) {
            (None, _) if self.notation == Notation::Yaml => 0..all.len(),
            (None, _) => 0..next_header(&all, 0),
            (Some(_), Some(at)) => at + 1..next_header(&all, at + 1),
            (Some(_), None) => 0..0,
        };
        let mut against: Vec<(usize, String)> = within
            .filter_map(|i| Some((i, self.key_of(all.get(i)?)?)))
            .filter(|(_, key)| self.keys.contains(&key.as_str()))
            .collect();
        if self.notation == Notation::Toml {
            against.extend(self.dotted(&all));
        }
        let (place, lines) = match (self.section, header) {
            (Some(_), Some(at)) => (Place::After(at), self.lines.clone()),
            (Some(section), None) => {
                let head = std::iter::once(section.to_owned());
                (Place::End, head.chain(self.lines.iter().cloned()).collect())
            }
            (None, _) => (Place::End, self.lines.clone()),
        };
        Fit { place, against, lines }
    }

    /// The key of a line, if it sets one.
    fn key_of(&self, line: &str) -> Option<String> {
        let separator = match self.notation {
            Notation::Yaml if line.starts_with([' ', '\t', '-']) => return None,
            Notation::Yaml => ':',
            Notation::Shell => return None,
            Notation::Ini | Notation::Toml => '=',
        };
        let line = line.trim_start();
        if line.starts_with(['#', ';']) {
            return None;
        }
        // Python's configparser takes a colon as well, and folds case and underscores.
        let (key, _) = match (line.split_once(separator), self.notation) {
            (None, Notation::Ini) => line.split_once(':')?,
            (found, _) => found?,
        };
        let key = key.trim().trim_matches(['"', '\'']);
        Some(match self.notation {
            Notation::Ini => key.to_ascii_lowercase().replace('_', "-"),
            _ => key.to_owned(),
        })
    }

    /// Keys of the section that are written with its name before a dot (`install.registry = …`).
    fn dotted(&self, all: &[&str]) -> Vec<(usize, String)> {
        let Some(section) = self.section else { return Vec::new() };
        let name = section.trim_matches(['[', ']']);
        let end = next_header(all, 0);
        let mut out = Vec::new();
        for (i, line) in all.iter().enumerate().take(end) {
            let Some(key) = self.key_of(line) else { continue };
            let Some(rest) = key.strip_prefix(name).and_then(|r| r.strip_prefix('.')) else {
                continue;
            };
            if self.keys.contains(&rest) {
                out.push((i, key));
            }
        }
        out
    }
}

fn is_header(line: &str, section: &str) -> bool {
    let bare = line.split('#').next().unwrap_or("").trim();
    bare == section || (section.starts_with('[') && bare.replace([' ', '"', '\''], "") == section)
}

fn next_header(all: &[&str], from: usize) -> usize {
    let headers = all.iter().enumerate().skip(from);
    headers
        .filter(|(_, l)| l.trim_start().starts_with('['))
        .map(|(i, _)| i)
        .next()
        .unwrap_or(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(
        notation: Notation,
        section: Option<&'static str>,
        keys: &'static [&'static str],
    ) -> Piece {
        let lines = vec!["new".to_owned()];
        Piece { client: "x", file: PathBuf::new(), notation, section, keys, lines }
    }

    #[test]
    fn keys_are_found_where_they_count() {
        let pip = piece(Notation::Ini, Some("[global]"), &["index-url"]);
        for (text, place, against) in [
            ("", Place::End, vec![]),
            ("[global]\ntimeout = 1\n", Place::After(0), vec![]),
            ("[install]\nindex-url = x\n[global]\nIndex_URL: y\n", Place::After(2), vec![3]),
            ("[global]\n# index-url = x\n[install]\nindex-url = y\n", Place::After(0), vec![]),
        ] {
            let fit = pip.fit(text);
            let lines: Vec<usize> = fit.against.iter().map(|(i, _)| *i).collect();
            assert_eq!((fit.place, lines), (place, against), "{text}");
        }
        let npm = piece(Notation::Ini, None, &["registry"]);
        let text = "//r.example/:_authToken=x\n@acme:registry=https://a.example/\nregistry = b\n";
        assert_eq!(npm.fit(text).against, [(2, "registry".to_owned())]);
        let bun = piece(Notation::Toml, Some("[install]"), &["registry"]);
        assert_eq!(bun.fit("install.registry = \"x\"\n").against.len(), 1);
        assert_eq!(bun.fit("[ install ] # here\nregistry = \"x\"\n").against.len(), 1);
        let yarn = piece(Notation::Yaml, None, &["npmRegistryServer"]);
        let text = "nodeLinker: x\nnpmScopes:\n  acme:\n    npmRegistryServer: \"y\"\nnpmRegistryServer: z\n";
        assert_eq!(yarn.fit(text).against, [(4, "npmRegistryServer".to_owned())]);
    }

    #[test]
    fn a_section_that_is_not_there_comes_with_its_header() {
        let pip = piece(Notation::Ini, Some("[global]"), &["index-url"]);
        assert_eq!(pip.fit("[install]\nx = 1\n").lines, ["[global]", "new"]);
        assert_eq!(pip.fit("[global]\n").lines, ["new"]);
    }
}
