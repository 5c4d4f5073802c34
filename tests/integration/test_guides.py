"""What the guides show is run as it stands, over servers that are restarted meanwhile.

MLflow keeps its runs in the same Postgres, so that its store is restarted too.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg  # noqa: TID251 looks from outside
import pytest

from daemons import DEADLINE, wait_for
from dropzone.embedded import EmbeddedServices, record
from servers import s3_client

DOCS = Path(__file__).parents[2] / "docs"
FILES = 6


class Servers:
    """Servers of the module's own, by the names that other tools know."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.services = EmbeddedServices(base / "services", fast_init=True)
        self.addresses = self.services.start()
        with self.connect() as connection:
            connection.execute("CREATE DATABASE runs")
        s3_client(self.addresses).create_bucket(Bucket="texts")
        url = self.addresses.database_url
        assert url
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(base),
            "DATABASE_URL": url,
            "AWS_ENDPOINT_URL_S3": str(self.addresses.s3_endpoint),
            "AWS_ACCESS_KEY_ID": str(self.addresses.s3_access_key),
            "AWS_SECRET_ACCESS_KEY": str(self.addresses.s3_secret_key),
            "DROPZONE_BUCKET": "texts",
            "MLFLOW_TRACKING_URI": url.replace("/postgres?", "/runs?"),
            **{k: v for k, v in os.environ.items() if k.startswith("COVERAGE")},
        }

    def connect(self, database: str = "postgres") -> "psycopg.Connection":
        url = str(self.addresses.database_url)
        return psycopg.connect(
            url.replace("/postgres?", f"/{database}?"), autocommit=True
        )

    def kill(self, number: int) -> None:
        """Kill one of the two servers, S3 (0) or Postgres (1), and start it again."""
        server = record.read(self.base / "services").servers[number]
        os.kill(server.pid, signal.SIGKILL)
        wait_for(self.services.check, "the server is started again")

    def python(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.base,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    made = Servers(tmp_path_factory.mktemp("guides"))
    yield made
    made.services.stop()


def test_the_first_script_outlives_a_restart_of_each_server(servers: Servers) -> None:
    folder = servers.base / "texts"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"f{number}.txt").write_text("one line\n" * (number + 1))
    script = servers.python(str(DOCS / "first_sessions.py"), str(folder))
    assert script.stdout
    try:
        lines = [script.stdout.readline()]
        servers.kill(0)
        lines.append(script.stdout.readline())
        servers.kill(1)
        lines += script.stdout.readlines()
        assert script.wait(DEADLINE) == 0, (
            script.stderr and script.stderr.read()[-2000:]
        )
    finally:
        script.kill()
        script.communicate()
    assert [line.split()[0] for line in lines] == [f"f{n}.txt" for n in range(FILES)]
    with servers.connect() as connection:
        rows = connection.execute("SELECT file, count(*) FROM lines GROUP BY file")
        assert dict(rows) == {f"f{n}.txt": n + 1 for n in range(FILES)}
    found = s3_client(servers.addresses).list_objects_v2(
        Bucket="texts", Prefix="texts/"
    )["Contents"]
    assert [item["Size"] for item in found] == [9 * (n + 1) for n in range(FILES)]
    with servers.connect("runs") as connection:
        runs = connection.execute(
            "SELECT name, status FROM runs WHERE name LIKE 'f%.txt' ORDER BY name"
        )
        assert runs.fetchall() == [(f"f{n}.txt", "FINISHED") for n in range(FILES)]


def test_the_pieces_of_the_guides(servers: Servers) -> None:
    text = (DOCS / "sessions.md").read_text() + (DOCS / "migrating.md").read_text()
    pieces = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    base = servers.base
    (base / "report.pdf").write_bytes(b"%PDF-")
    s3_client(servers.addresses).create_bucket(Bucket="others")
    (base / "guide.py").write_text("\n".join([*pieces, "pool.close()"]))
    guide = servers.python("-W", "error::ResourceWarning", "guide.py")
    out, error = guide.communicate(timeout=DEADLINE)
    assert guide.returncode == 0, error[-2000:]
    assert "There is no 'b.txt'" in out
    with servers.connect() as connection:
        rows = connection.execute("SELECT count(*), max(id) FROM notes").fetchone()
        assert rows == (998, 999)
    with servers.connect("runs") as connection:
        found = connection.execute(
            "SELECT name FROM runs WHERE name IN ('count', 'first', 'old')"
        )
        assert sorted(found) == [("count",), ("first",), ("old",)]


def test_the_old_ways_in_the_guide_are_python() -> None:
    text = (DOCS / "migrating.md").read_text()
    pieces = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    assert len(pieces) > 5
    for piece in pieces:
        compile(f"def old():\n{textwrap.indent(piece, '    ')}", "guide", "exec")
