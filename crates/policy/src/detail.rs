//! What a rule fired on, in words for people.

use crate::algorithms::{AlgorithmTable, Weakness};
use crate::annotation::{RuleInfo, ends_with_age};
use crate::attributes::{PROVENANCE_KINDS, not_done};
use crate::decide::Case;
use crate::settings::Settings;
use countersign_core::{
    Age, ArtifactFacts, Evidence, EvidenceState, Finding, FindingKind, Outcome, ReasonCode,
    Reservation, Timestamp, Verdict,
};

/// The most things that one detail lists.
const LISTED: usize = 8;

/// The longest foreign text (a title, a cause) that a detail repeats, in characters.
const QUOTED: usize = 200;

/// Kinds that no rule of a shipped set but the last is about.
const OTHER_KINDS: [FindingKind; 4] =
    [FindingKind::Notice, FindingKind::InstallHook, FindingKind::Capability, FindingKind::Licence];

/// What was judged, and what of it is not tolerated.
pub(crate) struct Judged<'a> {
    pub(crate) case: Case<'a>,
    pub(crate) untolerated: &'a [&'a Finding],
    pub(crate) settings: &'a Settings,
    pub(crate) algorithms: &'a AlgorithmTable,
    pub(crate) now: Timestamp,
}

/// When the hold that `rule` gives ends by itself.
pub(crate) fn until(rule: &RuleInfo, judged: &Judged<'_>) -> Option<Timestamp> {
    if !ends_with_age(rule.reason) || rule.verdict != Verdict::Hold {
        return None;
    }
    let Age::Known { published } = judged.case.version.age else { return None };
    Some(published.plus_seconds(wanted_hours(rule, judged)?.saturating_mul(3600)))
}

/// The cool-down that a rule wants; `None` for one that does not tell.
fn wanted_hours(rule: &RuleInfo, judged: &Judged<'_>) -> Option<i64> {
    let by_setting = rule.text.contains("cool_down_hours");
    rule.hours.or(by_setting.then_some(judged.settings.cool_down_hours))
}

/// The detail of a fired rule: the facts behind its reason, after the message of a user's rule.
pub(crate) fn words(rule: &RuleInfo, judged: &Judged<'_>) -> String {
    let facts = facts(rule, judged);
    match (facts.is_empty(), rule.message.is_empty()) {
        (true, true) => format!("rule `{}` stands against it", rule.id),
        (true, false) => rule.message.clone(),
        (false, false) if !rule.shipped => format!("{}: {facts}", rule.message),
        (false, _) => facts,
    }
}

fn facts(rule: &RuleInfo, judged: &Judged<'_>) -> String {
    let version = judged.case.version;
    match rule.reason {
        ReasonCode::KnownMalicious => findings(judged, &[FindingKind::Malicious]),
        ReasonCode::KnownVulnerable => vulnerabilities(judged),
        ReasonCode::ArchiveUnsafe => archive(judged),
        ReasonCode::SuspiciousCode if rule.text.contains("changes") => {
            judged.case.artifact.map_or(String::new(), |a| changes(a, is_of_content))
        }
        ReasonCode::SuspiciousCode => findings(judged, &[FindingKind::Suspicious]),
        ReasonCode::CoolDown => cool_down(rule, judged),
        ReasonCode::PublisherSilent => {
            let days = version.silent_days.unwrap_or(0);
            format!(
                "no version was published for {days} days before it; {}",
                cool_down(rule, judged)
            )
        }
        ReasonCode::AgeUnknown => {
            format!("upstream `{}` does not say when it was published", version.upstream)
        }
        ReasonCode::ReservedNamespace => match &version.reservation {
            Reservation::Elsewhere { owner } => format!(
                "`{}` is reserved for upstream `{owner}`, and `{}` offers it",
                version.purl.name(),
                version.upstream
            ),
            _ => String::new(),
        },
        ReasonCode::Denied => format!("a deny list of the configuration names {}", version.purl),
        ReasonCode::Yanked => format!("its publisher withdrew {}", version.purl.label()),
        ReasonCode::ScanIncomplete => incomplete(judged),
        ReasonCode::DigestWeak => {
            judged.case.artifact.map_or(String::new(), |a| digests(a, judged))
        }
        ReasonCode::AlgorithmWeak => {
            let weak = |a| judged.algorithms.weak_evidence(a, judged.now);
            weaknesses(&judged.case.artifact.map(weak).unwrap_or_default())
        }
        ReasonCode::Policy if rule.text.contains("near_popular") => {
            let near = |f: &&Finding| f.id == "name.near-popular";
            let found = judged.case.artifact.and_then(|a| a.findings.iter().find(near));
            found.map_or(String::new(), |f| f.title.clone())
        }
        ReasonCode::Policy if !rule.text.contains("untolerated") => String::new(),
        ReasonCode::Policy => findings(judged, &OTHER_KINDS),
        reason => judged.case.artifact.map_or(String::new(), |a| artifact_facts(reason, a)),
    }
}

