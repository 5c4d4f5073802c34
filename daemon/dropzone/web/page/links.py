"""Leads on to pages of ours, and to no other site."""

from http import HTTPStatus
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response


def own_path(given: str) -> str:
    """Return ``given`` if it is a path of this site, else that of its first page."""
    ours = given.startswith("/") and given[1:2] not in {"/", "\\"}
    return given if ours and given.isprintable() else "/"


def to(prefix: str, path: str, **query: str) -> Response:
    """Lead to a page after a form, with ``query`` added to what ``path`` has."""
    path = own_path(path)
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query)
    return RedirectResponse(f"{prefix}{path}", HTTPStatus.SEE_OTHER)
