//! From the files of a folder to a checked policy set.

use crate::algorithms::{ALGORITHMS_FILE, AlgorithmTable};
use crate::annotation::{ACTIONS, Effect, RawRule, RuleInfo};
use crate::disclosure::{DISCLOSURE_FILE, Disclosure};
use crate::error::{PolicyError, PolicyFile};
use crate::settings::{OwnSettings, SETTINGS_FILE, Settings};
use crate::shipped::{SCHEMA, SHIPPED_SETS, shipped_files};
use crate::spelling::advice;
use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    ActionConstraint, Authorizer, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, Schema,
    ValidationMode, ValidationWarning, Validator,
};
use countersign_core::Sha256Digest;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::str::FromStr;
use std::sync::LazyLock;

/// The largest policy file that is read, in bytes; the parser's time grows with it.
const MAX_FILE: usize = 1 << 20;

/// The most policies in a set; every decision asks each of them.
const MAX_POLICIES: usize = 2000;

/// A checked set of policies with its settings: what judges.
#[derive(Debug)]
pub struct PolicySet {
    name: String,
    settings: Settings,
    algorithms: AlgorithmTable,
    rules: Vec<RuleInfo>,
    by_id: HashMap<String, usize>,
    warnings: Vec<PolicyError>,
    disclosure: Disclosure,
    digest: Sha256Digest,
    pub(crate) digest_text: String,
    pub(crate) tolerate: ActionPolicies,
    pub(crate) resolve: ActionPolicies,
    pub(crate) install: ActionPolicies,
    pub(crate) vocabulary: &'static Vocabulary,
    pub(crate) authorizer: Authorizer,
}

/// The policies of one action. Permits and forbids are asked apart, so that a hold never hides
/// that no permit matched.
#[derive(Debug, Default)]
pub(crate) struct ActionPolicies {
    pub(crate) permits: cedar_policy::PolicySet,
    pub(crate) forbids: cedar_policy::PolicySet,
}

/// The schema and its names, parsed once.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    pub(crate) gate: EntityUid,
    pub(crate) finding: EntityTypeName,
    pub(crate) version: EntityTypeName,
    pub(crate) artifact: EntityTypeName,
    pub(crate) tolerate: EntityUid,
    pub(crate) resolve: EntityUid,
    pub(crate) install: EntityUid,
}

static VOCABULARY: LazyLock<Result<Vocabulary, String>> = LazyLock::new(|| {
    let (schema, _warnings) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|e| DetailedError::from(&e).message)?;
    let ty = |name: &str| EntityTypeName::from_str(name).map_err(|e| e.to_string());
    let entity = |name: &str, id: &str| {
        ty(name).map(|ty| EntityUid::from_type_name_and_id(ty, EntityId::new(id)))
    };
    Ok(Vocabulary {
        schema,
        gate: entity("Gate", "countersign")?,
        finding: ty("Finding")?,
        version: ty("Version")?,
        artifact: ty("Artifact")?,
        tolerate: entity("Action", "tolerate")?,
        resolve: entity("Action", "resolve")?,
        install: entity("Action", "install")?,
    })
});

impl PolicySet {
    /// Loads the set called `name` from the files of its folder: `*.cedar`, `policy.toml` for its
    /// settings and the shipped set that it extends, and `algorithms.toml`; `disclosure.cedar` says who
    /// may see the ledger's entries ([`PolicySet::disclosure`]). Files below `tests/` and `*.md` are
    /// not read.
    ///
    /// # Errors
    /// All mistakes that could be found, with their places: a file of another kind, text that is
    /// no Cedar or no TOML, names that the schema does not have, misspelt annotations, two rules
    /// with one id, a policy that can never match, a set without policies.
    pub fn load(name: &str, files: Vec<PolicyFile>) -> Result<Self, Vec<PolicyError>> {
        let own = Layer::new(files, false)?;
        build(name, own)
    }

    /// A set that comes with the gate: `audit`, `baseline` or `strict`.
    ///
    /// # Errors
    /// When no set of that name comes with the gate.
    pub fn shipped(name: &str) -> Result<Self, Vec<PolicyError>> {
        let files = shipped_files(name).ok_or_else(|| {
            let e = PolicyError::whole(name, format!("no policy set `{name}` is shipped"));
            vec![e.help(advice(name, &SHIPPED_SETS))]
        })?;
        build(name, Layer::new(files, true)?)
    }

    /// The set's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings that it judges by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which algorithms it holds to be too weak.
    #[must_use]
    pub fn algorithms(&self) -> &AlgorithmTable {
        &self.algorithms
    }

