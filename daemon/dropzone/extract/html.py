"""HTML: the readable text, cut at its headings, without scripts and navigation.

The standard parser keeps no tree, so deep nesting costs nothing; the document
libraries that were tried drop the text after a line break or hang on such input.
"""

import codecs
import re
from html.parser import HTMLParser

from dropzone.extract import BINARY, PARTIAL, Block, Extracted
from dropzone.extract.headings import Trail
from dropzone.extract.plain import decode

_NEVER_SHOWN = frozenset({"script", "style", "template", "svg", "head"})
_AROUND = frozenset({"nav"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_PARAGRAPHS = frozenset(
    """
    address article aside blockquote body dd details div dl dt fieldset figcaption
    figure footer form header hr html main ol p pre section summary table ul
    """.split()  # noqa: SIM905 - read by people
)
_LINES = frozenset({"br", "li", "option", "tr"})
_CELLS = frozenset({"td", "th"})
_DESCRIBED = frozenset({"author", "description", "keywords"})
_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset=[\"' ]?([a-zA-Z0-9_.:-]{1,40})", re.IGNORECASE
)
_CHARSET_WITHIN = 4096
_SPACES = re.compile(r"[ \t\n\f]+")
_TAG = re.compile(r"<[^<>]*>")


def read(data: bytes, limit: int) -> Extracted:
    # Mark-up is often more than half; the text itself is cut by the caller.
    decoded = decode(data, 8 * limit, _charset(data[:_CHARSET_WITHIN]))
    if decoded is None:
        return Extracted(notes=(BINARY,))
    text = _without_open_comment(decoded.text)
    page = _parse(text, _NEVER_SHOWN | _AROUND)
    if not any(block.text.strip() for block in page.blocks):
        # Everything stood in navigation, or an element was never closed.
        page = _parse(text, frozenset({"script", "style"}))
    notes = (*decoded.notes, *page.notes)
    return Extracted(tuple(page.blocks), page.metadata, notes)


def _charset(head: bytes) -> str | None:
    named = _CHARSET.search(head)
    try:
        name = codecs.lookup(named.group(1).decode("ascii")).name if named else None
    except LookupError:
        return None
    # Whoever could write the tag in ASCII did not write UTF-16; and "latin-1" has
    # meant cp1252 on the web since its beginning.
    if name is None or name.startswith(("utf-16", "utf-32")):
        return None
    return "cp1252" if name in {"iso8859-1", "ascii"} else _text_codec(name)


def _text_codec(name: str) -> str | None:
    # "base64" and "zip" are codecs too, but not of text.
    try:
        b" ".decode(name)
    except (LookupError, UnicodeError):
        return None
    return name


def _without_open_comment(text: str) -> str:
    """Cut a comment that never ends; many of them take the parser quadratic time."""
    start = text.find("<!--", text.rfind("-->") + 1)
    return text if start < 0 else text[:start]


def _parse(text: str, hidden: frozenset[str]) -> "_Page":
    page = _Page(hidden)
    try:
        page.feed(text)
        page.close()
    except AssertionError:
        # The parser gives up on some malformed declarations; the rest is still text.
        page.handle_data(_TAG.sub(" ", page.rawdata))
        page.notes.append(PARTIAL)
    page.end_section()
    return page


class _Page(HTMLParser):
    def __init__(self, hidden: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.metadata: dict[str, str] = {}
        self.notes: list[str] = []
        self._hidden = hidden
        self._hiding: list[str] = []
        self._trail = Trail()
        self._pieces: list[str] = []
        self._heading: int | None = None
        self._pre = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = "title" not in self.metadata
        elif tag == "meta":
            self._describe(dict(attrs))
        elif tag == "body":
            self._hiding.clear()
        if tag in self._hidden:
            self._hiding.append(tag)
        elif tag in _HEADINGS and not self._hiding:
            self.end_section()
            self._heading = len(self._pieces)
        else:
            self._break(tag)
        self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in self._hiding:
            while self._hiding.pop() != tag:
                pass
        elif tag in _HEADINGS and self._heading is not None:
            title = _SPACES.sub(" ", "".join(self._pieces[self._heading :])).strip()
            self._heading = None
            self._trail.enter(_HEADINGS[tag], title)
            self._pieces.append("\n\n")
        elif tag not in _LINES:
            self._break(tag)
        self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._in_title:
            title = self.metadata.get("title", "") + data
            self.metadata["title"] = _SPACES.sub(" ", title)
        elif not self._hiding:
            self._pieces.append(data if self._pre else _SPACES.sub(" ", data))

    def end_section(self) -> None:
        """Close the block under the heading so far."""
        if self._pieces:
            text = _tidy("".join(self._pieces))
            self.blocks.append(Block(text, heading=self._trail.path))
            self._pieces = []

    def _describe(self, attributes: dict[str, str | None]) -> None:
        name = (attributes.get("name") or "").lower()
        if name in _DESCRIBED:
            self.metadata.setdefault(name, attributes.get("content") or "")

    def _break(self, tag: str) -> None:
        if self._hiding:
            return
        if tag in _PARAGRAPHS:
            self._pieces.append("\n\n")
        elif tag in _LINES:
            self._pieces.append("\n")
        elif tag in _CELLS:
            self._pieces.append(" ")


def _tidy(text: str) -> str:
    lines = [line.strip() for line in text.split("\n")]
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept)
