"""The group ``dropzone config``: options, and what is printed."""

import typer

from dropzone.commands.command import Command
from dropzone.commands.options import Config, Json

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.")


@app.command("check", cls=Command)
def check(*, config: Config = None, as_json: Json = False) -> None:
    """Check the configuration; the exit code is 2 when something is wrong."""
    from dropzone import config as configuration
    from dropzone.commands import output

    loaded = configuration.load(config)
    if as_json:
        output.print_json({"file": loaded.path, "settings_made": loaded.origins})
    else:
        file = output.shown(bytes(loaded.path)) if loaded.path else "No file is used"
        print(f"{file}: nothing is wrong ({len(loaded.origins)} settings made).")


@app.command("show", cls=Command)
def show(*, config: Config = None, as_json: Json = False) -> None:
    """Show every setting, its value and where it came from; secrets as stars."""
    from dropzone.commands import access, output

    settings = access.explained(config)
    if as_json:
        output.print_json({"settings": settings})
        return
    made = output.table("Setting", "Value", "From")
    for setting in settings:
        made.add_row(*output.cells(setting.key, setting.value, setting.where))
    output.print_all([made])
