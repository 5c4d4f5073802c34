"""Text that is safe to store and safe to show. Pure functions, no imports of ours."""

import re
import unicodedata

# Postgres text and jsonb refuse NUL; lone surrogates cannot be encoded as UTF-8.
# The other C0 controls carry no meaning in extracted text and break terminals.
_DROPPED = dict.fromkeys([*range(9), 11, *range(14, 32), 127])
# Most text needs nothing, and a search costs a tenth of a translation.
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")
# Putting marks in order takes the square of how many follow each other, so a text is
# composed in pieces. Nothing composes with white space before it.
_PIECE = re.compile(r"(?s).{1,500}(?!\S)|.{1,500}")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def clean(text: str) -> str:
    """Return ``text`` without NUL and other controls, lone surrogates as U+FFFD.

    Tab, newline, form feed (page break) and carriage return stay.
    """
    if _UNCLEAN.search(text) is None:
        return text
    if text.isascii():
        return text.translate(_DROPPED)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.translate(_DROPPED)


def composed(text: str) -> str:
    """Return ``text`` in Unicode's form NFC, where a letter has its marks in itself."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFC", part) for part in _PIECE.findall(text))


def folded(name: bytes | str) -> str:
    """Return a name as names are compared: composed, and without sizes of letters."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    # Some letters fold into others only when they are taken apart.
    apart = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", apart)


def forms(name: str) -> list[str]:
    """Return ``name`` as it is, and in the other forms that systems give it.

    Macs may take letters and their marks apart (NFD), others have them in one (NFC).
    """
    other = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return list(dict.fromkeys([name, *other]))


def display(name: bytes | str) -> str:
    r"""Return a file name as one printable line.

    Bytes that are not UTF-8, control characters and invisible direction marks come
    out as ``\x..`` or ``\u....``, so that a name can neither forge a log line nor
    reorder a terminal's text. The result is for people; it is not reversible.
    """
    # A surrogate that stands for no byte comes out of this as three escaped ones.
    raw = name if isinstance(name, bytes) else _encoded(name)
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if _printable(c) else _escape(c) for c in text)


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 the step between units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def span(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _encoded(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def _printable(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
