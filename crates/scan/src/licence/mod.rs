//! Licences: what the metadata declares, which texts the artifact holds, and whether the two agree.

mod declared;
#[cfg(test)]
mod tests;
mod texts;

use crate::content::{ContentScanner, FileInfo, Package, Window};
use crate::structure::printable;
use countersign_core::{Ecosystem, Finding, FindingKind, Severity};
use declared::{Declared, family};

/// The name of the check in reports and policies.
pub const CHECK: &str = "licence";

/// Bytes of one file that are looked at; a list of all of a program's licences is longer, and says
/// little of its own.
const MAX_FILE: usize = 256 << 10;
/// Files that are looked at.
const MAX_FILES: usize = 64;

/// The licences whose text, or a reference that grants them, is in `content`, by SPDX identifier.
/// GNU licences come without `-only` and `-or-later`, which their text does not tell.
#[must_use]
pub fn licences_in(content: &[u8]) -> Vec<&'static str> {
    texts::found(content)
}

/// Every licence that an SPDX expression, or a name in wide use, names; in the form of
/// [`licences_in`]. Empty when it is not understood.
#[must_use]
pub fn licences_named(declared: &str) -> Vec<String> {
    Declared::parse(declared).ids
}

/// The scanner.
#[derive(Default)]
pub(crate) struct Licences {
    texts: Vec<(String, Vec<&'static str>)>,
    debian: Vec<Declared>,
    buffer: Vec<u8>,
    current: Option<String>,
    left_out: bool,
}

/// Whether a file's name, and the folder that it lies in, promise the licence of the package itself.
#[must_use]
pub fn is_licence_file(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.to_ascii_lowercase();
    let named = ["license", "licence", "copying", "unlicense", "copyright"];
    if !named.iter().any(|n| name.starts_with(n)) || name.ends_with(".rs") || name.ends_with(".js")
    {
        return false;
    }
    let depth = folder.split('/').filter(|f| !f.is_empty()).count();
    depth <= 1 || folder.ends_with("/licenses") || folder.starts_with("data/usr/share/doc/")
}

impl Licences {
    fn close(&mut self) {
        let Some(path) = self.current.take() else { return };
        if path.starts_with("data/usr/share/doc/") {
            self.debian.extend(declared::debian_copyright(&self.buffer));
        }
        self.texts.push((path, texts::found(&self.buffer)));
        self.buffer.clear();
    }
}

impl ContentScanner for Licences {
    fn name(&self) -> &'static str {
        CHECK
    }

    fn wants(&self, file: &FileInfo<'_>) -> bool {
        file.kind.is_text() && is_licence_file(file.path)
    }

    fn window(&mut self, file: &FileInfo<'_>, window: &Window<'_>) -> Result<(), String> {
        if window.is_first() {
            self.close();
            if self.texts.len() >= MAX_FILES {
                self.left_out = true;
                return Ok(());
            }
            self.current = Some(file.path.to_owned());
            let seen = window.bytes.get(..MAX_FILE).unwrap_or(window.bytes);
            self.buffer.extend_from_slice(seen);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, package: &Package<'_>) -> Result<Vec<Finding>, String> {
        self.close();
        if self.left_out {
            return Err(format!("more than {MAX_FILES} licence files"));
        }
        let mut declared = declared::of_package(package);
        if package.ecosystem == Ecosystem::Debian {
            declared = self.debian;
        }
        Ok(compare(&declared, &self.texts))
    }
}

/// What is declared, what is found, and where they do not agree.
fn compare(declared: &[Declared], texts: &[(String, Vec<&'static str>)]) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut found: Vec<&str> = texts.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    found.sort_unstable();
    found.dedup();
    for d in declared {
        let title = format!("declares `{}`", d.text);
        out.push(finding("declared", Severity::Info, title, None, d.unavoidable.clone()));
        if d.ids.is_empty() {
            let title = format!("`{}` is no SPDX expression", d.text);
            out.push(finding("not-understood", Severity::Info, title, None, Vec::new()));
        }
    }
    if !found.is_empty() {
        let title = format!("holds the text of {}", found.join(", "));
        let ids = found.iter().map(|id| (*id).to_owned()).collect();
        out.push(finding("found", Severity::Info, title, None, ids));
    }
    if declared.is_empty() && found.is_empty() {
        let title = "declares no licence and holds no text of one".to_owned();
        out.push(finding("unknown", Severity::Info, title, None, Vec::new()));
    }
    let named: Vec<&str> = declared.iter().flat_map(|d| d.ids.iter().map(String::as_str)).collect();
    // What was not understood contradicts nothing.
    if !named.is_empty() && declared.iter().all(|d| !d.ids.is_empty()) {
        for (path, ids) in texts.iter().filter(|(_, ids)| !ids.is_empty()) {
            if !ids.iter().any(|id| agrees(id, &named)) {
                let title = format!("holds the text of {}, which is not declared", ids.join(", "));
                let ids = ids.iter().map(|id| (*id).to_owned()).collect();
                out.push(finding("conflict", Severity::Low, title, Some(path), ids));
            }
        }
    }
    out
}

/// Whether a text is one of those that are declared. The exception of LLVM comes with its licence,
/// and `BSD` alone may be any of them.
fn agrees(id: &str, named: &[&str]) -> bool {
    let bsd = |id: &str| id.starts_with("BSD-");
    named.iter().any(|n| family(n) == id || (bsd(n) && bsd(id))) || id == "LLVM-exception"
}

fn finding(
    code: &str,
    severity: Severity,
    title: String,
    path: Option<&str>,
    aliases: Vec<String>,
) -> Finding {
    Finding {
        id: format!("licence.{code}"),
        aliases,
        kind: FindingKind::Licence,
        severity,
        title: printable(&title),
        fixed_in: None,
        exploitation: None,
        vex: Vec::new(),
        path: path.map(printable),
        observed: None,
    }
}
