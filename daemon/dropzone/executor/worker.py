"""The parser process: confines itself, then answers one task after the other.

Started by ``executor.process`` as ``python -m dropzone.executor.worker``; ends when
its socket does, so it never outlives the daemon.
"""

import contextlib
import math
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

from dropzone import chunk, extract
from dropzone.embed import Embedder, make_embedder
from dropzone.errors import DocumentRejected
from dropzone.executor import frames
from dropzone.executor.frames import Parsed, ParseTask
from dropzone.extract import sandbox
from dropzone.text import display

_MEBIBYTE = 1 << 20
_OPEN_FILES = 64
_OOM_SCORE = b"900"
_NICENESS = 5
_TASK_BYTES = 65536
_SPARE_SECONDS = 5
_SHOWN = 300

_embedders: dict[str, Embedder] = {}


def main(arguments: list[str]) -> None:
    descriptor, memory_mb, timeout = arguments
    own = socket.socket(fileno=int(descriptor))
    _limit(int(memory_mb))
    isolation = sandbox.lock_down()
    # A thread sees the daemon die at once, unless a parser holds the interpreter;
    # then the alarm ends it.
    threading.Thread(target=_die_with, args=(own.fileno(),), daemon=True).start()
    _send(own, frames.pack({"isolation": isolation}))
    _serve(own, math.ceil(float(timeout)) + _SPARE_SECONDS)


def parse(task: ParseTask) -> Parsed:
    """Read, cut and embed one document; what the process is for."""
    begun = time.monotonic()
    data = _read(task.fd)
    found = extract.read(data, task.doc_type, task.max_characters)
    del data
    chunks = chunk.split(found.blocks, task.chunk_characters, task.chunk_overlap)
    cut = time.monotonic()
    if task.model not in _embedders:
        _embedders[task.model] = make_embedder(task.model)
    embedder = _embedders[task.model]
    vectors = embedder.embed_documents([piece.text for piece in chunks])
    return Parsed(
        chunks=tuple(chunks),
        vectors=vectors.astype("<f2").tobytes(),
        dims=embedder.dims,
        metadata=found.metadata,
        notes=found.notes,
        characters=sum(len(block.text) for block in found.blocks),
        seconds={"extract": cut - begun, "embed": time.monotonic() - cut},
    )


def answer(task: ParseTask) -> list[bytes]:
    """Return the frame for ``task``: the document, or why there is none."""
    try:
        return frames.pack_parsed(parse(task))
    except DocumentRejected as error:
        return frames.pack({"rejected": error.message, "hint": error.hint})
    except (MemoryError, ImportError):
        # A library that cannot be mapped is short of memory too: start afresh.
        raise
    except Exception as error:  # noqa: BLE001 - whatever a parser raises is its answer
        told = display(f"{type(error).__name__}: {error}"[:_SHOWN])
        return frames.pack({"failed": told})


def _serve(own: socket.socket, seconds: int) -> None:
    while task := _next_task(own):
        signal.alarm(seconds)
        _limit_processor_time(seconds)
        try:
            _send(own, answer(task))
        finally:
            os.close(task.fd)
        signal.alarm(0)


def _next_task(own: socket.socket) -> ParseTask | None:
    """Return the next task with its open file; None when the daemon is gone."""
    message, fds, _, _ = socket.recv_fds(own, _TASK_BYTES, 1)
    if not message:
        return None
    header_bytes, _ = frames.lengths(message[: frames.LENGTHS_BYTES])
    header = message[frames.LENGTHS_BYTES :]
    while len(header) < header_bytes:
        header += own.recv(header_bytes - len(header))
    return frames.unpack_task(header, fds[0])


def _send(own: socket.socket, buffers: list[bytes]) -> None:
    for buffer in buffers:
        own.sendall(buffer)


def _read(fd: int) -> bytes:
    # By position: the offset of the open file is shared with the daemon.
    size = os.fstat(fd).st_size
    parts = []
    at = 0
    while at < size and (part := os.pread(fd, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _limit(memory_mb: int) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, memory_mb * _MEBIBYTE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        resource.setrlimit(kind, (most, most))
    # Refused in some containers; then the kernel picks its victim without our advice.
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:
        score.write(_OOM_SCORE)


def _limit_processor_time(seconds: int) -> None:
    # Of all threads together, for this file; the daemon's clock does not see that.
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _die_with(descriptor: int) -> NoReturn:
    waiter = select.poll()
    waiter.register(descriptor, select.POLLRDHUP)
    while not waiter.poll():
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
