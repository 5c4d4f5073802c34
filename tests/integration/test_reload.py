"""Settings that change while the daemon runs: what it takes, refuses, and survives."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import samples
from daemons import ZoneOfTest, check_invariants, wait_for, zone_on
from dropzone import status
from dropzone.config_source import ConfigSource
from dropzone.embedded import ServiceAddresses

ZONE = {"path": "drop_zones", "quiet_seconds": 0.2}


class Edited:
    """A zone whose settings stand in a file, which is edited."""

    def __init__(self, zone: ZoneOfTest) -> None:
        self.zone = zone
        # What the environment says would win over the file.
        for name in ("ZONES", "RETRY__FIRST_PAUSE_SECONDS", "MLFLOW__BATCH_SECONDS"):
            del zone.environment[f"DROPZONE__{name}"]
        self.file = zone.base / "config.yaml"
        self.settings: dict[str, Any] = {"zones": [ZONE]}
        self.write()

    def write(self, **sections: Any) -> None:
        """Put sections in, the way that editors do it."""
        self.settings |= sections
        # JSON is YAML.
        aside = self.file.with_suffix(".new")
        aside.write_text(json.dumps(self.settings, indent=1))
        aside.replace(self.file)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.zone.log().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line["event"] == name]

    def wait(self, event: str, count: int = 1) -> dict[str, Any]:
        """Return the last of so many events."""
        what = f"{count} x {event}\n{self.zone.log()[-2000:]}"
        wait_for(lambda: len(self.events(event)) >= count, what)
        return self.events(event)[-1]

    def reload(self) -> tuple[int, dict[str, Any]]:
        done = self.zone.command("reload", "--json")
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def edited(tmp_path: Path, services: ServiceAddresses) -> Iterator[Edited]:
    zone = zone_on(tmp_path, services)
    yield Edited(zone)
    zone.close()


def test_an_edited_file_is_in_force_a_moment_later(edited: Edited) -> None:
    zone = edited.zone
    daemon = zone.start()
    zone.drop("a.txt", b"one")
    zone.wait_for_ends(1)
    assert not edited.events("claimed")
    edited.write(log={"level": "debug"}, limits={"text_megabytes": 0.000001})
    told = edited.wait("reloaded")
    assert told["changed"] == [
        "limits.text_megabytes: 50.0 -> 1e-06",
        "log.level: info -> debug",
    ]
    zone.drop("b.txt", b"another text")
    zone.wait_for_ends(2)
    assert [event["path"] for event in edited.events("claimed")] == ["b.txt"]
    assert zone.outcomes() == {"a.txt": "indexed", "b.txt": "stored_only"}
    # A new pattern, and one that is taken back: what lies there is found by a scan.
    edited.write(zones=[{**ZONE, "ignore": ["*.draft.txt"]}], limits={})
    daemon.send_signal(signal.SIGHUP)
    edited.wait("reloaded", 2)
    zone.drop("c.draft.txt", b"later")
    zone.drop("d.txt", b"now")
    zone.wait_for_receipts(3)
    edited.write(zones=[ZONE])
    daemon.send_signal(signal.SIGHUP)
    zone.wait_for_ends(4)
    assert zone.outcomes()["c.draft.txt"] == "indexed"


def test_what_is_wrong_changes_nothing_and_is_told(edited: Edited) -> None:
    zone = edited.zone
    daemon = zone.start()
    edited.file.write_text('{"zones": [{"path": "drop_zones"}],\n"log": {"levle": 1}}')
    told = edited.wait("not reloaded")
    assert f"{edited.file.name}, line 2" in told["reason"]
    assert "did you mean 'level'" in told["reason"]
    # What is wrong here is found by the command already.
    assert edited.reload()[0] == 2
    edited.file.unlink()
    daemon.send_signal(signal.SIGHUP)
    assert "There is no configuration file" in edited.wait("not reloaded", 2)["reason"]
    edited.write(log={"level": "warning"}, postgres={"pool_size": 9})
    code, answer = edited.reload()
    assert (code, answer["reloads"][0]["ok"]) == (0, True)
    assert answer["reloads"][0]["needs_restart"] == ["postgres.pool_size: 8 -> 9"]
    assert "hint" in edited.events("restart needed")[0]
    assert "Needs a restart: postgres.pool_size" in zone.command("status").stdout
    (told,) = status.of_all(ConfigSource(edited.file).last.settings)
    assert told.reload is not None
    assert told.reload["ok"]
    page = f"{zone.report()['web']['url']}/readyz"
    with urllib.request.urlopen(page) as answer:  # noqa: S310 the daemon's own page
        assert json.load(answer)["reload"]["ok"]
    zone.drop("a.txt", b"goes on")
    zone.wait_for_ends(1)


def test_a_zone_is_added_and_none_taken_away(edited: Edited) -> None:
    zone = edited.zone
    daemon = zone.start()
    other = zone.base / "other"
    added = {"name": "other", "path": "other", "quiet_seconds": 0.2}
    # A zone that cannot be served keeps everything from changing.
    other.write_text("in the way")
    edited.write(zones=[ZONE, added], log={"level": "debug"})
    daemon.send_signal(signal.SIGHUP)
    reason = edited.wait("not reloaded")["reason"]
    assert str(other) in reason
    other.unlink()
    code, answer = edited.reload()
    assert code == 0
    changed = answer["reloads"][0]["changed"]
    assert changed == ["log.level: info -> debug", "zones.other: added"]
    (other / "input" / "x.txt").write_text("in the new zone")
    processed = other / "processed" / "x.txt"
    wait_for(processed.exists, "the new zone is served")
    # Each is told to the daemon once, though it serves both.
    edited.write(zones=[ZONE])
    code, answer = edited.reload()
    assert len(answer["reloads"]) == 1
    assert answer["reloads"][0]["needs_restart"] == [f"zones.other: {other} -> removed"]
    (other / "input" / "y.txt").write_text("it goes on")
    wait_for((other / "processed" / "y.txt").exists, "it is still served")
    zone.stop(daemon)


def test_reload_without_a_daemon_says_so(edited: Edited) -> None:
    code, answer = edited.reload()
    assert code == 1
    assert "No daemon serves" in answer["error"]
    # A number in the lock that is somebody else's must not get the signal.
    (edited.zone.root / "state").mkdir(exist_ok=True)
    lock = edited.zone.root / "state" / "lock"
    holder = "import fcntl,os,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,2)"
    script = f"{holder}; f.write(sys.argv[2]); f.flush(); print('held'); input()"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as stranger:
        command = [sys.executable, "-c", script, str(lock), str(stranger.pid)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            code, answer = edited.reload()
            assert code == 1
            assert "is not to be found" in answer["error"]
            other.communicate(b"\n")
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("before", [(), ("nohup",)])
def test_a_closed_terminal_ends_it_unless_behind_nohup(
    edited: Edited, before: tuple[str, ...]
) -> None:
    zone = edited.zone
    pid, terminal = pty.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.chdir(zone.base)
            log = os.open("daemon.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            for number in (1, 2):
                os.dup2(log, number)
            command = [*before, sys.executable, "-m", "dropzone", "run"]
            os.execvpe(command[0], command, zone.environment)  # noqa: S606 no shell
        os._exit(1)
    edited.wait("started")
    # With its terminal there it means what it says, wherever it comes from.
    os.kill(pid, signal.SIGHUP)
    edited.wait("reloaded")
    os.close(terminal)
    if not before:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert edited.wait("stopped")["given_back"] == 0
        return
    edited.wait("reloaded", 2)
    assert edited.reload()[0] == 0
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_fifty_reloads_while_files_come(
    edited: Edited, services: ServiceAddresses
) -> None:
    zone = edited.zone
    daemon = zone.start()
    dropped: Counter[str] = Counter()
    for number in range(50):
        for file in range(4):
            name = f"{number % 7}/{number}-{file}.txt"
            dropped[
                zone.drop(name, samples.prose(500, 4 * number + file).encode())
            ] += 1
        edited.write(
            zones=[{**ZONE, "quiet_seconds": 0.2 + number % 2 / 10}],
            limits={"jobs_in_memory": 64 + number, "text_megabytes": 1 + number},
            executor={"uploads": 1 + number % 6},
            retry={"call_seconds": 5 + number, "first_pause_seconds": 0.5},
            extract={"memory_mb": 1000 + number},
            mlflow={"batch_files": 1 + number, "batch_seconds": 0.5},
        )
        reloads = len(edited.events("reloaded"))
        daemon.send_signal(signal.SIGHUP)
        edited.wait("reloaded", reloads + 1)
    zone.wait_for_ends(200)
    assert not edited.events("not reloaded")
    # One more where a busy machine had the daemon find an edit by itself.
    changed = [change for one in edited.events("reloaded") for change in one["changed"]]
    assert len(edited.events("reloaded")) >= 50
    assert changed.count("executor.uploads: 1 -> 2") >= 8
    assert zone.report()["reload"]["ok"]
    check_invariants(zone, services, dropped)
    zone.stop(daemon)
    assert all(receipt["attempts"] == 0 for receipt in zone.receipts())
