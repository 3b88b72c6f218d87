//! The gate's own credentials for upstreams: read where the configuration says, and had again when
//! they are over.
//!
//! A credential is never shown and never logged: errors name the place that it is kept in.

use crate::config::{CredentialConfig, CredentialPlace, CredentialScheme, UpstreamConfig};
use crate::http_client::Failure;
use crate::upstream::Upstream;
use base64::Engine as _;
use countersign_core::ReasonCode;
use http::HeaderValue;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;
use url::Url;

/// The credentials of all upstreams.
pub(crate) struct Vault(Vec<Entry>);

struct Entry {
    /// The upstream, for messages.
    shown: String,
    base: Url,
    config: CredentialConfig,
    /// Whoever has it asks; the others wait for the answer.
    held: Mutex<Option<Held>>,
}

struct Held {
    value: HeaderValue,
    since: Instant,
    stamp: Option<Stamp>,
}

/// Which state of a file was read.
type Stamp = (u64, u64, i64, i64);

/// Largest credential, in bytes: what does not fit in a header is none.
const MAX_BYTES: u64 = 16 << 10;
/// How long a program may take to print a credential.
const COMMAND_TIME: Duration = Duration::from_secs(30);
/// A credential that is refused is not asked for more often than this.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

impl Vault {
    /// A vault with what the configuration names; nothing is read yet.
    pub(crate) fn new(upstreams: &[UpstreamConfig]) -> Self {
        let entries = upstreams.iter().filter_map(|u| {
            let base = Upstream::new(u.ecosystem, &u.url)?.base;
            let shown = u.name.clone().unwrap_or_else(|| base.to_string());
            Some(Entry { shown, base, config: u.credential.clone()?, held: Mutex::default() })
        });
        Self(entries.collect())
    }

    /// The credential for an address, if one is configured for its origin. Where several are, the
    /// upstream whose base has most of the path in common counts.
    ///
    /// # Errors
    /// When it cannot be had, and never could.
    pub(crate) async fn header(&self, url: &Url) -> Result<Option<HeaderValue>, Failure> {
        match self.entry(url) {
            None => Ok(None),
            Some(entry) => entry.header().await.map(Some),
        }
    }

    /// Another credential than the one that was refused, if there is one now.
    pub(crate) async fn renew(&self, url: &Url, refused: &HeaderValue) -> Option<HeaderValue> {
        self.entry(url)?.renew(refused).await
    }

    fn entry(&self, url: &Url) -> Option<&Entry> {
        let common = |e: &&Entry| -> usize {
            let (Some(a), Some(b)) = (e.base.path_segments(), url.path_segments()) else {
                return 0;
            };
            a.zip(b).take_while(|(x, y)| x == y && !x.is_empty()).count()
        };
        let mut best: Option<(&Entry, usize)> = None;
        for entry in self.0.iter().filter(|e| e.base.origin() == url.origin()) {
            let n = common(&entry);
            // Of equals the first in the configuration counts.
            if best.is_none_or(|(_, most)| n > most) {
                best = Some((entry, n));
            }
        }
        best.map(|(entry, _)| entry)
    }
}

impl Entry {
    async fn header(&self) -> Result<HeaderValue, Failure> {
        let mut held = self.held.lock().await;
        if let Some(h) = held.as_ref().filter(|h| self.is_current(h)) {
            return Ok(h.value.clone());
        }
        match (obtain(&self.config).await, held.as_mut()) {
            (Ok(new), _) => Ok(held.insert(new).value.clone()),
            (Err(because), Some(old)) => {
                tracing::warn!(upstream = %self.shown, %because, "the credential is not renewed");
                old.since = Instant::now();
                Ok(old.value.clone())
            }
            (Err(because), None) => Err(Failure::new(
                ReasonCode::UpstreamFailed,
                format!("the credential of {} cannot be had: {because}", self.shown),
            )),
        }
    }