    /// SHA-256 over the schema, the settings and all policy files with their names, also those of
    /// the sets that it extends: equal digests judge alike.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Who may see what the ledger's entries say: the folder's `disclosure.cedar`, or the one that comes
    /// with the gate. No part of the set's digest: no verdict depends on it.
    #[must_use]
    pub fn disclosure(&self) -> &Disclosure {
        &self.disclosure
    }

    /// All policies: those of the extended sets first, then by file and line.
    #[must_use]
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    /// The policy of that id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&RuleInfo> {
        self.by_id.get(id).and_then(|i| self.rules.get(*i))
    }

    /// What looks wrong and still has a meaning, such as a name of letters from two scripts.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyError] {
        &self.warnings
    }
}

/// The files of one folder, sorted by name.
struct Layer {
    shipped: bool,
    own: OwnSettings,
    algorithms: AlgorithmTable,
    /// `policy.toml`, `algorithms.toml` and the policies.
    files: Vec<PolicyFile>,
    /// `disclosure.cedar`.
    disclosure: Option<PolicyFile>,
}

impl Layer {
    fn new(files: Vec<PolicyFile>, shipped: bool) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Vec::new();
        let mut layer = Self {
            shipped,
            own: OwnSettings::default(),
            algorithms: AlgorithmTable::default(),
            files: Vec::new(),
            disclosure: None,
        };
        let mut names = BTreeSet::new();
        for file in files {
            if file.name.starts_with("tests/") || file.name.ends_with(".md") {
                continue;
            }
            let table = layer.is_named(&file.name, ALGORITHMS_FILE);
            let settings = layer.is_named(&file.name, SETTINGS_FILE);
            if !names.insert(file.name.clone()) {
                errors.push(PolicyError::whole(&file.name, "the file is given twice"));
            } else if !settings && !table && !file.name.ends_with(".cedar") {
                errors.push(not_a_policy_file(&file.name));
            } else if file.text.len() > MAX_FILE {
                let message = format!("the file is larger than {MAX_FILE} bytes");
                errors.push(PolicyError::whole(&file.name, message).help("split it"));
            } else {
                if settings {
                    match OwnSettings::parse(&file) {
                        Ok(own) => layer.own = own,
                        Err(more) => errors.extend(more),
                    }
                }
                if table {
                    match AlgorithmTable::parse(&file) {
                        Ok(own) => layer.algorithms = own,
                        Err(more) => errors.extend(more),
                    }
                }
                if file.name == DISCLOSURE_FILE && !shipped {
                    layer.disclosure = Some(file);
                } else {
                    layer.files.push(file);
                }
            }
        }
        layer.files.sort_by(|a, b| a.name.cmp(&b.name));
        if errors.is_empty() { Ok(layer) } else { Err(errors) }
    }

    /// Whether `name` is that file of the folder itself.
    fn is_named(&self, name: &str, wanted: &str) -> bool {
        match name.rsplit_once('/') {
            None => name == wanted,
            Some((_, last)) => self.shipped && last == wanted,
        }
    }

    fn policies(&self) -> impl Iterator<Item = &PolicyFile> {
        self.files.iter().filter(|f| f.name.ends_with(".cedar"))
    }
}

fn not_a_policy_file(name: &str) -> PolicyError {
    let misplaced = |file: &&str| name.ends_with(&format!("/{file}"));
    if let Some(file) = [SETTINGS_FILE, ALGORITHMS_FILE].iter().find(|f| misplaced(f)) {
        let message = format!("`{file}` is read in the folder itself only");
        return PolicyError::whole(name, message).help("move it up");
    }
    PolicyError::whole(name, "neither a policy (`*.cedar`) nor `policy.toml` or `algorithms.toml`")
        .help("rename it, move it to `tests/`, or take it out: a rule in it would never fire")
}

/// The layers from the innermost set that is extended to the folder itself.
fn layers(own: Layer) -> Result<Vec<Layer>, Vec<PolicyError>> {
    let mut layers = vec![own];
    // Shipped sets extend each other without a circle; the bound is for whoever changes them.
    for _ in 0..=SHIPPED_SETS.len() {
        let Some(base) = layers.last().and_then(|l| l.own.extends) else { break };
        layers.push(Layer::new(shipped_files(base).unwrap_or_default(), true)?);
    }
    // A set that stands alone and says nothing of algorithms judges them as `baseline` does.
    if !layers.iter().any(|l| l.files.iter().any(|f| l.is_named(&f.name, ALGORITHMS_FILE))) {
        let mut files = shipped_files("baseline").unwrap_or_default();
        files.retain(|f| f.name.ends_with(ALGORITHMS_FILE));
        layers.push(Layer::new(files, true)?);
    }
    layers.reverse();
    Ok(layers)
}

