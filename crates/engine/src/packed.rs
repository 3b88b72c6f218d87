//! Documents kept small: indexes repeat themselves, and compress ten to one. Large ones lie in files
//! that have no name, so that they are gone with the process and nobody else can reach them.

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// A document, compressed.
#[derive(Clone)]
pub(crate) struct Packed {
    form: PackedForm,
}

#[derive(Clone)]
enum PackedForm {
    Plain(Bytes),
    Zstd {
        bytes: Bytes,
        len: usize,
    },
    /// Zstandard, in a file.
    File {
        file: Arc<File>,
        packed: usize,
        len: usize,
    },
}

/// What is smaller is not worth the work.
const WORTH_IT: usize = 16 * 1024;
/// What takes more than this when it is packed goes to a file.
const WORTH_A_FILE: usize = 32 * 1024;
/// What an open file takes in memory, about.
const FILE_WEIGHT: usize = 400;

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
            Some(bytes) if bytes.len() < len => PackedForm::Zstd { bytes: exactly(bytes), len },
            _ => PackedForm::Plain(exactly(document)),
        };
        Self { form }
    }

    /// Packs a document; one that is large even so lies in a file of that folder. Where none can be
    /// made it stays in memory.
    pub(crate) fn aside(document: Vec<u8>, folder: &Path) -> Self {
        let packed = Self::new(document);
        let PackedForm::Zstd { bytes, len } = &packed.form else { return packed };
        if bytes.len() < WORTH_A_FILE {
            return packed;
        }
        let written = || -> io::Result<File> {
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::tempfile_in(folder)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        match written() {
            Ok(file) => {
                let (packed, len) = (bytes.len(), *len);
                Self { form: PackedForm::File { file: Arc::new(file), packed, len } }
            }
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "an index stays in memory");
                packed
            }
        }
    }

    /// Packs a document of any size.
    pub(crate) fn always(document: Vec<u8>) -> Self {
        match zstd::bulk::compress(&document, 1) {
            Ok(bytes) => {
                let len = document.len();
                Self { form: PackedForm::Zstd { bytes: exactly(bytes), len } }
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
    /// When what was put in cannot be had again.
    pub(crate) fn unpack(&self) -> io::Result<Bytes> {
        match &self.form {
            PackedForm::Plain(bytes) => Ok(bytes.clone()),
            PackedForm::Zstd { bytes, len } => Ok(zstd::bulk::decompress(bytes, *len)?.into()),
            PackedForm::File { file, packed, len } => {
                let mut bytes = vec![0; *packed];
                file.read_exact_at(&mut bytes, 0)?;
                Ok(zstd::bulk::decompress(&bytes, *len)?.into())
            }
        }
    }

    /// The document's size in bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.form {
            PackedForm::Plain(bytes) => bytes.len(),
            PackedForm::Zstd { len, .. } | PackedForm::File { len, .. } => *len,
        }
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match &self.form {
            PackedForm::Plain(bytes) | PackedForm::Zstd { bytes, .. } => bytes.len(),
            PackedForm::File { .. } => FILE_WEIGHT,
        }
    }
}

/// The bytes, without the room that was made in case there were more of them: what is packed takes a
/// tenth of what might have come out.
fn exactly(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
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

    #[test]
    fn what_is_large_lies_in_a_file_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0u32..40_000)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_string().into_bytes())
            .collect();
        let packed = Packed::aside(large.clone(), folder.path());
        assert!(packed.weight() < 1000 && packed.len() == large.len());
        assert_eq!(packed.clone().unpack().unwrap(), large);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let small = Packed::aside(b"small".to_vec(), folder.path());
        assert_eq!((small.weight(), small.unpack().unwrap()), (5, "small".into()));
        let nowhere = Packed::aside(large.clone(), std::path::Path::new("/dev/null/x"));
        assert_eq!(nowhere.unpack().unwrap(), large);
    }
}
