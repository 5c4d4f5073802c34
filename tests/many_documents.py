"""Puts into Postgres what the jobs of many_jobs.py left there when they ended."""

import contextlib
import sqlite3

import psycopg  # noqa: TID251 a client of the test's own

from daemons import ZoneOfTest

_INDEXED = """
SELECT
    id, collection, sha256, path, s3_key, size, 'default',
    substr(s3_key, -17), 'pdf', 'indexed', 1
FROM jobs WHERE outcome = 'indexed' AND s3_key LIKE '%Report-%'
"""
_DOCUMENTS = """
COPY dropzone.documents (
    job_id, collection, sha256, path, s3_key, size, zone, name, doc_type, status,
    chunk_count
) FROM STDIN
"""
_OF_DOCUMENTS = (
    """
    INSERT INTO dropzone.collections (name)
    SELECT DISTINCT collection FROM dropzone.documents ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO dropzone.chunks (document_id, seq, text, start_offset, end_offset)
    SELECT id, 0, format('Report %s tells of %s.', id, collection), 0, 40
    FROM dropzone.documents WHERE id % 10 = 0 ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO dropzone.embeddings (document_id, seq, model_id, embedding)
    SELECT chunk.document_id, chunk.seq, known.model_id, known.embedding
    FROM dropzone.chunks AS chunk, (
        SELECT model_id, embedding FROM dropzone.embeddings LIMIT 1
    ) AS known
    ON CONFLICT DO NOTHING
    """,
    # As the server does by itself after a while.
    "ANALYZE dropzone.documents, dropzone.chunks, dropzone.embeddings",
)


def index(zone: ZoneOfTest) -> None:
    """Add documents, a tenth of them with a piece of text and its vector.

    A search compares with every vector there is. The schema must be there,
    and one file that was really indexed.
    """
    journal = zone.root / "state" / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(journal)) as connection:
        rows = connection.execute(_INDEXED).fetchall()
    url = zone.environment["DATABASE_URL"]
    with psycopg.connect(url) as postgres, postgres.cursor() as cursor:
        # What they refer to is made here: nobody needs to look.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL synchronous_commit = off")
        with cursor.copy(_DOCUMENTS) as copy:
            for row in rows:
                copy.write_row(row)
        for statement in _OF_DOCUMENTS:
            cursor.execute(statement)
