//! Requirements of frameworks, and which measures are evidence for them: a file that users edit.

use super::measure::MEASURES;
use super::{ControlLine, FrameworkLine, Measure, Places};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The text of the mapping that comes with the gate.
pub const SHIPPED_MAPPING: &str = include_str!("../../../../policies/compliance.toml");

/// Why a mapping cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// It is no TOML of this form.
    #[error("{0}")]
    Malformed(String),
    /// A measure that there is not.
    #[error("`{measure}` of {control} is no measure\nthere are {}", known())]
    UnknownMeasure {
        /// The requirement.
        control: String,
        /// The name.
        measure: String,
    },
    /// A percentage that is none.
    #[error("`at_least` of {control} is no percentage from 1 to 100")]
    Percentage {
        /// The requirement.
        control: String,
    },
}

fn known() -> String {
    MEASURES.map(|(name, _)| name).join(", ")
}

/// A mapping.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The frameworks.
    #[serde(rename = "framework")]
    pub frameworks: Vec<Framework>,
}

/// A framework.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// Its name.
    pub name: String,
    /// Its full name and version.
    #[serde(default)]
    pub source: String,
    /// Its requirements.
    #[serde(rename = "control", default)]
    pub controls: Vec<Control>,
}

/// A requirement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its id.
    pub id: String,
    /// What it asks for.
    pub text: String,
    /// What is evidence for it. None: the gate cannot see it.
    pub measures: Vec<String>,
    /// The percentage from which on it counts as met.
    #[serde(default = "all")]
    pub at_least: u64,
}

fn all() -> u64 {
    100
}

impl Mapping {
    /// The mapping that comes with the gate.
    ///
    /// # Errors
    /// Never, unless the program was built from a broken one.
    pub fn shipped() -> Result<Self, MappingError> {
        Self::parse(SHIPPED_MAPPING)
    }

    /// Reads a mapping.
    ///
    /// # Errors
    /// When it is no TOML of this form, or names a measure that there is not.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mapping: Self =
            toml::from_str(text).map_err(|e| MappingError::Malformed(e.to_string()))?;
        for (framework, control) in
            mapping.frameworks.iter().flat_map(|f| f.controls.iter().map(move |c| (f, c)))
        {
            let named = || format!("`{}` of {}", control.id, framework.name);
            let known = |m: &&String| MEASURES.iter().any(|(name, _)| name == m);
            if let Some(measure) = control.measures.iter().find(|m| !known(m)) {
                let measure = measure.clone();
                return Err(MappingError::UnknownMeasure { control: named(), measure });
            }
            if !(1..=100).contains(&control.at_least) {
                return Err(MappingError::Percentage { control: named() });
            }
        }
        Ok(mapping)
    }

    /// Holds the requirements against what was measured.
    pub(super) fn judge(&self, measures: &[Measure]) -> Vec<FrameworkLine> {
        let framework = |f: &Framework| FrameworkLine {
            name: f.name.clone(),
            source: f.source.clone(),
            controls: f.controls.iter().map(|c| control(c, measures)).collect(),
        };
        self.frameworks.iter().map(framework).collect()
    }
}

fn control(c: &Control, measures: &[Measure]) -> ControlLine {
    let found: Vec<&Measure> =
        c.measures.iter().filter_map(|name| measures.iter().find(|m| m.name == name)).collect();
    let mut proof = Places::default();
    let entries: BTreeSet<u64> = found.iter().flat_map(|m| m.proof.all()).copied().collect();
    entries.into_iter().for_each(|e| proof.add(e));
    let enough = |m: &&Measure| m.good.saturating_mul(100) >= m.of.saturating_mul(c.at_least);
    // A figure that no entry stands behind is none; a cosigned checkpoint stands for itself.
    let unproven = |m: &Measure| m.proof.all().is_empty() && m.name != "witnesses";
    let nothing = |m: &&Measure| m.of == 0 || m.good > 0 && unproven(m);
    let state = if found.is_empty() || found.iter().any(nothing) {
        "no evidence"
    } else if found.iter().any(|m| m.good == 0) {
        "not met"
    } else if found.iter().all(enough) {
        "met"
    } else {
        "partly met"
    };
    let because = match found.as_slice() {
        [] => "the gate does not measure this".to_owned(),
        found => found.iter().map(|m| figure(m)).collect::<Vec<_>>().join("; "),
    };
    ControlLine { id: c.id.clone(), text: c.text.clone(), state, because, proof }
}

fn figure(m: &Measure) -> String {
    match m.of {
        0 => format!("{}: nothing in this period", m.name),
        of => format!("{}: {} of {of}", m.name, m.good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(name: &'static str, good: u64, of: u64) -> Measure {
        let proof = if good > 0 { Places::from(7) } else { Places::default() };
        Measure { name, text: "", good, of, proof }
    }

    fn state(needs: &[&str], at_least: u64, measures: &[Measure]) -> &'static str {
        let measures_named = needs.iter().map(|m| (*m).to_owned()).collect();
        let c = Control { id: "x".into(), text: String::new(), measures: measures_named, at_least };
        control(&c, measures).state
    }

    #[test]
    fn what_has_no_evidence_is_never_met() {
        let bare = |name| Measure { proof: Places::default(), ..measure(name, 1, 1) };
        let some = [
            measure("digests", 9, 10),
            measure("recalls", 0, 0),
            measure("provenance", 0, 10),
            bare("feeds"),
            bare("witnesses"),
        ];
        for (needs, at_least, want) in [
            (&["digests"][..], 90, "met"),
            (&["digests"], 91, "partly met"),
            (&["digests", "recalls"], 1, "no evidence"),
            (&["recalls"], 1, "no evidence"),
            (&["provenance"], 1, "not met"),
            (&["digests", "provenance"], 1, "not met"),
            (&["provenance", "recalls"], 1, "no evidence"),
            (&["feeds"], 1, "no evidence"),
            (&["witnesses"], 1, "met"),
            (&[], 1, "no evidence"),
        ] {
            assert_eq!(state(needs, at_least, &some), want, "{needs:?} {at_least}");
        }
    }

    #[test]
    fn the_shipped_mapping_is_read_and_mistakes_are_not() {
        let shipped = Mapping::shipped().unwrap();
        let names: Vec<&str> = shipped.frameworks.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["SLSA v1.0", "S2C2F", "SSDF", "CRA"]);
        for (from, to) in [
            ("\"provenance\"", "\"provenence\""),
            ("at_least = 80", "at_least = 101"),
            ("text =", "txt ="),
        ] {
            assert!(Mapping::parse(&SHIPPED_MAPPING.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
