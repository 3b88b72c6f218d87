//! Who may see what a ledger's entries say (action `disclose`).
//!
//! The policies are in a file of their own, `disclosure.cedar`, with a schema of their own: they judge
//! readers, and no artifact's verdict depends on them, so they are no part of a policy set's digest.

use crate::error::{PolicyError, PolicyFile};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use countersign_core::Sha256Digest;
use std::collections::{HashMap, HashSet};
use std::str::FromStr;

/// The name of the file in a policy folder.
pub const DISCLOSURE_FILE: &str = "disclosure.cedar";

/// The schema that disclosure policies are checked against.
pub const DISCLOSURE_SCHEMA: &str = include_str!("../../../policies/disclosure.cedarschema");

/// The disclosure policy of a set that brings none.
const SHIPPED: &str = include_str!("../../../policies/disclosure.cedar");

/// Most pointers that one policy takes out.
const MAX_POINTERS: usize = 64;

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Everybody.
    Public,
    /// Whoever audits the gate.
    Auditor,
    /// Whoever runs it.
    Owner,
}

impl Reader {
    /// The id of its role.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Auditor => "auditor",
            Self::Owner => "owner",
        }
    }
}

/// What a disclosure policy may ask about an entry. A text that does not apply is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryFacts {
    /// The short name of its kind.
    pub kind: String,
    /// The verdict of a decision.
    pub verdict: String,
    /// The ecosystem of the version that it is about.
    pub ecosystem: String,
    /// The name of the package.
    pub name: String,
    /// The purl of the version.
    pub purl: String,
    /// Whole days since it was recorded.
    pub age_days: i64,
}

/// What of an entry may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disclosed {
    /// That it exists: its commitment.
    Nothing,
    /// Its statement without these members (JSON pointers, in which `*` stands for every member).
    Redacted(Vec<String>),
    /// Its statement.
    Clear,
}

/// A checked disclosure policy.
#[derive(Debug)]
pub struct Disclosure {
    policies: PolicySet,
    redactions: HashMap<String, Vec<String>>,
    digest: Sha256Digest,
    schema: Schema,
    role: EntityTypeName,
    entry: EntityTypeName,
    action: EntityUid,
}

