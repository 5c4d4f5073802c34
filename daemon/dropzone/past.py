"""Finds jobs that only their receipts tell of: the journal's rows were dropped."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dropzone import receipts
from dropzone.models import Job
from dropzone.places import unquoted
from dropzone.rescuer import job_of

_SHORT_ID = 12


def find(directory: Path, words: str, limit: int) -> list[tuple[Job, dict[str, Any]]]:
    """Return ended jobs with their receipts, the newest first.

    ``words`` is an id or its end, a SHA-256, a path below input or a file name.
    """
    found: list[tuple[Job, dict[str, Any]]] = []
    hints = [words.lower().encode(errors="replace"), quote(os.fsencode(words)).encode()]
    for path in reversed(receipts.files(directory)):
        with path.open("rb") as lines:
            of_file = [
                receipt
                for line in lines
                if line.endswith(b"\n")
                and any(hint in line for hint in hints)
                and _means(receipt := json.loads(line), words)
            ]
        found += [(job_of(one, moved=True), one) for one in reversed(of_file)]
        if len(found) >= limit:
            break
    return found[:limit]


def _means(receipt: dict[str, Any], words: str) -> bool:
    exact = {receipt["job"], receipt["sha256"], receipt["name"]}
    if words.lower() in exact or words in exact:
        return True
    if len(words) >= _SHORT_ID and receipt["job"].endswith(words.lower()):
        return True
    path = words.encode("utf-8", "surrogateescape")
    return unquoted(receipt["path"]) == path
