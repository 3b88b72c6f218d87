//! Facts as Cedar sees them. Every name here is one of the schema's; the tests hold them together.

use crate::decide::DecisionContext;
use crate::settings::Settings;
use cedar_policy::{Context, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use countersign_core::{
    ArtifactFacts, Check, Claim, Evidence, EvidenceState, Finding, Outcome, Purl, Reservation,
    VersionFacts,
};
use std::collections::HashMap;

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

/// A finding about `purl`.
pub(crate) fn finding(finding: &Finding, purl: &Purl) -> Attributes {
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
    let mut a = Attributes::with_capacity(40);
    attributes! { a;
        "purl": text(&facts.purl.to_string()),
        "ecosystem": text(&facts.purl.ecosystem().to_string()),
        "name": text(facts.purl.name()),
        "version": text(facts.purl.version().unwrap_or("")),
        "upstream": text(&facts.upstream),
        "age_known": flag(age.is_some()),
        "age_hours": number(age.unwrap_or(0)),
        "yanked": flag(facts.yanked),
        "reserved_elsewhere": flag(elsewhere),
        "denied": flag(facts.denied),
        "allowed": flag(facts.allowed),
        "fixes_installed": flag(!facts.fixes_installed.is_empty()),
        "found": kinds(facts.findings.iter()),
        "untolerated": kinds(untolerated.iter().copied()),
        "advisories_checked": flag(asked),
        "not_done": texts((!asked).then_some(facts.advisories.name.as_str())),
    }
    a
}

/// An artifact by all that is known about it.
pub(crate) fn artifact(
    facts: &ArtifactFacts,
    untolerated: &[&Finding],
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
    let failed = |c: &&Check| matches!(c.outcome, Outcome::Failed { .. });
    attributes! { a;
        "found": kinds(facts.all_findings()),
        "not_done": texts(not_done(facts)),
        "file_name": text(&facts.file_name),
        "sha256": text(&facts.sha256.to_hex()),
        "size": number(i64::try_from(facts.size).unwrap_or(i64::MAX)),
        "digest_confirmed": flag(facts.digest_confirmed),
        "evidence_verified": by_state(|s| matches!(s, EvidenceState::Verified { .. })),
        "evidence_absent": by_state(|s| matches!(s, EvidenceState::Absent)),
        "evidence_unreachable": by_state(|s| matches!(s, EvidenceState::Unreachable { .. })),
        "evidence_invalid": by_state(|s| matches!(s, EvidenceState::Invalid { .. })),
        "has_provenance": flag(has_provenance(facts)),
        "signers": claims(|c| Some(&c.signer)),
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
