-- From schema 2: what ended when, also of files that retention removed.

CREATE INDEX jobs_removed ON jobs (ended_at, status, size)
    WHERE removed_at IS NOT NULL;
