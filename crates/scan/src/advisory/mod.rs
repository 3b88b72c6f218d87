//! Advisories: which known vulnerabilities and malicious packages a version is listed under.
//!
//! [`IndexBuilder`] turns feeds of OSV records into one file; [`FeedIndex`] answers from it without
//! loading it. What a feed says is believed as it stands (feeds are fetched over channels that the
//! configuration trusts); what it leaves open is reported as undecided, never as unaffected.
//!
//! A look-up reads one package's records from the file, so that the size of the feeds costs
//! neither memory nor time.

mod builder;
mod classify;
mod codec;
mod cvss;
mod epss;
mod error;
mod format;
mod index;
mod kev;
mod key;
mod meta;
mod order;
mod osv;
mod package;
mod range;
mod upgrade;
mod zip_feed;

#[cfg(test)]
mod tests;

pub use builder::IndexBuilder;
pub use error::FeedError;
pub use format::FORMAT_VERSION;
pub use index::{FeedIndex, Fingerprint, ReadAt};
pub use kev::KnownExploited;
pub use meta::{CatalogueMeta, Coverage, FeedMeta, SourceMeta};
pub use osv::{
    MAX_RECORD_BYTES, OsvAffected, OsvEvent, OsvPackage, OsvRange, OsvRecord, OsvSeverity,
    parse_record,
};
pub use package::{Advisory, Matched, PackageAdvisories};
pub use zip_feed::{FeedLimits, read_zip};
