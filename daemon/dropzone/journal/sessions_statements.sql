-- name: add
INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_below
INSERT INTO sessions SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?
WHERE (SELECT sessions FROM tally WHERE status = 'active') < ?

-- name: change
-- Whatever ends, leases or locks a record changes its version too.
UPDATE sessions SET data = ?, metadata = ?, last_activity = ?, expires_at = ? + ttl,
    interaction_count = interaction_count + 1, version = version + 1
WHERE id = ? AND version = ?
RETURNING interaction_count, failures

-- name: touch
UPDATE sessions SET last_activity = ?1, expires_at = ?1 + ttl,
    interaction_count = interaction_count + 1
WHERE id = ?2 AND status = 'active' AND locked = 0 AND lease_digest IS ?3
    AND (expires_at IS NULL OR expires_at > ?1)
RETURNING last_activity, interaction_count, version, expires_at, failures

-- name: end
UPDATE sessions SET status = :status, ended_at = :now, end_reason = :reason,
    version = version + 1
WHERE id = :id AND status = 'active' AND locked = 0 AND lease_digest IS :digest
    AND (expires_at IS NULL OR expires_at > :now)
RETURNING *

-- name: expire
UPDATE sessions SET status = 'timeout', ended_at = expires_at,
    end_reason = 'time to live', version = version + 1
WHERE id = :id AND status = 'active' AND expires_at <= :now
RETURNING *

-- name: lease
UPDATE sessions SET lease_owner = :owner, lease_until = :until,
    lease_digest = :new_digest, version = version + 1
WHERE id = :id AND status = 'active' AND locked = 0
    AND (expires_at IS NULL OR expires_at > :now)
    AND (lease_digest IS NULL OR lease_digest = :digest OR lease_until <= :now)
RETURNING *

-- name: release
UPDATE sessions SET lease_owner = NULL, lease_until = NULL, lease_digest = NULL,
    version = version + 1
WHERE id = :id AND status = 'active' AND locked = 0 AND lease_digest IS :digest
    AND (expires_at IS NULL OR expires_at > :now)
RETURNING *

-- name: unlock
UPDATE sessions SET locked = 0, failures = 0, version = version + 1
WHERE id = :id AND status = 'active'
RETURNING *

-- name: refuse
UPDATE sessions SET failures = failures + 1, locked = failures + 1 >= :limit,
    version = version + (failures + 1 >= :limit)
WHERE id = :id AND status = 'active' AND locked = 0
RETURNING failures, locked

-- name: get
SELECT * FROM sessions WHERE id = ?

-- name: active
SELECT * FROM sessions WHERE status = 'active' AND (owner, id) > (:owner, :after)
ORDER BY owner, id LIMIT :limit

-- name: active_of_owner
SELECT * FROM sessions WHERE status = 'active' AND owner = :owner AND id > :after
ORDER BY id LIMIT :limit

-- name: put_off_due
UPDATE sessions SET due_at = expires_at
WHERE expires_at > :now AND id IN (
    SELECT id FROM sessions WHERE status = 'active' AND due_at <= :now
    ORDER BY due_at LIMIT :batch)

-- name: end_due
UPDATE sessions SET status = 'timeout', ended_at = expires_at,
    end_reason = 'time to live', version = version + 1
WHERE expires_at <= :now AND id IN (
    SELECT id FROM sessions WHERE status = 'active' AND due_at <= :now
    ORDER BY due_at LIMIT :batch)
RETURNING id

-- name: put_off_idle
UPDATE sessions SET idle_from = last_activity
WHERE last_activity > :before AND id IN (
    SELECT id FROM sessions WHERE status = 'active' AND idle_from <= :before
    ORDER BY idle_from LIMIT :batch)

-- name: end_idle
UPDATE sessions SET status = 'timeout', ended_at = :now, end_reason = 'inactive',
    version = version + 1
WHERE last_activity <= :before AND id IN (
    SELECT id FROM sessions WHERE status = 'active' AND idle_from <= :before
    ORDER BY idle_from LIMIT :batch)
RETURNING id

-- name: forget
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions WHERE status <> 'active' AND ended_at <= :before
    ORDER BY ended_at LIMIT :batch)

-- name: record
INSERT INTO events (session_id, at, kind, data) VALUES (?, ?, ?, ?)

-- name: events
SELECT seq, session_id, at, kind, data FROM events
WHERE session_id = :id AND seq > :after ORDER BY seq LIMIT :limit

-- name: measure
INSERT INTO metrics VALUES (?1, ?2, 1, ?3, ?3, ?3, ?3)
ON CONFLICT (session_id, name) DO UPDATE SET count = count + 1, total = total + ?3,
    least = min(least, ?3), most = max(most, ?3), last = ?3

-- name: metrics
SELECT name, count, total, least, most, last FROM metrics
WHERE session_id = ? ORDER BY name

-- name: commit
UPDATE commits SET number = number + 1 RETURNING number

-- name: number
SELECT number FROM commits

-- name: tally
SELECT status, sessions FROM tally

-- name: locked
SELECT count(*) FROM sessions WHERE status = 'active' AND locked = 1
