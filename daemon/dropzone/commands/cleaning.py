"""The command ``clean``: one pass of retention over every zone, now."""

import threading
from collections.abc import Callable

from dropzone import building, care, log
from dropzone.commands import access
from dropzone.errors import UsageError
from dropzone.journal import Journal
from dropzone.settings import Settings


def clean(
    settings: Settings,
    *,
    dry_run: bool,
    progress: Callable[[str], None] = lambda _zone: None,
) -> list[care.Report]:
    """Return what was removed in each zone, or with ``dry_run`` would be.

    Raises:
        UsageError: no setting asks for anything to be removed.
        ServiceUnavailable: a service does not answer, so nothing can be proven.
        ZoneError: a zone was never served.
        ZoneHeld: another process is cleaning it.

    """
    if not care.Rules.of(settings.retention).any:
        raise UsageError(
            "Nothing is ever removed: no rule is set in the section retention.",
            hint="For example retention.processed_days: 90 (docs/operations.md).",
        )
    log.configure(level="warning")
    stop = threading.Event()
    reports = []
    with access.sessions(settings) as pool:
        for zone in settings.zones:
            path = zone.path / "state" / "journal.sqlite"
            # First for reading: it is not ours to make, or to bring up to date.
            Journal(path, create=False).close()
            journal = Journal(path, create=not dry_run)
            try:
                progress(zone.name)
                cleaning = building.cleaning(zone, settings, journal, pool, stop)
                reports.append(cleaning.run(dry_run=dry_run))
            finally:
                journal.close()
    return reports
