"""Plain text in any of the encodings that are really met; binary is told apart."""

import codecs
import contextlib
import re
from typing import NamedTuple

from dropzone.extract import BINARY, Block, Extracted

# The longest marks first: UTF-32-LE begins with the mark of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r\f\x1b"))
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LOST_SHARE = 0.05
_SAMPLE_BYTES = 4096
_LONGEST_CHARACTER = 4
_NON_ASCII = re.compile(r"[^\x00-\x7f]")


class Decoded(NamedTuple):
    """Text with plain newlines, and what had to be done to get it."""

    text: str
    notes: tuple[str, ...] = ()


def read(data: bytes, limit: int) -> Extracted:
    decoded = decode(data, limit)
    if decoded is None:
        return Extracted(notes=(BINARY,))
    return Extracted((Block(decoded.text),), {}, decoded.notes)


def decode(data: bytes, limit: int, declared: str | None = None) -> Decoded | None:
    """Return the text with plain newlines, or None if the bytes are not text.

    At most a little more than ``limit`` characters, so that the caller sees a cut.
    """
    data = data[: (limit + 1) * _LONGEST_CHARACTER]
    decoded = _decode(data, declared)
    if _lost(decoded.text) > _LOST_SHARE * len(decoded.text):
        return None
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(text, decoded.notes)


def _decode(data: bytes, declared: str | None) -> Decoded:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Decoded(_replacing(data[len(mark) :], encoding))
    if wide := _utf16_by_nuls(data[:_SAMPLE_BYTES]):
        return Decoded(_replacing(data, wide))
    for encoding in ("utf-8", *filter(None, (declared,))):
        # Not final: the cut at the limit may have split the last character.
        with contextlib.suppress(UnicodeError):
            return Decoded(codecs.getincrementaldecoder(encoding)().decode(data))
    return _eight_bit_or_damaged(data)


def _eight_bit_or_damaged(data: bytes) -> Decoded:
    """Tell UTF-8 with a few bad bytes (a cut log) from an 8-bit encoding."""
    text = _replacing(data, "utf-8")
    bad = text.count(_REPLACEMENT)
    if len(_NON_ASCII.findall(text)) > 2 * bad:
        return Decoded(text, ("invalid_utf8",))
    return Decoded(_replacing(data, "cp1252"), ("decoded as cp1252",))


def _replacing(data: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(data)


def _utf16_by_nuls(sample: bytes) -> str | None:
    """Recognise UTF-16 without a mark: every other byte of western text is NUL."""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > half * 0.7 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.7 and odd < half * 0.05:
        return "utf-16-be"
    return None


def _lost(text: str) -> int:
    raw = text.encode("utf-8", "replace")
    return len(raw) - len(raw.translate(None, _CONTROLS)) + text.count(_REPLACEMENT)
