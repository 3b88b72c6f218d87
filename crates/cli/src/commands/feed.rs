//! `countersign feed`: where advisories come from and how old they are.

use crate::args::FeedCommand;
use crate::context::{Context, Failed, now};
use crate::print;
use countersign_core::Sha256Digest;
use countersign_engine::Changes;
use countersign_engine::acts::{FeedChange, feed_changed};
use countersign_engine::feeds::Feeds;
use countersign_engine::store::{Feed, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a feed's files lie on this machine: the feed, and what changed since it was fetched whole.
pub fn places(state: &Path, feed: &Feed) -> Vec<PathBuf> {
    let mut out = vec![place(state, feed)];
    out.extend(Some(changes_of(state, feed)).filter(|p| is_remote(feed) && p.is_file()));
    out
}

fn place(state: &Path, feed: &Feed) -> PathBuf {
    if !is_remote(feed) {
        return PathBuf::from(&feed.location);
    }
    let path = feed.location.split(['?', '#']).next().unwrap_or("");
    let ends = [".csv.gz", ".csv", ".json"].into_iter().find(|end| path.ends_with(end));
    let name = format!("{}{}", feed.name, ends.unwrap_or(".zip"));
    state.join("feeds/fetched").join(name)
}

/// Records that changed since the feed was fetched whole, one a line.
fn changes_of(state: &Path, feed: &Feed) -> PathBuf {
    state.join("feeds/fetched").join(format!("{}.changes.jsonl", feed.name))
}

/// Marks a time that has no fractions of its second.
const WHOLE: &str = "whole-second";

/// A note of the newest change that is here.
fn newest_of(state: &Path, feed: &Feed) -> PathBuf {
    state.join("feeds/fetched").join(format!("{}.newest", feed.name))
}

/// Whether a feed is fetched from an address.
pub fn is_remote(feed: &Feed) -> bool {
    feed.location.starts_with("http://") || feed.location.starts_with("https://")
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
            let known = store.feed(&name).await?;
            if store.remove_feed(&name).await? {
                if let Some(feed) = known {
                    forget(&context.state, &feed);
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

/// Removes what was fetched of a feed. Files that are not there are no fault.
fn forget(state: &Path, feed: &Feed) {
    if is_remote(feed) {
        for path in [place(state, feed), changes_of(state, feed), newest_of(state, feed)] {
            let _ = std::fs::remove_file(path);
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
        // What another feed of this name left behind is not this one's.
        forget(&context.state, &feed);
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
    if let Some(changed) = fetch_changes(context, store, &feed, &url).await? {
        return Ok(changed);
    }
    let staged = tempfile::Builder::new()
        .prefix(&format!(".{}.", feed.name))
        .suffix(&target.file_name().unwrap_or_default())
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
    let checked =
        checked.map_err(|e| Failed::usage(format!("{e}; what was there before stays in use")))?;
    staged.persist(&target).map_err(Failed::internal)?;
    // The whole feed holds what changed before it; of two copies of a record the newer one counts, so
    // that being cut off here does no harm.
    let _ = std::fs::remove_file(changes_of(&context.state, &feed));
    let newest = checked.and_then(|feeds| feeds.meta().newest_modified());
    // Records' times are read in whole seconds.
    let noted = newest.map(|t| format!("{t} {WHOLE}")).unwrap_or_default();
    std::fs::write(newest_of(&context.state, &feed), noted).map_err(Failed::internal)?;
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

/// Fetches what changed in a feed that is here already; whether there was anything. None where it is to
/// be fetched whole.
async fn fetch_changes(
    context: &Context,
    store: &Store,
    feed: &Feed,
    url: &url::Url,
) -> Result<Option<bool>, Failed> {
    let newest_file = newest_of(&context.state, feed);
    let noted = std::fs::read_to_string(&newest_file).unwrap_or_default();
    let (since, whole) = match noted.trim().split_once(' ') {
        Some((since, word)) => (since, word == WHOLE),
        None => (noted.trim(), false),
    };
    let here = place(&context.state, feed).is_file() && !since.is_empty();
    if !here || !url.path().ends_with("/all.zip") {
        return Ok(None);
    }
    let changes = countersign_engine::changes(url, since, whole).await.map_err(|e| Failed {
        message: format!("feed `{}`: {e}; what was there before stays in use", feed.name),
        code: crate::exit::UPSTREAM,
    })?;
    let Changes::Records { records, newest } = changes else { return Ok(None) };
    let changed = !records.is_empty();
    if changed {
        let file = changes_of(&context.state, feed);
        let before = std::fs::read(&file).unwrap_or_default();
        let Some(bytes) = merge_changes(&before, &records) else { return Ok(None) };
        write_whole(&file, &bytes)?;
        let brought = Feed { sha256: Some(Sha256Digest::of(&bytes)), ..feed.clone() };
        feed_changed(store, &brought, FeedChange::Updated, now()).await?;
    }
    // Noted last: what was cut off before is fetched once more.
    write_whole(&newest_file, newest.as_bytes())?;
    store.put_feed(&Feed { last_synced: Some(now()), ..feed.clone() }).await?;
    Ok(Some(changed))
}

/// Changes beyond this many bytes are an occasion to fetch the feed whole.
const MAX_CHANGES: usize = 64 << 20;

/// The records that changed before and now, one a line, without those that changed again.
fn merge_changes(before: &[u8], now: &BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let old = before.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let superseded = |line: &&[u8]| {
        let record: Result<serde_json::Value, _> = serde_json::from_slice(line);
        let id = record.ok().and_then(|r| Some(r.get("id")?.as_str()?.to_owned()));
        id.is_none_or(|id| now.contains_key(&id))
    };
    let kept = old.filter(|line| !superseded(line));
    for line in kept.chain(now.values().map(Vec::as_slice)) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    (out.len() <= MAX_CHANGES).then_some(out)
}

/// Writes a file so that it is there whole or as it was.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    use std::io::Write as _;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temp = tempfile::NamedTempFile::new_in(folder).map_err(Failed::internal)?;
    temp.write_all(bytes).map_err(Failed::internal)?;
    temp.as_file().sync_all().map_err(Failed::internal)?;
    temp.persist(path).map_err(Failed::internal)?;
    Ok(())
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
            "known_exploited": meta.exploited, "likelihoods": meta.likelihoods,
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
    if let Some(epss) = &meta.likelihoods {
        let day = epss.released.map_or_else(|| "no date".to_owned(), |t| t.date().to_string());
        print::line(&format!(
            "{:<24} {:>8} {:>10} {:>11}  {day}",
            "likelihoods (EPSS)", epss.entries, "", ""
        ));
    }
    print::line(&format!("{} advisories about {} packages", meta.advisories, meta.packages));
    Ok(0)
}
