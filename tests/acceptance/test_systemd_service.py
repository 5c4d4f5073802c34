"""The daemon as a service of a systemd that really runs, as a person installs it."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import samples
from acceptance.box import Box
from acceptance.installed import PROGRAM
from daemons import wait_for
from dropzone.extract import sandbox

pytestmark = pytest.mark.timeout(400)

UNIT = "dropzone.service"
ZONE = "srv/dropzone"
# An administrator's own changes: shorter waits. They outlive every install.
OWN = "[Service]\nWatchdogSec=12\nRestartSec=1\nTimeoutAbortSec=4\n"
#: Another machine may be three times slower.
SECONDS = 120.0


class Served:
    """The installed service, and what it said when it was installed."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.zone = box.root / ZONE
        own = box.root / "etc/systemd/system/dropzone.service.d/50-own.conf"
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(OWN)
        self.installed = box.run(PROGRAM, "install-service").stdout

    def dropzone(self, *arguments: str, **options: Any) -> str:
        """Run a command as the service's user, as the installation said."""
        as_user = ("runuser", "-u", "dropzone", "--")
        return self.box.run(*as_user, PROGRAM, *arguments, **options).stdout

    def property(self, name: str) -> str:
        return self.box.shows(UNIT, name)[name]

    def drop(self, name: str, content: bytes, *, owner: str | None = None) -> None:
        """Rename a file in; the daemon takes its own at once, for it knows who writes.

        Those of others it watches for five seconds first.
        """
        aside = self.box.root / "srv" / f".{name}"
        aside.write_bytes(content)
        aside.chmod(0o644)
        state = (self.zone / "state").stat()
        if owner is None:
            os.chown(aside, state.st_uid, state.st_gid)
        aside.rename(self.zone / "input" / name)

    def events(self, name: str) -> list[dict[str, Any]]:
        entries = self.box.journal(UNIT)
        return [one for one in entries if one.get("DROPZONE_EVENT") == name]

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        try:
            return wait_for(condition, what, SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.box.said(UNIT)}") from error

    def wait_for_file(self, name: str) -> None:
        path = self.zone / "processed" / name
        self.wait_for(path.exists, f"{name} is processed")

    def serves(self, name: str, **options: Any) -> None:
        """Show that a file goes the whole way."""
        word = hashlib.sha256(name.encode()).hexdigest()[:12]
        self.drop(name, f"The word is {word}.\n".encode(), **options)
        self.wait_for_file(name)
        found = json.loads(self.dropzone("search", word, "--json"))
        assert [hit["path"] for hit in found["hits"]] == [name]

    def pid(self) -> int:
        return int(self.property("MainPID"))

    def wait_for_another(self, pid: int) -> None:
        def another() -> bool:
            now = self.box.shows(UNIT, "MainPID", "ActiveState")
            return now["MainPID"] not in {"0", str(pid)} and (
                now["ActiveState"] == "active"
            )

        self.wait_for(another, "the service was started again")


@pytest.fixture(scope="module")
def served(box: Box) -> Served:
    return Served(box)


@pytest.fixture
def service(served: Served) -> Served:
    """The service, running, whatever the test before did to it."""
    served.box.run("systemctl", "reset-failed", UNIT, check=False)
    served.box.run("systemctl", "start", UNIT)
    return served


@contextlib.contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


def test_one_command_and_one_file_are_enough(service: Served) -> None:
    for step in ("write /etc/systemd/system/dropzone.service", "The service runs."):
        assert step in service.installed
    assert service.box.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    service.serves("first.txt", owner="root")
    service.wait_for(
        lambda: service.property("StatusText") == "default: no file waits",
        "the status says that nothing waits",
    )
    for area in ("input", "processed", "state", "state/services"):
        owner = service.box.run("stat", "-c", "%U", f"/{ZONE}/{area}").stdout
        assert owner == "dropzone\n", area
    assert not service.zone.joinpath("state").stat().st_mode & 0o007


def test_parsers_are_confined_and_work_under_the_hardening(service: Served) -> None:
    service.drop("a.pdf", samples.pdf(["An ocelot in a portable document."]))
    service.drop("b.docx", samples.word([("Normal", "A tapir in a Word document.")]))
    for name, word in (("a.pdf", "ocelot"), ("b.docx", "tapir")):
        service.wait_for_file(name)
        found = json.loads(service.dropzone("search", word, "--json"))
        assert found["hits"][0]["path"] == name
    report = json.loads((service.zone / "state/daemon.json").read_text())
    landlock = "landlock+" if sandbox.landlock_version() else ""
    assert report["isolation"] == f"{landlock}seccomp"
    told = service.box.run("systemd-analyze", "security", UNIT, "--no-pager").stdout
    level = told.splitlines()[-1].split("dropzone.service: ")[1].split()[0]
    assert float(level) <= 1.5


