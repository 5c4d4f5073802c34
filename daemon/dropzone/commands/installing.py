"""The command ``dropzone install-service``: its options, and what is printed."""

from pathlib import Path

from dropzone.commands import service_install
from dropzone.commands.service_units import Service


def install(
    *,
    of_user: bool,
    zone: Path | None,
    config: Path | None,
    user: str,
    dry_run: bool,
) -> None:
    """Install the service, or with ``dry_run`` only tell how."""
    service, first = service_install.chosen(
        of_user=of_user, zone=zone, file=config, user=user
    )
    # A dry run tells how it would be, on a machine where it is not to be, too.
    if not dry_run:
        service_install.check(service)
    steps = service_install.plan(service, zone=first)
    if dry_run:
        _tell([f"would {step.told()}" for step in steps])
        _tell(service_install.contents(steps))
        return
    service_install.act(steps, _print)
    _tell(["", *_started(service)])


def uninstall(*, of_user: bool, dry_run: bool) -> None:
    """Take the service away, and nothing of what it worked on."""
    steps = service_install.removal(of_user=of_user)
    if dry_run:
        _tell([f"would {step.told()}" for step in steps])
        return
    service_install.check_removal(of_user=of_user)
    service_install.act(steps, _print)
    _tell(["", *service_install.left(of_user=of_user)])


def _started(service: Service) -> list[str]:
    return ["The service runs.", "", *service_install.next_commands(service)]


def _tell(lines: list[str]) -> None:
    for line in lines:
        _print(line)


def _print(line: str) -> None:
    print(line, flush=True)
