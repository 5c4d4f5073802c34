"""Why steps stand still: a fault, a window of time, or a person who wants it.

What persons want is kept in one small file in the zone's ``state``. It is changed by
commands, whether a daemon runs or not, and only read by the daemon, so that a pause
survives both. A pause with an end is over then, without anybody.
"""

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from dropzone import fsops
from dropzone.errors import ServiceUnavailable, ZoneError

#: The steps that may be paused, in the order of a file's way.
STEPS = ("claim", "store", "index", "release", "track")
NAME = "pauses.json"
_ASIDE = f".{NAME}.new"
_MOST_BYTES = 65_536


#: Who pauses a step on purpose, in place of a service: a person, a window of time.
PERSON, WINDOW = "person", "window"
WANTED = frozenset({PERSON, WINDOW})


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a step stands still: since when (epoch), what is wrong, what to do.

    ``next_probe`` is in monotonic seconds: a clock that is set must not hold a step.
    ``trying``: a probe succeeded, and the work is being tried again. A pause that is
    wanted, by a person (``by``) or by a window of time, may end at ``until`` (epoch).
    """

    step: str
    service: str
    since: float
    reason: str
    hint: str
    next_probe: float = 0.0
    trying: bool = False
    by: str = ""
    until: float | None = None

    @classmethod
    def of(cls, step: str, error: ServiceUnavailable, seconds: float = 1.0) -> Self:
        """Return the pause that begins now, with the first probe after ``seconds``."""
        next_probe = time.monotonic() + seconds
        return cls(
            step, error.service, time.time(), error.message, error.hint, next_probe
        )

    def told(self) -> dict[str, object]:
        """Return what ``status`` shows of it.

        ``tries_again_in_seconds`` is None for a pause that is wanted.
        """
        wait = max(0.0, self.next_probe - time.monotonic())
        return {
            "step": self.step,
            "service": self.service,
            "since": self.since,
            "reason": self.reason,
            "what_to_do": self.hint,
            "tries_again_in_seconds": None if self.wanted else round(wait, 1),
            "by": self.by,
            "until": self.until,
            "next": self.next,
        }

    @property
    def next(self) -> str:
        """Say what will happen, as a sentence; the time is that of this machine."""
        if self.until is not None:
            return f"It goes on by itself at {_clock(self.until)}."
        if self.service == PERSON:
            return "It stays paused until somebody resumes it."
        if self.service == WINDOW:
            return "It stays paused until the setting is changed."
        wait = math.ceil(self.next_probe - time.monotonic())
        if self.trying or wait <= 0:
            return "It is tried again just now."
        return f"It is tried again in {wait} s."

    @property
    def wanted(self) -> bool:
        """True when nothing is at fault: somebody wants the step to stand still."""
        return self.service in WANTED


@dataclass(frozen=True, slots=True)
class Held:
    """One paused step: by whom and why, since and until when (epoch; None: open)."""

    step: str
    by: str
    since: float
    until: float | None = None
    reason: str = ""

    @classmethod
    def load(cls, told: Mapping[str, Any]) -> Self:
        """Return what a file tells; raises ValueError when it makes no sense."""
        step, by, reason = (str(told[key]) for key in ("step", "by", "reason"))
        since = float(told["since"])
        until = None if told["until"] is None else float(told["until"])
        if step not in STEPS or not math.isfinite(since):
            raise ValueError(f"no such step or time: {step}, {since}")
        if until is not None and not math.isfinite(until):
            raise ValueError(f"no such time: {until}")
        return cls(step, by, since, until, reason)

    def pause(self) -> Pause:
        """Return it as the pause of its step."""
        return Pause(
            self.step,
            PERSON,
            self.since,
            self.reason or "It was paused on purpose.",
            f"To go on: dropzone resume --step {self.step}",
            by=self.by,
            until=self.until,
        )


class PausesDamaged(ZoneError):
    """The file cannot be read or makes no sense: a person must pause or resume anew."""


def read(root: Path, now: float | None = None) -> dict[str, Held]:
    """Return what is paused in the zone, by step.

    Raises:
        PausesDamaged: nobody can tell.

    """
    path = root / "state" / NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from error
    try:
        told = json.loads(content)
        held = [Held.load(one) for one in told["paused"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "it holds no list of pauses") from error
    return current({one.step: one for one in held}, now)


def current(held: Mapping[str, Held], now: float | None = None) -> dict[str, Held]:
    """Return those that are not over, in the order of the steps."""
    moment = time.time() if now is None else now
    return {
        step: held[step]
        for step in STEPS
        if step in held and ((until := held[step].until) is None or until > moment)
    }


def change(
    root: Path,
    edit: Callable[[dict[str, Held]], Mapping[str, Held]],
    *,
    replace_damaged: bool = False,
) -> None:
    """Put in place what ``edit`` makes of the pauses, durably; one at a time.

    Raises:
        PausesDamaged: what is there cannot be read, and is not to be replaced.
        ZoneError: the zone has no state yet, or this user may not write there.

    """
    state = root / "state"
    try:
        with fsops.opened(os.open(state, fsops.DIRECTORY)) as folder:
            # Held until it is closed; the daemon's lock is another file.
            fcntl.flock(folder, fcntl.LOCK_EX)
            try:
                before = read(root)
            except PausesDamaged:
                if not replace_damaged:
                    raise
                before = {}
            _write(folder, edit(before))
    except FileNotFoundError as error:
        raise ZoneError(
            f"There is no zone at {root} yet.",
            hint="Start it once with 'dropzone run', or make its folder state/ as the "
            "daemon's user.",
        ) from error
    except PermissionError as error:
        raise ZoneError(
            f"The state of the zone {root} belongs to another user.",
            hint="Run this as the daemon's user, or as root.",
        ) from error


def _write(folder: int, held: Mapping[str, Held]) -> None:
    told = {"paused": [asdict(one) for one in held.values()]}
    content = json.dumps(told, indent=1) + "\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with fsops.opened(os.open(_ASIDE, flags, 0o644, dir_fd=folder)) as fd:
        owner = os.fstat(folder)
        # Root may act for the daemon, who must be able to read it.
        with contextlib.suppress(PermissionError):
            os.fchown(fd, owner.st_uid, owner.st_gid)
        os.write(fd, content.encode())
        os.fsync(fd)
    os.rename(_ASIDE, NAME, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def _clock(moment: float) -> str:
    then, now = time.localtime(moment), time.localtime()
    is_today = then[:3] == now[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", then)


def _damaged(path: Path, why: str) -> PausesDamaged:
    return PausesDamaged(
        f"What is paused cannot be told: {path}: {why}.",
        hint="Run 'dropzone resume', which replaces it, and pause again what is to be "
        "paused. Until then the daemon keeps to what it knew.",
    )


class Pauses:
    """The pauses of one zone as its daemon sees them; used by one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looked: tuple[int, ...] | None = ()
        self._known: dict[str, Held] = {}
        #: What is wrong with the file, or None.
        self.problem: PausesDamaged | None = None

    def look(self) -> dict[str, Held]:
        """Return what is paused now. Cheap: the file is read when it has changed."""
        look = self._signature()
        if look != self._looked:
            self._looked = look
            try:
                self._known, self.problem = read(self._root), None
            except PausesDamaged as error:
                self.problem = error
        return current(self._known)

    def _signature(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self._root / "state" / NAME)
        except OSError:
            return None
        return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
