"""The one way to S3: a client shared by all threads, uploads that prove themselves."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, Literal, overload

from dropzone.errors import DropzoneError, SourceChanged
from dropzone.sessions import s3_errors
from dropzone.sessions.health import Health
from dropzone.sessions.objects import FileDigest, ObjectInfo, StoredObject
from dropzone.sessions.s3_calls import S3Calls
from dropzone.sessions.s3_uploads import Metadata, S3Uploads
from dropzone.sessions.settings import S3Settings
from dropzone.sessions.sources import Source, opened
from dropzone.sessions.stats import ServiceStats

_BLOCK = 1 << 20
_LONGEST_LINK_SECONDS = 7 * 24 * 3600


class S3Session:
    """One bucket by default, any other by ``bucket=``. Shared by all threads.

    Where a method does not say otherwise it raises ServiceUnavailable (``s3``) when S3
    cannot be used now, and DocumentRejected when it refuses this object for good. The
    driver's error is the ``__cause__``. What is stored is encrypted as the settings
    say, with AES256 unless they do.
    """

    def __init__(
        self, settings: S3Settings, *, stop: threading.Event | None = None
    ) -> None:
        self.bucket = settings.bucket
        self._settings = settings
        self._calls = S3Calls(settings, stop=stop)
        self._uploads = S3Uploads(settings, self._calls, stop or threading.Event())

    def update(self, settings: S3Settings) -> None:
        """Take ``concurrency``, ``retry`` and ``upload_rate`` of other settings."""
        self._calls.update(settings)

    @property
    def client(self) -> Any:
        """The driver's own client, for what this class does not offer.

        It is shared by all threads, makes one attempt at each call, and raises the
        driver's errors. Ask for it anew each time: expired keys bring a new one.
        """
        return self._calls.client

    @property
    def address(self) -> str:
        """Bucket and endpoint, for messages."""
        return self._calls.address

    @property
    def credentials_source(self) -> str:
        """Where the credentials were found, in words."""
        return self._calls.credentials_source

    def environment(self) -> dict[str, str]:
        """Return the AWS variables by which other programs reach the same S3.

        Secrets are in them. Temporary keys are those of now, and end.
        """
        return self._calls.environment()

    def upload(
        self,
        key: str,
        source: Source,
        *,
        bucket: str | None = None,
        content_type: str = "application/octet-stream",
        metadata: Metadata | None = None,
    ) -> StoredObject:
        """Store bytes, the file at a path, or what a binary stream still holds.

        Memory stays under 80 MB: from 16 MiB on it is sent in parts, and a stream of
        that length goes through a temporary file first, since a part may have to be
        sent again. The bucket of a server that is not AWS is made if need be.

        Raises:
            SourceChanged: the file at the path changed meanwhile.

        """
        described = self._uploads.description(content_type, metadata)
        with self._calls.operation("upload"), opened(source) as content:
            send = partial(
                self._uploads.send, key, bucket or self.bucket, content, described
            )
            try:
                return send()
            except DropzoneError as error:
                if not self._mended(error, bucket):
                    raise
            return send()

    def put(
        self,
        key: str,
        data: bytes,
        *,
        sha256: str,
        content_type: str = "application/octet-stream",
        metadata: Metadata | None = None,
    ) -> StoredObject:
        """Store ``data`` (up to 16 MiB or so: it is sent whole) and prove it.

        Raises:
            SourceChanged: ``data`` does not have the checksum ``sha256``.

        """
        # Checked here, because not every S3 server compares the header with the body.
        if hashlib.sha256(data).hexdigest() != sha256:
            raise SourceChanged(f"{key}: the content changed while it was read.")
        with self._calls.operation("put"):
            described = self._uploads.description(content_type, metadata)
            return self._uploads.put(key, self.bucket, data, sha256, described)

    def put_file(
        self,
        key: str,
        file: BinaryIO,
        digest: FileDigest,
        *,
        content_type: str = "application/octet-stream",
        metadata: Metadata | None = None,
    ) -> StoredObject:
        """Store a file that ``digest`` describes; in parts from 16 MiB on.

        ``file`` is a real file; its position is not used and not kept. Nothing is
        left behind in S3 when this fails, unless S3 is gone by then
        (``abort_stale_uploads`` finds those).

        Raises:
            SourceChanged: the file is not the one that was digested.

        """
        with self._calls.operation("put_file"):
            described = self._uploads.description(content_type, metadata)
            return self._uploads.put_file(key, self.bucket, file, digest, described)

    def head(self, key: str, *, bucket: str | None = None) -> ObjectInfo | None:
        """Return what S3 knows about ``key``, or None when there is no such object."""
        with self._calls.operation("head"):
            return self._uploads.head(key, bucket or self.bucket)

    def get(self, key: str, *, bucket: str | None = None) -> bytes:
        """Return the whole object; for objects that fit into memory.

        Raises:
            NotFound: there is no such object.

        """
        where = {"Bucket": bucket or self.bucket, "Key": key}

        def read() -> bytes:
            return bytes(self.client.get_object(**where)["Body"].read())

        with self._calls.operation("get"):
            return self._calls.call(read, self._about(key, bucket))

    @overload
    def download(self, key: str, *, bucket: str | None = None) -> bytes: ...
    @overload
    def download(
        self, key: str, path: str | PathLike[str], *, bucket: str | None = None
    ) -> Path: ...
    def download(
        self,
        key: str,
        path: str | PathLike[str] | None = None,
        *,
        bucket: str | None = None,
    ) -> bytes | Path:
        """Return the object's bytes, or write them to ``path`` and return that.

        The file appears when it is complete, in place of one that was there.

        Raises:
            NotFound: there is no such object.

        """
        if path is None:
            return self.get(key, bucket=bucket)
        target = Path(path)
        with self._calls.operation("download"):
            self._download(key, bucket or self.bucket, target)
        return target

    def list(
        self, prefix: str = "", *, bucket: str | None = None
    ) -> Iterator[ObjectInfo]:
        """Yield every object below ``prefix`` in the order of their keys.

        A page of a thousand is in memory at a time.
        """
        token: dict[str, Any] = {}
        where = {"Bucket": bucket or self.bucket, "Prefix": prefix}
        while True:
            with self._calls.operation("list"):
                page = self._calls.call(partial(self._page, {**where, **token}), prefix)
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

    def presigned(
        self,
        key: str,
        *,
        expires_seconds: int = 3600,
        method: Literal["GET", "PUT", "HEAD", "DELETE"] = "GET",
        bucket: str | None = None,
        disposition: str = "",
    ) -> str:
        """Return a URL by which anybody may do this to the object for a while.

        Nothing is asked of S3. Links made with temporary keys end with those. With a
        ``disposition``, such as ``attachment``, browsers save what they GET and show
        it in no case.

        Raises:
            ValueError: S3 allows 1 second to 7 days.

        """
        if not 1 <= expires_seconds <= _LONGEST_LINK_SECONDS:
            raise ValueError("expires_seconds must be 1 to 604800 (7 days).")
        where = {"Bucket": bucket or self.bucket, "Key": key}
        if disposition:
            where["ResponseContentDisposition"] = disposition
            where["ResponseContentType"] = "application/octet-stream"
        sign = partial(
            self.client.generate_presigned_url,
            f"{method.lower()}_object",
            Params=where,
            ExpiresIn=expires_seconds,
        )
        return str(self._calls.call(sign, key))

    def delete(self, key: str, *, bucket: str | None = None) -> None:
        """Remove an object; removing one that is not there is no error."""
        where = {"Bucket": bucket or self.bucket, "Key": key}
        with self._calls.operation("delete"):
            about = self._about(key, bucket)
            self._calls.call(lambda: self.client.delete_object(**where), about)

    def ensure_bucket(self) -> None:
        """Make the bucket on a server named by its endpoint; on AWS only look.

        Raises:
            ServiceUnavailable: there is no such bucket, or it cannot be reached.

        """
        with self._calls.operation("ensure_bucket"):
            self._ensure_bucket()

    def abort_stale_uploads(self, prefix: str, older_than_seconds: float) -> int:
        """Give up uploads in parts that began that long ago; return how many.

        At most a thousand are looked at in one call.
        """
        with self._calls.operation("abort_stale_uploads"):
            page = self._calls.call(lambda: self._pending_uploads(prefix), prefix)
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
                self._uploads.abort(upload["Key"], self.bucket, upload["UploadId"])
            return len(stale)

    def check(self) -> Health:
        """Look into the bucket once, with short limits, and tell how that went."""
        return self._calls.check()

    def stats(self) -> ServiceStats:
        """Return how often each operation was called, and how that went."""
        return self._calls.stats()

    def close(self) -> None:
        """Close the idle connections. The session is of no use afterwards."""
        self._calls.close()

    def _about(self, key: str, bucket: str | None) -> str:
        return key if bucket in {None, self.bucket} else f"{bucket}/{key}"

    def _mended(self, error: DropzoneError, bucket: str | None) -> bool:
        """Whether the same upload may be tried once more."""
        cause = error.__cause__
        if cause is None:
            return False
        # Its end was repeated after a lost answer, and was no longer known.
        if s3_errors.is_unknown_upload(cause):
            return True
        own = bucket is None and self._settings.endpoint_url is not None
        if not (own and s3_errors.is_missing_bucket(cause)):
            return False
        self._ensure_bucket()
        return True

    def _page(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        page: Mapping[str, Any] = self.client.list_objects_v2(**request)
        return page

    def _download(self, key: str, bucket: str, target: Path) -> None:
        # Two threads may fetch to the same path.
        unfinished = target.with_name(f"{target.name}.{token_hex(4)}.part")

        def write() -> None:
            answer = self.client.get_object(Bucket=bucket, Key=key)
            with unfinished.open("wb") as out:
                for block in answer["Body"].iter_chunks(_BLOCK):
                    out.write(block)

        try:
            self._calls.call(write, self._about(key, bucket))
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def _ensure_bucket(self) -> None:
        try:
            self._calls.repeat(lambda: self.client.head_bucket(Bucket=self.bucket))
        except s3_errors.DRIVER_ERRORS as error:
            own = self._settings.endpoint_url is not None
            if not (own and s3_errors.is_absent(error)):
                raise self._calls.translated(error, self.bucket) from error
            make = partial(self.client.create_bucket, Bucket=self.bucket)
            self._calls.call(make, self.bucket)

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
