//! A suite's Release file: fetched with conditions, verified, and kept with the one before it.

use super::disk::{ReleaseRecord, SuiteRecord};
use super::path::{Part, RepositoryPath};
use super::send::Content;
use super::{At, absent, blocking};
use crate::debian::{named_keyring, read_release, unverified};
use crate::engine::Serving;
use crate::http_client::{Failure, Fetched, redacted};
use bytes::Bytes;
use countersign_core::{Evidence, ReasonCode, Sha256Digest, Timestamp};
use countersign_ecosystem::debian::Release;
use countersign_evidence::openpgp;
use countersign_store::Newest;
use http::{HeaderValue, StatusCode, header};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two checks after one that failed.
const RETRY: Duration = Duration::from_secs(15);
/// The shortest time between two checks, however much somebody insists. Both are no longer than
/// what counts as fresh.
const INSIST: Duration = Duration::from_secs(2);
/// How long a client waits for a check while there is something to give it.
const WAIT: Duration = Duration::from_secs(5);
/// How far a Release file's date may lie ahead of the gate's clock, in seconds.
const AHEAD: i64 = 24 * 3600;

/// The two forms that a Release comes in. They are two files that an archive keeps apart, so that
/// one may be newer than the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// `InRelease`, signed in place.
    Inline,
    /// `Release` and `Release.gpg`.
    Detached,
}

/// One suite in one form.
pub(super) struct Slot {
    /// The folder of the Release file below the repository's root.
    pub(super) dir: String,
    pub(super) form: Form,
    /// One check at a time.
    gate: tokio::sync::Mutex<()>,
    view: RwLock<View>,
}

/// What is known of a suite.
#[derive(Clone, Default)]
struct View {
    current: Option<Arc<Kept>>,
    previous: Option<Arc<Kept>>,
    since: Option<Timestamp>,
    confirmed: Option<Timestamp>,
    tried: Option<Instant>,
    failure: Option<Failure>,
}

/// A Release that was verified.
pub(super) struct Kept {
    pub(super) text: Bytes,
    pub(super) signature: Option<Bytes>,
    pub(super) record: ReleaseRecord,
    pub(super) release: Release,
    pub(super) evidence: Evidence,
}

/// How new a Release has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// What was confirmed within [`Serving::fresh`]; older where the upstream cannot be asked.
    Fresh,
    /// Whatever may still be used.
    Usable,
    /// The upstream is asked, unless it was just now.
    Checked,
}

impl View {
    /// Seconds since the upstream confirmed it; 0 when the clock was set back since.
    fn age(&self, now: Timestamp) -> Option<u64> {
        self.confirmed.map(|c| u64::try_from(now.0.saturating_sub(c.0)).unwrap_or(0))
    }

    fn is_fresh(&self, now: Timestamp, serving: &Serving) -> bool {
        self.current.is_some() && self.age(now).is_some_and(|a| a < serving.fresh.as_secs())
    }

    /// The present Release while it may be used.
    fn usable(&self, now: Timestamp, serving: &Serving) -> Result<&Arc<Kept>, String> {
        let Some(kept) = &self.current else { return Err("none is kept".to_owned()) };
        if let Some(end) = kept.release.valid_until.filter(|end| *end < now) {
            return Err(format!("the one that is kept was valid until {end}"));
        }
        let bound = serving.fresh.saturating_add(serving.stale).as_secs();
        match self.age(now) {
            Some(age) if age <= bound => Ok(kept),
            Some(age) => {
                Err(format!("the one that is kept was last confirmed {} h ago", age / 3600))
            }
            None => Err("the one that is kept was never confirmed".to_owned()),
        }
    }

    fn tried_within(&self, time: Duration) -> bool {
        self.tried.is_some_and(|t| t.elapsed() < time)
    }
}

impl Slot {
    fn new(dir: String, form: Form) -> Self {
        Self { dir, form, gate: tokio::sync::Mutex::default(), view: RwLock::default() }
    }

    /// The path of one of its files below the repository's root.
    fn path(&self, name: &str) -> Option<RepositoryPath> {
        let slash = if self.dir.is_empty() { "" } else { "/" };
        RepositoryPath::parse(&format!("{}{slash}{name}", self.dir))
    }

