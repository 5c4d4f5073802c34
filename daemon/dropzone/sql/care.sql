-- name: committed
-- What Postgres holds of these jobs: how each ended, and its document with its chunks.
SELECT
    delivery.job_id::text AS job, delivery.outcome, document.sha256,
    document.collection, document.status, document.chunk_count,
    (SELECT count(*) FROM dropzone.chunks AS chunk
     WHERE chunk.document_id = document.id) AS chunks
FROM dropzone.deliveries AS delivery
LEFT JOIN dropzone.documents AS document ON document.id = delivery.document_id
WHERE delivery.job_id = ANY(%s::uuid[])
