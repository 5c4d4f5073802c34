"""The tree that the other system tests stand on."""

import subprocess
from pathlib import Path

import pytest

from acceptance import debian_tree as tree_maker


def test_the_tree_has_systemd_and_what_a_foreign_python_loads(debian_tree: Path):
    told = subprocess.run(
        [
            "/usr/sbin/chroot",
            str(debian_tree),
            "/usr/bin/python3",
            "-c",
            "import ssl, sqlite3, ctypes",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert (debian_tree / "usr/lib/systemd/systemd").exists()
    assert not list((debian_tree / "var/lib/apt/lists").glob("*Packages*"))


def test_it_is_shared_while_anybody_uses_it(debian_tree: Path):
    with tree_maker.shared(debian_tree.parent) as other:
        assert other == debian_tree
    assert debian_tree.exists()


def test_a_tree_that_cannot_be_made_is_told_to_each_worker(tmp_path: Path):
    (tmp_path / "debian.failed").write_text("no way to the packages")
    with (
        pytest.raises(tree_maker.CannotBeMade, match="no way to the packages"),
        tree_maker.shared(tmp_path),
    ):
        pass
