//! Records in SQLite, blobs in files, and the ledger's commit. The only crate that knows SQL.
