"""Whether S3 holds what receipts and documents name."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dropzone.sessions.s3 import S3Session
from dropzone.verify.ledger import Receipt, short
from dropzone.verify.problems import Mend, Problem, Summary


class Objects:
    """The objects below the prefix, listed once, and which of them are named."""

    def __init__(self, s3: S3Session, prefix: str, started: float) -> None:
        """Objects younger than ``started`` (epoch seconds) may not be named yet."""
        self._s3 = s3
        self._prefix = prefix
        self._started = started
        self._sizes: dict[bytes, int] = {}
        self._unnamed: set[bytes] = set()
        self._deep: set[bytes] = set()

    def list_all(self) -> int:
        """Read the list of objects; return how many there are."""
        for found in self._s3.list(self._prefix):
            key = short(found.key)
            self._sizes[key] = found.size
            if found.last_modified < self._started:
                self._unnamed.add(key)
        return len(self._sizes)

    def check(self, receipts: Sequence[Receipt], summary: Summary) -> None:
        """Look at the objects that these receipts name."""
        for receipt in receipts:
            key = receipt["s3_key"]
            if key is None:
                continue
            wrong = self._wrong(key, receipt["size"])
            if wrong is None and summary.deep:
                wrong = self._differs(key, receipt["sha256"])
            if wrong is not None:
                summary.add(
                    Problem(
                        4, key, wrong, "dropzone verify --repair", Mend.UPLOAD,
                        receipt["job"],
                    )
                )  # fmt: skip

    def name(self, key: str, size: int) -> str | None:
        """Note that a document names this object; return what is wrong with it."""
        return self._wrong(key, size)

    @property
    def unnamed(self) -> int:
        """How many objects nothing names; a crash before a commit leaves such."""
        return len(self._unnamed)

    def _wrong(self, key: str, size: int) -> str | None:
        known = short(key)
        self._unnamed.discard(known)
        there = self._sizes.get(known)
        if there is None:
            # Younger than the list, or below the prefix of former settings.
            info = self._s3.head(key)
            there = info.size if info else None
        if there is None:
            return "is missing in S3"
        return None if there == size else f"has {there} bytes in S3 instead of {size}"

    def _differs(self, key: str, sha256: str) -> str | None:
        known = short(key)
        if known in self._deep:
            return None
        self._deep.add(known)
        with tempfile.TemporaryDirectory(prefix="dropzone-") as folder:
            copy = Path(folder) / "object"
            self._s3.download(key, copy)
            with copy.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        return None if found == sha256 else "has other bytes in S3 than were dropped"
