"""Rows on their way into Postgres: every shape, every line cut, each row once."""

import time

import numpy as np
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from pydantic import SecretStr

from dropzone.errors import DocumentRejected, ServiceUnavailable
from dropzone.retry import RetryPolicy
from dropzone.sessions import PostgresSettings
from dropzone.sessions.postgres import PostgresSession
from faultproxy import proxy_to
from servers import fresh_database

PATIENT = RetryPolicy(seconds=20, first_pause=0.02, longest_pause=0.1)
TABLE = """
CREATE TABLE notes (
    id bigint PRIMARY KEY, text text, half halfvec(3), full_ vector(3)
)
"""


@pytest.fixture(scope="module")
def url(services):
    return fresh_database(services)


@pytest.fixture(scope="module")
def proxy(url):
    parts = conninfo_to_dict(url)
    with proxy_to(f"{parts['host']}/.s.PGSQL.{parts['port']}") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def session(url, proxy):
    session = PostgresSession(
        PostgresSettings(
            url=SecretStr(make_conninfo(url, host="127.0.0.1", port=proxy.port)),
            retry=PATIENT,
        )
    )
    session.execute("CREATE EXTENSION vector")
    session.execute(TABLE)
    yield session
    session.close()


@pytest.fixture
def postgres(session, proxy):
    yield session
    proxy.heal()
    session.execute("TRUNCATE notes")


def ids(postgres):
    return [row[0] for row in postgres.query("SELECT id FROM notes ORDER BY id",
                                             as_tuples=True)]  # fmt: skip


def texts(postgres):
    rows = postgres.query("SELECT id, text FROM notes ORDER BY id", as_tuples=True)
    return dict(rows)


def rows(start, end):
    return [(n, "x", [n, 0, 0], None) for n in range(start, end)]


class TestShapes:
    @pytest.mark.parametrize(
        "vector",
        [
            [0.5, 1, -2],
            (0.5, 1.0, -2.0),
            np.array([0.5, 1, -2], "f4"),
            np.array([0.5, 1, -2], "f8"),
            np.array([0.5, 1, -2], ">f2"),
        ],
    )
    def test_vectors_are_lists_or_arrays(self, postgres, vector):
        row = {"id": 1, "half": vector, "full_": vector}
        assert postgres.bulk_insert_embeddings([row], table="notes") == 1
        (found,) = postgres.query("SELECT text, half, full_ FROM notes")
        assert found["text"] is None
        assert found["half"].to_list() == [0.5, 1, -2]
        assert found["full_"].to_list() == [0.5, 1, -2]

    def test_vectors_are_bytes_of_the_width_of_the_column(self, postgres):
        numbers = np.array([0.5, 1, -2])
        row = (1, "x", numbers.astype("<f2").tobytes(), numbers.astype("<f4").tobytes())
        assert postgres.bulk_insert("public.notes", [row]) == 1
        (found,) = postgres.query("SELECT half, full_ FROM notes", as_tuples=True)
        assert [vector.to_list() for vector in found] == [[0.5, 1, -2]] * 2

    def test_missing_vectors_and_other_kinds_stand_side_by_side(self, postgres):
        mixed = [(1, "a", None), (2, "b", [1, 2, 3]), (3, "c", np.ones(3))]
        columns = ["id", "text", "half"]
        assert postgres.bulk_insert("notes", mixed, columns=columns) == 3
        found = postgres.query("SELECT half FROM notes ORDER BY id", as_tuples=True)
        assert found[0][0] is None
        assert [one[0].to_list() for one in found[1:]] == [[1, 2, 3], [1, 1, 1]]

    def test_what_was_sent_is_what_the_server_reads(self, postgres):
        vectors = np.random.default_rng(7).normal(size=(1000, 3)).astype("f4")
        some = ({"id": n, "full_": one} for n, one in enumerate(vectors))
        assert postgres.bulk_insert("notes", some) == 1000
        found = postgres.query("SELECT full_ FROM notes ORDER BY id", as_tuples=True)
        assert np.array_equal([row[0].to_numpy() for row in found], vectors)

    def test_nothing_is_no_error(self, postgres):
        assert postgres.bulk_insert("notes", iter(())) == 0
        assert postgres.bulk_insert("notes", [], rows_per_commit=5) == 0

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            ((1, "x", [1, 2], None), "expected 3 dimensions, not 2"),
            ((1, "x", [1e9, 0, 0], None), "infinite value"),
            ((1, "x", [[1, 2, 3]], None), r"One of the rows 1 to 1 .*\(dims,\)"),
            ((1, "x", "[1,2,3]", None), "One of the rows 1 to 1 .*half halfvec"),
            (("1", "x", None, None), "Row 1 .*id int8"),
            ((1, "a\0b", None, None), "0x00"),
            ((1, "x"), "One of the rows 1 to 1 "),
            ((1, "x", None, None, 5), "expected 4 values in row"),
        ],
    )
    def test_what_does_not_fit_is_told(self, postgres, row, told):
        with pytest.raises(DocumentRejected, match=told) as caught:
            postgres.bulk_insert("notes", [row])
        assert caught.value.__cause__ is not None
        assert ids(postgres) == []

    def test_a_column_that_is_not_there_is_told(self, postgres):
        with pytest.raises(ValueError, match="it has id, text, half, full_"):
            postgres.bulk_insert("notes", [{"id": 1, "embedding": [1]}])


