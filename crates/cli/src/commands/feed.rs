//! `countersign feed`: where advisories come from and how old they are.

use crate::args::FeedCommand;
use crate::context::{Context, Failed, now};
use crate::print;
use countersign_engine::acts::{FeedChange, feed_changed};
use countersign_engine::feeds::Feeds;
use countersign_engine::store::{Feed, Store};
use std::path::{Path, PathBuf};

/// Where a feed's files lie on this machine.
pub fn place(state: &Path, feed: &Feed) -> PathBuf {
    if feed.location.starts_with("http://") || feed.location.starts_with("https://") {
        state.join("feeds/fetched").join(format!("{}.zip", feed.name))
    } else {
        PathBuf::from(&feed.location)
    }
}

/// Whether a feed is fetched from an address.
pub fn is_remote(feed: &Feed) -> bool {
    feed.location.starts_with("http")
}

/// Runs a feed subcommand.
pub async fn feed(context: &Context, command: FeedCommand) -> Result<u8, Failed> {
    if let FeedCommand::Index { folder, places } = command {
        Feeds::open(&folder, &places, now()).map_err(Failed::usage)?;
        return Ok(0);
    }
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = made {
        print::error_line(&format!("countersign: {text}"));
    }
    match command {
        FeedCommand::Add { location, name } => add(context, &store, &location, name).await,
        FeedCommand::Sync => {
            for feed in store.feeds().await? {
                if is_remote(&feed) {
                    fetch(context, &store, feed).await?;
                }
            }
            show(context, &store, false).await
        }
        FeedCommand::List(args) => show(context, &store, args.json).await,
        // Answered above, without a store.
        FeedCommand::Index { .. } => Ok(0),
        FeedCommand::Remove { name } => {
            let feed = store.feed(&name).await?;
            if store.remove_feed(&name).await? {
                if let Some(feed) = feed {
                    feed_changed(&store, &feed, FeedChange::Removed, now()).await?;
                }
                print::line(&format!("removed {name}"));
                return Ok(0);
            }
            Err(Failed::usage(format!(
                "there is no feed `{name}`; `countersign feed list` shows them"
            )))
        }
    }
}

async fn add(
    context: &Context,
    store: &Store,
    location: &str,
    name: Option<String>,
) -> Result<u8, Failed> {
    let remote = location.starts_with("http://") || location.starts_with("https://");
    let location = if remote {
        location.to_owned()
    } else {
        let path = std::path::absolute(location).map_err(Failed::usage)?;
        path.canonicalize()
            .map_err(|e| Failed::usage(format!("feed `{location}` cannot be read: {e}")))?
            .display()
            .to_string()
    };
    let name = name.unwrap_or_else(|| default_name(&location));
    let feed = Feed {
        name: name.clone(),
        location,
        kind: "osv".to_owned(),
        added: now(),
        last_synced: (!remote).then(now),
        sha256: None,
        etag: None,
    };
    if remote {
        fetch(context, store, feed).await?;
    } else {
        // A place that holds no feed is refused before it is configured.
        let (folder, place) = (context.state.join("feeds"), place(&context.state, &feed));
        let opened = tokio::task::spawn_blocking(move || Feeds::open(&folder, &[place], now()));
        opened.await.map_err(Failed::internal)?.map_err(Failed::usage)?;
        store.put_feed(&feed).await?;
        feed_changed(store, &feed, FeedChange::Added, now()).await?;
    }
    print::line(&format!("added {name}"));
    show(context, store, false).await
}

fn default_name(location: &str) -> String {
    let last = location.trim_end_matches('/').rsplit('/').next().unwrap_or("feed");
    last.trim_end_matches(".zip")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect()
}

/// Opens feeds; an index that has to be built first is built by a process of its own. Building takes
/// hundreds of megabytes, which a process that lives on would not give back.
pub async fn open_apart(folder: PathBuf, places: Vec<PathBuf>) -> Result<Option<Feeds>, String> {
    let look = {
        let (folder, places) = (folder.clone(), places.clone());
        move || Feeds::is_built(&folder, &places)
    };
    let built = tokio::task::spawn_blocking(look).await.map_err(|e| e.to_string())?;
    if !places.is_empty() && !built.map_err(|e| e.to_string())? {
        build_apart(&folder, &places).await?;
    }
    let open = move || Feeds::open(&folder, &places, now());
    let opened = tokio::task::spawn_blocking(open).await.map_err(|e| e.to_string())?;
    opened.map_err(|e| e.to_string())
}

