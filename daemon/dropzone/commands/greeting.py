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
        *(f"Page             {url}" for url in page(settings)),
        f'Search           {command} search "some words"',
        f"State            {command} status",
        f"MLflow           {command} mlflow    (runs are kept in {where})",
        "Stop             Ctrl-C",
        "",
    ]


def page(settings: Settings) -> list[str]:
    """Return where the page is, unless only the running daemon can know."""
    web = settings.web
    if not web.enabled or not web.port:
        return []
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)  # noqa: S104 compared, not bound
    scheme = "https" if web.tls_certificate else "http"
    named = f"[{host}]" if ":" in host else host
    return [f"{scheme}://{named}:{web.port}{web.path_prefix}/"]


def called() -> str:
    """Return how to type the next command: as this one, unless it is on PATH."""
    this = Path(sys.argv[0])
    found = shutil.which("dropzone")
    if this.name != "dropzone" or (found and Path(found).samefile(this)):
        return "dropzone"
    return display(str(this))