class TestConflicts:
    def test_a_taken_key_fails_all(self, postgres):
        postgres.bulk_insert("notes", rows(5, 6))
        with pytest.raises(DocumentRejected, match="duplicate key"):
            postgres.bulk_insert("notes", rows(0, 10))
        assert ids(postgres) == [5]

    def test_a_taken_key_is_skipped_or_replaced(self, postgres):
        columns = ["id", "text"]
        old, new = [(1, "old")], [(1, "new"), (2, "new")]
        postgres.bulk_insert("notes", old, columns=columns)
        insert = postgres.bulk_insert
        assert insert("notes", new, columns=columns, on_conflict="skip") == 1
        assert texts(postgres) == {1: "old", 2: "new"}
        assert insert("notes", new, columns=columns, on_conflict="replace") == 2
        assert texts(postgres) == {1: "new", 2: "new"}

    def test_groups_before_a_refused_one_stay_and_are_told(self, postgres):
        bad = [*rows(0, 25), (1, "again", None, None)]
        with pytest.raises(DocumentRejected, match="The 20 rows before are inserted"):
            postgres.bulk_insert("notes", iter(bad), rows_per_commit=10)
        assert ids(postgres) == list(range(20))


def cutting(proxy, at, count):
    """Yield rows, and cut the line in the middle of them, once."""
    for row in rows(0, count):
        if row[0] == at:
            proxy.cut()
        yield row


class Again:
    """Rows that can be iterated again; the first time the line is cut."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.times = 0

    def __iter__(self):
        self.times += 1
        return cutting(self.proxy, 5000 if self.times == 1 else -1, 10_000)


class TestCuts:
    def test_rows_that_can_be_read_again_are_sent_again(self, postgres, proxy):
        source = Again(proxy)
        assert postgres.bulk_insert("notes", source) == 10_000
        assert source.times == 2
        assert ids(postgres) == list(range(10_000))

    def test_a_generator_is_not_and_leaves_nothing(self, postgres, proxy):
        with pytest.raises(ServiceUnavailable, match="cannot be read twice") as caught:
            postgres.bulk_insert("notes", cutting(proxy, 5000, 10_000))
        assert "rows_per_commit" in caught.value.hint
        assert ids(postgres) == []

    def test_a_generator_in_groups_goes_on(self, postgres, proxy):
        source = cutting(proxy, 5000, 10_000)
        assert postgres.bulk_insert("notes", source, rows_per_commit=400) == 10_000
        assert ids(postgres) == list(range(10_000))

    @pytest.mark.parametrize("deliver", [True, False])
    def test_a_commit_that_was_cut_takes_place_once(self, postgres, proxy, deliver):
        runs = []

        def insert(connection):
            runs.append(1)
            statement = "INSERT INTO notes (id) SELECT max(id) + 1 FROM notes"
            connection.execute(statement)
            return "done"

        postgres.bulk_insert("notes", rows(0, 1))
        proxy.cut_at(b"COMMIT", deliver=deliver)
        assert postgres.run_once(insert) == "done"
        assert not proxy.pending
        assert len(runs) == (1 if deliver else 2)
        assert ids(postgres) == [0, 1]

    def test_a_statement_that_writes_is_executed_once(self, postgres, proxy):
        postgres.bulk_insert("notes", rows(0, 3))
        proxy.cut_at(b"COMMIT", deliver=True)
        assert postgres.execute("UPDATE notes SET text = text || 'y'") == 3
        assert set(texts(postgres).values()) == {"xy"}


def test_a_stream_holds_few_rows(postgres):
    postgres.bulk_insert("notes", rows(0, 5000))
    stream = postgres.stream("SELECT id FROM notes ORDER BY id", rows_at_once=100)
    assert [next(stream)["id"] for _ in range(3)] == [0, 1, 2]
    with postgres.connection() as other:
        (sent,) = other.execute(
            "SELECT count(*) AS open FROM pg_stat_activity "
            "WHERE state = 'idle in transaction' AND query LIKE 'FETCH FORWARD 100%'"
        )
    assert sent["open"] == 1
    stream.close()
    assert postgres.stats().operations["stream"].errors == {}
    read = postgres.stream("SELECT id FROM notes", as_tuples=True)
    assert sum(1 for _ in read) == 5000


def test_a_borrowed_connection_keeps_only_what_it_committed(postgres):
    for commit in (True, False):
        connection = postgres.borrow()
        connection.execute("INSERT INTO notes (id) VALUES (%s)", [int(commit)])
        if commit:
            connection.commit()
        connection.close()
    assert ids(postgres) == [1]
    with postgres.connection() as lent:
        assert lent.autocommit


def test_a_table_of_somebody_else_that_is_missing_is_a_fault_of_the_statement(postgres):
    with pytest.raises(Exception, match="typo") as caught:
        postgres.query("SELECT 1 FROM typo")
    assert type(caught.value).__name__ == "UndefinedTable"


def test_a_server_that_fails_over_and_over_is_left_alone_until_it_is_back(services):
    url = fresh_database(services)
    parts = conninfo_to_dict(url)
    with proxy_to(f"{parts['host']}/.s.PGSQL.{parts['port']}") as proxy:
        way = make_conninfo(url, host="127.0.0.1", port=proxy.port)
        quick = RetryPolicy(seconds=0.01, first_pause=0.01)
        postgres = PostgresSession(PostgresSettings(url=SecretStr(way), retry=quick))
        proxy.refuse()
        for _ in range(5):
            with pytest.raises(ServiceUnavailable, match="refused"):
                postgres.query("SELECT 1")
        asked = proxy.connections
        with pytest.raises(ServiceUnavailable, match="not asked since") as caught:
            postgres.query("SELECT 1")
        assert "refused" in str(caught.value)
        assert postgres.stats().rejects_since == pytest.approx(time.time(), abs=60)
        proxy.heal()
        assert proxy.connections == asked
        # A look from outside ends it at once; nobody need wait for the pause.
        assert postgres.check().healthy
        assert postgres.query("SELECT 1 AS a") == [{"a": 1}]
        postgres.close()
