"""The clients of S3, and the way that every call takes: repeated, translated, renewed.

The driver repeats nothing (one attempt); each call, and each part of a large upload,
is repeated here. The driver's own waits can neither be bounded in seconds nor be
interrupted when the daemon stops, and two layers would multiply.
"""
# ruff: noqa: TID251 - this module owns the S3 driver.

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.config import Config

from dropzone.errors import DropzoneError
from dropzone.retry import Retry
from dropzone.sessions import s3_errors
from dropzone.sessions.bandwidth import Bandwidth, Paced
from dropzone.sessions.guard import Guard, Operation
from dropzone.sessions.health import Health, measure
from dropzone.sessions.settings import S3Settings, without_userinfo
from dropzone.sessions.stats import ServiceStats

T = TypeVar("T")
_PROBE_SECONDS = 3
# Making a client takes a tenth of a second: not for each call with keys that stay bad.
_RENEWAL_SECONDS = 5.0
# Listing it costs nothing, however much the bucket holds.
_MOST_CONNECTIONS = 328
_NOWHERE = ".dropzone-probe/"


class S3Calls:
    """The clients of one account, and how to call them. Shared by all threads."""

    def __init__(
        self, settings: S3Settings, *, stop: threading.Event | None = None
    ) -> None:
        self._settings = settings
        self._renewing = threading.Lock()
        self._renewed = 0.0
        self._bandwidth = Bandwidth(stop)
        self._bandwidth.update(settings.upload_rate)
        self._retry = Retry(settings.retry, transient=s3_errors.is_transient, stop=stop)
        self._guard = Guard(
            "s3",
            address=lambda: self.address,
            look=lambda: measure(self._look),
            counts=s3_errors.is_transient,
            limit=_calls_at_once(settings),
            patience=settings.retry.seconds,
            stop=stop,
        )
        self._connect()

    def update(self, settings: S3Settings) -> None:
        """Take ``concurrency``, ``retry`` and ``upload_rate`` of other settings."""
        self._bandwidth.update(settings.upload_rate)
        self._retry.update(settings.retry.seconds)
        self._guard.update(
            limit=_calls_at_once(settings), patience=settings.retry.seconds
        )

    @property
    def address(self) -> str:
        """Bucket and endpoint, for messages."""
        settings = self._settings
        where = settings.endpoint_url or f"AWS {settings.region}"
        return f"s3://{settings.bucket} at {without_userinfo(where)}"

    def operation(self, name: str) -> Operation:
        """Return the context of one operation, which holds all of its calls."""
        return self._guard.operation(name)

    def call(self, function: Callable[[], T], about: str) -> T:
        """Return what ``function`` returns, repeating it; ``about`` is for messages."""
        try:
            return self.repeat(function)
        except s3_errors.DRIVER_ERRORS as error:
            raise self.translated(error, about) from error

    def repeat(self, function: Callable[[], T]) -> T:
        """Do the same and pass the driver's errors as they are.

        Where the credentials ended meanwhile and may be found anew, they are.
        """
        used = self.client
        try:
            return self._retry.call(function)
        except s3_errors.DRIVER_ERRORS as error:
            if not s3_errors.is_about_old_keys(error) or not self._renew(used):
                raise
        return self._retry.call(function)

    def translated(self, error: Exception, about: str) -> DropzoneError:
        """Return the error of ours that says what to do next."""
        return s3_errors.translate(self._telling(error), self.address, about)

    def check(self) -> Health:
        """Look into the bucket once, with short limits, and tell how that went."""
        return self._guard.looked(measure(self._look))

    def stats(self) -> ServiceStats:
        return self._guard.stats()

    @property
    def credentials_source(self) -> str:
        """Where the keys come from; looks for them if nothing did before."""
        return self._settings.credentials.describe(self._session)

    def environment(self) -> dict[str, str]:
        settings = self._settings
        where = {"AWS_DEFAULT_REGION": settings.region}
        if settings.endpoint_url:
            where["AWS_ENDPOINT_URL_S3"] = settings.endpoint_url
        return {**settings.credentials.exported(settings.region), **where}

    def close(self) -> None:
        self.client.close()
        self._probe.close()

    def _connect(self) -> None:
        settings = self._settings
        session = self._session = settings.credentials.session(settings.region)
        self.client: Any = session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            config=_config(settings, settings.connect_timeout, settings.read_timeout),
        )
        # Where the body goes out: before that it is read for its checksums too.
        for operation in ("PutObject", "UploadPart"):
            event = f"before-send.s3.{operation}"
            self.client.meta.events.register(event, self._pace)
        # A health check must answer in seconds, while an upload may take a minute.
        self._probe: Any = session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            config=_config(settings, _PROBE_SECONDS, _PROBE_SECONDS),
        )

    def _pace(self, request: Any, **_: Any) -> None:
        # The driver makes a file of the bytes that it is given.
        if self._bandwidth.rate is not None and hasattr(request.body, "read"):
            request.body = Paced(request.body, self._bandwidth)

    def _renew(self, used: Any) -> bool:
        """Find the credentials anew; False when that was tried a moment ago."""
        if self._settings.fixed_keys:
            return False
        with self._renewing:
            if self.client is not used:
                return True
            if time.monotonic() - self._renewed < _RENEWAL_SECONDS:
                return False
            # The driver never reads a credentials file twice: it may be renewed.
            self._connect()
            self._renewed = time.monotonic()
            return True

    def _telling(self, error: Exception) -> Exception:
        """Return ``error``, or that of a listing where it has no body to tell more."""
        if not s3_errors.is_mute(error):
            return error
        where = {"Bucket": self._settings.bucket, "Prefix": _NOWHERE}
        told = error
        try:
            self._probe.list_objects_v2(**where, MaxKeys=1)
        except s3_errors.DRIVER_ERRORS as other:
            told = other
        return told

    def _look(self) -> None:
        # A refusal of HEAD has no body, and so would tell no reason.
        where = {"Bucket": self._settings.bucket, "Prefix": _NOWHERE, "Delimiter": "/"}
        try:
            try:
                self._probe.list_objects_v2(**where, MaxKeys=1)
            except s3_errors.DRIVER_ERRORS as error:
                if self._settings.fixed_keys or not s3_errors.is_about_keys(error):
                    raise
                with self._renewing:
                    self._connect()
                self._probe.list_objects_v2(**where, MaxKeys=1)
        except s3_errors.DRIVER_ERRORS as error:
            raise self.translated(error, self._settings.bucket) from error


def _calls_at_once(settings: S3Settings) -> int:
    # Each upload in parts brings threads of its own.
    return settings.concurrency * 5 + 8


def _config(
    settings: S3Settings, connect_timeout: float, read_timeout: float
) -> Config:
    custom = settings.endpoint_url is not None
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if custom else "auto"},
        # Those that are kept; how many threads call may grow while they do.
        max_pool_connections=max(_calls_at_once(settings), _MOST_CONNECTIONS),
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        tcp_keepalive=True,
        # Every body carries an MD5 of ours, so the driver's CRC buys nothing.
        request_checksum_calculation="when_required",
        # rclone answers ranges with the checksum of the whole object.
        response_checksum_validation="when_required" if custom else "when_supported",
        # Nothing between us and our own server, whatever HTTP_PROXY says.
        proxies={} if settings.credentials.isolated else None,
    )
