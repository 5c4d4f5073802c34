"""Text that is safe to store and safe to show. Pure functions, no imports of ours."""

import unicodedata

# Postgres text and jsonb refuse NUL; lone surrogates cannot be encoded as UTF-8.
# The other C0 controls carry no meaning in extracted text and break terminals.
_DROPPED = dict.fromkeys([*range(9), 11, *range(14, 32), 127])


def clean(text: str) -> str:
    """Return ``text`` without NUL and other controls, lone surrogates as U+FFFD.

    Tab, newline, form feed (page break) and carriage return stay.
    """
    if text.isascii():
        return text.translate(_DROPPED)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.translate(_DROPPED)


def display(name: bytes | str) -> str:
    r"""Return a file name as one printable line.

    Bytes that are not UTF-8, control characters and invisible direction marks come
    out as ``\x..`` or ``\u....``, so that a name can neither forge a log line nor
    reorder a terminal's text. The result is for people; it is not reversible.
    """
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if _printable(c) else _escape(c) for c in text)


def _printable(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
