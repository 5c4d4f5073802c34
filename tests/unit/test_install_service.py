"""What install-service writes and refuses; a booted systemd shows that it works."""

import grp
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dropzone
from dropzone.commands import service_install as installing
from dropzone.commands import service_units as units
from dropzone.commands.service_steps import MakeFolder, Remove, Run, Write
from dropzone.commands.service_units import Service
from dropzone.config import SECRETS
from dropzone.errors import ConfigurationError, DropzoneError, UsageError
from zones_helpers import NOBODY, ROOT

SHIPPED = Path(__file__).parents[2] / "systemd"
SYSTEM = ["dropzone.service", "dropzone-worker@.service"]
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def service(*zones, of_user=False, user="nobody", config="/etc/dropzone/config.yaml"):
    paths = tuple(map(Path, zones or ("/srv/dropzone",)))
    return Service(of_user, user, Path(config), paths, paths)


def analyze(*arguments, units=""):
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": units}
    return subprocess.run(
        ["/usr/bin/env", "systemd-analyze", *arguments],
        env=environment if units else None,
        capture_output=True,
        text=True,
        check=False,
    )


# The unit files


@needs_analyze
@pytest.mark.parametrize("name", [*SYSTEM, "dropzone-user.service"])
def test_systemd_understands_every_line_of_the_units(name, tmp_path):
    text = (SHIPPED / name).read_text()
    # The program need not be on this machine.
    unit = tmp_path / name.replace("@", "@1")
    unit.write_text(text.replace("/opt/dropzone/bin/dropzone", "/bin/true"))
    checked = analyze("verify", "--recursive-errors=yes", str(unit))
    assert checked.returncode == 0, checked.stderr


@needs_analyze
@pytest.mark.parametrize("name", SYSTEM)
def test_their_exposure_is_low(name, tmp_path):
    unit = shutil.copy(SHIPPED / name, tmp_path / name.replace("@", "@1"))
    rated = analyze("security", "--offline=true", "--threshold=15", str(unit))
    assert rated.returncode == 0, rated.stdout[-300:]


@needs_analyze
def test_the_unit_is_as_safe_with_what_is_particular_to_a_machine(tmp_path):
    zones = ["/srv/a", '/srv/with "a" space, 100%', "/srv/$HOME"]
    unit = tmp_path / "dropzone.service"
    shutil.copy(SHIPPED / "dropzone.service", unit)
    drop_in = tmp_path / "dropzone.service.d" / "10-install.conf"
    drop_in.parent.mkdir()
    made = units.drop_in(service(*zones, config="/etc/my conf/$x.yaml"))
    drop_in.write_text(made)
    checked = analyze("verify", "--recursive-errors=yes", "dropzone.service",
                      units=f"{tmp_path}:/usr/lib/systemd/system")  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert 'ReadWritePaths="/srv/with \\"a\\" space, 100%%"' in made
    assert "NoExecPaths=/srv/$HOME" in made
    assert 'run --config "/etc/my conf/$$x.yaml"' in made


def test_each_writable_path_is_the_same_mount_as_its_not_executable_one():
    lines = (SHIPPED / "dropzone.service").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "Paths=" in line)
    assert values["ReadWritePaths"] == values["NoExecPaths"] == "/srv/dropzone"
    directories = [line for line in lines if "Directory=" in line and line[0] != "#"]
    assert not [line for line in directories if "srv" in line]


def test_what_only_a_person_mends_is_not_tried_again():
    from dropzone.daemon import UNFIT, exit_code
    from dropzone.errors import ZoneError, ZoneHeld

    for name in ("dropzone.service", "dropzone-user.service"):
        text = (SHIPPED / name).read_text()
        (line,) = [t for t in text.splitlines() if "PreventExitStatus=" in t]
        codes = set(map(int, line.partition("=")[2].split()))
        assert {exit_code(ConfigurationError("x")), UNFIT} < codes
        assert exit_code(ZoneError("x")) == UNFIT
        assert exit_code(ZoneHeld("x")) not in codes, "the other one may end"
        assert exit_code(RuntimeError("x")) not in codes


