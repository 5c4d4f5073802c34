"""Leads on to pages of ours, and to no other site."""

import re
from http import HTTPStatus
from urllib.parse import unquote, urlencode

from starlette.responses import RedirectResponse, Response


def own_path(given: str) -> str:
    """Return ``given`` if it is a path of this site, else that of its first page.

    Browsers take ``..`` and ``%2e%2e`` for the folder above, which behind a prefix is
    another program's, and a backslash for a slash.
    """
    path = unquote(re.split("[?#]", given, maxsplit=1)[0])
    ours = path.startswith("/") and not path.startswith("//") and "\\" not in path
    climbs = not {".", ".."}.isdisjoint(path.split("/"))
    return given if ours and not climbs and given.isprintable() else "/"


def to(prefix: str, path: str, **query: str) -> Response:
    """Lead to a page after a form, with ``query`` added to what ``path`` has."""
    path = own_path(path)
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query)
    return RedirectResponse(f"{prefix}{path}", HTTPStatus.SEE_OTHER)
