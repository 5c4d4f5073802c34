"""Fixtures for every test."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from servers import services
from stores import folder_of_stores
from zones_helpers import folders, open_root

__all__ = ["folder_of_stores", "folders", "open_root", "services"]

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")


@pytest.fixture(autouse=True)
def no_log_of_another_test() -> Iterator[None]:
    """Undo what a test set up of the log, which belongs to the whole process."""
    yield
    structlog.reset_defaults()


# Those that take long come first, so that at the end nobody waits for the last of them.
_BY_LENGTH = ("acceptance", "chaos", "browser", "integration", "unit")
_COPY_ONE_ZONE = {
    "tests/integration/test_backup.py",
    "tests/integration/test_care.py",
    "tests/integration/test_uploads.py",
}


def _length(item: pytest.Item) -> int:
    kind = item.nodeid.split("/")[1]
    return _BY_LENGTH.index(kind) if kind in _BY_LENGTH else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Sort the tests of several workers; those of a kind keep their random order."""
    if hasattr(config, "workerinput"):
        items.sort(key=_length)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave out of later searches for garbage what was imported, which stays."""
    gc.collect()
    gc.freeze()


class _Together(LoadScopeScheduling):
    """Gives each test to whoever is free, but keeps those that share much together.

    The marks for it (``xdist_group``) do nothing in xdist 3.8 under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith("tests/acceptance/"):
            # One Debian tree and one image for all, and one after another.
            return "system"
        # One browser and one daemon for a file.
        alone = file in _COPY_ONE_ZONE or file.startswith("tests/browser/")
        return file if alone else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Together:
    return _Together(config, log)
