"""Markdown: the text as written, cut at its headings."""

import re
from collections.abc import Iterator

from dropzone.extract import BINARY, Block, Extracted
from dropzone.extract.headings import Trail
from dropzone.extract.plain import decode

# Each alternative matches without backtracking over a long line.
_MARK = re.compile(
    r"^[ ]{0,3}(?:(?P<fence>```|~~~)"
    r"|(?P<level>\#{1,6})[ \t]+(?P<title>[^\n]*)"
    r"|(?P<over>[^\s>*+|#-][^\n]*)\n(?P<under>=+|-+)[ \t]*$)",
    re.MULTILINE,
)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*$", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title:[ \t]*([^\n]+)$", re.MULTILINE)


def read(data: bytes, limit: int) -> Extracted:
    decoded = decode(data, limit)
    if decoded is None:
        return Extracted(notes=(BINARY,))
    text = decoded.text
    front = _FRONT_MATTER.match(text)
    body = front.end() if front else 0
    blocks = tuple(_sections(text, body))
    title = _title(front.group(1) if front else "", blocks)
    return Extracted(blocks, {"title": title}, decoded.notes)


def _sections(text: str, body: int) -> Iterator[Block]:
    trail = Trail()
    start = 0
    for at, level, title in _headings(text, body):
        yield Block(text[start:at], heading=trail.path)
        trail.enter(level, title)
        start = at
    yield Block(text[start:], heading=trail.path)


def _headings(text: str, body: int) -> Iterator[tuple[int, int, str]]:
    fence = None
    for mark in _MARK.finditer(text, body):
        if mark["fence"]:
            fence = None if fence == mark["fence"] else fence or mark["fence"]
        elif fence is None and mark["level"]:
            title = mark["title"].strip().rstrip("#").strip()
            yield mark.start(), len(mark["level"]), title
        elif fence is None:
            level = 1 if mark["under"].startswith("=") else 2
            yield mark.start(), level, mark["over"].strip()


def _title(front: str, blocks: tuple[Block, ...]) -> str:
    if named := _FRONT_TITLE.search(front):
        return named.group(1).strip().strip("\"'")
    return next((block.heading[0] for block in blocks if block.heading), "")
