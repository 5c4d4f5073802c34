"""Every value comes back as it was from the shell that read its line."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropzone.commands.shells import Shell, lines
from dropzone.errors import UsageError

NASTY = {
    "A": 'it\'s $HOME `id` $(id) "x" \\ ! % & | < > ^ ; # ~ * ? {a,b} [x]',
    "B": "two\nlines and\ttab, ends with a newline\n",
    "C": "-n",
    "D": "\u2018curly\u2019 quotes \u00e4 \U0001f511 'plain''doubled'",
    "E": "ends with \\",
    "F": "  spaces  ",
    "G": "!!history !$ ${A:-x} $$ \\n \\'",
    "H": "",
}


def read_back(shell: Path, script: str, names: list[str], tmp_path: Path) -> list[str]:
    """Let a real shell read the lines; return the variables as a child sees them."""
    file = tmp_path / "lines"
    file.write_text(f"{script}\nenv -0\n")
    done = subprocess.run(
        [shell, file],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert not done.stderr
    told = dict(
        one.split("=", 1) for one in done.stdout.decode().split("\0") if "=" in one
    )
    return [told[name] for name in names]


@pytest.mark.parametrize("shell", [Shell.BASH, Shell.ZSH, Shell.FISH])
def test_a_real_shell_reads_what_was_written(shell: Shell, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    script = lines(NASTY, shell)
    found = read_back(Path(program), script, list(NASTY), tmp_path)
    assert found == list(NASTY.values())


def test_an_interactive_bash_and_eval_read_the_same(tmp_path: Path) -> None:
    file = tmp_path / "printed"
    file.write_text(lines(NASTY, Shell.BASH))
    # As people type it, with history expansion on.
    script = f'set -H; eval "$(cat {file})"'
    assert read_back(Path("/bin/bash"), script, list(NASTY), tmp_path) == list(
        NASTY.values()
    )


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_fish_quotes_end_where_they_began(value: str) -> None:
    written = lines({"X": value}, Shell.FISH).removeprefix("set -gx X ")
    assert unquoted_fish(written) == value


def unquoted_fish(text: str) -> str:
    """Read a single-quoted word by fish's rule: backslash only before \\ and '."""
    assert text[0] == text[-1] == "'"
    inner, out, index = text[1:-1], [], 0
    while index < len(inner):
        if inner[index] == "\\" and inner[index + 1] in "\\'":
            index += 1
        else:
            assert inner[index] != "'"
        out.append(inner[index])
        index += 1
    return "".join(out)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_powershell_doubles_every_quote_it_knows(value: str) -> None:
    written = lines({"X": value}, Shell.POWERSHELL)
    assert written.startswith("$env:X = '")
    assert written.endswith("'")
    inner = written.removeprefix("$env:X = '")[:-1]
    for quote in "'\u2018\u2019\u201a\u201b":
        assert inner.count(quote) == 2 * value.count(quote)
        inner = inner.replace(quote * 2, quote)
    assert inner == value


def test_cmd_writes_what_a_batch_file_reads() -> None:
    written = lines({"X": "50%40 & a|b <c> ^d (e) $f `g` 'h'"}, Shell.CMD)
    assert written == "@set \"X=50%%40 & a|b <c> ^d (e) $f `g` 'h'\""


@pytest.mark.parametrize("value", ['a"b', "a!b", "a\nb", "a\rb", "\x1a", "\u00e4"])
def test_cmd_refuses_what_it_cannot_be_given_and_does_not_tell_it(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        lines({"TOKEN": f"canary{value}"}, Shell.CMD)
    assert "TOKEN" in caught.value.message
    assert "canary" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("shell", Shell)
def test_no_shell_takes_a_nul(shell: Shell) -> None:
    with pytest.raises(UsageError, match="NUL"):
        lines({"X": "a\0b"}, shell)
