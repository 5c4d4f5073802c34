"""Finds jobs and files by whatever a person knows of them, and where they lie now."""

import datetime as dt
import json
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

from dropzone import past
from dropzone.errors import UsageError, ZoneError
from dropzone.journal import Journal, Wanted
from dropzone.models import ENDED, Job, Outcome, Status
from dropzone.places import unquoted
from dropzone.readiness import NameFilter, refusal
from dropzone.settings import Settings, Zone
from dropzone.text import composed, folded, forms

RETRIED = "retried"
_MOST = 20
# Of those that hold the words, so many are looked at for one that is named so.
_MOST_ALIKE = 500
# Looking through so many files of input/ takes 50 ms.
_MOST_LOOKED_AT = 20_000
_ERROR_SUFFIX = b".error.json"
# What ``places.with_mark`` adds to a name that was taken.
_MARK = re.compile(rb"~([0-9a-f]{12})(?:\.[^/]*)?(?:/|$)")


@dataclass(frozen=True, slots=True)
class Found:
    """A job and what belongs to it. ``lies_in`` is None when the file is gone."""

    job: Job
    lies_in: bytes | None
    run_id: str | None
    receipt: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Lying:
    """A file in ``input/`` that is no job yet: waiting, refused or ignored."""

    zone: str
    path: bytes
    size: int
    state: str
    reason: str
    hint: str


class Zones:
    """The zones of a configuration with their journals. A context manager.

    A zone that was never served has no journal, and so no jobs.
    """

    def __init__(self, settings: Settings) -> None:
        self._stack = ExitStack()
        self.settings = settings
        self.journals: list[tuple[Zone, Journal]] = []
        self._zones = settings.zones
        for zone in settings.zones:
            path = zone.path / "state" / "journal.sqlite"
            if path.exists():
                journal = Journal(path, create=False)
                self._stack.callback(journal.close)
                self.journals.append((zone, journal))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def newest(
        self, limit: int, *, status: Status | None, outcome: Outcome | None
    ) -> list[Job]:
        """Return jobs of all zones, the newest first.

        Raises:
            ZoneError: no zone was ever served.

        """
        if not self.journals:
            raise ZoneError(
                "There are no jobs: no daemon ever ran here.",
                hint="Start it: dropzone run.",
            )
        jobs = [
            job
            for _, journal in self.journals
            for job in journal.newest(limit, status=status, outcome=outcome)
        ]
        return sorted(jobs, key=lambda job: job.id, reverse=True)[:limit]

    def jobs(self, words: str) -> list[tuple[Zone, Journal, Job]]:
        """Return the jobs that a path, a name, an id or a hash means, newest first.

        Where none has the very name, those that have it in another form of Unicode.
        """
        each = (found for form in forms(words) if (found := self._jobs(form)))
        return next(each, []) or list(self._alike(words))

    def _alike(self, words: str) -> Iterator[tuple[Zone, Journal, Job]]:
        """Yield the jobs of this name or path where one path has several forms."""
        if words.isascii():
            return
        for zone, journal in self.journals:
            given = os.fsencode(words)
            _, path = _below(zone, os.path.abspath(given)) or ("", given)
            wanted = Wanted(text=path.decode("utf-8", "replace"))
            name = f"/{composed(os.fsdecode(path))}"
            for job in journal.listed(wanted, _MOST_ALIKE):
                if f"/{composed(os.fsdecode(job.path))}".endswith(name):
                    yield zone, journal, job

    def _jobs(self, words: str) -> list[tuple[Zone, Journal, Job]]:
        file = os.path.abspath(os.fsencode(words))
        found = []
        for zone, journal in self.journals:
            below = _below(zone, file)
            jobs = _by_place(journal, below) if below else []
            jobs = jobs or journal.find(words, _MOST)
            found += [(zone, journal, job) for job in jobs]
        return found

    def show(self, words: str) -> list[Found]:
        """Return the same with all that belongs to each job."""
        found = [
            Found(
                job,
                lies_in(job, zone.path),
                _run(journal, job),
                _receipt(zone.path / "state" / "receipts", job),
            )
            for zone, journal, job in self.jobs(words)
        ]
        # Retention may have dropped the rows; the receipts know more.
        return found or [
            Found(job, lies_in(job, zone.path), None, receipt)
            for zone, journal in self.journals
            if journal.rows("dropped")[0]["jobs"]
            for form in forms(words)
            for job, receipt in past.find(zone.path / "state" / "receipts", form, _MOST)
        ]

    def lying(self, words: str, *, part: bool = False) -> list[Lying]:
        """Return the files in ``input/`` that the words name.

        With ``part`` also a few whose paths contain them, where none is named.
        """
        found = []
        for zone in self._zones:
            for name in map(os.fsencode, forms(words)):
                area, path = _below(zone, os.path.abspath(name)) or ("", b"")
                if area != "input":
                    path = _inside(name)
                found += list(self._lying(zone, path))
        if found or not part:
            return found
        return [
            one
            for zone in self._zones
            for path in _containing(os.fsencode(zone.path / "input"), folded(words))
            for one in self._lying(zone, path)
        ]

    def _lying(self, zone: Zone, path: bytes) -> Iterator[Lying]:
        file = os.path.join(os.fsencode(zone.path / "input"), path)
        if not path or not os.path.lexists(file) or os.path.isdir(file):
            return
        state, reason, hint = self._state(zone, path, file)
        yield Lying(zone.name, path, os.lstat(file).st_size, state, reason, hint)

    def _state(self, zone: Zone, path: bytes, file: bytes) -> tuple[str, str, str]:
        names = NameFilter(zone.ignore)
        if any(names.ignores(part) for part in path.split(b"/")):
            return (
                "ignored",
                "has a hidden or temporary name, so it is left alone",
                "Rename it when it is complete.",
            )
        status = os.lstat(file)
        if finding := refusal(path, status.st_mode, status.st_nlink):
            return "refused", finding.reason, finding.hint
        for known, journal in self.journals:
            if known is zone:
                for row in journal.rows("finding", path=path):
                    return "refused", row["reason"], row["hint"]
        return (
            "waiting",
            "is taken when it has been quiet for a moment and nobody writes to it",
            "See with 'dropzone status' whether the daemon runs.",
        )


