"""Ending threads within a time limit."""

import threading
import time
from collections.abc import Iterable


def end(threads: Iterable[threading.Thread], seconds: float) -> bool:
    """Wait for threads, together no longer than that; False if one still works.

    A thread that was never started counts as ended.
    """
    until = time.monotonic() + seconds
    started = [thread for thread in threads if thread.ident is not None]
    for thread in started:
        thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() for thread in started)
