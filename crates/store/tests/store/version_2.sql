-- The schema as version 2 made it, for the tests that such a database is brought to today's.
CREATE TABLE ledger_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    vkey TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    checkpoint TEXT NOT NULL
) STRICT;
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    commitment BLOB NOT NULL,
    salt BLOB NOT NULL,
    envelope BLOB NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    width INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT;
CREATE TABLE decisions (
    idx INTEGER PRIMARY KEY REFERENCES entries (idx),
    purl TEXT NOT NULL,
    package TEXT NOT NULL,
    ecosystem TEXT NOT NULL,
    file_name TEXT NOT NULL,
    sha256 TEXT,
    verdict TEXT NOT NULL,
    reason TEXT,
    decision TEXT NOT NULL,
    facts TEXT NOT NULL,
    policy TEXT NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_digest ON decisions (sha256, idx);
CREATE INDEX decisions_by_purl ON decisions (purl, idx);
CREATE INDEX decisions_by_package ON decisions (package, idx);
CREATE INDEX decisions_by_verdict ON decisions (verdict, idx);
CREATE TABLE artifact_digests (
    algorithm TEXT NOT NULL,
    hex TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (algorithm, hex)
) STRICT, WITHOUT ROWID;
CREATE TABLE pins (
    purl TEXT NOT NULL,
    file_name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (purl, file_name)
) STRICT, WITHOUT ROWID;
CREATE TABLE results (
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL,
    scanner TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (sha256, kind, scanner)
) STRICT;
CREATE TABLE manifests (
    sha256 TEXT PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE waivers (
    id TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    created INTEGER NOT NULL,
    until INTEGER NOT NULL,
    idx INTEGER NOT NULL REFERENCES entries (idx),
    revoked INTEGER,
    revoked_idx INTEGER REFERENCES entries (idx)
) STRICT;
CREATE TABLE feeds (
    name TEXT PRIMARY KEY,
    location TEXT NOT NULL,
    kind TEXT NOT NULL,
    added INTEGER NOT NULL,
    last_synced INTEGER,
    sha256 TEXT,
    etag TEXT
) STRICT;
CREATE TABLE newest (
    key TEXT PRIMARY KEY,
    time INTEGER NOT NULL
) STRICT;
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
CREATE TABLE fetches (
    sha256 TEXT NOT NULL,
    purl TEXT NOT NULL,
    token TEXT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    file_name TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (sha256, purl, token, address, agent)
) STRICT, WITHOUT ROWID;
CREATE TABLE recalls (
    id INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    finished INTEGER,
    state TEXT NOT NULL,
    why TEXT NOT NULL,
    old_grounds TEXT,
    new_grounds TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    next INTEGER NOT NULL,
    looked INTEGER NOT NULL,
    affected INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    not_done INTEGER NOT NULL,
    not_anew INTEGER NOT NULL,
    idx INTEGER REFERENCES entries (idx)
) STRICT;
CREATE TABLE recalled (
    recall INTEGER NOT NULL REFERENCES recalls (id),
    old_idx INTEGER NOT NULL REFERENCES decisions (idx),
    new_idx INTEGER REFERENCES decisions (idx),
    verdict TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    ids TEXT NOT NULL,
    fixed TEXT,
    PRIMARY KEY (recall, old_idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX recalled_by_old ON recalled (old_idx);
PRAGMA user_version = 2;
