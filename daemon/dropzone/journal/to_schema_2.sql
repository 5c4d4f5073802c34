-- From schema 1: what retention needs to know.

ALTER TABLE jobs ADD COLUMN removed_at REAL;
ALTER TABLE jobs ADD COLUMN removed_by TEXT;

CREATE INDEX jobs_kept ON jobs (status, ended_at, size)
    WHERE removed_at IS NULL AND ended_at IS NOT NULL;

CREATE TABLE dropped (
    status      TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    collection  TEXT NOT NULL,
    retried     INTEGER NOT NULL,
    jobs        INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    PRIMARY KEY (status, outcome, collection, retried)
) WITHOUT ROWID;
