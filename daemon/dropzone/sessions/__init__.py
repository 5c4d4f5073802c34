"""The one place that makes clients for S3, Postgres, MLflow and Bedrock.

Importing this package is light: a driver is imported when its session is opened.
"""

from typing import TYPE_CHECKING

from dropzone.sessions.health import Health
from dropzone.sessions.objects import FileDigest, ObjectInfo, StoredObject, digest
from dropzone.sessions.pool import SessionPool
from dropzone.sessions.settings import (
    BedrockSettings,
    MlflowSettings,
    PostgresSettings,
    S3Settings,
    ServiceAddresses,
)
from dropzone.sessions.stats import OperationStats, ServiceStats

if TYPE_CHECKING:
    from dropzone.sessions.async_pool import AsyncSessionPool as AsyncSessionPool

__all__ = [
    "AsyncSessionPool",
    "BedrockSettings",
    "FileDigest",
    "Health",
    "MlflowSettings",
    "ObjectInfo",
    "OperationStats",
    "PostgresSettings",
    "S3Settings",
    "ServiceAddresses",
    "ServiceStats",
    "SessionPool",
    "StoredObject",
    "digest",
]


def __getattr__(name: str) -> object:
    # Commands and the daemon need no coroutines, and asyncio takes its time.
    if name != "AsyncSessionPool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dropzone.sessions.async_pool import AsyncSessionPool

    return AsyncSessionPool
