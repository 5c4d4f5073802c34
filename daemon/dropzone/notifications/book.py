"""What was told and what is still to be told: one small durable file for each zone."""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dropzone import fsops, log
from dropzone.notifications.gathering import Gathered
from dropzone.notifications.message import Message
from dropzone.notifications.pauses import Standing
from dropzone.receipts import Position

NAME = "notifications.json"
_VERSION = 1
# Days of an unreachable target; older ones are counted, not kept.
_MOST_WAITING = 100


@dataclass(slots=True)
class Waiting:
    """A message, and the keys of the targets that did not get it yet."""

    message: Message
    targets: list[str]


@dataclass(slots=True)
class Book:
    """How far the receipts are read, and what came of it. Written as a whole.

    What was read and not saved is read again after a crash; what was sent and not
    saved is sent again.
    """

    position: Position
    failures: Gathered = field(default_factory=Gathered)
    mended: Gathered = field(default_factory=Gathered)
    outcomes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    #: When the last summary was told.
    summed_up: float = 0.0
    standing: list[Standing] = field(default_factory=list)
    outbox: list[Waiting] = field(default_factory=list)
    #: How many messages were given up because too many waited.
    dropped: int = 0

    @classmethod
    def open(cls, state: Path, end: Position) -> Self:
        """Read the book of a zone; a new one begins at ``end`` of the receipts."""
        fresh = cls(end, summed_up=time.time())
        try:
            values = json.loads((state / NAME).read_text("utf-8"))
            return cls._load(values) if values["version"] == _VERSION else fresh
        except FileNotFoundError:
            return fresh
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.get("notifications").warning(
                "what was told is not known",
                file=str(state / NAME),
                reason=f"{type(error).__name__}: {error}",
                hint="Messages begin with what fails from now.",
            )
            return fresh

    @classmethod
    def _load(cls, values: Mapping[str, Any]) -> Self:
        kept = {k: v for k, v in values.items() if k != "version"}
        return cls(
            **kept
            | {
                "position": Position(**values["position"]),
                "failures": Gathered.load(values["failures"]),
                "mended": Gathered.load(values["mended"]),
                "standing": [Standing(**one) for one in values["standing"]],
                "outbox": [
                    Waiting(Message(**one["message"]), one["targets"])
                    for one in values["outbox"]
                ],
            }
        )

    def save(self, state: Path) -> None:
        """Write it durably: readers and crashes see the old one or the new one.

        Raises:
            OSError: the disk does not take it; the former one stays.

        """
        values = {"version": _VERSION, **dataclasses.asdict(self)}
        aside = f"{NAME}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with fsops.opened(os.open(state, fsops.DIRECTORY)) as directory:
            fd = os.open(aside, flags, 0o600, dir_fd=directory)
            with os.fdopen(fd, "wb") as file:
                file.write(json.dumps(values).encode())
                file.flush()
                os.fsync(fd)
            os.rename(aside, NAME, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    def post(self, message: Message, targets: list[str]) -> None:
        """Put a message where it waits for these targets."""
        self.outbox.append(Waiting(message, list(targets)))
        while len(self.outbox) > _MOST_WAITING:
            del self.outbox[0]
            self.dropped += 1

    def keep_only(self, targets: set[str]) -> None:
        """Forget what waits for targets that are not in the settings any more."""
        for waiting in self.outbox:
            waiting.targets = [key for key in waiting.targets if key in targets]
        self.outbox = [waiting for waiting in self.outbox if waiting.targets]
