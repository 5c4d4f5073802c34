"""Fixtures for every test."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from servers import services
from zones_helpers import folders, open_root

__all__ = ["folders", "open_root", "services"]

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


_ONE_IMAGE = {
    "tests/acceptance/test_compose.py",
    "tests/acceptance/test_image.py",
}
_COPY_ONE_ZONE = {
    "tests/integration/test_backup.py",
    "tests/integration/test_care.py",
    "tests/integration/test_uploads.py",
}


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
