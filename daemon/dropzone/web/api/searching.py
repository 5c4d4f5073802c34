"""Search over what was indexed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from dropzone.embed import make_embedder
from dropzone.errors import ServiceUnavailable
from dropzone.search import Search, Where
from dropzone.sessions.postgres_errors import misses_tables
from dropzone.web.api import models
from dropzone.web.api.backend import Backend
from dropzone.web.api.documents import nothing_ended
from dropzone.web.api.jobs import Moment
from dropzone.web.api.operation import Ask, Given, Operation, Text

# Few threads answer all requests: a server that hangs must not keep them for a minute.
_PATIENCE_SECONDS = 15.0


class Query(Given):
    q: Annotated[Text, Field(description='Words; "in quotes" they stay together.')]
    zone: Text | None = None
    collection: Text | None = None
    doc_type: Annotated[Text | None, Field(description="Such as pdf.")] = None
    name: Annotated[Text | None, Field(description="Part of the path.")] = None
    since: Annotated[Moment | None, Field(description="Taken since then.")] = None
    until: Annotated[Moment | None, Field(description="Taken before then.")] = None
    metadata: Annotated[
        Text | None,
        Field(description="NAME=VALUE as a person gave it, or NAME for any."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    mode: Literal["hybrid", "vector", "text"] = "hybrid"


def search(backend: Backend, ask: Ask) -> Mapping[str, Any]:
    """Return the best passages, as the command does."""
    query: Query = ask.query
    embedder = make_embedder(backend.settings().embedding.model)
    where = Where(
        collection=query.collection,
        zone=query.zone,
        doc_type=query.doc_type,
        name=query.name,
        since=query.since,
        until=query.until,
        given=query.metadata,
    )
    postgres = backend.connected().postgres
    try:
        hits = Search(postgres, embedder, patience=_PATIENCE_SECONDS).search(
            query.q, limit=query.limit, mode=query.mode, where=where
        )
    except ServiceUnavailable as error:
        if not (misses_tables(error) and nothing_ended(backend)):
            raise
        hits = []
    return {"hits": hits, "model": embedder.name}


OPERATIONS = (
    Operation(
        *("GET", "/api/v1/search", "search"),
        "Passages of the indexed files, the best first.",
        search,
        models.Hits,
        query=Query,
        asks_servers=True,
    ),
)
