"""Fixtures for every test."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

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