class _Chosen(TypedDict):
    status: Status | None
    outcome: Outcome | None


def state_named(word: str | None) -> _Chosen:
    """Return the state or the outcome that ``word`` is.

    Raises:
        UsageError: it is neither.

    """
    if word is None:
        return {"status": None, "outcome": None}
    # "indexed" is both: as an outcome it lasts.
    if word in set(Outcome):
        return {"status": None, "outcome": Outcome(word)}
    if word in set(Status):
        return {"status": Status(word), "outcome": None}
    known = ", ".join(dict.fromkeys([*Status, *Outcome]))
    raise UsageError(f"There is no state {word!r}.", hint=f"Known: {known}.")


def lies_in(job: Job, root: Path) -> bytes | None:
    """Return where a job's file lies now, as an absolute path, or None."""
    if job.end_reason == RETRIED or job.removed_at is not None:
        # What lies at its place since then is the file of another job.
        return None
    base = os.fsencode(root)
    if job.status in ENDED and "place" in job.data:
        place = unquoted(job.data["place"])
        file = os.path.join(base, os.fsencode(job.data["area"]), place)
    else:
        file = os.path.join(base, b"state", b"work", os.fsencode(job.id), job.path)
    return file if os.path.lexists(file) else None


def _inside(name: bytes) -> bytes:
    """Return ``name`` as a path below a folder, or nothing if it leads out of it."""
    path = os.path.normpath(name) if name else b""
    leads_out = os.path.isabs(path) or path.split(b"/")[0] in {b".", b".."}
    return b"" if leads_out else path


def _containing(root: bytes, words: str) -> Iterator[bytes]:
    """Yield the first paths below ``root`` that contain the words, of so many files."""
    found = looked = 0
    for folder, _, names in os.walk(root):
        below = os.path.relpath(folder, root)
        for name in names:
            path = name if below == b"." else os.path.join(below, name)
            if words in folded(path):
                found += 1
                yield path
        looked += len(names) + 1
        if found >= _MOST or looked >= _MOST_LOOKED_AT:
            return


def _below(zone: Zone, file: bytes) -> tuple[str, bytes] | None:
    """Return the area of the zone and the path in it, if the file is in one."""
    for area in ("input", "processed", "failed", "state/work"):
        base = os.path.join(os.fsencode(zone.path), os.fsencode(area), b"")
        if file.startswith(base):
            return area, file[len(base) :]
    return None


def _by_place(journal: Journal, below: tuple[str, bytes]) -> list[Job]:
    area, path = below
    if area == "state/work":
        job = journal.get(os.fsdecode(path.partition(b"/")[0]))
        return [job] if job else []
    if area == "input":
        return _with_path(journal, path)
    if jobs := [job for job in _with_path(journal, path) if _is_at(job, area, path)]:
        # Those whose files were removed, only if nothing else came to lie there.
        return [job for job in jobs if job.removed_at is None] or jobs
    if path.endswith(_ERROR_SUFFIX):
        return _by_place(journal, (area, path.removesuffix(_ERROR_SUFFIX)))
    if marked := _MARK.search(path):
        return journal.find(marked[1].decode(), _MOST)
    return []


def _with_path(journal: Journal, path: bytes) -> list[Job]:
    rows = journal.rows("by_path", path=path, limit=_MOST)
    return [job for row in rows if (job := journal.get(row["id"])) is not None]


def _is_at(job: Job, area: str, path: bytes) -> bool:
    place = job.data.get("place")
    return (
        place is not None and job.data.get("area") == area and unquoted(place) == path
    )


def _run(journal: Journal, job: Job) -> str | None:
    batch = journal.batch(job.batch_id) if job.batch_id else None
    return batch.run_id if batch else None


def _receipt(directory: Path, job: Job) -> dict[str, Any] | None:
    if job.ended_at is None:
        return None
    month = dt.datetime.fromtimestamp(job.ended_at, dt.UTC)
    # The file may be of the next month: the receipt came just before, or after.
    for name in dict.fromkeys(
        f"{day:%Y-%m}.jsonl" for day in (month, month - dt.timedelta(minutes=1))
    ):
        if line := _line_with(directory / name, f'"job": "{job.id}"'.encode()):
            receipt: dict[str, Any] = json.loads(line)
            return receipt
    return None


def _line_with(path: Path, words: bytes) -> bytes | None:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            at = content.rfind(words)
            if at < 0:
                return None
            end = content.find(b"\n", at)
            return content[content.rfind(b"\n", 0, at) + 1 : end]
    except (OSError, ValueError):
        # An empty file cannot be mapped, and has no line.
        return None


def short(job_id: str) -> str:
    """Return the end of the id, as file names carry it too; commands take it."""
    return job_id[-12:]
