//! tar headers and pax records, as bytes (POSIX.1-2024 `pax`, "ustar Interchange Format").

/// Bytes of a tar block.
pub(super) const BLOCK: usize = 512;

/// The fields of a header that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) typeflag: u8,
    /// GNU's old sparse form: further blocks of the map follow.
    pub(super) sparse_continues: bool,
}

impl Header {
    /// Reads a header; `None` when its size is no number.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let size = number(block.get(124..136)?)?;
        let mode = number(block.get(100..108)?).unwrap_or(0);
        let name = until_nul(block.get(0..100)?);
        // GNU's own format ("ustar  ") uses the prefix's place for times.
        let is_ustar = block.get(257..263)? == b"ustar\0";
        let prefix = if is_ustar { until_nul(block.get(345..500)?) } else { &[] };
        let path = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        Some(Self {
            path,
            link: until_nul(block.get(157..257)?).to_vec(),
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            size,
            typeflag: *block.get(156)?,
            sparse_continues: block.get(482).is_some_and(|b| *b != 0),
        })
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits between spaces and NULs, or GNU's base 256.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first @ 0x80.., rest)) = field.split_first() {
        // 0x80 marks a positive number; any other bit here would be a size beyond 64 bits or
        // below zero.
        let positive = *first == 0x80;
        return rest
            .iter()
            .filter(|_| positive)
            .try_fold(0u64, |sum, b| sum.checked_mul(256)?.checked_add(u64::from(*b)))
            .filter(|_| positive);
    }
    let digits = until_nul(field).trim_ascii();
    digits.iter().try_fold(0u64, |sum, b| match b {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// Whether the header's checksum holds, summed over unsigned or, as old tars did, signed bytes.
pub(super) fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    let Some(stored) = block.get(148..156).and_then(number) else { return false };
    let bytes =
        || block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { b' ' } else { *b });
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    stored == unsigned || i64::try_from(stored) == Ok(signed)
}

/// The records of a pax header, each `length key=value\n`; `None` when one is malformed.
pub(super) fn pax_records(mut text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let space = text.iter().position(|b| *b == b' ')?;
        let len: usize = std::str::from_utf8(text.get(..space)?).ok()?.parse().ok()?;
        let record = text.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        records.push((record.get(..equals)?, record.get(equals + 1..)?));
        text = text.get(len..)?;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_parse() {
        for (field, want) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"12x4\0", None),
            (b"0000689\0", None),
        ] {
            assert_eq!(number(field), want, "{field:?}");
        }
    }

    #[test]
    fn pax_records_parse() {
        let good = b"12 path=a/b\n10 size=1\n";
        assert_eq!(
            pax_records(good).unwrap(),
            [(&b"path"[..], &b"a/b"[..]), (&b"size"[..], &b"1"[..])]
        );
        for bad in [&b"99 path=a\n"[..], b"x", b"9 path=a\n\n", b"3 \n", b"10 path=abX"] {
            assert_eq!(pax_records(bad), None, "{bad:?}");
        }
    }
}
