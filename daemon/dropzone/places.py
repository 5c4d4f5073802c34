"""How the names of archived files follow from the dropped path. Pure."""

import os
from urllib.parse import unquote_to_bytes

from dropzone.text import display

NAME_MAX = 255


def collection_of(path: bytes) -> str:
    """Return the collection of a path below ``input/``: its first folder, shown."""
    first, slash, _ = path.partition(b"/")
    return display(first) if slash else "default"


def with_mark(path: bytes, job_id: str) -> bytes:
    """Return the path with the end of the job's id before the extension."""
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    mark = b"~" + job_id[-12:].encode()
    extension = extension[-32:]
    stem = stem[: NAME_MAX - len(mark) - len(extension)]
    return os.path.join(folder, stem + mark + extension)


def beside(path: bytes, suffix: bytes, job_id: str) -> bytes:
    """Return the path of a file beside ``path`` that adds a suffix to its name."""
    folder, name = os.path.split(path)
    if len(name) + len(suffix) > NAME_MAX:
        mark = b"~" + job_id[-12:].encode()
        name = name[: NAME_MAX - len(suffix) - len(mark)] + mark
    return os.path.join(folder, name + suffix)


def unquoted(text: str) -> bytes:
    """Return the path that ``urllib.parse.quote`` made ``text`` of."""
    return unquote_to_bytes(text)
