"""``dropzone install-service``: looks whether it can work, plans, tells, and acts."""

import os
import pwd
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from dropzone import config, status
from dropzone.commands import service_units as units
from dropzone.commands.greeting import called
from dropzone.commands.service_steps import MakeFolder, Remove, Run, Step, Write
from dropzone.commands.service_units import NAME, USER, Service
from dropzone.errors import UsageError
from dropzone.text import display

_SYSUSERS = Path("/etc/sysusers.d/dropzone.conf")
_TMPFILES = Path("/etc/tmpfiles.d/dropzone.conf")
_BOOTED = Path("/run/systemd/system")


def plan(service: Service, *, zone: Path | None) -> list[Step]:
    """Return the steps that install the service, or bring it up to this version."""
    systemctl = service.systemctl
    logs = f"{_journalctl(service)} -n 20 says why."
    steps: list[Step] = [
        Write(service.units / NAME, units.unit_of(service)),
        Write(_drop_in_path(service), units.drop_in(service)),
    ]
    if zone is not None:
        steps.insert(0, Write(service.config, units.first_config(zone)))
    if service.of_user:
        steps += [MakeFolder(path / "input") for path in service.zones]
    else:
        if service.user == USER:
            steps.append(Write(_SYSUSERS, units.shipped("dropzone.sysusers")))
            steps.append(Run(("systemd-sysusers", str(_SYSUSERS)), "Make it by hand."))
        steps.append(Write(_TMPFILES, units.tmpfiles(service)))
        # It complains where there are no ACLs; the folders are made all the same.
        steps.append(
            Run(("systemd-tmpfiles", "--create", str(_TMPFILES)), "", may_fail=True)
        )
    return [
        *steps,
        Run((*systemctl, "daemon-reload"), ""),
        Run((*systemctl, "enable", NAME), ""),
        Run((*systemctl, "restart", NAME), logs, reasons=_reasons(service)),
    ]


def removal(*, of_user: bool) -> list[Step]:
    """Return the steps that take the service away, and nothing that it made."""
    service = Service(of_user, USER, Path(), (), ())
    systemctl = service.systemctl
    steps: list[Step] = [
        Run((*systemctl, "disable", "--now", NAME), "", may_fail=True),
        Remove(_drop_in_path(service), with_folder=True),
        Remove(service.units / NAME),
    ]
    if not of_user:
        steps += [Remove(_TMPFILES), Remove(_SYSUSERS)]
    return [*steps, Run((*systemctl, "daemon-reload"), "")]


def chosen(
    *, of_user: bool, zone: Path | None, file: Path | None, user: str
) -> tuple[Service, Path | None]:
    """Return what to install, and the zone of a configuration that is still to write.

    Raises:
        ConfigurationError: the configuration is wrong.
        UsageError: it names other zones than ``zone``.

    """
    default = units.user_config() if of_user else units.SYSTEM_CONFIG
    path = Path(os.path.abspath(file or default))
    if not path.exists():
        first = Path(os.path.abspath(zone or _first_zone(of_user=of_user)))
        return Service(of_user, user, path, (first,), (first,)), first
    # What this shell sets, the service does not see.
    settings = config.load(path, {}).settings
    zones = tuple(one.path for one in settings.zones)
    if zone is not None and Path(os.path.abspath(zone)) not in zones:
        named = ", ".join(display(bytes(one)) for one in zones)
        raise UsageError(
            f"{display(bytes(path))} names other zones: {named}.",
            hint="Add the zone there, and install without --zone.",
        )
    return Service(of_user, user, path, units.writable(settings), zones), None


def check(service: Service) -> None:
    """Refuse what would not work, before anything is done.

    Raises:
        UsageError: says what is in the way and what to do about it.

    """
    _check_systemd(of_user=service.of_user)
    units.check_names([service.config, *service.folders, *units.places()])
    if not service.of_user:
        _check_visible(service)
        _check_enterable(service)
        _check_user(service)
    for zone in service.zones:
        _check_zone(service, zone)


def check_removal(*, of_user: bool) -> None:
    """Refuse to uninstall where nothing can be: see ``check``."""
    _check_systemd(of_user=of_user)


def act(steps: Sequence[Step], tell: Callable[[str], None]) -> None:
    """Do every step in order, after telling of it."""
    for step in steps:
        tell(step.told())
        step.do()


def contents(steps: Sequence[Step]) -> list[str]:
    """Return the files of the steps with what they will hold, for a dry run."""
    told = []
    for step in steps:
        if isinstance(step, Write) and step.is_needed and step.path.name != NAME:
            inside = "\n".join(f"    {line}" for line in step.text.splitlines())
            told.append(f"\n{display(bytes(step.path))}:\n{inside}")
    return told


def next_commands(service: Service) -> list[str]:
    """Return what a person does next."""
    inputs = [display(bytes(zone / "input")) for zone in service.zones]
    given = f"--config {display(bytes(service.config))}"
    if service.of_user:
        mine = f"{called()} {{}} {given}"
        return [
            *(f"Drop files into  {path}" for path in inputs),
            f'Search           {mine.format("search")} "some words"',
            f"State            {mine.format('status')}",
            f"Log              {_journalctl(service)} -f",
            "Keep it running  loginctl enable-linger    (while you are logged out)",
        ]
    mine = f"sudo -u {service.user} {' '.join(units.program())} {{}}"
    if service.config != units.SYSTEM_CONFIG:
        mine += f" {given}"
    return [
        *(f"Drop files into  {path}" for path in inputs),
        f"Let others drop  sudo usermod -aG {service.user} NAME",
        f'Search           {mine.format("search")} "some words"',
        f"State            {mine.format('status')}",
        f"Look it over     {mine.format('doctor')}",
        f"Log              {_journalctl(service)} -f",
        f"Configuration    {display(bytes(service.config))}",
    ]


