//! Small artifacts in memory, by their digest, each read once through its [`Admitted`].

use bytes::Bytes;
use countersign_core::Sha256Digest;
use countersign_engine::Admitted;
use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use std::io::{self, Read as _};

/// Small artifacts. What is in here says nothing about whether it may be sent: who asks for bytes
/// shows an [`Admitted`] each time.
pub(crate) struct ArtifactMemory {
    largest: u64,
    cache: Option<Cache<Sha256Digest, Bytes, Size>>,
}

#[derive(Clone)]
struct Size;

/// What an entry takes beside its bytes.
const OVERHEAD: u64 = 256;

impl Weighter<Sha256Digest, Bytes> for Size {
    fn weight(&self, _: &Sha256Digest, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD
    }
}

impl ArtifactMemory {
    /// Room for `total` bytes of artifacts of at most `largest` bytes each.
    pub(crate) fn new(total: u64, largest: u64) -> Self {
        // One shard: a part of the room would be too small for the largest.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(total >> 18).unwrap_or(1024).max(64))
            .weight_capacity(total)
            .shards(1)
            .build();
        let cache = options.ok().filter(|_| total > OVERHEAD).map(|options| {
            Cache::with_options(options, Size, Default::default(), Default::default())
        });
        Self { largest: largest.min(total.saturating_sub(OVERHEAD)), cache }
    }

    /// Whether an artifact is small enough.
    pub(crate) fn takes(&self, admitted: &Admitted) -> bool {
        self.cache.is_some() && admitted.size() <= self.largest
    }

    /// An admitted artifact's bytes. However many ask at a time, they are read once.
    ///
    /// # Errors
    /// When they cannot be read, or are not those that were admitted.
    pub(crate) async fn bytes(&self, admitted: &Admitted) -> io::Result<Bytes> {
        let known = self.cache.as_ref().and_then(|c| c.get(&admitted.sha256()));
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        let load = async {
            let (file, size, sha256) = (admitted.open()?, admitted.size(), admitted.sha256());
            let read = tokio::task::spawn_blocking(move || read_whole(file, size, sha256));
            read.await.map_err(io::Error::other)?
        };
        match &self.cache {
            Some(cache) => Box::pin(cache.get_or_insert_async(&admitted.sha256(), load)).await,
            None => Box::pin(load).await,
        }
    }

    /// How many artifacts and bytes are kept.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.cache.as_ref().map_or((0, 0), |c| (c.len() as u64, c.weight()))
    }
}

/// Reads a blob and looks whether it is still what was admitted: that costs once what each of the
/// many requests for it then goes without.
fn read_whole(file: std::fs::File, size: u64, sha256: Sha256Digest) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(io::Error::other)?);
    file.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size || Sha256Digest::of(&bytes) != sha256 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the blob {sha256} does not hold what was admitted"),
        ));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};

    #[test]
    fn bytes_that_changed_are_not_taken() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"admitted").unwrap();
        let digest = Sha256Digest::of(b"admitted");
        let read = |file: &std::fs::File, size| {
            let mut file = file.try_clone().unwrap();
            file.rewind().unwrap();
            read_whole(file, size, digest)
        };
        assert_eq!(read(&file, 8).unwrap(), &b"admitted"[..]);
        assert!(read(&file, 7).is_err());
        assert!(read(&file, 9).is_err());
        file.rewind().unwrap();
        file.write_all(b"ADMITTED").unwrap();
        assert!(read(&file, 8).is_err());
    }
}