def test_every_secret_may_come_as_a_credential():
    aws = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    lines = (SHIPPED / "dropzone.service").read_text().splitlines()
    named = [t.partition("=")[2] for t in lines if t.startswith("LoadCredential=")]
    assert sorted(named) == sorted(
        f"{name.lower()}:dropzone.{name.lower()}" for name in {*SECRETS, *aws}
    )


def test_they_come_with_the_package():
    for path in SHIPPED.iterdir():
        assert units.shipped(path.name) == path.read_text()


# What is written


def test_folders_that_the_daemon_writes_to_are_named_once(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "zones: [{name: a, path: a}, {name: b, path: b}]\n"
        "embedded: {directory: servers}\n"
        "log: {file: logs/dropzone.log}\n"
    )
    chosen, first = installing.chosen(
        of_user=False, zone=None, file=config, user="nobody"
    )
    assert first is None
    assert [folder.name for folder in chosen.folders] == ["a", "b", "servers", "logs"]
    assert [zone.name for zone in chosen.zones] == ["a", "b"]
    rules = units.tmpfiles(chosen)
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    assert f"d  {tmp_path}/b/input  3770 nobody {group} -" in rules
    assert f"a+ {tmp_path}/a/input" in rules
    assert "default:user:nobody:rwx" in rules
    assert f"d  {tmp_path}/servers 0750 nobody {group} -" in rules


def test_a_first_configuration_names_the_zone(tmp_path):
    file, zone = tmp_path / "config.yaml", tmp_path / "it's a zone"
    chosen, first = installing.chosen(
        of_user=False, zone=zone, file=file, user="dropzone"
    )
    assert first == zone
    steps = installing.plan(chosen, zone=first)
    assert isinstance(steps[0], Write)
    steps[0].do()
    again, first = installing.chosen(
        of_user=False, zone=None, file=file, user="dropzone"
    )
    assert first is None
    assert again.zones == (zone,)


def test_a_zone_beside_those_of_the_configuration_is_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("zones: [{path: /srv/one}]\n")
    with pytest.raises(UsageError, match="names other zones: /srv/one"):
        installing.chosen(of_user=False, zone=Path("/srv/two"), file=file, user="x")


def test_a_wrong_configuration_is_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("zonez: []\n")
    with pytest.raises(ConfigurationError, match="zones"):
        installing.chosen(of_user=False, zone=None, file=file, user="x")


