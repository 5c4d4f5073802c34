-- name: add
INSERT INTO jobs (
    id, zone, collection, path, status, size, mtime_ns, device, inode, sha256, doc_type,
    s3_key, outcome, attempts, resume_status, error_step, error_class, error_message,
    retry_at, created_at, started_at, last_activity, ended_at, end_reason, version,
    lease_owner, lease_token, batch_id, data, metadata, removed_at, removed_by,
    folded
) VALUES (
    :id, :zone, :collection, :path, :status, :size, :mtime_ns, :device, :inode, :sha256,
    :doc_type, :s3_key, :outcome, :attempts, :resume_status, :error_step, :error_class,
    :error_message, :retry_at, :created_at, :started_at, :last_activity, :ended_at,
    :end_reason, :version, :lease_owner, :lease_token, :batch_id, :data, :metadata,
    :removed_at, :removed_by, :folded
)

-- name: save
UPDATE jobs SET
    status = :status, size = :size, mtime_ns = :mtime_ns, device = :device,
    inode = :inode, sha256 = :sha256, doc_type = :doc_type, s3_key = :s3_key,
    outcome = :outcome, attempts = :attempts, resume_status = :resume_status,
    error_step = :error_step, error_class = :error_class,
    error_message = :error_message, retry_at = :retry_at, started_at = :started_at,
    last_activity = :last_activity, ended_at = :ended_at, end_reason = :end_reason,
    version = :version, lease_owner = :lease_owner, lease_token = :lease_token,
    batch_id = :batch_id, data = :data, metadata = :metadata
WHERE id = :id AND version = :version - 1

-- name: retried
UPDATE jobs SET end_reason = 'retried', data = json_set(data, '$.retried_as', :again)
WHERE id = :id AND status = 'failed'

-- name: forget
DELETE FROM jobs WHERE id = :id AND status = 'claiming'

-- name: get
SELECT * FROM jobs WHERE id = :id

-- name: by_id_start
SELECT * FROM jobs WHERE id >= :start AND id < :start || 'g'
ORDER BY id DESC LIMIT :limit

-- name: by_id_end
SELECT * FROM jobs WHERE id LIKE '%' || :end ORDER BY id DESC LIMIT :limit

-- name: by_path
SELECT * FROM jobs WHERE path = :path ORDER BY id DESC LIMIT :limit

-- name: by_sha256
SELECT * FROM jobs WHERE sha256 = :sha256 ORDER BY id DESC LIMIT :limit

-- name: by_name
SELECT * FROM jobs WHERE substr(path, -length(:tail)) = :tail
ORDER BY id DESC LIMIT :limit

-- name: with_status
SELECT * FROM jobs WHERE status = :status AND id > :after ORDER BY id LIMIT :limit

-- name: newest
SELECT * FROM jobs ORDER BY id DESC LIMIT :limit

-- name: newest_with_status
SELECT * FROM jobs WHERE status = :status ORDER BY id DESC LIMIT :limit

-- name: newest_with_outcome
SELECT * FROM jobs WHERE outcome = :outcome ORDER BY id DESC LIMIT :limit

-- name: listed
-- Ids fall with age, so this ends when the page is full. What nothing matches costs
-- 50 ms for 100,000 jobs.
SELECT * FROM jobs
WHERE id < :before AND id >= :after
    AND (:status IS NULL OR status = :status)
    AND (:outcome IS NULL OR outcome = :outcome)
    AND (:collections IS NULL
        OR collection IN (SELECT value FROM json_each(:collections)))
    AND (:sha256 IS NULL OR sha256 = :sha256)
    AND (:doc_type IS NULL OR doc_type = :doc_type)
    AND (:step IS NULL OR error_step = :step)
    AND (:reason IS NULL OR substr(end_reason, 1, 1000) = :reason)
    AND (NOT :open OR (status = 'failed' AND end_reason <> 'retried'
        AND removed_at IS NULL))
    AND (:text IS NULL OR coalesce(folded, lower(CAST(path AS TEXT))) GLOB :text
        OR (:shown IS NOT NULL
            AND coalesce(folded, lower(CAST(path AS TEXT))) GLOB :shown))
ORDER BY id DESC LIMIT :limit

-- name: kinds
SELECT DISTINCT collection, doc_type FROM jobs

