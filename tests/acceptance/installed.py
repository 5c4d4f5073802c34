"""A booted box with the wheel installed, as a person would have it before the service.

Python and the packages that dropzone needs are those of this machine, bound read-only;
dropzone itself is built, and installed by pip into a virtual environment in /opt.
"""

import contextlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.box import Box, CannotBoot, booted

REPOSITORY = Path(__file__).parents[2]
PROGRAM = "/opt/dropzone/bin/dropzone"
_PYTHON = "/opt/python"
_PACKAGES = "/opt/packages"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


@contextlib.contextmanager
def box_with_dropzone(tree: Path, folder: Path) -> Iterator[Box]:
    """Copy the tree below ``folder``, boot it, and install the wheel in it.

    Raises:
        CannotBoot: this machine cannot; the message says why.

    """
    if Path(sys.base_prefix) == Path("/usr"):
        raise CannotBoot("Python is that of the system, which has no folder of its own")
    root = folder / "box"
    subprocess.run(["/bin/cp", "-a", str(tree), str(root)], check=True)
    wheel = _wheel(folder)
    for place in (_PYTHON, _PACKAGES):
        (root / place[1:]).mkdir(parents=True)
    shutil.copy(wheel, root / "opt")
    (root / "etc/ld.so.conf.d/python.conf").write_text(f"{_PYTHON}/lib\n")
    packages = Path(sysconfig.get_path("purelib"))
    binds = {Path(sys.base_prefix): _PYTHON, packages: _PACKAGES}
    with booted(root, binds, folder / "box.log") as box:
        try:
            _install(box, wheel.name)
        except AssertionError as error:
            # A Python that was made for a newer C library, for example.
            raise CannotBoot(f"this Python does not run in the box: {error}") from error
        yield box


def _wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotBoot(f"no wheel can be built: {done.stderr[-500:]}")
    return next(folder.glob("*.whl"))


def _install(box: Box, wheel: str) -> None:
    python = f"/opt/dropzone/bin/{_VERSION}"
    box.run("ldconfig")
    box.run(f"{_PYTHON}/bin/{_VERSION}", "-m", "venv", "--without-pip", "/opt/dropzone")
    site = box.root / "opt/dropzone/lib" / _VERSION / "site-packages"
    (site / "packages.pth").write_text(f"{_PACKAGES}\n")
    pip = (python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    box.run(*pip, "--no-compile", "--ignore-installed", f"/opt/{wheel}")
    # The packages are bound without their programs.
    scripts = Path(sysconfig.get_path("scripts"))
    shutil.copy(scripts / "rclone", box.root / "opt/dropzone/bin/rclone")


@pytest.fixture(scope="session")
def box(debian_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box with dropzone installed, without a service; else the test is skipped."""
    folder = tmp_path_factory.mktemp("box")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(box_with_dropzone(debian_tree, folder))
        except CannotBoot as error:
            pytest.skip(str(error))
        yield made
    shutil.rmtree(folder, ignore_errors=True)
