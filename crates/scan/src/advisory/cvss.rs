//! CVSS base scores from vectors, versions 2.0, 3.0, 3.1 and 4.0.
//!
//! Only the base metrics count: temporal, threat and environmental ones are about a place and a
//! time that the gate does not know.

use countersign_core::Severity;

/// Longest vector that is read, in bytes.
const MAX_VECTOR: usize = 512;

/// The severity that a CVSS vector gives, whatever its version; `None` when it is no vector.
///
/// Version 2.0 knows no "critical"; its 7.0 to 10.0 is high, as the national database rates it.
pub(super) fn severity(vector: &str) -> Option<Severity> {
    let vector = vector.trim();
    if vector.starts_with("CVSS:4.0/") {
        return v4_base(vector).map(Severity::from_cvss_score);
    }
    if vector.starts_with("CVSS:3.") {
        return v3_base(vector).map(Severity::from_cvss_score);
    }
    Some(Severity::from_cvss_score(v2_base(vector)?).min(Severity::High))
}

/// The metrics of a vector: `AV:N/AC:L`, no name twice.
struct Metrics<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Metrics<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_VECTOR {
            return None;
        }
        let mut all: Vec<(&str, &str)> = Vec::new();
        for part in text.trim_end_matches('/').split('/') {
            let (name, value) = part.split_once(':')?;
            if all.iter().any(|(n, _)| *n == name) {
                return None;
            }
            all.push((name, value));
        }
        Some(Self(all))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// The weight of a metric by a table of its values; `None` when it is missing or unknown.
    fn weight(&self, name: &str, table: &[(&str, f64)]) -> Option<f64> {
        let value = self.get(name)?;
        table.iter().find(|(v, _)| *v == value).map(|(_, w)| *w)
    }
}

