//! Judging: facts, waivers and a time in; a decision out. It never fails: what cannot be evaluated
//! is a refusal.

use crate::annotation::RuleInfo;
use crate::attributes::{self, Attributes, uid};
use crate::detail::{self, Judged};
use crate::load::{ActionPolicies, PolicySet};
use crate::settings::Mode;
use crate::waiver::{ActiveWaiver, Subject, waived_words};
use crate::{NO_PERMIT, POLICY_ERROR};
use cedar_policy::{AuthorizationError, Context, Entities, Entity, EntityUid, Request};
use countersign_core::{
    ArtifactFacts, Decision, Finding, FiredRule, ReasonCode, Sha256Digest, Timestamp, Verdict,
    VersionFacts,
};
use std::collections::HashSet;

/// What a decision depends on beside facts and waivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionContext {
    /// The time of the decision.
    pub now: Timestamp,
    /// The client that asks (`pip`, `npm`), or empty when it is not known.
    pub client: String,
    /// For [`PolicySet::decide_version`]: the digests that the index announces for the version's
    /// files. A waiver that is bound to one of them counts for the version, so that it is offered;
    /// each file is judged by its own digest later.
    pub index_digests: Vec<Sha256Digest>,
}

impl DecisionContext {
    /// A decision at `now` for no client in particular.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now, client: String::new(), index_digests: Vec::new() }
    }
}

/// Why policies could not be asked: the rule to name, and the words.
struct Unevaluated {
    rule: String,
    because: String,
}

impl Unevaluated {
    fn facts(e: impl std::fmt::Display) -> Self {
        Self { rule: POLICY_ERROR.to_owned(), because: format!("the facts could not be put: {e}") }
    }

    fn fired(self) -> FiredRule {
        FiredRule {
            detail: format!("policy `{}` could not be evaluated: {}", self.rule, self.because),
            rule: self.rule,
            verdict: Verdict::Refuse,
            reason: ReasonCode::PolicyError,
            until: None,
        }
    }
}

/// What the policies of one action said.
#[derive(Default)]
struct Answer {
    permitted: bool,
    forbids: Vec<String>,
    errors: Vec<Unevaluated>,
}

/// One thing to judge: a version, or an artifact and its version.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) version: &'a VersionFacts,
    pub(crate) artifact: Option<&'a ArtifactFacts>,
}

impl<'a> Case<'a> {
    fn findings(self) -> impl Iterator<Item = &'a Finding> + Clone {
        let of_bytes = self.artifact.map_or(&[][..], |a| &a.findings);
        self.version.findings.iter().chain(of_bytes)
    }
}

impl PolicySet {
    /// Whether policy tolerates `finding` on its own: false when it does not, or cannot say.
    ///
    /// `version` is the version that it is about, `sha256` the artifact's digest where it is about
    /// one.
    #[must_use]
    pub fn judge_finding(
        &self,
        finding: &Finding,
        version: &VersionFacts,
        sha256: Option<Sha256Digest>,
        waivers: &[ActiveWaiver],
        ctx: &DecisionContext,
    ) -> bool {
        let digests = sha256.map_or(ctx.index_digests.clone(), |d| vec![d]);
        let subject = Subject { purl: &version.purl, digests: &digests };
        let active: Vec<&ActiveWaiver> =
            waivers.iter().filter(|w| w.applies(subject, ctx.now)).collect();
        let words = waived_words(&active, std::iter::once(finding));
        attributes::context(self.settings(), ctx, &words)
            .map_err(Unevaluated::facts)
            .and_then(|context| self.tolerates(finding, version, context, ctx.now))
            .unwrap_or(false)
    }

    /// Judges a version by its metadata alone (action `resolve`).
    #[must_use]
    pub fn decide_version(
        &self,
        facts: &VersionFacts,
        waivers: &[ActiveWaiver],
        ctx: &DecisionContext,
    ) -> Decision {
        let subject = Subject { purl: &facts.purl, digests: &ctx.index_digests };
        self.decide(Case { version: facts, artifact: None }, subject, waivers, ctx)
    }

    /// Judges an artifact by all that is known about it (action `install`).
    #[must_use]
    pub fn decide_artifact(
        &self,
        facts: &ArtifactFacts,
        waivers: &[ActiveWaiver],
        ctx: &DecisionContext,
    ) -> Decision {
        let subject =
            Subject { purl: &facts.version.purl, digests: std::slice::from_ref(&facts.sha256) };
        self.decide(Case { version: &facts.version, artifact: Some(facts) }, subject, waivers, ctx)
    }

    fn decide(
        &self,
        case: Case<'_>,
        subject: Subject<'_>,
        waivers: &[ActiveWaiver],
        ctx: &DecisionContext,
    ) -> Decision {
        let active: Vec<&ActiveWaiver> =
            waivers.iter().filter(|w| w.applies(subject, ctx.now)).collect();
        let fired = self.fired(case, &active, ctx);
        let needed = self.needed(case, active, strictest(&fired), ctx);
        let audit = self.settings().mode == Mode::Audit;
        let mut decision = Decision::from_fired(fired, audit, self.digest_text.clone());
        decision.waivers = needed;
        decision
    }

    /// A smallest set of the waivers that gives the same verdict: each one in it is needed.
    fn needed(
        &self,
        case: Case<'_>,
        active: Vec<&ActiveWaiver>,
        verdict: Verdict,
        ctx: &DecisionContext,
    ) -> Vec<String> {
        let mut kept = active;
        if kept.is_empty() || strictest(&self.fired(case, &[], ctx)) <= verdict {
            return Vec::new();
        }
        let mut next = 0;
        while kept.len() > 1 && next < kept.len() {
            let out = kept.remove(next);
            if strictest(&self.fired(case, &kept, ctx)) > verdict {
                kept.insert(next, out);
                next += 1;
            }
        }
        kept.into_iter().map(|w| w.id.clone()).collect()
    }

