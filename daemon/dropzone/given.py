"""What a person says of a file, text by name: it travels with the file itself.

It lies in an extended attribute, which goes along with every rename.
"""

import errno
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from dropzone.errors import UsageError, ZoneError
from dropzone.text import display

ATTRIBUTE = "user.dropzone.metadata"
#: What all names and values may take together, as JSON in UTF-8.
MOST_BYTES = 2000
_NAME_MAX = 100
_UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})
_HINT = "Give short names and values, such as author: Ada."


def checked(mapping: Mapping[Any, Any]) -> dict[str, str]:
    """Return the names and values, once they are fit to be kept and shown.

    Raises:
        UsageError: a name or value is no printable text, or all is too long.

    """
    for name, value in mapping.items():
        if not _is_line(name) or not name.strip() or len(name) > _NAME_MAX:
            raise UsageError(
                f"{display(str(name)[:_NAME_MAX])!r} is no name for a piece of "
                f"metadata: it takes 1 to {_NAME_MAX} printable characters.",
                hint=_HINT,
            )
        if not _is_line(value):
            raise UsageError(
                f"The metadata {display(name)!r} is no single line of printable text.",
                hint=_HINT,
            )
    if len(_dumped(mapping)) > MOST_BYTES:
        raise UsageError(
            f"The metadata is longer than {MOST_BYTES} bytes in all.", hint=_HINT
        )
    return dict(mapping)


def parsed(words: Iterable[str]) -> dict[str, str]:
    """Return what ``name=value``, several times, mean.

    Raises:
        UsageError: one has no name or no sign between, or see ``checked``.

    """
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or name in found:
            wrong = "is given twice" if sign else "has no ="
            raise UsageError(
                f"The metadata {display(name)!r} {wrong}.",
                hint="Write for example: --metadata author=Ada --metadata year=1843.",
            )
        found[name] = value
    return checked(found)


def write(fd: int, mapping: Mapping[str, str]) -> None:
    """Keep this with an open file, instead of what was kept; nothing removes it.

    Raises:
        UsageError: see ``checked``.
        ZoneError: the file system keeps no extended attributes.
        OSError: the disk does not take it.

    """
    given = checked(mapping)
    try:
        if given:
            os.setxattr(fd, ATTRIBUTE, _dumped(given))
        else:
            os.removexattr(fd, ATTRIBUTE)
    except OSError as error:
        if error.errno == errno.ENODATA or (not given and error.errno in _UNSUPPORTED):
            return
        if error.errno in _UNSUPPORTED:
            raise ZoneError(
                "The zone's file system keeps no extended attributes, so no metadata "
                "can go with a file.",
                hint="Leave the metadata out, or move the zone to ext4, xfs or btrfs.",
            ) from error
        raise


def read(fd: int) -> dict[str, str]:
    """Return what is kept with an open file; nothing where there is none.

    Any program that may write the file may have set it.

    Raises:
        UsageError: it is not what ``write`` would have kept.
        OSError: the disk fails.

    """
    if (kept := raw(fd)) is None:
        return {}
    try:
        mapping = json.loads(kept) if len(kept) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        mapping = None
    if not isinstance(mapping, dict):
        raise UsageError(
            f"The attribute {ATTRIBUTE} holds no JSON object of at most {MOST_BYTES} "
            "bytes.",
            hint='It is text by name, such as {"author": "Ada"}.',
        )
    return checked(mapping)


def raw(fd: int) -> bytes | None:
    """Return what is kept with an open file as it is, None for nothing: for copies.

    Raises:
        OSError: the disk fails.

    """
    try:
        return os.getxattr(fd, ATTRIBUTE)
    except OSError as error:
        if error.errno == errno.ENODATA or error.errno in _UNSUPPORTED:
            return None
        raise


def put_back(fd: int, kept: bytes) -> None:
    """Keep with a copy what ``raw`` returned, where its file system can.

    Raises:
        OSError: the disk does not take it.

    """
    try:
        os.setxattr(fd, ATTRIBUTE, kept)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _dumped(mapping: Mapping[str, str]) -> bytes:
    return json.dumps(mapping, ensure_ascii=False).encode()


def _is_line(value: object) -> bool:
    # What is shown unchanged has no control, no surrogate and no direction mark.
    return isinstance(value, str) and display(value) == value
