"""Fixtures of the system tests, which run one after another."""

from acceptance.debian_tree import debian_tree

__all__ = ["debian_tree"]
