"""What the session pool costs over the bare drivers, side by side in one run.

    python benchmarks/sessions_pool.py [operations] [bulk] [async]

Each operation is done by the bare driver and by the pool in turn, over servers of its
own; the medians are compared. The bare drivers do what a careful program does: one
shared client, one pool of connections, no checks.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# The peers to compare with.
import boto3  # noqa: TID251
import numpy as np
from botocore.config import Config  # noqa: TID251
from mlflow import MlflowClient  # noqa: TID251
from mlflow.entities import Metric, Param  # noqa: TID251
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg_pool import ConnectionPool  # noqa: TID251

from dropzone.embedded import EmbeddedServices
from dropzone.sessions import AsyncSessionPool, SessionPool
from dropzone.sessions.settings import mlflow_settings, tracking_uri
from dropzone.settings import Settings, Zone

ROUNDS = 600
VECTORS, DIMS = 100_000, 384
CONTENT = b"x" * 4096


@contextmanager
def ground() -> Iterator[tuple]:
    """Lend a pool, and the settings and addresses it leads to."""
    with tempfile.TemporaryDirectory() as base:
        settings = Settings(zones=(Zone(path=Path(base) / "zone"),))
        with EmbeddedServices(Path(base) / "services", fast_init=True) as services:
            addresses = services.addresses
            with SessionPool.from_settings(settings, addresses) as pool:
                pool.s3.ensure_bucket()
                pool.postgres.execute("CREATE EXTENSION IF NOT EXISTS vector")
                yield pool, settings, addresses


def compare(name: str, bare: Callable, ours: Callable, rounds: int = ROUNDS) -> None:
    took: dict[Callable, list[float]] = {bare: [], ours: []}
    for number in range(rounds + rounds // 10):
        for call in (bare, ours) if number % 2 else (ours, bare):
            began = time.perf_counter()
            call()
            took[call].append(time.perf_counter() - began)
    pairs = list(zip(took[bare], took[ours], strict=True))[rounds // 10 :]
    one = statistics.median(first for first, _ in pairs) * 1e6
    # Of each pair: what else the machine does meanwhile hits both.
    more = statistics.median(second - first for first, second in pairs) * 1e6
    print(
        f"{name:28} bare {one:9.1f} us, the pool {more:+7.1f} us ({more / one:+.1%})",
        flush=True,
    )


def operations() -> None:
    with ground() as (pool, settings, addresses):
        _postgres(pool, addresses)
        _s3(pool, addresses)
        _mlflow(pool, settings)


def _postgres(pool, addresses) -> None:
    with ConnectionPool(
        addresses.database_url, kwargs={"autocommit": True}, min_size=1, open=True
    ) as plain:
        postgres = pool.postgres
        postgres.execute("CREATE TABLE t (a bigint PRIMARY KEY, b text)")
        postgres.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 1000) n")
        rows = "SELECT a, b FROM t WHERE a < %s"

        def checkout() -> None:
            with plain.connection():
                pass

        def our_checkout() -> None:
            with postgres.connection():
                pass

        def query(statement, parameters=None) -> Callable:
            def ask() -> None:
                with plain.connection() as connection:
                    connection.execute(statement, parameters).fetchall()

            return ask

        def write() -> None:
            with plain.connection() as connection:
                connection.execute("UPDATE t SET b = 'y' WHERE a = 1")

        def write_in_transaction() -> None:
            with plain.connection() as connection, connection.transaction():
                connection.execute("UPDATE t SET b = 'y' WHERE a = 1")

        compare("postgres checkout", checkout, our_checkout, 2000)
        one = "SELECT 1 AS a"
        compare(
            "postgres query, one row", query(one), lambda: postgres.query(one), 2000
        )
        compare(
            "postgres query, 500 rows",
            query(rows, [500]),
            lambda: postgres.query(rows, [500], as_tuples=True),
            1000,
        )
        compare(
            "postgres execute, one row",
            write,
            lambda: postgres.execute("UPDATE t SET b = 'y' WHERE a = 1"),
        )
        compare(
            "the same in a transaction",
            write_in_transaction,
            lambda: postgres.execute("UPDATE t SET b = 'y' WHERE a = 1"),
        )


def _s3(pool, addresses) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=addresses.s3_endpoint,
        aws_access_key_id=addresses.s3_access_key,
        aws_secret_access_key=addresses.s3_secret_key,
        region_name=addresses.s3_region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    where = {"Bucket": addresses.s3_bucket, "Key": "k"}
    s3 = pool.s3
    compare(
        "s3 upload, 4 KB",
        lambda: client.put_object(**where, Body=CONTENT, ServerSideEncryption="AES256"),
        lambda: s3.upload("k", CONTENT),
    )
    compare(
        "s3 download, 4 KB",
        lambda: bytes(client.get_object(**where)["Body"].read()),
        lambda: s3.download("k"),
    )
    compare("s3 head", lambda: client.head_object(**where), lambda: s3.head("k"))
    compare(
        "s3 list",
        lambda: client.list_objects_v2(Bucket=addresses.s3_bucket)["Contents"],
        lambda: list(s3.list()),
    )


def _mlflow(pool, settings) -> None:
    mlflow = pool.mlflow
    experiment = mlflow.ensure_experiment()
    client = MlflowClient(tracking_uri=tracking_uri(mlflow_settings(settings)))

    def log() -> None:
        now = int(time.time() * 1000)
        run = client.create_run(experiment, start_time=now, run_name="r", tags={"a": 1})
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(f"m{n}", n, now, 0) for n in range(6)],
            params=[Param(f"p{n}", str(n)) for n in range(8)],
        )
        client.set_terminated(run.info.run_id, "FINISHED", now)

    def ours() -> None:
        mlflow.log_run(
            name="r",
            tags={"a": 1},
            params={f"p{n}": n for n in range(8)},
            metrics={f"m{n}": n for n in range(6)},
        )

    compare("mlflow run (sqlite)", log, ours, 60)


def bulk() -> None:
    vectors = np.random.default_rng(1).random((VECTORS, DIMS), dtype=np.float32)
    columns = "id bigint, text text, embedding halfvec(384)"
    with ground() as (pool, _, addresses):
        postgres = pool.postgres

        def fresh(name: str) -> None:
            postgres.execute(f"DROP TABLE IF EXISTS {name}")
            postgres.execute(f"CREATE TABLE {name} ({columns})")

        def raw() -> float:
            began = time.perf_counter()
            with (
                plain.connection() as connection,
                connection.cursor() as cursor,
                cursor.copy("COPY raw FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.set_types(["int8", "text", "halfvec"])
                for number, vector in enumerate(vectors):
                    copy.write_row((number, "some text", HalfVector(vector)))
            return time.perf_counter() - began

        def ours() -> float:
            began = time.perf_counter()
            rows = ((n, "some text", vector) for n, vector in enumerate(vectors))
            assert postgres.bulk_insert("ours", rows) == VECTORS
            return time.perf_counter() - began

        took: dict[str, list[float]] = {"raw": [], "ours": []}
        with ConnectionPool(
            addresses.database_url, configure=register_vector, open=True
        ) as plain:
            for _ in range(3):
                for name, call in (("raw", raw), ("ours", ours)):
                    fresh(name)
                    took[name].append(call())
        for name, seconds in took.items():
            best = min(seconds)
            print(
                f"{name:5} {VECTORS} vectors of {DIMS}: best {best:.2f} s, "
                f"{VECTORS / best:,.0f} rows/s; all {[round(s, 2) for s in seconds]}"
            )
        share = min(took["raw"]) / min(took["ours"])
        print(f"the pool reaches {share:.0%} of raw COPY")


def coroutines() -> None:
    with ground() as (pool, _, _addresses):
        asyncio.run(_coroutines(pool))


async def _coroutines(pool) -> None:
    twin = AsyncSessionPool(pool)
    count = 2000

    async def measure(name: str, call: Callable) -> None:
        await asyncio.gather(*(call() for _ in range(8)))
        began, cpu = time.perf_counter(), time.process_time()
        gate = asyncio.Semaphore(64)

        async def one() -> None:
            async with gate:
                await call()

        await asyncio.gather(*(one() for _ in range(count)))
        took, used = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"{name:34} {count / took:7.0f} a second, {used / count * 1e6:6.0f} us CPU"
        )

    threads = twin._threads  # noqa: SLF001 the way that is compared
    await measure(
        "query, psycopg's own coroutines", lambda: twin.postgres.query("SELECT 1")
    )
    await measure(
        "query, in threads", lambda: threads.run(pool.postgres.query, "SELECT 1")
    )
    await twin.s3.upload("k", CONTENT)
    await measure("s3 head, in threads", lambda: twin.s3.head("k"))


PARTS = {"operations": operations, "bulk": bulk, "async": coroutines}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
