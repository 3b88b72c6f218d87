//! From an address to an answer: which door a request came to, and whether it is one.

use crate::engine::Engine;
use crate::http_client::{Failure, redacted};
use crate::index::FileRef;
use crate::packed::Packed;
use crate::pipeline::Outcome;
use crate::refusal::Refusal;
use crate::report::Entry;
use crate::request::{Answer, ClientRequest, Document};
use countersign_core::{Decision, Ecosystem, ReasonCode, Timestamp};
use countersign_ecosystem::{npm, pypi};
use http::{HeaderMap, Method, StatusCode, header};
use std::sync::Arc;
use url::Url;

impl Engine {
    /// Answers one request of a client. Whatever is not recognised is closed.
    pub async fn answer(&self, request: ClientRequest) -> Answer {
        self.keep_credentials(&request.url, &request.headers);
        let reading = matches!(request.method, Method::GET | Method::HEAD);
        let upstream = self.upstream_of(&request.url);
        let npm_api = upstream
            .as_ref()
            .is_some_and(|(u, rest)| u.ecosystem == Ecosystem::Npm && rest.starts_with("-/"));
        if !reading && !npm_api {
            return self.closed(&request.url, "is written to; the gate is for installing");
        }
        let known = self.inner.files.lock().get(request.url.as_str()).cloned();
        if let Some(file) = known {
            return self.answer_file(file, &request).await;
        }
        if let Some(answer) = self.answer_core_metadata(&request).await {
            return answer;
        }
        match upstream {
            Some((u, rest)) => match u.ecosystem {
                Ecosystem::Pypi if pypi_file(&request.url).is_some() => {
                    self.answer_unlisted(&request).await
                }
                Ecosystem::Pypi => self.answer_pypi(u, &rest, &request).await,
                Ecosystem::Npm => self.answer_npm(u, &rest, &request).await,
                Ecosystem::Cargo => self.answer_cargo(u, &rest, &request).await,
                Ecosystem::Debian => self.answer_debian(u, &rest, &request).await,
                Ecosystem::Go | Ecosystem::Maven => self.answer_unlisted(&request).await,
            },
            None => match self.release_of(&request.url) {
                Some(release) => self.answer_release(release, &request).await,
                None => self.answer_unlisted(&request).await,
            },
        }
    }

    /// An address under no upstream: a file that an index may know all the same (lock files name
    /// files directly). Its package is looked up in the client's own upstreams; what they do not
    /// know stays closed.
    async fn answer_unlisted(&self, request: &ClientRequest) -> Answer {
        if let Some(file_name) = pypi_file(&request.url)
            && let Some(dist) = pypi::parse_file_name(&file_name)
        {
            let none = HeaderMap::new();
            for upstream in self.upstreams_of(Ecosystem::Pypi) {
                let same = upstream.base.origin() == request.url.origin();
                let headers = if same { &request.headers } else { &none };
                let index = match self.package(&upstream, &dist.name, headers).await {
                    Ok(index) => index,
                    Err(f) if f.says_absent() => continue,
                    Err(f) => return self.index_failure(&request.url, f),
                };
                if let Some(file) = index.files.get(&file_name) {
                    return self.answer_file(file.clone(), request).await;
                }
            }
        }
        for upstream in self.upstreams_of(Ecosystem::Cargo) {
            if let Some(answer) = self.answer_crate(&upstream, request).await {
                return answer;
            }
        }
        let path = request.url.path().to_owned();
        if let Some((name, _)) = npm::name_from_tarball_path(&path)
            && let Some(upstream) = self.npm_upstream_for(&name)
        {
            return self.answer_npm_tarball(&upstream, &name, request).await;
        }
        self.closed(&request.url, "lies under no upstream of the client")
    }

    /// A kept document.
    pub(crate) fn unpacked(&self, url: &Url, content_type: &str, document: &Packed) -> Answer {
        match document.unpack() {
            Ok(bytes) => Answer::Document(Document::ok(content_type, bytes)),
            Err(e) => self.index_failure(
                url,
                Failure::new(ReasonCode::Internal, format!("a kept index cannot be unpacked: {e}")),
            ),
        }
    }

    /// Sends a file through the pipeline.
    pub(crate) async fn answer_file(&self, file: Arc<FileRef>, request: &ClientRequest) -> Answer {
        let headers = self.credentials(&file.url, &request.headers);
        match self.admit(file, headers).await {
            Outcome::Admitted(a) => {
                self.fetches().note_here(&a);
                self.report().add_released(a.sha256());
                Answer::Artifact(a)
            }
            Outcome::Refused(r) => Answer::Refused(r),
        }
    }

    /// Closes a side door: names it in the report and answers with the reason.
    pub(crate) fn closed(&self, url: &Url, why: &str) -> Answer {
        let shown = redacted(url);
        self.report().add_door(&shown, why);
        self.refuse_address(url, ReasonCode::ClosedDoor, &format!("{shown} {why}"))
    }

