"""Tells requests that our own pages or programs sent from those of foreign pages."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from dropzone.web.accounts import Caller

#: Where a request repeats the mark of its session: a header, or a field of a form.
HEADER = "x-csrf-token"
FIELD = "csrf"
#: Methods that change nothing, here as in HTTP.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Uploads have it; no form can.
_OF_SCRIPTS = "tus-resumable"
_OWN_SITES = frozenset({"same-origin", "none"})


def is_of_other_site(headers: Headers) -> bool:
    """Return whether a browser names another site as where this comes from."""
    site = headers.get("sec-fetch-site")
    return site is not None and site not in _OWN_SITES


def is_foreign(headers: Headers, scheme: str, host: str) -> bool:
    """Return whether a browser says that a page of another site sends this."""
    if is_of_other_site(headers):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    # A page without an origin of its own says "null".
    return _place(origin) != _place(f"{scheme}://{host}")


def is_led_here(headers: Headers) -> bool:
    """Return whether a person goes from another site's page to one of ours.

    That page can only link to us: what it loads by itself, as a picture, a script or a
    frame, costs us work, and how that ends tells it what is here.
    """
    wanted = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return wanted == ("navigate", "document")


def is_meant(caller: Caller, headers: Headers, field: str | None) -> bool:
    """Return whether the one who asks knows that this changes something.

    A bearer token is never sent by a browser on its own. Without tokens, a foreign
    page cannot send JSON, or a header that only scripts can set, before it is allowed
    to, which it never is.
    """
    if caller.by == "bearer":
        return True
    given = headers.get(HEADER) or field or ""
    if caller.csrf and hmac.compare_digest(given.encode(), caller.csrf.encode()):
        return True
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    asked_first = kind == "application/json" or _OF_SCRIPTS in headers
    return caller.by == "local" and asked_first


def _place(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ("", None, None)
    default = 443 if parts.scheme == "https" else 80
    return (parts.scheme, parts.hostname, port or default)
