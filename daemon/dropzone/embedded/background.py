"""The servers on their own: a process in the background that holds them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import dropzone
from dropzone import secret_sources
from dropzone.embedded import files, record
from dropzone.embedded.record import Role, ServiceAddresses
from dropzone.errors import ServiceUnavailable, UsageError, ZoneError

# The shell ends at once, so the holder is nobody's child here and never our zombie.
_DETACHED = '"$@" &'
_STOP_SECONDS = 40.0


def start_background(
    directory: Path,
    *,
    postgres: bool = True,
    s3: bool = True,
    s3_port: int = 0,
    fast_init: bool = False,
) -> ServiceAddresses:
    """Return when the servers run, held by a process that outlives this one.

    Servers that run already are left with their owner.

    Raises:
        ServiceUnavailable: a server would not start.
        ZoneError: the directory cannot be used by this user.

    """
    directory = directory.resolve()
    files.make_directory(directory)
    found = record.running(directory)
    if found is None:
        flags = {"--no-postgres": not postgres, "--no-s3": not s3, "--fast": fast_init}
        chosen = [flag for flag, is_set in flags.items() if is_set]
        _start_holder(directory, [*chosen, f"--s3-port={s3_port}"])
        found = record.running(directory)
    if found is None:
        raise _vanished(directory)
    return record.select(found, postgres=postgres, s3=s3)


def stop_background(directory: Path) -> bool:
    """End the holder and its servers; returns False if nothing runs.

    Raises:
        UsageError: the servers belong to a daemon, not to a holder.
        ServiceUnavailable: the holder does not end.

    """
    directory = directory.resolve()
    if not files.is_locked(record.lock_path(directory)):
        return False
    owner = record.read(directory).owner
    if owner is None or not owner.identity.alive:
        raise UsageError(
            f"The servers in {directory} are being started or stopped just now.",
            hint="Try again in a moment.",
        )
    if owner.role is not Role.HOLDER:
        raise UsageError(
            f"The servers in {directory} belong to process {owner.identity.pid}, which"
            " needs them for its own work.",
            hint="Stop that process; its servers end with it.",
        )
    if not owner.identity.end(signal.SIGTERM, _STOP_SECONDS):
        raise ServiceUnavailable(
            "postgres",
            f"Process {owner.identity.pid} did not end within {_STOP_SECONDS:.0f} s.",
            hint=f"Its log is {directory / 'holder.log'}.",
        )
    return True


def _start_holder(directory: Path, flags: list[str]) -> None:
    module = [sys.executable, "-P", "-m", "dropzone.embedded.holder"]
    # A bare checkout is not on the path of a new interpreter.
    root = str(Path(dropzone.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with files.open_log(directory / "holder.log") as log:
        done = subprocess.run(
            ["/bin/sh", "-c", _DETACHED, "sh", *module, *flags, "--", str(directory)],
            stdin=subprocess.DEVNULL,
            # Read to its end, which comes when the holder is ready or has died.
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env={**secret_sources.without_secrets(os.environ), "PYTHONPATH": path},
            start_new_session=True,
            check=True,
        )
    if not done.stdout:
        raise _vanished(directory)
    report = json.loads(done.stdout)
    if error := report["error"]:
        raise _as_error(**error)


def _as_error(service: str, message: str, hint: str) -> Exception:
    if service:
        return ServiceUnavailable(service, message, hint=hint)
    return ZoneError(message, hint=hint)


def _vanished(directory: Path) -> ServiceUnavailable:
    path = directory / "holder.log"
    said = files.last_lines(path) or "nothing"
    return ServiceUnavailable(
        "postgres",
        f"The process that holds the embedded servers ended. It said:\n{said}",
        hint=f"The whole log is {path}.",
    )
