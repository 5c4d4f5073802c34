-- name: deliveries_of
SELECT
    delivery.job_id::text AS job, delivery.outcome, delivery.document_id,
    document.sha256, document.collection, document.s3_key, document.size,
    document.chunk_count
FROM dropzone.deliveries AS delivery
LEFT JOIN dropzone.documents AS document ON document.id = delivery.document_id
WHERE delivery.job_id = ANY(%s::uuid[])

-- name: deliveries_after
SELECT job_id::text AS job, extract(epoch FROM ended_at)::float8 AS ended
FROM dropzone.deliveries
WHERE zone = %(zone)s AND job_id > %(after)s::uuid
ORDER BY job_id LIMIT %(limit)s

-- name: documents_after
SELECT id, s3_key, size, name FROM dropzone.documents
WHERE id > %(after)s
ORDER BY id LIMIT %(limit)s

-- name: wrong_chunks
-- Counted per document: what it says, what is there, and what is there of its vectors.
WITH counted AS (
    SELECT
        document.id, document.name, document.status, document.chunk_count,
        document.job_id::text AS job,
        (SELECT count(*) FROM dropzone.chunks AS chunk
         WHERE chunk.document_id = document.id) AS chunks,
        (SELECT coalesce(max(chunk.seq) + 1, 0) FROM dropzone.chunks AS chunk
         WHERE chunk.document_id = document.id) AS numbered,
        (SELECT count(*) FROM dropzone.embeddings AS vector
         JOIN dropzone.embedding_models AS model ON model.id = vector.model_id
         WHERE vector.document_id = document.id
             AND vector_dims(vector.embedding) = model.dims) AS vectors,
        (SELECT count(DISTINCT vector.model_id) FROM dropzone.embeddings AS vector
         WHERE vector.document_id = document.id) AS models
    FROM dropzone.documents AS document
)
SELECT * FROM counted
WHERE chunks <> chunk_count OR numbered <> chunks OR vectors <> chunks * greatest(models, 1)
    OR (status = 'indexed') <> (chunks > 0)
ORDER BY id LIMIT %(limit)s

-- name: wrong_superseded
SELECT document.id, document.name FROM dropzone.documents AS document
WHERE document.superseded <> NOT EXISTS (
    SELECT 1 FROM dropzone.paths AS path WHERE path.document_id = document.id
)
ORDER BY document.id LIMIT %(limit)s

-- name: settle_superseded
UPDATE dropzone.documents AS document SET superseded = NOT EXISTS (
    SELECT 1 FROM dropzone.paths AS path WHERE path.document_id = document.id
)
WHERE document.superseded <> NOT EXISTS (
    SELECT 1 FROM dropzone.paths AS path WHERE path.document_id = document.id
)
