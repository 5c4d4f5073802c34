"""How parts follow from the settings, wherever they are built: daemon or command."""

import os
import threading
from typing import Any

from dropzone import care, fsops
from dropzone.care.cleaning import Zone as CleanedZone
from dropzone.documents import Documents
from dropzone.embed import make_embedder
from dropzone.index import IndexRules
from dropzone.journal import Journal
from dropzone.sessions import SessionPool
from dropzone.sessions.settings import mlflow_settings
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


def for_tracking(settings: Settings) -> dict[str, Any]:
    """Return what the process that logs runs needs, as JSON takes it."""
    mlflow = mlflow_settings(settings)
    login = mlflow.login.items()
    return {
        "directory": str(mlflow.directory),
        "tracking_uri": mlflow.tracking_uri,
        "artifact_root": mlflow.artifact_root,
        "experiment_name": mlflow.experiment_name,
        "timeout": mlflow.timeout,
        "login": {name: secret.get_secret_value() for name, secret in login},
        "files": {name: str(path) for name, path in mlflow.files.items()},
    }


def cleaning(
    zone: Zone,
    settings: Settings,
    journal: Journal,
    pool: SessionPool,
    stop: threading.Event,
) -> care.Cleaning:
    """Return what removes what the settings say from one zone."""

    def sync() -> None:
        # The embedded server does not sync its objects; these become the only copy.
        with fsops.opened(os.open(settings.services_directory, fsops.DIRECTORY)) as fd:
            fsops.sync_volume(fd)

    return care.Cleaning(
        CleanedZone(zone.name, zone.path, journal),
        care.Rules.of(settings.retention),
        pool,
        stop=stop,
        sync=sync if settings.embeds_s3 else lambda: None,
    )