    async fn renew(&self, refused: &HeaderValue) -> Option<HeaderValue> {
        let mut held = self.held.lock().await;
        let present = held.as_ref()?;
        if present.value != refused {
            return Some(present.value.clone());
        }
        if present.since.elapsed() < RENEWAL_PAUSE
            && matches!(self.config.place, CredentialPlace::Command { .. })
        {
            return None;
        }
        match obtain(&self.config).await {
            Ok(new) => {
                let changed = new.value != refused;
                let value = held.insert(new).value.clone();
                changed.then_some(value)
            }
            Err(because) => {
                tracing::warn!(upstream = %self.shown, %because, "the credential is not renewed");
                None
            }
        }
    }

    fn is_current(&self, held: &Held) -> bool {
        match &self.config.place {
            CredentialPlace::Env(_) => true,
            // A file that is being replaced counts as unchanged until the new one is there.
            CredentialPlace::File(path) => stamp(path).is_none_or(|s| Some(s) == held.stamp),
            CredentialPlace::Command { lifetime, .. } => held.since.elapsed() < *lifetime,
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let m = std::fs::metadata(path).ok()?;
    Some((m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

/// Checks that an upstream's credential can be had, without showing it.
///
/// # Errors
/// Why not, in words for people.
pub async fn check_credential(config: &CredentialConfig) -> Result<(), String> {
    obtain(config).await.map(drop)
}

async fn obtain(config: &CredentialConfig) -> Result<Held, String> {
    let mut seen = None;
    let text = match &config.place {
        CredentialPlace::Env(name) => std::env::var(name).map_err(|_| {
            format!("the environment has no `{name}`; set it where the gate is started")
        })?,
        CredentialPlace::File(path) => {
            seen = stamp(path);
            read_file(path).await?
        }
        CredentialPlace::Command { words, .. } => run(words).await?,
    };
    let value = header_value(config.scheme, text.trim())
        .map_err(|because| format!("what {} holds {because}", place(config)))?;
    Ok(Held { value, since: Instant::now(), stamp: seen })
}

fn place(config: &CredentialConfig) -> String {
    match &config.place {
        CredentialPlace::Env(name) => format!("the variable `{name}`"),
        CredentialPlace::File(path) => format!("`{}`", path.display()),
        CredentialPlace::Command { words, .. } => {
            format!("the output of `{}`", words.first().map_or("", String::as_str))
        }
    }
}

async fn read_file(path: &Path) -> Result<String, String> {
    let fail = |e: std::io::Error| {
        format!("`{}` cannot be read: {e}; correct `credential`", path.display())
    };
    let file = tokio::fs::File::open(path).await.map_err(fail)?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).await.map_err(fail)?;
    Ok(text)
}

/// What a program prints. Its standard error is dropped: it may hold the secret.
async fn run(words: &[String]) -> Result<String, String> {
    let (program, args) = words.split_first().ok_or("no program is named")?;
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("`{program}` cannot be started: {e}; correct `credential`"))?;
    let mut text = String::new();
    let reading = async {
        if let Some(out) = child.stdout.take() {
            out.take(MAX_BYTES).read_to_string(&mut text).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(COMMAND_TIME, reading).await {
        Err(_) => Err(format!("`{program}` printed nothing within {} s", COMMAND_TIME.as_secs())),
        Ok(Err(e)) => Err(format!("`{program}` cannot be read: {e}")),
        Ok(Ok(status)) if !status.success() => Err(format!("`{program}` ended with {status}")),
        Ok(Ok(_)) => Ok(text),
    }
}

fn header_value(scheme: CredentialScheme, text: &str) -> Result<HeaderValue, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    let text = match scheme {
        CredentialScheme::Raw => text.to_owned(),
        CredentialScheme::Bearer => format!("Bearer {text}"),
        CredentialScheme::Basic if !text.contains(':') => {
            return Err("is no `user:password`, which the scheme `basic` takes");
        }
        CredentialScheme::Basic => {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| "does not fit in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::Ecosystem;

    fn upstream(url: &str, place: CredentialPlace, scheme: CredentialScheme) -> UpstreamConfig {
        UpstreamConfig {
            ecosystem: Ecosystem::Pypi,
            url: url.to_owned(),
            name: None,
            mirror: false,
            redirects: Vec::new(),
            credential: Some(CredentialConfig { place, scheme }),
            keyring: None,
            ca: None,
        }
    }

    async fn sent(vault: &Vault, url: &str) -> Option<String> {
        let value = vault.header(&Url::parse(url).unwrap()).await.unwrap()?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    fn command(script: &str, lifetime: u64) -> CredentialPlace {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        CredentialPlace::Command { words, lifetime: Duration::from_secs(lifetime) }
    }

    #[tokio::test]
    async fn a_credential_stays_with_its_origin_and_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            CredentialPlace::File(path)
        };
        let vault = Vault::new(&[
            upstream("https://r.example/a/simple/", file("a", "me:pw\n"), CredentialScheme::Basic),
            upstream("https://r.example/b/simple/", file("b", "tok"), CredentialScheme::Bearer),
            upstream("https://s.example/", file("c", "raw value"), CredentialScheme::Raw),
        ]);
        for (url, want) in [
            ("https://r.example/a/simple/x/", Some("Basic bWU6cHc=")),
            ("https://r.example/b/files/x.whl", Some("Bearer tok")),
            ("https://r.example/elsewhere", Some("Basic bWU6cHc=")),
            ("https://s.example/x", Some("raw value")),
            ("http://s.example/x", None),
            ("https://s.example:444/x", None),
            ("https://t.example/x", None),
        ] {
            assert_eq!(sent(&vault, url).await.as_deref(), want, "{url}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_lost_one_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let place = CredentialPlace::File(path.clone());
        let vault = Vault::new(&[upstream("https://r.example/", place, CredentialScheme::Bearer)]);
        assert_eq!(sent(&vault, "https://r.example/x").await.unwrap(), "Bearer one");
        std::fs::write(&path, "another").unwrap();
        assert_eq!(sent(&vault, "https://r.example/x").await.unwrap(), "Bearer another");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sent(&vault, "https://r.example/x").await.unwrap(), "Bearer another");
    }

    #[tokio::test]
    async fn a_command_is_asked_again_when_its_time_is_over_or_its_answer_refused() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("n").display().to_string();
        let script = format!("echo x >> {count}; wc -l < {count}");
        let url = Url::parse("https://r.example/x").unwrap();
        let short = upstream("https://r.example/", command(&script, 0), CredentialScheme::Bearer);
        let vault = Vault::new(&[short]);
        assert_eq!(sent(&vault, url.as_str()).await.unwrap(), "Bearer 1");
        assert_eq!(sent(&vault, url.as_str()).await.unwrap(), "Bearer 2");
        let long = upstream("https://r.example/", command(&script, 600), CredentialScheme::Bearer);
        let vault = Vault::new(&[long]);
        let first = vault.header(&url).await.unwrap().unwrap();
        assert_eq!(vault.header(&url).await.unwrap().unwrap(), first);
        // Just had: what is refused now would be refused again.
        assert_eq!(vault.renew(&url, &first).await, None);
        let older = HeaderValue::from_static("Bearer 0");
        assert_eq!(vault.renew(&url, &older).await, Some(first));
    }

    #[tokio::test]
    async fn errors_name_the_place_and_not_the_secret() {
        for (place, scheme, want) in [
            (command("echo s3cret >&2; exit 3", 1), CredentialScheme::Raw, "exit status: 3"),
            (command("echo s3cret", 1), CredentialScheme::Basic, "is no `user:password`"),
            (command("true", 1), CredentialScheme::Raw, "is empty"),
            (
                CredentialPlace::Env("COUNTERSIGN_NO_SUCH".into()),
                CredentialScheme::Raw,
                "no `COUNTERSIGN_NO_SUCH`",
            ),
            (
                CredentialPlace::File("/nowhere/x".into()),
                CredentialScheme::Raw,
                "`/nowhere/x` cannot be read",
            ),
        ] {
            let error = check_credential(&CredentialConfig { place, scheme }).await.unwrap_err();
            assert!(error.contains(want) && !error.contains("s3cret"), "{error}");
        }
    }
}
