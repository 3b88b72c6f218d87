//! `countersign policy`: check, explain, test, replay.

use crate::args::PolicyCommand;
use crate::context::{Context, Failed, read_policy_files};
use crate::print;
use countersign_engine::policy::{Effect, PolicyFile, RuleInfo, SHIPPED_SETS, run_tests};
use std::path::{Path, PathBuf};

/// Runs a policy subcommand.
pub async fn policy(context: &Context, command: PolicyCommand) -> Result<u8, Failed> {
    match command {
        PolicyCommand::Check { policy } => check(context, &policy),
        PolicyCommand::Explain { rule, policy } => explain(context, rule.as_deref(), &policy),
        PolicyCommand::Test { policy, files } => test(context, &policy, files),
        PolicyCommand::Replay(args) => super::replay::replay(context, &args).await,
    }
}

fn check(context: &Context, name: &str) -> Result<u8, Failed> {
    let set = context.policy(name)?;
    for warning in set.warnings() {
        print::error_line(&format!("warning: {warning}"));
    }
    let settings = set.settings();
    print::line(&format!(
        "{name}: {} rules, mode {}, cool-down {} h, digest {}",
        set.rules().len(),
        settings.mode.name(),
        settings.cool_down_hours,
        set.digest().short()
    ));
    Ok(0)
}

fn explain(context: &Context, rule: Option<&str>, name: &str) -> Result<u8, Failed> {
    let set = context.policy(name)?;
    match rule {
        None => {
            for r in set.rules() {
                let verdict = if r.effect == Effect::Permit {
                    "permit".to_owned()
                } else {
                    r.verdict.to_string()
                };
                print::line(&format!("{:<34} {:<8} {}", r.id, verdict, r.message));
            }
            Ok(0)
        }
        Some(id) => {
            let found = set.rule(id).ok_or_else(|| {
                Failed::usage(format!("`{id}` is no rule of {name}; `countersign policy explain --policy {name}` lists them"))
            })?;
            print_rule(found);
            Ok(0)
        }
    }
}

fn print_rule(r: &RuleInfo) {
    print::line(&r.id);
    if !r.message.is_empty() {
        print::line(&format!("  {}", r.message));
    }
    print::line(&format!("  applies to: {}", r.actions.join(", ")));
    if r.effect == Effect::Forbid {
        print::line(&format!("  verdict:    {}", r.verdict));
        print::line(&format!("  reason:     {} ({})", r.reason, r.reason.short()));
    }
    print::line(&format!(
        "  waivable:   {}",
        if r.waivable { "yes, with `countersign waive`" } else { "no" }
    ));
    print::line(&format!("  where:      {}:{}", r.file, r.line));
    print::line("");
    for l in r.text.lines() {
        print::line(&format!("  {l}"));
    }
}

/// The test cases in files and folders.
pub fn read_cases(files: &[PathBuf]) -> Result<Vec<PolicyFile>, Failed> {
    let mut cases: Vec<PolicyFile> = Vec::new();
    for file in files {
        if file.is_dir() {
            cases.extend(read_policy_files(file)?);
        } else {
            let text = std::fs::read_to_string(file)
                .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", file.display())))?;
            cases.push(PolicyFile::new(file.display().to_string(), text));
        }
    }
    Ok(cases)
}

fn test(context: &Context, name: &str, files: Vec<PathBuf>) -> Result<u8, Failed> {
    let set = context.policy(name)?;
    let files = if files.is_empty() {
        if SHIPPED_SETS.contains(&name) {
            return Err(Failed::usage(
                "name the test files of a shipped policy, or give a folder as the policy",
            ));
        }
        vec![Path::new(name).join("tests")]
    } else {
        files
    };
    let outcomes = run_tests(&set, &read_cases(&files)?);
    if outcomes.is_empty() {
        return Err(Failed::usage("there are no cases in these files"));
    }
    let mut failed = 0;
    for o in &outcomes {
        match &o.failure {
            None => print::line(&format!("ok    {}: {}", o.file, o.name)),
            Some(why) => {
                failed += 1;
                print::line(&format!("FAIL  {}: {}\n      {why}", o.file, o.name));
            }
        }
    }
    print::line(&format!("{} passed, {failed} failed", outcomes.len() - failed));
    Ok(u8::from(failed > 0))
}
