"""Whom Postgres runs as, since it refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dropzone.embedded.process import Account
from dropzone.errors import ServiceUnavailable

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class RunAs:
    """What stands before the command, its account, and whom its files belong to."""

    prefix: tuple[str, ...]
    account: Account
    owner: Account


def choose(program: Path) -> RunAs:
    """Decide whom ``program`` runs as.

    In a user namespace of its own it sees itself as nobody while its files stay ours,
    so nobody else's directories need other modes. Many containers forbid that; then
    it runs as an existing account without privileges.
    """
    if os.geteuid() != 0:
        return RunAs((), Account(), Account())
    unshare = shutil.which("unshare")
    if unshare:
        user, group = f"--map-user={_NOBODY}", f"--map-group={_NOBODY}"
        prefix = (unshare, "--user", user, group, "--")
        if _works([*prefix, str(program), "--version"]):
            return RunAs(prefix, Account(), Account(0, 0))
    return _unprivileged()


def give(path: Path, owner: Account) -> None:
    """Let everything below ``path`` belong to ``owner``; nothing to do usually."""
    if owner.user is None or owner.group is None:
        return
    if path.lstat().st_uid == owner.user:
        return
    for folder, _, files in os.walk(path):
        for name in files:
            os.lchown(os.path.join(folder, name), owner.user, owner.group)
        if folder != str(path):
            os.lchown(folder, owner.user, owner.group)
    # Last, because its owner is what says that the work is done.
    os.lchown(path, owner.user, owner.group)


def _works(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, cwd="/")
    except OSError:
        return False
    return done.returncode == 0


def _unprivileged() -> RunAs:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(entry.pw_uid, entry.pw_gid)
        return RunAs((), account, account)
    raise ServiceUnavailable(
        "postgres",
        "Postgres does not run as root, and there is no account to run it as.",
        hint="Run the daemon as an ordinary user, or name a server in postgres.url.",
    )
