"""Lines that set variables, in the words of five shells.

Each value comes back as it is when the shell reads its line, or is refused.
"""

import shlex
import string
from collections.abc import Callable, Mapping
from enum import StrEnum

from dropzone.errors import UsageError


class Shell(StrEnum):
    """A shell that lines can be written for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    CMD = "cmd"
    POWERSHELL = "powershell"


# PowerShell takes each of these for a single quote.
_POWERSHELL_QUOTES = "'\u2018\u2019\u201a\u201b"
# A batch file has no way to write a line break, ends at Ctrl-Z, and reads other letters
# in a code page that we cannot know. A quote would end the quoting before "&" and "|",
# and "!" vanishes where somebody switched delayed expansion on.
_CMD_TAKES = frozenset(string.ascii_letters + string.digits + string.punctuation + " ")
_CMD_REFUSES = frozenset('"!')


def lines(values: Mapping[str, str], shell: Shell) -> str:
    """Return the lines that set ``values``, ending without a newline.

    Raises:
        UsageError: this shell cannot be given one of the values. It is not told.

    """
    write = _WRITERS[shell]
    for name, value in values.items():
        if "\0" in value:
            raise UsageError(f"{name} holds a NUL, which no variable can.")
    return "\n".join(write(name, value) for name, value in values.items())


def _posix(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell(name: str, value: str) -> str:
    quoted = "".join(c * 2 if c in _POWERSHELL_QUOTES else c for c in value)
    return f"$env:{name} = '{quoted}'"


def _cmd(name: str, value: str) -> str:
    if not set(value) <= _CMD_TAKES - _CMD_REFUSES:
        raise UsageError(
            f"{name} holds a character that cmd.exe cannot be given safely: a quote, "
            "an exclamation mark, a line break, or one that is not ASCII.",
            hint="Use --shell powershell, or set it another way.",
        )
    # Doubled, because the lines are for a batch file.
    return f'@set "{name}={value.replace("%", "%%")}"'


_WRITERS: dict[Shell, Callable[[str, str], str]] = {
    Shell.BASH: _posix,
    Shell.ZSH: _posix,
    Shell.FISH: _fish,
    Shell.CMD: _cmd,
    Shell.POWERSHELL: _powershell,
}
