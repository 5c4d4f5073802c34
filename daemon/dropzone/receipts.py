"""Receipts: one line for each finished job, append-only, each chained to the last.

A line is a JSON object; ``chain`` is the SHA-256 of the former line's ``chain`` and
this line without it. Files are ``state/receipts/YYYY-MM.jsonl``. The chain runs on
from file to file, so that a line that is changed, removed or added in the middle shows.
Whole months that retention dropped are stood for by ``anchor.json``, where the chain
goes on. The records of what retention removed (``state/removals``) are kept likewise.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropzone import fsops
from dropzone.errors import ConfigurationError, ServiceUnavailable, ZoneError

GENESIS = "0" * 64
#: Of a line. None has the key ``format`` yet; one that says more is of a newer version.
FORMAT = 1
_ANCHOR = "anchor.json"


@dataclass(frozen=True, slots=True)
class Position:
    """The end of what is known of the receipts: file, offset in bytes, chain."""

    file: str
    offset: int
    chain: str

    def dump(self) -> str:
        return json.dumps([self.file, self.offset, self.chain])

    @classmethod
    def load(cls, text: str | None) -> "Position":
        if text is None:
            return cls("", 0, GENESIS)
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the chain begins after its first months were dropped.

    ``position`` is the end of the last dropped file, ``receipts`` how many there were
    in all, ``until`` when the last of them was written. Of its last ``batch`` so many
    ``batch_files`` are among them.
    """

    position: Position
    receipts: int = 0
    until: float = 0.0
    batch: str = ""
    batch_files: int = 0

    @classmethod
    def of(cls, directory: Path) -> "Anchor":
        """Return the anchor of a folder of receipts; an empty one where none is.

        Raises:
            ZoneError: it cannot be read.

        """
        try:
            tree = json.loads((directory / _ANCHOR).read_bytes())
            return cls(Position(*tree.pop("position")), **tree)
        except FileNotFoundError:
            return cls(Position("", 0, GENESIS))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ZoneError(
                f"{directory / _ANCHOR} is damaged: the receipts cannot be held "
                "against it.",
                hint="Restore the file from a backup, then start again.",
            ) from error

    def save(self, directory: Path) -> None:
        """Write the anchor durably, in place of the former."""
        content = json.dumps(dataclasses.asdict(self) | {"position": self._place})
        aside = directory / f"{_ANCHOR}.new"
        with aside.open("w", encoding="ascii") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(directory / _ANCHOR)
        fsops.sync_directory(directory)

    @property
    def _place(self) -> list[str | int]:
        return [self.position.file, self.position.offset, self.position.chain]


