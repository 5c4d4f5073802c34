"""What installing a service does: steps that tell of themselves and do themselves."""

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dropzone.errors import DropzoneError, UsageError
from dropzone.text import display

# A zone that is read again after a crash, or whose disk is full, is long in starting.
_COMMAND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Write:
    """A file with this content; one that holds it already is left alone."""

    path: Path
    text: str

    @property
    def is_needed(self) -> bool:
        try:
            return self.path.read_text(encoding="utf-8") != self.text
        except (OSError, UnicodeDecodeError):
            return True

    def told(self) -> str:
        state = "" if self.is_needed else "  (as it is)"
        return f"write {display(bytes(self.path))}{state}"

    def do(self) -> None:
        if not self.is_needed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._replace()
        except OSError as error:
            raise UsageError(
                f"{display(bytes(self.path))} cannot be written: {error.strerror}.",
                hint="A file system that is read-only, or rights, are in the way.",
            ) from error

    def _replace(self) -> None:
        fd, aside = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with open(fd, "w", encoding="utf-8") as file:
                file.write(self.text)
                file.flush()
                os.fchmod(fd, 0o644)
                os.fsync(fd)
            os.replace(aside, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise


@dataclass(frozen=True, slots=True)
class Remove:
    """A file that must not be there; its folder goes too, once it is empty."""

    path: Path
    with_folder: bool = False

    def told(self) -> str:
        state = "" if self.path.exists() else "  (is not there)"
        return f"remove {display(bytes(self.path))}{state}"

    def do(self) -> None:
        self.path.unlink(missing_ok=True)
        if self.with_folder:
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """A folder of this user's."""

    path: Path

    def told(self) -> str:
        state = "  (is there)" if self.path.is_dir() else ""
        return f"make {display(bytes(self.path))}{state}"

    def do(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Run:
    """A command of systemd's; ``hint`` says what to do when it fails.

    ``reasons`` are commands of which the first that says anything says why it failed.
    """

    command: tuple[str, ...]
    hint: str
    may_fail: bool = False
    reasons: tuple[tuple[str, ...], ...] = ()

    def told(self) -> str:
        return f"run {' '.join(self.command)}"

    def do(self) -> None:
        """Run it.

        Raises:
            UsageError: it is not installed.
            DropzoneError: it failed, and said why.

        """
        try:
            done = subprocess.run(
                self.command,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_SECONDS,
            )
        except FileNotFoundError:
            raise UsageError(f"{self.command[0]} is not installed.") from None
        except subprocess.TimeoutExpired:
            raise DropzoneError(
                f"`{' '.join(self.command)}` is not over after {_COMMAND_SECONDS} s. "
                f"{self._reason()}".strip(),
                hint=f"It goes on by itself. {self.hint}".strip(),
            ) from None
        if done.returncode and not self.may_fail:
            said = (done.stderr or done.stdout).strip().splitlines()
            why = self._reason() or next(iter(said), f"exit code {done.returncode}")
            raise DropzoneError(
                f"`{' '.join(self.command)}` failed: {why}", hint=self.hint
            )

    def _reason(self) -> str:
        for command in self.reasons:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if lines := done.stdout.strip().splitlines():
                return lines[-1]
        return ""


Step = Write | Remove | MakeFolder | Run
