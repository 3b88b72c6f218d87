//! What the sinkhole reads and answers: DNS, and the first bytes of a connection. No I/O.

use std::net::Ipv4Addr;

/// A question of DNS (RFC 1035, section 4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The name, in lower case, without its last dot.
    pub(super) name: String,
    /// The type: 1 is an IPv4 address.
    pub(super) kind: u16,
    /// Where the question ends in the message.
    end: usize,
}

/// The type of an IPv4 address.
pub(super) const ADDRESS: u16 = 1;

/// The one question of a message; none when it is no plain question.
pub(super) fn dns_question(message: &[u8]) -> Option<Question> {
    let flags = *message.get(2)?;
    let questions = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    // An answer, an operation other than a query, or several questions, which nobody asks.
    if flags & 0xf8 != 0 || questions != 1 {
        return None;
    }
    let mut at = 12;
    let mut labels: Vec<String> = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            // A pointer has nothing to point to in a question.
            64.. => return None,
            _ => {}
        }
        let label = message.get(at..at + length)?;
        labels.push(text(label, 64).to_ascii_lowercase());
        at += length;
        // RFC 1035, section 2.3.4: a name has 255 octets at most.
        if at > 12 + 255 {
            return None;
        }
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    message.get(at + 2..at + 4)?;
    Some(Question { name: labels.join("."), kind, end: at + 4 })
}

/// The answer: an address for a question about one, and otherwise that there is nothing of that type.
pub(super) fn dns_answer(message: &[u8], question: &Question, address: Ipv4Addr) -> Vec<u8> {
    let mut out = message.get(..question.end).unwrap_or_default().to_vec();
    let with_address = question.kind == ADDRESS;
    // A recursive answer, one question, one record or none, nothing else.
    let head = [0x81, 0x80, 0, 1, 0, u8::from(with_address), 0, 0, 0, 0];
    if let Some(place) = out.get_mut(2..12) {
        place.copy_from_slice(&head);
    }
    if with_address {
        // The name is the question's, class IN, 60 seconds, four octets.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address.octets());
    }
    out
}

/// The host that a connection is for, by its first bytes: of HTTP, or of a TLS handshake.
pub(super) fn host(data: &[u8]) -> Option<String> {
    if data.first() == Some(&0x16) { server_name(data) } else { http_host(data) }
}

fn http_host(data: &[u8]) -> Option<String> {
    let head = data.split(|b| *b == b'\n').take(64);
    for line in head {
        let Some((name, value)) = line.split_at_checked(5) else { continue };
        if name.eq_ignore_ascii_case(b"host:") {
            return Some(text(value, 255).trim().to_owned());
        }
    }
    None
}

/// The server name of a ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3).
fn server_name(data: &[u8]) -> Option<String> {
    // Record header, handshake header, version and random.
    let mut rest = data.get(5 + 4 + 2 + 32..)?;
    for prefix in [1, 2, 1] {
        let length = number(rest.get(..prefix)?);
        rest = rest.get(prefix + length..)?;
    }
    rest = rest.get(2..)?;
    while let Some(head) = rest.get(..4) {
        let length = number(&head[2..4]);
        let body = rest.get(4..)?.get(..length)?;
        if number(&head[..2]) == 0 {
            let name_length = number(body.get(3..5)?);
            return Some(text(body.get(5..5 + name_length)?, 255));
        }
        rest = rest.get(4 + length..)?;
    }
    None
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b))
}

/// The length of an HTTP request's head and body; none while it is not known.
pub(super) fn http_length(data: &[u8]) -> Option<usize> {
    let end = data.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = text(data.get(..end)?, end).to_ascii_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
    let length = length.and_then(|l| l.trim().parse::<usize>().ok()).unwrap_or(0);
    Some(end.saturating_add(length))
}

/// The beginning of what was sent, for people.
pub(super) fn beginning(data: &[u8]) -> String {
    if data.first() == Some(&0x16) {
        return "a TLS handshake".to_owned();
    }
    text(data, 400)
}

/// Bytes as text of one kind of line end, with what is not printable as dots.
fn text(bytes: &[u8], most: usize) -> String {
    let bytes = bytes.get(..most.min(bytes.len())).unwrap_or_default();
    let shown = |c: char| match c {
        '\r' => None,
        '\n' => Some('\n'),
        c if c.is_control() || c == char::REPLACEMENT_CHARACTER => Some('.'),
        c => Some(c),
    };
    String::from_utf8_lossy(bytes).chars().filter_map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            out.push(u8::try_from(label.len()).unwrap());
            out.extend(label.as_bytes());
        }
        out.extend([0, 0, kind, 0, 1]);
        out
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let message = query("Files.Example", 1);
        let question = dns_question(&message).unwrap();
        assert_eq!((question.name.as_str(), question.kind), ("files.example", ADDRESS));
        let answer = dns_answer(&message, &question, Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(&answer[..8], &[0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1]);
        assert!(answer.ends_with(&[0, 4, 198, 18, 0, 1]));
        let six = query("files.example", 28);
        let question = dns_question(&six).unwrap();
        let answer = dns_answer(&six, &question, Ipv4Addr::LOCALHOST);
        assert_eq!((answer[7], answer.len()), (0, six.len()));
    }

    #[test]
    fn what_is_no_question_is_none() {
        let good = query("a.example", 1);
        for cut in 0..good.len() {
            assert_eq!(dns_question(&good[..cut]), None, "{cut}");
        }
        let mut answer = good.clone();
        answer[2] |= 0x80;
        assert_eq!(dns_question(&answer), None);
        let mut pointer = good;
        pointer[12] = 0xc0;
        assert_eq!(dns_question(&pointer), None);
    }

    #[test]
    fn hosts_are_read_from_http_and_tls() {
        assert_eq!(host(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap(), "a.example");
        assert_eq!(host(b"\x00\x01"), None);
        let name = b"b.example";
        let mut extension = vec![0, 0, 0, 14, 0, 12, 0, 0, 9];
        extension.extend(name);
        let mut hello = vec![0x16, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
        hello.extend([0, 18, 0, 0x2b, 0, 1, 9]);
        hello.extend(&extension);
        assert_eq!(host(&hello).unwrap(), "b.example");
        for cut in 0..hello.len() {
            assert_eq!(host(&hello[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_request_is_whole_when_its_body_is() {
        assert_eq!(http_length(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(http_length(b"GET / HTTP/1.1\r\n\r\n"), Some(18));
        let posted = b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(http_length(posted), Some(posted.len()));
    }
}
