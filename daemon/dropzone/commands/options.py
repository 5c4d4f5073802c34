"""Options that several groups of commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The configuration file. Otherwise DROPZONE_CONFIG, ./config.yaml or "
        "/etc/dropzone/config.yaml; without any, the defaults.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text.")
]
