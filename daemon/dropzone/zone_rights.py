"""Whether this user may use a zone, asked before anything of it is made."""

import os
import shlex
from pathlib import Path

from dropzone.errors import ZoneNotOurs
from dropzone.text import display

_AREAS = ("input", "processed", "failed", "collections", "state")
_WRITTEN = (
    *("input", "processed", "failed", "state"),
    *("state/work", "state/incoming", "state/receipts", "state/services"),
)
_FILES = ("state/lock", "state/journal.sqlite")
_FULL, _READ_WRITE = os.R_OK | os.W_OK | os.X_OK, os.R_OK | os.W_OK
_OWNERS_ALL = 0o700
# Of Docker, of Podman (not with a read-only root), and of our own image.
_MARKS_OF_CONTAINERS = (
    *("/.dockerenv", "/run/.containerenv"),
    "/etc/dropzone/is-a-container",
)


def check(root: Path) -> None:
    """Pass if this user may write wherever the daemon has to.

    Raises:
        ZoneNotOurs: the message names what belongs to whom, the hint mends it.

    """
    complete = all((root / name).exists() for name in _AREAS)
    _check(root, root, _FULL if not complete else os.R_OK | os.X_OK)
    for name in _WRITTEN:
        _check(root, root / name, _FULL)
    for name in _FILES:
        _check(root, root / name, _READ_WRITE)


def in_container() -> bool:
    """Tell whether a container's runtime started us."""
    return any(Path(mark).exists() for mark in _MARKS_OF_CONTAINERS)


def _check(root: Path, path: Path, wanted: int) -> None:
    try:
        state = path.stat()
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except FileNotFoundError:
        if path == root:
            _check_parents(root)
        return
    except (NotADirectoryError, PermissionError):
        return  # told with its name by whoever opens it
    if read_only or os.access(path, wanted, effective_ids=True):
        return  # a read-only disk is waited for: it may be mounted again
    me = f"{os.geteuid()}:{os.getegid()}"
    raise ZoneNotOurs(
        f"User {me} may not write to {display(bytes(path))}, which belongs to "
        f"{state.st_uid}:{state.st_gid} with the mode {state.st_mode & 0o7777:o}.",
        hint=_hint(root, state, me),
    )


def _check_parents(root: Path) -> None:
    above = next((folder for folder in root.parents if _is_there(folder)), None)
    if above is not None:
        _check(above, above, os.W_OK | os.X_OK)


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except PermissionError:
        return False


def _hint(root: Path, state: os.stat_result, me: str) -> str:
    shown = shlex.quote(display(bytes(root)))
    owner = f"{state.st_uid}:{state.st_gid}"
    if state.st_uid == os.geteuid() and state.st_mode & _OWNERS_ALL == _OWNERS_ALL:
        return (
            "Not the mode forbids it but the system, such as SELinux: label the "
            "folder, or mount it into the container with :z."
        )
    if not in_container():
        other = f", or run the daemon as user {owner}" if state.st_uid else ""
        return f"As root: chown -R {me} {shown}{other}."
    give = f"give it the folder that is mounted at {shown}, on the host: chown -R {me}"
    if state.st_uid == 0:
        return f"{give[0].upper()}{give[1:]} FOLDER."
    return f"Start the container with --user {owner}, or {give} FOLDER."
