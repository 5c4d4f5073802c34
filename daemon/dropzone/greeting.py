"""What ``dropzone run`` says on a terminal once files are being watched."""

from collections.abc import Callable

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
    return [
        *(f"Drop files into  {folder}" for folder in folders),
        'Search           dropzone search "some words"',
        "State            dropzone status",
        f"MLflow           dropzone mlflow    (runs are kept in {where})",
        "Stop             Ctrl-C",
        "",
    ]
