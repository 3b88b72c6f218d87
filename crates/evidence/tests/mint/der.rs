//! As much of DER (X.690) as certificates, time stamps and their extensions need.

/// A value with its tag and length.
pub fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match body.len() {
        n @ 0..=0x7f => out.push(u8::try_from(n).unwrap()),
        n @ 0x80..=0xff => out.extend([0x81, u8::try_from(n).unwrap()]),
        n => {
            out.push(0x82);
            out.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(body);
    out
}

pub fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A `SET OF`, in the order that DER demands.
pub fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = parts.to_vec();
    parts.sort();
    tlv(0x31, &parts.concat())
}

pub fn int(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|b| *b != 0).unwrap_or(7);
    let mut body = bytes[first..].to_vec();
    if body[0] & 0x80 != 0 {
        body.insert(0, 0);
    }
    tlv(2, &body)
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let parts: Vec<u64> = dotted.split('.').map(|p| p.parse().unwrap()).collect();
    let mut body = vec![u8::try_from(parts[0] * 40 + parts[1]).unwrap()];
    for part in &parts[2..] {
        let mut groups = vec![u8::try_from(part & 0x7f).unwrap()];
        let mut rest = part >> 7;
        while rest > 0 {
            groups.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        body.extend(groups.iter().rev());
    }
    tlv(6, &body)
}

pub fn octets(body: &[u8]) -> Vec<u8> {
    tlv(4, body)
}

pub fn bits(unused: u8, body: &[u8]) -> Vec<u8> {
    tlv(3, &[&[unused], body].concat())
}

pub fn utf8(text: &str) -> Vec<u8> {
    tlv(12, text.as_bytes())
}

pub fn boolean(value: bool) -> Vec<u8> {
    tlv(1, &[if value { 0xff } else { 0 }])
}

/// A constructed value with a context-specific tag.
pub fn context(number: u8, body: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, body)
}

/// A primitive value with a context-specific tag.
pub fn implicit(number: u8, body: &[u8]) -> Vec<u8> {
    tlv(0x80 | number, body)
}

/// A `GeneralizedTime`.
pub fn time(seconds: i64) -> Vec<u8> {
    let t = jiff::Timestamp::from_second(seconds).unwrap();
    tlv(0x18, t.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

/// A certificate's time: `UTCTime` until 2049 (RFC 5280, section 4.1.2.5).
pub fn utc_time(seconds: i64) -> Vec<u8> {
    let t = jiff::Timestamp::from_second(seconds).unwrap();
    tlv(0x17, t.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
}

/// A distinguished name of one common name.
pub fn name(common: &str) -> Vec<u8> {
    seq(&[set(&[seq(&[oid("2.5.4.3"), utf8(common)])])])
}
