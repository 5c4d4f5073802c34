"""The process that sends one message, and ends.

Apprise is 55 MB and a quarter of a second, and what it loads may hang or print
addresses: none of that is for the daemon. The request comes through stdin, where
nobody else sees the address.
"""

import base64
import contextlib
import http.client
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from dropzone import __version__
from dropzone.notifications.targets import masked
from dropzone.text import display

_TYPES = {"failures": "failure", "pauses": "warning", "recovery": "success"}
_LONGEST_REASON = 300


def main() -> int:
    """Read one request from stdin, do it, and print what became of it as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that print must not speak into the answer.
    answer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    _end_after(request["seconds"])
    begun = time.monotonic()
    try:
        problem = _done(request)
    except Exception as error:  # noqa: BLE001 foreign code; the daemon shows and retries
        problem = f"sending failed with {type(error).__name__}: {error}"
    problem = display(masked(problem, request["address"]))[:_LONGEST_REASON]
    told = {"problem": problem, "seconds": time.monotonic() - begun}
    answer.write(json.dumps(told).encode() + b"\n")
    return 0


def _end_after(seconds: float) -> None:
    """End with all that was started, should the daemon not be there to see to it."""
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(int(seconds) + 10)
    # Files come first.
    with contextlib.suppress(OSError):
        os.nice(10)


def _done(request: Mapping[str, Any]) -> str:
    """Return what went wrong; without a message only the address is looked at."""
    kind, message = request["kind"], request["message"]
    if kind == "command":
        return _command(request["command"], message, request["seconds"])
    if kind == "webhook":
        return _webhook(request["address"], message, request["seconds"])
    return _apprise(request["address"], message)


def _command(
    command: Sequence[str], message: Mapping[str, Any] | None, seconds: float
) -> str:
    if shutil.which(command[0]) is None:
        return "there is no such program, or it may not be run"
    if message is None:
        return ""
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(message).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end in {seconds:g} s"
    except OSError as error:
        return f"it cannot be run: {error.strerror}"
    if not ended.returncode:
        return ""
    said = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    told = f"it ended with {ended.returncode}"
    return f"{told}: {said}" if said else told


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is led elsewhere arrives as a GET without content."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _webhook(address: str, message: Mapping[str, Any] | None, seconds: float) -> str:
    if message is None:
        return ""
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(_post(address, message), timeout=seconds) as answer:
            answer.read(1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _reason(error, seconds)
    return ""


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        told = f"it answers {error.code} {error.reason}"
        elsewhere = " and leads elsewhere: name the address it leads to"
        return told + (elsewhere if error.code in range(300, 400) else "")
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"it gives no answer in {seconds:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return f"it cannot be reached: {cause.strerror}"
    return f"it cannot be reached: {type(error).__name__}: {cause}"


def _post(address: str, message: Mapping[str, Any]) -> urllib.request.Request:
    parts = urlsplit(address)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"dropzone/{__version__}",
    }
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        coded = base64.b64encode(login.encode()).decode("ascii")
        headers["Authorization"] = f"Basic {coded}"
    place = parts.netloc.rpartition("@")[2]
    # The settings take http and https only.
    return urllib.request.Request(  # noqa: S310
        urlunsplit(parts._replace(netloc=place, fragment="")),
        data=json.dumps(message).encode(),
        headers=headers,
        method="POST",
    )


def _captured(capture: Any) -> Any:
    """Return what gives the warnings of Apprise in place of any reason."""
    return capture(level=logging.WARNING, fmt="%(message)s")


def _apprise(address: str, message: Mapping[str, Any] | None) -> str:
    import apprise

    # Nothing is kept on the disk, where what a service handed out would lie.
    asset = apprise.AppriseAsset(
        app_id="dropzone", app_desc="dropzone", async_mode=False, storage_mode="memory"
    )
    service = apprise.Apprise(asset=asset)
    with _captured(apprise.LogCapture) as said:
        if not service.add(address):
            return "Apprise does not understand the address"
        if message is None:
            return ""
        taken = service.notify(
            title=message["title"],
            body=message["text"],
            notify_type=_TYPES.get(message["kind"], "info"),
            body_format="text",
        )
        reason = said.getvalue().strip().rpartition("\n")[2]
    return "" if taken else reason or "Apprise could not send it and gives no reason"


if __name__ == "__main__":
    sys.exit(main())
