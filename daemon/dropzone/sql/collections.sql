-- name: documents
-- The documents that a search finds, and those kept without text, by collection.
SELECT collection, doc_type, count(*) AS documents
FROM dropzone.documents
WHERE NOT superseded
GROUP BY collection, doc_type
ORDER BY documents DESC, doc_type
