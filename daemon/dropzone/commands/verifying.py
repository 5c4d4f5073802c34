"""The command ``verify``: checks every zone, and mends what is safe to mend."""

import threading
from collections.abc import Callable, Sequence

from dropzone import building
from dropzone.commands import access
from dropzone.executor.parsers import ParserPool
from dropzone.index import Indexer
from dropzone.journal import Journal
from dropzone.sessions import SessionPool
from dropzone.settings import Settings
from dropzone.verify import Summary, Verifier
from dropzone.verify.repair import Repair


def verify(
    settings: Settings,
    *,
    deep: bool,
    repair: bool,
    progress: Callable[[int], None],
) -> list[Summary]:
    """Return what does not fit in each zone, after mending if asked to.

    Raises:
        ServiceUnavailable: a service does not answer, so nothing can be proven.
        ZoneError: a zone was never served.

    """
    with access.sessions(settings) as pool:
        verifier = Verifier(settings, pool, deep=deep)
        summaries = verifier.check(progress)
        if not repair or not any(summary.problems for summary in summaries):
            return summaries
        _mend(settings, pool, summaries)
        again = verifier.check(progress)
        for now, before in zip(again, summaries, strict=True):
            now.repaired = before.repaired
        return again


def _mend(settings: Settings, pool: SessionPool, summaries: Sequence[Summary]) -> None:
    parsers = ParserPool(
        building.processes(settings),
        memory_mb=settings.extract.memory_mb,
        timeout_seconds=settings.extract.timeout_seconds,
        stop=threading.Event(),
    )
    documents = building.documents(pool, settings)
    rules = building.index_rules(settings)
    indexer = Indexer(parsers, documents, pool.s3.get, rules, pool.postgres.migrate)
    try:
        for zone, summary in zip(settings.zones, summaries, strict=True):
            journal = Journal(zone.path / "state" / "journal.sqlite")
            try:
                params = building.run_params(zone, settings)
                mender = Repair(zone.path, journal, pool, indexer, documents, params)
                mender.mend(summary)
            finally:
                journal.close()
    finally:
        parsers.close()
