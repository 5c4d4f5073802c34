-- name: past_deliveries
SELECT
    delivery.job_id::text AS job_id, delivery.outcome, delivery.document_id,
    coalesce(document.chunk_count, 0) AS chunks,
    coalesce(document.notes, '{}') AS notes
FROM dropzone.deliveries AS delivery
LEFT JOIN dropzone.documents AS document ON document.id = delivery.document_id
WHERE delivery.job_id = ANY(%s::uuid[])

-- name: find
SELECT id, collection, sha256, status, doc_type, chunk_count
FROM dropzone.documents
WHERE (collection, sha256) IN (
    SELECT wanted.collection, wanted.sha256
    FROM unnest(%(collections)s::text[], %(hashes)s::text[])
        AS wanted (collection, sha256)
)

-- name: add_model
INSERT INTO dropzone.embedding_models (name, fingerprint, dims, params)
VALUES (%(name)s, %(fingerprint)s, %(dims)s, %(params)s)
ON CONFLICT (fingerprint) DO NOTHING

-- name: get_model
SELECT id, dims FROM dropzone.embedding_models WHERE fingerprint = %(fingerprint)s

-- name: add_collections
INSERT INTO dropzone.collections (name)
SELECT name FROM unnest(%s::text[]) AS wanted (name) ORDER BY name
ON CONFLICT (name) DO NOTHING

-- name: add_path
-- A row to lock for a path that is new; take_path gives it its meaning.
INSERT INTO dropzone.paths (zone, path, collection, job_id)
VALUES (
    %(zone)s, %(path)s, %(collection)s, '00000000-0000-0000-0000-000000000000'
)
ON CONFLICT (zone, path) DO NOTHING

-- name: lock_paths
SELECT path.document_id
FROM dropzone.paths AS path
WHERE (path.zone, path.path) IN (
    SELECT wanted.zone, wanted.path
    FROM unnest(%(zones)s::text[], %(paths)s::bytea[]) AS wanted (zone, path)
)
ORDER BY path.zone, path.path
FOR UPDATE

-- name: add_document
INSERT INTO dropzone.documents (
    collection, sha256, name, path, zone, s3_key, size, doc_type, status, metadata,
    notes, chunk_count, job_id
) VALUES (
    %(collection)s, %(sha256)s, %(name)s, %(path)s, %(zone)s, %(s3_key)s, %(size)s,
    %(doc_type)s, %(status)s, %(metadata)s, %(notes)s, %(chunk_count)s, %(job_id)s
)
ON CONFLICT (collection, sha256) DO NOTHING

-- name: lock_documents
SELECT id, collection, sha256, status, job_id::text AS job_id
FROM dropzone.documents
WHERE id = ANY(%(ids)s) OR (collection, sha256) IN (
    SELECT wanted.collection, wanted.sha256
    FROM unnest(%(collections)s::text[], %(hashes)s::text[])
        AS wanted (collection, sha256)
)
ORDER BY collection, sha256
FOR UPDATE

-- name: upgrade_document
UPDATE dropzone.documents SET
    doc_type = %(doc_type)s, status = %(status)s,
    metadata = %(metadata)s::jsonb
        || jsonb_strip_nulls(jsonb_build_object('given', metadata -> 'given')),
    notes = %(notes)s, chunk_count = %(chunk_count)s, updated_at = now()
WHERE id = %(id)s

-- name: give
UPDATE dropzone.documents SET
    metadata = metadata || jsonb_build_object(
        'given', coalesce(metadata -> 'given', '{}') || %(given)s::jsonb
    ),
    updated_at = now()
WHERE id = %(id)s

-- name: drop_chunks
DELETE FROM dropzone.chunks WHERE document_id = ANY(%s)

-- name: copy_chunks
COPY dropzone.chunks (
    document_id, seq, text, page, heading, start_offset, end_offset
) FROM STDIN (FORMAT BINARY)

-- name: copy_embeddings
COPY dropzone.embeddings (document_id, seq, model_id, embedding)
FROM STDIN (FORMAT BINARY)

-- name: take_path
-- UUIDv7 sort by time: an older job that comes late does not take the path back.
UPDATE dropzone.paths SET
    collection = %(collection)s, document_id = %(document_id)s, job_id = %(job_id)s
WHERE zone = %(zone)s AND path = %(path)s AND job_id < %(job_id)s::uuid

-- name: settle_superseded
UPDATE dropzone.documents AS document
SET superseded = judged.superseded, updated_at = now()
FROM (
    SELECT candidate.id, NOT EXISTS (
        SELECT FROM dropzone.paths AS path WHERE path.document_id = candidate.id
    ) AS superseded
    FROM dropzone.documents AS candidate
    WHERE candidate.id = ANY(%s)
) AS judged
WHERE document.id = judged.id AND document.superseded <> judged.superseded

-- name: add_delivery
-- A failure that was retried with success is replaced; nothing else ever changes.
INSERT INTO dropzone.deliveries AS delivery (
    job_id, zone, collection, document_id, path, name, sha256, s3_key, size, outcome,
    batch_id
) VALUES (
    %(job_id)s, %(zone)s, %(collection)s, %(document_id)s, %(path)s, %(name)s,
    %(sha256)s, %(s3_key)s, %(size)s, %(outcome)s, %(batch_id)s
)
ON CONFLICT (job_id) DO UPDATE SET
    document_id = excluded.document_id, sha256 = excluded.sha256,
    s3_key = excluded.s3_key, outcome = excluded.outcome, ended_at = now()
WHERE delivery.outcome = 'failed'

-- name: drop_delivery
DELETE FROM dropzone.deliveries WHERE job_id = %s::uuid

-- name: of_job
SELECT
    document.id, document.name, document.collection, document.status,
    document.superseded, document.doc_type, document.chunk_count, document.notes,
    document.metadata, extract(epoch FROM document.created_at)::float8 AS created_at
FROM dropzone.deliveries AS delivery
JOIN dropzone.documents AS document ON document.id = delivery.document_id
WHERE delivery.job_id = %s::uuid

-- name: chunks_after
SELECT seq, text, page, heading, start_offset AS start, end_offset AS "end"
FROM dropzone.chunks WHERE document_id = %s AND seq > %s ORDER BY seq LIMIT %s