def test_the_journal_has_fields(service: Served) -> None:
    service.serves("fields.txt")

    def told() -> list[dict[str, Any]]:
        done = service.events("done")
        return [one for one in done if one["DROPZONE_PATH"] == "fields.txt"]

    (entry,) = service.wait_for(told, "the log tells it")
    assert entry["DROPZONE_OUTCOME"] == "indexed"
    assert entry["DROPZONE_ZONE"] == "default"
    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == "dropzone"
    assert entry["CODE_FILE"].endswith("/dropzone/release.py")
    assert entry["_SYSTEMD_UNIT"] == UNIT
    job = entry["DROPZONE_JOB"]
    found = service.box.run("journalctl", f"DROPZONE_JOB={job}", "-o", "cat").stdout
    assert found.startswith("done component=release zone=default path=fields.txt")


def test_installing_again_changes_nothing_and_keeps_own_changes(
    service: Served,
) -> None:
    again = service.box.run(PROGRAM, "install-service").stdout
    writes = [line for line in again.splitlines() if line.startswith("write ")]
    assert len(writes) == 4
    assert all(line.endswith("(as it is)") for line in writes), again
    assert service.property("WatchdogUSec") == "12s"
    service.serves("again.txt")


def test_a_reload_puts_new_settings_in_force(service: Served) -> None:
    config = service.box.root / "etc/dropzone/config.yaml"
    pid, before = service.pid(), len(service.events("reloaded"))
    with changed(config, f"{config.read_text()}retry: {{call_seconds: 11}}\n"):
        service.box.run("systemctl", "reload", UNIT)
        service.wait_for(
            lambda: "retry.call_seconds" in str(service.events("reloaded")[before:]),
            "the settings are reloaded",
        )
        service.wait_for(
            lambda: service.property("SubState") == "running", "the reload is over"
        )
    assert service.pid() == pid
    # The same by the command, which asks another user namespace for the zone's lock.
    service.dropzone("reload")


def test_a_daemon_that_hangs_is_ended_by_the_watchdog(service: Served) -> None:
    pid, restarts = service.pid(), int(service.property("NRestarts"))
    service.box.run("kill", "-STOP", str(pid))
    service.wait_for_another(pid)
    assert int(service.property("NRestarts")) == restarts + 1
    log = [str(entry["MESSAGE"]) for entry in service.box.journal(UNIT)]
    assert [line for line in log if "Watchdog timeout" in line]
    # It told where each thread was.
    assert "Fatal Python error: Aborted" in log
    service.serves("watched.txt")


@pytest.mark.parametrize("whom", ["main", "all"])
def test_a_killed_daemon_comes_back_and_loses_nothing(
    service: Served, whom: str
) -> None:
    pid = service.pid()
    names = [f"killed-{whom}-{number}.txt" for number in range(20)]
    for name in names:
        service.drop(name, name.encode())
    # With "all" its Postgres, its S3 and its parsers die with it.
    service.box.run("systemctl", "kill", f"--kill-who={whom}", "-s", "KILL", UNIT)
    service.wait_for_another(pid)
    for name in names:
        service.wait_for_file(name)
    assert "Nothing is lost" in service.dropzone("verify", "--deep")


def test_after_a_power_cut_it_is_there_again_by_itself(service: Served) -> None:
    names = [f"cut-{number}.txt" for number in range(20)]
    for name in names:
        service.drop(name, name.encode())
    service.box.cut_power()
    service.box.boot()
    for name in names:
        service.wait_for_file(name)
    service.wait_for(lambda: service.property("ActiveState") == "active", "it is up")
    assert "Nothing is lost" in service.dropzone("verify", "--deep")


def test_a_stop_under_load_is_in_order_and_loses_nothing(service: Served) -> None:
    names = [f"load-{number:03}.txt" for number in range(150)]
    for name in names:
        service.drop(name, f"{name}\n".encode() * 50)
    service.wait_for(lambda: os.listdir(service.zone / "state/work"), "work")
    service.box.run("systemctl", "stop", UNIT)
    ended = service.box.shows(UNIT, "Result", "ExecMainStatus", "ActiveState")
    assert ended == {
        "Result": "success",
        "ExecMainStatus": "0",
        "ActiveState": "inactive",
    }
    # Nothing of it is left, its servers included.
    assert "dropzone" not in service.box.run("ps", "-u", "dropzone", check=False).stdout
    service.box.run("systemctl", "start", UNIT)
    for name in names:
        service.wait_for_file(name)
    assert "Nothing is lost" in service.dropzone("verify", "--deep")


