"""The command line. Each command reads the settings, makes one call, and prints.

Nothing heavy is imported before a command needs it: help and completion stay fast.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dropzone import __version__
from dropzone.command import Command

app = typer.Typer(
    name="dropzone",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Drop a file into a folder; it is stored, made searchable, and tracked.",
    epilog="Exit codes: 0 fine, 1 a problem was found, 2 wrong use or configuration. "
    "With --json, stdout holds exactly one JSON document, also for an error.",
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="The configuration file. Otherwise DROPZONE_CONFIG, ./config.yaml or "
        "/etc/dropzone/config.yaml; without any, the defaults.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dropzone {__version__}")
        raise typer.Exit


@app.callback()
def dropzone(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Drop a file into a folder; it is stored, made searchable, and tracked."""


@app.command(cls=Command)
def run(
    *,
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="Process what is there, then end.")
    ] = False,
) -> None:
    """Watch the input folders and process every file that is dropped there.

    Ends at Ctrl-C or SIGTERM with 0; files under way go on at the next start. With
    --once the exit code is 1 when a file failed.
    """
    from dropzone import config as configuration
    from dropzone import greeting, log
    from dropzone.daemon import Daemon

    settings = configuration.load(config).settings
    log.configure(settings.log.level, settings.log.format)
    told = greeting.printer(settings) if sys.stdout.isatty() else None
    raise typer.Exit(Daemon(settings).run(once=once, ready=told))


def main() -> None:
    """Run the command line; never returns."""
    # A name that this terminal's encoding does not know must not end a command.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="dropzone")
