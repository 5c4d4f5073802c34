"""Word documents: paragraphs, lists and tables under their headings.

Pages are not reported: where a page ends is decided by the program that shows it.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any
from xml.parsers import expat

from dropzone.errors import DocumentRejected
from dropzone.extract import PARTIAL, Block, Extracted
from dropzone.extract.foreign import extract_with_xberg
from dropzone.extract.headings import Trail

_MIME = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_BODY = "word/document.xml"


def read(data: bytes, limit: int) -> Extracted:  # noqa: ARG001 - the caller cuts
    if data.startswith(_OLE_MARK):
        raise _old_container(data)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise DocumentRejected(
            "This DOCX is damaged or is not a DOCX: its container cannot be opened.",
            hint="Check that it opens in a word processor, then save it again.",
        )
    try:
        found = extract_with_xberg(data, _MIME)
    except DocumentRejected as error:
        raise DocumentRejected(
            f"This DOCX cannot be read: {error.__cause__ or error.message}.",
            hint="Check that it opens in a word processor, then save it again.",
        ) from error
    nodes = found.document.nodes if found.document else ()
    blocks = tuple(_sections(json.loads(str(node.content)) for node in nodes))
    notes = () if _is_whole(data) else (PARTIAL,)
    return Extracted(blocks, _metadata(found.metadata), notes)


def _sections(nodes: Iterable[dict[str, Any]]) -> Iterator[Block]:
    trail = Trail()
    pieces: list[str] = []
    for node in nodes:
        text = _text_of(node)
        if node["node_type"] == "heading":
            yield Block("\n\n".join(pieces), heading=trail.path)
            pieces = []
            trail.enter(node["level"], text.strip())
        if text.strip():
            pieces.append(text)
    yield Block("\n\n".join(pieces), heading=trail.path)


def _text_of(node: dict[str, Any]) -> str:
    if node["node_type"] == "table":
        rows: dict[int, list[str]] = {}
        for cell in node["grid"]["cells"]:
            rows.setdefault(cell["row"], []).append(cell["content"])
        return "\n".join(", ".join(filter(None, row)) for row in rows.values())
    return str(node.get("text") or "")


def _metadata(found: Any) -> dict[str, str]:
    return {
        "title": found.title or "",
        "author": ", ".join(found.authors or ()),
        "subject": found.subject or "",
        "keywords": ", ".join(found.keywords or ()),
        "created": found.created_at or "",
    }


def _is_whole(data: bytes) -> bool:
    """Tell whether the body is complete XML; xberg returns half of it in silence."""
    parser = expat.ParserCreate()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_BODY) as body:
            parser.ParseFile(body)
    except (expat.ExpatError, zipfile.BadZipFile, KeyError, OSError):
        return False
    return True


def _old_container(data: bytes) -> DocumentRejected:
    if _ENCRYPTED_STREAM in data:
        return DocumentRejected(
            "This DOCX needs a password to be opened.",
            hint="Save a copy without the password and drop that.",
        )
    return DocumentRejected(
        "This is an old Word file (.doc) with the name of a new one (.docx).",
        hint="Open it in a word processor and save it as .docx.",
    )
