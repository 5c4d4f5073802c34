"""The parent's side of one parser process: start it, ask it, kill it, say why."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from dropzone import heartbeats
from dropzone.errors import (
    DocumentRejected,
    ParserDied,
    ServiceUnavailable,
    Stopping,
)
from dropzone.executor import frames
from dropzone.executor.frames import Parsed, ParseTask
from dropzone.text import display

_START_SECONDS = 30.0
_LOOK_AT_STOP_SECONDS = 0.25
_READ_BYTES = 1 << 20
_LAST_WORDS_BYTES = 65536
_LAST_WORDS_SHOWN = 200
_MEBIBYTE = 1 << 20
# Four bytes a character at worst, half as much again for the overlap, and the frame.
_HEADER_BYTES_PER_CHARACTER = 8
_MOST_VECTOR_BYTES = 512 * _MEBIBYTE
_OUT_OF_MEMORY = ("MemoryError", "memory allocation", "bad_alloc", "failed to map")

# Nothing of the daemon's environment reaches a parser: it holds the credentials.
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    # One thread and one arena each, or the address space is spent on reserves.
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKIO_WORKER_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


class _Ended(Exception):
    """The process closed its end or sent what no parser sends."""


class ParserProcess:
    """Not thread-safe but for ``kill``."""

    def __init__(self, memory_mb: int, timeout_seconds: float) -> None:
        self.files = 0
        self.limits = (memory_mb, timeout_seconds)
        self.alive = True
        self._ending = threading.Lock()
        self._last_words = ""
        self._memory_mb = memory_mb
        self._socket, theirs = socket.socketpair()
        self._stderr, stderr = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        arguments = (str(theirs.fileno()), str(memory_mb), str(timeout_seconds))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dropzone.executor.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                env={**_ENVIRONMENT, "PYTHONPATH": _module_path()},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._close()
            raise _cannot_start(str(error)) from error
        finally:
            theirs.close()
            os.close(stderr)
        self._socket.setblocking(False)

    def greet(self, is_stopping: Callable[[], bool]) -> str:
        """Wait until the process is ready; return how it is confined."""
        deadline = time.monotonic() + _START_SECONDS
        try:
            header, _ = self._answer(_MEBIBYTE, deadline, is_stopping)
            return str(header["isolation"])
        except (_Ended, OSError, KeyError) as error:
            self.end()
            raise _cannot_start(self._epitaph()) from error

    def parse(
        self, task: ParseTask, timeout: float, is_stopping: Callable[[], bool]
    ) -> Parsed:
        """Ask for one file; see ``ParserPool.parse`` for what is raised.

        After anything but an answer the process has been ended.
        """
        self.files += 1
        try:
            header, body = self._exchange(task, timeout, is_stopping)
        except BaseException:
            self.end()
            raise
        if "rejected" in header:
            raise DocumentRejected(str(header["rejected"]), hint=str(header["hint"]))
        if "failed" in header:
            raise ParserDied(f"The {task.doc_type} parser failed: {header['failed']}.")
        try:
            return frames.unpack_parsed(header, body)
        except (KeyError, TypeError, ValueError) as error:
            self.end()
            raise ParserDied("The parser's answer made no sense.") from error

    def has_hung_up(self) -> bool:
        """Tell whether an idle process is gone; it says nothing unless asked."""
        waiter = select.poll()
        waiter.register(self._socket, select.POLLIN)
        return bool(waiter.poll(0))

    def kill(self) -> None:
        """Kill it and whatever it started, from any thread; ``end`` must follow."""
        with self._ending:
            if self.alive:
                self._kill()

    def end(self) -> None:
        """Kill and reap it. May be called twice."""
        with self._ending:
            if self.alive:
                self.alive = False
                self._kill()
                self._process.wait()
                self._last_words += self._read_stderr()
                self._close()

    def _kill(self) -> None:
        # Not reaped yet, so the number is still its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _close(self) -> None:
        self._socket.close()
        os.close(self._stderr)

    def _exchange(
        self, task: ParseTask, timeout: float, is_stopping: Callable[[], bool]
    ) -> tuple[Mapping[str, Any], bytes]:
        most = _MEBIBYTE + _HEADER_BYTES_PER_CHARACTER * task.max_characters
        try:
            # Far smaller than the empty socket buffer: one send takes it whole.
            socket.send_fds(self._socket, frames.pack_task(task), [task.fd])
            answer = self._answer(most, time.monotonic() + timeout, is_stopping)
        except TimeoutError as error:
            raise ParserDied(
                f"The {task.doc_type} parser was stopped after {timeout:g} seconds.",
                hint="Raise extract.timeout_seconds if the file is worth it.",
            ) from error
        except (_Ended, OSError) as error:
            self.end()
            if is_stopping():
                raise Stopping("The parsers are stopping.") from error
            raise self._death(task.doc_type) from error
        self._last_words = self._read_stderr()
        return answer

    def _answer(
        self, most: int, deadline: float, is_stopping: Callable[[], bool]
    ) -> tuple[Mapping[str, Any], bytes]:
        def receive(count: int) -> bytes:
            return self._receive(count, deadline, is_stopping)

        header_bytes, body_bytes = frames.lengths(receive(frames.LENGTHS_BYTES))
        if header_bytes > most or body_bytes > _MOST_VECTOR_BYTES:
            raise ParserDied(
                f"The parser's answer is too big ({header_bytes // _MEBIBYTE} MiB of "
                f"{most // _MEBIBYTE}, vectors {body_bytes // _MEBIBYTE} MiB of "
                f"{_MOST_VECTOR_BYTES // _MEBIBYTE})."
            )
        try:
            header = json.loads(receive(header_bytes))
        except (ValueError, RecursionError) as error:
            raise _Ended from error
        if not isinstance(header, dict):
            raise _Ended
        return header, receive(body_bytes)

    def _receive(
        self, count: int, deadline: float, is_stopping: Callable[[], bool]
    ) -> bytes:
        parts = []
        waiter = select.poll()
        waiter.register(self._socket, select.POLLIN)
        while count:
            if is_stopping():
                raise Stopping("The parsers are stopping.")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            heartbeats.beat()
            if waiter.poll(1000 * min(left, _LOOK_AT_STOP_SECONDS)):
                part = self._socket.recv(min(count, _READ_BYTES))
                if not part:
                    raise _Ended
                parts.append(part)
                count -= len(part)
        return b"".join(parts)

    def _read_stderr(self) -> str:
        """Empty the pipe, so that a parser's warnings never fill it."""
        try:
            said = os.read(self._stderr, _LAST_WORDS_BYTES)
        except BlockingIOError:
            return ""
        return said.decode("utf-8", "replace")

    def _death(self, doc_type: str) -> ParserDied:
        if any(word in self._last_words for word in _OUT_OF_MEMORY):
            return ParserDied(
                f"The {doc_type} parser needs more than {self._memory_mb} MB.",
                hint="Raise extract.memory_mb if the file is worth it.",
            )
        return ParserDied(
            f"The {doc_type} parser crashed on this file ({self._epitaph()}); "
            f"its memory is limited to {self._memory_mb} MB.",
            hint="The file may be damaged, or need more than extract.memory_mb.",
        )

    def _epitaph(self) -> str:
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        lines = self._last_words.strip().splitlines()
        return f"{how}: {display(lines[-1][:_LAST_WORDS_SHOWN])}" if lines else how


def _module_path() -> str:
    return os.pathsep.join(map(os.path.abspath, sys.path))


def _cannot_start(reason: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "parser",
        f"A parser process cannot be started: {reason}.",
        hint="Raise extract.memory_mb, or see whether the host is out of memory.",
    )
