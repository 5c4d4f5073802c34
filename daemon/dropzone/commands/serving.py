"""``dropzone run``: the daemon, what it says at its start, and its exit code."""

import faulthandler
import sys
from pathlib import Path

from dropzone import journald, log
from dropzone.commands import greeting
from dropzone.commands.command import tell
from dropzone.config_source import ConfigSource
from dropzone.daemon import Daemon, exit_code
from dropzone.errors import DropzoneError


def serve(config: Path | None, *, once: bool) -> int:
    """Run the daemon to its end; return the exit code."""
    # The watchdog of systemd kills by SIGABRT: where each thread was is worth knowing.
    faulthandler.enable()
    try:
        source = ConfigSource(config)
        settings = source.last.settings
        log.set_up(settings.log)
        told = greeting.printer(settings) if sys.stdout.isatty() else None
        return Daemon(source).run(once=once, ready=told)
    except DropzoneError as error:
        _complain(error)
        return exit_code(error)


def _complain(error: DropzoneError) -> None:
    if not journald.is_journal(sys.stderr):
        tell(error.message, error.hint, as_json=False)
        return
    # Wrong settings leave the log as it is before anybody sets it up.
    log.configure()
    log.get("daemon").critical(
        "cannot run", reason=error.message, what_to_do=error.hint or None
    )
