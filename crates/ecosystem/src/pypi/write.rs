//! Project pages for clients, written anew from the typed value.

use super::page::{IndexFile, ProjectPage};
use countersign_core::{Algorithm, ExpectedDigest};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The version of the simple API that pages are written in: provenance is of 1.3 (PEP 740), the
/// project's status of 1.4 (PEP 792).
pub const API_VERSION: &str = "1.4";
/// The media type of JSON pages (PEP 691).
pub const JSON_TYPE: &str = "application/vnd.pypi.simple.v1+json";
/// The media type of HTML pages (PEP 691 lets them keep the old one).
pub const HTML_TYPE: &str = "text/html; charset=utf-8";

/// The list of projects as PEP 503 HTML; links are relative to the list.
#[must_use]
pub fn root_html(names: &[String]) -> Vec<u8> {
    let mut out = String::from("<!DOCTYPE html>\n<html>\n<head>\n");
    meta(&mut out, "pypi:repository-version", API_VERSION);
    out.push_str("<title>Simple index</title>\n</head>\n<body>\n");
    for name in names {
        let name = escape(name);
        let _ = writeln!(out, "<a href=\"{name}/\">{name}</a><br>");
    }
    out.push_str("</body>\n</html>\n");
    out.into_bytes()
}

impl ProjectPage {
    /// The page as PEP 691 JSON (PEP 691, PEP 700).
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut page = json!({
            "meta": {"api-version": API_VERSION},
            "name": self.name,
            "versions": self.versions(),
        });
        if let Some(status) = &self.status {
            let mut object = Map::new();
            object.insert("status".to_owned(), status.as_str().into());
            if let Some(reason) = &self.status_reason {
                object.insert("reason".to_owned(), reason.as_str().into());
            }
            page["project-status"] = Value::Object(object);
        }
        // File by file: all of them at once would take many times what they take as text.
        let mut out = page.to_string().into_bytes();
        out.pop();
        out.extend_from_slice(b",\"files\":[");
        for (i, file) in self.files.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend(file_json(file).to_string().into_bytes());
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// The page as PEP 503 HTML. A link carries one digest; sizes have no place in it.
    #[must_use]
    pub fn to_html(&self) -> Vec<u8> {
        let name = escape(&self.name);
        let mut out = String::from("<!DOCTYPE html>\n<html>\n<head>\n");
        meta(&mut out, "pypi:repository-version", API_VERSION);
        if let Some(status) = &self.status {
            meta(&mut out, "pypi:project-status", status);
            if let Some(reason) = &self.status_reason {
                meta(&mut out, "pypi:project-status-reason", reason);
            }
        }
        let _ = write!(
            out,
            "<title>Links for {name}</title>\n</head>\n<body>\n<h1>Links for {name}</h1>\n"
        );
        for file in &self.files {
            // A client may take the name from the address (PEP 503): where the two differ, it would
            // see another file than the one that was judged.
            let last = file.url.path_segments().and_then(|mut s| s.next_back()).unwrap_or("");
            if crate::text::percent_decode(last).as_deref() == Some(file.file_name.as_str()) {
                file_html(&mut out, file);
            }
        }
        out.push_str("</body>\n</html>\n");
        out.into_bytes()
    }
}

fn file_json(file: &IndexFile) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("filename", file.file_name.as_str().into());
    put("url", file.url.as_str().into());
    put("hashes", hashes(&file.digests));
    if let Some(requires) = &file.requires_python {
        put("requires-python", requires.as_str().into());
    }
    put(
        "yanked",
        match file.yanked.as_deref() {
            None => false.into(),
            Some("") => true.into(),
            Some(reason) => reason.into(),
        },
    );
    if let Some(time) = file.upload_time {
        put("upload-time", time.to_string().into());
    }
    if let Some(size) = file.size {
        put("size", size.into());
    }
    if let Some(digests) = &file.core_metadata {
        let value = if digests.is_empty() { true.into() } else { hashes(digests) };
        // The second key is for clients from before PEP 714.
        put("dist-info-metadata", value.clone());
        put("core-metadata", value);
    }
    if let Some(signed) = file.gpg_sig {
        put("gpg-sig", signed.into());
    }
    if let Some(provenance) = &file.provenance {
        put("provenance", provenance.as_str().into());
    }
    Value::Object(out)
}

fn hashes(digests: &[ExpectedDigest]) -> Value {
    digests
        .iter()
        .map(|d| (d.algorithm().name().to_owned(), Value::from(d.to_hex())))
        .collect::<Map<_, _>>()
        .into()
}

fn file_html(out: &mut String, file: &IndexFile) {
    let mut href = file.url.to_string();
    if let Some(digest) = best(&file.digests) {
        let _ = write!(href, "#{}={}", digest.algorithm().name(), digest.to_hex());
    }
    let _ = write!(out, "<a href=\"{}\"", escape(&href));
    let mut attr = |name: &str, value: &str| {
        let _ = write!(out, " {name}=\"{}\"", escape(value));
    };
    if let Some(requires) = &file.requires_python {
        attr("data-requires-python", requires);
    }
    if let Some(reason) = &file.yanked {
        attr("data-yanked", reason);
    }
    if let Some(digests) = &file.core_metadata {
        let value = best(digests).map_or_else(
            || "true".to_owned(),
            |d| format!("{}={}", d.algorithm().name(), d.to_hex()),
        );
        attr("data-dist-info-metadata", &value);
        attr("data-core-metadata", &value);
    }
    if let Some(time) = file.upload_time {
        attr("data-upload-time", &time.to_string());
    }
    if let Some(signed) = file.gpg_sig {
        attr("data-gpg-sig", if signed { "true" } else { "false" });
    }
    if let Some(provenance) = &file.provenance {
        attr("data-provenance", provenance.as_str());
    }
    let _ = writeln!(out, ">{}</a><br>", escape(&file.file_name));
}

fn meta(out: &mut String, name: &str, content: &str) {
    let _ = writeln!(out, "<meta name=\"{name}\" content=\"{}\">", escape(content));
}

/// The one digest for a link: SHA-256, which every client knows, or else the longest.
fn best(digests: &[ExpectedDigest]) -> Option<&ExpectedDigest> {
    digests
        .iter()
        .find(|d| d.algorithm() == Algorithm::Sha256)
        .or_else(|| digests.iter().max_by_key(|d| d.algorithm().digest_len()))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
