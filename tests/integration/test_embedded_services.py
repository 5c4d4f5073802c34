import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg  # noqa: TID251  # the servers are looked at from outside
import pytest

from dropzone.embedded import (
    EmbeddedServices,
    postgres,
    record,
    remembered,
    running,
    start_background,
    stop_background,
)
from dropzone.embedded import services as services_module
from dropzone.embedded.files import Lock
from dropzone.embedded.postgres import accepts, binaries, socket_directory
from dropzone.embedded.process import FAST_SECONDS, IMMEDIATE_SECONDS, Account
from dropzone.errors import ServiceUnavailable, Stopping, UsageError, ZoneError
from servers import connect, fresh_bucket, fresh_database, s3_client, servers

ROOT = os.geteuid() == 0

# In a user namespace of its own, because an interpreter in root's home is closed to
# every other account.
ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")

# Starts the services, says what it got, and stays until its input ends.
OWNER = """
import json, os, sys
from pathlib import Path
from dropzone import log
from dropzone.embedded import EmbeddedServices
log.configure(out=sys.stderr)
options = json.loads(sys.argv[2])
services = EmbeddedServices(Path(sys.argv[1]), fast_init=True, **options)
addresses = services.start()
print(json.dumps([services.owns, addresses.database_url, os.geteuid()]), flush=True)
sys.stdin.readline()
services.stop()
"""


@contextmanager
def process(directory, *, script=OWNER, prefix=(), env=None, stderr=None, **options):
    command = [*prefix, sys.executable, "-c", script, str(directory)]
    child = subprocess.Popen(
        [*command, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, **(env or {})},
    )
    with child:
        try:
            yield child
        finally:
            child.stdin.close()


def answer(child):
    return json.loads(child.stdout.readline())


def server_processes(directory):
    """Return handles of the S3 server and of Postgres; they stay valid."""
    handles = [os.pidfd_open(s.pid) for s in record.read(directory).servers]
    s3, postgres = handles
    return s3, postgres


def ended(handle, seconds=5):
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    gone = bool(poll.poll(seconds * 1000))
    os.close(handle)
    return gone


def wait_for(condition, seconds=10):
    tick = threading.Event()
    for _ in range(seconds * 50):
        if condition():
            return
        tick.wait(0.02)
    pytest.fail("it did not happen")


def kill(identity):
    handle = os.pidfd_open(identity.pid)
    os.kill(identity.pid, signal.SIGKILL)
    assert ended(handle)


def remember_row(addresses):
    with connect(addresses) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")


