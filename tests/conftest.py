"""Fixtures for every test."""

from servers import services
from zones_helpers import folders, open_root

__all__ = ["folders", "open_root", "services"]