class Receipts:
    """The receipts of a zone. One writer at a time: the zone's lock sees to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._directory_fd = os.open(directory, fsops.DIRECTORY)
        # Its name must outlive a power cut as its receipts do.
        fsops.sync_directory(directory.parent)
        self._fd: int | None = None
        self._end = Position("", 0, GENESIS)
        self._recovered = False

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        os.close(self._directory_fd)

    @property
    def end(self) -> Position:
        """Where the next receipt goes; valid after ``recover``."""
        return self._end

    def recover(self, known: Position) -> Iterator[dict[str, Any]]:
        """Yield the receipts behind ``known``; at the end all is ready to append.

        A torn last line is cut off: its append never returned, so nobody relied on it.

        Raises:
            ZoneError: the receipts do not continue where ``known`` ends.

        """
        known = _not_before(Anchor.of(self._directory).position, known)
        self._check_length(known)
        position = known
        for receipt, position in stream(self._directory, known):  # noqa: B007 the last
            yield receipt
        newest = max((path.name for path in files(self._directory)), default="")
        if newest > position.file:
            # Its first line was torn, so nothing in it counts.
            position = Position(newest, 0, position.chain)
        self._end = position
        if position.file:
            self._open(position.file)
            self._cut()
        self._recovered = True

    def append(self, receipts: Sequence[Mapping[str, Any]], month: str) -> Position:
        """Write receipts durably and return the new end. ``month`` is YYYY-MM.

        Raises:
            ServiceUnavailable: the disk does not take them (``disk``); none is written.

        """
        if not self._recovered:
            raise ZoneError("The receipts were not recovered before writing.")
        name = max(f"{month}.jsonl", self._end.file)
        try:
            # Here stands only what a failed append could not take back.
            self._cut()
            fd = self._fd
            if fd is None or name != self._end.file:
                fd = self._open(name)
                self._end = Position(name, 0, self._end.chain)
            lines, chain = _chained(receipts, self._end.chain)
            _write(fd, lines)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()
            raise ServiceUnavailable(
                "disk",
                f"Receipts cannot be written: {error.strerror}.",
                hint="Free space on the zone's disk, or mend its rights.",
            ) from error
        self._end = Position(name, self._end.offset + len(lines), chain)
        return self._end

    def _open(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o640, dir_fd=self._directory_fd)
        # Only now: while the new one fails, the former must stay what it is.
        former, self._fd = self._fd, fd
        if former is not None:
            os.close(former)
        os.fsync(self._directory_fd)
        return fd

    def _check_length(self, known: Position) -> None:
        try:
            size = os.stat(known.file, dir_fd=self._directory_fd).st_size
        except FileNotFoundError:
            # The months before an anchor are dropped.
            size = known.offset if known == self._anchored() else 0
        if known.file and size < known.offset:
            raise ZoneError(
                f"The receipts in {known.file} end at byte {size}, and {known.offset} "
                "bytes were written.",
                hint="Restore the file from a backup, then start again.",
            )

    def _anchored(self) -> Position:
        return Anchor.of(self._directory).position

    def _cut(self) -> None:
        if self._fd is not None and os.fstat(self._fd).st_size > self._end.offset:
            os.ftruncate(self._fd, self._end.offset)
            os.fsync(self._fd)


def stream(
    directory: Path, known: Position | None = None
) -> Iterator[tuple[dict[str, Any], Position]]:
    """Yield the receipts behind ``known``, each with the position after it.

    A last line that is still being written is left out.

    Raises:
        ZoneError: a receipt does not continue the chain.

    """
    position = _not_before(Anchor.of(directory).position, known)
    for path in files(directory):
        if path.name < position.file:
            continue
        start = position.offset if path.name == position.file else 0
        position = Position(path.name, start, position.chain)
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if line.endswith(b"\n"):
                    receipt = _checked(line, position)
                    end = position.offset + len(line)
                    position = Position(path.name, end, receipt["chain"])
                    yield receipt, position


def files(directory: Path) -> list[Path]:
    """Return the files of receipts that are there, in their order."""
    return sorted(directory.glob("*.jsonl"))


def _not_before(anchor: Position, known: Position | None) -> Position:
    """Return ``known``, unless that lies in what was dropped."""
    if known is None or known.file <= anchor.file:
        return anchor
    return known


def _write(fd: int, lines: bytes) -> None:
    done = 0
    while done < len(lines):
        done += os.write(fd, lines[done:])
    os.fsync(fd)


def _chained(receipts: Sequence[Mapping[str, Any]], chain: str) -> tuple[bytes, str]:
    lines = []
    for receipt in receipts:
        body = json.dumps(receipt, ensure_ascii=True, sort_keys=True)
        chain = link(chain, body)
        lines.append(body[:-1] + f', "chain": "{chain}"}}\n')
    return "".join(lines).encode("ascii"), chain


def link(chain: str, body: str) -> str:
    """Return the chain value of a receipt whose JSON without ``chain`` is ``body``."""
    return hashlib.sha256(f"{chain}\n{body}".encode("ascii")).hexdigest()


def _checked(line: bytes, position: Position) -> dict[str, Any]:
    try:
        receipt: dict[str, Any] = json.loads(line)
        chain = receipt["chain"]
        body = line.decode("ascii")[: -len(f', "chain": "{chain}"}}\n')] + "}"
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(position) from error
    if link(position.chain, body) != chain:
        raise _broken(position)
    if receipt.get("format", FORMAT) != FORMAT:
        raise ConfigurationError(
            f"The receipts in {position.file} were written by a newer dropzone "
            f"(format {receipt['format']}; this one knows {FORMAT}).",
            hint="Install that version or a later one.",
        )
    return receipt


def _broken(position: Position) -> ZoneError:
    return ZoneError(
        f"The receipts in {position.file} were changed at byte {position.offset}: "
        "the line there does not continue the chain.",
        hint="Restore the file from a backup, then start again.",
    )
