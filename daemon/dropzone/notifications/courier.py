"""Sends messages, each by a process of its own, side by side and within a time."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dropzone import secret_sources
from dropzone.notifications.message import Message
from dropzone.notifications.targets import Target

# Beside the target's own time: to start Python and Apprise on a busy machine.
_START_SECONDS = 20.0
# A message that is just being sent may arrive before the daemon ends.
_STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for one target; None: only see whether the target is understood."""

    target: Target
    message: Message | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a parcel: ``problem`` is empty when it arrived."""

    problem: str
    seconds: float


def deliver(
    parcels: Sequence[Parcel], seconds: float, stop: threading.Event
) -> list[Delivery]:
    """Send everything, each within ``seconds``; one that hangs holds up no other."""
    begun = time.monotonic()
    until = begun + seconds + _START_SECONDS
    children = [_Child(parcel, seconds) for parcel in parcels]
    try:
        while [child for child in children if child.look()]:
            if stop.is_set():
                until = min(until, time.monotonic() + _STOP_SECONDS)
            if time.monotonic() >= until:
                break
    finally:
        for child in children:
            child.end()
    return [child.delivery(time.monotonic() - begun) for child in children]


class _Child:
    def __init__(self, parcel: Parcel, seconds: float) -> None:
        target, message = parcel.target, parcel.message
        self._limit = seconds
        request = {
            "kind": target.kind,
            "address": target.address,
            "command": list(target.command),
            "message": None if message is None else message.told(),
            "seconds": seconds,
        }
        self._request: bytes | None = json.dumps(request).encode()
        self._answer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dropzone.notifications.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A library that prints may print an address.
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=secret_sources.without_secrets(os.environ),
        )

    def look(self) -> bool:
        """Take what the child says; True while it works."""
        if self._process.returncode is not None:
            return False
        try:
            self._answer, _ = self._process.communicate(self._request, timeout=0.05)
        except subprocess.TimeoutExpired:
            # What is not written yet stays with the process.
            self._request = None
            return True
        return False

    def end(self) -> None:
        """End the child and, unless the message arrived, what it started."""
        if self._process.poll() is None or self.delivery(0).problem:
            # Its group lives on while anybody of it does.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def delivery(self, seconds: float) -> Delivery:
        try:
            answer = json.loads(self._answer)
        except ValueError:
            if self._process.returncode == -signal.SIGKILL:
                return Delivery(f"it gives no answer in {self._limit:g} s", seconds)
            code = self._process.returncode
            return Delivery(f"the process that sends ended with {code}", seconds)
        return Delivery(answer["problem"], answer["seconds"])