fn build(name: &str, own: Layer) -> Result<PolicySet, Vec<PolicyError>> {
    let vocabulary = VOCABULARY
        .as_ref()
        .map_err(|message| vec![PolicyError::whole("countersign.cedarschema", message.clone())])?;
    let layers = layers(own)?;
    let mut settings = Settings::default();
    let mut algorithms = AlgorithmTable::default();
    let mut loaded = Loaded::default();
    for layer in &layers {
        layer.own.apply(&mut settings);
        algorithms.overlay(&layer.algorithms);
        for file in layer.policies() {
            loaded.add_file(file, layer.shipped);
        }
    }
    if loaded.rules.is_empty() && loaded.errors.is_empty() {
        let e = PolicyError::whole(name, "the set holds no policies and would refuse everything");
        loaded.errors.push(e.help("write `extends = \"baseline\"` in `policy.toml`"));
    }
    let files: Vec<&PolicyFile> = layers.iter().flat_map(|l| &l.files).collect();
    loaded.validate(vocabulary, &files);
    let disclosure = match layers.iter().rev().find_map(|l| l.disclosure.as_ref()) {
        Some(file) => Disclosure::parse(file),
        None => Disclosure::shipped(),
    };
    let disclosure = match (disclosure, loaded.errors.is_empty()) {
        (Ok(disclosure), true) => disclosure,
        (Ok(_), false) => return Err(loaded.errors),
        (Err(more), _) => return Err([loaded.errors, more].concat()),
    };
    let digest = digest(&settings, &files);
    Ok(PolicySet {
        name: name.to_owned(),
        tolerate: loaded.of_action("tolerate")?,
        resolve: loaded.of_action("resolve")?,
        install: loaded.of_action("install")?,
        by_id: loaded.rules.iter().enumerate().map(|(i, r)| (r.id.clone(), i)).collect(),
        rules: loaded.rules,
        warnings: loaded.warnings,
        disclosure,
        settings,
        algorithms,
        digest,
        digest_text: digest.to_hex(),
        vocabulary,
        authorizer: Authorizer::new(),
    })
}

fn digest(settings: &Settings, files: &[&PolicyFile]) -> Sha256Digest {
    let mut all = Vec::new();
    // Each part goes in with its length before it, so that no two sets read alike.
    let mut add = |part: &str| {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part.as_bytes());
    };
    add(SCHEMA);
    add(&settings.canonical());
    for file in files {
        add(&file.name);
        add(&file.text);
    }
    Sha256Digest::of(&all)
}

/// What has been read so far, with what is wrong with it.
#[derive(Default)]
struct Loaded {
    rules: Vec<RuleInfo>,
    spans: Vec<Range<usize>>,
    policies: Vec<Policy>,
    warnings: Vec<PolicyError>,
    errors: Vec<PolicyError>,
}

impl Loaded {
    fn add_file(&mut self, file: &PolicyFile, shipped: bool) {
        let set = match cedar_policy::PolicySet::from_str(&file.text) {
            Ok(set) => set,
            Err(e) => {
                let all = e.iter().map(|e| located(file, None, &DetailedError::from(e)));
                self.errors.extend(all);
                return;
            }
        };
        if let Some(template) = set.templates().next() {
            let at = template.as_ref().loc().map_or(0, |l| l.start());
            let e = PolicyError::at(&file.name, &file.text, at, "a policy with `?` slots");
            self.errors.push(e.help("write the entity out: slots are never filled here"));
        }
        let mut policies: Vec<(Range<usize>, &Policy)> = set
            .policies()
            .map(|p| (p.as_ref().loc().map_or(0..0, |l| l.start()..l.end()), p))
            .collect();
        policies.sort_by_key(|(span, _)| span.start);
        for (span, policy) in policies {
            self.add_policy(file, shipped, span, policy);
        }
    }

    fn add_policy(
        &mut self,
        file: &PolicyFile,
        shipped: bool,
        span: Range<usize>,
        policy: &Policy,
    ) {
        let effect = match policy.effect() {
            cedar_policy::Effect::Permit => Effect::Permit,
            cedar_policy::Effect::Forbid => Effect::Forbid,
        };
        let annotations = policy.as_ref().annotations().map(|(key, value)| {
            let at = value.loc.as_ref().map_or(span.clone(), |l| l.start()..l.end());
            (key.to_string(), value.val.to_string(), at)
        });
        let raw = RawRule {
            file,
            shipped,
            effect,
            actions: actions(policy),
            annotations: annotations.collect(),
            span: span.clone(),
        };
        let rule = raw.check(&mut self.errors);
        if let Some(first) = self.rules.iter().find(|r| r.id == rule.id) {
            let message = format!("the id `{}` is taken", rule.id);
            let e = PolicyError::at(&file.name, &file.text, span.start, message);
            self.errors
                .push(e.help(format!("it is at {}:{}; choose another", first.file, first.line)));
        } else if self.rules.len() == MAX_POLICIES {
            let message = format!("the set holds more than {MAX_POLICIES} policies");
            self.errors.push(PolicyError::at(&file.name, &file.text, span.start, message));
        } else if self.rules.len() < MAX_POLICIES {
            self.policies.push(policy.new_id(PolicyId::new(&rule.id)));
            self.rules.push(rule);
            self.spans.push(span);
        }
    }

