-- The journal of one zone. PRAGMA user_version holds the version of this schema.

-- ``folded`` is the path as paths are compared, unless lower() is enough for that.
CREATE TABLE jobs (
    id             TEXT PRIMARY KEY,
    zone           TEXT NOT NULL,
    collection     TEXT NOT NULL,
    path           BLOB NOT NULL,
    status         TEXT NOT NULL CHECK (status IN
        ('claiming', 'claimed', 'stored', 'indexed', 'done', 'waiting', 'failed')),
    size           INTEGER NOT NULL,
    mtime_ns       INTEGER NOT NULL,
    device         INTEGER NOT NULL,
    inode          INTEGER NOT NULL,
    sha256         TEXT,
    doc_type       TEXT NOT NULL,
    s3_key         TEXT,
    outcome        TEXT,
    attempts       INTEGER NOT NULL,
    resume_status  TEXT,
    error_step     TEXT,
    error_class    TEXT,
    error_message  TEXT,
    retry_at       REAL,
    created_at     REAL NOT NULL,
    started_at     REAL,
    last_activity  REAL NOT NULL,
    ended_at       REAL,
    end_reason     TEXT,
    version        INTEGER NOT NULL,
    lease_owner    TEXT,
    lease_token    TEXT,
    batch_id       TEXT,
    data           TEXT NOT NULL,
    metadata       TEXT NOT NULL,
    removed_at     REAL,
    removed_by     TEXT,
    folded         TEXT
) WITHOUT ROWID;

CREATE INDEX jobs_by_status ON jobs (status, outcome);
CREATE INDEX jobs_by_path ON jobs (path);
CREATE INDEX jobs_by_sha256 ON jobs (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX jobs_by_batch ON jobs (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX jobs_by_inode ON jobs (inode) WHERE status = 'failed';
-- Whose files lie in processed/ or failed/ still, for retention.
CREATE INDEX jobs_kept ON jobs (status, ended_at, size)
    WHERE removed_at IS NULL AND ended_at IS NOT NULL;

-- The others, for what ended when.
CREATE INDEX jobs_removed ON jobs (ended_at, status, size)
    WHERE removed_at IS NOT NULL;

-- What in input/ cannot become a job as it is, and what a person can do about it.
CREATE TABLE findings (
    path        BLOB PRIMARY KEY,
    reason      TEXT NOT NULL,
    hint        TEXT NOT NULL,
    first_seen  REAL NOT NULL,
    last_seen   REAL NOT NULL
) WITHOUT ROWID;

-- One row for each MLflow run: open -> closed -> logged.
CREATE TABLE batches (
    id          TEXT PRIMARY KEY,
    state       TEXT NOT NULL CHECK (state IN ('open', 'closed', 'logged')),
    opened_at   REAL NOT NULL,
    closed_at   REAL,
    asked_at    REAL,
    run_id      TEXT,
    error       TEXT
) WITHOUT ROWID;

CREATE INDEX batches_by_state ON batches (state) WHERE state <> 'logged';

CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- What the rows counted that retention.journal_days dropped.
CREATE TABLE dropped (
    status      TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    collection  TEXT NOT NULL,
    retried     INTEGER NOT NULL,
    jobs        INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    PRIMARY KEY (status, outcome, collection, retried)
) WITHOUT ROWID;
