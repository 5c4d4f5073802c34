"""The one place that makes clients for S3, Postgres and MLflow.

Importing this package is light: a driver is imported when its session is opened.
"""

from dropzone.sessions.health import Health
from dropzone.sessions.objects import FileDigest, ObjectInfo, StoredObject, digest
from dropzone.sessions.pool import SessionPool
from dropzone.sessions.settings import (
    MlflowSettings,
    PostgresSettings,
    S3Settings,
    ServiceAddresses,
)

__all__ = [
    "FileDigest",
    "Health",
    "MlflowSettings",
    "ObjectInfo",
    "PostgresSettings",
    "S3Settings",
    "ServiceAddresses",
    "SessionPool",
    "StoredObject",
    "digest",
]
