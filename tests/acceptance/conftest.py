"""Fixtures of the system tests, which run one after another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance import containers
from acceptance.containers import Podman
from acceptance.debian_tree import CannotBeMade, debian_tree
from acceptance.installed import box

__all__ = ["box", "debian_tree"]


@pytest.fixture(scope="session")
def podman(
    debian_tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Podman]:
    """Podman with the image of this checkout; skipped where containers do not run."""
    try:
        made = Podman(tmp_path_factory.mktemp("containers"))
    except CannotBeMade as error:
        pytest.skip(str(error))
    try:
        try:
            python = containers.make_base(made, debian_tree)
        except CannotBeMade as error:
            pytest.skip(str(error))
        containers.build(made, python)
        yield made
    finally:
        made.close()
