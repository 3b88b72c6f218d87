//! The little DER that is written here: an ECDSA signature (RFC 3279, section 2.2.3).

/// `ECDSA-Sig-Value` of two numbers in big-endian form. Both fit 33 bytes, so lengths take one byte.
pub(crate) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = (integer(r)?, integer(s)?);
    let length = u8::try_from(r.len() + s.len()).ok().filter(|l| *l < 0x80)?;
    Some([&[0x30, length], r.as_slice(), s.as_slice()].concat())
}

/// An `INTEGER` that is not negative, in its shortest form.
fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
    let first = bytes.iter().position(|b| *b != 0)?;
    let digits = bytes.get(first..)?;
    // A leading one bit would make the number negative.
    let pad: &[u8] = if digits.first()? & 0x80 == 0 { &[] } else { &[0] };
    let length = u8::try_from(pad.len() + digits.len()).ok().filter(|l| *l <= 33)?;
    Some([&[0x02, length], pad, digits].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positive_and_shortest() {
        assert_eq!(integer(&[0, 0, 1]).unwrap(), [2, 1, 1]);
        assert_eq!(integer(&[0x80]).unwrap(), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0x7f, 0xff]).unwrap(), [2, 2, 0x7f, 0xff]);
        assert_eq!(integer(&[0, 0]), None);
        assert_eq!(integer(&[]), None);
        assert_eq!(integer(&[1; 40]), None);
        let whole = ecdsa_signature(&[0xff; 32], &[1; 32]).unwrap();
        assert_eq!(usize::from(whole[1]), whole.len() - 2);
        assert_eq!(whole.len(), 2 + 35 + 34);
    }
}