    /// Notes a door that closed below HTTP, such as a tunnel that the client gave up.
    pub fn note_closed_door(&self, address: &str, why: &str) {
        self.report().add_door(address, why);
    }

    pub(crate) fn not_in_index(&self, url: &Url, name: &str) -> Answer {
        let detail = format!("{} is no file that the index of {name} lists", redacted(url));
        let answer = self.refuse_address(url, ReasonCode::NotInIndex, &detail);
        if let Answer::Refused(r) = &answer {
            self.report().add(Entry::of_refusal(r, None));
        }
        answer
    }

    /// An index that could not be had: the client's own errors for "no such package" and "log in"
    /// stay what they are, everything else is a refusal with its reason.
    pub(crate) fn index_failure(&self, url: &Url, failure: Failure) -> Answer {
        if let Some(status) = client_status(&failure) {
            return Answer::Document(Document::error(status, &format!("{}\n", failure.detail)));
        }
        let answer = self.refuse_address(url, failure.reason, &failure.detail);
        if let Answer::Refused(r) = &answer {
            self.report().add(Entry::of_refusal(r, None));
        }
        answer
    }

    /// Puts an upstream's failure into the report under its address.
    pub(crate) fn report_address(&self, shown: &str, failure: &Failure) {
        let decision =
            Decision::refused_by_gate(failure.reason, &failure.detail, self.policy_digest());
        let refusal = Refusal::unrecorded(shown, decision, self.now());
        self.report().add(Entry::of_refusal(&refusal, None));
    }

    fn refuse_address(&self, url: &Url, reason: ReasonCode, detail: &str) -> Answer {
        Answer::Refused(self.unrecorded_refusal(&redacted(url), &Failure::new(reason, detail)))
    }

    /// A refusal that is in no ledger: what was asked for is no artifact, or cannot be judged now.
    pub(crate) fn unrecorded_refusal(&self, what: &str, failure: &Failure) -> Arc<Refusal> {
        let decision =
            Decision::refused_by_gate(failure.reason, &failure.detail, self.policy_digest());
        Arc::new(Refusal::unrecorded(what, decision, self.now()))
    }

    /// An index document, with statuses other than 200 turned into failures.
    pub(crate) async fn get_index(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<crate::http_client::Fetched, Failure> {
        let got = self.inner.http.document(url, headers, self.inner.index_limits.max_bytes).await?;
        if got.status == StatusCode::OK {
            return Ok(got);
        }
        Err(Failure::answered(url, got.status))
    }

    /// The headers that carry credentials to `url`: those that the client just sent to the same
    /// origin, or the ones that it sent there before or has in its configuration.
    pub(crate) fn credentials(&self, url: &Url, asked_with: &HeaderMap) -> HeaderMap {
        if self.serves() {
            // A client's headers are for the gateway; upstreams have their own credentials.
            return match self.upstream_of(url) {
                Some((upstream, _)) => self.upstream_credentials(&upstream, url),
                None => HeaderMap::new(),
            };
        }
        let mut out = HeaderMap::new();
        let kept = self.inner.credentials.lock();
        let value = kept.get(&url.origin().ascii_serialization());
        if let Some(v) = value {
            out.insert(header::AUTHORIZATION, v.clone());
        }
        if let Some(agent) = asked_with.get(header::USER_AGENT) {
            out.insert(header::USER_AGENT, agent.clone());
        }
        out
    }

    fn keep_credentials(&self, url: &Url, headers: &HeaderMap) {
        if let Some(v) = headers.get(header::AUTHORIZATION) {
            let mut v = v.clone();
            v.set_sensitive(true);
            self.inner.credentials.lock().insert(url.origin().ascii_serialization(), v);
        }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_second())
    }
}

fn pypi_file(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    let name = percent_decode(last);
    pypi::parse_file_name(&name).map(|_| name)
}

pub(crate) fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = (b == b'%').then(|| Some([ahead.next()?, ahead.next()?])).flatten();
        let decoded = pair.and_then(|p| {
            let hi = char::from(p[0]).to_digit(16)?;
            let lo = char::from(p[1]).to_digit(16)?;
            u8::try_from(hi * 16 + lo).ok()
        });
        match decoded {
            Some(d) => {
                out.push(d);
                bytes = ahead;
            }
            None => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The upstream's own status, where the client knows better what it means than the gate does.
fn client_status(failure: &Failure) -> Option<StatusCode> {
    failure.status.filter(|s| matches!(s.as_u16(), 401 | 404 | 410 | 451))
}

#[cfg(test)]
mod tests {
    use super::percent_decode;

    #[test]
    fn percent_decoding_leaves_what_is_none() {
        for (given, want) in
            [("a%20b", "a b"), ("a%2", "a%2"), ("%zz", "%zz"), ("x%2Bcpu", "x+cpu")]
        {
            assert_eq!(percent_decode(given), want);
        }
    }
}