    /// The digest of the Release that counts now.
    pub(super) fn state(&self) -> Option<Sha256Digest> {
        self.view.read().current.as_ref().map(|k| k.record.text)
    }

    /// Why the last check failed, if it did.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.view.read().failure.clone()
    }
}

/// What a check of the upstream came to.
enum Checked {
    Unchanged,
    Changed(Box<Kept>),
}

impl At {
    pub(super) fn serving(&self) -> Serving {
        self.engine.inner.serving.unwrap_or_default()
    }

    /// One of the three files of a Release, as it was verified.
    pub(super) async fn release(&self, dir: &str, part: Part) -> Result<Content, Failure> {
        let form = if part == Part::InRelease { Form::Inline } else { Form::Detached };
        let slot = self.slot(dir, form);
        let kept = self.current(&slot, Want::Fresh).await?;
        let bytes = match part {
            Part::Signature => kept.signature.clone(),
            _ => Some(kept.text.clone()),
        };
        let modified = kept.record.last_modified.as_deref().and_then(Timestamp::parse_rfc2822);
        bytes
            .map(|b| Content::small(b, modified.or(kept.release.date)))
            .ok_or_else(|| absent("there is no detached signature"))
    }

    /// The slot of a folder, made where there is none.
    pub(super) fn slot(&self, dir: &str, form: Form) -> Arc<Slot> {
        let mut slots = self.mirror.slots.lock();
        let key = (dir.to_owned(), form);
        slots.entry(key).or_insert_with(|| Arc::new(Slot::new(dir.to_owned(), form))).clone()
    }

    /// The slots that hold something.
    pub(super) fn kept_slots(&self) -> Vec<Arc<Slot>> {
        let holds = |s: &&Arc<Slot>| s.view.read().current.is_some();
        self.mirror.slots.lock().values().filter(holds).cloned().collect()
    }

    /// The Release that counts, after asking the upstream where that is due.
    ///
    /// # Errors
    /// When there is none that may be used, with what the upstream's failure was.
    pub(super) async fn current(&self, slot: &Arc<Slot>, want: Want) -> Result<Arc<Kept>, Failure> {
        let (now, serving) = (self.engine.now(), self.serving());
        // Before the view is read: a check that ends after this moment is as good as one's own.
        let asked = Instant::now();
        let view = slot.view.read().clone();
        let usable = view.usable(now, &serving).is_ok();
        let due = match want {
            Want::Fresh => !view.is_fresh(now, &serving),
            Want::Usable => !usable,
            Want::Checked => true,
        };
        // While there is something to give, an upstream that failed is left alone for a while.
        let failed = usable && view.failure.is_some();
        let pause = (if failed { RETRY } else { INSIST }).min(serving.fresh);
        if due && !view.tried_within(pause) {
            let (at, checked) = (self.clone(), slot.clone());
            // It goes on when the one who asked has left, and others find its outcome.
            let check = tokio::spawn(async move { at.check(&checked, asked).await });
            if usable && want == Want::Fresh {
                let _ = tokio::time::timeout(WAIT, check).await;
            } else {
                let _ = check.await;
            }
        }
        let view = slot.view.read().clone();
        let because = match view.usable(self.engine.now(), &serving) {
            Ok(kept) => return Ok(kept.clone()),
            Err(because) => because,
        };
        Err(match view.failure {
            Some(failure) if view.current.is_none() => failure,
            Some(failure) => Failure {
                detail: format!("{}; {because}", failure.detail),
                status: None,
                ..failure
            },
            None => Failure::new(
                ReasonCode::IndexUntrusted,
                format!("the Release of `{}`: {because}", slot.dir),
            ),
        })
    }

    /// The previous Release, while what it names may still be asked for.
    pub(super) fn previous(&self, slot: &Slot) -> Option<Arc<Kept>> {
        let view = slot.view.read();
        let (now, serving) = (self.engine.now(), self.serving());
        let kept = view.previous.as_ref()?;
        let ended = kept.release.valid_until.is_some_and(|end| end < now);
        let replaced = u64::try_from(now.0 - view.since?.0).unwrap_or(0);
        (!ended && replaced <= serving.stale.as_secs()).then(|| kept.clone())
    }

