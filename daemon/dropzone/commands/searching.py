"""One search from the command line: opens Postgres for it, and closes it again."""

from dropzone.commands import access
from dropzone.embed import make_embedder
from dropzone.embedded import remembered
from dropzone.errors import ZoneError
from dropzone.search import Hit, Mode, Search
from dropzone.settings import Settings


def search(
    settings: Settings, text: str, *, collection: str | None, limit: int, mode: Mode
) -> list[Hit]:
    """Return the best passages.

    Raises:
        ZoneError: nothing was ever indexed.
        UsageError: the query makes no sense.
        ServiceUnavailable: Postgres cannot be asked.

    """
    if settings.embeds_postgres and remembered(settings.services_directory) is None:
        raise ZoneError(
            "Nothing can be found: no daemon ever ran here.",
            hint="Start it with 'dropzone run', then drop files.",
        )
    with access.sessions(settings) as pool:
        # A database that no daemon has used yet has no tables.
        pool.postgres.migrate()
        searcher = Search(pool.postgres, make_embedder(settings.embedding.model))
        return searcher.search(text, collection=collection, limit=limit, mode=mode)
