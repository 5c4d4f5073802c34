"""Uploads that prove themselves: whole, or in parts that are each repeated alone."""

import hashlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, BinaryIO, TypeAlias

from dropzone import heartbeats, log
from dropzone.errors import ServiceUnavailable, SourceChanged, Stopping
from dropzone.sessions import s3_errors
from dropzone.sessions.objects import (
    PART_SIZE,
    FileDigest,
    ObjectInfo,
    StoredObject,
    base64_of,
    encode_metadata,
    md5_of,
)
from dropzone.sessions.s3_calls import S3Calls
from dropzone.sessions.s3_parts import PartsUpload
from dropzone.sessions.settings import S3Settings
from dropzone.sessions.sources import Content

Metadata: TypeAlias = Mapping[str, str | bytes]


# How often a thread that waits for parts tells that it goes on.
_LOOK_SECONDS = 5.0


class S3Uploads:
    """Sends content and makes sure that it arrived. Shared by all threads."""

    def __init__(
        self, settings: S3Settings, calls: S3Calls, stop: threading.Event
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._stop = stop
        self._log = log.get("s3")

    def send(
        self, key: str, bucket: str, content: Content, described: Mapping[str, Any]
    ) -> StoredObject:
        """Store bytes or a file, whatever ``sources.opened`` made of it."""
        if isinstance(content, bytes):
            sha256 = hashlib.sha256(content).hexdigest()
            return self.put(key, bucket, content, sha256, described)
        return self.put_file(key, bucket, *content, described)

    def put(
        self,
        key: str,
        bucket: str,
        data: bytes,
        sha256: str,
        described: Mapping[str, Any],
    ) -> StoredObject:
        md5 = md5_of(data)
        wanted = base64_of(bytes.fromhex(sha256))
        answer = self._calls.call(
            lambda: self._calls.client.put_object(
                Bucket=bucket,
                Key=key,
                Body=data,
                ContentMD5=base64_of(md5),
                ChecksumSHA256=wanted,
                **described,
            ),
            self._about(key, bucket),
        )
        etag = answer["ETag"].strip('"')
        if etag == md5.hex():
            return StoredObject(key, len(data), etag, "etag")
        if answer.get("ChecksumSHA256") == wanted:
            return StoredObject(key, len(data), etag, "sha256")
        return self._confirm_by_head(key, bucket, len(data), {md5.hex()}, sha256)

    def put_file(
        self,
        key: str,
        bucket: str,
        file: BinaryIO,
        digest: FileDigest,
        described: Mapping[str, Any],
    ) -> StoredObject:
        if digest.size < PART_SIZE:
            file.seek(0)
            data = file.read(digest.size + 1)
            if len(data) != digest.size:
                raise SourceChanged(f"{key}: the file changed its size.")
            if hashlib.sha256(data).hexdigest() != digest.sha256:
                raise SourceChanged(f"{key}: the content changed while it was read.")
            return self.put(key, bucket, data, digest.sha256, described)
        upload = PartsUpload(self._calls, bucket, key, file.fileno(), digest)
        upload.begin(described)
        try:
            etag = self._send_parts(upload)
        except BaseException:
            self.abort(key, bucket, upload.id)
            raise
        if self._settings.encryption == "aws:kms":
            # Such an ETag is no checksum; each part's MD5 was checked on arrival.
            self._confirm_by_head(key, bucket, digest.size, {etag}, digest.sha256)
            return StoredObject(key, digest.size, etag, "parts")
        return self._confirm_by_head(
            key, bucket, digest.size, set(digest.etags), digest.sha256
        )

    def head(self, key: str, bucket: str) -> ObjectInfo | None:
        try:
            answer = self._calls.repeat(
                lambda: self._calls.client.head_object(
                    Bucket=bucket, Key=key, ChecksumMode="ENABLED"
                )
            )
        except s3_errors.DRIVER_ERRORS as error:
            if s3_errors.is_absent(error):
                return None
            raise self._calls.translated(error, key) from error
        return ObjectInfo(
            key,
            answer["ContentLength"],
            answer["ETag"].strip('"'),
            answer["LastModified"].timestamp(),
            answer.get("ChecksumSHA256"),
            answer["Metadata"],
        )

    def _about(self, key: str, bucket: str) -> str:
        return key if bucket == self._settings.bucket else f"{bucket}/{key}"

    def description(
        self, content_type: str, metadata: Metadata | None
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
        with ThreadPoolExecutor(
            4, thread_name_prefix="s3-part", initializer=heartbeats.helper()
        ) as pool:
            futures = [
                pool.submit(self._send_part, upload, number)
                for number in upload.numbers
            ]
            try:
                tags = [_awaited(future) for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return upload.complete(tags)

    def _send_part(self, upload: PartsUpload, number: int) -> str:
        if self._stop.is_set():
            raise Stopping("The daemon is stopping, so the upload is given up.")
        return upload.send(number)

    def abort(self, key: str, bucket: str, upload_id: str) -> None:
        try:
            self._calls.client.abort_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id
            )
        except s3_errors.DRIVER_ERRORS as error:
            self._log.warning("upload not aborted", key=key, error=str(error))

    def _confirm_by_head(
        self, key: str, bucket: str, size: int, etags: set[str], sha256: str
    ) -> StoredObject:
        seen = self.head(key, bucket)
        wanted = base64_of(bytes.fromhex(sha256))
        if (
            seen is not None
            and seen.size == size
            and (seen.etag in etags or seen.sha256 == wanted)
        ):
            return StoredObject(key, size, seen.etag, "head")
        raise ServiceUnavailable(
            "s3",
            f"{self._calls.address} took {key} but does not confirm its checksum.",
            hint="Nothing is released; it is stored again. If this stays, look at "
            "what stands between this machine and S3.",
        )


def _awaited(part: Future[str]) -> str:
    """Return what a part's thread returns; the driver limits how long that takes."""
    while not wait([part], _LOOK_SECONDS).done:
        heartbeats.beat()
    return part.result()
