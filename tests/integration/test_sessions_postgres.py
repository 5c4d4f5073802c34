import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import SecretStr

from dropzone.errors import ConfigurationError, DocumentRejected, ServiceUnavailable
from dropzone.retry import RetryPolicy
from dropzone.sessions import PostgresSettings, migrate
from dropzone.sessions.postgres import PostgresSession, copy_rows, half_vectors
from servers import fresh_database


@pytest.fixture
def settings(services):
    return PostgresSettings(
        url=SecretStr(fresh_database(services)),
        connection_timeout=2,
        pool_size=3,
        retry=RetryPolicy(seconds=3, first_pause=0.01),
    )


@pytest.fixture
def postgres(settings):
    session = PostgresSession(settings)
    yield session
    session.close()


def test_rows_come_as_dictionaries(postgres):
    assert postgres.query("SELECT 1 AS one, %(b)s AS two", {"b": "x"}) == [
        {"one": 1, "two": "x"}
    ]
    assert postgres.execute("CREATE TABLE t (a int)") == -1
    assert postgres.execute("INSERT INTO t VALUES (1), (2)") == 2


def test_settings_reach_the_server(postgres):
    rows = postgres.query(
        "SELECT current_setting('application_name') AS name,"
        " current_setting('statement_timeout') AS timeout"
    )
    assert rows == [{"name": "dropzone", "timeout": "1min"}]


def test_who_has_little_patience_gives_up_a_silent_server_soon(postgres):
    with (
        pytest.raises(ServiceUnavailable, match="no answer for 1 second"),
        postgres.connection(patience=1) as connection,
    ):
        connection.execute("SELECT pg_sleep(60)")
    with postgres.connection() as connection:
        assert connection.patience > 60


def test_migrating_is_done_once_whoever_comes(settings):
    def work(_):
        session = PostgresSession(settings)
        done = session.migrate()
        session.close()
        return done

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(work, range(4)) for name in names]
    assert applied == [file.name for file in migrate.migrations()]


def test_a_newer_schema_is_refused(postgres):
    postgres.migrate()
    postgres.execute(
        "INSERT INTO dropzone.migrations (version, name) VALUES (9999, 'later')"
    )
    with pytest.raises(ConfigurationError, match="9999"):
        postgres.migrate()


def test_a_migration_that_fails_leaves_nothing(postgres):
    broken = [
        *migrate.migrations(),
        migrate.Migration(9998, "broken.sql", "CREATE TABLE dropzone.x (); SELECT 1/0"),
    ]
    with pytest.raises(DocumentRejected), postgres.connection() as connection:
        migrate.migrate(connection, broken)
    assert postgres.query("SELECT to_regclass('dropzone.documents') AS t") == [
        {"t": None}
    ]


@pytest.mark.parametrize(
    "statement", ["CREATE EXTENSION nowhere", "CREATE TABLE dropzone.x (a nowhere)"]
)
def test_a_server_without_pgvector_is_told(postgres, statement):
    wanted = [migrate.Migration(1, "1.sql", statement)]
    with (
        postgres.connection() as connection,
        pytest.raises(ConfigurationError, match="pgvector"),
    ):
        migrate.migrate(connection, wanted)


def test_rights_that_are_missing_are_told(postgres):
    with postgres.connection() as connection:
        connection.execute("SET ROLE pg_monitor")
        with pytest.raises(ConfigurationError) as caught:
            migrate.migrate(connection)
        connection.execute("RESET ROLE")
    assert "GRANT CREATE" in caught.value.hint


def test_missing_tables_are_the_fault_of_the_surroundings(postgres):
    with pytest.raises(ServiceUnavailable, match="does not exist"):
        postgres.query("SELECT * FROM dropzone.documents")


def test_vectors_are_known_although_the_extension_came_later(postgres):
    postgres.query("SELECT 1")
    postgres.migrate()
    vectors = half_vectors(b"\x00\x3c\x00\x40" * 2, 2)
    postgres.execute("CREATE TABLE v (e halfvec)")
    with postgres.transaction() as connection:
        copy_rows(
            connection,
            "COPY v FROM STDIN (FORMAT BINARY)",
            ["halfvec"],
            [(vector,) for vector in vectors],
        )
    rows = postgres.query("SELECT e::text AS e FROM v")
    assert rows == [{"e": "[1,2]"}, {"e": "[1,2]"}]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_text_postgres_cannot_hold_is_the_documents_fault(postgres, text):
    with pytest.raises(DocumentRejected):
        postgres.query("SELECT %s::text AS t", [text])


