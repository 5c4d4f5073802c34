"""What ``dropzone run`` says on a terminal once files are being watched."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from dropzone.settings import Settings
from dropzone.text import display


def printer(settings: Settings) -> Callable[[], None]:
    """Return what prints where to drop files, how to search, and where runs are."""

    def tell() -> None:
        print("\n".join(lines(settings)), flush=True)

    return tell


def lines(settings: Settings) -> list[str]:
    folders = [display(bytes(zone.path / "input")) for zone in settings.zones]
    store = settings.mlflow.tracking_uri
    where = "its own server" if store else display(bytes(settings.mlflow_directory))
    command = called()
    return [
        *(f"Drop files into  {folder}" for folder in folders),
        f'Search           {command} search "some words"',
        f"State            {command} status",
        f"MLflow           {command} mlflow    (runs are kept in {where})",
        "Stop             Ctrl-C",
        "",
    ]


def called() -> str:
    """Return how to type the next command: as this one, unless it is on PATH."""
    this = Path(sys.argv[0])
    found = shutil.which("dropzone")
    if this.name != "dropzone" or (found and Path(found).samefile(this)):
        return "dropzone"
    return display(str(this))
