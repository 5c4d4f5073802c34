"""The commands that take care of an installation: options, exit codes, printing."""

from typing import Annotated

import typer

from dropzone.commands.command import PROBLEM, Command
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


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(cls=Command)(clean)