impl Disclosure {
    /// The policy that comes with the gate.
    ///
    /// # Errors
    /// Never, unless the program was built from a broken one.
    pub fn shipped() -> Result<Self, Vec<PolicyError>> {
        Self::parse(&PolicyFile::new(DISCLOSURE_FILE, SHIPPED))
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// All mistakes that could be found: no Cedar, names that the schema does not have, a pointer that
    /// is none.
    pub fn parse(file: &PolicyFile) -> Result<Self, Vec<PolicyError>> {
        let whole = |message: String| vec![PolicyError::whole(&file.name, message)];
        let (schema, _) = Schema::from_cedarschema_str(DISCLOSURE_SCHEMA)
            .map_err(|e| whole(DetailedError::from(&e).message))?;
        let policies = PolicySet::from_str(&file.text).map_err(|e| {
            e.iter().map(|e| located(file, 0, &DetailedError::from(e))).collect::<Vec<_>>()
        })?;
        if policies.templates().next().is_some() {
            return Err(whole("a policy with `?` slots: they are never filled here".into()));
        }
        let mut errors = Vec::new();
        let checked = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        let start = |id: &cedar_policy::PolicyId| {
            policies.policy(id).and_then(|p| p.as_ref().loc().map(|l| l.start())).unwrap_or(0)
        };
        for e in checked.validation_errors() {
            errors.push(located(file, start(e.policy_id()), &DetailedError::from(e)));
        }
        let mut redactions = HashMap::new();
        for policy in policies.policies() {
            let at = start(policy.id());
            match pointers(policy.annotation("redact").unwrap_or_default()) {
                Ok(list) if policy.effect() == Effect::Forbid && !list.is_empty() => {
                    let message = "a forbid hides the whole statement; @redact belongs to a permit";
                    errors.push(PolicyError::at(&file.name, &file.text, at, message));
                }
                Ok(list) => drop(redactions.insert(policy.id().to_string(), list)),
                Err(message) => {
                    errors.push(PolicyError::at(&file.name, &file.text, at, message));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let ty = |name: &str| EntityTypeName::from_str(name).map_err(|e| whole(e.to_string()));
        let action = EntityUid::from_type_name_and_id(ty("Action")?, EntityId::new("disclose"));
        let digest = Sha256Digest::of([DISCLOSURE_SCHEMA, "\0", &file.text].concat().as_bytes());
        let (role, entry) = (ty("Role")?, ty("Entry")?);
        Ok(Self { policies, redactions, digest, schema, role, entry, action })
    }

    /// The digest of schema and policy.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// What `reader` may see of an entry. What cannot be evaluated is not shown.
    #[must_use]
    pub fn decide(&self, reader: Reader, facts: &EntryFacts) -> Disclosed {
        self.evaluate(reader, facts).unwrap_or_else(|error| {
            debug_assert!(false, "{error}");
            Disclosed::Nothing
        })
    }

    fn evaluate(&self, reader: Reader, facts: &EntryFacts) -> Result<Disclosed, String> {
        let uid = |ty: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(id))
        };
        let (principal, resource) = (uid(&self.role, reader.name()), uid(&self.entry, "entry"));
        let text = |t: &str| RestrictedExpression::new_string(t.to_owned());
        let attributes = HashMap::from([
            ("kind".to_owned(), text(&facts.kind)),
            ("verdict".to_owned(), text(&facts.verdict)),
            ("ecosystem".to_owned(), text(&facts.ecosystem)),
            ("name".to_owned(), text(&facts.name)),
            ("purl".to_owned(), text(&facts.purl)),
            ("age_days".to_owned(), RestrictedExpression::new_long(facts.age_days)),
        ]);
        let entry = Entity::new(resource.clone(), attributes, HashSet::new());
        let entry = entry.map_err(|e| e.to_string())?;
        let entities = Entities::from_entities([entry], Some(&self.schema));
        let entities = entities.map_err(|e| e.to_string())?;
        let request = Request::new(
            principal,
            self.action.clone(),
            resource,
            Context::empty(),
            Some(&self.schema),
        );
        let request = request.map_err(|e| e.to_string())?;
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        // A forbid that could not be evaluated might have hidden it.
        if answer.decision() == Decision::Deny || answer.diagnostics().errors().next().is_some() {
            return Ok(Disclosed::Nothing);
        }
        let permits: Vec<&[String]> = answer
            .diagnostics()
            .reason()
            .map(|id| self.redactions.get(&id.to_string()).map_or(&[][..], Vec::as_slice))
            .collect();
        let removed = in_all(&permits);
        Ok(if removed.is_empty() { Disclosed::Clear } else { Disclosed::Redacted(removed) })
    }
}

/// What every permit takes out: what one of them shows is shown.
fn in_all(permits: &[&[String]]) -> Vec<String> {
    let covers = |outer: &str, inner: &str| {
        inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
    };
    let mut out: Vec<String> = permits
        .iter()
        .flat_map(|list| list.iter())
        .filter(|p| permits.iter().all(|list| list.iter().any(|o| covers(o, p))))
        .cloned()
        .collect();
    out.sort();
    out.dedup();
    out
}

/// The pointers of an annotation, apart by white space.
fn pointers(text: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if list.len() > MAX_POINTERS {
        return Err(format!("more than {MAX_POINTERS} members are taken out"));
    }
    match list.iter().find(|p| !p.starts_with("/predicate/") && !p.starts_with("/subject/")) {
        Some(bad) => Err(format!(
            "`{bad}` names no member of a predicate or subject; write /predicate/… or /subject/…"
        )),
        None => Ok(list),
    }
}

fn located(file: &PolicyFile, fallback: usize, e: &DetailedError) -> PolicyError {
    let at = e.source_locations.first().map_or(fallback, |l| l.loc.start);
    let mut error = PolicyError::at(&file.name, &file.text, at, e.message.clone());
    error.help = e.help.clone();
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kind: &str, verdict: &str) -> EntryFacts {
        EntryFacts { kind: kind.into(), verdict: verdict.into(), ..EntryFacts::default() }
    }

    fn parse(text: &str) -> Result<Disclosure, Vec<PolicyError>> {
        Disclosure::parse(&PolicyFile::new(DISCLOSURE_FILE, text))
    }

    #[test]
    fn the_shipped_policy_shows_the_public_no_decision() {
        let policy = Disclosure::shipped().unwrap();
        for kind in
            ["decision", "first-seen", "evidence", "scan", "waiver", "incident", "read", "x"]
        {
            let entry = facts(kind, "admit");
            assert_eq!(policy.decide(Reader::Public, &entry), Disclosed::Nothing, "{kind}");
            assert_eq!(policy.decide(Reader::Auditor, &entry), Disclosed::Clear, "{kind}");
            assert_eq!(policy.decide(Reader::Owner, &entry), Disclosed::Clear, "{kind}");
        }
        assert_eq!(policy.decide(Reader::Public, &facts("grounds", "")), Disclosed::Clear);
        let redacted = policy.decide(Reader::Public, &facts("feed", ""));
        assert_eq!(redacted, Disclosed::Redacted(vec!["/predicate/location".into()]));
    }

    #[test]
    fn what_one_permit_shows_is_shown_and_a_forbid_hides_all() {
        let policy = parse(
            r#"@redact("/predicate/a /predicate/b")
               permit (principal, action, resource);
               @redact("/predicate/b/c /predicate/d")
               permit (principal, action, resource) when { resource.kind == "waiver" };
               forbid (principal, action, resource) when { resource.age_days < 7 };
               permit (principal == Role::"owner", action, resource);"#,
        )
        .unwrap();
        let old = |kind: &str| EntryFacts { age_days: 9, ..facts(kind, "") };
        let of = |reader, entry: &EntryFacts| policy.decide(reader, entry);
        assert_eq!(
            of(Reader::Public, &old("scan")),
            Disclosed::Redacted(vec!["/predicate/a".into(), "/predicate/b".into()])
        );
        let both = Disclosed::Redacted(vec!["/predicate/b/c".into()]);
        assert_eq!(of(Reader::Public, &old("waiver")), both);
        assert_eq!(of(Reader::Owner, &old("waiver")), Disclosed::Clear);
        assert_eq!(of(Reader::Owner, &facts("waiver", "")), Disclosed::Nothing);
    }

    #[test]
    fn mistakes_are_found_when_the_policy_is_read() {
        for bad in [
            "permit (principal, action",
            "permit (principal, action, resource) when { resource.kin == \"scan\" };",
            "permit (principal == Gate::\"x\", action, resource);",
            "permit (principal == ?principal, action, resource);",
            "@redact(\"owner\") permit (principal, action, resource);",
            "@redact(\"/predicate/x\") forbid (principal, action, resource);",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        // Without a policy nobody sees anything.
        let empty = parse("").unwrap();
        assert_eq!(empty.decide(Reader::Owner, &facts("scan", "")), Disclosed::Nothing);
    }
}
