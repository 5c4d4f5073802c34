"""How browsers are told to save a file, whatever is in it, and not to show it."""

from urllib.parse import quote

from dropzone.text import display

#: The type that no browser shows.
MEDIA = "application/octet-stream"


def disposition(name: bytes) -> str:
    """Return the name as RFC 6266 has it, without anything that could end a header."""
    shown = display(name)
    plain = "".join(c if c.isascii() and c not in '"\\/%' else "_" for c in shown)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}"
