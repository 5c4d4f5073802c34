-- name: documents
-- The documents that a search finds in a zone, and those kept without text, by
-- collection. Zones that share a database share documents too, not their paths.
SELECT
    path.zone, document.collection, document.doc_type,
    count(DISTINCT document.id) AS documents
FROM dropzone.documents AS document
JOIN dropzone.paths AS path ON path.document_id = document.id
WHERE NOT document.superseded
GROUP BY path.zone, document.collection, document.doc_type
ORDER BY documents DESC, document.doc_type
