"""Cuts a document's text into overlapping pieces at its own joints. Pure."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from dropzone.extract import Block
from dropzone.models import Chunk

# Between blocks in the document's clean text; also what ends a paragraph.
SEPARATOR = "\n\n"
HEADING_SEPARATOR = " > "

_SENTENCE_ENDS = (*(f"{end}{gap}" for end in ".!?" for gap in " \n"), *"。\uff01\uff1f")
_WORD_ENDS = (" ", "\n", "\t")
_INK = re.compile(r"\S")
_SPACE = re.compile(r"\s")


def join(blocks: Iterable[Block]) -> str:
    """Return the document's clean text, the one that chunk offsets count in."""
    return SEPARATOR.join(block.text for block in blocks)


def split(
    blocks: Sequence[Block], max_characters: int = 800, overlap: int = 80
) -> list[Chunk]:
    """Return chunks with ``join(blocks)[chunk.start:chunk.end] == chunk.text``.

    Every character that is not white space lies in a chunk; chunks are in order, none
    is longer than ``max_characters`` and none crosses a page. A chunk that begins
    inside a paragraph repeats up to ``overlap`` characters of the one before.
    """
    if not 0 <= overlap * 2 <= max_characters or not max_characters:
        raise ValueError("overlap must be at most half of max_characters")
    splitter = _Splitter(blocks, max_characters, overlap)
    return [
        Chunk(seq, splitter.text[start:end], start, end, page, heading)
        for seq, (start, end, page, heading) in enumerate(splitter.pieces())
    ]


class _Splitter:
    def __init__(self, blocks: Sequence[Block], size: int, overlap: int) -> None:
        self.text = join(blocks)
        self._blocks = blocks
        self._size = size
        self._overlap = overlap
        self._starts = _starts(blocks)
        self._sections = [
            start
            for (before, block), start in zip(
                pairwise(blocks), self._starts[1:], strict=True
            )
            if before.heading != block.heading
        ]

    def pieces(self) -> Iterator[tuple[int, int, int | None, str]]:
        for page, start, end in self._pages():
            for low, high in self._cut(start, end):
                yield low, high, page, self._heading(low, high)

    def _pages(self) -> Iterator[tuple[int | None, int, int]]:
        spans = zip(self._blocks, self._starts, strict=True)
        for page, group in groupby(spans, key=lambda span: span[0].page):
            members = list(group)
            last, last_start = members[-1]
            yield page, members[0][1], last_start + len(last.text)

    def _cut(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        done = start
        while ink := _INK.search(self.text, start, end):
            low = ink.start()
            high, inside = self._break(low, end)
            last = low + len(self.text[low:high].rstrip())
            # Otherwise only white space follows what the overlap repeats.
            if last > done:
                yield low, last
                done = last
            start = self._step_back(high) if inside else high

    def _break(self, low: int, end: int) -> tuple[int, bool]:
        """Return where the piece ends, and whether that is inside a paragraph."""
        if end - low <= self._size:
            return end, False
        # The last piece is not left with a few words: it gets a quarter at least.
        high = min(low + self._size, end - self._size // 4)
        least = low + self._size // 2
        section = bisect_right(self._sections, high) - 1
        if section >= 0 and self._sections[section] > least:
            return self._sections[section], False
        paragraph = self.text.rfind(SEPARATOR, least, high)
        if paragraph >= 0:
            return paragraph, False
        for ends in (_SENTENCE_ENDS, _WORD_ENDS):
            found = max(self._after(sign, least, high) for sign in ends)
            if found > least:
                return found, True
        return high, True

    def _after(self, sign: str, least: int, high: int) -> int:
        found = self.text.rfind(sign, least, high)
        return found + len(sign) if found >= 0 else -1

    def _step_back(self, high: int) -> int:
        """Begin the next piece in the overlap, at a word where there is one."""
        back = high - self._overlap
        space = _SPACE.search(self.text, back, high)
        return space.end() if space else back

    def _heading(self, low: int, high: int) -> str:
        first = bisect_right(self._starts, low) - 1
        last = bisect_left(self._starts, high)
        common = self._blocks[first].heading
        for block in self._blocks[first + 1 : last]:
            same = 0
            for ours, theirs in zip(common, block.heading, strict=False):
                if ours != theirs:
                    break
                same += 1
            common = common[:same]
        return HEADING_SEPARATOR.join(common)


def _starts(blocks: Sequence[Block]) -> list[int]:
    starts = []
    at = 0
    for block in blocks:
        starts.append(at)
        at += len(block.text) + len(SEPARATOR)
    return starts
