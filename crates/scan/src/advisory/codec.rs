//! The bytes of one package's advisories. Numbers are LEB128, texts are length and UTF-8.
//!
//! ```text
//! package    = key versions count advisory*
//! versions   = count (text is_new)* count text*      ordered ones, then those without an order
//! advisory   = id kind severity modified title exploited epss count alias* count upstream* count block*
//! block      = opaque count index* count range*
//! range      = from_start count (kind index)* count limit*
//! ```

use super::error::FeedError;
use super::kev::KnownExploited;
use super::order::VersionTable;
use super::range::{Block, Event, EventKind, Range};
use countersign_core::{FindingKind, Severity, Timestamp};

/// One advisory about one package, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredAdvisory {
    pub(super) id: String,
    pub(super) kind: FindingKind,
    pub(super) severity: Severity,
    pub(super) modified: Option<Timestamp>,
    pub(super) title: String,
    pub(super) exploited: Option<KnownExploited>,
    /// In permille.
    pub(super) epss: Option<u16>,
    pub(super) aliases: Vec<String>,
    pub(super) upstream: Vec<String>,
    pub(super) blocks: Vec<Block>,
}

/// All advisories about one package, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredPackage {
    pub(super) key: String,
    pub(super) versions: VersionTable,
    pub(super) advisories: Vec<StoredAdvisory>,
}

const SEVERITIES: [Severity; 6] = [
    Severity::Info,
    Severity::Low,
    Severity::Moderate,
    Severity::Unknown,
    Severity::High,
    Severity::Critical,
];
const KINDS: [FindingKind; 3] =
    [FindingKind::Malicious, FindingKind::Vulnerability, FindingKind::Notice];
const EVENTS: [EventKind; 3] = [EventKind::Fixed, EventKind::Introduced, EventKind::LastAffected];

/// The bytes of a package.
pub(super) fn encode(package: &StoredPackage) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(256));
    w.text(&package.key);
    let ordered = package.versions.ordered();
    w.count(ordered.len());
    for (text, is_new) in ordered {
        w.text(text);
        w.flag(is_new);
    }
    w.list(package.versions.unordered(), |w, text| w.text(text));
    w.list(&package.advisories, Writer::advisory);
    w.0
}

