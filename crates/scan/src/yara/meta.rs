//! What a rule's metadata says of its matches.

use crate::content::{FileInfo, FileKind};
use crate::malware::Can;
use countersign_core::{Confidence, Severity};
use globset::{Glob, GlobSet, GlobSetBuilder};
use yara_x::MetaValue;

/// Kinds of files, as a set of bits.
const CODE: u8 = 1;
const TEXT: u8 = 2;
const NATIVE: u8 = 4;
const BINARY: u8 = 8;

/// A rule's metadata.
pub(super) struct RuleMeta {
    pub(super) says: String,
    pub(super) can: Can,
    pub(super) severity: Option<Severity>,
    pub(super) confidence: Confidence,
    pub(super) max_hits: usize,
    kinds: u8,
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
}

impl RuleMeta {
    pub(super) fn of(rule: &yara_x::Rule<'_, '_>) -> Self {
        let mut out = Self {
            says: format!("the rule `{}` holds", rule.identifier()),
            can: Can::NOTHING,
            severity: Some(Severity::Low),
            confidence: Confidence::Medium,
            max_hits: usize::MAX,
            kinds: 0,
            include: None,
            exclude: None,
        };
        let (mut weighed, mut capability) = (false, false);
        for (key, value) in rule.metadata() {
            let text = text_of(&value);
            match key.to_ascii_lowercase().as_str() {
                "description" | "desc" if !text.is_empty() => out.says = text,
                "path_include" => out.include = globs(&text),
                "path_exclude" => out.exclude = globs(&text),
                "kinds" => {
                    out.kinds = text.split(',').map(|k| kind(k.trim())).fold(0, |a, b| a | b)
                }
                "max_hits" => out.max_hits = text.parse().unwrap_or(usize::MAX),
                "severity" | "score" => {
                    if let Some(severity) = severity(&text) {
                        (out.severity, weighed) = (Some(severity), true);
                    }
                }
                "confidence" | "specificity" => out.confidence = confidence(&text),
                "can" => {
                    let names = text.split('+').filter_map(|name| Can::of_name(name.trim()));
                    out.can = names.fold(Can::NOTHING, Can::and);
                }
                "identifies" => capability = text.starts_with("capability"),
                _ => {}
            }
        }
        // What only says what code can do is no finding by itself.
        let only_can = out.can != Can::NOTHING && !weighed;
        if only_can || capability {
            out.severity = None;
        }
        out
    }

    /// Whether the rule is about such a file at all, by its kind alone.
    pub(super) fn is_about(&self, kind: FileKind) -> bool {
        let kind = match kind {
            FileKind::Text => TEXT,
            FileKind::Native(_) => NATIVE,
            FileKind::Binary => BINARY,
            _ => CODE,
        };
        match (self.kinds, &self.include) {
            // Whoever names files means them whatever is in them.
            (0, Some(_)) => true,
            (0, None) => kind != BINARY,
            (kinds, _) => kinds & kind != 0,
        }
    }

    /// Whether the rule is about this file.
    pub(super) fn wants(&self, file: &FileInfo<'_>) -> bool {
        let name = file.path.rsplit('/').next().unwrap_or(file.path);
        let among = |globs: &GlobSet| globs.is_match(file.path) || globs.is_match(name);
        self.is_about(file.kind)
            && self.include.as_ref().is_none_or(among)
            && !self.exclude.as_ref().is_some_and(among)
    }
}

fn text_of(value: &MetaValue<'_>) -> String {
    match value {
        MetaValue::Integer(number) => number.to_string(),
        MetaValue::Float(number) => number.to_string(),
        MetaValue::Bool(truth) => truth.to_string(),
        MetaValue::String(text) => (*text).to_owned(),
        MetaValue::Bytes(bytes) => bytes.to_string(),
    }
}

/// A pattern that is none matches nothing: it then includes no file, and excludes none.
fn globs(text: &str) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if let Ok(glob) = Glob::new(pattern) {
            set.add(glob);
        }
    }
    set.build().ok()
}

fn kind(word: &str) -> u8 {
    match word {
        "code" => CODE,
        "text" => TEXT,
        "native" => NATIVE,
        "binary" => BINARY,
        _ => 0,
    }
}

/// A word, or a number from 0 to 100.
fn severity(text: &str) -> Option<Severity> {
    if let Some(word) = Severity::from_word(text) {
        return Some(word);
    }
    let score: f64 = text.parse().ok()?;
    Some(match score {
        s if s >= 90.0 => Severity::Critical,
        s if s >= 60.0 => Severity::High,
        s if s >= 40.0 => Severity::Moderate,
        s if s > 0.0 => Severity::Low,
        _ => Severity::Info,
    })
}

fn confidence(text: &str) -> Confidence {
    match text.to_ascii_lowercase().as_str() {
        "high" => Confidence::High,
        "low" => Confidence::Low,
        text => match text.parse::<f64>() {
            Ok(number) if number >= 75.0 => Confidence::High,
            Ok(number) if number < 40.0 => Confidence::Low,
            _ => Confidence::Medium,
        },
    }
}
