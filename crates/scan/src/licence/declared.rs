//! What an artifact says that its licence is.

use crate::content::Package;
use countersign_core::Ecosystem;
use serde_json::Value;
use spdx::{Expression, ParseMode};

/// A declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    /// As it is written.
    pub(super) text: String,
    /// Every licence in it, by SPDX identifier without `-only` and `-or-later`; empty when it could
    /// not be understood.
    pub(super) ids: Vec<String>,
    /// Those of them that no alternative avoids, by full identifier.
    pub(super) unavoidable: Vec<String>,
}

/// Longest declaration that is looked at, in bytes; some hold a whole text.
const MAX_LEN: usize = 512;

impl Declared {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let plain = || Self { text: text.to_owned(), ids: Vec::new(), unavoidable: Vec::new() };
        if text.len() > MAX_LEN {
            return Self { text: text.chars().take(60).collect::<String>() + "…", ..plain() };
        }
        let spelled = common_name(text).unwrap_or(text);
        let Ok(expression) = Expression::parse_mode(spelled, ParseMode::LAX) else {
            return plain();
        };
        let names = |r: &spdx::LicenseReq| r.license.id().map(|id| id.name.to_owned());
        let mut all: Vec<String> =
            expression.requirements().filter_map(|r| names(&r.req)).collect();
        all.sort();
        all.dedup();
        let avoidable = |id: &String| expression.evaluate(|r| names(r).as_ref() != Some(id));
        let unavoidable = all.iter().filter(|id| !avoidable(id)).cloned().collect();
        let mut ids: Vec<String> = all.iter().map(|id| family(id).to_owned()).collect();
        ids.dedup();
        Self { text: text.to_owned(), ids, unavoidable }
    }
}

/// An identifier without what a text cannot tell.
pub(super) fn family(id: &str) -> &str {
    id.strip_suffix("-only")
        .or_else(|| id.strip_suffix("-or-later"))
        .unwrap_or(id)
        .trim_end_matches('+')
}

/// Names in wide use that are no identifiers.
fn common_name(text: &str) -> Option<&'static str> {
    let text = text.rsplit("::").next().unwrap_or(text).trim().to_ascii_lowercase();
    Some(match text.trim_start_matches("the ").trim_start_matches("license: ") {
        "mit license" | "mit licence" | "expat license" | "expat" => "MIT",
        "apache software license"
        | "apache license 2.0"
        | "apache 2.0"
        | "apache license, version 2.0"
        | "apache-2"
        | "apache 2"
        | "apache license"
        | "apache2"
        | "apache" => "Apache-2.0",
        "bsd license"
        | "bsd"
        | "new bsd license"
        | "modified bsd license"
        | "3-clause bsd license"
        | "bsd 3-clause"
        | "bsd-3"
        | "bsd 3-clause license"
        | "bsd3" => "BSD-3-Clause",
        "bsd 2-clause" | "simplified bsd license" | "bsd-2" | "bsd 2-clause license" => {
            "BSD-2-Clause"
        }
        "isc license" | "isc license (iscl)" => "ISC",
        "mozilla public license 2.0 (mpl 2.0)" | "mpl 2.0" | "mozilla public license 2.0" => {
            "MPL-2.0"
        }
        "python software foundation license" | "psf" | "psf license" | "psfl" => "PSF-2.0",
        "unlicense (unlicense)" | "public domain (unlicense)" => "Unlicense",
        "zlib/libpng license" => "Zlib",
        "historical permission notice and disclaimer (hpnd)" => "HPND",
        "gnu general public license v2 (gplv2)" | "gplv2" | "gpl-2" => "GPL-2.0-only",
        "gnu general public license v2 or later (gplv2+)" | "gplv2+" | "gpl-2+" => {
            "GPL-2.0-or-later"
        }
        "gnu general public license v3 (gplv3)" | "gplv3" | "gpl-3" => "GPL-3.0-only",
        "gnu general public license v3 or later (gplv3+)" | "gplv3+" | "gpl-3+" => {
            "GPL-3.0-or-later"
        }
        "gnu lesser general public license v3 (lgplv3)" | "lgplv3" | "lgpl-3" => "LGPL-3.0-only",
        "gnu lesser general public license v3 or later (lgplv3+)" | "lgpl-3+" => {
            "LGPL-3.0-or-later"
        }
        "gnu lesser general public license v2 or later (lgplv2+)" | "lgpl-2+" => {
            "LGPL-2.0-or-later"
        }
        "lgpl-2.1" => "LGPL-2.1-only",
        "lgpl-2.1+" | "lgplv2.1+" => "LGPL-2.1-or-later",
        "gnu affero general public license v3" | "agplv3" => "AGPL-3.0-only",
        "gnu affero general public license v3 or later (agplv3+)" => "AGPL-3.0-or-later",
        "academic free license (afl)" => "AFL-3.0",
        "zope public license" => "ZPL-2.1",
        _ => return None,
    })
}