def test_a_wrong_configuration_is_told_once_and_not_tried_again(
    service: Served,
) -> None:
    config = service.box.root / "etc/dropzone/config.yaml"
    service.box.run("systemctl", "stop", UNIT)
    with changed(config, f"{config.read_text()}limits: {{stop_secs: 3}}\n"):
        done = service.box.run("systemctl", "start", UNIT, check=False)
        assert done.returncode
        ended = service.box.shows(
            UNIT, "ActiveState", "SubState", "ExecMainStatus", "NRestarts"
        )
    assert ended["ActiveState"] == ended["SubState"] == "failed", "no restart waits"
    assert ended["ExecMainStatus"] == "2"
    last = service.events("cannot run")[-1]
    assert "stop_seconds" in last["DROPZONE_REASON"]
    assert last["PRIORITY"] == "2"


def test_a_zone_of_another_owner_is_told_once_and_not_tried_again(
    service: Served,
) -> None:
    service.box.run("systemctl", "stop", UNIT)
    service.box.run("chown", "root:root", f"/{ZONE}/processed")
    try:
        service.box.run("systemctl", "start", UNIT, check=False)
        ended = service.box.shows(UNIT, "SubState", "ExecMainStatus")
        found = service.dropzone("doctor", check=False)
    finally:
        service.box.run("chown", "dropzone:dropzone", f"/{ZONE}/processed")
    assert ended == {"SubState": "failed", "ExecMainStatus": "78"}
    assert "chown -R" in service.events("cannot run")[-1]["DROPZONE_WHAT_TO_DO"]
    assert "exit code 78" in " ".join(found.split())


def test_secrets_come_as_credentials(service: Served) -> None:
    store = service.box.root / "etc/credstore"
    store.mkdir(mode=0o700, exist_ok=True)
    secret = store / "dropzone.database_url"
    secret.write_text("postgresql://u:geheim@127.0.0.1:1/x\n")
    secret.chmod(0o600)
    try:
        service.box.run("systemctl", "restart", UNIT)
        service.drop("secret.txt", b"waits for that Postgres\n")
        service.wait_for(
            lambda: "127.0.0.1" in service.property("StatusText"),
            "the status tells of that Postgres",
        )
    finally:
        secret.unlink()
        service.box.run("systemctl", "restart", UNIT)
    service.wait_for_file("secret.txt")
    assert "geheim" not in json.dumps(service.box.journal(UNIT))


def test_uninstalling_leaves_every_file_and_installing_finds_them(
    service: Served,
) -> None:
    service.serves("kept.txt")
    told = service.box.run(PROGRAM, "install-service", "--uninstall").stdout
    assert "Left as they are: the zones" in told
    assert service.property("LoadState") == "not-found" or (
        service.property("ActiveState") == "inactive"
    )
    assert not (service.box.root / "etc/systemd/system" / UNIT).exists()
    assert not (service.box.root / "etc/tmpfiles.d/dropzone.conf").exists()
    assert (service.zone / "processed/kept.txt").exists()
    service.box.run(PROGRAM, "install-service")
    service.serves("back.txt")
    assert "kept.txt" in service.dropzone("show", "kept.txt")


def test_doctor_looks_at_the_service(service: Served) -> None:
    drop_in = service.box.root / f"etc/systemd/system/{UNIT}.d/10-install.conf"
    with changed(drop_in, drop_in.read_text().replace("=/srv/dropzone", "=/srv")):
        service.box.run("systemctl", "daemon-reload")
        told = " ".join(service.dropzone("doctor", check=False).split())
    service.box.run("systemctl", "daemon-reload")
    assert "service may not write to /srv/dropzone" in told
    assert "dropzone install-service" in told


def test_a_user_has_a_service_of_their_own(service: Served) -> None:
    box = service.box
    box.run("useradd", "--create-home", "alice")
    box.run("loginctl", "enable-linger", "alice")
    uid = box.run("id", "-u", "alice").stdout.strip()
    manager = f"/run/user/{uid}/systemd/private"
    service.wait_for(
        lambda: not box.run("test", "-e", manager, check=False).returncode,
        "alice's systemd runs",
    )
    as_alice = ("runuser", "-u", "alice", "--", "env", "-C", "/home/alice")
    mine = (*as_alice, f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/alice")
    told = box.run(*mine, PROGRAM, "install-service", "--user").stdout
    try:
        assert "The service runs." in told
        # The page's port is that of the other service: that stops nothing.
        box.run(*mine, "sh", "-c", "echo a capybara > dropzone/input/mine.txt")
        done = box.root / "home/alice/dropzone/processed/mine.txt"
        service.wait_for(done.exists, "alice's file is processed")
        config = "/home/alice/.config/dropzone/config.yaml"
        found = box.run(*mine, PROGRAM, "search", "capybara", "--config", config)
        assert "mine.txt" in found.stdout
    finally:
        box.run(*mine, PROGRAM, "install-service", "--user", "--uninstall")
    assert done.exists()
