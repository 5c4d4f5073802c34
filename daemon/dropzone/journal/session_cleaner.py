"""The thread that ends overdue and inactive sessions while others work."""

import threading
from collections.abc import Callable

from dropzone.journal.session_errors import SessionCleanupError


class Cleaner:
    """Calls ``clean`` every so many seconds until it is stopped."""

    def __init__(
        self, clean: Callable[[threading.Event], object], every: float
    ) -> None:
        self._clean = clean
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="sessions-cleaner", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the batch under way. Idempotent."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._clean(self._stop)
            except SessionCleanupError as error:
                failed(error)


def failed(error: SessionCleanupError) -> None:
    """Log that a clean-up failed; the next one goes on where it stopped."""
    # Imported here: whoever imports the package alone may never need it.
    from dropzone import log

    log.get("sessions").warning("clean-up failed", error=str(error), ended=error.ended)
