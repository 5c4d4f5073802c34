"""The command ``dropzone install-service``: its options, and what is printed."""

from pathlib import Path

from dropzone.commands import service_install as installing
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
    service, first = installing.chosen(
        of_user=of_user, zone=zone, file=config, user=user
    )
    # A dry run tells how it would be, on a machine where it is not to be, too.
    if not dry_run:
        installing.check(service)
    steps = installing.plan(service, zone=first)
    if dry_run:
        _tell([f"would {step.told()}" for step in steps])
        _tell(installing.contents(steps))
        return
    installing.act(steps, _print)
    _tell(["", *_started(service)])


def uninstall(*, of_user: bool, dry_run: bool) -> None:
    """Take the service away, and nothing of what it worked on."""
    steps = installing.removal(of_user=of_user)
    if dry_run:
        _tell([f"would {step.told()}" for step in steps])
        return
    installing.check_removal(of_user=of_user)
    installing.act(steps, _print)
    _tell(["", *installing.left(of_user=of_user)])


def _started(service: Service) -> list[str]:
    return ["The service runs.", "", *installing.next_commands(service)]


def _tell(lines: list[str]) -> None:
    for line in lines:
        _print(line)


def _print(line: str) -> None:
    print(line, flush=True)
