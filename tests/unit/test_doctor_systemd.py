"""What doctor says of the service, for every state that systemd can tell of it."""

import os
from pathlib import Path

import pytest

from dropzone.commands import doctor_systemd
from dropzone.commands import service_units as units
from dropzone.commands.diagnosis import Verdict
from dropzone.settings import Settings, Zone
from zones_helpers import ROOT

FINE = {
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "ExecMainStatus": "0",
    "NRestarts": "0",
    "WatchdogUSec": "2min",
    "User": "root" if ROOT else "nobody",
    "ReadWritePaths": "/srv/dropzone",
    "NeedDaemonReload": "no",
}


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Return what looks at a service that is installed, and shown as the test says."""
    folder = tmp_path / "units"
    folder.mkdir()
    (folder / "dropzone.service").write_text(units.shipped("dropzone.service"))
    (tmp_path / "credstore").mkdir()
    monkeypatch.setattr(doctor_systemd, "SYSTEM_UNITS", folder)
    monkeypatch.setattr(doctor_systemd, "_CREDENTIALS", tmp_path / "credstore")
    zone = tmp_path / "zone"
    zone.mkdir()

    def look(*, answers=True, **shown):
        told = {**FINE, "ReadWritePaths": str(zone), **shown}
        monkeypatch.setattr(doctor_systemd, "_show", lambda: told if answers else {})
        settings = Settings(zones=(Zone(path=zone),))
        found = list(doctor_systemd.service(settings))
        return [(one.checked, one.verdict, f"{one.found} {one.what_to_do}")
                for one in found]  # fmt: skip

    return look


def test_nothing_is_said_where_no_service_is_installed(look, monkeypatch):
    monkeypatch.setattr(doctor_systemd, "SYSTEM_UNITS", Path("/nonexistent"))
    assert look() == []


@pytest.mark.skipif(not ROOT, reason="the zone of the test is not nobody's")
def test_a_service_that_is_well_is_one_line(look):
    assert look() == [
        ("service", Verdict.OK, "runs as root, and is started at boot ")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "checked", "verdict", "words"),
    [
        (
            {"ActiveState": "failed", "ExecMainStatus": "78"},
            "service",
            Verdict.PROBLEM,
            "exit code 78: a zone cannot be served as it is",
        ),
        (
            {"ActiveState": "failed", "ExecMainStatus": "9"},
            "service",
            Verdict.PROBLEM,
            "exit code 9, and is not started again",
        ),
        (
            {"ActiveState": "activating", "SubState": "auto-restart"},
            "service",
            Verdict.WARNING,
            "it is activating (auto-restart)",
        ),
        (
            {"UnitFileState": "disabled"},
            "service",
            Verdict.WARNING,
            "systemctl enable dropzone",
        ),
        ({"NRestarts": "7"}, "service", Verdict.WARNING, "started again 7 times"),
        ({"WatchdogUSec": "0"}, "service, watchdog", Verdict.WARNING, "it is off"),
        (
            {"NeedDaemonReload": "yes"},
            "service, unit",
            Verdict.WARNING,
            "daemon-reload",
        ),
        (
            {"ReadWritePaths": "/srv/other"},
            "service, folders",
            Verdict.PROBLEM,
            "sudo dropzone install-service",
        ),
        ({"User": "daemon"}, "service, owner", Verdict.PROBLEM, "chown -R daemon:"),
    ],
)
def test_each_state_is_told_with_what_to_do(look, shown, checked, verdict, words):
    (told,) = [
        text for name, how, text in look(**shown)
        if (name, how) == (checked, verdict)
    ]  # fmt: skip
    assert words in told


def test_a_unit_of_another_version_is_told(look, tmp_path):
    unit = tmp_path / "units" / "dropzone.service"
    unit.write_text(unit.read_text() + "# of last year\n")
    told = {name: text for name, _, text in look()}
    assert "is not the one that comes with this version" in told["service, unit"]


def test_a_machine_that_is_not_booted_with_systemd_is_told(look):
    told = {name: text for name, _, text in look(answers=False)}
    assert "systemd does not answer" in told["service"]


@pytest.mark.skipif(not ROOT, reason="credentials are root's")
def test_a_secret_that_others_may_read_is_told(look, tmp_path):
    secret = tmp_path / "credstore" / "dropzone.database_url"
    secret.write_text("postgresql://u:p@h/d")
    secret.chmod(0o600)
    assert not [one for one in look() if one[0] == "service, secrets"]
    secret.chmod(0o640)
    told = {name: (how, text) for name, how, text in look()}
    how, text = told["service, secrets"]
    assert how is Verdict.PROBLEM
    assert f"chmod 600 {secret}" in text
    secret.chmod(0o600)
    os.chown(secret, 12345, -1)
    told = {name: text for name, _, text in look()}
    assert f"chown root: {secret}" in told["service, secrets"]


@pytest.mark.skipif(not ROOT, reason="credentials are root's")
def test_a_secret_under_a_wrong_name_is_told(look, tmp_path):
    secret = tmp_path / "credstore" / "dropzone.database"
    secret.write_text("postgresql://u:p@h/d")
    secret.chmod(0o600)
    told = {name: text for name, _, text in look()}
    assert "no secret is called dropzone.database " in told["service, secrets"]
    assert "dropzone.database_url" in told["service, secrets"]