-- name: failure_groups
-- The newest of each reason and step, with how many there are in all.
SELECT * FROM (
    SELECT id, substr(end_reason, 1, 1000) AS reason, error_step AS step,
        count(*) OVER alike AS jobs, min(ended_at) OVER alike AS oldest_at,
        max(ended_at) OVER alike AS newest_at,
        row_number() OVER (
            PARTITION BY substr(end_reason, 1, 1000), error_step ORDER BY id DESC
        ) AS number
    FROM jobs
    WHERE status = 'failed' AND end_reason <> 'retried' AND removed_at IS NULL
    WINDOW alike AS (PARTITION BY substr(end_reason, 1, 1000), error_step)
)
WHERE number <= :most ORDER BY jobs DESC, reason, step, id DESC LIMIT :limit

-- name: ended_by_time
-- By the indexes of kept and of removed files alone.
SELECT CAST((ended_at - :since) / :step AS INTEGER) AS part, status,
    count(*) AS jobs, sum(size) AS bytes
FROM (
    SELECT status, ended_at, size FROM jobs
    WHERE removed_at IS NULL AND ended_at IS NOT NULL AND status IN ('done', 'failed')
        AND ended_at >= :since AND ended_at < :until
    UNION ALL
    SELECT status, ended_at, size FROM jobs
    WHERE removed_at IS NOT NULL AND ended_at >= :since AND ended_at < :until
)
GROUP BY part, status

-- name: unfinished
SELECT * FROM jobs
WHERE status IN ('claiming', 'claimed', 'stored', 'indexed', 'waiting') ORDER BY id

-- name: due
-- A job that was put off in the future was so before the clock was set back.
SELECT * FROM jobs WHERE status = 'waiting'
    AND (retry_at <= :now OR last_activity > :now + 60)
ORDER BY retry_at LIMIT :limit

-- name: failed_with_inode
SELECT * FROM jobs WHERE status = 'failed' AND inode = :inode AND device = :device
    AND size = :size AND mtime_ns = :mtime_ns AND end_reason <> 'retried'
ORDER BY id DESC LIMIT 1

-- name: counts
SELECT status, outcome, count(*) AS jobs FROM jobs GROUP BY status, outcome
UNION ALL
SELECT status, outcome, sum(jobs) AS jobs FROM dropped GROUP BY status, outcome

-- name: failed_open
-- What lies in failed/ and waits for a person. Rows are dropped of files only that are
-- gone.
SELECT count(*) AS jobs FROM jobs
WHERE status = 'failed' AND end_reason <> 'retried' AND removed_at IS NULL

-- name: failed_retried
SELECT (
    SELECT count(*) FROM jobs WHERE status = 'failed' AND end_reason = 'retried'
) + (
    SELECT coalesce(sum(jobs), 0) FROM dropped WHERE status = 'failed' AND retried
) AS jobs

-- name: oldest_unfinished
SELECT min(created_at) AS created_at FROM jobs
WHERE status IN ('claiming', 'claimed', 'stored', 'indexed', 'waiting')

-- name: backlog
SELECT status, count(*) AS jobs, sum(size) AS bytes, min(created_at) AS oldest FROM jobs
WHERE status IN ('claiming', 'claimed', 'stored', 'indexed', 'waiting')
GROUP BY status

-- name: ended_since
SELECT count(*) AS jobs, coalesce(sum(size), 0) AS bytes FROM jobs
WHERE id > :after AND ended_at >= :since

-- name: collections
SELECT collection, outcome, sum(jobs) AS jobs, sum(bytes) AS bytes FROM (
    SELECT collection, outcome, count(*) AS jobs, sum(size) AS bytes FROM jobs
    WHERE outcome IS NOT NULL AND end_reason <> 'retried'
    GROUP BY collection, outcome
    UNION ALL
    SELECT collection, outcome, jobs, bytes FROM dropped WHERE NOT retried
)
GROUP BY collection, outcome ORDER BY collection

-- name: drops
-- All that pages tell of each collection, by outcome, with one look at every job: how
-- many ended, their bytes, the newest, how many have not ended, and how many failed and
-- wait for a person.
SELECT
    collection, outcome, sum(outcome IS NOT NULL AND end_reason <> 'retried') AS jobs,
    sum(iif(outcome IS NOT NULL AND end_reason <> 'retried', size, 0)) AS bytes,
    max(created_at) AS last_at, sum(ended_at IS NULL) AS under_way,
    sum(status = 'failed' AND end_reason <> 'retried' AND removed_at IS NULL) AS failed
