import dataclasses
import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import SecretStr

from dropzone import queries
from dropzone.documents import Documents
from dropzone.errors import DocumentRejected, SourceChanged
from dropzone.models import (
    Chunk,
    DocumentWrite,
    IndexRequest,
    Job,
    JobIds,
    Outcome,
    Status,
)
from dropzone.sessions import PostgresSettings
from dropzone.sessions.postgres import PostgresSession
from servers import fresh_database

IDS = JobIds()
DIMS = 16


@pytest.fixture
def settings(services):
    return PostgresSettings(url=SecretStr(fresh_database(services)))


@pytest.fixture
def postgres(settings):
    session = PostgresSession(settings)
    session.migrate()
    yield session
    session.close()


def documents_on(postgres):
    return Documents(postgres, model_name="test", model_fingerprint="test-1", dims=DIMS)


@pytest.fixture
def documents(postgres):
    return documents_on(postgres)


def drop(content, *, path=None, collection="default", job_id=None, **more):
    """A write of ``content``; its lines become the chunks."""
    sha256 = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    request = IndexRequest(
        job_id or IDS.next(),
        "zone",
        collection,
        path or f"{sha256[:8]}.txt".encode(),
        sha256,
        len(content),
        "txt",
        f"dropzones/{sha256}",
    )
    texts = content.splitlines() if more.get("status", "indexed") == "indexed" else []
    chunks = [Chunk(n, text, n, n + 1, page=1) for n, text in enumerate(texts)]
    vectors = np.random.default_rng(1).random((len(chunks), DIMS)).astype("<f2")
    given = {"status": "indexed", "vectors": vectors.tobytes(), "dims": DIMS, **more}
    return DocumentWrite(request, chunks=chunks, **given)


def counts(postgres):
    (row,) = postgres.query(
        "SELECT (SELECT count(*) FROM dropzone.documents) AS documents,"
        " (SELECT count(*) FROM dropzone.chunks) AS chunks,"
        " (SELECT count(*) FROM dropzone.embeddings) AS vectors,"
        " (SELECT count(*) FROM dropzone.deliveries) AS deliveries"
    )
    return tuple(row.values())


def superseded(postgres):
    rows = postgres.query("SELECT sha256, superseded FROM dropzone.documents")
    return {row["sha256"]: row["superseded"] for row in rows}


def test_a_document_is_written_whole(postgres, documents):
    write = drop("one\ntwo\nthree", metadata={"title": "T"}, notes=["cut"])
    (outcome,) = documents.write([write])
    assert outcome.outcome is Outcome.INDEXED
    assert (outcome.chunks, outcome.notes) == (3, ("cut",))
    assert counts(postgres) == (1, 3, 3, 1)
    found = documents.find("default", write.request.sha256)
    assert (found.id, found.status, found.chunk_count) == (
        outcome.document_id,
        "indexed",
        3,
    )
    assert documents.find("other", write.request.sha256) is None
    (vector,) = postgres.query(
        "SELECT vector_dims(embedding) AS dims FROM dropzone.embeddings WHERE seq = 0"
    )
    assert vector == {"dims": DIMS}


def test_writing_a_job_again_changes_nothing(postgres, documents):
    batch = [drop("a\nb"), drop("c")]
    first = documents.write(batch)
    assert documents.write(batch) == first
    assert documents.write(batch[::-1]) == first[::-1]
    assert counts(postgres) == (2, 3, 3, 2)
    ids = [write.request.job_id for write in batch]
    assert documents.delivery_outcome([*ids, IDS.next()]) == dict(
        zip(ids, first, strict=True)
    )


def test_the_same_content_is_one_document(postgres, documents):
    batch = [drop("same", path=b"x"), drop("same", path=b"y"), drop("other")]
    outcomes = documents.write(batch)
    assert [o.outcome for o in outcomes] == ["indexed", "duplicate", "indexed"]
    (later,) = documents.write([drop("same", path=b"z")])
    assert later.outcome is Outcome.DUPLICATE
    assert later.document_id == outcomes[0].document_id
    assert counts(postgres) == (2, 2, 2, 4)


def test_known_content_is_only_delivered(postgres, documents):
    (first,) = documents.write([drop("same", path=b"x")])
    again = DocumentWrite(drop("same", path=b"y").request, "indexed", known=True)
    (outcome,) = documents.write([again])
    assert outcome.outcome is Outcome.DUPLICATE
    assert outcome.document_id == first.document_id
    assert counts(postgres) == (1, 1, 1, 2)