def left(*, of_user: bool) -> list[str]:
    """Return what an uninstall leaves, so that nobody thinks it gone."""
    where = units.user_config() if of_user else units.SYSTEM_CONFIG
    mine = "" if of_user else ", the user dropzone, /var/lib/dropzone"
    return [
        f"Left as they are: the zones with all their files, {where}{mine}.",
    ]


def _drop_in_path(service: Service) -> Path:
    return service.units / f"{NAME}.d" / "10-install.conf"


def _first_zone(*, of_user: bool) -> Path:
    return Path.home() / "dropzone" if of_user else units.SYSTEM_ZONE


def _journalctl(service: Service) -> str:
    return f"journalctl {'--user ' if service.of_user else ''}-u dropzone"


def _reasons(service: Service) -> tuple[tuple[str, ...], ...]:
    """Return what tells why it does not start: its end, or what it waits for."""
    journal = ("journalctl", *service.systemctl[1:], "-u", "dropzone", "-n", "1")
    return (
        (*journal, "-o", "cat", "--since=-1min", "DROPZONE_EVENT=cannot run"),
        (*service.systemctl, "show", NAME, "-p", "StatusText", "--value"),
    )


def _check_systemd(*, of_user: bool) -> None:
    if not _BOOTED.is_dir():
        raise UsageError(
            "No systemd runs on this machine, so there is nobody to run the service.",
            hint="Let another supervisor run `dropzone run`, or use the Docker image.",
        )
    if of_user:
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        if not runtime or not Path(runtime, "systemd", "private").exists():
            raise UsageError(
                "No systemd of your own runs for you here.",
                hint="Log in as yourself, not by su or sudo, or run loginctl "
                "enable-linger as that user and set XDG_RUNTIME_DIR=/run/user/UID.",
            )
    elif os.geteuid() != 0:
        raise UsageError(
            "Only root can install a service of the system.",
            hint=f"sudo {called()} install-service, or install one of your own with "
            "--user.",
        )


def _check_visible(service: Service) -> None:
    for path, above in units.hidden(units.places()):
        raise UsageError(
            f"This dropzone lies in {display(bytes(path))}, and a service may not look "
            f"into {above}.",
            hint="Install it elsewhere, with a Python that is elsewhere too: "
            "python3 -m venv /opt/dropzone; /opt/dropzone/bin/pip install "
            "dropzone-daemon. Or install a service of your own with --user.",
        )
    for path, above in units.hidden([*service.folders, service.config]):
        raise UsageError(
            f"{display(bytes(path))} lies in {above}, into which a service may not "
            "look.",
            hint="Use another place, such as /srv/dropzone, or install a service of "
            "your own with --user.",
        )


def _check_enterable(service: Service) -> None:
    for place in units.places():
        for folder in (place, *place.parents):
            if not folder.stat().st_mode & 0o001:
                raise UsageError(
                    f"{display(bytes(folder))} may be entered by its owner only, and "
                    f"the service runs as {service.user}.",
                    hint=f"chmod go+rx {display(bytes(folder))}; for all of an "
                    f"installation: chmod -R go+rX {display(bytes(place))}",
                )


def _check_user(service: Service) -> None:
    try:
        number = pwd.getpwnam(service.user).pw_uid
    except KeyError:
        if service.user == USER:
            return
        raise UsageError(
            f"There is no user {service.user!r}.",
            hint=f"useradd --system {service.user}, or leave --as away: the user "
            f"{USER} is made then.",
        ) from None
    if number == 0:
        raise UsageError(
            "The service does not run as root: it needs no right of root's.",
            hint=f"Leave --as away, and give the zone to the user {USER}.",
        )


def _check_zone(service: Service, zone: Path) -> None:
    shown = display(bytes(zone))
    try:
        owner = zone.stat().st_uid
        begun = any(zone.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{shown} cannot be used: {error.strerror}.") from error
    name = service.user
    ours = os.geteuid() if service.of_user else _uid(name)
    if begun and owner != ours:
        raise UsageError(
            f"{shown} belongs to {_name(owner)}, and the service runs as "
            f"{_name(ours) if ours is not None else name}.",
            hint=f"chown -R {name}: {shown}{_or_as(owner)}",
        )
    holder = status.server_of(zone)
    if holder is not None and holder != _main_pid(service):
        raise UsageError(
            f"Process {holder} serves {shown}, and it is not this service.",
            hint=f"Stop it first: kill {holder}",
        )


def _or_as(owner: int) -> str:
    if owner == 0:
        return ""
    return f", or let the service run as its owner with --as {_name(owner)}."


def _main_pid(service: Service) -> int | None:
    asked = [*service.systemctl, "show", NAME, "-p", "MainPID", "--value"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return int(told) if told.strip().isdigit() else None


def _uid(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
