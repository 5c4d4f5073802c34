"""Fixtures of the system tests, which run one after another."""

from acceptance.debian_tree import debian_tree
from acceptance.installed import box

__all__ = ["box", "debian_tree"]
