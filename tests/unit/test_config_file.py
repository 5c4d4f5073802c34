"""The shipped config.yaml says the truth."""

import re
from pathlib import Path

import pytest
import yaml

from dropzone import config
from dropzone.settings import Settings

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def uncommented() -> str:
    """Return the file with every default in force."""
    lines = []
    for line in SHIPPED.read_text().splitlines():
        if re.match(r"#  ( *)(- )?[a-z0-9_]+:", line):
            lines.append(" " + line[1:])
        elif not line.startswith("#"):
            lines.append(line)
    return "\n".join(lines)


def test_it_changes_nothing_as_shipped(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SHIPPED.read_text())
    default = config.load(path, {}).settings
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert default == config.load(empty, {}).settings


def test_its_comments_are_the_defaults() -> None:
    tree = yaml.safe_load(uncommented())
    assert Settings.model_validate(tree) == Settings()


@pytest.mark.parametrize("section", sorted(Settings.model_fields))
def test_it_names_every_setting(section: str) -> None:
    tree = yaml.safe_load(uncommented())
    model = getattr(Settings(), section)
    value, fields = tree[section], model
    if section == "zones":
        value, fields = tree[section][0], model[0]
    assert set(value) == set(type(fields).model_fields)