    /// Asks the upstream for a newer Release, and keeps it if it verifies.
    async fn check(&self, slot: &Arc<Slot>, asked: Instant) {
        let _one = slot.gate.lock().await;
        // Somebody else did while this one waited.
        if slot.view.read().tried.is_some_and(|t| t >= asked) {
            return;
        }
        let outcome = match self.fetch(slot).await {
            Ok(Checked::Unchanged) => self.confirm(slot).await,
            Ok(Checked::Changed(kept)) => self.accept(slot, *kept).await,
            Err(failure) => Err(failure),
        };
        let mut view = slot.view.write();
        view.tried = Some(Instant::now());
        view.failure = outcome.err();
        if let Some(failure) = &view.failure
            && (view.current.is_some() || failure.status.is_none())
        {
            tracing::warn!(
                upstream = self.mirror.upstream.name, suite = slot.dir, reason = %failure.reason,
                error = failure.detail, "the suite's Release could not be renewed"
            );
        }
        let nothing = view.current.is_none();
        drop(view);
        if nothing {
            // Folders that hold no Release are not remembered: anybody can name as many as they like.
            self.mirror.slots.lock().remove(&(slot.dir.clone(), slot.form));
        }
    }

    async fn fetch(&self, slot: &Slot) -> Result<Checked, Failure> {
        let before = slot.view.read().current.clone();
        let name = if slot.form == Form::Inline { "InRelease" } else { "Release" };
        let condition = before.as_ref().map(|k| k.record.clone());
        let got = self.get(slot, name, condition.as_ref()).await?;
        if got.status == StatusCode::NOT_MODIFIED && before.is_some() {
            return Ok(Checked::Unchanged);
        }
        let signature = match slot.form {
            Form::Inline => None,
            Form::Detached => Some(self.get(slot, "Release.gpg", None).await?.body),
        };
        let same = before.is_some_and(|k| k.text == got.body && k.signature == signature);
        if same {
            return Ok(Checked::Unchanged);
        }
        let text = |name| got.header(name).map(|v| v.chars().take(200).collect::<String>());
        let record = ReleaseRecord {
            text: Sha256Digest::of(&got.body),
            signature: signature.as_ref().map(|s| Sha256Digest::of(s)),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
        };
        Ok(Checked::Changed(Box::new(self.verify(slot, got.body, signature, record).await?)))
    }

    /// Gets one file of a Release; "not modified" only where a condition was sent.
    async fn get(
        &self,
        slot: &Slot,
        name: &str,
        condition: Option<&ReleaseRecord>,
    ) -> Result<Fetched, Failure> {
        let upstream = &self.mirror.upstream;
        let path = slot.path(name).ok_or_else(|| absent("no suite has such a name"))?;
        let url = path.below(&upstream.base);
        let mut headers = self.engine.upstream_credentials(upstream, &url);
        if let Some(record) = condition {
            let tag = record.etag.as_ref().map(|t| (header::IF_NONE_MATCH, t));
            let time = record.last_modified.as_ref().map(|t| (header::IF_MODIFIED_SINCE, t));
            for (name, value) in tag.into_iter().chain(time) {
                if let Ok(value) = HeaderValue::from_str(value) {
                    headers.insert(name, value);
                }
            }
        }
        let http = &self.engine.inner.http;
        let got = http.signed_document(&url, headers, openpgp::MAX_TEXT, upstream).await?;
        match got.status {
            StatusCode::OK => Ok(got),
            StatusCode::NOT_MODIFIED if condition.is_some() => Ok(got),
            status => Err(Failure::answered(&url, status)),
        }
    }

