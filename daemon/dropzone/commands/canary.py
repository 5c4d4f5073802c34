"""What ``dropzone doctor --canary`` does: one small file goes the whole way.

The file is new every time and its path the same, so each canary supersedes the one
before in search. In ``processed/`` the first and the last one are kept: the name of the
first must stay taken, or a later one would lie where an older receipt says it does.
"""

import contextlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dropzone import status
from dropzone.commands import access
from dropzone.commands.diagnosis import Diagnosis, ok, problem, warning
from dropzone.commands.follow import Follower
from dropzone.embed import make_embedder
from dropzone.errors import DropzoneError
from dropzone.models import Job, Outcome, Status
from dropzone.put import Placed, Putter, Source
from dropzone.search import Search
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone

COLLECTION = "dropzone-canary"
_PATH = f"{COLLECTION}/canary.txt".encode()
_FIRST_LINE = "A canary of dropzone doctor; it may be removed.\n"
_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_STEPS = (
    ("taken", Status.CLAIMED),
    ("stored", Status.STORED),
    ("indexed", Status.INDEXED),
    ("released", Status.DONE),
)
_STEP_OF = {"store": "stored", "index": "indexed", "release": "released"}
_RANKS = {state: rank for rank, (_, state) in enumerate(_STEPS)}


@dataclass(slots=True)
class _Flight:
    """One canary on its way, and the moment (monotonic) by which it must be home."""

    zone: Zone
    word: str
    limit: float
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def checked(self, step: str) -> str:
        return f"canary in {self.zone.name}, {step}"

    def arrived(self, step: str, told: str = "") -> Diagnosis:
        took = self.seconds
        return ok(self.checked(step), f"{told}after {took:.2f} s", took)

    def missing(self, step: str) -> Diagnosis:
        paused = status.report_of(self.zone.path).get("paused", [])
        why = f": {paused[0]['reason']}" if paused else ""
        hint = paused[0]["what_to_do"] if paused else ""
        told = f"did not happen within {self.limit:.0f} s{why}"
        return problem(self.checked(step), told, hint or "Look at: dropzone status")


def fly(settings: Settings, *, seconds: float = _SECONDS) -> Iterator[Diagnosis]:
    """Drop a canary into every zone, and tell of each step when it is done."""
    for zone in settings.zones:
        checked = f"canary in {zone.name}"
        try:
            if status.server_of(zone.path) is None:
                told = "no daemon serves the zone, so none was dropped"
                yield problem(checked, told, "Start it: dropzone run")
            else:
                yield from _fly(settings, zone, seconds)
        except DropzoneError as error:
            yield problem(checked, error.message, error.hint)


def _fly(settings: Settings, zone: Zone, seconds: float) -> Iterator[Diagnosis]:
    # Letters only: whatever cuts text into words leaves them together.
    word = "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(20))
    since = time.time()
    with Putter(zone.path) as putter:
        flight = _Flight(zone, word, seconds)
        placed = _put(putter, word)
    follower = Follower(zone.path, since=since)
    try:
        job = yield from _steps(flight, lambda: follower.job(placed))
    finally:
        follower.close()
    if job is None:
        return
    try:
        with access.sessions(settings) as pool:
            yield _in_s3(flight, pool, job)
            yield _in_postgres(flight, pool, job)
            yield _in_search(flight, settings, pool, job)
    except DropzoneError as error:
        yield problem(flight.checked("seen"), error.message, error.hint)
    yield from _forget_others(zone, job)


def _put(putter: Putter, word: str) -> Placed:
    content = f"{_FIRST_LINE}Its word is {word}.\n".encode()
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        source = Source(os.fsencode(file.name), _PATH, len(content))
        return putter.put(source, lambda _: None)


def _steps(
    flight: _Flight, find: Callable[[], Job | None]
) -> Generator[Diagnosis, None, Job | None]:
    """Yield each step when the journal shows it; return the job if it got home."""
    pause = threading.Event()
    job: Job | None = None
    done = 0
    while done < len(_STEPS):
        job = find()
        if job is not None and job.status is Status.FAILED:
            # It may have been taken and failed since the last look.
            step = _STEP_OF.get(job.error_step or "", _STEPS[done][0])
            told = f"it failed: {job.end_reason}"
            yield problem(flight.checked(step), told, f"dropzone show {job.id}")
            return None
        reached = _RANKS.get(job.status, -1) if job is not None else -1
        while done <= reached:
            yield flight.arrived(_STEPS[done][0])
            done += 1
        if done < len(_STEPS):
            if flight.seconds > flight.limit:
                yield flight.missing(_STEPS[done][0])
                return None
            pause.wait(_LOOK_SECONDS)
    return job


def _in_s3(flight: _Flight, pool: SessionPool, job: Job) -> Diagnosis:
    seen = pool.s3.head(job.s3_key or "")
    if seen is None or seen.size != job.size:
        return problem(
            flight.checked("object"),
            f"{pool.s3.address} has no {job.s3_key} of {job.size} bytes",
            "Look at: dropzone verify --deep",
        )
    return flight.arrived("object", "in S3 ")


def _in_postgres(flight: _Flight, pool: SessionPool, job: Job) -> Diagnosis:
    rows = pool.postgres.query(
        "SELECT outcome FROM dropzone.deliveries WHERE job_id = %s", [job.id]
    )
    if [row["outcome"] for row in rows] != [Outcome.INDEXED]:
        told = f"{pool.postgres.address} has no delivery of job {job.id}"
        return problem(flight.checked("delivery"), told, "Look at: dropzone verify")
    return flight.arrived("delivery", "in Postgres ")


def _in_search(
    flight: _Flight, settings: Settings, pool: SessionPool, job: Job
) -> Diagnosis:
    search = Search(pool.postgres, make_embedder(settings.embedding.model))
    hits = search.search(flight.word, collection=job.collection, mode="text")
    if [hit.sha256 for hit in hits] != [job.sha256]:
        told = f"{len(hits)} passages hold its word, and one should"
        return problem(flight.checked("search"), told, "Look at: dropzone verify")
    return flight.arrived("search", "found ")


def _forget_others(zone: Zone, job: Job) -> Iterator[Diagnosis]:
    """Remove earlier canaries from ``processed/``; S3 and Postgres keep them."""
    folder = zone.path / "processed" / COLLECTION
    here = zone.path / "processed" / str(job.data.get("place", ""))
    try:
        for path in folder.glob("canary~*.txt"):
            if path != here and _is_canary(path):
                path.unlink()
    except OSError as error:
        told = f"earlier ones could not be removed: {error.strerror}"
        yield warning(f"canary in {zone.name}", told, f"Remove them from {folder}.")


def _is_canary(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
        return not path.is_symlink() and file.readline() == _FIRST_LINE
    return False
