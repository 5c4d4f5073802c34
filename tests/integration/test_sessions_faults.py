"""Both sessions behind a network that is cut, frozen and healed."""

import contextlib
import hashlib
import os
import signal
import socket
import threading
import time
from dataclasses import replace

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from pydantic import SecretStr

from daemons import free_port
from dropzone.errors import ServiceUnavailable, Stopping
from dropzone.retry import RetryPolicy
from dropzone.sessions import PostgresSettings, S3Settings, digest
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.postgres import PostgresSession
from dropzone.sessions.s3 import S3Session
from servers import fresh_bucket, fresh_database, servers

SHORT = RetryPolicy(seconds=0.3, first_pause=0.02, longest_pause=0.05)
PATIENT = RetryPolicy(seconds=20, first_pause=0.02, longest_pause=0.1)


class Proxy:
    """Passes bytes between a TCP port and ``target``, until it is told otherwise.

    ``target`` is what ``socket.connect`` takes: a path or (host, port). ``budget``
    is how many bytes may still go to the server before the line is cut.
    """

    def __init__(self, target):
        self.target = target
        self.family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
        self.port = free_port()
        self.open = []
        self.frozen = False
        self.budget = None
        self.listener = None
        self.heal()

    def heal(self):
        self.budget = None
        self.frozen = False
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self._spawn(self._accept, self.listener)

    def cut(self):
        """Refuse new connections and break the open ones."""
        for sock in [self.listener, *self.open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.open.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(self.family)
                server.connect(self.target)
                self.open += [client, server]
                self._spawn(self._pass, client, server, True)
                self._spawn(self._pass, server, client, False)

    def _pass(self, source, sink, counted):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self.frozen:
                    threading.Event().wait(0.01)
                if counted and self.budget is not None:
                    self.budget -= len(data)
                    if self.budget < 0:
                        self.cut()
                        return
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _spawn(target, *arguments):
        threading.Thread(target=target, args=arguments, daemon=True).start()


@pytest.fixture
def to_postgres(services):
    url = fresh_database(services)
    parts = conninfo_to_dict(url)
    proxy = Proxy(f"{parts['host']}/.s.PGSQL.{parts['port']}")
    proxy.url = SecretStr(make_conninfo(url, host="127.0.0.1", port=proxy.port))
    yield proxy
    proxy.cut()


@pytest.fixture
def postgres(to_postgres):
    session = PostgresSession(
        PostgresSettings(url=to_postgres.url, connection_timeout=2, retry=SHORT)
    )
    yield session
    session.close()


@pytest.fixture
def to_s3(services):
    host, port = services.s3_endpoint.removeprefix("http://").split(":")
    proxy = Proxy((host, int(port)))
    proxy.settings = S3Settings(
        bucket=fresh_bucket(services),
        region=services.s3_region,
        credentials=AwsCredentials.embedded(
            services.s3_access_key, services.s3_secret_key
        ),
        endpoint_url=f"http://127.0.0.1:{proxy.port}",
        read_timeout=3,
        retry=SHORT,
    )
    yield proxy
    proxy.cut()


@pytest.fixture
def s3(to_s3):
    session = S3Session(to_s3.settings)
    yield session
    session.close()


def put(s3, key, data):
    return s3.put(key, data, sha256=hashlib.sha256(data).hexdigest())


class TestPostgres:
    def test_down_from_the_start_then_up(self, to_postgres, postgres):
        to_postgres.cut()
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="refused") as caught:
            postgres.query("SELECT 1")
        assert caught.value.service == "postgres"
        assert time.monotonic() - began < 15
        assert postgres.check().healthy is False
        to_postgres.heal()
        assert postgres.query("SELECT 1 AS a") == [{"a": 1}]
        assert postgres.check().healthy is True

    def test_cut_within_a_statement(self, to_postgres, postgres):
        threading.Timer(0.2, to_postgres.cut).start()
        with pytest.raises(ServiceUnavailable):
            postgres.query("SELECT pg_sleep(30)")
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(ServiceUnavailable):
                postgres.query("SELECT 1")
            assert time.monotonic() - began < 15
        to_postgres.heal()
        assert postgres.query("SELECT 1 AS a") == [{"a": 1}]

    def test_connections_that_went_stale_are_not_lent(self, to_postgres, postgres):
        with postgres.connection(), postgres.connection(), postgres.connection():
            pass
        to_postgres.cut()
        to_postgres.heal()
        with postgres.connection() as one, postgres.connection() as two:
            assert one.execute("SELECT 1 AS a").fetchone() == {"a": 1}
            assert two.execute("SELECT 1 AS a").fetchone() == {"a": 1}

    def test_a_transaction_cut_in_the_middle_is_run_again(self, to_postgres):
        session = PostgresSession(PostgresSettings(url=to_postgres.url, retry=PATIENT))
        session.execute("CREATE TABLE t (a int)")
        runs = []

        def work(connection):
            runs.append(1)
            connection.execute("INSERT INTO t VALUES (1)")
            if len(runs) == 1:
                to_postgres.cut()
                threading.Timer(0.2, to_postgres.heal).start()
            connection.execute("INSERT INTO t VALUES (2)")

        session.run(work)
        assert len(runs) == 2
        assert session.query("SELECT a FROM t ORDER BY a") == [{"a": 1}, {"a": 2}]
        session.close()

    def test_stopping_ends_the_wait(self, to_postgres):
        stop = threading.Event()
        session = PostgresSession(
            PostgresSettings(url=to_postgres.url, retry=PATIENT), stop=stop
        )
        to_postgres.cut()
        threading.Timer(0.2, stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopping):
            session.query("SELECT 1")
        assert time.monotonic() - began < 15
        session.close()

    def test_a_server_that_says_nothing_is_given_up(self, to_postgres, postgres):
        to_postgres.frozen = True
        with pytest.raises(ServiceUnavailable, match="timeout"):
            postgres.query("SELECT 1")
        to_postgres.frozen = False
        assert postgres.query("SELECT 1 AS a") == [{"a": 1}]


