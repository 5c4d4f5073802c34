"""What may be uploaded: bytes, the file at a path, or a binary stream."""

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO, TypeAlias, cast

from dropzone.sessions.objects import PART_SIZE, FileDigest, digest

Source: TypeAlias = bytes | bytearray | memoryview | PathLike[str] | BinaryIO
#: Small content as bytes; else a real file and what is in it.
Content: TypeAlias = bytes | tuple[BinaryIO, FileDigest]
_BLOCK = 1 << 20


@contextmanager
def opened(source: Source) -> Iterator[Content]:
    """Lend the content of ``source``; a stream is read from where it stands.

    Raises:
        TypeError: it is none of the three; text is neither a path nor content.
        OSError: the file cannot be read.

    """
    if isinstance(source, bytes) and len(source) < PART_SIZE:
        yield source
        return
    if isinstance(source, PathLike):
        with open(source, "rb", buffering=0) as file:
            yield _of_file(cast("BinaryIO", file))
        return
    stream = _stream_of(source)
    if whole := _plain_file(stream):
        with whole:
            yield _of_file(cast("BinaryIO", whole))
            stream.seek(0, os.SEEK_END)
        return
    first = _read(stream, PART_SIZE)
    if len(first) < PART_SIZE:
        yield first
        return
    with tempfile.TemporaryFile(buffering=0) as spool:
        copy = cast("BinaryIO", spool)
        copy.write(first)
        del first
        shutil.copyfileobj(stream, copy, _BLOCK)
        yield copy, digest(copy)


def _stream_of(source: object) -> BinaryIO:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, io.TextIOBase) or not hasattr(source, "read"):
        raise TypeError(
            "An upload takes bytes, a pathlib.Path or a binary stream, "
            f"not {type(source).__name__}."
        )
    return cast("BinaryIO", source)


def _of_file(file: BinaryIO) -> Content:
    size = os.fstat(file.fileno()).st_size
    if size < PART_SIZE:
        data = _read(file, PART_SIZE)
        if len(data) < PART_SIZE:
            return data
    return file, digest(file)


def _plain_file(stream: BinaryIO) -> io.FileIO | None:
    """Return the file behind a stream that stands at the start of one, if it does."""
    try:
        descriptor = stream.fileno()
        if stream.tell() or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
    except (OSError, AttributeError, io.UnsupportedOperation):
        return None
    return io.FileIO(descriptor, closefd=False)


def _read(stream: BinaryIO, most: int) -> bytes:
    """Return so many bytes, fewer only at the end: one read may come short."""
    blocks = []
    while most and (block := stream.read(min(most, _BLOCK))):
        blocks.append(block)
        most -= len(block)
    return b"".join(blocks)
