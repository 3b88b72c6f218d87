//! Facts about content: advisories and archive structure. Sans-I/O.
