"""The addresses of all that a daemon shows and tells: pages and API."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dropzone.web.page.site import VIEWS

# What some need to be asked at all.
_QUERIES = {
    "/ask/set_aside": "?job={failed}",
    "/api/v1/lookup": "?q=Report-000007.pdf",
    "/api/v1/search": "?q=red+house",
}
# Events never end, and of uploads there is none.
_LEFT_OUT = {"/api/v1/events", "/api/v1/uploads/{upload}"}
_LISTS = (
    "",
    "?cursor={cursor}",
    "?state=failed",
    "?state=waiting",
    "?collection=letters",
    "?text=nothing+like+it",
)
_MORE = (
    "/login",
    "/files/{failed}",
    "/files?q=Report-000007.pdf",
    "/files?q=nothing",
    "/files?q=00ab",
    "/search?q=red+house",
    "/settings/configuration?show=all",
    "/api/v1/lookup?q=nothing",
    "/api/v1/jobs?open=true",
    f"/api/v1/jobs?sha256={'0' * 64}",
)


def of_pages(known: Mapping[str, str]) -> list[str]:
    """Return an address of every page; ``known`` names a job and so on."""
    # Those without a template are no pages.
    return _filled((view.path for view in VIEWS if view.template), known)


def of_all(ask: Callable[[str], Any]) -> list[str]:
    """Return every page and list, also with the dearest questions.

    ``ask`` returns what the API tells at an address of the jobs of many_jobs.py, with
    files in the collection letters that were really indexed.
    """
    long_ago = time.time() - 15 * 86_400
    known = {
        "job": _newest(ask, "state=indexed&collection=letters"),
        "failed": _newest(ask, "state=failed"),
        "cursor": ask(f"/api/v1/jobs?until={long_ago}")["next"],
        "zone": "default",
        "collection": "letters",
        "operation": "pause",
    }
    links = [link for link in ask("/api/v1")["links"] if link not in _LEFT_OUT]
    asked = (
        f"{path}{query}" for path in ("/files", "/api/v1/jobs") for query in _LISTS
    )
    found = [*of_pages(known), *_filled((*links, *asked, *_MORE), known)]
    return list(dict.fromkeys(found))


def _newest(ask: Callable[[str], Any], query: str) -> str:
    job: str = ask(f"/api/v1/jobs?limit=1&{query}")["jobs"][0]["id"]
    return job


def _filled(
    paths: Iterator[str] | tuple[str, ...], known: Mapping[str, str]
) -> list[str]:
    whole = (path + _QUERIES.get(path, "") for path in paths)
    return [re.sub(r"{(\w+)(:\w+)?}", lambda m: known[m[1]], one) for one in whole]
