//! What evidence sources on the network answered, kept in the store.
//!
//! Documents of which all that they say was verified are kept for good: they are about a digest, and
//! are verified anew each time that they are used. That a source has nothing is kept for
//! [`NOTHING_FOR`]: it may have something later. What could not be asked, and what does not hold, is
//! not kept at all.

use crate::engine::Engine;
use crate::sources::Found;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::{Evidence, Sha256Digest, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How long it holds that a source has nothing, in seconds.
const NOTHING_FOR: i64 = 600;
/// Bytes of one answer that are kept: evidence is small, and a database is no place for what is not.
const MAX_KEPT: usize = 1 << 20;
/// What the store knows these answers by.
const KIND: &str = "evidence-source";

/// What a source answered before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It had nothing, a short time ago.
    Nothing,
    /// It had these documents.
    Documents(Vec<Vec<u8>>),
}

impl Engine {
    /// What `source` answered before, if that still holds.
    pub(crate) async fn kept_answer(
        &self,
        source: &str,
        sha256: &Sha256Digest,
        name: &str,
    ) -> Option<Kept> {
        let found = self.store().get_result(sha256, KIND, &question(source, name)).await;
        match found {
            Ok(value) => read(&value?, self.now()),
            Err(e) => {
                tracing::warn!(error = %e, "a kept answer of an evidence source cannot be read");
                None
            }
        }
    }

    /// Keeps what `source` answered; nothing to be kept means that it had nothing.
    pub(crate) async fn keep_answer(
        &self,
        source: &str,
        sha256: &Sha256Digest,
        name: &str,
        documents: &[&[u8]],
    ) {
        if documents.iter().map(|d| d.len()).sum::<usize>() > MAX_KEPT {
            return;
        }
        let value = write(documents, self.now());
        let kept = self.store().put_result(sha256, KIND, &question(source, name), &value).await;
        // It costs a question more the next time, and no decision rests on it.
        if let Err(e) = kept {
            tracing::warn!(error = %e, "an answer of an evidence source cannot be kept");
        }
    }

    /// Keeps the documents that came just now of each source of which something was verified, and
    /// nothing was not.
    pub(crate) async fn keep_answers(
        &self,
        sha256: &Sha256Digest,
        found: &[Found],
        evidence: &[Evidence],
    ) {
        for (source, name) in to_keep(found, evidence) {
            let of_question = |f: &&Found| (f.source.as_str(), f.name) == (source, name);
            let documents: Vec<&[u8]> =
                found.iter().filter(of_question).map(|f| f.bytes.as_slice()).collect();
            self.keep_answer(source, sha256, name, &documents).await;
        }
    }
}

/// The questions that were answered just now, and of whose source all evidence holds.
fn to_keep<'a>(found: &'a [Found], evidence: &[Evidence]) -> BTreeSet<(&'a str, &'a str)> {
    let holds = |f: &&Found| {
        let mut of_source = evidence.iter().filter(|e| e.source == f.source).peekable();
        of_source.peek().is_some() && of_source.all(|e| e.claim().is_some())
    };
    let fresh = found.iter().filter(|f| f.fresh).filter(holds);
    fresh.map(|f| (f.source.as_str(), f.name)).collect()
}

/// What was asked: the store knows it beside the artifact's digest.
fn question(source: &str, name: &str) -> String {
    format!("{name} {source}")
}

fn write(documents: &[&[u8]], now: Timestamp) -> Value {
    let documents: Vec<String> = documents.iter().map(|d| BASE64_STANDARD.encode(d)).collect();
    json!({"at": now.0, "documents": documents})
}

fn read(value: &Value, now: Timestamp) -> Option<Kept> {
    let documents = value.get("documents")?.as_array()?;
    if documents.is_empty() {
        let age = now.0.checked_sub(value.get("at")?.as_i64()?)?;
        // A time in the future is a clock that was set back: it says nothing about an age.
        return (0..NOTHING_FOR).contains(&age).then_some(Kept::Nothing);
    }
    let documents = documents.iter().map(|d| BASE64_STANDARD.decode(d.as_str()?).ok());
    documents.collect::<Option<Vec<_>>>().map(Kept::Documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_hold_for_good_and_nothing_for_a_time() {
        let at = Timestamp(1_760_000_000);
        let (some, none) = (write(&[b"a", b""], at), write(&[], at));
        let documents = Kept::Documents(vec![b"a".to_vec(), Vec::new()]);
        assert_eq!(read(&some, at.plus_seconds(10 * NOTHING_FOR)), Some(documents));
        assert_eq!(read(&none, at), Some(Kept::Nothing));
        assert_eq!(read(&none, at.plus_seconds(NOTHING_FOR - 1)), Some(Kept::Nothing));
        assert_eq!(read(&none, at.plus_seconds(NOTHING_FOR)), None);
        assert_eq!(read(&none, at.plus_seconds(-1)), None);
    }

    #[test]
    fn what_was_damaged_is_asked_again() {
        let now = Timestamp(1_760_000_000);
        for bad in
            [json!({}), json!([]), json!({"documents": ["*"], "at": 0}), json!({"documents": []})]
        {
            assert_eq!(read(&bad, now), None, "{bad}");
        }
    }
}
