"""The group ``dropzone credentials``: options, exit codes, and what is printed."""

import sys
from typing import Annotated

import typer

from dropzone.commands.command import PROBLEM, Command
from dropzone.commands.options import Config, Json
from dropzone.commands.shells import Shell

app = typer.Typer(
    no_args_is_help=True,
    help="Where the credentials come from, what they allow, and how to pass them on.",
)


@app.command("show", cls=Command)
def show(*, config: Config = None, as_json: Json = False) -> None:
    """Tell for each service which source won, and why each other one did not.

    No secret is shown. STS, SSO or a metadata server is asked where it gives
    the AWS keys. The exit code is 1 when a service has none.
    """
    from dropzone.commands import access, credentials, output, render_credentials

    found = credentials.show(access.loaded(config))
    if as_json:
        output.print_json({"credentials": found})
    else:
        output.print_all(render_credentials.sources(found))
    raise typer.Exit(PROBLEM if any(one.source is None for one in found) else 0)


@app.command("test", cls=Command)
def prove(*, config: Config = None, as_json: Json = False) -> None:
    """Use each service as dropzone does, and name every right that is missing.

    A small object is written below the prefix and removed, the rights in
    Postgres are asked for, and MLflow gets a tag on the experiment. The exit
    code is 1 when something is refused.
    """
    from dropzone.commands import access, credentials, output, render_credentials

    found = list(credentials.prove(access.settings(config)))
    if as_json:
        output.print_json({"proofs": found})
    else:
        output.print_all(render_credentials.proofs(found))
    raise typer.Exit(0 if all(one.works for one in found) else PROBLEM)


@app.command("export", cls=Command)
def export(
    *,
    shell: Annotated[
        Shell, typer.Option("--shell", "-s", help="Whose words to use.")
    ] = Shell.BASH,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print lines that set the credentials and addresses in a shell.

    The lines hold secrets. Temporary keys are those of this moment. The exit
    code is 1 when there are no AWS keys, 2 when a value cannot be written for
    this shell.
    """
    from dropzone.commands import access, background, output, shells

    values = background.environment(access.settings(config))
    if as_json:
        output.print_json(values)
    else:
        print(shells.lines(values, shell))
    if "AWS_ACCESS_KEY_ID" not in values:
        print("There are no AWS keys: dropzone credentials show", file=sys.stderr)
        raise typer.Exit(PROBLEM)


@app.command("refresh", cls=Command)
def refresh(*, config: Config = None, as_json: Json = False) -> None:
    """Get new credentials where they run out; see whether each service takes them.

    A running daemon does this by itself, before they run out and when they are
    refused. The exit code is 1 when a service does not take them.
    """
    from dropzone.commands import access, credentials, output, render_credentials

    found = list(credentials.refresh(access.loaded(config)))
    if as_json:
        output.print_json({"credentials": found})
    else:
        output.print_all(render_credentials.renewed(found))
    raise typer.Exit(0 if all(one.works for one in found) else PROBLEM)