def test_known_content_that_is_gone_is_read_again(postgres, documents):
    lost = DocumentWrite(drop("gone").request, "indexed", known=True)
    good, bad = documents.write([drop("other"), lost])
    assert good.outcome is Outcome.INDEXED
    assert isinstance(bad.error, SourceChanged)
    assert counts(postgres) == (1, 1, 1, 1)


def test_collections_are_apart(postgres, documents):
    outcomes = documents.write([drop("same"), drop("same", collection="papers")])
    assert [o.outcome for o in outcomes] == ["indexed", "indexed"]
    assert postgres.query(
        "SELECT name, document_count FROM dropzone.document_collections ORDER BY name"
    ) == [
        {"name": "default", "document_count": 1},
        {"name": "papers", "document_count": 1},
    ]


def test_zones_that_share_a_database_count_their_own_documents(postgres, documents):
    here, there = drop("one"), drop("two")
    request = dataclasses.replace(there.request, zone="other")
    again = dataclasses.replace(here.request, zone="other", job_id=IDS.next())
    elsewhere = [
        dataclasses.replace(there, request=request),
        dataclasses.replace(here, request=again),
    ]
    documents.write([here, drop("three"), drop("one", path=b"copy.txt"), *elsewhere])
    counted = queries.load("dropzone", "sql/collections.sql")["documents"]
    assert {
        (row["zone"], row["collection"]): row["documents"]
        for row in postgres.query(counted)
    } == {("zone", "default"): 2, ("other", "default"): 2}


def test_what_was_only_stored_is_indexed_later(postgres, documents):
    (stored,) = documents.write([drop("a\nb", status="stored_only", vectors=b"")])
    assert stored.outcome is Outcome.STORED_ONLY
    (again,) = documents.write([drop("a\nb", status="empty", vectors=b"")])
    assert again.outcome is Outcome.DUPLICATE
    (better,) = documents.write([drop("a\nb")])
    assert better.outcome is Outcome.INDEXED
    assert better.document_id == stored.document_id
    assert counts(postgres) == (1, 2, 2, 3)


def given_in(postgres):
    rows = postgres.query("SELECT metadata FROM dropzone.documents ORDER BY id")
    return [row["metadata"].get("given") for row in rows]


def described(write, **given):
    request = dataclasses.replace(write.request, given=given)
    return dataclasses.replace(write, request=request)


def test_what_persons_say_of_one_content_is_gathered(postgres, documents):
    first = described(
        drop("a\nb", status="stored_only", vectors=b"", metadata={"given": "of it"}),
        author="Ada",
        year="1843",
    )
    documents.write([first, drop("other", metadata={"title": "t"})])
    assert given_in(postgres) == [{"author": "Ada", "year": "1843"}, None]
    # Indexed only now, dropped again, and the same job once more.
    documents.write([described(drop("a\nb", metadata={"pages": 2}), year="1844")])
    documents.write([described(drop("a\nb"), author="Lovelace")])
    documents.write([first])
    assert given_in(postgres)[0] == {"author": "Lovelace", "year": "1844"}
    (row, _) = postgres.query("SELECT metadata FROM dropzone.documents ORDER BY id")
    assert row["metadata"]["pages"] == 2
    postgres.execute("DELETE FROM dropzone.documents")
    documents.restore(first, Outcome.STORED_ONLY)
    assert given_in(postgres) == [{"author": "Ada", "year": "1843"}]


def test_only_the_bad_document_is_rejected(postgres, documents):
    batch = [drop("good"), drop("nul \0 here"), drop("half \ud800"), drop("fine")]
    outcomes = documents.write(batch)
    assert [o.outcome for o in outcomes] == ["indexed", None, None, "indexed"]
    assert isinstance(outcomes[1].error, DocumentRejected)
    assert isinstance(outcomes[2].error, DocumentRejected)
    assert counts(postgres) == (2, 2, 2, 2)


def test_metadata_and_notes_are_made_storable(postgres, documents):
    metadata = {
        "a\0b": "x\0\ud800",
        "list": [b"\xff", float("nan"), {"deep": "\0"}],
        "number": 1.5,
        "yes": True,
    }
    (outcome,) = documents.write([drop("t", metadata=metadata, notes=["n\0"])])
    (row,) = postgres.query("SELECT metadata, notes FROM dropzone.documents")
    assert row["metadata"] == {
        "ab": "x\ufffd",
        "list": ["\\xff", None, {"deep": ""}],
        "number": 1.5,
        "yes": True,
    }
    assert outcome.notes == ("n",)


