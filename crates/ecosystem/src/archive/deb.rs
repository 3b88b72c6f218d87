//! Debian binary packages (deb(5)): an `ar` archive of `debian-binary`, `control.tar.*` and
//! `data.tar.*`, in this order.

use super::decode::{Codec, GzipExtras};
use super::watch::{Exact, Source, Stop, Watch};
use super::{Problem, ProblemCode, Visitor, path, tar};
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};

const MAGIC: &[u8] = b"!<arch>\n";
const MEMBER_HEADER: usize = 60;
/// Members of a package; there are three, and room for signatures.
const MAX_MEMBERS: u32 = 16;

/// What has to come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Version,
    Control,
    Data,
    Nothing,
}

/// Walks a Debian package; paths get `control/` or `data/` in front.
pub(super) fn walk_deb(
    source: &mut Source<'_>,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<(), Stop> {
    let mut input = BufReader::with_capacity(64 << 10, source);
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(Stop::malformed("not an `ar` archive, as Debian packages are"));
    }
    let mut next = Next::Version;
    let mut members = 0;
    while let Some((name, size)) = member(&mut input)? {
        members += 1;
        if members > MAX_MEMBERS {
            return Err(Stop::malformed("more members than a Debian package has"));
        }
        let mut content = BufReader::with_capacity(64 << 10, Exact::new(&mut input, size));
        next = read_member(&name, &mut content, next, watch, visitor)?;
        io::copy(&mut content, &mut io::sink())?;
        if size % 2 == 1 {
            skip_padding(&mut input)?;
        }
    }
    match next {
        Next::Nothing => Ok(()),
        _ => Err(Stop::truncated("the Debian package ends before its data member")),
    }
}

/// Reads a member's header; `None` at the end.
fn member(input: &mut impl BufRead) -> Result<Option<(String, u64)>, Stop> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut header = [0; MEMBER_HEADER];
    input.read_exact(&mut header)?;
    let field = |range: std::ops::Range<usize>| {
        header.get(range).and_then(|f| std::str::from_utf8(f).ok()).map(str::trim_end)
    };
    let malformed = || Stop::malformed("an `ar` member's header is malformed");
    let name = field(0..16).ok_or_else(malformed)?;
    let size = field(48..58).and_then(|s| s.parse().ok()).ok_or_else(malformed)?;
    if header.get(58..60) != Some(b"`\n") {
        return Err(malformed());
    }
    Ok(Some((name.strip_suffix('/').unwrap_or(name).to_owned(), size)))
}

fn skip_padding(input: &mut impl BufRead) -> Result<(), Stop> {
    if !input.fill_buf()?.is_empty() {
        input.consume(1);
    }
    Ok(())
}

fn read_member(
    name: &str,
    content: &mut impl BufRead,
    next: Next,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<Next, Stop> {
    let is_control = is_tar_of(name, "control.tar");
    let is_data = is_tar_of(name, "data.tar");
    match next {
        Next::Version if name == "debian-binary" => {
            let mut version = Vec::new();
            content.take(64).read_to_end(&mut version)?;
            // A new minor version may add members; a new major one means something else.
            if !version.starts_with(b"2.") {
                return Err(Stop::malformed("not version 2 of Debian's package format"));
            }
            Ok(Next::Control)
        }
        Next::Control if is_control => {
            inner_tar(name, content, "control/", watch, visitor)?;
            Ok(Next::Data)
        }
        Next::Data if is_data => {
            inner_tar(name, content, "data/", watch, visitor)?;
            Ok(Next::Nothing)
        }
        // Names with an underscore in front are to be ignored (deb(5)): signatures use them.
        Next::Control | Next::Data | Next::Nothing if name.starts_with('_') => Ok(next),
        Next::Nothing if is_control || is_data => {
            let detail = format!("a second member `{}`", path::shown(name));
            watch.report(Problem::whole(ProblemCode::HeaderMismatch, detail));
            Ok(next)
        }
        Next::Nothing => {
            let detail = format!("member `{}` after the data", path::shown(name));
            watch.report(Problem::whole(ProblemCode::HiddenData, detail));
            Ok(next)
        }
        _ => Err(Stop::malformed(format!(
            "member `{}` where a Debian package has another",
            path::shown(name)
        ))),
    }
}

fn is_tar_of(name: &str, stem: &str) -> bool {
    let suffix = name.strip_prefix(stem);
    matches!(suffix, Some("" | ".gz" | ".xz" | ".zst" | ".bz2" | ".lzma"))
}

fn inner_tar(
    name: &str,
    content: &mut impl BufRead,
    prefix: &str,
    watch: &mut Watch<'_>,
    visitor: &mut Visitor<'_>,
) -> Result<(), Stop> {
    let extras = Cell::new(GzipExtras::default());
    let codec = Codec::of_file_name(name);
    tar::walk_stream(&mut *content, codec, prefix, &extras, watch, visitor)?;
    tar::report_extras(extras.get(), watch);
    if io::copy(content, &mut io::sink())? > 0 && !extras.get().garbage {
        let detail = format!("bytes after the end of member `{}`", path::shown(name));
        watch.report(Problem::whole(ProblemCode::TrailingData, detail));
    }
    Ok(())
}
