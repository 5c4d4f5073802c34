"""dropzone: a drop folder that never loses, duplicates or hides a file.

The session layer stands for itself: ``from dropzone import SessionPool``.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropzone.sessions import AsyncSessionPool as AsyncSessionPool
    from dropzone.sessions import SessionPool as SessionPool

__version__ = "0.1.0"

_LAZY = frozenset({"AsyncSessionPool", "SessionPool"})


def __getattr__(name: str) -> object:
    # Every command imports this package; few need the sessions.
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not a plain import: no layer below may seem to reach the sessions through here.
    return getattr(importlib.import_module("dropzone.sessions"), name)