    /// Verifies a Release by the upstream's keyring as it is now.
    async fn verify(
        &self,
        slot: &Slot,
        text: Bytes,
        signature: Option<Bytes>,
        record: ReleaseRecord,
    ) -> Result<Kept, Failure> {
        let upstream = self.mirror.upstream.clone();
        let (now, dir) = (self.engine.now(), slot.dir.clone());
        blocking(move || {
            let shown = format!("{}{dir}", redacted(&upstream.base));
            let untrusted = |because: String| {
                Failure::new(
                    ReasonCode::IndexUntrusted,
                    format!("the Release of {shown}: {because}"),
                )
            };
            let keyring = keyring(upstream.keyring.as_deref()).map_err(untrusted)?;
            let verified = match &signature {
                None => openpgp::verify_inrelease(&text, &keyring, now),
                Some(signature) => openpgp::verify_detached(&text, signature, &keyring, now),
            };
            let verified = verified.map_err(|e| unverified(&e, &shown))?;
            let source = format!("the signed lists of {}", upstream.name);
            let (release, evidence) = read_release(&verified, &source).map_err(untrusted)?;
            sound(&release, now).map_err(untrusted)?;
            Ok(Kept { text, signature, record, release, evidence })
        })
        .await
    }

    /// The upstream has nothing newer: what is kept is verified again, since keys may have gone from
    /// the keyring, and counts as confirmed.
    async fn confirm(&self, slot: &Slot) -> Result<(), Failure> {
        let Some(kept) = slot.view.read().current.clone() else {
            return Err(Failure::new(ReasonCode::Internal, "nothing is kept to confirm"));
        };
        let (text, signature) = (kept.text.clone(), kept.signature.clone());
        match self.verify(slot, text, signature, kept.record.clone()).await {
            Ok(again) => {
                let mut view = slot.view.write();
                view.current = Some(Arc::new(again));
                view.confirmed = Some(self.engine.now());
            }
            Err(failure) => {
                slot.view.write().confirmed = None;
                return Err(failure);
            }
        }
        self.write(slot, None).await
    }

    /// Puts a verified Release in the place of the present one, unless it is older.
    async fn accept(&self, slot: &Slot, kept: Kept) -> Result<(), Failure> {
        let before = slot.view.read().current.clone();
        if let Some(old) = &before
            && is_of(&old.release, &slot.dir)
            && !is_of(&kept.release, &slot.dir)
        {
            let shown = kept.release.suite.as_deref().or(kept.release.codename.as_deref());
            return Err(Failure::new(
                ReasonCode::IndexUntrusted,
                format!("the Release in `{}` is that of {}", slot.dir, shown.unwrap_or("no suite")),
            ));
        }
        self.not_older(slot, &kept.release).await?;
        let kept = Arc::new(kept);
        {
            let mut view = slot.view.write();
            let now = self.engine.now();
            if before.is_some() {
                (view.previous, view.since) = (before, Some(now));
            }
            view.current = Some(kept.clone());
            view.confirmed = Some(now);
        }
        self.write(slot, Some(kept)).await?;
        self.prune().await
    }

    /// Compares a Release's date with the newest that was seen in this place.
    async fn not_older(&self, slot: &Slot, release: &Release) -> Result<(), Failure> {
        let Some(date) = release.date else { return Ok(()) };
        let key = format!("debian-mirror {}{}", self.mirror.upstream.base, slot.dir);
        let store = &self.engine.inner.store;
        match store.bump_newest(&key, date).await.map_err(crate::pipeline::store_failure)? {
            Newest::Older { newest } => Err(Failure::new(
                ReasonCode::IndexUntrusted,
                format!(
                    "the Release of `{}` is of {date}, and one of {newest} was seen before",
                    slot.dir
                ),
            )),
            Newest::Advanced | Newest::Same => Ok(()),
        }
    }

    /// Writes a suite's record, after the files of its new Release.
    async fn write(&self, slot: &Slot, new: Option<Arc<Kept>>) -> Result<(), Failure> {
        let view = slot.view.read().clone();
        let (Some(current), Some(confirmed)) = (view.current, view.confirmed) else {
            return Ok(());
        };
        let record = SuiteRecord {
            dir: slot.dir.clone(),
            form: slot.form,
            current: current.record.clone(),
            previous: view.previous.as_ref().map(|p| p.record.clone()),
            since: view.since.unwrap_or(confirmed),
            confirmed,
        };
        let mirror = self.mirror.clone();
        blocking(move || {
            if let Some(kept) = new {
                mirror.disk.keep_bytes(&kept.text)?;
                kept.signature.as_ref().map(|s| mirror.disk.keep_bytes(s)).transpose()?;
            }
            mirror.disk.write_record(&record)
        })
        .await
    }

