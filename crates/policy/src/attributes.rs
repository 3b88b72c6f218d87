//! Facts as Cedar sees them. Every name here is one of the schema's; the tests hold them together.

use crate::algorithms::{AlgorithmTable, Weakness};
use crate::decide::DecisionContext;
use crate::settings::Settings;
use cedar_policy::{Context, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use countersign_core::{
    AlgorithmUse, ArtifactFacts, Check, Claim, Evidence, EvidenceState, Finding, Outcome, Purl,
    Reservation, Timestamp, VersionFacts, VexClaim, VexSource,
};
use std::collections::{BTreeSet, HashMap};

/// The attributes of one Cedar entity.
pub(crate) type Attributes = HashMap<String, RestrictedExpression>;

/// The rank of a finding of unknown severity: a policy that forgets to ask errs on the safe side.
const UNKNOWN_RANK: i64 = 4;

/// Kinds of evidence that say where an artifact was built or who published it.
pub(crate) const PROVENANCE_KINDS: [&str; 2] = ["npm-provenance", "pep740"];

/// Checks that the rules count on: one that nobody lists was not done.
const EXPECTED_CHECKS: [&str; 1] = ["archive"];

/// The entity of a type and id. `ty` is one of the schema's names.
pub(crate) fn uid(ty: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(id))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.into_iter().map(text))
}

