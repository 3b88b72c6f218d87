//! PEP 503 project pages, with what PEP 592, 629, 658, 714, 740 and 792 add.

use super::page::{ProjectPage, RawFile, WHAT, pairs};
use super::parse_file_name;
use crate::error::{IndexError, IndexLimits};
use crate::text::percent_decode;
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use url::Url;

/// Longest text of a link that is kept, in bytes; a file name is shorter.
const MAX_LINK_TEXT: usize = 512;

pub(super) fn parse(
    body: &[u8],
    page_url: &Url,
    name: String,
    limits: &IndexLimits,
) -> Result<ProjectPage, IndexError> {
    let mut emitter: DefaultEmitter = DefaultEmitter::default();
    // Links inside scripts, styles and comments are text to a browser and to installers.
    emitter.naively_switch_states(true);
    let mut reader = Reader {
        page: ProjectPage { name, ..ProjectPage::default() },
        base: page_url.clone(),
        base_seen: false,
        open: None,
    };
    for token in Tokenizer::new_with_emitter(body, emitter) {
        match token {
            Ok(Token::StartTag(tag)) => reader.start(&tag)?,
            Ok(Token::EndTag(tag)) if *tag.name == b"a" => reader.close(),
            Ok(Token::String(text)) => reader.text(&text),
            Ok(_) => {}
            Err(never) => match never {},
        }
        let seen = reader.page.files.len().saturating_add(reader.page.rejected);
        limits.check_entries(WHAT, seen)?;
    }
    reader.close();
    Ok(reader.page)
}

struct Reader {
    page: ProjectPage,
    base: Url,
    base_seen: bool,
    open: Option<(RawFile, String)>,
}

impl Reader {
    fn start(&mut self, tag: &StartTag<()>) -> Result<(), IndexError> {
        match tag.name.as_slice() {
            b"a" => {
                self.close();
                self.open = attr(tag, "href").map(|href| (link(tag, href), String::new()));
            }
            // Only the first `base` counts (HTML, "The base element").
            b"base" if !self.base_seen => {
                if let Some(href) = attr(tag, "href") {
                    self.base_seen = true;
                    self.base = self.base.join(href.trim()).map_err(|_| {
                        IndexError::malformed(WHAT, "base", format!("`{href}` is not a URL"))
                    })?;
                }
            }
            b"meta" => self.meta(tag)?,
            _ => {}
        }
        Ok(())
    }

    fn meta(&mut self, tag: &StartTag<()>) -> Result<(), IndexError> {
        let content = attr(tag, "content").unwrap_or_default();
        match attr(tag, "name").as_deref() {
            Some("pypi:repository-version") if content.split('.').next() != Some("1") => {
                let because = format!("version `{content}` is not known");
                return Err(IndexError::malformed(WHAT, "pypi:repository-version", because));
            }
            Some("pypi:project-status") => self.page.status = Some(crate::text::clean(&content)),
            Some("pypi:project-status-reason") => {
                self.page.status_reason = Some(crate::text::clean(&content));
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        if let Some((_, label)) = &mut self.open
            && label.len() < MAX_LINK_TEXT
        {
            label.push_str(&String::from_utf8_lossy(text));
        }
    }

    /// Ends the open link. Installers differ on whether a file is named by its link's text or by
    /// its URL, so two different names of distributions are refused.
    fn close(&mut self) {
        let Some((raw, label)) = self.open.take() else { return };
        let label = label.trim();
        if label != raw.file_name && parse_file_name(label).is_some() {
            self.page.rejected += 1;
            return;
        }
        self.page.take(raw, &self.base);
    }
}

fn link(tag: &StartTag<()>, href: String) -> RawFile {
    let path = href.split(['?', '#']).next().unwrap_or("");
    let last = path.rsplit('/').next().unwrap_or("").trim();
    RawFile {
        // A name that cannot be decoded belongs to no project and is dropped as such.
        file_name: percent_decode(last).unwrap_or_default(),
        requires_python: attr(tag, "data-requires-python"),
        yanked: attr(tag, "data-yanked"),
        upload_time: attr(tag, "data-upload-time"),
        core_metadata: attr(tag, "data-core-metadata")
            .or_else(|| attr(tag, "data-dist-info-metadata"))
            .filter(|v| v != "false")
            .map(|v| pairs(&v)),
        gpg_sig: attr(tag, "data-gpg-sig").and_then(|v| v.parse().ok()),
        provenance: attr(tag, "data-provenance"),
        url: href.trim().to_owned(),
        digests: Vec::new(),
        size: None,
    }
}

fn attr(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(&value.value).into_owned())
}
