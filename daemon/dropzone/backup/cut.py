"""One state of a zone, taken while its daemon works.

The receipts as they are at one moment are the cut. What ended before it is copied
where it lies; whatever ended or was claimed after it goes into the backup as a file in
``state/work/JOB``, which is what a crash would have left: the restored daemon does it
again, and everything it does may be done twice.

So the order counts. The journal and the runs of MLflow come before the receipts (they
may only know of jobs that have one), Postgres and S3 after them. A file moves from
input/ over work/ to its end, so that is the order in which the folders are read; one
that is met twice counts where it was met last.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dropzone import receipts
from dropzone.backup.copying import Copied, Copier
from dropzone.backup.manifest import Entry
from dropzone.errors import ServiceUnavailable
from dropzone.places import unquoted
from dropzone.text import display

_TRIES = 5
#: What a person paused stays so.
_PAUSES = "pauses.json"
Receipt = dict[str, Any]


@dataclass(slots=True)
class ZoneCut:
    """The files of one zone, by their places in the backup."""

    name: str
    root: Path
    #: Where a file was met: device and inode to its place.
    met: dict[tuple[int, int], bytes] = field(default_factory=dict)
    entries: dict[bytes, Entry] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def below(self) -> bytes:
        return b"zones/" + self.name.encode()

    def place(self, *parts: str | bytes) -> bytes:
        return os.path.join(self.below, *(os.fsencode(part) for part in parts))

    def add(self, entry: Entry | None) -> None:
        if entry is not None:
            self.entries[entry.path] = entry

    def meet(self, copied: Copied) -> None:
        """Take a file in; at another place before, it is taken out there."""
        key = (copied.device, copied.entry.inode)
        before = self.met.get(key)
        if before is not None and before != copied.entry.path:
            self.entries.pop(before, None)
        self.met[key] = copied.entry.path
        self.entries[copied.entry.path] = copied.entry


class Cutter:
    """Takes the state of one zone in its two halves, before and after Postgres."""

    def __init__(self, cut: ZoneCut, copier: Copier, *, processed: bool) -> None:
        """Without ``processed`` the files of ``processed/`` are left to S3."""
        self._cut = cut
        self._copier = copier
        self._processed = processed
        self._jobs: set[str] = set()

    def take_receipts(self) -> None:
        """Copy the receipts: from here on, this is the cut."""
        directory = self._cut.root / "state" / "receipts"
        for _ in range(_TRIES):
            anchor = receipts.Anchor.of(directory)
            files = self._copy_lines(directory, "receipts")
            if receipts.Anchor.of(directory) == anchor:
                break
        else:
            raise ServiceUnavailable(
                "disk", f"The receipts in {directory} do not keep still; try again."
            )
        for entry in files:
            self._cut.add(entry)
        # Not what was written since then.
        ends = {os.path.basename(entry.path).decode(): entry.size for entry in files}
        self._jobs = {
            receipt["job"]
            for receipt, after in receipts.stream(directory)
            if after.offset <= ends.get(after.file, 0)
        }

    def take_ends(self) -> None:
        """Copy what lies at its end already."""
        areas = ("processed", "failed") if self._processed else ("failed",)
        for area in areas:
            self._tree(area, area)

    def take_ways(self) -> None:
        """Copy what is on its way, and bring back what ended since the cut."""
        self._tree("input", "input", quiet=True)
        self._tree("state/work", "state/work")
        directory = self._cut.root / "state" / "receipts"
        # Read to their end now: what is behind the cut was done after it.
        for receipt, _ in receipts.stream(directory):
            if receipt["job"] not in self._jobs:
                self._bring_back(receipt)
        self._tree("collections", "collections")
        place = self._cut.place("state", _PAUSES)
        self._cut.add(self._copier.file(self._cut.root / "state" / _PAUSES, place))
        for entry in self._copy_lines(
            self._cut.root / "state" / "removals", "removals"
        ):
            self._cut.add(entry)

    def _bring_back(self, receipt: Receipt) -> None:
        cut = self._cut
        place = unquoted(receipt["place"])
        work = cut.place("state/work", receipt["job"], unquoted(receipt["path"]))
        if reason := receipt.get("reason_file"):
            cut.entries.pop(cut.place("failed", reason), None)
        listed = cut.entries.pop(cut.place(receipt["area"], place), None)
        if work in cut.entries:
            return
        if listed is not None:
            cut.add(replace(listed, path=work))
            return
        copied = self._copier.at(cut.root / receipt["area"], place)
        if copied is not None:
            entry = replace(copied.entry, path=work)
            cut.meet(replace(copied, entry=entry))

    def _tree(self, below: str, place: str, *, quiet: bool = False) -> None:
        top = self._cut.root / below
        for found in self._copier.tree(top, self._cut.place(place), quiet=quiet):
            if isinstance(found, Copied):
                self._cut.meet(found)
            else:
                name = display(os.path.join(os.fsencode(below), found.path))
                self._cut.left_out.append(f"{self._cut.name}: {name} {found.reason}")

    def _copy_lines(self, directory: Path, name: str) -> list[Entry]:
        """Copy a folder of chained lines, each file up to its last whole line."""
        found: list[Entry | None] = []
        for path in [directory / "anchor.json", *receipts.files(directory)]:
            place = self._cut.place("state", name, path.name)
            whole = _whole_lines(path)
            found.append(self._copier.file(path, place, whole))
        return [entry for entry in found if entry is not None]


def _whole_lines(path: Path) -> int:
    """Return how many bytes of a file are whole lines."""
    try:
        with path.open("rb") as file:
            size = position = file.seek(0, os.SEEK_END)
            while position > 0:
                step = min(position, 1 << 16)
                position = file.seek(position - step)
                at = file.read(step).rfind(b"\n")
                if at >= 0:
                    return position + at + 1
            return 0 if size else size
    except FileNotFoundError:
        return 0
