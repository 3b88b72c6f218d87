//! What changed in a feed since it was fetched: OSV's `modified_id.csv` lists each record of an ecosystem
//! with the time of its last change, and each record lies beside it as `<ID>.json`.

use crate::http_client::{Http, redacted};
use countersign_scan::advisory::parse_record;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use std::collections::BTreeMap;
use url::Url;

/// The name of the list, beside the archive.
const LIST: &str = "modified_id.csv";
/// Largest list in bytes; that of all ecosystems has 30 MiB.
const MAX_LIST: usize = 256 << 20;
/// Largest record in bytes.
const MAX_RECORD: usize = 16 << 20;
/// More changes than this are fetched as the whole archive, which is quicker.
const MAX_CHANGES: usize = 2000;
/// Records that are asked for at a time.
const AT_ONCE: usize = 8;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Nobody can tell, or too much: the whole feed is to be fetched.
    Unknown,
    /// These records, by id, as their database wrote them.
    Records {
        /// The records, each on one line.
        records: BTreeMap<String, Vec<u8>>,
        /// The time of the newest change, as the list writes it.
        newest: String,
    },
}

/// Asks what changed in the feed at `archive` (`…/all.zip`) after `since`, and fetches exactly that.
/// `whole` says that `since` is a time in whole seconds: then changes of that very second are fetched,
/// too.
///
/// # Errors
/// When the list or one of the records cannot be had, in words for people: then nothing is taken.
pub async fn changes(archive: &Url, since: &str, whole: bool) -> Result<Changes, String> {
    let (Ok(list), Ok(since_time)) = (archive.join(LIST), since.parse::<jiff::Timestamp>()) else {
        return Ok(Changes::Unknown);
    };
    let http = Http::plain()?;
    let Some(text) = get(&http, &list, MAX_LIST).await? else { return Ok(Changes::Unknown) };
    let text = std::str::from_utf8(&text).map_err(|e| format!("{}: {e}", redacted(&list)))?;
    let Some((ids, newest)) = changed(text, since_time, whole) else {
        return Err(format!("{} is no list of changes", redacted(&list)));
    };
    if ids.len() > MAX_CHANGES {
        return Ok(Changes::Unknown);
    }
    let fetches = ids.into_iter().map(|id| one(&http, archive, id));
    let mut fetched = futures_util::stream::iter(fetches).buffer_unordered(AT_ONCE);
    let mut records = BTreeMap::new();
    while let Some(record) = fetched.next().await {
        let (id, line) = record?;
        records.insert(id, line);
    }
    Ok(Changes::Records { records, newest: newest.unwrap_or_else(|| since.to_owned()) })
}

/// The ids that changed after `since` (or at it, where that is a `whole` second), and the newest time as it is
/// written. None for what is no list.
fn changed(
    text: &str,
    since: jiff::Timestamp,
    whole: bool,
) -> Option<(Vec<String>, Option<String>)> {
    let mut ids = Vec::new();
    let mut newest: Option<(jiff::Timestamp, &str)> = None;
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let (time, id) = line.trim().split_once(',')?;
        let at: jiff::Timestamp = time.parse().ok()?;
        if newest.is_none_or(|(t, _)| at > t) {
            newest = Some((at, time));
        }
        // The list of all ecosystems writes `npm/GHSA-…`; records lie beside the list of their own.
        if (at > since || whole && at >= since) && is_file_name(id) {
            ids.push(id.to_owned());
        }
    }
    Some((ids, newest.map(|(_, text)| text.to_owned())))
}

/// Whether an id can stand in an address as one part of its path.
fn is_file_name(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    !id.is_empty() && id.len() <= 128 && !id.starts_with('.') && id.bytes().all(plain)
}

async fn one(http: &Http, archive: &Url, id: String) -> Result<(String, Vec<u8>), String> {
    // `./` keeps an id with a colon from being read as a scheme.
    let url = archive.join(&format!("./{id}.json")).map_err(|e| format!("record `{id}`: {e}"))?;
    let bytes = get(http, &url, MAX_RECORD).await?;
    let bytes = bytes.ok_or_else(|| format!("{} is listed and not there", redacted(&url)))?;
    let record = parse_record(&bytes).map_err(|e| format!("{}: {e}", redacted(&url)))?;
    if record.id != id {
        return Err(format!("{} holds the record of another id", redacted(&url)));
    }
    // JSON has no line breaks within its texts: they only stand between its parts.
    let line = bytes.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b });
    Ok((id, line.collect()))
}

/// A document; none where it is not there.
async fn get(http: &Http, url: &Url, limit: usize) -> Result<Option<bytes::Bytes>, String> {
    let got = http.ask(Method::GET, url, HeaderMap::new(), bytes::Bytes::new(), limit).await;
    let got = got.map_err(|f| f.detail)?;
    match got.status {
        StatusCode::OK => Ok(Some(got.body)),
        StatusCode::NOT_FOUND => Ok(None),
        other => Err(format!("{} answered {other}", redacted(url))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_later_is_fetched() {
        let list = "2026-01-03T00:00:00.5Z,GHSA-c\n2026-01-02T00:00:00Z,GHSA-b\r\n\n\
            2026-01-01T00:00:00Z,GHSA-a\n2026-01-04T00:00:00Z,../x\n";
        let ids =
            |since: &str, whole| changed(list, since.parse().unwrap(), whole).unwrap().0.join(" ");
        assert_eq!(ids("2026-01-02T00:00:00Z", true), "GHSA-c GHSA-b");
        assert_eq!(ids("2026-01-02T00:00:00Z", false), "GHSA-c");
        assert_eq!(ids("2026-01-03T00:00:00.5Z", false), "");
        let newest = changed(list, jiff::Timestamp::UNIX_EPOCH, false).unwrap().1;
        assert_eq!(newest.as_deref(), Some("2026-01-04T00:00:00Z"));
        for bad in ["<html>", "2026-01-01T00:00:00Z", "yesterday,GHSA-1"] {
            assert_eq!(changed(bad, jiff::Timestamp::UNIX_EPOCH, false), None, "{bad}");
        }
    }
}
