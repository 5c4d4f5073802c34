import hashlib
import unicodedata

import pytest
from pydantic import SecretStr

from dropzone.documents import Documents
from dropzone.embed import make_embedder
from dropzone.errors import ServiceUnavailable, UsageError
from dropzone.models import Chunk, DocumentWrite, IndexRequest, JobIds
from dropzone.retry import RetryPolicy
from dropzone.search import Search, Where, unmark
from dropzone.sessions import PostgresSettings
from dropzone.sessions.postgres import PostgresSession
from servers import fresh_database

IDS = JobIds()
EMBEDDER = make_embedder("hash-v1")

TEXTS = {
    "vacuum.txt": "Autovacuum removes dead rows, so tables stay small.",
    "backup.txt": "Use pg_basebackup --tablespace-mapping to move a tablespace.",
    "index.txt": "An index makes queries fast but inserts slow.",
    "cafe.txt": "The café serves crème brûlée.",
    "quote.txt": "It's a 'quoted' word with a back\\slash & an ampersand.",
    "stop.txt": "To be or not to be, that is the question.",
    "long.txt": "\n".join(f"Replication slot number {n} lags." for n in range(9)),
}


class Corpus:
    def __init__(self, postgres):
        self.postgres = postgres
        self.search = Search(postgres, EMBEDDER).search
        self.documents = Documents(
            postgres,
            model_name=EMBEDDER.name,
            model_fingerprint=EMBEDDER.fingerprint,
            dims=EMBEDDER.dims,
        )

    def add(
        self, name, text, collection="default", kind="txt", given=None, job_id=None
    ):
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        request = IndexRequest(
            job_id or IDS.next(),
            *("z", collection, name.encode(), sha256, 1, kind, "key"),
            given=given or {},
        )
        lines = text.splitlines()
        vectors = EMBEDDER.embed_documents(lines).astype("<f2").tobytes()
        chunks = [Chunk(n, line, 0, 1, page=n + 1) for n, line in enumerate(lines)]
        self.documents.write(
            [DocumentWrite(request, "indexed", chunks, vectors, EMBEDDER.dims)]
        )

    def names(self, text, **options):
        return [hit.name for hit in self.search(text, **options)]


@pytest.fixture(scope="module")
def shared(services):
    session = PostgresSession(PostgresSettings(url=SecretStr(fresh_database(services))))
    session.migrate()
    corpus = Corpus(session)
    for name, text in TEXTS.items():
        corpus.add(name, text)
    yield corpus
    session.close()


@pytest.fixture
def corpus(services):
    session = PostgresSession(PostgresSettings(url=SecretStr(fresh_database(services))))
    session.migrate()
    yield Corpus(session)
    session.close()


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
@pytest.mark.parametrize(
    ("where", "names"),
    [
        (Where(), {"Größe 1.pdf", "a\\b.txt", "old.txt"}),
        (Where(collection="größen"), {"Größe 1.pdf"}),
        (Where(collection="gro\u0308ßen"), {"Größe 1.pdf"}),
        (Where(doc_type="txt"), {"a\\b.txt", "old.txt"}),
        (Where(zone="z"), {"Größe 1.pdf", "a\\b.txt", "old.txt"}),
        (Where(zone="y"), set()),
        (Where(name="Größe 1.P"), {"Größe 1.pdf"}),
        (Where(name="GRo\u0308ße 1.P"), {"Größe 1.pdf"}),
        (Where(name="Grosse"), set()),
        (Where(name="a\\B"), {"a\\b.txt"}),
        (Where(name="%"), set()),
        (Where(since=1000.0), {"Größe 1.pdf", "a\\b.txt"}),
        (Where(until=1000.0), {"old.txt"}),
        (Where(since=1e30, until=-1.0), set()),
        (Where(given="author=Ada"), {"Größe 1.pdf"}),
        (Where(given="author"), {"Größe 1.pdf", "a\\b.txt"}),
        (Where(given="author="), set()),
        (Where(given="no\0body"), set()),
        (Where(collection="größen", doc_type="txt", name="x"), set()),
    ],
)
def test_only_what_fits_is_searched(filtered, where, names, mode):
    hits = filtered.search("walrus", where=where, mode=mode)
    assert {hit.name for hit in hits} == names


@pytest.fixture(scope="module")
def filtered(services):
    session = PostgresSession(PostgresSettings(url=SecretStr(fresh_database(services))))
    session.migrate()
    made = Corpus(session)
    text = "The walrus sleeps"
    apart = unicodedata.normalize("NFD", "größen")
    made.add(f"{apart}/Größe 1.pdf", text, apart, "pdf", {"author": "Ada"})
    made.add("a\\b.txt", f"{text} long.", given={"author": "Bob", "year": "1843"})
    made.add("old.txt", f"{text} on ice.", job_id=f"{500_000:012x}" + "0" * 20)
    yield made
    session.close()


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_a_question_finds_its_answer(shared, mode):
    assert shared.names("why do the dead rows go?", mode=mode)[0] == "vacuum.txt"


