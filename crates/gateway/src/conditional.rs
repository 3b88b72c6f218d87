//! Conditions and ranges of requests (RFC 9110, sections 13 and 14).

use http::{HeaderMap, HeaderName, header};

/// Whether `If-None-Match` says that the client has this already. Tags are compared weakly, as the
/// section wants for this header; `*` matches whatever there is.
pub(crate) fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|v| {
        v.to_str().is_ok_and(|text| {
            text.trim() == "*" || tags(text).any(|tag| opaque(tag) == opaque(etag))
        })
    })
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The entity tags of a list. A comma within quotes belongs to the tag.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let start = if rest.starts_with("W/\"") { 3 } else { 1 };
        if !rest.get(..start)?.ends_with('"') {
            return None;
        }
        let end = start + rest.get(start..)?.find('"')? + 1;
        let (tag, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(tag)
    })
}

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From the first to before the second.
    Range(u64, u64),
    /// A part that it has not.
    Outside,
}

/// Reads `Range` and `If-Range`. A form that is not served counts as no range at all, and so does a
/// range whose condition does not hold: the client then gets the whole file. Dates in `If-Range`
/// never hold, since artifacts carry none.
pub(crate) fn part(headers: &HeaderMap, size: u64, etag: &str) -> Part {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Part::Whole };
    if headers.contains_key(header::IF_RANGE)
        && text(header::IF_RANGE).is_none_or(|tag| tag.trim() != etag)
    {
        return Part::Whole;
    }
    one_range(range, size)
}

/// One range of RFC 9110, section 14.1.2.
fn one_range(text: &str, size: u64) -> Part {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|s| s.split_once('-')) else {
        return Part::Whole;
    };
    let (from, to) = (from.trim(), to.trim());
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !digits(to) || (from.is_empty() && to.is_empty()) {
        return Part::Whole;
    }
    // A number that no file can reach is as good as the largest one.
    let number = |t: &str| t.parse::<u64>().unwrap_or(u64::MAX);
    let (start, end) = match (from, to) {
        ("", n) => (size - number(n).min(size), size),
        (s, "") => (number(s), size),
        // A range that ends before it begins is none.
        (s, e) if number(e) < number(s) => return Part::Whole,
        (s, e) => (number(s), number(e).saturating_add(1).min(size)),
    };
    if start < end { Part::Range(start, end) } else { Part::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(n, v): &(&str, &str)| {
            (HeaderName::from_bytes(n.as_bytes()).unwrap(), HeaderValue::from_str(v).unwrap())
        };
        let mut out = HeaderMap::new();
        for (name, value) in list.iter().map(pair) {
            out.append(name, value);
        }
        out
    }

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        for (sent, want) in [
            (vec!["\"a\""], true),
            (vec!["W/\"a\""], true),
            (vec!["\"b\", \"a\""], true),
            (vec!["\"b\",W/\"a\",\"c\""], true),
            (vec!["\"b\"", "\"a\""], true),
            (vec!["*"], true),
            (vec!["\"x,y\", \"a\""], true),
            (vec![], false),
            (vec!["\"b\""], false),
            (vec!["a"], false),
            (vec!["\"x,\"a\""], false),
            (vec!["\"aa\""], false),
            (vec!["w/\"a\""], false),
            (vec!["\"a"], false),
            (vec![""], false),
        ] {
            let h: Vec<_> = sent.iter().map(|v| ("if-none-match", *v)).collect();
            assert_eq!(has_already(&headers(&h), "\"a\""), want, "{sent:?}");
        }
    }

    #[test]
    fn ranges() {
        for (text, want) in [
            ("bytes=0-0", Part::Range(0, 1)),
            ("bytes=2-", Part::Range(2, 10)),
            ("bytes=-3", Part::Range(7, 10)),
            ("bytes=-30", Part::Range(0, 10)),
            ("bytes=5-500", Part::Range(5, 10)),
            ("bytes=5-99999999999999999999999", Part::Range(5, 10)),
            ("bytes=10-", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=--1", Part::Whole),
            ("items=0-1", Part::Whole),
            ("bytes=x-y", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("0-1", Part::Whole),
        ] {
            assert_eq!(part(&headers(&[("range", text)]), 10, "\"t\""), want, "{text}");
        }
        assert_eq!(one_range("bytes=0-", 0), Part::Outside);
    }

    #[test]
    fn a_range_of_another_file_is_no_range() {
        for (condition, want) in [
            ("\"t\"", Part::Range(2, 4)),
            ("\"u\"", Part::Whole),
            ("W/\"t\"", Part::Whole),
            ("Sat, 12 Jul 2025 08:30:01 GMT", Part::Whole),
        ] {
            let h = headers(&[("range", "bytes=2-3"), ("if-range", condition)]);
            assert_eq!(part(&h, 10, "\"t\""), want, "{condition}");
        }
    }
}
