"""A name for a user who has none: containers run as any number that they are told."""

import os
import pwd
from pathlib import Path

from dropzone.embedded import files
from dropzone.errors import ServiceUnavailable

_LIBRARY = "libnss_wrapper.so"
_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


def environment(folder: Path) -> dict[str, str]:
    """Return what lets a program find this user's name; nothing if it has one.

    initdb refuses to run otherwise. The image of Postgres itself does the same.

    Raises:
        ServiceUnavailable: the library that this needs is not installed.

    """
    user, group = os.geteuid(), os.getegid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        pass
    else:
        return {}
    library = _library()
    if library is None:
        raise ServiceUnavailable(
            "postgres",
            f"User {user} has no name, and without one no Postgres can be made.",
            hint="Add the user to /etc/passwd, install libnss-wrapper, or name a "
            "server in postgres.url.",
        )
    people, groups = folder / "passwd", folder / "group"
    line = f"dropzone:x:{user}:{group}::{folder}:/bin/false\n"
    files.write_private(people, line.encode())
    files.write_private(groups, f"dropzone:x:{group}:\n".encode())
    return {
        "LD_PRELOAD": str(library),
        "NSS_WRAPPER_PASSWD": str(people),
        "NSS_WRAPPER_GROUP": str(groups),
    }


def _library() -> Path | None:
    for place in map(Path, _PLACES):
        # Debian keeps it below the name of the architecture.
        if found := [*place.glob(_LIBRARY), *place.glob(f"*/{_LIBRARY}")]:
            return found[0]
    return None