def test_a_dry_run_tells_everything_and_does_nothing(tmp_path):
    command = [sys.executable, "-m", "dropzone", "install-service", "--dry-run"]
    config = tmp_path / "c.yaml"
    done = subprocess.run(
        [*command, "--config", str(config), "--zone", str(tmp_path / "zone")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "would write /etc/systemd/system/dropzone.service" in done.stdout
    assert "would run systemctl restart dropzone.service" in done.stdout
    assert f"ReadWritePaths={tmp_path}/zone" in done.stdout
    assert not list(tmp_path.iterdir())


# What is refused


@pytest.fixture
def booted(tmp_path, monkeypatch):
    monkeypatch.setattr(installing, "_BOOTED", tmp_path)


def refusal(of):
    with pytest.raises(UsageError) as raised:
        installing.check(of)
    return f"{raised.value.message} {raised.value.hint}"


def test_without_systemd_there_is_nobody_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setattr(installing, "_BOOTED", tmp_path / "nothing")
    assert "No systemd runs on this machine" in refusal(service())


@pytest.mark.usefixtures("booted")
@pytest.mark.skipif(not ROOT, reason="needs to become nobody")
def test_only_root_installs_for_the_system(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert "Only root can install a service of the system." in refusal(service())


@pytest.mark.usefixtures("booted")
def test_a_user_without_a_manager_is_told_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "enable-linger" in refusal(service(of_user=True))


needs_root = pytest.mark.skipif(not ROOT, reason="only root installs for the system")


@pytest.fixture
def elsewhere(monkeypatch):
    """Let this dropzone lie where a service may look."""
    monkeypatch.setattr(units, "places", lambda: [Path("/usr/bin")])


@needs_root
@pytest.mark.usefixtures("booted")
def test_a_program_in_a_home_is_refused(monkeypatch):
    monkeypatch.setattr(units, "places", lambda: [Path("/home/a/venv")])
    told = refusal(service())
    assert "lies in /home/a/venv, and a service may not look into /home" in told
    assert "/opt/dropzone" in told


@needs_root
@pytest.mark.usefixtures("booted", "elsewhere")
@pytest.mark.parametrize("zone", ["/home/a/zone", "/tmp/zone"])  # noqa: S108 refused
def test_a_zone_that_the_service_would_not_see_is_refused(zone):
    assert f"{zone} lies in " in refusal(service(zone))


@needs_root
@pytest.mark.usefixtures("booted", "elsewhere")
def test_a_user_that_is_not_there_is_refused():
    assert "There is no user 'nosuchuser'." in refusal(service(user="nosuchuser"))


@needs_root
@pytest.mark.usefixtures("booted", "elsewhere")
def test_it_does_not_run_as_root():
    assert "does not run as root" in refusal(service(user="root"))


@needs_root
@pytest.mark.usefixtures("booted", "elsewhere")
def test_a_zone_of_somebody_else_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(units, "_HIDDEN", ())
    (tmp_path / "zone" / "input").mkdir(parents=True)
    told = refusal(service(str(tmp_path / "zone")))
    assert "belongs to root, and the service runs as nobody" in told
    assert told.endswith(f"chown -R nobody: {tmp_path}/zone")
    os.chown(tmp_path / "zone", 1, -1)
    assert "let the service run as its owner with --as " in refusal(
        service(str(tmp_path / "zone"))
    )


@needs_root
@pytest.mark.usefixtures("booted")
def test_a_program_that_others_may_not_enter_is_refused(monkeypatch, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(units, "_HIDDEN", ())
    monkeypatch.setattr(units, "places", lambda: [closed])
    assert "may be entered by its owner only" in refusal(service())


@pytest.mark.usefixtures("booted", "elsewhere")
@needs_root
def test_a_name_that_no_unit_can_hold_is_refused():
    assert "characters that a unit file cannot hold" in refusal(service("/srv/a\nb"))


# The steps


def test_a_file_is_written_once_and_replaced_when_it_differs(tmp_path):
    step = Write(tmp_path / "below" / "unit", "text\n")
    assert step.told() == f"write {step.path}"
    step.do()
    assert step.path.read_text() == "text\n"
    assert step.path.stat().st_mode & 0o777 == 0o644
    before = step.path.stat().st_ino
    step.do()
    assert step.path.stat().st_ino == before, "left alone"
    assert step.told() == f"write {step.path}  (as it is)"
    Write(step.path, "other\n").do()
    assert step.path.read_text() == "other\n"
    assert os.listdir(step.path.parent) == ["unit"]


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Write(tmp_path / "file" / "unit", "text\n").do()


def test_a_file_is_removed_and_its_empty_folder_too(tmp_path):
    path = tmp_path / "unit.d" / "10.conf"
    Write(path, "x").do()
    step = Remove(path, with_folder=True)
    assert step.told() == f"remove {path}"
    step.do()
    assert not path.parent.exists()
    step.do()
    assert step.told() == f"remove {path}  (is not there)"


def test_a_folder_with_somebody_elses_file_stays(tmp_path):
    path = tmp_path / "unit.d" / "10.conf"
    Write(path, "x").do()
    Write(path.with_name("50.conf"), "x").do()
    Remove(path, with_folder=True).do()
    assert os.listdir(path.parent) == ["50.conf"]


def test_a_command_that_fails_tells_what_it_said():
    command = ("/bin/sh", "-c", "echo no such unit >&2; exit 4")
    with pytest.raises(DropzoneError, match="no such unit") as raised:
        Run(command, "Look at the log.").do()
    assert raised.value.hint == "Look at the log."
    Run(command, "", may_fail=True).do()
    reasons = (("/bin/true",), ("/bin/echo", "It waits for the disk."))
    with pytest.raises(DropzoneError, match="failed: It waits for the disk"):
        Run(command, "", reasons=reasons).do()
    with pytest.raises(UsageError, match="is not installed"):
        Run(("nosuchprogram",), "").do()


def test_a_folder_is_made(tmp_path):
    step = MakeFolder(tmp_path / "a" / "b")
    step.do()
    assert step.told() == f"make {step.path}  (is there)"


def test_the_package_lies_where_it_is_looked_for():
    assert Path(dropzone.__file__).parent in units.places()
