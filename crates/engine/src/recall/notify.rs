//! Telling somebody: a command that gets the recall on its standard input, or an address that it is
//! sent to.

use super::RecallReport;
use crate::engine::Engine;
use http::{HeaderMap, HeaderValue, Method, header};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use url::Url;

/// `[recall]` of the configuration: who is told when something is recalled.
#[derive(Debug, Clone, Default)]
pub struct RecallConfig {
    /// A program and its arguments; it gets the recall as JSON on its standard input.
    pub command: Vec<String>,
    /// An http or https address that the JSON is posted to.
    pub webhook: Option<Url>,
}

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer of a webhook that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

impl Engine {
    /// Tells whoever the configuration names. Returns what went wrong, in words for people: a
    /// recall that nobody could be told of is a recall all the same.
    pub(super) async fn tell(&self, report: &RecallReport) -> Vec<String> {
        let config = &self.inner.config.recall;
        let mut problems = Vec::new();
        if config.command.is_empty() && config.webhook.is_none() {
            return problems;
        }
        let json = match serde_json::to_vec(report) {
            Ok(json) => json,
            Err(e) => return vec![format!("the recall cannot be written as JSON: {e}")],
        };
        if !config.command.is_empty() {
            problems.extend(run(&config.command, &json).await.err());
        }
        if let Some(url) = &config.webhook {
            problems.extend(self.post(url, json).await.err());
        }
        for problem in &problems {
            tracing::error!(%problem, "nobody was told of a recall");
        }
        problems
    }

    async fn post(&self, url: &Url, json: Vec<u8>) -> Result<(), String> {
        // The path of such an address is often its secret: only the host is named.
        let shown = url.origin().ascii_serialization();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = self.inner.http.ask(Method::POST, url, headers, json.into(), MAX_ANSWER).await;
        match sent {
            Ok(got) if got.status.is_success() => Ok(()),
            Ok(got) => Err(format!("the recall's webhook at {shown} answered {}", got.status)),
            Err(_) => Err(format!("the recall's webhook at {shown} could not be reached")),
        }
    }
}

async fn run(command: &[String], json: &[u8]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let fail = |because: String| format!("the recall's command `{program}` {because}");
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| fail(format!("cannot be started: {e}")))?;
    let stdin = child.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // A command that does not want to read it all is not wrong.
            let _ = stdin.write_all(json).await;
            drop(stdin);
        }
        child.wait().await
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Err(_) => Err(fail(format!("took longer than {} s and was ended", PATIENCE.as_secs()))),
        Ok(Err(e)) => Err(fail(format!("failed: {e}"))),
        Ok(Ok(status)) if !status.success() => Err(fail(format!("ended with {status}"))),
        Ok(Ok(_)) => Ok(()),
    }
}
