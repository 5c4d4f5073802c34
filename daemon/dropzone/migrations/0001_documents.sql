-- Collections, documents, their text and vectors, and what every drop became.
-- The names in this schema are a contract: other programs may read them.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE dropzone.collections (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text NOT NULL DEFAULT '',
    kind        text NOT NULL DEFAULT 'custom',
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Vectors of different fingerprints must never be compared.
CREATE TABLE dropzone.embedding_models (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    fingerprint text NOT NULL UNIQUE,
    dims        int NOT NULL CHECK (dims > 0),
    params      jsonb NOT NULL DEFAULT '{}',
    active      boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dropzone.documents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection  text NOT NULL REFERENCES dropzone.collections (name) ON UPDATE CASCADE,
    sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    name        text NOT NULL,
    path        bytea NOT NULL,
    zone        text NOT NULL,
    s3_key      text NOT NULL,
    size        bigint NOT NULL,
    doc_type    text NOT NULL,
    status      text NOT NULL CHECK (status IN ('indexed', 'stored_only', 'empty')),
    superseded  boolean NOT NULL DEFAULT false,
    metadata    jsonb NOT NULL DEFAULT '{}',
    notes       text[] NOT NULL DEFAULT '{}',
    chunk_count int NOT NULL DEFAULT 0,
    job_id      uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection, sha256)
);
CREATE INDEX documents_by_sha256 ON dropzone.documents (sha256);

CREATE TABLE dropzone.chunks (
    document_id  bigint NOT NULL REFERENCES dropzone.documents ON DELETE CASCADE,
    seq          int NOT NULL,
    text         text NOT NULL,
    page         int,
    heading      text NOT NULL DEFAULT '',
    start_offset int NOT NULL,
    end_offset   int NOT NULL,
    tsv          tsvector NOT NULL
        GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
    PRIMARY KEY (document_id, seq)
);
CREATE INDEX chunks_by_words ON dropzone.chunks USING gin (tsv);

-- No HNSW index: it makes writing 50 to 200 times dearer.
CREATE TABLE dropzone.embeddings (
    document_id bigint NOT NULL,
    seq         int NOT NULL,
    model_id    bigint NOT NULL REFERENCES dropzone.embedding_models,
    embedding   halfvec NOT NULL,
    PRIMARY KEY (document_id, seq, model_id),
    FOREIGN KEY (document_id, seq) REFERENCES dropzone.chunks ON DELETE CASCADE
);
-- Inline and compressed: hash-v1 takes a seventh of the space, and an exact search
-- over 16,000 vectors 23 ms instead of 30 (uncompressed inline: 10 ms, but vectors
-- above 4,000 numbers would not fit).
ALTER TABLE dropzone.embeddings ALTER COLUMN embedding SET STORAGE MAIN;

-- One row for each drop that ended.
CREATE TABLE dropzone.deliveries (
    job_id      uuid PRIMARY KEY,
    zone        text NOT NULL,
    collection  text NOT NULL,
    document_id bigint REFERENCES dropzone.documents ON DELETE SET NULL,
    path        bytea NOT NULL,
    name        text NOT NULL,
    sha256      text,
    s3_key      text,
    size        bigint NOT NULL,
    outcome     text NOT NULL CHECK
        (outcome IN ('indexed', 'duplicate', 'stored_only', 'empty', 'failed')),
    ended_at    timestamptz NOT NULL DEFAULT now(),
    batch_id    text
);
CREATE INDEX deliveries_by_document ON dropzone.deliveries (document_id);
CREATE INDEX deliveries_by_end ON dropzone.deliveries (ended_at);

-- Which document a dropped path means now: that of the youngest job. A document that
-- no path means any more is superseded.
CREATE TABLE dropzone.paths (
    zone        text NOT NULL,
    path        bytea NOT NULL,
    collection  text NOT NULL,
    document_id bigint REFERENCES dropzone.documents ON DELETE CASCADE,
    job_id      uuid NOT NULL,
    PRIMARY KEY (zone, path)
);
CREATE INDEX paths_by_document ON dropzone.paths (document_id);

CREATE TABLE dropzone.papers (
    document_id       bigint PRIMARY KEY
        REFERENCES dropzone.documents ON DELETE CASCADE,
    title             text NOT NULL,
    authors           text[] NOT NULL DEFAULT '{}',
    year              int,
    abstract          text NOT NULL DEFAULT '',
    math_formulations jsonb NOT NULL DEFAULT '[]',
    formulation_count int NOT NULL DEFAULT 0
);

CREATE VIEW dropzone.document_metadata AS
SELECT
    document.id,
    document.name AS document_name,
    document.collection,
    document.doc_type,
    document.status,
    document.s3_key,
    document.sha256,
    document.size,
    document.chunk_count,
    document.superseded,
    document.metadata,
    document.created_at,
    document.updated_at
FROM dropzone.documents AS document;

CREATE VIEW dropzone.document_embeddings AS
SELECT
    vector.document_id,
    vector.seq AS chunk_index,
    chunk.text AS chunk_text,
    chunk.page,
    model.name AS model,
    model.fingerprint,
    vector.embedding
FROM dropzone.embeddings AS vector
JOIN dropzone.embedding_models AS model ON model.id = vector.model_id
JOIN dropzone.chunks AS chunk USING (document_id, seq);

CREATE VIEW dropzone.document_collections AS
SELECT
    collection.id,
    collection.name,
    collection.description,
    collection.kind AS collection_type,
    collection.metadata,
    collection.created_at,
    (
        SELECT count(*) FROM dropzone.documents AS document
        WHERE document.collection = collection.name
    ) AS document_count
FROM dropzone.collections AS collection;

CREATE VIEW dropzone.research_papers AS
SELECT
    paper.document_id AS id,
    document.s3_key,
    paper.title,
    paper.authors,
    paper.year,
    paper.abstract,
    paper.math_formulations,
    paper.formulation_count,
    document.created_at
FROM dropzone.papers AS paper
JOIN dropzone.documents AS document ON document.id = paper.document_id;