/// CVSS v3.1 specification, sections 7.1 and 7.4; version 3.0 has the same base equations.
fn v3_base(vector: &str) -> Option<f64> {
    let m = Metrics::parse(vector)?;
    if !matches!(m.get("CVSS"), Some("3.0" | "3.1")) {
        return None;
    }
    let changed = match m.get("S")? {
        "U" => false,
        "C" => true,
        _ => return None,
    };
    let (low, high) = if changed { (0.68, 0.5) } else { (0.62, 0.27) };
    let exploitability = 8.22
        * m.weight("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?
        * m.weight("AC", &[("L", 0.77), ("H", 0.44)])?
        * m.weight("PR", &[("N", 0.85), ("L", low), ("H", high)])?
        * m.weight("UI", &[("N", 0.85), ("R", 0.62)])?;
    let impact_of = |name| m.weight(name, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    let iss = 1.0 - (1.0 - impact_of("C")?) * (1.0 - impact_of("I")?) * (1.0 - impact_of("A")?);
    let impact =
        if changed { 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15) } else { 6.42 * iss };
    if impact <= 0.0 {
        return Some(0.0);
    }
    let scope = if changed { 1.08 } else { 1.0 };
    Some(roundup((scope * (impact + exploitability)).min(10.0)))
}

/// "Roundup" of the CVSS v3.1 specification, appendix A: the smallest number with one decimal
/// that is not below the input, computed so that floating-point noise does not count.
fn roundup(input: f64) -> f64 {
    let scaled = (input * 100_000.0).round();
    if scaled % 10_000.0 == 0.0 {
        scaled / 100_000.0
    } else {
        ((scaled / 10_000.0).floor() + 1.0) / 10.0
    }
}

/// CVSS v2.0 guide, section 3.2.1.
fn v2_base(vector: &str) -> Option<f64> {
    let m = Metrics::parse(vector.trim_start_matches('(').trim_end_matches(')'))?;
    let impact_of = |name| m.weight(name, &[("N", 0.0), ("P", 0.275), ("C", 0.66)]);
    let impact =
        10.41 * (1.0 - (1.0 - impact_of("C")?) * (1.0 - impact_of("I")?) * (1.0 - impact_of("A")?));
    let exploitability = 20.0
        * m.weight("AV", &[("L", 0.395), ("A", 0.646), ("N", 1.0)])?
        * m.weight("AC", &[("H", 0.35), ("M", 0.61), ("L", 0.71)])?
        * m.weight("Au", &[("M", 0.45), ("S", 0.56), ("N", 0.704)])?;
    let f = if impact == 0.0 { 0.0 } else { 1.176 };
    let score = (0.6 * impact + 0.4 * exploitability - 1.5) * f;
    Some((score * 10.0).round() / 10.0)
}

/// The base metrics of CVSS v4.0, all mandatory (specification, section 2).
const V4_BASE: [&str; 11] = ["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"];

/// CVSS v4.0 (CVSS-B): its score is a table of 270 macro vectors, which the `cvss` crate holds.
fn v4_base(vector: &str) -> Option<f64> {
    let m = Metrics::parse(vector)?;
    let mut base = String::from("CVSS:4.0");
    for name in V4_BASE {
        base.push('/');
        base.push_str(name);
        base.push(':');
        base.push_str(m.get(name)?);
    }
    let parsed: cvss::v4::Vector = base.parse().ok()?;
    Some(parsed.score().value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v3_vectors_of_the_specifications_examples() {
        // From the "CVSS v3.1 Examples" document.
        for (vector, want) in [
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:U/C:L/I:L/A:N", 5.4),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 9.9),
            ("CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", 4.2),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
            ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:N", 0.0),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/MAV:P", 9.8),
        ] {
            assert_eq!(v3_base(vector), Some(want), "{vector}");
        }
    }

    #[test]
    fn every_v3_base_vector_scores_as_the_cvss_crate_does() {
        let mut count = 0;
        for v in product(&[
            ("AV", "NALP"),
            ("AC", "LH"),
            ("PR", "NLH"),
            ("UI", "NR"),
            ("S", "UC"),
            ("C", "HLN"),
            ("I", "HLN"),
            ("A", "HLN"),
        ]) {
            let v = format!("CVSS:3.1/{v}");
            let oracle: cvss::v3::Vector = v.parse().unwrap();
            assert_eq!(v3_base(&v), Some(oracle.base_score().value()), "{v}");
            count += 1;
        }
        assert_eq!(count, 2592);
    }

    #[test]
    fn every_v2_base_vector_scores_as_the_cvss_crate_does() {
        for v in product(&[
            ("AV", "LAN"),
            ("AC", "HML"),
            ("Au", "MSN"),
            ("C", "NPC"),
            ("I", "NPC"),
            ("A", "NPC"),
        ]) {
            let oracle: cvss::v2::Vector = v.parse().unwrap();
            let got = v2_base(&v).unwrap();
            assert!((got - oracle.score().value()).abs() < 1e-9, "{v}: {got}");
        }
        assert_eq!(v2_base("AV:N/AC:L/Au:N/C:C/I:C/A:C"), Some(10.0));
        assert_eq!(severity("AV:N/AC:L/Au:N/C:C/I:C/A:C"), Some(Severity::High));
    }

    #[test]
    fn v4_scores_are_those_of_the_specifications_calculator() {
        for (vector, want) in [
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", 0.0),
            // The threat metric would lower it to 8.1; the base score does not hear of it.
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U", 9.3),
        ] {
            assert_eq!(v4_base(vector), Some(want), "{vector}");
        }
    }

    #[test]
    fn v4_base_vectors_all_have_a_score() {
        let metrics = V4_BASE.map(|name| match name {
            "AV" => (name, "NALP"),
            "AC" => (name, "LH"),
            "AT" => (name, "NP"),
            "PR" => (name, "NLH"),
            "UI" => (name, "NPA"),
            _ => (name, "HLN"),
        });
        let all = product(&metrics);
        assert_eq!(all.len(), 104_976);
        for v in all.iter().step_by(11) {
            let score = v4_base(&format!("CVSS:4.0/{v}"));
            assert!(score.is_some_and(|s| (0.0..=10.0).contains(&s)), "{v}: {score:?}");
        }
    }

    #[test]
    fn what_is_no_vector_has_no_severity() {
        for text in [
            "",
            "7.5",
            "CVSS:3.1",
            "CVSS:3.1/AV:N",
            "CVSS:3.2/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:3.1/AV:N/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:4.0/AV:N",
            "CVSS:4.0/AV:Z/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H",
            "AV:N/AC:L/C:P",
        ] {
            assert_eq!(severity(text), None, "{text}");
        }
        assert_eq!(severity(&"AV:N/".repeat(10_000)), None);
    }

    /// All vectors that the metrics can form.
    fn product(metrics: &[(&str, &str)]) -> Vec<String> {
        metrics.iter().fold(vec![String::new()], |all, (name, values)| {
            all.iter()
                .flat_map(|head| {
                    let slash = if head.is_empty() { "" } else { "/" };
                    values.chars().map(move |v| format!("{head}{slash}{name}:{v}"))
                })
                .collect()
        })
    }
}
