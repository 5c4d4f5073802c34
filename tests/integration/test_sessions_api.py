"""The session pool as a program of somebody else uses it."""

import asyncio
import io
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import psycopg  # noqa: TID251 looks from outside
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from pydantic import SecretStr

from daemons import wait_for
from dropzone import AsyncSessionPool, SessionPool
from dropzone.compat import UnifiedSessionManager
from dropzone.errors import (
    ConfigurationError,
    NotFound,
    ServiceUnavailable,
)
from dropzone.retry import RetryPolicy
from dropzone.sessions import PostgresSettings, S3Settings
from dropzone.sessions.credentials import AwsCredentials
from dropzone.sessions.postgres import PostgresSession
from faultproxy import proxy_to
from servers import connect, fresh_bucket, fresh_database

PATIENT = RetryPolicy(seconds=20, first_pause=0.02, longest_pause=0.1)


@pytest.fixture(scope="module")
def environment(services):
    return {
        "DATABASE_URL": fresh_database(services),
        "AWS_ENDPOINT_URL_S3": services.s3_endpoint,
        "AWS_ACCESS_KEY_ID": services.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": services.s3_secret_key,
        "DROPZONE_BUCKET": fresh_bucket(services),
    }


@pytest.fixture
def pool(environment, monkeypatch, tmp_path):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with SessionPool.from_config() as pool:
        yield pool


