"""Being process 1 of a container: hand on its signals, and reap what nobody waits for.

The kernel gives every orphan of a container to its process 1, and drops the signals
for which that one has no handler.
"""

import contextlib
import os
import signal
import time

_HANDED_ON = frozenset(
    {
        *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
    }
)
#: How long the servers of a program that was killed have to stop in order. They end by
#: themselves; what is left after this, the kernel ends with process 1.
_PATIENCE_SECONDS = 5.0


def take_over() -> None:
    """Go on in a child if this is process 1, which then only looks after it.

    Must be called before there are threads. The container ends with the child, with
    its exit code, or 128 and the number of the signal that ended it.
    """
    if os.getpid() != 1:
        return
    watched = {*_HANDED_ON, signal.SIGCHLD}
    # Blocked they wait for us, also those that come before the child has handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        _lead_the_terminal()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os._exit(_look_after(child, watched))


def _lead_the_terminal() -> None:
    """Let Ctrl-C reach this process from the terminal alone, not from us as well."""
    os.setpgid(0, 0)
    if not os.isatty(0):
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # A terminal that is not the one that controls us sends no signals.
    with contextlib.suppress(OSError):
        os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, before)


def _look_after(child: int, watched: set[signal.Signals]) -> int:
    code: int | None = None
    while code is None:
        number = signal.sigwaitinfo(watched).si_signo
        if number == signal.SIGCHLD:
            code = _reap(child)
        else:
            # Not reaped yet, so the number is still its own.
            os.kill(child, number)
    until = time.monotonic() + _PATIENCE_SECONDS
    while _any_left() and (left := until - time.monotonic()) > 0:
        signal.sigtimedwait(watched, left)
    return code


def _reap(child: int) -> int | None:
    """Reap all that have ended; return the exit code of ``child`` if it was there."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
    return 128 - code if code is not None and code < 0 else code


def _any_left() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