def test_a_constraint_is_the_documents_fault(postgres):
    postgres.execute("CREATE TABLE c (a int PRIMARY KEY)")
    with pytest.raises(DocumentRejected):
        postgres.execute("INSERT INTO c VALUES (1), (1)")


def test_a_slow_statement_is_given_up(settings):
    session = PostgresSession(replace(settings, statement_timeout=0.1))
    with pytest.raises(ServiceUnavailable) as caught:
        session.query("SELECT pg_sleep(5)")
    assert "statement_timeout" in caught.value.hint
    session.close()


def test_a_fault_of_the_program_passes_as_it_is(postgres):
    with pytest.raises(Exception, match="syntax error") as caught:
        postgres.query("SELEKT 1")
    assert type(caught.value).__module__.startswith("psycopg")


def test_a_transaction_is_undone_by_an_error(postgres, recwarn):
    postgres.execute("CREATE TABLE u (a int)")

    def work(connection):
        connection.execute("INSERT INTO u VALUES (1)")
        raise KeyError

    with pytest.raises(KeyError):
        postgres.run(work)
    assert postgres.query("SELECT * FROM u") == []
    assert not recwarn.list


def test_a_deadlock_is_run_again(postgres):
    postgres.execute("CREATE TABLE d (a int PRIMARY KEY, n int)")
    postgres.execute("INSERT INTO d VALUES (1, 0), (2, 0)")
    barrier = threading.Barrier(2)
    runs = []

    def add(first, second):
        def work(connection):
            runs.append(first)
            connection.execute("SET LOCAL deadlock_timeout = '50ms'")
            connection.execute("UPDATE d SET n = n + 1 WHERE a = %s", [first])
            if len(runs) <= 2:
                barrier.wait(5)
            connection.execute("UPDATE d SET n = n + 1 WHERE a = %s", [second])

        postgres.run(work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(add, 1, 2), pool.submit(add, 2, 1)]:
            done.result()
    assert len(runs) == 3
    assert postgres.query("SELECT sum(n) AS n FROM d") == [{"n": 4}]


def test_a_connection_the_administrator_ends_is_replaced(postgres):
    runs = []

    def work(connection):
        runs.append(connection.info.backend_pid)
        if len(runs) == 1:
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return connection.execute("SELECT 1 AS one").fetchone()

    assert postgres.run(work) == {"one": 1}
    assert len(set(runs)) == 2


def test_waiting_for_a_busy_pool_ends(settings):
    session = PostgresSession(replace(settings, pool_size=2, connection_timeout=1))
    began = time.monotonic()
    with (
        session.connection(),
        session.connection(),
        pytest.raises(ServiceUnavailable, match="busy"),
        session.connection(),
    ):
        pass
    assert time.monotonic() - began < 5
    assert session.query("SELECT 1 AS a") == [{"a": 1}]
    session.close()


def test_a_wrong_password_is_told_at_once_and_not_shown(settings):
    url = settings.url.get_secret_value()
    start, _, rest = url.partition("postgres:")
    wrong = f"{start}postgres:canary@{rest.partition('@')[2]}"
    session = PostgresSession(replace(settings, url=SecretStr(wrong)))
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="authentication failed") as caught:
        session.query("SELECT 1")
    assert time.monotonic() - began < 5
    told = f"{caught.value} {caught.value.hint} {session.check().error} {session!r}"
    assert "canary" not in told
    session.close()


def test_a_database_that_is_not_there(settings):
    url = settings.url.get_secret_value().partition("?")
    gone = SecretStr(f"{url[0].rpartition('/')[0]}/gone?{url[2]}")
    session = PostgresSession(replace(settings, url=gone))
    with pytest.raises(ServiceUnavailable, match="does not exist"):
        session.query("SELECT 1")
    session.close()
