//! Policies, patterns and waivers.

use crate::{split, text};
use countersign_core::{Ecosystem, Purl};
use countersign_policy::{PolicyFile, PolicySet, PurlPattern, WaiverTarget, run_tests};

/// Policies, and behind the separators `policy.toml` and test cases.
pub fn policy_load(data: &[u8]) {
    let (cedar, rest) = split(data);
    let (settings, cases) = split(rest);
    let mut files = vec![PolicyFile::new("a.cedar", text(cedar))];
    if !settings.is_empty() {
        files.push(PolicyFile::new("policy.toml", text(settings)));
    }
    match PolicySet::load("fuzz", files) {
        Ok(set) => {
            let _ = run_tests(&set, &[PolicyFile::new("tests/cases.toml", text(cases))]);
        }
        Err(errors) => assert!(!errors.is_empty(), "it was refused without a reason"),
    }
}

/// A file of waivers.
pub fn waiver_file(data: &[u8]) {
    let file = PolicyFile::new("waivers.toml", text(data));
    let now = countersign_core::Timestamp(1_700_000_000);
    match countersign_policy::read_waivers(&file, now) {
        Ok(all) => assert!(all.iter().all(|w| !w.owner.trim().is_empty())),
        Err(errors) => assert!(!errors.is_empty(), "it was refused without a reason"),
    }
}

/// A pattern over package URLs, and what a waiver is for.
pub fn purl_pattern(data: &[u8]) {
    let text = text(data);
    let _ = text.parse::<WaiverTarget>();
    let Ok(pattern) = PurlPattern::parse(&text) else { return };
    for ecosystem in Ecosystem::ALL {
        for name in ["example", "@scope/example", &"a".repeat(200)] {
            let purl = Purl::new(ecosystem, name, Some("1.0"));
            assert!(!pattern.matches(&purl) || pattern.ecosystem() == ecosystem);
        }
    }
}