/// The package in `bytes`, which must hold it and nothing else.
pub(super) fn decode(bytes: &[u8]) -> Result<StoredPackage, FeedError> {
    let mut r = Reader(bytes);
    let key = r.text()?;
    let ordered = r.list(|r| Ok((r.text()?, r.flag()?)))?;
    let unordered = r.list(Reader::text)?;
    let versions = VersionTable::from_parts(ordered, unordered);
    let limit = versions.len() as u64;
    let advisories = r.list(|r| r.advisory(limit))?;
    if !r.0.is_empty() {
        return Err(FeedError::corrupt("a package's advisories have bytes left over"));
    }
    Ok(StoredPackage { key, versions, advisories })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn count(&mut self, n: usize) {
        self.number(n as u64);
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    fn text(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        for item in items {
            write(self, item);
        }
    }

    /// A value of a closed set, as its place in the set.
    fn member<T: PartialEq>(&mut self, set: &[T], value: &T) {
        self.count(set.iter().position(|v| v == value).unwrap_or(set.len()));
    }

    fn advisory(&mut self, a: &StoredAdvisory) {
        self.text(&a.id);
        self.member(&KINDS, &a.kind);
        self.member(&SEVERITIES, &a.severity);
        self.maybe(a.modified, |w, t| w.0.extend_from_slice(&t.0.to_le_bytes()));
        self.text(&a.title);
        self.maybe(a.exploited.as_ref(), |w, e| {
            w.text(&e.cve);
            w.maybe(e.due.as_ref(), |w, due| w.text(due));
        });
        self.maybe(a.epss, |w, epss| w.number(u64::from(epss)));
        self.list(&a.aliases, |w, text| w.text(text));
        self.list(&a.upstream, |w, text| w.text(text));
        self.list(&a.blocks, Self::block);
    }

    fn block(&mut self, b: &Block) {
        self.flag(b.opaque);
        self.list(&b.versions, |w, index| w.number(u64::from(*index)));
        self.list(&b.ranges, |w, range| {
            w.flag(range.from_start);
            w.list(&range.events, |w, event| {
                w.member(&EVENTS, &event.kind);
                w.number(u64::from(event.version));
            });
            w.list(&range.limits, |w, index| w.number(u64::from(*index)));
        });
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], FeedError> {
        let (head, rest) = self
            .0
            .split_at_checked(n)
            .ok_or(FeedError::corrupt("a package's advisories are cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, FeedError> {
        self.take(1)?.first().copied().ok_or(FeedError::corrupt("a byte is missing"))
    }

    fn number(&mut self) -> Result<u64, FeedError> {
        let mut n = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(FeedError::corrupt("a number is too long"))
    }

    fn flag(&mut self) -> Result<bool, FeedError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FeedError::corrupt("a flag is neither 0 nor 1")),
        }
    }

    fn text(&mut self) -> Result<String, FeedError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| FeedError::corrupt("a text is not UTF-8"))
    }

    fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FeedError>,
    ) -> Result<Option<T>, FeedError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// A list; no item is shorter than a byte, which bounds what a false count can allocate.
    fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, FeedError>,
    ) -> Result<Vec<T>, FeedError> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.0.len() {
            return Err(FeedError::corrupt("a list is longer than its bytes"));
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn member<T: Copy>(&mut self, set: &[T]) -> Result<T, FeedError> {
        let at = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        set.get(at).copied().ok_or(FeedError::corrupt("a value is not of its closed set"))
    }

    fn index(&mut self, limit: u64) -> Result<u32, FeedError> {
        let index = self.number()?;
        u32::try_from(index)
            .ok()
            .filter(|_| index < limit)
            .ok_or(FeedError::corrupt("a version is not in the table"))
    }

    fn advisory(&mut self, limit: u64) -> Result<StoredAdvisory, FeedError> {
        Ok(StoredAdvisory {
            id: self.text()?,
            kind: self.member(&KINDS)?,
            severity: self.member(&SEVERITIES)?,
            modified: self.maybe(Self::time)?,
            title: self.text()?,
            exploited: self
                .maybe(|r| Ok(KnownExploited { cve: r.text()?, due: r.maybe(Self::text)? }))?,
            epss: self.maybe(Self::permille)?,
            aliases: self.list(Self::text)?,
            upstream: self.list(Self::text)?,
            blocks: self.list(|r| r.block(limit))?,
        })
    }

    fn time(&mut self) -> Result<Timestamp, FeedError> {
        let bytes: [u8; 8] =
            self.take(8)?.try_into().map_err(|_| FeedError::corrupt("a time is cut short"))?;
        Ok(Timestamp(i64::from_le_bytes(bytes)))
    }

    fn permille(&mut self) -> Result<u16, FeedError> {
        let n = u16::try_from(self.number()?).ok().filter(|n| *n <= 1000);
        n.ok_or(FeedError::corrupt("a likelihood is above one"))
    }

    fn block(&mut self, limit: u64) -> Result<Block, FeedError> {
        Ok(Block {
            opaque: self.flag()?,
            versions: self.list(|r| r.index(limit))?,
            ranges: self.list(|r| {
                Ok(Range {
                    from_start: r.flag()?,
                    events: r.list(|r| {
                        Ok(Event { kind: r.member(&EVENTS)?, version: r.index(limit)? })
                    })?,
                    limits: r.list(|r| r.index(limit))?,
                })
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::Ecosystem;
    use proptest::prelude::*;

    fn sample() -> StoredPackage {
        let event = |kind, version| Event { kind, version };
        StoredPackage {
            key: "npm\0a".to_owned(),
            versions: VersionTable::build(
                Ecosystem::Npm,
                ["1.0.0", "2.0.0", "1.0.0+b", "junk"].into_iter(),
            ),
            advisories: vec![StoredAdvisory {
                id: "GHSA-1".to_owned(),
                kind: FindingKind::Vulnerability,
                severity: Severity::Unknown,
                modified: Some(Timestamp(-5)),
                title: "títle".to_owned(),
                exploited: Some(KnownExploited { cve: "CVE-1".to_owned(), due: None }),
                epss: Some(944),
                aliases: vec!["CVE-1".to_owned()],
                upstream: vec![],
                blocks: vec![Block {
                    ranges: vec![Range {
                        from_start: true,
                        events: vec![event(EventKind::Fixed, 2), event(EventKind::LastAffected, 3)],
                        limits: vec![1],
                    }],
                    versions: vec![0, 3],
                    opaque: true,
                }],
            }],
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(decode(&encode(&sample())).unwrap(), sample());
    }

    #[test]
    fn every_prefix_is_an_error() {
        let bytes = encode(&sample());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn false_lengths_do_not_allocate() {
        let mut bytes = vec![1, b'k'];
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert!(decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_package_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_flipped_byte_never_panics(at in any::<prop::sample::Index>(), with in 1u8..) {
            let mut bytes = encode(&sample());
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            let _ = decode(&bytes);
        }
    }
}
