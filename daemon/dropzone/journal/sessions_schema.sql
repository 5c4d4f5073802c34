-- The session records. PRAGMA user_version holds the version of this schema.

CREATE TABLE sessions (
    id                 TEXT PRIMARY KEY,
    owner              TEXT NOT NULL,
    status             TEXT NOT NULL CHECK (status IN
        ('active', 'ended', 'timeout', 'error')),
    started_at         REAL NOT NULL,
    ended_at           REAL,
    end_reason         TEXT,
    last_activity      REAL NOT NULL,
    data               TEXT NOT NULL,
    metadata           TEXT NOT NULL,
    interaction_count  INTEGER NOT NULL,
    version            INTEGER NOT NULL,
    ttl                REAL,
    expires_at         REAL,
    lease_owner        TEXT,
    lease_until        REAL,
    lease_digest       BLOB,
    failures           INTEGER NOT NULL,
    locked             INTEGER NOT NULL,
    -- Never later than last_activity and expires_at. The clean-up moves them on when
    -- it looks, so that activity has no index to change.
    idle_from          REAL NOT NULL,
    due_at             REAL
) WITHOUT ROWID;

CREATE INDEX sessions_active ON sessions (owner, id) WHERE status = 'active';
CREATE INDEX sessions_idle ON sessions (idle_from) WHERE status = 'active';
CREATE INDEX sessions_due ON sessions (due_at)
    WHERE status = 'active' AND due_at IS NOT NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE status <> 'active';
CREATE INDEX sessions_locked ON sessions (locked) WHERE status = 'active' AND locked = 1;

CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    session_id  TEXT NOT NULL,
    at          REAL NOT NULL,
    kind        TEXT NOT NULL,
    data        TEXT NOT NULL
);
CREATE INDEX events_by_session ON events (session_id, seq);

CREATE TABLE metrics (
    session_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    count       INTEGER NOT NULL,
    total       REAL NOT NULL,
    least       REAL NOT NULL,
    most        REAL NOT NULL,
    last        REAL NOT NULL,
    PRIMARY KEY (session_id, name)
) WITHOUT ROWID;

-- One more with each commit: how the other processes see that something changed.
CREATE TABLE commits (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT INTO commits VALUES (1, 0);

-- How many records have each status, so that nobody has to count them.
CREATE TABLE tally (status TEXT PRIMARY KEY, sessions INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO tally VALUES ('active', 0), ('ended', 0), ('timeout', 0), ('error', 0);

CREATE TRIGGER sessions_added AFTER INSERT ON sessions BEGIN
    UPDATE tally SET sessions = sessions + 1 WHERE status = new.status;
END;
CREATE TRIGGER sessions_moved AFTER UPDATE OF status ON sessions
WHEN old.status <> new.status BEGIN
    UPDATE tally SET sessions = sessions - 1 WHERE status = old.status;
    UPDATE tally SET sessions = sessions + 1 WHERE status = new.status;
END;
CREATE TRIGGER sessions_removed AFTER DELETE ON sessions BEGIN
    UPDATE tally SET sessions = sessions - 1 WHERE status = old.status;
    DELETE FROM events WHERE session_id = old.id;
    DELETE FROM metrics WHERE session_id = old.id;
END;
