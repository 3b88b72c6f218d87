//! The one pipeline: fetch, verify, scan, decide, record, release. Owns the clock and the HTTP client.
