//! `countersign waive`: a risk accepted for one version or file, by somebody, until a day.

use crate::args::WaiveArgs;
use crate::context::{Context, Failed, now};
use crate::print;
use countersign_core::Timestamp;
use countersign_engine::policy::WaiverTarget;
use countersign_engine::store::{Store, Waiver};

/// Runs `waive`.
pub async fn waive(context: &Context, args: WaiveArgs) -> Result<u8, Failed> {
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = made {
        print::error_line(&format!("countersign: {text}"));
    }
    if args.list {
        return list(&store).await;
    }
    if let Some(id) = &args.revoke {
        let owner = args.owner.clone().unwrap_or_else(current_user);
        let reason = args.reason.clone().unwrap_or_else(|| "revoked".to_owned());
        store.revoke_waiver(id, &owner, &reason, now()).await?;
        print::line(&format!("revoked {id}"));
        return Ok(0);
    }
    grant(&store, args).await
}

async fn grant(store: &Store, args: WaiveArgs) -> Result<u8, Failed> {
    let text = args.target.unwrap_or_default();
    let target: WaiverTarget = text.parse().map_err(Failed::usage)?;
    let reason = args
        .reason
        .filter(|r| !r.trim().is_empty())
        .ok_or_else(|| Failed::usage("a waiver needs a reason; give one with --reason"))?;
    if args.rule.is_empty() {
        return Err(Failed::usage(
            "a waiver names what it lifts; give --rule (a rule, reason or finding)",
        ));
    }
    let until = match (&args.until, args.days) {
        (Some(text), _) => Timestamp::parse(text)
            .ok_or_else(|| Failed::usage(format!("`{text}` is not an RFC 3339 time")))?,
        (None, Some(days)) => now().plus_seconds(i64::from(days) * 86_400),
        (None, None) => return Err(Failed::usage("a waiver needs an end; give --days or --until")),
    };
    if until <= now() {
        return Err(Failed::usage(format!("the end {until} is already past")));
    }
    for rule in args.rule {
        let id = new_id(&text, &rule);
        let waiver = Waiver {
            id: id.clone(),
            target: target.to_string().parse()?,
            rule: rule.clone(),
            reason: reason.clone(),
            owner: args.owner.clone().unwrap_or_else(current_user),
            created: now(),
            until,
        };
        let recorded = store.add_waiver(waiver).await?;
        print::line(&format!(
            "{id}: {rule} is waived for {target} until {until} (ledger entry {})",
            recorded.index()
        ));
    }
    Ok(0)
}

fn new_id(target: &str, rule: &str) -> String {
    let text = format!("{target} {rule} {}", jiff::Timestamp::now().as_nanosecond());
    format!("W-{}", countersign_core::Sha256Digest::of(text.as_bytes()).short())
}

/// The user who runs the command.
pub fn current_user() -> String {
    std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .unwrap_or_else(|_| "unknown".to_owned())
}

async fn list(store: &Store) -> Result<u8, Failed> {
    let all = store.waivers().await?;
    if all.is_empty() {
        print::line("no waivers");
    }
    for w in all {
        let state = if w.revoked.is_some() {
            "revoked"
        } else if w.is_active(now()) {
            "active"
        } else {
            "ended"
        };
        let v = &w.waiver;
        print::line(&format!(
            "{}  {state:<7}  until {}  {}  {}  by {}: {}",
            v.id,
            v.until.date(),
            v.rule,
            v.target,
            v.owner,
            v.reason
        ));
    }
    Ok(0)
}
