"""The command ``add``: puts files in, shows the progress, and waits when asked to."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from dropzone import disk, given, status
from dropzone.commands import access, gather, output, render
from dropzone.commands.command import PROBLEM
from dropzone.commands.follow import Ended, Follower
from dropzone.commands.gather import LeftOut
from dropzone.errors import ZoneError
from dropzone.put import Placed, Putter, Source
from dropzone.readiness import NameFilter
from dropzone.settings import Zone
from dropzone.text import display


def add(
    paths: Sequence[Path],
    *,
    collection: str | None,
    zone: str | None,
    wait: bool,
    metadata: Sequence[str],
    config: Path | None,
    as_json: bool,
) -> int:
    """Do the whole command; return its exit code."""
    chosen = access.zone_named(access.settings(config), zone)
    described = given.parsed(metadata)
    names = NameFilter(chosen.ignore)
    below = gather.collection(collection, names) if collection is not None else b""
    sources, left = gather.files(paths, below, chosen.path, names)
    served = status.server_of(chosen.path) is not None
    if wait and not served:
        raise ZoneError(
            "No daemon serves this zone, so there is nothing to wait for.",
            hint="Start it with 'dropzone run', or leave out --wait.",
        )
    since = time.time()
    with _progress(as_json=as_json) as progress:
        placed = list(_put(chosen.path, sources, left, progress, described))
        ended = list(_ends(chosen, placed, since, progress)) if wait else []
    _print(_Result(chosen.name, served, placed, left, ended), as_json=as_json)
    bad = any(not item.temporary for item in left)
    return PROBLEM if bad or not all(end.fine for end in ended) else 0


@dataclass(frozen=True, slots=True)
class _Result:
    zone: str
    daemon_running: bool
    added: Sequence[Placed]
    left_out: Sequence[LeftOut]
    ended: Sequence[Ended]


def _put(
    root: Path,
    sources: Sequence[Source],
    left: list[LeftOut],
    progress: Progress,
    metadata: Mapping[str, str],
) -> Iterator[Placed]:
    """Put the files in; what cannot be read is left out."""
    total = sum(source.size for source in sources)
    task = progress.add_task("Adding", total=total)
    with Putter(root, metadata) as putter:
        for source in sources:
            try:
                yield putter.put(source, lambda size: progress.advance(task, size))
            except OSError as error:
                if error.errno in disk.ERRORS:
                    raise
                reason = error.strerror or type(error).__name__
                left.append(LeftOut(source.file, f"cannot be added: {reason}"))


def _ends(
    zone: Zone, placed: Sequence[Placed], since: float, progress: Progress
) -> Iterator[Ended]:
    task = progress.add_task("Processing", total=len(placed))
    follower = Follower(zone.path, since=since)

    def still_served() -> bool:
        _tell_pause(zone.path, progress, task)
        return status.server_of(zone.path) is not None

    try:
        for end in follower.ends(placed, still_served):
            progress.advance(task)
            yield end
    finally:
        follower.close()


def _tell_pause(root: Path, progress: Progress, task: TaskID) -> None:
    paused = status.report_of(root).get("paused", [])
    told = "Processing"
    if paused:
        told = f"Paused ({display(paused[0]['reason'])})"
    progress.update(task, description=told)


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Progress]:
    # On stderr, so that a table or a JSON document can be piped on.
    shown = output.console(stderr=True)
    hidden = as_json or not shown.is_terminal
    with Progress(console=shown, transient=True, disable=hidden) as progress:
        yield progress


def _print(result: _Result, *, as_json: bool) -> None:
    if as_json:
        output.print_json(result)
        return
    output.print_all(render.added(result.added, result.left_out, result.ended))
    if not result.daemon_running:
        print("No daemon is running; start it with: dropzone run")
