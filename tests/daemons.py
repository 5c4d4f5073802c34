"""Runs the daemon as a process over a zone of a test, and looks at what it did.

What it did is read from outside: folders, S3, Postgres and receipts, not the journal's
word alone.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg  # noqa: TID251 a client of the test's own
from psycopg.rows import dict_row  # noqa: TID251

from dropzone.embedded import ServiceAddresses
from dropzone.journal import Journal
from servers import fresh_bucket, fresh_database, s3_client
from stores import lay_empty_store

DEADLINE = 90.0
#: Seconds within which a daemon stops that hangs in nothing; it drains for 3 at most.
#: A busy machine takes several times as long, what hangs takes half a minute and more.
PROMPT = 25.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Return the condition's first true value; fail after ``seconds``.

    What takes long to ask is asked less often: it must not keep the machine from that
    which is waited for.
    """
    end = time.monotonic() + seconds
    while (asked := time.monotonic()) < end:
        if value := condition():
            return value
        took = time.monotonic() - asked
        pause = min(max(0.02, took), 1.0)
        time.sleep(pause)  # noqa: TID251 polls a condition, with a deadline
    raise AssertionError(f"did not happen in {seconds:.0f} s: {what}")


class ZoneOfTest:
    """A zone in a folder of its own, its settings, and the daemons over it."""

    def __init__(self, base: Path, environment: Mapping[str, str]) -> None:
        self.base = base
        self.root = base / "drop_zones"
        self.input = self.root / "input"
        self.work = self.root / "state" / "work"
        self.input.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "DROPZONE__ZONES": json.dumps(
                [{"path": "drop_zones", "quiet_seconds": 0.2}]
            ),
            "DROPZONE__RETRY__FIRST_PAUSE_SECONDS": "0.2",
            "DROPZONE__MLFLOW__BATCH_SECONDS": "2",
            "DROPZONE__LOG__FORMAT": "json",
            "DROPZONE__WEB__PORT": "0",
            **{k: v for k, v in os.environ.items() if k.startswith("COVERAGE")},
            **environment,
        }
        #: What every command is started by, such as unshare with its options.
        self.before: tuple[str, ...] = ()
        #: Where a file is written before it is renamed in; on the zone's mount.
        self.aside = base / "aside"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start ``dropzone run`` and return when it watches the zone."""
        seen = self.log().count('"event": "started"')
        process = self.launch(*arguments)
        wait_for(
            lambda: (
                self.log().count('"event": "started"') > seen
                or process.poll() is not None
            ),
            "the daemon starts",
        )
        return process

    def launch(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start ``dropzone run`` and return at once."""
        with (self.base / "daemon.log").open("ab") as out:
            process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "dropzone", "run", *arguments],
                cwd=self.base,
                env=self.environment,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run_once(self) -> int:
        """Run ``dropzone run --once`` to its end and return its exit code."""
        return self.start("--once").wait(DEADLINE)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.before, sys.executable, "-m", "dropzone", *arguments],
            cwd=self.base,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def stop(self, process: "subprocess.Popen[bytes]") -> float:
        """Ask the daemon to stop; return how many seconds it took."""
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            wait_for(lambda: process.poll() is not None, "the daemon stops")
        except AssertionError as error:
            error.add_note(self.log()[-3000:])
            raise
        assert process.returncode == 0, self.log()[-3000:]
        return time.monotonic() - begun

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def log(self) -> str:
        """Return the whole lines of the log: the last one may be written just now."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.base / "daemon.log").read_text(errors="replace")
            return text[: text.rfind("\n") + 1]
        return ""

    # What a producer does

    def drop(self, name: str | bytes, content: bytes) -> str:
        """Rename a whole file into ``input/``; return its SHA-256."""
        path = os.path.join(os.fsencode(self.input), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with self.aside.open("wb") as file:
            file.write(content)
        os.rename(self.aside, path)
        return hashlib.sha256(content).hexdigest()

    # What is to be seen from outside

    def files(self, area: str) -> dict[bytes, str]:
        """Return the payload files of an area: relative path to SHA-256.

        What the daemon takes away just now is not there any more.
        """
        root = os.fsencode(self.root / area)
        found = {}
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith(b".error.json") or os.path.islink(path):
                    continue
                with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
                    found[os.path.relpath(path, root)] = digest
        return found

    def receipts(self) -> list[dict[str, Any]]:
        lines = []
        for path in sorted((self.root / "state" / "receipts").glob("*.jsonl")):
            # Behind the last newline somebody may be writing just now.
            lines += path.read_text("ascii").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def outcomes(self) -> dict[str, str]:
        """Return how each path ended, by its last receipt."""
        return {receipt["path"]: receipt["outcome"] for receipt in self.receipts()}

    def wait_for_ends(self, count: int, seconds: float = DEADLINE) -> None:
        """Wait until so many jobs ended and nothing is left in input or work."""
        self.wait_for_receipts(count, seconds)
        wait_for(
            # A job's folder is removed after its file has gone.
            lambda: not self.files("input") and not os.listdir(self.work),
            "input and work are empty",
            seconds,
        )

    def wait_for_receipts(self, count: int, seconds: float = DEADLINE) -> None:
        wait_for(lambda: len(self.receipts()) >= count, f"{count} receipts", seconds)

    def url(self) -> str:
        """Return where the page is served, once it is."""
        url: str = wait_for(
            lambda: self.report().get("web", {}).get("url"), "the page is served"
        )
        return url

    def report(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            report: dict[str, Any] = json.loads(
                (self.root / "state" / "daemon.json").read_text()
            )
            return report
        return {}

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        journal = Journal(self.root / "state" / "journal.sqlite", create=False)
        try:
            yield journal
        finally:
            journal.close()

    def query(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(
            self.environment["DATABASE_URL"], autocommit=True, row_factory=dict_row
        ) as connection:
            return connection.execute(statement, values).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(
            self.environment["DATABASE_URL"], autocommit=True
        ) as connection:
            connection.execute(statement)


def free_port() -> int:
    """Return a port that nobody has, also a moment later.

    The kernel gives none of these to who connects or asks for any port.
    """
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    lowest = int(text.split()[0])
    while True:
        port = random.SystemRandom().randrange(lowest // 2, lowest)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


@contextlib.contextmanager
def with_keys_of(zone: ZoneOfTest) -> Iterator[None]:
    """Let the AWS driver find the zone's keys in the environment of this process."""
    keys = {k: v for k, v in zone.environment.items() if k.startswith("AWS_")}
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def zone_on(base: Path, services: ServiceAddresses) -> ZoneOfTest:
    """Return a zone with a database and a bucket of its own on the given servers."""
    lay_empty_store(base / "drop_zones" / "state" / "mlflow")
    assert services.s3_endpoint
    assert services.s3_access_key
    assert services.s3_secret_key
    return ZoneOfTest(
        base,
        {
            "DATABASE_URL": fresh_database(services),
            "DROPZONE_BUCKET": fresh_bucket(services),
            "AWS_ENDPOINT_URL_S3": services.s3_endpoint,
            "AWS_ACCESS_KEY_ID": services.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": services.s3_secret_key,
        },
    )


