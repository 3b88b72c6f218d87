//! `yarn.lock` of yarn 1: a format of its own.
//!
//! ```text
//! "@scope/name@^1.0.0", other@npm:@scope/name@^1:
//!   version "1.2.3"
//!   resolved "https://…/name-1.2.3.tgz#<sha1>"
//!   integrity sha512-…
//!   dependencies:
//!     third "^2.0.0"
//! ```

use super::npm::{Package, is_version, skip_source, source_kind, split_name};
use super::reading::Reading;
use super::{Format, SkipKind};
use crate::error::{IndexError, IndexLimits};
use crate::npm::parse_integrity;
use countersign_core::{Algorithm, ExpectedDigest};

/// One entry, as far as it is read.
#[derive(Default)]
struct Block<'a> {
    line: u32,
    /// `name` and what was asked for of the first pattern.
    name: &'a str,
    asked: &'a str,
    version: &'a str,
    resolved: Option<&'a str>,
    integrity: Option<&'a str>,
}

/// Reads a `yarn.lock` of yarn 1.
pub(super) fn read(
    text: &str,
    limits: &IndexLimits,
    reading: &mut Reading,
) -> Result<(), IndexError> {
    let what = Format::YarnLock.name();
    let mut block: Option<Block<'_>> = None;
    let mut blocks = 0;
    for (line, number) in text.lines().zip(1u32..) {
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let bad = |because| IndexError::malformed(what, &format!("line {number}"), because);
        let indent = line.len() - line.trim_start_matches(' ').len();
        match indent {
            0 => {
                finish(block.take(), reading);
                block = Some(head(body, number).ok_or_else(|| bad("it names no package"))?);
                blocks += 1;
                limits.check_entries(what, blocks)?;
            }
            2 => {
                let block = block.as_mut().ok_or_else(|| bad("it belongs to no package"))?;
                field(block, body).ok_or_else(|| bad("it is no `key value`"))?;
            }
            // Dependencies: each has a block of its own.
            4 => {}
            _ => return Err(bad("it is indented as nothing is")),
        }
    }
    finish(block, reading);
    Ok(())
}

/// `"name@range", other@range:`.
fn head(body: &str, line: u32) -> Option<Block<'_>> {
    let patterns = body.strip_suffix(':')?;
    let first = match patterns.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => patterns.split(',').next()?,
    };
    let (name, asked) = split_name(first)?;
    // An alias: the package is the one that is asked for.
    let real = asked.strip_prefix("npm:").and_then(split_name);
    let (name, asked) = real.unwrap_or((name, asked));
    Some(Block { line, name, asked, ..Block::default() })
}

fn field<'a>(block: &mut Block<'a>, body: &'a str) -> Option<()> {
    if body.ends_with(':') && !body.contains(' ') {
        return Some(());
    }
    let (key, value) = body.split_once(' ')?;
    let value = match value.trim().strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value.trim(),
    };
    match key {
        "version" => block.version = value,
        "resolved" => block.resolved = Some(value),
        "integrity" => block.integrity = Some(value),
        _ => {}
    }
    Some(())
}

fn finish(block: Option<Block<'_>>, reading: &mut Reading) {
    let Some(block) = block else { return };
    let line = Some(block.line);
    // What was asked for tells an address from a range; what was resolved tells a checkout.
    let asked_source = ["git", "http:", "https:", "file:", "link:", "portal:", "workspace:"]
        .iter()
        .any(|p| block.asked.starts_with(p))
        || (block.asked.contains('/') && !block.asked.contains(' '));
    let resolved_source = block.resolved.filter(|r| source_kind(r).1 == source_kind("git:").1);
    if let Some(source) = asked_source.then_some(block.asked).or(resolved_source) {
        let (kind, _) = source_kind(source);
        // `user/repository` is a host's short form.
        let source = if kind == SkipKind::Unreadable { "git:" } else { source };
        skip_source(block.name, source, line, reading);
        return;
    }
    if !is_version(block.version) {
        let what = format!("{} {}", block.name, block.version);
        reading.skip(SkipKind::Unreadable, &what, "it has no version", line);
        return;
    }
    let mut integrity = block.integrity.map(parse_integrity).unwrap_or_default();
    let sha1 = block.resolved.and_then(|r| r.split_once('#')).map(|(_, hash)| hash);
    if integrity.is_empty() {
        integrity.extend(sha1.and_then(|h| ExpectedDigest::from_hex(Algorithm::Sha1, h).ok()));
    }
    let (name, version, resolved) = (block.name, block.version, block.resolved);
    Package { name, version, resolved, integrity, dev: false, line }.list(reading);
}
