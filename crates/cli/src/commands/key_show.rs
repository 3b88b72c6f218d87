//! How keys are shown.

use crate::context::{Failed, now};
use crate::print;
use countersign_engine::signing::key::{KeyState, SigningKey, named};
use serde_json::{Value, json};

fn as_json(k: &SigningKey) -> Value {
    json!({
        "name": k.name,
        "id": k.id(),
        "algorithm": k.public.algorithm().name(),
        "state": k.state(now()),
        "public": k.public.to_pem(),
        "holder": k.holder.to_string(),
        "notBefore": k.not_before,
        "notAfter": k.not_after,
        "revoked": k.revoked.as_ref().map(|(since, reason)| json!({"since": since, "reason": reason})),
        "replaces": k.replaces,
        "ledgerIndex": k.index,
    })
}

/// All keys, a line each.
pub fn list(keys: &[SigningKey], as_data: bool) -> Result<u8, Failed> {
    if as_data {
        let all: Vec<Value> = keys.iter().map(as_json).collect();
        print::line(&serde_json::to_string_pretty(&all).map_err(Failed::internal)?);
        return Ok(0);
    }
    if keys.is_empty() {
        print::line("no signing keys; make one with `countersign key generate NAME`");
    }
    let width = keys.iter().map(|k| k.name.len()).max().unwrap_or_default();
    for k in keys {
        let until = match (&k.revoked, k.not_after) {
            (Some((since, reason)), _) => format!("since {since}: {reason}"),
            (None, Some(end)) => format!("until {end}"),
            (None, None) => String::new(),
        };
        let line = format!(
            "{:<width$}  {:<7}  {:<10}  {}…  {:<8}  {until}",
            k.name,
            k.state(now()).to_string(),
            k.public.algorithm().name(),
            short(k),
            k.holder.to_string().split(':').next().unwrap_or_default(),
        );
        print::line(line.trim_end());
    }
    Ok(0)
}

fn short(k: &SigningKey) -> String {
    k.id().chars().take("sha256:".len() + 12).collect()
}

/// One key, or all of one name.
pub fn show(keys: &[SigningKey], wanted: &str, pem: bool, as_data: bool) -> Result<u8, Failed> {
    let mut found = named(keys, wanted);
    if found.is_empty() {
        return Err(Failed::usage(format!(
            "there is no key `{wanted}`; `countersign key list` shows all"
        )));
    }
    if as_data {
        let all: Vec<Value> = found.iter().map(|k| as_json(k)).collect();
        print::line(&serde_json::to_string_pretty(&all).map_err(Failed::internal)?);
        return Ok(0);
    }
    if pem {
        // What signs now is what others are to be given.
        found.sort_by_key(|k| (k.state(now()) == KeyState::Active, k.not_before, k.index));
        let text = found.last().map(|k| k.public.to_pem()).unwrap_or_default();
        print::line(text.trim_end());
        return Ok(0);
    }
    for k in &found {
        one(k);
    }
    configuration(wanted_name(&found));
    Ok(0)
}

fn wanted_name<'k>(found: &[&'k SigningKey]) -> &'k str {
    found.first().map_or("", |k| k.name.as_str())
}

fn one(k: &SigningKey) {
    let ends = k.not_after.map_or_else(|| "has no end".to_owned(), |end| format!("until {end}"));
    print::line(&format!("{} ({})", k.name, k.state(now())));
    print::line(&format!("  id         {}", k.id()));
    print::line(&format!("  algorithm  {}", k.public.algorithm()));
    print::line(&format!("  kept in    {}", k.holder));
    print::line(&format!("  signs      from {}, {ends}", k.not_before));
    if let Some((since, reason)) = &k.revoked {
        print::line(&format!("  revoked    as of {since}: {reason}"));
    }
    if let Some(before) = &k.replaces {
        print::line(&format!("  replaces   {before}"));
    }
    print::line(&format!("  since      ledger entry {}", k.index));
    for line in k.public.to_pem().lines() {
        print::line(&format!("  {line}"));
    }
}

/// What was just added, under a name that is new.
pub fn added(k: &SigningKey) {
    taken_up(k);
    configuration(&k.name);
}

/// What was just added.
pub fn taken_up(k: &SigningKey) {
    print::line(&format!("{}: {} key {} ({})", k.name, k.public.algorithm(), k.id(), k.holder));
    print::line(&format!("  ledger entry {}; others verify with the public half:", k.index));
    for line in k.public.to_pem().lines() {
        print::line(&format!("  {line}"));
    }
}

fn configuration(name: &str) {
    print::error_line(
        "For this gate to count what it signs as evidence, say what for, in countersign.toml:",
    );
    print::error_line(&format!(
        "  [[key]]\n  name = \"{name}\"\n  attests = [\"test-result\", \"vsa\"]  # or [\"*\"]\n  \
         packages = [\"pkg:pypi/acme-*\"]      # or [\"*\"]"
    ));
}