def test_any_word_is_enough(shared):
    assert "index.txt" in shared.names("index of unheard zebras")


def test_a_hit_says_where_it_is(shared):
    hit = shared.search("slow inserts")[0]
    assert hit.path == b"index.txt"
    assert (hit.seq, hit.page, hit.zone, hit.collection) == (0, 1, "z", "default")
    assert hit.matched_by == "both"
    assert [hit.snippet[a:b] for a, b in hit.marks] == ["inserts", "slow"]


def test_the_mode_says_what_matched(shared):
    assert shared.search("dead rows", mode="text")[0].matched_by == "text"
    assert shared.search("dead rows", mode="vector")[0].matched_by == "vector"


def test_words_are_found_in_whatever_unicode_form(shared):
    for form in ("NFC", "NFD"):
        for words in ("café", '"crème brûlée"'):
            asked = unicodedata.normalize(form, words)
            assert shared.names(asked, mode="text") == ["cafe.txt"]


def test_an_identifier_is_found(shared):
    assert shared.names("--tablespace-mapping")[0] == "backup.txt"
    assert shared.names("pg_basebackup")[0] == "backup.txt"


def test_quoted_words_must_stand_together(shared):
    assert shared.names('"dead rows" index') == ["vacuum.txt"]
    assert shared.names('"rows dead"') == []


def test_stop_words_alone_are_looked_up_as_they_are(shared):
    assert shared.names("to be or not to be", mode="text") == ["stop.txt"]


@pytest.mark.parametrize(
    "text", ["'", "\\", "a & | ! <-> :*", "%", '"', '""', "(", "x\0y", "\ud800 z", "日"]
)
def test_signs_do_no_harm(shared, text):
    for mode in ("hybrid", "vector", "text"):
        hits = shared.search(text, mode=mode)
        assert all(hit.sha256 for hit in hits)


def test_quotes_and_backslashes_are_words_too(shared):
    assert shared.names("it's 'quoted' back\\slash")[0] == "quote.txt"


def test_a_document_shows_at_most_three_of_its_chunks(shared):
    assert shared.names("replication slot lags") == ["long.txt"] * 3
    assert shared.names("replication slot lags", limit=2) == ["long.txt"] * 2


def test_nothing_alike_finds_nothing(shared):
    assert shared.names("xylophone zygote") == []


@pytest.mark.parametrize(
    ("text", "options"),
    [("", {}), (" \0 ", {}), ("a", {"mode": "fuzzy"}), ("a", {"limit": 0})],
)
def test_wrong_use_is_told(shared, text, options):
    with pytest.raises(UsageError):
        shared.search(text, **options)


def test_collections_are_apart(corpus):
    corpus.add("a.txt", "green apples")
    corpus.add("b.txt", "green apples", collection="papers")
    assert sorted(corpus.names("apples")) == ["a.txt", "b.txt"]
    assert corpus.names("apples", collection="papers") == ["b.txt"]
    assert corpus.names("apples", collection="no\0ne") == []


def test_superseded_content_is_not_found(corpus):
    corpus.add("a.txt", "green apples")
    corpus.add("a.txt", "red apples")
    for mode in ("hybrid", "vector", "text"):
        hits = corpus.search("green apples", mode=mode)
        assert [hit.snippet for hit in hits] == ["red apples"]


def test_a_document_shows_the_path_dropped_last(corpus):
    corpus.add("old.txt", "green apples")
    corpus.add("new.txt", "green apples")
    assert corpus.names("apples") == ["new.txt"]


def test_vectors_of_another_model_are_not_compared(corpus):
    corpus.add("a.txt", "green apples")
    corpus.postgres.execute("UPDATE dropzone.embedding_models SET fingerprint = 'old'")
    assert corpus.names("green apples", mode="vector") == []
    assert corpus.names("green apples") == ["a.txt"]


def test_a_text_without_words_is_near_nothing(corpus):
    corpus.add("a.txt", "!!! ???")
    corpus.add("b.txt", "green apples")
    assert corpus.names("green apples", mode="vector") == ["b.txt"]


def test_search_fails_at_once_when_postgres_is_down():
    policy = RetryPolicy(seconds=30)
    settings = PostgresSettings(host="127.0.0.1", port=9, retry=policy)
    session = PostgresSession(settings)
    with pytest.raises(ServiceUnavailable):
        Search(session, EMBEDDER).search("a")
    session.close()


def test_marks_survive_odd_headlines():
    assert unmark("a \x02b\x03 c \x02d\x03") == ("a b c d", ((2, 3), (6, 7)))
    assert unmark("\x03a\x02b") == ("ab", ())
    assert unmark("") == ("", ())
