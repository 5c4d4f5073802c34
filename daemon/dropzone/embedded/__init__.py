"""A real Postgres and a real S3 server that need no set-up."""

from dropzone.embedded.background import start_background, stop_background
from dropzone.embedded.record import (
    Role,
    RunningServices,
    ServiceAddresses,
    remembered,
    running,
)
from dropzone.embedded.services import EmbeddedServices

__all__ = [
    "EmbeddedServices",
    "Role",
    "RunningServices",
    "ServiceAddresses",
    "remembered",
    "running",
    "start_background",
    "stop_background",
]