FROM jobs GROUP BY collection, outcome
UNION ALL
SELECT collection, outcome, jobs, bytes, NULL, 0, 0 FROM dropped WHERE NOT retried

-- name: find
INSERT INTO findings (path, reason, hint, first_seen, last_seen)
VALUES (:path, :reason, :hint, :now, :now)
ON CONFLICT (path) DO UPDATE SET
    reason = excluded.reason, hint = excluded.hint, last_seen = excluded.last_seen

-- name: unfind
DELETE FROM findings WHERE path = :path

-- name: unstored
SELECT
    coalesce(sum(CASE WHEN status = 'claimed' THEN size ELSE 0 END), 0) AS bytes,
    coalesce(sum(min(size, :text)), 0) AS text
FROM jobs WHERE status IN ('claimed', 'stored')

-- name: findings
SELECT * FROM findings ORDER BY first_seen, path LIMIT :limit

-- name: findings_count
SELECT count(*) AS findings FROM findings

-- name: finding
SELECT * FROM findings WHERE path = :path

-- name: open_batch
INSERT INTO batches (id, state, opened_at) VALUES (:id, 'open', :now)
ON CONFLICT (id) DO NOTHING

-- name: close_batch
UPDATE batches SET state = 'closed', closed_at = :now WHERE id = :id AND state = 'open'

-- name: close_open_batches
UPDATE batches SET state = 'closed', closed_at = :now WHERE state = 'open'

-- name: ask_batch
UPDATE batches SET asked_at = :now WHERE id = :id

-- name: log_batch
INSERT INTO batches (id, state, opened_at, run_id) VALUES (:id, 'logged', :now, :run_id)
ON CONFLICT (id) DO UPDATE SET state = 'logged', run_id = excluded.run_id, error = NULL

-- name: fail_batch
UPDATE batches SET error = :error WHERE id = :id

-- name: closed_batches
SELECT * FROM batches WHERE state = 'closed' ORDER BY id LIMIT :limit

-- name: batches_waiting
SELECT count(*) AS batches FROM batches WHERE state <> 'logged'

-- name: batches_behind
-- The first condition is that of the index.
SELECT count(*) AS batches, min(closed_at) AS oldest FROM batches
WHERE state <> 'logged' AND state = 'closed'

-- name: batch
SELECT * FROM batches WHERE id = :id

-- name: jobs_of_batch
SELECT * FROM jobs WHERE batch_id = :id ORDER BY id

-- name: kept
SELECT * FROM jobs
WHERE removed_at IS NULL AND ended_at IS NOT NULL AND status = :status
    AND (ended_at > :ended_at OR (ended_at = :ended_at AND id > :id))
    AND end_reason <> 'retried'
ORDER BY ended_at, id LIMIT :limit

-- name: kept_bytes
SELECT count(*) AS jobs, coalesce(sum(size), 0) AS bytes FROM jobs
WHERE removed_at IS NULL AND ended_at IS NOT NULL AND status = 'done'

-- name: removed
UPDATE jobs SET removed_at = :at, removed_by = :rule
WHERE id = :id AND removed_at IS NULL

-- name: ended_before
SELECT * FROM jobs
WHERE id > :after AND id < :until AND status IN ('done', 'failed')
    AND ended_at < :before
ORDER BY id LIMIT :limit

-- name: count_dropped
INSERT INTO dropped (status, outcome, collection, retried, jobs, bytes)
SELECT status, outcome, collection, end_reason = 'retried', 1, size
FROM jobs WHERE id = :id AND status IN ('done', 'failed')
ON CONFLICT (status, outcome, collection, retried) DO UPDATE SET
    jobs = jobs + 1, bytes = bytes + excluded.bytes

-- name: drop
DELETE FROM jobs WHERE id = :id AND status IN ('done', 'failed')

-- name: drop_batch
DELETE FROM batches WHERE id = :id AND state = 'logged'
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch_id = :id)

-- name: dropped
SELECT coalesce(sum(jobs), 0) AS jobs FROM dropped

-- name: shrink
PRAGMA incremental_vacuum(2000)

-- name: mark
INSERT INTO marks (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: marks
SELECT name, value FROM marks

-- name: check
PRAGMA quick_check(1)
