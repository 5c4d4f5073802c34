"""A large file on its way to S3 in parts."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from dropzone.errors import SourceChanged
from dropzone.sessions.objects import FileDigest, base64_of

T = TypeVar("T")


class Calls(Protocol):
    """Runs a request of its client with retries; ``about`` is for messages."""

    @property
    def client(self) -> Any: ...
    def call(self, function: Callable[[], T], about: str) -> T: ...


class PartsUpload:
    """The requests of one upload. Parts may be sent from several threads.

    Parts are repeated one by one: repeating a whole file of 200 GB because one
    request in ten thousand failed would never end.
    """

    def __init__(
        self,
        calls: Calls,
        bucket: str,
        key: str,
        descriptor: int,
        digest: FileDigest,
    ) -> None:
        self.id = ""
        self._calls = calls
        self._where: Mapping[str, str] = {"Bucket": bucket, "Key": key}
        self._key = key
        self._descriptor = descriptor
        self._digest = digest

    @property
    def numbers(self) -> range:
        """The numbers of the parts, from 1."""
        return range(1, len(self._digest.part_md5s) + 1)

    def begin(self, description: Mapping[str, Any]) -> None:
        answer = self._calls.call(
            lambda: self._calls.client.create_multipart_upload(
                **self._where, **description
            ),
            self._key,
        )
        self.id = answer["UploadId"]

    def send(self, number: int) -> str:
        """Send one part; S3 refuses it unless it has the MD5 of the digest.

        Raises:
            SourceChanged: the file no longer holds the bytes that were digested.

        """
        size = self._digest.part_size
        offset = (number - 1) * size
        data = os.pread(self._descriptor, size, offset)
        if len(data) != min(size, self._digest.size - offset):
            raise SourceChanged(f"{self._key}: the file became shorter.")
        answer = self._calls.call(
            lambda: self._calls.client.upload_part(
                **self._where,
                UploadId=self.id,
                PartNumber=number,
                Body=data,
                ContentMD5=base64_of(self._digest.part_md5s[number - 1]),
            ),
            self._key,
        )
        return str(answer["ETag"])

    def complete(self, tags: Sequence[str]) -> str:
        """Make the object appear; return its ETag."""
        parts = [
            {"PartNumber": number, "ETag": tag}
            for number, tag in zip(self.numbers, tags, strict=True)
        ]
        answer = self._calls.call(
            lambda: self._calls.client.complete_multipart_upload(
                **self._where, UploadId=self.id, MultipartUpload={"Parts": parts}
            ),
            self._key,
        )
        return str(answer["ETag"]).strip('"')
