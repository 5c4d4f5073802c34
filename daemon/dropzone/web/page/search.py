"""Search: what was indexed, by words and by meaning, with the passages."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from dropzone.web.page.desk import View, Visit
from dropzone.web.page.files import WITHIN
from dropzone.web.problems import Problem

_FIRST, _MORE, _MOST = 10, 10, 100
#: How to search: what the API calls it, what people read, and what it does.
MODES = (
    ("hybrid", "Both", "Passages with your words first, then similar ones."),
    ("text", "Words", "Only passages with your words, also in their other forms."),
    (
        "vector",
        "Similarity",
        "Passages that are similar to your words as a whole, even if some are missing.",
    ),
)
_MATCHES = {
    "text": "has your words",
    "vector": "is similar",
    "both": "has your words and is similar",
}
#: Filters as the address has them, and what the API calls them.
_FILTERS = {
    "zone": "zone",
    "collection": "collection",
    "type": "doc_type",
    "name": "name",
    "within": "since",
    "metadata": "metadata",
}


def _search(visit: Visit) -> Mapping[str, Any]:
    words, mode = visit.given("q"), visit.given("mode") or "hybrid"
    filters = {name: visit.given(name) for name in _FILTERS}
    asked = {"q": words, "mode": mode, **filters}
    collections, unknown = _collections(visit)
    return {
        "words": words,
        "mode": mode,
        "modes": MODES,
        "matches": _MATCHES,
        "filters": filters,
        "collections": collections,
        "zones": sorted({one.zone for one in collections}),
        "spans": WITHIN,
        "documents": sum(one.documents or 0 for one in collections),
        "unknown": unknown,
        "plain": _address({"q": words}),
        **(_found(visit, asked) if words else {"hits": None, "problem": None}),
    }


def _found(visit: Visit, asked: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the hits; or the problem, so that the rest of the page stays."""
    limit = _limit(visit)
    given = {name: value for name, value in asked.items() if value}
    try:
        told = visit.ask("search", query={**_query(given), "limit": limit})
    except Problem as problem:
        return {"hits": None, "problem": problem}
    more = None
    if len(told.hits) == limit < _MOST:
        more = _address({**given, "limit": str(min(limit + _MORE, _MOST))})
    return {
        "hits": told.hits,
        "model": told.model,
        "problem": None,
        "more": more,
        "at_most": len(told.hits) == _MOST,
        "before": limit - _MORE,
    }


def _query(given: Mapping[str, str]) -> dict[str, Any]:
    """Return what is asked of the operation; it checks all but the time."""
    query: dict[str, Any] = {_FILTERS.get(n, n): value for n, value in given.items()}
    if within := given.get("within"):
        if within not in dict(WITHIN):
            raise Problem(
                422, "Nothing is found by this time.", "Choose one that is offered."
            )
        query["since"] = time.time() - int(within)
    return query


def _limit(visit: Visit) -> int:
    given = visit.given("limit")
    wanted = int(given) if given.isdecimal() and len(given) < len("1000") else _FIRST
    return min(max(wanted, _FIRST), _MOST)


def _address(given: Mapping[str, str]) -> str:
    return "/search?" + urlencode(given)


def _collections(visit: Visit) -> tuple[Any, str]:
    try:
        told = visit.ask("collections")
    except Problem as problem:
        return [], problem.detail
    return told.collections, told.documents_unknown


VIEWS = (View("/search", "search.html", _search, "search", asks_servers=True),)
