"""Several real processes on one file of session records, some of them killed."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap

from dropzone.journal import Sessions
from zones_helpers import needs_mounts, python

WORKER = """
import json, sys, threading
from dropzone.journal import Sessions

sessions = Sessions(sys.argv[1])
me, shared = sys.argv[2], sys.argv[3:]
told = threading.Lock()
stop = threading.Event()

def tell(what, name):
    with told:
        print(json.dumps([what, name]), flush=True)

def change(data):
    data["n"] += 1
    data[me] = data.get(me, 0) + 1

def work(number):
    count = 0
    while not stop.is_set():
        name = shared[(number + count) % len(shared)]
        tell("try", name)
        sessions.update(name, change)
        tell("update", name)
        tell("create", sessions.create(me, data={"n": 0}, lease="me").id)
        sessions.touch(name)
        count += 1

threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
sys.stdin.readline()
stop.set()
for thread in threads:
    thread.join()
sessions.close()
"""


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def reading(path):
    connection = sqlite3.connect(path)
    try:
        yield connection
    finally:
        connection.close()


def test_killed_processes_leave_nothing_half_done_and_lose_nothing(tmp_path):
    path = tmp_path / "sessions.sqlite"
    with Sessions(path) as sessions:
        shared = [sessions.create("all", data={"n": 0}).id for _ in range(2)]
    workers = {name: start(WORKER, path, name, *shared) for name in "abc"}
    lines = {name: [] for name in workers}
    for _ in range(200):
        lines["a"].append(workers["a"].stdout.readline())
    workers["a"].send_signal(signal.SIGKILL)
    for name in "bc":
        # They go on after the death of the other.
        for _ in range(100):
            lines[name].append(workers[name].stdout.readline())
        workers[name].stdin.write("\n")
        workers[name].stdin.flush()
    for name, worker in workers.items():
        with worker:
            lines[name] += worker.stdout.readlines()
        assert worker.returncode == (-signal.SIGKILL if name == "a" else 0)
    told = {
        name: [tuple(json.loads(line)) for line in mine if line.endswith("\n")]
        for name, mine in lines.items()
    }
    with Sessions(path) as sessions:
        _nothing_lost(sessions, shared, told)
    _counts_are_right(path)


def _nothing_lost(sessions, shared, told):
    for record in map(sessions.get, shared):
        data = record.data
        assert data["n"] == sum(data.get(name, 0) for name in "abc")
        assert record.version == 1 + data["n"], "each change is one version"
        for name, mine in told.items():
            returned = mine.count(("update", record.id))
            tried = mine.count(("try", record.id))
            assert returned <= data.get(name, 0) <= tried
            assert name == "a" or returned == tried
    for mine in told.values():
        for what, name in mine:
            assert what != "create" or sessions.get(name).active


def _counts_are_right(path):
    with reading(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = connection.execute(
            "SELECT status, count(*) FROM sessions GROUP BY status"
        ).fetchall()
        tally = connection.execute("SELECT * FROM tally WHERE sessions > 0").fetchall()
        assert counted == tally


READER = """
import sys
from dropzone.journal import Sessions
with Sessions(sys.argv[1]) as sessions:
    for line in sys.stdin:
        record = sessions.get(line.strip())
        print(record.version, record.interaction_count, record.status, flush=True)
"""


def test_no_process_sees_what_is_over(tmp_path):
    path = tmp_path / "sessions.sqlite"
    with Sessions(path) as sessions:
        made = [sessions.create("ann", data={"n": 0}) for _ in range(3)]
        reader = start(READER, path)

        def seen(record):
            reader.stdin.write(record.id + "\n")
            reader.stdin.flush()
            return tuple(reader.stdout.readline().split())

        for count in range(1, 31):
            for record in made:
                changed = sessions.update(record, lambda data: {"n": data["n"] + 1})
                sessions.touch(record)
                assert seen(record) == (str(changed.version), str(2 * count), "active")
        sessions.end(made[0])
        assert seen(made[0])[2] == "ended"
        reader.communicate(timeout=30)


def test_what_returned_survives_the_death_of_its_process(tmp_path):
    path = tmp_path / "sessions.sqlite"
    code = """
        import os, signal, sys
        from dropzone.journal import Sessions
        sessions = Sessions(sys.argv[1])
        assert sessions._file.writer._connection.execute(
            "PRAGMA synchronous").fetchone() == (2,)
        made = sessions.create("ann", data={"a": 1}, lease="me")
        sessions.record(made, "kind")
        print(made.id, made.token, flush=True)
        if not os.fork():
            for use in (sessions.touch, sessions.check):
                try:
                    use(made)
                except Exception as error:
                    print(error, flush=True)
            os._exit(0)
        os.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    told, *forked = done.stdout.splitlines()
    session, token = told.split()
    assert forked == ["The session file was opened before this process was forked."] * 2
    with Sessions(path) as sessions:
        assert sessions.check(session, token=token).data == {"a": 1}
        assert [event.kind for event in sessions.events(session)] == ["kind"]


def test_many_open_a_new_file_at_once(tmp_path):
    path = tmp_path / "sessions.sqlite"
    code = """
import sys
sys.stdin.readline()
from dropzone.journal import Sessions
with Sessions(sys.argv[1]) as sessions:
    sessions.create("ann")
"""
    openers = [start(code, path) for _ in range(4)]
    for opener in openers:
        opener.stdin.write("\n")
        opener.stdin.flush()
    for opener in openers:
        opener.communicate(timeout=30)
        assert opener.returncode == 0
    with Sessions(path) as sessions:
        assert sessions.stats().active == len(openers)


FULL_DISK = """
    import sys
    from pathlib import Path
    from dropzone.errors import ServiceUnavailable
    from dropzone.journal import Sessions
    disk = Path(sys.argv[1])
    sessions = Sessions(disk / "sessions.sqlite")
    made = sessions.create("ann", data={"n": 0})
    ballast = (disk / "ballast").open("wb", buffering=0)
    try:
        while ballast.write(b"x" * 4096):
            pass
    except OSError:
        pass
    kept = 0
    try:
        while True:
            sessions.update(made, lambda d: {"n": d["n"] + 1, "x": "y" * 20_000})
            kept += 1
    except ServiceUnavailable as error:
        assert error.service == "disk", error.service
        assert "full" in error.message, error.message
    assert sessions.get(made.id).data["n"] == kept
    ballast.truncate(0)
    assert sessions.update(made, lambda d: {"n": d["n"] + 1}).data["n"] == kept + 1
    sessions.close()
    print("went on")
"""


@needs_mounts
def test_a_full_disk_is_told_and_changes_nothing(tmp_path):
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    before = ["unshare", "-m", "sh", "-c", script, str(tmp_path)]
    assert python(FULL_DISK, tmp_path, before=before).endswith("went on\n")


def test_the_import_is_light():
    heavy = {"asyncio", "boto3", "mlflow", "numpy", "psycopg", "pydantic", "structlog"}
    code = f"import sys, dropzone.journal; print({heavy!r} & set(sys.modules))"
    assert python(code) == "set()\n"
