//! What configuration and command line say together, read and checked before anything starts.

use super::ServeArgs;
use crate::context::{Context, Failed};
use countersign_core::Ecosystem;
use countersign_engine::EvidenceSource;
use countersign_engine::config::{Config, Lists, ServeConfig, TokenConfig};
use countersign_engine::policy::PolicySet;
use std::collections::BTreeSet;
use std::path::Path;

/// All that the gateway starts with, and what of it can be read again while it runs.
pub struct Plan {
    /// The configuration, with what the command line says in its place.
    pub config: Config,
    /// Its lists.
    pub lists: Lists,
    /// The policy's name.
    pub policy_name: String,
    /// Where evidence is kept by digest.
    pub evidence: Vec<EvidenceSource>,
    /// All tokens, of the configuration and of its file.
    pub tokens: Vec<TokenConfig>,
}

impl Plan {
    /// Reads everything, the policy beside the rest; all that is wrong is said at once.
    pub fn read(context: &Context, args: &ServeArgs) -> Result<(Self, PolicySet), Failed> {
        let (config, lists) = settings(context, args)?;
        let mut faults = Vec::new();
        let mut keep = |failed: Failed| faults.push(failed.message);
        let policy_name = policy_name(&config, args);
        let policy = context.policy(&policy_name).map_err(&mut keep).ok();
        let tokens = tokens(&config.serve).map_err(&mut keep).ok();
        let evidence = evidence(&config, args).map_err(&mut keep).ok();
        if let Err(failed) = nameless(&config) {
            keep(failed);
        }
        match (policy, tokens, evidence) {
            (Some(policy), Some(tokens), Some(evidence)) if faults.is_empty() => {
                Ok((Self { config, lists, policy_name, evidence, tokens }, policy))
            }
            _ => Err(Failed::usage(faults.join("\n"))),
        }
    }
}

/// The configuration, with what the command line says in its place.
pub fn settings(context: &Context, args: &ServeArgs) -> Result<(Config, Lists), Failed> {
    let (mut config, lists) = context.config()?;
    if !args.listen.is_empty() {
        config.serve.listen.clone_from(&args.listen);
    }
    if let Some(url) = &args.public_url {
        config.serve.public_url = Some(url.clone());
    }
    Ok((config, lists))
}

/// The policy's name.
pub fn policy_name(config: &Config, args: &ServeArgs) -> String {
    let named = args.policy.clone().or_else(|| config.policy.clone());
    named.unwrap_or_else(|| "baseline".to_owned())
}

/// All tokens.
pub fn tokens(serve: &ServeConfig) -> Result<Vec<TokenConfig>, Failed> {
    let mut tokens = serve.tokens.clone();
    if let Some(file) = &serve.tokens_file {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|e| {
            Failed::usage(format!("`{shown}` cannot be read: {e}; correct `tokens-file`"))
        })?;
        tokens.extend(TokenConfig::parse_file(&shown, &text).map_err(Failed::usage)?);
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = tokens.iter().find(|t| !names.insert(t.name.clone())) {
        return Err(Failed::usage(format!(
            "the token of `{}` is in the configuration and in its tokens-file; keep one of them",
            twice.name
        )));
    }
    Ok(tokens)
}

/// Where evidence is kept by digest; folders must be there.
pub fn evidence(config: &Config, args: &ServeArgs) -> Result<Vec<EvidenceSource>, Failed> {
    let sources: Vec<EvidenceSource> =
        config.evidence.iter().chain(&args.evidence).cloned().collect();
    let missing: Vec<String> = sources
        .iter()
        .filter_map(EvidenceSource::missing)
        .map(|folder| shown(Path::new(&folder)))
        .collect();
    if missing.is_empty() {
        return Ok(sources);
    }
    Err(Failed::usage(format!("these evidence folders are not there: {}", missing.join(", "))))
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// A Debian repository is served below its name.
pub fn nameless(config: &Config) -> Result<(), Failed> {
    let nameless = |u: &&countersign_engine::config::UpstreamConfig| {
        u.ecosystem == Ecosystem::Debian && u.name.is_none()
    };
    match config.upstream.iter().find(nameless) {
        None => Ok(()),
        Some(u) => Err(Failed::usage(format!(
            "upstream `{}` has no name, and a Debian repository is served below its name; add name = \"debian\"",
            countersign_engine::shown_address(&u.url)
        ))),
    }
}