fn artifact_facts(reason: ReasonCode, artifact: &ArtifactFacts) -> String {
    match reason {
        ReasonCode::EvidenceInvalid => {
            evidence(artifact, |e| matches!(e.state, EvidenceState::Invalid { .. }))
        }
        ReasonCode::ProvenanceLost | ReasonCode::ProvenanceChanged => {
            changes(artifact, |kind| !is_of_content(kind))
        }
        ReasonCode::EvidenceMissing => {
            let wanted = |e: &Evidence| PROVENANCE_KINDS.contains(&e.kind.as_str());
            or(evidence(artifact, wanted), "no evidence was looked for")
        }
        ReasonCode::IndexUntrusted => or(
            evidence(artifact, |e| e.kind == "debian-release"),
            "no signed Release file was looked for",
        ),
        _ => String::new(),
    }
}

fn digests(artifact: &ArtifactFacts, judged: &Judged<'_>) -> String {
    let weak = judged.algorithms.weak_digests(artifact, judged.now).unwrap_or_default();
    let there_is = match weaknesses(&weak) {
        none if none.is_empty() => String::new(),
        weak => format!("; there is only {weak}"),
    };
    format!(
        "no index, lock file or signed list gives a strong digest of {} (it is sha256:{}){there_is}",
        artifact.file_name, artifact.sha256
    )
}

/// `npm-provenance: rsa-1024 (certificate key), weak below 2048 bits since 2014-01-01: …`
fn weaknesses(list: &[Weakness]) -> String {
    let items = list.iter().map(|w| format!("{}: {}, {}", w.of, w.used, quoted(&w.because)));
    listed(items.collect(), "; ")
}

fn changes(artifact: &ArtifactFacts, wanted: impl Fn(&str) -> bool) -> String {
    let all = artifact.changes.iter().filter(|c| wanted(&c.kind));
    listed(all.map(|c| format!("{}: {}", c.kind, quoted(&c.detail))).collect(), "; ")
}

/// Whether a change is one of what is in the artifact, and not of who vouches for it.
fn is_of_content(kind: &str) -> bool {
    kind.starts_with("new-") || matches!(kind, "grew" | "patch-release")
}

fn or(text: String, other: &str) -> String {
    if text.is_empty() { other.to_owned() } else { text }
}

fn quoted(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect()
}

