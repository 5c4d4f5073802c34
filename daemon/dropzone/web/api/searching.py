"""Search over what was indexed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from dropzone.embed import make_embedder
from dropzone.search import Search
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.operation import Ask, Given, Operation, Text


class Query(Given):
    q: Annotated[Text, Field(description='Words; "in quotes" they stay together.')]
    collection: Text | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    mode: Literal["hybrid", "vector", "text"] = "hybrid"


def search(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return the best passages, as the command does."""
    query: Query = ask.query
    embedder = make_embedder(backend.settings().embedding.model)
    hits = Search(backend.connected().postgres, embedder).search(
        query.q, collection=query.collection, limit=query.limit, mode=query.mode
    )
    return {"hits": hits, "model": embedder.name}


OPERATIONS = (
    Operation(
        *("GET", "/api/v1/search", "search"),
        "Passages of the indexed files, the best first.",
        search,
        models.Hits,
        query=Query,
    ),
)