fn flag(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn number(value: i64) -> RestrictedExpression {
    RestrictedExpression::new_long(value)
}

/// Collects named attributes.
macro_rules! attributes {
    ($into:expr; $($name:literal: $value:expr,)+) => {
        $($into.insert($name.to_owned(), $value);)+
    };
}

/// The context that all three actions share.
pub(crate) fn context(
    settings: &Settings,
    ctx: &DecisionContext,
    waived: &[&str],
) -> Result<Context, String> {
    Context::from_pairs([
        ("waived".to_owned(), texts(waived.iter().copied())),
        ("now".to_owned(), number(ctx.now.0)),
        ("client".to_owned(), text(&ctx.client)),
        ("cool_down_hours".to_owned(), number(settings.cool_down_hours)),
        ("tolerate_rank".to_owned(), number(settings.tolerate_rank())),
    ])
    .map_err(|e| e.to_string())
}

fn exploited(finding: &Finding) -> bool {
    finding.exploitation.as_ref().is_some_and(|e| e.known)
}

fn epss(finding: &Finding) -> Option<i64> {
    finding.exploitation.as_ref().and_then(|e| e.epss).map(i64::from)
}

/// What documents of a source state, as a set: several may contradict each other.
fn vex(finding: &Finding, source: VexSource) -> RestrictedExpression {
    texts(finding.vex.iter().filter(|c| c.source == source).map(|c| c.status.name()))
}

/// Sources that say with a ground that the finding does not stand, and of which no document says that
/// it does.
fn cleared_by(finding: &Finding) -> RestrictedExpression {
    let of = |source: VexSource| finding.vex.iter().filter(move |c| c.source == source);
    let sources = [VexSource::Own, VexSource::Vendor, VexSource::Package].into_iter();
    let clears = |s: &VexSource| of(*s).next().is_some() && of(*s).all(VexClaim::clears);
    texts(sources.filter(clears).map(VexSource::name))
}

/// A finding about `purl`.
pub(crate) fn finding(finding: &Finding, purl: &Purl, now: Timestamp) -> Attributes {
    let rank = finding.severity.rank();
    let mut a = Attributes::new();
    attributes! { a;
        "kind": text(finding.kind.name()),
        "id": text(&finding.id),
        "aliases": texts(finding.aliases.iter().map(String::as_str)),
        "severity_rank": number(rank.unwrap_or(UNKNOWN_RANK)),
        "severity_known": flag(rank.is_some()),
        "fixed": flag(finding.fixed_in.is_some()),
        "title": text(&finding.title),
        "path": text(finding.path.as_deref().unwrap_or("")),
        "exploited": flag(exploited(finding)),
        "overdue": flag(finding.exploitation.as_ref().is_some_and(|e| e.is_overdue(now))),
        "epss": number(epss(finding).unwrap_or(0)),
        "epss_known": flag(epss(finding).is_some()),
        "vex_own": vex(finding, VexSource::Own),
        "vex_vendor": vex(finding, VexSource::Vendor),
        "vex_package": vex(finding, VexSource::Package),
        "cleared_by": cleared_by(finding),
        "package": text(&purl.to_string()),
        "ecosystem": text(&purl.ecosystem().to_string()),
        "name": text(purl.name()),
    }
    a
}

/// Kinds of the findings, as a set.
fn kinds<'a>(findings: impl Iterator<Item = &'a Finding>) -> RestrictedExpression {
    let mut names: Vec<&str> = findings.map(|f| f.kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    texts(names)
}

/// A version by its metadata.
pub(crate) fn version(
    facts: &VersionFacts,
    untolerated: &[&Finding],
    ctx: &DecisionContext,
) -> Attributes {
    let age = facts.age.hours(ctx.now);
    let elsewhere = matches!(facts.reservation, Reservation::Elsewhere { .. });
    let asked = !matches!(facts.advisories.outcome, Outcome::NotDone { .. });
    let overdue = |f: &Finding| f.exploitation.as_ref().is_some_and(|e| e.is_overdue(ctx.now));
    let mut a = Attributes::with_capacity(40);
    attributes! { a;
        "purl": text(&facts.purl.to_string()),
        "ecosystem": text(&facts.purl.ecosystem().to_string()),
        "name": text(facts.purl.name()),
        "version": text(facts.purl.version().unwrap_or("")),
        "upstream": text(&facts.upstream),
        "age_known": flag(age.is_some()),
        "age_hours": number(age.unwrap_or(0)),
        "silent_days": number(facts.silent_days.map_or(0, i64::from)),
        "yanked": flag(facts.yanked),
        "reserved_elsewhere": flag(elsewhere),
        "denied": flag(facts.denied),
        "allowed": flag(facts.allowed),
        "fixes_installed": flag(!facts.fixes_installed.is_empty()),
        "found": kinds(facts.findings.iter()),
        "untolerated": kinds(untolerated.iter().copied()),
        "exploited": flag(untolerated.iter().any(|f| exploited(f))),
        "overdue": flag(untolerated.iter().any(|f| overdue(f))),
        "epss": number(untolerated.iter().filter_map(|f| epss(f)).max().unwrap_or(0)),
        "advisories_checked": flag(asked),
        "not_done": texts((!asked).then_some(facts.advisories.name.as_str())),
    }
    a
}

/// An artifact by all that is known about it.
pub(crate) fn artifact(
    facts: &ArtifactFacts,
    untolerated: &[&Finding],
    algorithms: &AlgorithmTable,
    ctx: &DecisionContext,
) -> Attributes {
    let mut a = version(&facts.version, untolerated, ctx);
    let by_state = |wanted: fn(&EvidenceState) -> bool| {
        let found = facts.evidence.iter().filter(move |e| wanted(&e.state));
        texts(found.map(|e| e.kind.as_str()))
    };
    let claims = |said: fn(&Claim) -> Option<&str>| {
        let said = facts.evidence.iter().filter_map(Evidence::claim).filter_map(said);
        texts(said.filter(|s| !s.is_empty()))
    };
    let weak = algorithms.weak_evidence(facts, ctx.now);
    let failed = |c: &&Check| matches!(c.outcome, Outcome::Failed { .. });
    attributes! { a;
        "found": kinds(facts.all_findings()),
        "not_done": texts(not_done(facts)),
        "file_name": text(&facts.file_name),
        "sha256": text(&facts.sha256.to_hex()),
        "size": number(i64::try_from(facts.size).unwrap_or(i64::MAX)),
        "digest_confirmed": flag(digest_confirmed(facts, algorithms, ctx)),
        "algorithms": labels(all_algorithms(facts).into_iter()),
        "weak": labels(weak.iter().map(|w: &Weakness| &w.used)),
        "evidence_verified": by_state(|s| matches!(s, EvidenceState::Verified { .. })),
        "evidence_absent": by_state(|s| matches!(s, EvidenceState::Absent)),
        "evidence_unreachable": by_state(|s| matches!(s, EvidenceState::Unreachable { .. })),
        "evidence_invalid": by_state(|s| matches!(s, EvidenceState::Invalid { .. })),
        "has_provenance": flag(has_provenance(facts)),
        "signers": claims(|c| Some(&c.signer)),
        "attested": texts(attested(facts, |o| o != Some("failed")).iter().map(String::as_str)),
        "attested_failed": texts(attested(facts, |o| o == Some("failed")).iter().map(String::as_str)),
        "issuers": claims(|c| c.issuer.as_deref()),
        "repositories": claims(|c| c.repository.as_deref()),
        "workflows": claims(|c| c.workflow.as_deref()),
        "builders": claims(|c| c.builder.as_deref()),
        "changes": texts(facts.changes.iter().map(|c| c.kind.as_str())),
        "near_popular": text(near_popular(facts)),
        "checks_failed": texts(facts.checks.iter().filter(failed).map(|c| c.name.as_str())),
    }
    a
}

/// What the organisation's keys attest, where the stated outcome is a `wanted` one: the key's name and
/// the predicate type, `qa test-result`.
fn attested(facts: &ArtifactFacts, wanted: fn(Option<&str>) -> bool) -> Vec<String> {
    let claims = facts.evidence.iter().filter_map(Evidence::claim);
    let keyed = claims.filter_map(|c| Some((&c.signer, c.attested.as_ref()?)));
    let keyed = keyed.filter(|(_, a)| wanted(a.outcome.as_deref()));
    keyed.map(|(name, a)| format!("{name} {}", a.predicate)).collect()
}

/// Whether a digest that this policy holds to be strong was compared. What was recorded before digests
/// were named says so itself.
fn digest_confirmed(
    facts: &ArtifactFacts,
    algorithms: &AlgorithmTable,
    ctx: &DecisionContext,
) -> bool {
    if facts.index_digests.is_empty() {
        return facts.digest_confirmed;
    }
    algorithms.weak_digests(facts, ctx.now).is_none()
}

fn all_algorithms(facts: &ArtifactFacts) -> Vec<&AlgorithmUse> {
    let of_evidence = facts.evidence.iter().flat_map(Evidence::algorithms);
    of_evidence.chain(&facts.index_digests).collect()
}

fn labels<'a>(uses: impl Iterator<Item = &'a AlgorithmUse>) -> RestrictedExpression {
    let names: BTreeSet<String> = uses.map(AlgorithmUse::label).collect();
    texts(names.iter().map(String::as_str))
}

/// The popular name that a scanner says this one is near: it stands among the finding's other names.
fn near_popular(facts: &ArtifactFacts) -> &str {
    let near = facts.findings.iter().find(|f| f.id == "name.near-popular");
    near.and_then(|f| f.aliases.first()).map_or("", String::as_str)
}

fn has_provenance(facts: &ArtifactFacts) -> bool {
    let verified = facts.evidence.iter().filter(|e| e.claim().is_some());
    verified.into_iter().any(|e| PROVENANCE_KINDS.contains(&e.kind.as_str()))
}

/// Names of the checks that were not done, with those that should be listed and are not.
pub(crate) fn not_done(facts: &ArtifactFacts) -> Vec<&str> {
    let mut names = facts.not_done();
    let listed = |name: &&str| facts.checks.iter().any(|c| c.name == **name);
    names.extend(EXPECTED_CHECKS.iter().filter(|name| !listed(name)));
    names
}