def remembered_row(addresses):
    with connect(addresses) as connection:
        return connection.execute("SELECT value FROM kept").fetchone()[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with servers(tmp_path_factory.mktemp("pair")) as addresses:
        yield addresses


def test_postgres_has_vectors_utf8_and_the_builtin_locale(pair):
    with psycopg.connect(fresh_database(pair)) as connection:
        connection.execute("CREATE EXTENSION vector")
        row = connection.execute(
            "SELECT '[1,2]'::halfvec(2)::text, current_setting('server_encoding'),"
            " datlocprovider, datlocale, current_setting('timezone'), lower('É')"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("[1,2]", "UTF8", "b", "C.UTF-8", "UTC", "é")


def test_postgres_wants_the_password(pair):
    head, _, tail = pair.database_url.partition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(f"{head}x@{tail}")


def test_psql_understands_the_address(pair):
    command = [binaries() / "psql", pair.database_url, "-Atc", "SELECT 6 * 7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_s3_stores_objects_in_its_bucket_and_wants_the_secret(pair):
    client = s3_client(pair)
    client.put_object(Bucket=pair.s3_bucket, Key="a b/ü", Body=b"content")
    found = client.get_object(Bucket=pair.s3_bucket, Key="a b/ü")["Body"]
    assert found.read() == b"content"
    found.close()
    client._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(client.exceptions.ClientError, match="403"):
        client.head_bucket(Bucket=pair.s3_bucket)
    client.close()
    assert fresh_bucket(pair) != pair.s3_bucket


def test_nothing_secret_is_readable_or_on_a_command_line(tmp_path):
    with servers(tmp_path / "data") as addresses:
        for path in (tmp_path / "data").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
        for server in record.read(tmp_path / "data").servers:
            command = Path(f"/proc/{server.pid}/cmdline").read_text()
            assert addresses.s3_secret_key not in command


def test_the_second_attaches_and_leaves_the_servers_alone(tmp_path):
    with EmbeddedServices(tmp_path, fast_init=True) as owner:
        with EmbeddedServices(tmp_path) as guest:
            assert owner.owns
            assert not guest.owns
            assert guest.addresses == owner.addresses
            assert not guest.check()
            assert not owner.check()
        assert running(tmp_path).owner_pid == os.getpid()
        with EmbeddedServices(tmp_path, s3=False) as guest:
            assert guest.addresses.s3_secret_key is None
            assert guest.addresses.database_url == owner.addresses.database_url
    assert running(tmp_path) is None
    assert remembered(tmp_path) == owner_addresses(tmp_path)


def owner_addresses(directory):
    """Start again: everything, the port too, must be as it was."""
    with servers(directory) as addresses:
        return addresses


def test_stop_may_be_called_twice_and_before_start(tmp_path):
    services = EmbeddedServices(tmp_path, postgres=False)
    services.stop()
    assert not services.check()
    with pytest.raises(RuntimeError):
        _ = services.addresses
    services.start()
    assert services.start() is services.addresses
    services.stop()
    services.stop()
    assert not services.owns


def test_a_server_that_the_owner_runs_without_is_an_error(tmp_path):
    with servers(tmp_path, postgres=False) as addresses:
        assert addresses.database_url is None
        guest = EmbeddedServices(tmp_path)
        with pytest.raises(ServiceUnavailable, match="without the Postgres"):
            guest.start()
    with servers(tmp_path, s3=False) as addresses:
        assert addresses.s3_endpoint is None
        with pytest.raises(ServiceUnavailable, match="without the S3 server"):
            guest.start()


def test_of_four_that_start_at_once_one_owns(tmp_path):
    with (
        process(tmp_path) as one,
        process(tmp_path) as two,
        process(tmp_path) as three,
        process(tmp_path) as four,
    ):
        answers = [answer(child) for child in (one, two, three, four)]
    assert sorted(owns for owns, _, _ in answers) == [False, False, False, True]
    assert len({url for _, url, _ in answers}) == 1


def test_servers_end_with_a_killed_owner_and_the_guest_takes_over(tmp_path):
    with process(tmp_path) as child:
        assert answer(child)[0]
        with EmbeddedServices(tmp_path) as guest:
            remember_row(guest.addresses)
            s3, postgres = server_processes(tmp_path)
            child.kill()
            child.wait()
            assert ended(s3, 1.5)
            assert ended(postgres, 1.5)
            before = guest.addresses
            assert guest.check()
            assert guest.owns
            assert guest.addresses == before
            assert remembered_row(guest.addresses) == 7


def test_a_fork_of_the_owner_does_not_keep_the_servers(tmp_path):
    forked = OWNER.replace(
        "sys.stdin.readline()",
        "pid = os.fork()\nif pid: print(pid, flush=True)\nsys.stdin.readline()"
        "\nif not pid: os._exit(0)",
    )
    with process(tmp_path, script=forked, postgres=False) as child:
        answer(child)
        orphan = os.pidfd_open(int(child.stdout.readline()))
        (server,) = record.read(tmp_path).servers
        handle = os.pidfd_open(server.pid)
        child.kill()
        child.wait()
        assert ended(handle, 1.5)
        assert running(tmp_path) is None
        with servers(tmp_path, postgres=False):
            pass
        signal.pidfd_send_signal(orphan, signal.SIGKILL)
        assert ended(orphan)


def test_servers_stay_when_the_thread_that_started_them_ends(tmp_path):
    services = EmbeddedServices(tmp_path, fast_init=True)
    starter = threading.Thread(target=services.start)
    starter.start()
    starter.join()
    s3, postgres = server_processes(tmp_path)
    try:
        assert not ended(s3, 0.3)
        assert not ended(postgres, 0.1)
    finally:
        services.stop()


def test_a_killed_postmaster_is_restarted_although_a_session_is_busy(tmp_path):
    with EmbeddedServices(tmp_path, fast_init=True) as services:
        remember_row(services.addresses)
        busy = psycopg.connect(services.addresses.database_url)
        # It does not look whether the postmaster lives.
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 2000000000)")
        _, postgres = record.read(tmp_path).servers
        kill(postgres)
        assert services.check()
        assert not services.check()
        assert remembered_row(services.addresses) == 7
        busy.close()


def test_all_processes_of_postgres_killed_at_once_lose_nothing(tmp_path):
    with EmbeddedServices(tmp_path, fast_init=True) as services:
        remember_row(services.addresses)
        data = tmp_path / "postgres" / "data"
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and is_in(entry, data):
                os.kill(int(entry.name), signal.SIGKILL)
        server = services._servers[1]
        assert server.child.wait(5)
        assert services.check()
        assert remembered_row(services.addresses) == 7


def test_a_postgres_that_does_not_stop_is_ended_and_loses_nothing(tmp_path):
    with EmbeddedServices(tmp_path, s3=False) as services:
        remember_row(services.addresses)
        (checkpointer,) = titled("checkpointer", tmp_path / "postgres" / "data")
        # Its end is the last thing that a fast shutdown waits for.
        os.kill(checkpointer, signal.SIGSTOP)
        begun = time.monotonic()
    assert FAST_SECONDS < time.monotonic() - begun < FAST_SECONDS + IMMEDIATE_SECONDS
    with EmbeddedServices(tmp_path, s3=False) as services:
        assert remembered_row(services.addresses) == 7


def titled(title, directory):
    """Return the processes of the server on ``directory`` with this title."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal()
        and is_in(entry, directory)
        and title.encode() in (entry / "cmdline").read_bytes()
    ]


def is_in(process_entry, directory):
    try:
        return os.readlink(process_entry / "cwd") == str(directory)
    except OSError:
        return False


def test_a_socket_that_was_cleaned_away_comes_back(tmp_path):
    with EmbeddedServices(tmp_path, s3=False, fast_init=True) as services:
        remember_row(services.addresses)
        shutil.rmtree(services._servers[0]._sockets)
        assert services.check()
        assert remembered_row(services.addresses) == 7


def test_a_killed_s3_server_comes_back_at_its_address(tmp_path):
    with EmbeddedServices(tmp_path, postgres=False) as services:
        before = services.addresses
        client = s3_client(before)
        client.put_object(Bucket="dropzone", Key="kept", Body=b"1")
        kill(record.read(tmp_path).servers[0])
        assert services.check()
        assert services.addresses == before
        assert client.head_object(Bucket="dropzone", Key="kept")["ContentLength"] == 1
        client.close()


def test_a_taken_port_is_given_up_for_another(tmp_path):
    with servers(tmp_path, postgres=False) as before:
        port = int(before.s3_endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        with servers(tmp_path, postgres=False) as moved:
            assert moved.s3_endpoint != before.s3_endpoint
            assert moved.s3_secret_key == before.s3_secret_key
        pinned = EmbeddedServices(tmp_path, postgres=False, s3_port=port)
        with pytest.raises(ServiceUnavailable, match="address already in use") as error:
            pinned.start()
        assert "embedded.s3_port" in error.value.hint
        assert not pinned.owns
    with servers(tmp_path, postgres=False, s3_port=port) as asked:
        assert asked.s3_endpoint == before.s3_endpoint


def test_a_guest_hears_of_the_new_port(tmp_path):
    with (
        EmbeddedServices(tmp_path, postgres=False) as owner,
        EmbeddedServices(tmp_path, postgres=False) as guest,
    ):
        port = int(owner.addresses.s3_endpoint.rpartition(":")[2])
        kill(record.read(tmp_path).servers[0])
        with socket.create_server(("127.0.0.1", port)):
            assert owner.check()
        assert guest.check()
        assert guest.addresses == owner.addresses
        assert not guest.owns


def test_a_stale_pid_of_another_process_is_left_alone(tmp_path):
    with servers(tmp_path, s3=False) as addresses:
        remember_row(addresses)
    pid_file = tmp_path / "postgres" / "data" / "postmaster.pid"
    with subprocess.Popen(["/bin/sleep", "60"]) as other:
        for state in ("alive", "zombie"):
            pid_file.write_text(f"{other.pid}\n{pid_file.parent}\n")
            with servers(tmp_path, s3=False) as addresses:
                assert remembered_row(addresses) == 7
            if state == "alive":
                assert other.poll() is None
                other.kill()
                os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)


def test_an_orphan_whose_guard_died_too_is_ended(tmp_path):
    with process(tmp_path) as child:
        answer(child)
        s3, postgres = server_processes(tmp_path)
        for guard in guards_of(record.read(tmp_path).servers):
            os.kill(guard, signal.SIGKILL)
        child.kill()
        child.wait()
        with servers(tmp_path) as addresses:
            assert ended(s3, 0)
            assert ended(postgres, 0)
            assert accepts_at(addresses)


def guards_of(identities):
    sessions = {os.getsid(identity.pid) for identity in identities}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            name = (entry / "comm").read_text() if entry.exists() else ""
            if name == "sh\n" and os.getsid(int(entry.name)) in sessions:
                yield int(entry.name)


def accepts_at(addresses):
    with connect(addresses) as connection:
        return accepts(f"{connection.info.host}/.s.PGSQL.5432")


@pytest.mark.parametrize(
    "name", ["a b", "%20", "#", "é", "'", "l" * 150, "&=", '"', "$x\\"]
)
def test_odd_paths(tmp_path, name):
    with servers(tmp_path / name, fast_init=True) as addresses:
        remember_row(addresses)
        client = s3_client(addresses)
        client.put_object(Bucket="dropzone", Key="k", Body=b"1")
        client.close()
    assert (tmp_path / name / "s3" / "dropzone" / "k").read_bytes() == b"1"


def test_the_environment_does_not_reach_the_servers(tmp_path):
    odd = {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "RCLONE_READ_ONLY": "true",
        "RCLONE_ADDR": "0.0.0.0:1",
        "LC_ALL": "nonsense",
    }
    with process(tmp_path, env=odd) as child:
        answer(child)
        client = s3_client(remembered(tmp_path))
        client.put_object(Bucket="dropzone", Key="k", Body=b"1")
        assert client.get_object(Bucket="dropzone", Key="k")["Body"].read() == b"1"
        client.close()


def test_damaged_files_are_replaced(tmp_path):
    with servers(tmp_path, postgres=False) as before:
        pass
    (tmp_path / "services.json").write_bytes(b"\0\0\0")
    with servers(tmp_path, postgres=False) as addresses:
        assert addresses == before
    (tmp_path / "s3.json").write_bytes(b'{"access_key": 3')
    with servers(tmp_path, postgres=False) as addresses:
        assert addresses.s3_secret_key != before.s3_secret_key


def test_a_directory_in_the_way_of_the_database_is_kept(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "mine").write_text("")
    services = EmbeddedServices(tmp_path, s3=False, fast_init=True)
    with pytest.raises(ZoneError, match="in the way"):
        services.start()
    assert not services.owns
    assert (tmp_path / "postgres" / "mine").exists()


def test_a_database_that_does_not_start_says_why(tmp_path):
    with servers(tmp_path, s3=False):
        pass
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("11\n")
    with pytest.raises(ServiceUnavailable, match="incompatible") as caught:
        EmbeddedServices(tmp_path, s3=False).start()
    assert caught.value.service == "postgres"
    assert "postgres.log" in caught.value.hint


def test_a_lost_password_is_said(tmp_path):
    with servers(tmp_path, s3=False):
        pass
    (tmp_path / "postgres" / "password").unlink()
    with pytest.raises(ServiceUnavailable, match="password") as caught:
        EmbeddedServices(tmp_path, s3=False).start()
    assert caught.value.hint


def test_a_disk_that_does_not_take_the_record_is_said(tmp_path):
    (tmp_path / "services.json").mkdir()
    services = EmbeddedServices(tmp_path, postgres=False)
    with pytest.raises(ServiceUnavailable, match="cannot use") as caught:
        services.start()
    assert caught.value.service == "disk"
    assert not services.owns


def test_little_shared_memory_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "_SHARED_MEMORY", tmp_path / "nowhere")
    with servers(tmp_path, s3=False) as addresses, connect(addresses) as connection:
        row = connection.execute("SHOW dynamic_shared_memory_type").fetchone()
    assert row == ("mmap",)


@pytest.mark.skipif(not ROOT, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_said(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    os.chown(tmp_path / "data", 12345, 12345)
    with process(tmp_path / "data", prefix=ORDINARY, stderr=subprocess.PIPE) as child:
        assert b"belongs to another user" in child.stderr.read()


def test_a_socket_directory_of_others_is_refused(tmp_path):
    path = socket_directory(tmp_path / "postgres" / "data", Account())
    path.symlink_to(tmp_path)
    services = EmbeddedServices(tmp_path, s3=False, fast_init=True)
    try:
        with pytest.raises(ServiceUnavailable, match="not a directory of ours"):
            services.start()
    finally:
        path.unlink()


def test_a_start_is_given_up_when_the_program_stops(tmp_path):
    stopping = threading.Event()
    stopping.set()
    services = EmbeddedServices(tmp_path, fast_init=True, stopping=stopping)
    with pytest.raises(Stopping):
        services.start()
    assert not services.owns
    assert not list(tmp_path.glob("postgres"))


def test_an_ordinary_user_needs_no_more(tmp_path):
    with process(tmp_path, prefix=ORDINARY * ROOT) as child:
        owns, _, user = answer(child)
        assert owns
        assert user != 0


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_root_without_namespaces_runs_postgres_as_somebody_else():
    with tempfile.TemporaryDirectory() as name:
        # The account has to reach the data directory, which pytest's own forbids.
        os.chmod(name, 0o711)  # noqa: S103
        directory = Path(name) / "data"
        for path in ("/nowhere", os.environ["PATH"], "/nowhere"):
            with process(directory, env={"PATH": path}, s3=False) as child:
                assert answer(child)[0]
                (server,) = record.read(directory).servers
                owner = Path(f"/proc/{server.pid}").stat().st_uid
                assert (owner == 0) == (path != "/nowhere")


def test_the_background_holds_the_servers_until_it_is_told_to_end(tmp_path):
    directory = tmp_path / "data"
    assert not stop_background(directory)
    addresses = start_background(directory, fast_init=True)
    remember_row(addresses)
    assert start_background(directory) == addresses
    found = running(directory)
    assert (found.addresses, found.role) == (addresses, "holder")
    with EmbeddedServices(directory) as guest:
        assert not guest.owns
        assert remembered_row(guest.addresses) == 7
    assert stop_background(directory)
    assert running(directory) is None
    assert not stop_background(directory)


def test_the_background_keeps_its_servers_alive(tmp_path):
    start_background(tmp_path, postgres=False)
    try:
        (server,) = record.read(tmp_path).servers
        kill(server)
        with EmbeddedServices(tmp_path, postgres=False) as guest:
            client = s3_client(guest.addresses)
            wait_for(lambda: record.read(tmp_path).servers != (server,))
            answer = client.head_bucket(Bucket="dropzone")
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
            client.close()
    finally:
        stop_background(tmp_path)


def test_what_is_being_started_is_not_ended(tmp_path):
    lock = Lock(record.lock_path(tmp_path))
    lock.take()
    with pytest.raises(UsageError, match="started or stopped just now"):
        stop_background(tmp_path)
    stopping = threading.Event()
    guest = EmbeddedServices(tmp_path, stopping=stopping)
    waiting = threading.Timer(0.2, stopping.set)
    waiting.start()
    with pytest.raises(Stopping):
        guest.start()
    waiting.join()
    lock.release()


def test_an_owner_that_never_gets_ready_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(services_module, "_ATTACH_SECONDS", 0.2)
    with process(tmp_path, postgres=False) as child:
        answer(child)
        found = record.read(tmp_path)
        record.write(tmp_path, replace(found, ready=False))
        with pytest.raises(ServiceUnavailable, match=f"Process {child.pid} has been"):
            EmbeddedServices(tmp_path, postgres=False).start()


def test_a_server_that_cannot_be_restarted_is_tried_again(tmp_path):
    with EmbeddedServices(tmp_path, fast_init=True) as services:
        remember_row(services.addresses)
        s3, postgres = record.read(tmp_path).servers
        kill(s3)
        kill(postgres)
        password = tmp_path / "postgres" / "password"
        password.rename(tmp_path / "away")
        with pytest.raises(ServiceUnavailable, match="password"):
            services.check()
        (tmp_path / "away").rename(password)
        assert services.check()
        assert remembered_row(services.addresses) == 7
        assert not services.check()


def test_the_background_does_not_end_a_daemon(tmp_path):
    with EmbeddedServices(tmp_path, postgres=False):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"):
            stop_background(tmp_path)
        assert running(tmp_path) is not None


def test_the_background_tells_why_it_did_not_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceUnavailable, match="address already in use"):
            start_background(tmp_path, postgres=False, s3_port=port)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "mine").write_text("")
    with pytest.raises(ZoneError, match="in the way"):
        start_background(tmp_path, s3=False, fast_init=True)