    /// The rules that fire with these waivers in force.
    fn fired(
        &self,
        case: Case<'_>,
        waivers: &[&ActiveWaiver],
        ctx: &DecisionContext,
    ) -> Vec<FiredRule> {
        let words = waived_words(waivers, case.findings());
        let context = match attributes::context(self.settings(), ctx, &words) {
            Ok(context) => context,
            Err(e) => return vec![Unevaluated::facts(e).fired()],
        };
        let mut fired = Vec::new();
        let mut untolerated = Vec::new();
        for finding in case.findings() {
            match self.tolerates(finding, case.version, context.clone(), ctx.now) {
                Ok(true) => {}
                Ok(false) => untolerated.push(finding),
                Err(e) => {
                    untolerated.push(finding);
                    fired.push(e.fired());
                }
            }
        }
        let answer = self.ask(case, &untolerated, context, ctx);
        let judged = Judged {
            case,
            untolerated: &untolerated,
            settings: self.settings(),
            algorithms: self.algorithms(),
            now: ctx.now,
        };
        if !answer.permitted && answer.errors.is_empty() {
            fired.push(no_permit());
        }
        fired.extend(answer.errors.into_iter().map(Unevaluated::fired));
        fired.extend(answer.forbids.iter().map(|id| fire(self.rule(id), id, &judged)));
        // One policy that fails on many findings is one refusal.
        let mut seen = HashSet::new();
        fired.retain(|f| seen.insert(f.rule.clone()));
        fired
    }

    /// Asks the policies of the case's action.
    fn ask(
        &self,
        case: Case<'_>,
        untolerated: &[&Finding],
        context: Context,
        ctx: &DecisionContext,
    ) -> Answer {
        let v = self.vocabulary;
        let (resource, attributes, action, policies) = match case.artifact {
            None => (
                uid(&v.version, "this"),
                attributes::version(case.version, untolerated, ctx),
                &v.resolve,
                &self.resolve,
            ),
            Some(artifact) => (
                uid(&v.artifact, "this"),
                attributes::artifact(artifact, untolerated, self.algorithms(), ctx),
                &v.install,
                &self.install,
            ),
        };
        self.evaluate(policies, action, resource, attributes, context)
    }

    fn tolerates(
        &self,
        finding: &Finding,
        version: &VersionFacts,
        context: Context,
        now: Timestamp,
    ) -> Result<bool, Unevaluated> {
        let v = self.vocabulary;
        let resource = uid(&v.finding, &finding.id);
        let attributes = attributes::finding(finding, &version.purl, now);
        let answer = self.evaluate(&self.tolerate, &v.tolerate, resource, attributes, context);
        match answer.errors.into_iter().next() {
            Some(e) => Err(e),
            None => Ok(answer.permitted && answer.forbids.is_empty()),
        }
    }

    fn evaluate(
        &self,
        policies: &ActionPolicies,
        action: &EntityUid,
        resource: EntityUid,
        attributes: Attributes,
        context: Context,
    ) -> Answer {
        let put = || -> Result<(Request, Entities), String> {
            let entity = Entity::new(resource.clone(), attributes, HashSet::new());
            let entities = Entities::from_entities([entity.map_err(|e| e.to_string())?], None);
            let gate = self.vocabulary.gate.clone();
            // Not checked against the schema each time: the tests hold attributes and schema
            // together, and a gap would be an evaluation error, so a refusal.
            let request = Request::new(gate, action.clone(), resource, context, None);
            Ok((request.map_err(|e| e.to_string())?, entities.map_err(|e| e.to_string())?))
        };
        let (request, entities) = match put() {
            Ok(all) => all,
            Err(e) => {
                return Answer { errors: vec![Unevaluated::facts(e)], ..Answer::default() };
            }
        };
        let permits = self.authorizer.is_authorized(&request, &policies.permits, &entities);
        let forbids = self.authorizer.is_authorized(&request, &policies.forbids, &entities);
        let errors = permits.diagnostics().errors().chain(forbids.diagnostics().errors());
        Answer {
            permitted: permits.decision() == cedar_policy::Decision::Allow,
            errors: errors.map(unevaluated).collect(),
            forbids: forbids.diagnostics().reason().map(|id| id.to_string()).collect(),
        }
    }
}

fn unevaluated(e: &AuthorizationError) -> Unevaluated {
    match e {
        AuthorizationError::PolicyEvaluationError(e) => {
            Unevaluated { rule: e.policy_id().to_string(), because: e.inner().to_string() }
        }
    }
}

fn strictest(fired: &[FiredRule]) -> Verdict {
    fired.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Admit)
}

fn no_permit() -> FiredRule {
    FiredRule {
        rule: NO_PERMIT.to_owned(),
        verdict: Verdict::Refuse,
        reason: ReasonCode::Policy,
        detail: "no policy permits it".to_owned(),
        until: None,
    }
}

fn fire(rule: Option<&RuleInfo>, id: &str, judged: &Judged<'_>) -> FiredRule {
    match rule {
        Some(rule) => FiredRule {
            rule: rule.id.clone(),
            verdict: rule.verdict,
            reason: rule.reason,
            detail: detail::words(rule, judged),
            until: detail::until(rule, judged),
        },
        None => Unevaluated { rule: id.to_owned(), because: "the set does not hold it".to_owned() }
            .fired(),
    }
}

#[cfg(test)]
mod tests;
