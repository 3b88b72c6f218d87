//! Documents kept small in memory: indexes repeat themselves, and compress ten to one.

use bytes::Bytes;

/// A document, compressed.
#[derive(Clone)]
pub(crate) struct Packed {
    form: PackedForm,
}

#[derive(Clone)]
enum PackedForm {
    Plain(Bytes),
    Zstd { bytes: Bytes, len: usize },
}

/// What is smaller is not worth the work.
const WORTH_IT: usize = 16 * 1024;

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a document of {} bytes in {}", self.len(), self.weight())
    }
}

impl Packed {
    /// Packs a document; one that does not compress stays as it is.
    pub(crate) fn new(document: Vec<u8>) -> Self {
        let len = document.len();
        let packed = if len < WORTH_IT { None } else { zstd::bulk::compress(&document, 1).ok() };
        let form = match packed {
            Some(bytes) if bytes.len() < len => PackedForm::Zstd { bytes: bytes.into(), len },
            _ => PackedForm::Plain(document.into()),
        };
        Self { form }
    }

    /// Packs a document of any size.
    pub(crate) fn always(document: Vec<u8>) -> Self {
        match zstd::bulk::compress(&document, 1) {
            Ok(bytes) => {
                let len = document.len();
                Self { form: PackedForm::Zstd { bytes: bytes.into(), len } }
            }
            Err(_) => Self::plain(document),
        }
    }

    /// A document that is given out as it is, once or a few times: not worth packing.
    pub(crate) fn plain(document: Vec<u8>) -> Self {
        Self { form: PackedForm::Plain(document.into()) }
    }

    /// The document.
    ///
    /// # Errors
    /// When memory does not hold what was put in.
    pub(crate) fn unpack(&self) -> std::io::Result<Bytes> {
        match &self.form {
            PackedForm::Plain(bytes) => Ok(bytes.clone()),
            PackedForm::Zstd { bytes, len } => Ok(zstd::bulk::decompress(bytes, *len)?.into()),
        }
    }

    /// The document's size in bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.form {
            PackedForm::Plain(bytes) => bytes.len(),
            PackedForm::Zstd { len, .. } => *len,
        }
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match &self.form {
            PackedForm::Plain(bytes) | PackedForm::Zstd { bytes, .. } => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn what_is_packed_comes_back() {
        let repeated = b"{\"version\":\"1.0.0\"}".repeat(5_000);
        let noise: Vec<u8> =
            (0u32..40_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for document in [Vec::new(), b"small".to_vec(), repeated, noise] {
            let packed = Packed::new(document.clone());
            assert_eq!(packed.unpack().unwrap(), document);
            assert_eq!(packed.len(), document.len());
            assert!(packed.weight() <= document.len());
        }
        let repeated = b"{\"version\":\"1.0.0\"}".repeat(5_000);
        assert!(Packed::new(repeated.clone()).weight() * 10 < repeated.len());
    }
}
