"""The commands that take care of an installation: options, exit codes, printing."""

from pathlib import Path
from typing import Annotated

import typer

from dropzone.commands.command import PROBLEM
from dropzone.commands.options import Config, Json


def clean(
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only tell what would go, and what stays."),
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Remove what the section retention lets go, once it is proven to be stored.

    A running daemon does this by itself now and then. A file goes only after
    its object in S3, its document in Postgres, its receipt and its MLflow run
    were found. The exit code is 1 when something that is due has to stay.
    """
    from dropzone.commands import access, cleaning, output, render_care

    reports = cleaning.clean(access.settings(config), dry_run=dry_run)
    if as_json:
        output.print_json({"zones": reports})
    else:
        output.print_all(render_care.reports(reports))
    raise typer.Exit(PROBLEM if any(report.kept for report in reports) else 0)


def backup(
    target: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the backups lie.")
    ],
    *,
    processed: Annotated[
        bool,
        typer.Option(
            "--processed/--no-processed",
            help="With the files of processed/, which S3 holds too.",
        ),
    ] = True,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Keep the secrets of the settings file.")
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="Remove all but so many backups."),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a backup of everything dropzone owns; a daemon may go on meanwhile.

    FOLDER may hold many: each content is stored once, and what did not change
    is not read again. What is interrupted is no backup. Servers of your own
    (Postgres, S3, MLflow) are not in it, and are named.
    """
    from dropzone.backup import making
    from dropzone.commands import access, output, render_care

    loaded = access.loaded(config)
    options = making.Options(processed=processed, secrets=secrets, keep=keep)
    made = making.make(loaded, access.settings(config), target, options)
    if as_json:
        output.print_json(made)
    else:
        output.print_all(render_care.backed_up(made))


def restore(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the backups lie.")
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option("--backup", metavar="NAME", help="Which; else the youngest."),
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Only print its settings file.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Restore a backup to where the settings say; only into empty folders.

    The paths may be others than before. No daemon serves a zone that was only
    half restored.
    """
    from dropzone.backup import restoring
    from dropzone.commands import access, output, render_care

    if show_config:
        print(restoring.show_config(source, name).decode("utf-8"), end="")
        return
    done = restoring.restore(access.settings(config), source, name)
    if as_json:
        output.print_json(done)
    else:
        output.print_all(render_care.restored(done))
