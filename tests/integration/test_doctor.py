"""``dropzone doctor`` before real faults: each finding says how it is mended."""

import json
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg  # noqa: TID251 an administrator of the test's own
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from psycopg.rows import dict_row  # noqa: TID251

from daemons import ZoneOfTest, zone_on
from dropzone.embedded import ServiceAddresses
from dropzone.sessions.migrate import migrate
from faultproxy import proxy_to
from zones_helpers import NOBODY, ROOT

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
MEMORY = Path("/dev/shm")  # noqa: S108 the one file system in memory that is always there


# A zone on a disk of 10 MB, a folder of it on another, and one watch for files.
NARROW = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"),
    (
        "cd drop_zones; mount -t tmpfs -o size=10m none .; cd ../drop_zones;"
        " mkdir input state processed; mount -t tmpfs none processed;"
        ' echo 1 > /proc/sys/user/max_inotify_watches; cd ..; exec "$@"'
    ),
    "sh",
)


def _may_unshare() -> bool:
    test = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    return subprocess.run(test, check=False, capture_output=True).returncode == 0


@pytest.fixture
def zone(tmp_path: Path, services: ServiceAddresses) -> Iterator[ZoneOfTest]:
    made = zone_on(tmp_path, services)
    yield made
    made.close()


@pytest.fixture
def in_memory() -> Iterator[Path]:
    folder = MEMORY / f"dropzone-{secrets.token_hex(6)}"
    for area in ("input", "state"):
        (folder / area).mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


class _OldMlflow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/version"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(b"1.30.0" if known else b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def old_mlflow() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _OldMlflow) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def findings(zone: ZoneOfTest, *before: str, code: int) -> dict[str, dict[str, str]]:
    zone.before = before
    done = zone.command("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    rows = json.loads(done.stdout)["findings"]
    ill = {row["checked"]: row for row in rows if row["verdict"] != "ok"}
    assert all(row["what_to_do"] for row in ill.values())
    return ill


def test_servers_that_are_gone_and_a_machine_without_room_are_found(
    zone: ZoneOfTest,
) -> None:
    file = zone.base / "open.yaml"
    file.write_text(
        "aws: {endpoint_url: 'http://127.0.0.1:9', credentials_source: environment}\n"
        "postgres: {host: 127.0.0.1, port: 9, password: hush}\n"
        "retry: {call_seconds: 0.1}\n"
    )
    file.chmod(0o644)
    zone.environment["DROPZONE_CONFIG"] = str(file)
    names = {"AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    for name in (*names, "DATABASE_URL"):
        del zone.environment[name]
    ill = findings(zone, *(NARROW if _may_unshare() else ()), code=1)
    assert {"secrets", "S3", "Postgres", "credentials, s3"} <= ill.keys()
    assert "postgres.password" in ill["secrets"]["found"]
    assert "chmod o-r" in ill["secrets"]["what_to_do"]
    assert "hush" not in json.dumps(ill)
    if _may_unshare():
        assert "sysctl fs.inotify" in ill["file events"]["what_to_do"]
        assert "different mounts" in ill["zone default, folders"]["found"]
        assert "Free some space" in ill["zone default, disk"]["what_to_do"]


def _closed_database(zone: ZoneOfTest) -> str:
    """Make the zone's database one that its user may read, and nobody may change."""
    url = zone.environment["DATABASE_URL"]
    role = f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        migrate(connection)
        database = connection.info.dbname
        for statement in (
            f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
            f"GRANT USAGE ON SCHEMA dropzone TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA dropzone TO {role}",
            f"ALTER DATABASE {database} SET default_transaction_read_only = on",
        ):
            connection.execute(statement.encode())
    info = conninfo_to_dict(url) | {"user": role, "password": "x"}
    zone.environment["DATABASE_URL"] = make_conninfo(**info)
    return role


def test_what_servers_and_surroundings_refuse_is_found(
    zone: ZoneOfTest, in_memory: Path, old_mlflow: str
) -> None:
    role = _closed_database(zone)
    zone.environment |= {
        "DROPZONE__ZONES": json.dumps([{"path": str(in_memory)}]),
        "DROPZONE__POSTGRES__POOL_SIZE": "200",
        "DROPZONE__RETRY__CALL_SECONDS": "0.1",
        "MLFLOW_TRACKING_URI": old_mlflow,
    }
    if ROOT:
        os.chown(in_memory / "state", NOBODY, NOBODY)
    if FAKETIME.exists():
        zone.environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+300s"}
    server = zone.environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
    host, port = server.split(":")
    with proxy_to((host, int(port))) as proxy:
        # The real one says what it was asked for, and encrypts nothing.
        proxy.falsify(rb"AES256")
        zone.environment["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{proxy.port}"
        ill = findings(zone, "prlimit", "--nofile=256:256", code=1)
    mends = {checked: row["what_to_do"] for checked, row in ill.items()}
    assert "ulimit -n 1024" in mends["open files"]
    assert "volume" in mends["zone default, place"]
    assert "aws.encryption: none" in mends["S3 encryption"]
    assert "ALTER DATABASE" in mends["Postgres"]
    assert "postgres.pool_size: " in mends["Postgres connections"]
    assert f'TO "{role}"' in mends["Postgres rights"]
    assert "documents" in ill["Postgres rights"]["found"]
    assert "1.30.0" in ill["MLflow version"]["found"]
    assert "MLflow" in ill
    if ROOT:
        assert f"sudo -u '#{NOBODY}'" in mends["zone default, user"]
    if FAKETIME.exists():
        assert "timedatectl" in mends["clock"]
        assert "ahead of S3" in ill["clock"]["found"]