/// What the metadata declares; empty when it declares nothing.
pub(super) fn of_package(package: &Package<'_>) -> Vec<Declared> {
    let file = |name: &str| {
        let at_top = |path: &str| path.split_once('/').is_some_and(|(_, rest)| rest == name);
        package.metadata.iter().rev().find(|f| at_top(&f.path)).map(|f| f.content.as_slice())
    };
    match package.ecosystem {
        Ecosystem::Npm => file("package.json").map(npm).unwrap_or_default(),
        Ecosystem::Cargo => file("Cargo.toml").and_then(cargo).into_iter().collect(),
        Ecosystem::Pypi => {
            file("METADATA").or_else(|| file("PKG-INFO")).map(python).unwrap_or_default()
        }
        // A copyright file is content; it is read where it lies.
        Ecosystem::Debian => Vec::new(),
        Ecosystem::Go | Ecosystem::Maven => Vec::new(),
    }
}

/// `license`, or the older forms with objects and lists.
fn npm(content: &[u8]) -> Vec<Declared> {
    let Ok(json) = serde_json::from_slice::<Value>(content) else { return Vec::new() };
    let one = |v: &Value| v.as_str().or_else(|| v.get("type")?.as_str()).map(Declared::parse);
    let single = json.get("license").and_then(one);
    let many = json.get("licenses").and_then(Value::as_array).into_iter().flatten();
    let all = single.into_iter().chain(many.filter_map(one));
    all.filter(|d| !d.text.is_empty()).take(16).collect()
}

fn cargo(content: &[u8]) -> Option<Declared> {
    let table = std::str::from_utf8(content).ok()?.parse::<toml::Table>().ok()?;
    let license = table.get("package")?.get("license")?.as_str()?;
    Some(Declared::parse(license))
}

/// `License-Expression` (PEP 639), else `License` and the classifiers.
fn python(content: &[u8]) -> Vec<Declared> {
    let text = String::from_utf8_lossy(content);
    let head = text.lines().take_while(|line| !line.trim().is_empty());
    let headers: Vec<(String, &str)> = head
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim()))
        .collect();
    let all = |name: &str| {
        let values: Vec<&str> =
            headers.iter().filter(|(k, _)| k == name).map(|(_, v)| *v).collect();
        values
    };
    if let Some(expression) = all("license-expression").first() {
        return vec![Declared::parse(expression)];
    }
    let classifiers = all("classifier").into_iter();
    let classifiers =
        classifiers.filter(|c| c.starts_with("License ::") && !c.ends_with("OSI Approved"));
    let named: Vec<Declared> = classifiers.map(Declared::parse).take(16).collect();
    let free: Vec<Declared> = all("license")
        .into_iter()
        .filter(|l| !l.is_empty() && !l.eq_ignore_ascii_case("unknown"))
        .map(Declared::parse)
        .collect();
    if free.iter().any(|d| !d.ids.is_empty()) || named.is_empty() { free } else { named }
}

/// The short names of a machine-readable copyright file (DEP 5).
pub(super) fn debian_copyright(content: &[u8]) -> Vec<Declared> {
    let text = String::from_utf8_lossy(content);
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Declared::parse).take(64).collect()
}
