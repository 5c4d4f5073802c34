"""How parts follow from the settings, wherever they are built: daemon or command."""

import os

from dropzone.documents import Documents
from dropzone.embed import make_embedder
from dropzone.index import IndexRules
from dropzone.sessions import SessionPool
from dropzone.settings import Settings, Zone


def documents(pool: SessionPool, settings: Settings) -> Documents:
    """Return the documents in Postgres, with the vectors of the chosen model."""
    embedder = make_embedder(settings.embedding.model)
    return Documents(
        pool.postgres,
        model_name=embedder.name,
        model_fingerprint=embedder.fingerprint,
        dims=embedder.dims,
        params=embedder.params,
    )


def index_rules(settings: Settings) -> IndexRules:
    """Return how text is made and cut."""
    return IndexRules(
        text_bytes=int(settings.limits.text_megabytes * 1_000_000),
        max_characters=settings.extract.max_characters,
        chunk_characters=settings.chunking.max_characters,
        chunk_overlap=settings.chunking.overlap_characters,
        model=settings.embedding.model,
    )


def run_params(zone: Zone, settings: Settings) -> dict[str, str]:
    """Return what the parameters of every MLflow run say."""
    return {
        "zone": zone.name,
        "embedding_model": settings.embedding.model,
        "chunk_characters": str(settings.chunking.max_characters),
        "chunk_overlap": str(settings.chunking.overlap_characters),
        "key_template": settings.aws.key_template,
    }


def processes(settings: Settings) -> int:
    """Return how many parser processes to run: as set, or half of the cores."""
    return settings.executor.processes or max(2, (os.cpu_count() or 2) // 2)
