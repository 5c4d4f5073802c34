"""Fixtures for every test."""

from servers import services

__all__ = ["services"]