def objects(zone: ZoneOfTest, services: ServiceAddresses) -> dict[str, str]:
    """Return the SHA-256 of every object in the zone's bucket, by key."""
    client = s3_client(services)
    bucket = zone.environment["DROPZONE_BUCKET"]
    found = {}
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", ()):
                body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                found[item["Key"]] = hashlib.sha256(body).hexdigest()
    finally:
        client.close()
    return found


def check_invariants(
    zone: ZoneOfTest, services: ServiceAddresses, dropped: Mapping[str, int]
) -> None:
    """Check the promises over folders, receipts, S3 and Postgres.

    ``dropped`` maps the SHA-256 of every dropped content to how often it was dropped.
    """
    ends = [*zone.files("processed").values(), *zone.files("failed").values()]
    assert sorted(ends) == sorted(sha for sha, n in dropped.items() for _ in range(n))
    assert not zone.files("input")
    assert not zone.files("state/work")
    # A job's folder is removed after its file was renamed out.
    work = zone.root / "state" / "work"
    wait_for(lambda: not list(work.iterdir()), "no work folder is left")
    receipts = zone.receipts()
    assert len(receipts) == sum(dropped.values())
    assert len({receipt["job"] for receipt in receipts}) == len(receipts)
    there = objects(zone, services)
    for receipt in receipts:
        if receipt["s3_key"]:
            assert there[receipt["s3_key"]] == receipt["sha256"]
    assert set(there) == {r["s3_key"] for r in receipts if r["s3_key"]}
    documents = zone.query(
        "SELECT d.id, d.sha256, d.chunk_count, d.status,"
        " (SELECT count(*) FROM dropzone.chunks c WHERE c.document_id = d.id)"
        " AS chunks,"
        " (SELECT count(*) FROM dropzone.embeddings e JOIN dropzone.embedding_models m"
        "   ON m.id = e.model_id AND vector_dims(e.embedding) = m.dims"
        "   WHERE e.document_id = d.id) AS vectors FROM dropzone.documents d"
    )
    for document in documents:
        assert document["chunks"] == document["vectors"] == document["chunk_count"]
    deliveries = zone.query("SELECT job_id::text AS job FROM dropzone.deliveries")
    assert {row["job"] for row in deliveries} == {r["job"] for r in receipts}
