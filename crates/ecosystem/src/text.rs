//! Small helpers for texts that come from elsewhere.

/// Decodes `%xx` sequences; `None` when one is broken or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// The text with control characters as spaces, without blanks around it: what cannot be carried
/// by HTML, and what a terminal might obey, ends here.
pub(crate) fn clean(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.trim().to_owned()
}

/// Whether a URL is one that the gate may fetch: `http` or `https`, with a host.
pub(crate) fn is_web(url: &url::Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|h| !h.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_sequences_decode_or_fail() {
        for (given, want) in [
            ("a%2Fb%2fc", Some("a/b/c")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decode(given).as_deref(), want, "{given}");
        }
    }

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(clean(" a\u{1b}[31m\r\nb\u{0} "), "a [31m  b");
    }
}
