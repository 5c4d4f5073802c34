-- name: lexemes
-- What the words of a query come down to, as a query for any of them; NULL when all
-- are stop words. Lexemes may hold quotes, so they are quoted, never parsed.
SELECT string_agg(
    '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | '
) AS words
FROM unnest(to_tsvector('english', %s))

-- name: phrases
-- All quoted phrases together; NULL when they hold stop words only.
SELECT nullif(string_agg(phrase::text, ' & '), '') AS phrases
FROM unnest(%s::text[]) AS quoted (words),
    phraseto_tsquery('english', quoted.words) AS phrase
WHERE numnode(phrase) > 0

-- name: fits
-- Only the documents that are searched.
AND NOT document.superseded
    AND (%(collections)s::text[] IS NULL
        OR document.collection = ANY(%(collections)s::text[]))
    AND (%(doc_type)s::text IS NULL OR document.doc_type = %(doc_type)s)
    AND (%(given_name)s::text IS NULL
        OR document.metadata -> 'given' ->> %(given_name)s::text
            = coalesce(%(given_value)s, document.metadata -> 'given' ->> %(given_name)s))
    AND (NOT %(of_paths)s OR EXISTS (
        SELECT FROM dropzone.paths AS path
        WHERE path.document_id = document.id
            AND path.job_id >= %(since)s::uuid AND path.job_id < %(until)s::uuid
            AND (%(zone)s::text IS NULL OR path.zone = %(zone)s)
            AND (%(names)s::text[] IS NULL OR EXISTS (
                SELECT FROM unnest(%(names)s::text[]) AS form (name)
                WHERE strpos(lower(encode(path.path, 'escape')), form.name) > 0
            ))
    ))

-- name: by_words
SELECT
    chunk.document_id, chunk.seq,
    ts_rank(chunk.tsv, %(words)s::tsquery, 1)::float8 AS score
FROM dropzone.chunks AS chunk
JOIN dropzone.documents AS document ON document.id = chunk.document_id
WHERE chunk.tsv @@ coalesce(%(phrases)s, %(words)s)::tsquery
    -- include: fits
ORDER BY score DESC, chunk.document_id DESC, chunk.seq
LIMIT %(limit)s

-- name: by_substring
-- For queries of stop words only: the full-text index knows nothing about them.
SELECT chunk.document_id, chunk.seq, 1.0::float8 AS score
FROM dropzone.chunks AS chunk
JOIN dropzone.documents AS document ON document.id = chunk.document_id
WHERE chunk.text ILIKE %(pattern)s
    -- include: fits
ORDER BY chunk.document_id DESC, chunk.seq
LIMIT %(limit)s

-- name: by_vector
SELECT found.document_id, found.seq, 1 - found.distance AS score
FROM (
    SELECT
        vector.document_id, vector.seq,
        (vector.embedding <=> %(vector)b) AS distance
    FROM dropzone.embeddings AS vector
    JOIN dropzone.embedding_models AS model ON model.id = vector.model_id
    JOIN dropzone.documents AS document ON document.id = vector.document_id
    WHERE model.fingerprint = %(fingerprint)s
        -- include: fits
        AND (%(phrases)s::text IS NULL OR EXISTS (
            SELECT FROM dropzone.chunks AS chunk
            WHERE chunk.document_id = vector.document_id
                AND chunk.seq = vector.seq
                AND chunk.tsv @@ %(phrases)s::tsquery
        ))
    ORDER BY distance
    LIMIT %(limit)s
) AS found
-- The distance to a chunk without a single token is NaN, which is no match.
WHERE found.distance <= 1 - %(floor)s::float8
ORDER BY found.distance, found.document_id DESC, found.seq

-- name: show
-- A document is shown under the path dropped last.
SELECT
    chunk.document_id, chunk.seq, chunk.page, chunk.heading, document.collection,
    document.name, document.sha256, document.s3_key,
    coalesce(document.metadata -> 'given', '{}') AS given,
    coalesce(latest.path, document.path) AS path,
    coalesce(latest.zone, document.zone) AS zone,
    coalesce(latest.job_id, document.job_id)::text AS job,
    ts_headline(
        'english', chunk.text, coalesce(%(words)s, '')::tsquery,
        'StartSel=' || chr(2) || ', StopSel=' || chr(3)
            || ', MinWords=20, MaxWords=45, ShortWord=2'
    ) AS snippet
FROM unnest(%(documents)s::bigint[], %(seqs)s::int[])
    WITH ORDINALITY AS wanted (document_id, seq, place)
JOIN dropzone.chunks AS chunk USING (document_id, seq)
JOIN dropzone.documents AS document ON document.id = chunk.document_id
LEFT JOIN LATERAL (
    SELECT path.path, path.zone, path.job_id
    FROM dropzone.paths AS path
    WHERE path.document_id = document.id
    ORDER BY path.job_id DESC
    LIMIT 1
) AS latest ON true
ORDER BY wanted.place
