//! `countersign doctor`: what is there, and whether it works.

use crate::clients::{self, Command};
use crate::context::{Context, Failed, now};
use crate::print;
use countersign_core::Ecosystem;
use countersign_engine::Upstream;
use std::ffi::OsString;

/// One line of the diagnosis.
struct Line {
    area: &'static str,
    name: String,
    ok: Option<bool>,
    detail: String,
}

/// A harmless command of each client, by which it is recognised and asked.
const CLIENTS: [&[&str]; 12] = [
    &["pip", "install"],
    &["uv", "pip", "install", "pip"],
    &["uvx", "tool"],
    &["pipx", "install"],
    &["poetry", "install"],
    &["npm", "install"],
    &["npx", "thing"],
    &["pnpm", "install"],
    &["yarn", "install"],
    &["bun", "install"],
    &["cargo", "fetch"],
    &["apt-get", "install"],
];

/// Diagnoses. Exit code 1 when something that is configured does not work.
pub async fn doctor(context: &Context, json: bool) -> Result<u8, Failed> {
    let mut lines = Vec::new();
    for words in CLIENTS {
        diagnose_client(words, &mut lines).await?;
    }
    let state = context.state.clone();
    let seen = tokio::task::spawn_blocking(move || super::setup::survey::survey(&state));
    for s in seen.await.map_err(Failed::internal)? {
        lines.push(Line { area: s.area, name: s.name, ok: s.ok, detail: s.detail });
    }
    diagnose_state(context, &mut lines).await;
    if json {
        let all: Vec<_> = lines
            .iter()
            .map(|l| serde_json::json!({"area": l.area, "name": l.name, "ok": l.ok, "detail": l.detail}))
            .collect();
        print::line(&serde_json::Value::from(all).to_string());
    } else {
        for l in &lines {
            let mark = match l.ok {
                Some(true) => "ok  ",
                Some(false) => "FAIL",
                None => "-   ",
            };
            print::line(&format!("{mark}  {:<9} {:<14} {}", l.area, l.name, l.detail));
        }
    }
    Ok(u8::from(lines.iter().any(|l| l.ok == Some(false))))
}

async fn diagnose_client(words: &[&str], lines: &mut Vec<Line>) -> Result<(), Failed> {
    let name = words.first().copied().unwrap_or_default().to_owned();
    let os: Vec<OsString> = words.iter().map(OsString::from).collect();
    let Some(path) = os.first().and_then(|p| clients::probe::which(p)) else {
        lines.push(Line { area: "client", name, ok: None, detail: "not installed".to_owned() });
        return Ok(());
    };
    let command = Command::detect(&os).map_err(Failed::internal)?;
    let asked =
        tokio::task::spawn_blocking(move || clients::ask(&command, &mut clients::probe::NoMemory))
            .await
            .map_err(Failed::internal)?;
    match asked {
        Err(e) => lines.push(Line { area: "client", name, ok: Some(false), detail: e }),
        Ok(asked) => {
            lines.push(Line {
                area: "client",
                name: name.clone(),
                ok: Some(true),
                detail: path.display().to_string(),
            });
            for seed in &asked.upstreams {
                let detail = countersign_engine::shown_address(&seed.address);
                let Some(upstream) = Upstream::new(seed.ecosystem, &seed.address) else {
                    lines.push(Line {
                        area: "upstream",
                        name: name.clone(),
                        ok: Some(false),
                        detail: format!("{detail}: is no http address"),
                    });
                    continue;
                };
                // Debian's root answers differently from mirror to mirror; its lists say more.
                let url = match seed.ecosystem {
                    Ecosystem::Cargo => upstream.base.join("config.json").unwrap_or(upstream.base),
                    _ => upstream.base,
                };
                let (ok, more) = match countersign_engine::reach(&url).await {
                    Ok(status) => (Some(true), format!("answers {status}")),
                    // Some clients bring registries for single scopes, which nobody need use.
                    Err(e) => (Some(false).filter(|_| !seed.explicit), e),
                };
                lines.push(Line {
                    area: "upstream",
                    name: name.clone(),
                    ok,
                    detail: format!("{detail}  {more}"),
                });
            }
            for (what, why, _) in &asked.doors {
                lines.push(Line {
                    area: "side door",
                    name: name.clone(),
                    ok: None,
                    detail: format!("{what}: closed, {why}"),
                });
            }
        }
    }
    Ok(())
}

async fn diagnose_state(context: &Context, lines: &mut Vec<Line>) {
    let shown = context.state.display().to_string();
    match &context.config_file {
        None => lines.push(Line {
            area: "config",
            name: "defaults".into(),
            ok: Some(true),
            detail: "no countersign.toml".into(),
        }),
        Some(f) => {
            let (ok, detail) = match context.config() {
                Ok(_) => (true, f.display().to_string()),
                Err(e) => (false, e.message),
            };
            lines.push(Line { area: "config", name: "file".into(), ok: Some(ok), detail });
        }
    }
    if !context.state.join("store.sqlite").is_file() {
        lines.push(Line {
            area: "store",
            name: "none".into(),
            ok: None,
            detail: format!("{shown}: made by the first run, or by `countersign init`"),
        });
        return;
    }
    match context.open().await {
        Err(e) => lines.push(Line {
            area: "store",
            name: "store".into(),
            ok: Some(false),
            detail: e.message,
        }),
        Ok(store) => {
            lines.push(Line { area: "store", name: "store".into(), ok: Some(true), detail: shown });
            let key = store.verifier_key().map(ToString::to_string);
            lines.push(Line {
                area: "key",
                name: "ledger".into(),
                ok: Some(key.is_some()),
                detail: key.unwrap_or_else(|| "no key; make one with `countersign init`".into()),
            });
            match store.fsck(true).await {
                Ok(r) if r.is_clean() => lines.push(Line {
                    area: "ledger",
                    name: "quick check".into(),
                    ok: Some(true),
                    detail: format!("{} entries", r.entries),
                }),
                Ok(r) => lines.push(Line {
                    area: "ledger",
                    name: "quick check".into(),
                    ok: Some(false),
                    detail: r.problems.join("; "),
                }),
                Err(e) => lines.push(Line {
                    area: "ledger",
                    name: "quick check".into(),
                    ok: Some(false),
                    detail: e.to_string(),
                }),
            }
            diagnose_feeds(context, &store, lines).await;
        }
    }
}

async fn diagnose_feeds(
    context: &Context,
    store: &countersign_engine::store::Store,
    lines: &mut Vec<Line>,
) {
    match context.feeds(store, &[]).await {
        Err(e) => lines.push(Line {
            area: "feed",
            name: "feeds".into(),
            ok: Some(false),
            detail: e.message,
        }),
        Ok(None) => lines.push(Line {
            area: "feed",
            name: "none".into(),
            ok: None,
            detail: "nothing is known to be vulnerable or malicious; `countersign feed add …`"
                .into(),
        }),
        Ok(Some(feeds)) => {
            for s in &feeds.meta().sources {
                let age = s.newest_modified.map_or_else(
                    || "age unknown".to_owned(),
                    |t| format!("newest {} days old", now().hours_since(t) / 24),
                );
                lines.push(Line {
                    area: "feed",
                    name: s.name.clone(),
                    ok: Some(s.unreadable == 0),
                    detail: format!("{} records, {age}, {} unreadable", s.records, s.unreadable),
                });
            }
        }
    }
}