    /// Checks all policies against the schema.
    fn validate(&mut self, vocabulary: &Vocabulary, files: &[&PolicyFile]) {
        let set = match cedar_policy::PolicySet::from_policies(self.policies.iter().cloned()) {
            Ok(set) => set,
            Err(e) => {
                self.errors.push(PolicyError::whole("policies", e.to_string()));
                return;
            }
        };
        let result =
            Validator::new(vocabulary.schema.clone()).validate(&set, ValidationMode::Strict);
        // A policy is checked once for each kind of resource; one report of each place is enough.
        let mut seen: BTreeSet<(String, usize, usize)> = BTreeSet::new();
        let mut found: Vec<(PolicyError, bool)> = result
            .validation_errors()
            .map(|e| (self.in_rule(files, e.policy_id(), &DetailedError::from(e)), true))
            .collect();
        found.extend(result.validation_warnings().map(|w| {
            let never_matches = matches!(
                w,
                ValidationWarning::ImpossiblePolicy(_)
                    | ValidationWarning::InvalidActionApplication(_)
                    | ValidationWarning::BidiCharsInString(_)
                    | ValidationWarning::BidiCharsInIdentifier(_)
            );
            (self.in_rule(files, w.policy_id(), &DetailedError::from(w)), never_matches)
        }));
        found.sort_by_key(|(e, _)| (e.file.clone(), e.line, e.column));
        for (e, is_error) in found {
            if seen.insert((e.file.clone(), e.line, e.column)) {
                if is_error { &mut self.errors } else { &mut self.warnings }.push(e);
            }
        }
    }

    fn in_rule(&self, files: &[&PolicyFile], id: &PolicyId, e: &DetailedError) -> PolicyError {
        let id: &str = id.as_ref();
        let rule = self.rules.iter().zip(&self.spans).find(|(r, _)| r.id == id);
        let file = rule.and_then(|(r, _)| files.iter().find(|f| f.name == r.file));
        match (rule, file) {
            (Some((_, span)), Some(file)) => located(file, Some(span), e),
            _ => PolicyError::whole(id, e.message.clone()),
        }
    }

    /// The policies that an action asks.
    fn of_action(&self, action: &str) -> Result<ActionPolicies, Vec<PolicyError>> {
        let of = |effect: Effect| {
            let asked = self.rules.iter().zip(&self.policies);
            let asked = asked.filter(|(r, _)| r.effect == effect && r.actions.contains(&action));
            cedar_policy::PolicySet::from_policies(asked.map(|(_, p)| p.clone()))
                .map_err(|e| vec![PolicyError::whole("policies", e.to_string())])
        };
        Ok(ActionPolicies { permits: of(Effect::Permit)?, forbids: of(Effect::Forbid)? })
    }
}

/// The actions that a policy's scope lets through.
fn actions(policy: &Policy) -> Vec<&'static str> {
    let named = |uids: &[EntityUid]| {
        let has = |name: &str| uids.iter().any(|u| u.id().unescaped() == name);
        ACTIONS.into_iter().filter(|name| has(name)).collect()
    };
    match policy.action_constraint() {
        ActionConstraint::Any => ACTIONS.to_vec(),
        ActionConstraint::In(uids) => named(&uids),
        ActionConstraint::Eq(uid) => named(&[uid]),
    }
}

/// An error of Cedar's at its place in `file`, or at the start of the policy where it has none.
fn located(file: &PolicyFile, policy: Option<&Range<usize>>, e: &DetailedError) -> PolicyError {
    let label = e.source_locations.first();
    let at = label.map(|l| l.loc.start).or(policy.map(|p| p.start)).unwrap_or(0);
    let mut message = e.message.clone();
    if let Some(text) = label.and_then(|l| l.label.as_ref()) {
        message = format!("{message}: {text}");
    }
    let mut error = PolicyError::at(&file.name, &file.text, at, message);
    error.help = e.help.clone();
    error
}

#[cfg(test)]
mod tests;
