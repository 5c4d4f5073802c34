"""The group ``dropzone services``: options, and what is printed."""

import typer

from dropzone.commands.command import Command
from dropzone.commands.options import Config, Json

app = typer.Typer(no_args_is_help=True, help="The embedded Postgres and S3.")


@app.command("up", cls=Command)
def up(*, config: Config = None) -> None:
    """Start the embedded Postgres and S3, and leave them running."""
    from dropzone.commands import access, background

    print(background.up(access.settings(config)))


@app.command("down", cls=Command)
def down(*, config: Config = None) -> None:
    """Stop what 'services up' started; servers of a daemon end with it."""
    from dropzone.commands import access, background

    print(background.down(access.settings(config)))


@app.command("env", cls=Command)
def env(*, config: Config = None, as_json: Json = False) -> None:
    """Print how to reach the services, for: eval "$(dropzone services env)".

    The lines hold passwords. They name your own services where the
    configuration does.
    """
    from dropzone.commands import access, background, output, shells

    values = background.environment(access.settings(config))
    if as_json:
        output.print_json(values)
    else:
        print(shells.lines(values, shells.Shell.BASH))