def test_a_name_that_is_not_utf8(postgres, documents):
    documents.write([drop("t", path=b"a/\xff\n.txt")])
    assert postgres.query("SELECT name, path FROM dropzone.deliveries") == [
        {"name": "\\xff\\n.txt", "path": b"a/\xff\n.txt"}
    ]


def test_new_content_at_a_path_supersedes_the_old(postgres, documents):
    old, new = drop("old", path=b"p"), drop("new", path=b"p")
    documents.write([old])
    documents.write([new])
    hashes = [old.request.sha256, new.request.sha256]
    assert [superseded(postgres)[h] for h in hashes] == [True, False]
    documents.write([drop("old", path=b"p")])
    assert [superseded(postgres)[h] for h in hashes] == [False, True]
    documents.write([drop("new", path=b"q")])
    assert [superseded(postgres)[h] for h in hashes] == [False, False]


def test_both_contents_in_one_batch(postgres, documents):
    old, new = drop("old", path=b"p"), drop("new", path=b"p")
    documents.write([new, old])
    assert superseded(postgres) == {
        old.request.sha256: True,
        new.request.sha256: False,
    }


def test_an_older_job_that_comes_late_does_not_take_the_path_back(postgres, documents):
    late = drop("old", path=b"p")
    new = drop("new", path=b"p")
    documents.write([new])
    documents.write([late])
    assert superseded(postgres) == {
        late.request.sha256: True,
        new.request.sha256: False,
    }


def job(write):
    request = write.request
    return Job(
        id=request.job_id,
        zone=request.zone,
        collection=request.collection,
        path=request.path,
        status=Status.FAILED,
        size=request.size,
        mtime_ns=0,
        batch_id="b",
    )


def test_a_failure_is_replaced_by_success_and_never_replaces_it(documents):
    write = drop("text")
    documents.record_failures([job(write)])
    (failed,) = documents.delivery_outcome([write.request.job_id]).values()
    assert failed.outcome is Outcome.FAILED
    (outcome,) = documents.write([write])
    assert outcome.outcome is Outcome.INDEXED
    documents.record_failures([job(write)])
    assert documents.delivery_outcome([write.request.job_id]) == {
        write.request.job_id: outcome
    }


def test_many_writers_of_the_same_content(settings, postgres):
    contents = [f"text {number}\nmore" for number in range(12)]

    def work(number):
        session = PostgresSession(settings)
        order = contents if number % 2 else contents[::-1]
        written = [drop(c, path=f"{c[:8]}-{number % 3}".encode()) for c in order]
        outcomes = documents_on(session).write(written)
        session.close()
        return [o.outcome for o in outcomes]

    with ThreadPoolExecutor(6) as pool:
        outcomes = [outcome for part in pool.map(work, range(6)) for outcome in part]
    assert outcomes.count(Outcome.INDEXED) == 12
    assert outcomes.count(Outcome.DUPLICATE) == 60
    assert counts(postgres) == (12, 24, 24, 72)
    assert not any(superseded(postgres).values())


def test_many_writers_of_one_path_leave_one_document_current(settings, postgres):
    writes = [drop(f"text {number}", path=b"p") for number in range(16)]

    def work(write):
        session = PostgresSession(settings)
        documents_on(session).write([write])
        session.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, np.random.default_rng().permutation(writes)))
    current = [sha for sha, old in superseded(postgres).items() if not old]
    assert current == [writes[-1].request.sha256]


def test_the_views_have_the_names_of_old(postgres, documents):
    documents.write([drop("one\ntwo")])
    for view, rows in {
        "document_metadata": 1,
        "document_embeddings": 2,
        "document_collections": 1,
        "research_papers": 0,
    }.items():
        found = postgres.query(f"SELECT count(*) AS n FROM dropzone.{view}")  # noqa: S608
        assert found == [{"n": rows}], view


def test_vectors_that_do_not_fit_are_a_fault_of_the_program(documents):
    with pytest.raises(ValueError, match="one vector"):
        drop("a\nb", vectors=b"\0\0")
    with pytest.raises(ValueError, match="16 numbers"):
        documents.write([drop("a", dims=2, vectors=b"\0" * 4)])


def test_ids_are_uuids():
    assert uuid.UUID(IDS.next()).version == 7