    /// Removes indexes that no kept Release names.
    async fn prune(&self) -> Result<(), Failure> {
        let mut named = HashSet::new();
        for slot in self.kept_slots() {
            let view = slot.view.read();
            for kept in view.current.iter().chain(&view.previous) {
                named.insert(kept.record.text);
                named.extend(kept.record.signature);
                named.extend(kept.release.sha256.values().map(|(digest, _)| *digest));
            }
        }
        let mirror = self.mirror.clone();
        blocking(move || {
            mirror.disk.prune(&named);
            Ok(())
        })
        .await
    }

    /// Reads what was kept by an earlier process, once. What does not verify now is not used.
    pub(super) async fn load(&self) -> Result<(), Failure> {
        let load = || async {
            let mirror = self.mirror.clone();
            for record in blocking(move || Ok(mirror.disk.records())).await? {
                let slot = self.slot(&record.dir, record.form);
                let current = self.restore(&slot, &record.current).await;
                let previous = match &record.previous {
                    Some(p) => self.restore(&slot, p).await,
                    None => None,
                };
                let stale = match &current {
                    Some(kept) => self.not_older(&slot, &kept.release).await.is_err(),
                    None => true,
                };
                if stale {
                    self.mirror.slots.lock().remove(&(record.dir, record.form));
                    continue;
                }
                *slot.view.write() = View {
                    current,
                    previous,
                    since: Some(record.since),
                    confirmed: Some(record.confirmed),
                    ..View::default()
                };
            }
            Ok(())
        };
        self.mirror.loaded.get_or_try_init(load).await.copied()
    }

    async fn restore(&self, slot: &Slot, record: &ReleaseRecord) -> Option<Arc<Kept>> {
        let (mirror, wanted) = (self.mirror.clone(), record.clone());
        let read = move || {
            let text = mirror.disk.read(&wanted.text);
            let signature = wanted.signature.map(|s| mirror.disk.read(&s));
            Ok(text.zip(signature.map_or(Some(None), |s| s.map(Some))))
        };
        let (text, signature) = blocking(read).await.ok().flatten()?;
        let verified =
            self.verify(slot, text.into(), signature.map(Bytes::from), record.clone()).await;
        match verified {
            Ok(kept) => Some(Arc::new(kept)),
            Err(failure) => {
                tracing::warn!(
                    suite = slot.dir,
                    error = failure.detail,
                    "a kept Release is not used"
                );
                None
            }
        }
    }
}

/// The keyring of an upstream. There is no general one for a gateway: which keys may sign is the
/// configuration's to say.
fn keyring(named: Option<&str>) -> Result<Vec<u8>, String> {
    let missing = || "its upstream has no keyring; name one in countersign.toml".to_owned();
    let text = named.filter(|t| !t.trim().is_empty()).ok_or_else(missing)?;
    named_keyring(text)
        .map_err(|e| format!("its keyring cannot be read: {e}"))?
        .ok_or_else(|| format!("`{text}` names no keyring"))
}

/// What a mirror needs of a Release beside its signature.
fn sound(release: &Release, now: Timestamp) -> Result<(), String> {
    let Some(date) = release.date else {
        return Err("it has no date, so that a replay could not be told".to_owned());
    };
    if date > now.plus_seconds(AHEAD) {
        return Err(format!("it is of {date}, which lies ahead"));
    }
    if let Some(end) = release.valid_until.filter(|end| *end < now) {
        return Err(format!("it was valid until {end}"));
    }
    if release.sha256.is_empty() {
        return Err("it gives no SHA-256 digests".to_owned());
    }
    Ok(())
}

/// Whether a Release says that it is of the suite that its folder is named after.
// HOLE: a Release of another suite by the same signer is taken where the folder's name never was
// its suite's or code name, as with some archives of third parties. apt warns of it.
fn is_of(release: &Release, dir: &str) -> bool {
    let name = dir.strip_prefix("dists/").unwrap_or(dir);
    [&release.suite, &release.codename].into_iter().flatten().any(|own| {
        name == own || name.strip_prefix(own.as_str()).is_some_and(|r| r.starts_with('/'))
    })
}