async fn build_apart(folder: &Path, places: &[PathBuf]) -> Result<(), String> {
    // This very program, also when another version has taken its place on the disk since.
    let running = Path::new("/proc/self/exe");
    let own = match running.exists() {
        true => running.to_path_buf(),
        false => std::env::current_exe().map_err(|e| e.to_string())?,
    };
    let output = tokio::process::Command::new(own)
        .args(["feed", "index"])
        .arg(folder)
        .args(places)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| format!("the feeds' index cannot be built: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("countersign: ");
    Err(if said.is_empty() {
        format!("the feeds' index was not built: {}", output.status)
    } else {
        said.to_owned()
    })
}

/// Largest feed, in bytes.
const MAX_FEED: u64 = 2 << 30;

/// Fetches a feed with an address; whether there was something new. What was there stays until the
/// new one is whole and readable.
pub async fn fetch(context: &Context, store: &Store, feed: Feed) -> Result<bool, Failed> {
    let url = url::Url::parse(&feed.location).map_err(|e| {
        Failed::usage(format!("feed `{}`: its address cannot be read: {e}", feed.name))
    })?;
    let target = place(&context.state, &feed);
    let folder = target.parent().unwrap_or(&context.state).to_path_buf();
    std::fs::create_dir_all(&folder).map_err(Failed::internal)?;
    let staged = tempfile::Builder::new()
        .prefix(&format!(".{}.", feed.name))
        .suffix(".zip")
        .tempfile_in(&folder)
        .map_err(Failed::internal)?
        .into_temp_path();
    let etag = feed.etag.as_deref().filter(|_| target.is_file());
    let got = countersign_engine::download(&url, etag, &staged, MAX_FEED).await;
    let got = got.map_err(|e| Failed {
        message: format!("feed `{}`: {e}; what was there before stays in use", feed.name),
        code: crate::exit::UPSTREAM,
    })?;
    let Some(got) = got else {
        store.put_feed(&Feed { last_synced: Some(now()), ..feed }).await?;
        return Ok(false);
    };
    let checked = open_apart(context.state.join("feeds/checked"), vec![staged.to_path_buf()]).await;
    if let Err(e) = checked {
        return Err(Failed::usage(format!("{e}; what was there before stays in use")));
    }
    staged.persist(&target).map_err(Failed::internal)?;
    let known = store.feed(&feed.name).await?;
    let brought =
        Feed { last_synced: Some(now()), sha256: Some(got.sha256), etag: got.etag, ..feed };
    store.put_feed(&brought).await?;
    let change = match known {
        None => Some(FeedChange::Added),
        Some(known) => (known.sha256 != brought.sha256).then_some(FeedChange::Updated),
    };
    if let Some(change) = change {
        feed_changed(store, &brought, change, now()).await?;
    }
    Ok(true)
}

async fn show(context: &Context, store: &Store, json: bool) -> Result<u8, Failed> {
    let configured = store.feeds().await?;
    let feeds = context.feeds(store, &[]).await?;
    let Some(feeds) = feeds else {
        print::line(if json {
            "{\"feeds\": []}"
        } else {
            "no feeds; add one with `countersign feed add PATH|ADDRESS`"
        });
        return Ok(0);
    };
    let meta = feeds.meta();
    if json {
        let sources: Vec<_> = meta
            .sources
            .iter()
            .map(|s| {
                serde_json::json!({
                    "name": s.name, "records": s.records, "withdrawn": s.withdrawn, "unreadable": s.unreadable,
                    "newest": s.newest_modified.map(|t| t.to_string()),
                })
            })
            .collect();
        let value = serde_json::json!({
            "configured": configured.iter().map(|f| serde_json::json!({"name": f.name, "location": countersign_engine::shown_address(&f.location), "last_synced": f.last_synced})).collect::<Vec<_>>(),
            "sources": sources,
            "packages": meta.packages, "advisories": meta.advisories,
        });
        print::line(&value.to_string());
        return Ok(0);
    }
    for f in &configured {
        print::line(&format!("{}  {}", f.name, countersign_engine::shown_address(&f.location)));
    }
    print::line(&format!(
        "{:<24} {:>8} {:>10} {:>11}  newest record",
        "source", "records", "withdrawn", "unreadable"
    ));
    for s in &meta.sources {
        let newest = s.newest_modified.map_or_else(
            || "unknown".to_owned(),
            |t| format!("{} ({} days ago)", t.date(), now().hours_since(t) / 24),
        );
        print::line(&format!(
            "{:<24} {:>8} {:>10} {:>11}  {newest}",
            s.name, s.records, s.withdrawn, s.unreadable
        ));
    }
    if let Some(kev) = &meta.exploited {
        print::line(&format!(
            "{:<24} {:>8} {:>10} {:>11}  version {}",
            "known exploited", kev.entries, "", "", kev.version
        ));
    }
    print::line(&format!("{} advisories about {} packages", meta.advisories, meta.packages));
    Ok(0)
}