/// The first few items, and how many more there are.
fn listed(items: Vec<String>, separator: &str) -> String {
    let more = items.len().saturating_sub(LISTED);
    let mut text = items.into_iter().take(LISTED).collect::<Vec<_>>().join(separator);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn cool_down(rule: &RuleInfo, judged: &Judged<'_>) -> String {
    let Age::Known { published } = judged.case.version.age else {
        return "publish time unknown".to_owned();
    };
    let hours = judged.case.version.age.hours(judged.now).unwrap_or(0);
    match wanted_hours(rule, judged) {
        Some(wanted) => format!("published {published}, {hours} h ago; policy wants {wanted} h"),
        None => format!("published {published}, {hours} h ago"),
    }
}

/// `MAL-2026-1 (title), …` for untolerated findings of these kinds.
fn findings(judged: &Judged<'_>, kinds: &[FindingKind]) -> String {
    let of_kind = judged.untolerated.iter().filter(|f| kinds.contains(&f.kind));
    let items = of_kind.map(|f| {
        let place = f.path.as_ref().map_or(String::new(), |p| format!(" in `{}`", quoted(p)));
        match quoted(&f.title) {
            title if title.is_empty() => format!("{}{place}", f.id),
            title => format!("{} ({title}){place}", f.id),
        }
    });
    listed(items.collect(), ", ")
}

/// `GHSA-… (critical), GHSA-… (high); fixed in 4.17.21`, worst first. Where the fixes differ each
/// finding names its own: which of the versions is the newest is not for this crate to say.
fn vulnerabilities(judged: &Judged<'_>) -> String {
    let mut found: Vec<&&Finding> =
        judged.untolerated.iter().filter(|f| f.kind == FindingKind::Vulnerability).collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let fixed = |f: &Finding| f.fixed_in.as_ref().filter(|v| !v.is_empty()).cloned();
    let first = found.first().and_then(|f| fixed(f));
    let same = found.iter().all(|f| fixed(f) == first);
    let items = found.iter().map(|f| match fixed(f) {
        Some(version) if !same => format!("{} ({}, fixed in {version})", f.id, weight(f)),
        _ => format!("{} ({})", f.id, weight(f)),
    });
    let mut text = listed(items.collect(), ", ");
    match &first {
        Some(version) if same => text.push_str(&format!("; fixed in {version}")),
        None if same && !found.is_empty() => text.push_str("; no fixed version is known"),
        _ => {}
    }
    let upgrade = judged.case.version.upgrade.as_ref();
    if let Some(upgrade) = upgrade.filter(|u| !found.is_empty() && first.as_ref() != Some(*u)) {
        text.push_str(&format!("; the nearest version without any of the known is {upgrade}"));
    }
    text
}

/// `high`, `high, exploited in the wild, to be remedied by 2025-09-15`, `high, EPSS 94.4 %`.
fn weight(finding: &Finding) -> String {
    let mut text = finding.severity.to_string();
    let Some(e) = &finding.exploitation else { return text };
    if e.known {
        text.push_str(", exploited in the wild");
    }
    if let Some(due) = &e.due {
        text.push_str(&format!(", to be remedied by {due}"));
    }
    if let Some(epss) = e.epss {
        text.push_str(&format!(", EPSS {}.{} %", epss / 10, epss % 10));
    }
    text
}

fn archive(judged: &Judged<'_>) -> String {
    let found = findings(judged, &[FindingKind::Structure]);
    if !found.is_empty() {
        return found;
    }
    let checks = judged.case.artifact.map_or(&[][..], |a| &a.checks);
    let failed = checks.iter().filter(|c| c.name == "archive").filter_map(|c| match &c.outcome {
        Outcome::Failed { because } => Some(quoted(because)),
        _ => None,
    });
    listed(failed.collect(), "; ")
}

/// `pep740 from index: why not` for the evidence that `which` picks and that is not verified.
fn evidence(artifact: &ArtifactFacts, which: impl Fn(&Evidence) -> bool) -> String {
    let items = artifact.evidence.iter().filter(|e| which(e)).filter_map(|e| {
        let state = match &e.state {
            EvidenceState::Verified { .. } => return None,
            EvidenceState::Absent => "nobody offers any".to_owned(),
            EvidenceState::Unreachable { because } => format!("not to be had, {}", quoted(because)),
            EvidenceState::Invalid { because, .. } => quoted(because),
        };
        Some(format!("{} from {}: {state}", e.kind, e.source))
    });
    listed(items.collect(), "; ")
}

fn incomplete(judged: &Judged<'_>) -> String {
    let advisories = &judged.case.version.advisories;
    let checks = judged.case.artifact.map_or(&[][..], |a| &a.checks);
    let all = || checks.iter().chain(std::iter::once(advisories));
    let why = |name: &str| {
        all().filter(|c| c.name == name).find_map(|c| match &c.outcome {
            Outcome::NotDone { because } => Some(quoted(because)),
            _ => None,
        })
    };
    let mut names = match judged.case.artifact {
        Some(artifact) => not_done(artifact),
        None => vec![advisories.name.as_str()],
    };
    names.sort_unstable();
    names.dedup();
    let items = names.into_iter().map(|name| {
        let because = why(name);
        format!("check `{name}` was not done: {}", because.as_deref().unwrap_or("nobody ran it"))
    });
    listed(items.collect(), "; ")
}
