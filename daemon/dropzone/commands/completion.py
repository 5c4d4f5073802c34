"""What the shell offers for an argument, read from the journals of this configuration.

Whatever goes wrong here, the shell is offered nothing: it cannot show an error.
"""

from collections.abc import Iterator
from contextlib import suppress

_MOST = 50


def states() -> list[str]:
    from dropzone.models import Outcome, Status

    return list(dict.fromkeys([*Status, *Outcome]))


def collections(incomplete: str) -> list[str]:
    with suppress(Exception):
        return _collections(incomplete)
    return []


def jobs(incomplete: str) -> list[tuple[str, str]]:
    return _jobs(incomplete, None)


def failed_jobs(incomplete: str) -> list[tuple[str, str]]:
    return _jobs(incomplete, "failed")


def _collections(incomplete: str) -> list[str]:
    from dropzone.commands import access
    from dropzone.lookup import Zones

    with Zones(access.settings(None)) as zones:
        names = {
            row["collection"]
            for _, journal in zones.journals
            for row in journal.rows("collections")
        }
    return sorted(name for name in names if name.startswith(incomplete))


def _jobs(incomplete: str, outcome: str | None) -> list[tuple[str, str]]:
    with suppress(Exception):
        return list(_named(incomplete, outcome))
    return []


def _named(incomplete: str, outcome: str | None) -> Iterator[tuple[str, str]]:
    from dropzone.commands import access
    from dropzone.lookup import Zones, short, state_named
    from dropzone.text import display

    with Zones(access.settings(None)) as zones:
        for job in zones.newest(_MOST, **state_named(outcome)):
            if short(job.id).startswith(incomplete):
                yield short(job.id), display(job.path)
