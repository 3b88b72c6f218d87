//! Asks an index: opening reads the header and the table, a look-up reads one package.

use super::codec::decode;
use super::error::FeedError;
use super::format::{HEADER, Table, UnverifiedHeader, digest64};
use super::key::Domain;
use super::meta::FeedMeta;
use super::package::{Advisory, Matched, PackageAdvisories};
use countersign_core::Ecosystem;
use std::io;
use std::sync::Arc;

/// Bytes that can be read at any place, such as a file through `pread`.
pub trait ReadAt {
    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When there are fewer bytes, or reading fails.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buf)
    }

    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }
}

macro_rules! read_at_through {
    ($($pointer:ty),+) => {
        $(impl<T: ReadAt + ?Sized> ReadAt for $pointer {
            fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
                (**self).read_at(offset, buf)
            }

            fn len(&self) -> u64 {
                (**self).len()
            }
        })+
    };
}

read_at_through!(&T, Box<T>, Arc<T>);

/// Tells what the feeds say about a package from what they said at another time: equal where they
/// say the same. It rests on the table's checksums, which find changes and resist no forger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Option<Vec<(u32, u64)>>);

/// An index of advisories, open for look-ups. Only its table is in memory.
#[derive(Debug)]
pub struct FeedIndex<R> {
    reader: R,
    meta: FeedMeta,
    table: Table,
    /// Where the packages begin in the file.
    packages: u64,
}

impl<R: ReadAt> FeedIndex<R> {
    /// Opens an index: reads its header and table and checks their checksum. The packages' own
    /// checksums are checked when they are looked up.
    ///
    /// # Errors
    /// When the bytes are no index, are damaged or cut short, or are of a newer format.
    pub fn open(reader: R) -> Result<Self, FeedError> {
        let file_len = reader.len();
        let mut header = [0; HEADER];
        if file_len < HEADER as u64 {
            return Err(FeedError::NotAnIndex);
        }
        reader.read_at(0, &mut header)?;
        let header = UnverifiedHeader::parse(&header, file_len)?;
        let mut rest = vec![0; header.meta + header.table];
        reader.read_at(HEADER as u64, &mut rest)?;
        let packages = file_len - header.packages;
        let (meta, table) = header.verify(rest)?;
        Ok(Self { reader, meta, table, packages })
    }

    /// What the index was made of, and how old that is.
    pub fn meta(&self) -> &FeedMeta {
        &self.meta
    }

    /// Whether any feed had data about the ecosystem (for Debian: the release, by number or code
    /// name). Where none had, finding nothing would mean nothing, and look-ups are errors.
    pub fn covers(&self, ecosystem: Ecosystem, release: Option<&str>) -> bool {
        self.covered(ecosystem, release).is_some()
    }

    /// All advisories about a package. For Debian the name is that of the source package, and
    /// `release` its release's number or code name; elsewhere `release` is not looked at.
    ///
    /// # Errors
    /// When no feed covers the ecosystem or release, or the index cannot be read or is damaged.
    pub fn package(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Result<PackageAdvisories, FeedError> {
        let domain = self.covered(ecosystem, release).ok_or_else(|| FeedError::NotCovered {
            what: Domain::to_ask(ecosystem, release).name(),
        })?;
        let key = domain.key(name);
        for entry in self.table.find(&key) {
            let mut bytes = vec![0; entry.length as usize];
            let start = self.packages.saturating_add(entry.offset);
            self.reader.read_at(start, &mut bytes)?;
            if digest64(&bytes) != entry.checksum {
                return Err(FeedError::corrupt("the checksum of a package does not hold"));
            }
            let stored = decode(&bytes)?;
            if stored.key == key {
                return Ok(PackageAdvisories::new(ecosystem, stored));
            }
        }
        Ok(PackageAdvisories::none(ecosystem))
    }

    /// The fingerprint of all advisories about a package, named as for [`FeedIndex::package`]. That
    /// no feed covers the package is told from that the feeds say nothing about it. Reads nothing.
    pub fn fingerprint(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Fingerprint {
        Fingerprint(self.covered(ecosystem, release).map(|domain| {
            let key = domain.key(name);
            // Keys that share a hash are told apart by their bytes only: they count together.
            let mut parts: Vec<_> = self.table.find(&key).map(|e| (e.length, e.checksum)).collect();
            parts.sort_unstable();
            parts
        }))
    }

    /// What the feeds say about one version. To ask about many versions of a package, keep what
    /// [`FeedIndex::package`] gives.
    ///
    /// # Errors
    /// As [`FeedIndex::package`].
    pub fn lookup(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
        release: Option<&str>,
    ) -> Result<Matched, FeedError> {
        Ok(self.package(ecosystem, name, release)?.findings_for(version))
    }

    /// The records about a package, whatever the version.
    ///
    /// # Errors
    /// As [`FeedIndex::package`].
    pub fn advisories_for(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        release: Option<&str>,
    ) -> Result<Vec<Advisory>, FeedError> {
        Ok(self.package(ecosystem, name, release)?.advisories().to_vec())
    }

    /// The domain to ask, where the index has it. Debian without a release has no answer: the same
    /// version can be fixed in one release and not be in another.
    fn covered(&self, ecosystem: Ecosystem, release: Option<&str>) -> Option<Domain> {
        let domain = Domain::to_ask(ecosystem, release);
        let name = domain.name();
        self.meta.coverage.iter().any(|c| c.ecosystem == name).then_some(domain)
    }
}
