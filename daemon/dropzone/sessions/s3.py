"""The one way to S3: a client shared by all threads, uploads that prove themselves.

The driver repeats nothing (one attempt); each call, and each part of a large upload,
is repeated here. The driver's own waits can neither be bounded in seconds nor be
interrupted when the daemon stops, and two layers would multiply.
"""
# ruff: noqa: TID251 - this module owns the S3 driver.

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError

from dropzone import log
from dropzone.errors import DropzoneError, ServiceUnavailable, SourceChanged, Stopping
from dropzone.retry import Retry
from dropzone.sessions import s3_errors
from dropzone.sessions.health import Health, measure
from dropzone.sessions.objects import (
    PART_SIZE,
    FileDigest,
    ObjectInfo,
    StoredObject,
    base64_of,
    encode_metadata,
    md5_of,
)
from dropzone.sessions.s3_parts import PartsUpload
from dropzone.sessions.settings import S3Settings, without_userinfo

T = TypeVar("T")
_PROBE_SECONDS = 3
# Listing it costs nothing, however much the bucket holds.
_NOWHERE = ".dropzone-probe/"


class S3Session:
    """One bucket. Made once, before the threads that share it."""

    def __init__(
        self, settings: S3Settings, *, stop: threading.Event | None = None
    ) -> None:
        self.bucket = settings.bucket
        self._settings = settings
        self._stop = stop or threading.Event()
        self._log = log.get("s3")
        self._retry = Retry(
            settings.retry, transient=s3_errors.is_transient, stop=self._stop
        )
        self._connect()

    def _connect(self) -> None:
        settings = self._settings
        session = self._session = settings.credentials.session(settings.region)
        self.client: Any = session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            config=self._config(settings.connect_timeout, settings.read_timeout),
        )
        # A health check must answer in seconds, while an upload may take a minute.
        self._probe: Any = session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            config=self._config(_PROBE_SECONDS, _PROBE_SECONDS),
        )

    @property
    def credentials_source(self) -> str:
        """Where the keys come from; looks for them if nothing did before."""
        return self._settings.credentials.describe(self._session)

    @property
    def address(self) -> str:
        """Bucket and endpoint, for messages."""
        where = self._settings.endpoint_url or f"AWS {self._settings.region}"
        return f"s3://{self.bucket} at {without_userinfo(where)}"

    def put(
        self,
        key: str,
        data: bytes,
        *,
        sha256: str,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> StoredObject:
        """Store ``data`` (up to 16 MiB or so: it is sent whole) and prove it.

        Raises:
            ServiceUnavailable: S3 cannot take or confirm it now.
            DocumentRejected: S3 refuses this object for good.
            SourceChanged: ``data`` does not have the checksum ``sha256``.

        """
        # Checked here, because not every S3 server compares the header with the body.
        if hashlib.sha256(data).hexdigest() != sha256:
            raise SourceChanged(f"{key}: the content changed while it was read.")
        md5 = md5_of(data)
        answer = self._call(
            lambda: self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=data,
                ContentMD5=base64_of(md5),
                ChecksumSHA256=base64_of(bytes.fromhex(sha256)),
                **self._description(content_type, metadata),
            ),
            key,
        )
        etag = answer["ETag"].strip('"')
        if etag == md5.hex():
            return StoredObject(key, len(data), etag, "etag")
        if answer.get("ChecksumSHA256") == base64_of(bytes.fromhex(sha256)):
            return StoredObject(key, len(data), etag, "sha256")
        return self._confirm_by_head(key, len(data), {md5.hex()}, sha256)

    def put_file(
        self,
        key: str,
        file: BinaryIO,
        digest: FileDigest,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> StoredObject:
        """Store a file that ``digest`` describes; in parts from 16 MiB on.

        ``file`` is a real file; its position is not used and not kept. Nothing is
        left behind in S3 when this fails, unless S3 is gone by then
        (``abort_stale_uploads`` finds those).

        Raises:
            As ``put``; SourceChanged also when the file became shorter.

        """
        if digest.size < PART_SIZE:
            file.seek(0)
            data = file.read(digest.size + 1)
            if len(data) != digest.size:
                raise SourceChanged(f"{key}: the file changed its size.")
            return self.put(
                key,
                data,
                sha256=digest.sha256,
                content_type=content_type,
                metadata=metadata,
            )
        upload = PartsUpload(
            self.client, self.bucket, key, file.fileno(), digest, call=self._call
        )
        upload.begin(self._description(content_type, metadata))
        try:
            etag = self._send_parts(upload)
        except BaseException:
            self._abort(key, upload.id)
            raise
        if self._settings.encryption == "aws:kms":
            # Such an ETag is no checksum; each part's MD5 was checked on arrival.
            self._confirm_by_head(key, digest.size, {etag}, digest.sha256)
            return StoredObject(key, digest.size, etag, "parts")
        return self._confirm_by_head(key, digest.size, set(digest.etags), digest.sha256)

    def head(self, key: str) -> ObjectInfo | None:
        """Return what S3 knows about ``key``, or None when there is no such object."""
        try:
            answer = self._retry.call(
                lambda: self.client.head_object(
                    Bucket=self.bucket, Key=key, ChecksumMode="ENABLED"
                )
            )
        except ClientError as error:
            if s3_errors.is_absent(error):
                return None
            raise self._translated(error, key) from error
        except s3_errors.DRIVER_ERRORS as error:
            raise self._translated(error, key) from error
        return ObjectInfo(
            key,
            answer["ContentLength"],
            answer["ETag"].strip('"'),
            answer["LastModified"].timestamp(),
            answer.get("ChecksumSHA256"),
            answer["Metadata"],
        )

    def get(self, key: str) -> bytes:
        """Return the whole object; for objects that fit into memory."""

        def read() -> bytes:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            return bytes(answer["Body"].read())

        return self._call(read, key)

    def download(self, key: str, path: Path) -> None:
        """Write the object to ``path``, which appears only when it is complete."""
        unfinished = path.with_name(f"{path.name}.part")

        def write() -> None:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            with unfinished.open("wb") as out:
                for block in answer["Body"].iter_chunks(1 << 20):
                    out.write(block)

        try:
            self._call(write, key)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object below ``prefix`` in the order of their keys."""
        token: dict[str, Any] = {}
        while True:
            request = {"Bucket": self.bucket, "Prefix": prefix, **token}
            page = self._call(partial(self.client.list_objects_v2, **request), prefix)
            for item in page.get("Contents", ()):
                yield ObjectInfo(
                    item["Key"],
                    item["Size"],
                    item["ETag"].strip('"'),
                    item["LastModified"].timestamp(),
                )
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        """Remove an object; removing one that is not there is no error."""
        self._call(lambda: self.client.delete_object(Bucket=self.bucket, Key=key), key)

    def ensure_bucket(self) -> None:
        """Make the bucket on a server named by its endpoint; on AWS only look.

        Raises:
            ServiceUnavailable: there is no such bucket, or it cannot be reached.

        """
        try:
            self._retry.call(lambda: self.client.head_bucket(Bucket=self.bucket))
        except s3_errors.DRIVER_ERRORS as error:
            own = self._settings.endpoint_url is not None
            if not (own and s3_errors.is_absent(error)):
                raise self._translated(error, self.bucket) from error
            self._call(
                lambda: self.client.create_bucket(Bucket=self.bucket), self.bucket
            )

    def abort_stale_uploads(self, prefix: str, older_than_seconds: float) -> int:
        """Give up uploads in parts that began that long ago; return how many.

        At most a thousand are looked at in one call.
        """
        page = self._call(lambda: self._pending_uploads(prefix), prefix)
        if page is None:
            return 0
        # The server's clock, not ours, stamped the uploads.
        now = s3_errors.server_time(page)
        stale = [
            upload
            for upload in page.get("Uploads", ())
            if now - upload["Initiated"].timestamp() >= older_than_seconds
        ]
        for upload in stale:
            self._abort(upload["Key"], upload["UploadId"])
        return len(stale)

    def _pending_uploads(self, prefix: str) -> Mapping[str, Any] | None:
        try:
            page: Mapping[str, Any] = self.client.list_multipart_uploads(
                Bucket=self.bucket, Prefix=prefix
            )
        except s3_errors.DRIVER_ERRORS as error:
            # What rclone answers when there are none at all.
            if s3_errors.is_unknown_upload(error):
                return None
            raise
        return page

    def check(self) -> Health:
        """Look into the bucket once, with short limits, and tell how that went."""

        def look() -> None:
            try:
                self._look()
            except s3_errors.DRIVER_ERRORS as error:
                raise self._translated(error, self.bucket) from error

        return measure(look)

    def _look(self) -> None:
        # A refusal of HEAD has no body, and so would tell no reason.
        where = {"Bucket": self.bucket, "Prefix": _NOWHERE, "Delimiter": "/"}
        try:
            self._probe.list_objects_v2(**where, MaxKeys=1)
        except s3_errors.DRIVER_ERRORS as error:
            if self._settings.fixed_keys or not s3_errors.is_about_keys(error):
                raise
            # The driver never reads a credentials file twice: it may be renewed.
            self._connect()
            self._probe.list_objects_v2(**where, MaxKeys=1)

    def close(self) -> None:
        """Close the idle connections. The session is of no use afterwards."""
        self.client.close()
        self._probe.close()

    def _config(self, connect_timeout: float, read_timeout: float) -> Config:
        settings = self._settings
        custom = settings.endpoint_url is not None
        return Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if custom else "auto"},
            # Each upload in parts brings threads of its own.
            max_pool_connections=settings.concurrency * 5 + 8,
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            tcp_keepalive=True,
            # Every body carries an MD5 of ours, so the driver's CRC buys nothing.
            request_checksum_calculation="when_required",
            # rclone answers ranges with the checksum of the whole object.
            response_checksum_validation=(
                "when_required" if custom else "when_supported"
            ),
            # Nothing between us and our own server, whatever HTTP_PROXY says.
            proxies={} if settings.credentials.isolated else None,
        )

    def _description(
        self, content_type: str, metadata: Mapping[str, str | bytes] | None
    ) -> dict[str, Any]:
        description: dict[str, Any] = {
            "ContentType": content_type,
            "Metadata": encode_metadata(metadata or {}),
        }
        if self._settings.encryption != "none":
            description["ServerSideEncryption"] = self._settings.encryption
        if self._settings.kms_key_id:
            description["SSEKMSKeyId"] = self._settings.kms_key_id
        return description

    def _send_parts(self, upload: PartsUpload) -> str:
        with ThreadPoolExecutor(4, thread_name_prefix="s3-part") as pool:
            futures = [
                pool.submit(self._send_part, upload, number)
                for number in upload.numbers
            ]
            try:
                tags = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return upload.complete(tags)

    def _send_part(self, upload: PartsUpload, number: int) -> str:
        if self._stop.is_set():
            raise Stopping("The daemon is stopping, so the upload is given up.")
        return upload.send(number)

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload_id
            )
        except s3_errors.DRIVER_ERRORS as error:
            self._log.warning("upload_not_aborted", key=key, error=str(error))

    def _confirm_by_head(
        self, key: str, size: int, etags: set[str], sha256: str
    ) -> StoredObject:
        seen = self.head(key)
        wanted = base64_of(bytes.fromhex(sha256))
        if (
            seen is not None
            and seen.size == size
            and (seen.etag in etags or seen.sha256 == wanted)
        ):
            return StoredObject(key, size, seen.etag, "head")
        raise ServiceUnavailable(
            "s3",
            f"{self.address} took {key} but does not confirm its checksum.",
            hint="Nothing is released; it is stored again. If this stays, look at "
            "what stands between this machine and S3.",
        )

    def _call(self, function: Callable[[], T], key: str) -> T:
        try:
            return self._retry.call(function)
        except s3_errors.DRIVER_ERRORS as error:
            raise self._translated(error, key) from error

    def _translated(self, error: Exception, key: str) -> DropzoneError:
        return s3_errors.translate(error, self.address, key)