class TestS3:
    def test_down_then_up(self, to_s3, s3):
        to_s3.cut()
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="does not answer") as caught:
            put(s3, "k", b"x")
        assert caught.value.service == "s3"
        assert time.monotonic() - began < 15
        assert s3.check().healthy is False
        to_s3.heal()
        put(s3, "k", b"x")
        assert s3.check().healthy is True

    def test_a_short_outage_is_bridged(self, to_s3):
        session = S3Session(
            replace(to_s3.settings, retry=PATIENT),
        )
        to_s3.cut()
        threading.Timer(0.3, to_s3.heal).start()
        assert put(session, "k", b"x").checksum_confirmed_by == "etag"
        session.close()

    def test_cut_within_a_body(self, to_s3, s3):
        to_s3.budget = 1 << 20
        with pytest.raises(ServiceUnavailable):
            put(s3, "k", bytes(4 << 20))
        to_s3.heal()
        assert s3.head("k") is None
        put(s3, "k", bytes(4 << 20))

    def test_cut_within_the_parts(self, to_s3, tmp_path):
        s3 = S3Session(replace(to_s3.settings, read_timeout=20))
        path = tmp_path / "big"
        path.write_bytes(os.urandom(1 << 20) * 70)
        with path.open("rb", buffering=0) as file:
            found = digest(file)
            to_s3.budget = 40 << 20
            with pytest.raises(ServiceUnavailable):
                s3.put_file("big", file, found)
            to_s3.heal()
            assert s3.head("big") is None
            # S3 was gone when the upload was to be given up.
            assert s3.abort_stale_uploads("", -10) == 1
            assert s3.put_file("big", file, found).size == 70 << 20
        assert [item.key for item in s3.list()] == ["big"]
        s3.close()

    def test_a_server_that_says_nothing_is_given_up(self, to_s3, s3):
        put(s3, "k", b"x")
        to_s3.frozen = True
        with pytest.raises(ServiceUnavailable, match="timeout"):
            s3.head("k")
        to_s3.frozen = False
        assert s3.get("k") == b"x"


def test_a_postgres_that_crashes_comes_back_by_itself(tmp_path):
    with servers(tmp_path / "own", s3=False) as addresses:
        session = PostgresSession(
            PostgresSettings(url=SecretStr(addresses.database_url), retry=PATIENT)
        )
        session.execute("CREATE TABLE t (a int)")
        runs = []

        def work(connection):
            runs.append(1)
            connection.execute("INSERT INTO t VALUES (1)")
            if len(runs) == 1:
                # One killed backend makes the whole server restart.
                os.kill(connection.info.backend_pid, signal.SIGKILL)
            connection.execute("INSERT INTO t VALUES (2)")

        session.run(work)
        assert len(runs) >= 2
        assert session.query("SELECT count(*) AS n FROM t") == [{"n": 2}]
        session.close()
