//! `policy.toml`: the mode, the shipped set that a folder builds on, and the numbers in its rules.

use crate::error::{PolicyError, PolicyFile};
use crate::shipped::SHIPPED_SETS;
use crate::spelling::advice;
use countersign_core::Severity;
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;

/// Name of the settings file in a policy folder.
pub(crate) const SETTINGS_FILE: &str = "policy.toml";

/// The longest cool-down that is believed, in hours (ten years); more is a slip of the pen.
const MAX_COOL_DOWN_HOURS: i64 = 10 * 366 * 24;

/// Whether verdicts are acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Holds and refusals hold and refuse.
    Enforce,
    /// Rules are listed and everything is admitted.
    Audit,
}

impl Mode {
    /// The mode's name in `policy.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

/// The settings that a set judges by, after what it extends and its own `policy.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether verdicts are acted upon.
    pub mode: Mode,
    /// Hours that a version waits after it was published.
    pub cool_down_hours: i64,
    /// The worst vulnerability that is tolerated; `None` tolerates none.
    pub tolerate_severity: Option<Severity>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            cool_down_hours: 72,
            tolerate_severity: Some(Severity::Moderate),
        }
    }
}

impl Settings {
    /// The rank of `tolerate_severity` as policies see it; -1 for none.
    pub(crate) fn tolerate_rank(&self) -> i64 {
        self.tolerate_severity.and_then(Severity::rank).unwrap_or(-1)
    }

    /// A text that differs whenever the settings do, for the set's digest.
    pub(crate) fn canonical(&self) -> String {
        format!(
            "mode={};cool_down_hours={};tolerate_rank={}",
            self.mode.name(),
            self.cool_down_hours,
            self.tolerate_rank()
        )
    }
}

/// A `policy.toml` as written, its words not looked at yet.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    mode: Option<Spanned<String>>,
    extends: Option<Spanned<String>>,
    cool_down_hours: Option<Spanned<i64>>,
    tolerate_severity: Option<Spanned<String>>,
}

/// One folder's own settings; unset ones are inherited.
#[derive(Debug, Default)]
pub(crate) struct OwnSettings {
    pub(crate) extends: Option<&'static str>,
    mode: Option<Mode>,
    cool_down_hours: Option<i64>,
    tolerate_severity: Option<Option<Severity>>,
}

impl OwnSettings {
    /// Overrides what these settings name in `settings`.
    pub(crate) fn apply(&self, settings: &mut Settings) {
        if let Some(mode) = self.mode {
            settings.mode = mode;
        }
        if let Some(hours) = self.cool_down_hours {
            settings.cool_down_hours = hours;
        }
        if let Some(severity) = self.tolerate_severity {
            settings.tolerate_severity = severity;
        }
    }

    /// Reads a `policy.toml`.
    pub(crate) fn parse(file: &PolicyFile) -> Result<Self, Vec<PolicyError>> {
        let raw: RawSettings = toml::from_str(&file.text).map_err(|e| {
            let offset = e.span().map_or(0, |s| s.start);
            vec![PolicyError::at(&file.name, &file.text, offset, first_line(e.message()))]
        })?;
        let mut errors = Vec::new();
        let own = Self {
            extends: word(file, &mut errors, raw.extends, "policy set", &SHIPPED_SETS, |w| {
                SHIPPED_SETS.into_iter().find(|s| *s == w)
            }),
            mode: word(file, &mut errors, raw.mode, "mode", &["enforce", "audit"], |w| {
                [Mode::Enforce, Mode::Audit].into_iter().find(|m| m.name() == w)
            }),
            tolerate_severity: word(
                file,
                &mut errors,
                raw.tolerate_severity,
                "severity",
                &["none", "info", "low", "moderate", "high", "critical"],
                severity,
            ),
            cool_down_hours: raw.cool_down_hours.and_then(|hours| {
                let span = hours.span();
                let hours = hours.into_inner();
                if (0..=MAX_COOL_DOWN_HOURS).contains(&hours) {
                    return Some(hours);
                }
                let message = format!("`cool_down_hours` is {hours}");
                errors.push(
                    PolicyError::at(&file.name, &file.text, span.start, message)
                        .help(format!("give whole hours from 0 to {MAX_COOL_DOWN_HOURS}")),
                );
                None
            }),
        };
        if errors.is_empty() { Ok(own) } else { Err(errors) }
    }
}

fn severity(word: &str) -> Option<Option<Severity>> {
    match word {
        "none" => Some(None),
        "info" | "low" | "moderate" | "high" | "critical" => Severity::from_word(word).map(Some),
        _ => None,
    }
}

/// The value that `read` gives for a word, or an error that lists the words that are known.
fn word<T>(
    file: &PolicyFile,
    errors: &mut Vec<PolicyError>,
    given: Option<Spanned<String>>,
    what: &str,
    known: &[&str],
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let given = given?;
    let Range { start, .. } = given.span();
    let text = given.into_inner();
    let value = read(&text);
    if value.is_none() {
        errors.push(
            PolicyError::at(&file.name, &file.text, start, format!("unknown {what} `{text}`"))
                .help(advice(&text, known)),
        );
    }
    value
}

fn first_line(message: &str) -> String {
    // Types are named in words, not as the program calls them.
    message.lines().next().unwrap_or("not valid TOML").replace("i64", "a whole number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OwnSettings, Vec<PolicyError>> {
        OwnSettings::parse(&PolicyFile::new(SETTINGS_FILE, text))
    }

    #[test]
    fn settings_override_only_what_they_name() {
        let mut s = Settings::default();
        parse("cool_down_hours = 5\ntolerate_severity = \"none\"").unwrap().apply(&mut s);
        assert_eq!((s.cool_down_hours, s.tolerate_rank(), s.mode), (5, -1, Mode::Enforce));
        let before = s.canonical();
        parse("mode = \"audit\"").unwrap().apply(&mut s);
        assert_eq!((s.cool_down_hours, s.mode), (5, Mode::Audit));
        assert_ne!(before, s.canonical());
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, line, column, part) in [
            ("mode = \"enforce\"\ncool_down_hour = 5\n", 2, 1, "cool_down_hour"),
            ("\nmode = \"audited\"\n", 2, 8, "unknown mode `audited`"),
            ("extends = \"base\"", 1, 11, "unknown policy set `base`"),
            ("cool_down_hours = -1", 1, 19, "-1"),
            ("cool_down_hours = \"72\"", 1, 19, "expected a whole number"),
            ("tolerate_severity = \"unknown\"", 1, 21, "unknown severity `unknown`"),
            ("mode = ", 1, 8, ""),
        ] {
            let errors = parse(text).unwrap_err();
            let e = errors.first().unwrap();
            assert_eq!((e.line, e.column), (line, column), "{text}: {e}");
            assert!(e.to_string().contains(part), "{text}: {e}");
        }
    }

    #[test]
    fn advice_names_what_was_meant() {
        let errors = parse("extends = \"basline\"").unwrap_err();
        assert!(errors.first().unwrap().to_string().contains("did you mean `baseline`?"));
    }
}