class TestObjects:
    @pytest.mark.parametrize("size", [0, 5, 16 << 20])
    def test_bytes_files_and_streams_come_back(self, pool, tmp_path, size):
        data = os.urandom(size)
        path = tmp_path / "file"
        path.write_bytes(data)
        with path.open("rb") as file, path.open("rb") as part:
            part.read(3)
            sources = {"bytes": data, "path": path, "file": file, "part": part}
            sources["stream"] = io.BytesIO(data)
            for name, source in sources.items():
                wanted = data[3:] if name == "part" else data
                stored = pool.s3.upload(f"s/{name}", source)
                assert stored.size == len(wanted)
                assert pool.s3.download(f"s/{name}") == wanted
            assert file.read() == b""
        assert pool.s3.download("s/path", tmp_path / "back").read_bytes() == data
        assert {item.name for item in tmp_path.iterdir()} == {"file", "back"}

    def test_text_is_neither_a_path_nor_content(self, pool):
        for source in ("file.txt", io.StringIO("text")):
            with pytest.raises(TypeError, match=r"a pathlib.Path"):
                pool.s3.upload("k", source)

    def test_what_is_sent_asks_for_encryption(self, pool):
        sent = []
        events = pool.s3.client.meta.events
        events.register("before-send.s3.PutObject", lambda request, **_: sent.append(
            request.headers["x-amz-server-side-encryption"]))  # fmt: skip
        pool.s3.upload("k", b"x")
        assert sent == [b"AES256"]

    def test_other_buckets(self, pool, services):
        other = fresh_bucket(services)
        pool.s3.upload("a/k", b"x", bucket=other)
        assert pool.s3.head("a/k") is None
        assert pool.s3.head("a/k", bucket=other).size == 1
        assert [found.key for found in pool.s3.list("a/", bucket=other)] == ["a/k"]
        assert pool.s3.download("a/k", bucket=other) == b"x"
        pool.s3.delete("a/k", bucket=other)
        with pytest.raises(NotFound, match=f"{other}/a/k"):
            pool.s3.download("a/k", bucket=other)
        with pytest.raises(ServiceUnavailable, match="NoSuchBucket"):
            pool.s3.upload("k", b"x", bucket="test-nowhere")

    def test_a_bucket_that_is_not_there_yet(self, services):
        settings = S3Settings(
            bucket="test-made-by-upload",
            region=services.s3_region,
            credentials=AwsCredentials.embedded(
                services.s3_access_key, services.s3_secret_key
            ),
            endpoint_url=services.s3_endpoint,
        )
        with SessionPool(s3=settings) as pool:
            pool.s3.upload("k", b"x")
            assert pool.s3.download("k") == b"x"

    def test_links(self, pool):
        pool.s3.upload("k", b"old")
        link = pool.s3.presigned("k", expires_seconds=60)
        with urllib.request.urlopen(link, timeout=5) as answer:  # noqa: S310
            assert answer.read() == b"old"
        put = pool.s3.presigned("k", method="PUT")
        request = urllib.request.Request(put, b"new", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
        assert pool.s3.download("k") == b"new"
        with pytest.raises(ValueError, match="7 days"):
            pool.s3.presigned("k", expires_seconds=604801)

    def test_keys_that_were_renewed_meanwhile(self, services, tmp_path, monkeypatch):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        file = tmp_path / "credentials"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        keys = "[default]\naws_access_key_id={}\naws_secret_access_key={}\n"
        file.write_text(keys.format("OLD", "old"))
        settings = S3Settings(
            bucket=fresh_bucket(services),
            region=services.s3_region,
            credentials=AwsCredentials(),
            endpoint_url=services.s3_endpoint,
        )
        with SessionPool(s3=settings) as pool:
            assert pool.s3.client is not None
            file.write_text(keys.format(services.s3_access_key, services.s3_secret_key))
            pool.s3.upload("k", b"x")
            assert pool.s3.head("k").size == 1


def test_the_figures_tell_what_was_done(pool):
    pool.s3.upload("k", b"x")
    with pytest.raises(NotFound):
        pool.s3.download("nothing")
    pool.postgres.query("SELECT 1")
    told = pool.stats()
    assert set(told) == {"s3", "postgres"}
    assert told["s3"].operations["upload"].count == 1
    assert told["s3"].operations["get"].errors == {"NotFound": 1}
    assert told["postgres"].operations["query"].p50_seconds < 1
    assert pool.health(look=False)["s3"].healthy is None
    assert pool.health()["s3"].healthy
    assert pool.health(look=False)["s3"].latency_seconds > 0


def test_a_service_that_is_named_nowhere(environment, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in environment:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        SessionPool.from_config()
    assert "services up" in caught.value.hint
    assert caught.value.__notes__ == [caught.value.hint]
    monkeypatch.setenv("DATABASE_URL", environment["DATABASE_URL"])
    with SessionPool.from_config() as pool:
        assert pool.postgres.query("SELECT 1 AS a") == [{"a": 1}]
        with pytest.raises(ConfigurationError, match="not running"):
            _ = pool.s3


class TestFailOver:
    @pytest.fixture
    def primary(self, services):
        """The database's URL, and two ways to its server."""
        url = fresh_database(services)
        parts = conninfo_to_dict(url)
        path = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        with proxy_to(path) as one, proxy_to(path) as two:
            yield url, one, two

    def test_another_host_takes_over(self, primary):
        url, one, two = primary
        hosts, ports = "127.0.0.1,127.0.0.1", f"{one.port},{two.port}"
        named = make_conninfo(
            url, host=hosts, port=ports, target_session_attrs="read-write"
        )
        session = PostgresSession(
            PostgresSettings(url=SecretStr(named), retry=PATIENT, pool_size=3)
        )
        session.execute("CREATE TABLE t (a int)")
        assert two.connections == 0
        with session.connection(), session.connection():
            pass
        one.refuse()
        for number in range(3):
            session.execute("INSERT INTO t VALUES (%s)", [number])
        assert two.connections > 0
        assert session.query("SELECT count(*) AS n FROM t") == [{"n": 3}]
        session.close()

    def test_a_primary_that_was_demoted_is_left(self, primary, services):
        url, one, two = primary
        name = conninfo_to_dict(url)["dbname"]
        named = make_conninfo(
            url,
            host="127.0.0.1,127.0.0.1",
            port=f"{one.port},{two.port}",
            target_session_attrs="read-write",
        )
        session = PostgresSession(
            PostgresSettings(url=SecretStr(named), retry=PATIENT, pool_size=3)
        )
        session.execute("CREATE TABLE t (a int)")
        with connect(services) as admin:
            admin.execute(
                f"ALTER DATABASE {name} SET default_transaction_read_only = on"
            )
            # The line that is open already does as one to a demoted server.
            with session.connection() as lent:
                lent.execute("SET default_transaction_read_only = on")
            admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert session.execute("INSERT INTO t VALUES (1)") == 1
        session.close()


class TestCoroutines:
    def test_the_same_methods_can_be_awaited(self, pool, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"file")

        async def work():
            async with AsyncSessionPool(pool) as twin:
                await twin.s3.upload("a/1", b"x")
                await twin.s3.upload("a/2", path)
                assert [found.key async for found in twin.s3.list("a/")] == [
                    "a/1",
                    "a/2",
                ]
                assert await twin.s3.download("a/2") == b"file"
                assert await twin.s3.head("a/3") is None
                postgres = twin.postgres
                await postgres.execute("CREATE TABLE twin (a int)")
                rows = ((n,) for n in range(2500))
                assert await postgres.bulk_insert("twin", rows) == 2500
                found = await postgres.query("SELECT count(*) AS n FROM twin")
                assert found == [{"n": 2500}]
                async with postgres.transaction() as connection:
                    await connection.execute("DELETE FROM twin WHERE a >= 2000")
                async with aclosing(postgres.stream("SELECT a FROM twin")) as stream:
                    assert [row["a"] async for row in stream] == list(range(2000))
                assert (await twin.health())["postgres"].healthy
                assert twin.stats()["postgres"].operations["query"].count == 1

        asyncio.run(work())

    def test_cancelled_callers_leave_no_connection_behind(self, pool, environment):
        async def work():
            async with AsyncSessionPool(pool) as twin:
                query = twin.postgres.query
                await query("SELECT 1")
                for number in range(3, 24, 4):
                    tasks = [
                        asyncio.create_task(query("SELECT pg_sleep(20)"))
                        for _ in range(12)
                    ]
                    await asyncio.sleep(0.002 * number)
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    assert all(task.cancelled() for task in tasks)
                # All eight can be lent at once, and work.
                gate = asyncio.Barrier(8)

                async def hold():
                    async with twin.postgres.connection() as connection:
                        await gate.wait()
                        await connection.execute("SELECT 1")

                await asyncio.wait_for(asyncio.gather(*(hold() for _ in range(8))), 10)
                told = twin.stats()["postgres"].operations["query"]
                assert told.in_flight == 0

        asyncio.run(work())
        with psycopg.connect(environment["DATABASE_URL"]) as connection:
            count = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE query LIKE '%%pg_sleep(20)' AND state = 'active' "
                "AND datname = current_database()"
            )
            wait_for(
                lambda: connection.execute(count).fetchone() == (0,),
                "no cancelled statement goes on",
                5,
            )

    def test_a_line_that_was_cut_is_not_lent(self, services):
        url = fresh_database(services)
        parts = conninfo_to_dict(url)

        async def work(proxy, pool):
            async with AsyncSessionPool(pool) as twin:
                for _ in range(3):
                    assert await twin.postgres.query("SELECT 1 AS a") == [{"a": 1}]
                    proxy.cut()
                async with twin.postgres.connection() as connection:
                    proxy.refuse()
                    with pytest.raises(psycopg.OperationalError):
                        await connection.execute("SELECT 1")
                asyncio.get_running_loop().call_later(0.3, proxy.heal)
                assert await twin.postgres.query("SELECT 1 AS a") == [{"a": 1}]

        with proxy_to(f"{parts['host']}/.s.PGSQL.{parts['port']}") as proxy:
            way = make_conninfo(url, host="127.0.0.1", port=proxy.port)
            settings = PostgresSettings(url=SecretStr(way), retry=PATIENT)
            asyncio.run(work(proxy, SessionPool(postgres=settings)))


@pytest.mark.usefixtures("pool")
def test_the_old_names(environment, monkeypatch, tmp_path):
    bucket = environment["DROPZONE_BUCKET"]
    with UnifiedSessionManager() as manager:
        path = tmp_path / "file"
        path.write_bytes(b"file")
        manager.upload_to_s3(bucket, "old/bytes", b"bytes")
        manager.upload_to_s3(bucket, "old/file", str(path))
        assert manager.list_s3_objects(bucket, "old/") == ["old/bytes", "old/file"]
        assert manager.download_from_s3(bucket, "old/file") == b"file"
        manager.download_from_s3(bucket, "old/bytes", path)
        assert path.read_bytes() == b"bytes"
        assert manager.get_s3_client() is manager.pool.s3.client
        query = manager.execute_postgres_query
        query("CREATE TABLE old (a int PRIMARY KEY)")
        assert query("INSERT INTO old VALUES (%s) RETURNING a", (1,)) == [{"a": 1}]
        with manager.get_postgres_connection() as connection:
            connection.execute("INSERT INTO old VALUES (2)")
        lost = manager.get_postgres_connection()
        lost.execute("INSERT INTO old VALUES (3)")
        manager.return_postgres_connection(lost)
        assert manager.bulk_insert_embeddings([[4], [5]], table="old") == 2
        found = query("SELECT a FROM old ORDER BY a")
        assert [row["a"] for row in found] == [1, 2, 4, 5]
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
        manager.set_aws_environment()
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_SECRET_ACCESS_KEY"):
            assert os.environ[name] == environment[name]


def test_many_threads_share_one_pool(pool):
    def work(number):
        pool.s3.upload(f"t/{number}", b"x" * number)
        pool.postgres.query("SELECT %s AS a", [number])
        return len(pool.s3.download(f"t/{number}"))

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(work, range(100))) == list(range(100))
    assert pool.stats()["s3"].operations["upload"].errors == {}
