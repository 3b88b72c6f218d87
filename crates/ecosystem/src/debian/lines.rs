//! Lines of a control file that is read as a stream, under limits.

use super::deb822::Deb822Error;
use super::packages::PackagesLimits;
use std::io::{BufRead, Read as _};

/// The lines of a stream; one is in memory at a time, in a buffer that is used again.
pub(super) struct Lines<R> {
    reader: R,
    limits: PackagesLimits,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, limits: PackagesLimits) -> Self {
        Self { reader, limits, line: Vec::new(), number: 0, bytes: 0 }
    }

    /// The present line's number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The present line without white space at its end.
    pub(super) fn line(&self) -> &[u8] {
        self.line.trim_ascii_end()
    }

    /// Reads one line into the buffer; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool, Deb822Error> {
        self.line.clear();
        let limit = self.limits.max_line_bytes as u64;
        let n = (&mut self.reader)
            .take(limit + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|e| Deb822Error::Read(e.to_string()))? as u64;
        if n > limit {
            return Err(Deb822Error::TooLarge { what: "bytes in a line", limit });
        }
        self.bytes = self.bytes.saturating_add(n);
        if self.bytes > self.limits.max_bytes {
            return Err(Deb822Error::TooLarge { what: "bytes", limit: self.limits.max_bytes });
        }
        self.number += 1;
        Ok(n > 0)
    }

    /// The present line as a field's name and its trimmed value.
    pub(super) fn field(&self) -> Result<(&[u8], &[u8]), Deb822Error> {
        let line = self.line();
        let colon = line.iter().take(64).position(|b| *b == b':');
        let parts = colon.and_then(|c| Some((line.get(..c)?, line.get(c + 1..)?.trim_ascii())));
        parts.ok_or_else(|| self.no_field())
    }

    pub(super) fn no_field(&self) -> Deb822Error {
        Deb822Error::no_field(self.number, &String::from_utf8_lossy(&self.line))
    }

    pub(super) fn duplicate(&self, name: &[u8]) -> Deb822Error {
        let field = String::from_utf8_lossy(name).into_owned();
        Deb822Error::DuplicateField { line: self.number, field }
    }
}
