"""The thread that cleans a zone now and then, gently, where a rule asks for it."""

import threading
import time
from collections.abc import Callable

from dropzone import heartbeats, log, threads
from dropzone.care.rules import Report
from dropzone.errors import DropzoneError, ServiceUnavailable, Stopping, ZoneHeld
from dropzone.gate import Gate
from dropzone.heartbeats import Heartbeats
from dropzone.text import display

#: After the start others have more urgent things to do.
_FIRST_SECONDS = 20.0
_LOOK_SECONDS = 2.0


class Caretaker:
    """One thread for one zone. While a service is down it waits behind its gate."""

    def __init__(
        self,
        clean: Callable[[], Report | None],
        gate: Gate,
        *,
        every: Callable[[], float],
        stop: threading.Event,
        broken: Callable[[BaseException], None],
    ) -> None:
        """``clean`` returns None while no rule is set; ``every`` is in seconds."""
        self._clean = clean
        self._gate = gate
        self._every = every
        self._stop = stop
        self._broken = broken
        self._told: tuple[object, ...] = ()
        self._log = log.get("caretaker")
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)

    def start(self, hearts: Heartbeats | None = None) -> None:
        self._hearts = hearts or Heartbeats()
        self._thread.start()

    def join(self, seconds: float) -> bool:
        return threads.end([self._thread], seconds)

    def _run(self) -> None:
        try:
            with self._hearts.loop("caretaker"):
                self._loop()
        except Stopping:
            return
        except Exception as error:  # noqa: BLE001 told to the daemon, which ends
            self._log.exception("cleaning failed")
            self._broken(error)

    def _loop(self) -> None:
        due = time.monotonic() + min(_FIRST_SECONDS, self._every())
        while not self._stop.wait(min(_LOOK_SECONDS, self._every())):
            heartbeats.beat()
            # The setting may have been changed since.
            due = min(due, time.monotonic() + self._every())
            if time.monotonic() >= due:
                self._gate.call(self._once)
                due = time.monotonic() + self._every()

    def _once(self) -> None:
        try:
            report = self._clean()
        except (Stopping, ServiceUnavailable):
            raise
        except ZoneHeld:
            # Somebody runs `dropzone clean`.
            return
        except DropzoneError as error:
            # Nothing is removed that cannot be proven; the files go on.
            self._tell("cannot clean", reason=error.message, what_to_do=error.hint)
            return
        if report is None:
            return
        if report.files or report.rows or report.months:
            self._log.info(
                "cleaned",
                zone=report.zone,
                files=report.files,
                bytes=report.bytes,
                journal_rows=report.rows,
                months_of_receipts=report.months,
            )
        if report.kept:
            first = report.kept[0]
            self._tell(
                "kept what is due",
                zone=report.zone,
                files=report.kept_files,
                first=display(first.path),
                reason=first.reason,
                what_to_do="dropzone clean --dry-run tells of each",
            )

    def _tell(self, event: str, **keys: object) -> None:
        """Log a warning once for as long as it stays the same."""
        told = (event, *keys.values())
        if told != self._told:
            self._told = told
            self._log.warning(event, **keys)
