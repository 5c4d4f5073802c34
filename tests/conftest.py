"""Fixtures for every test."""

from hypothesis import HealthCheck, settings

from servers import services
from zones_helpers import folders, open_root

__all__ = ["folders", "open_root", "services"]

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")
