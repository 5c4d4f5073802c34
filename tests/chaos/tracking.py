"""The tracking store, seen with a client of the test's own."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient  # noqa: TID251 looks from outside
from sqlalchemy.exc import SADeprecationWarning

_PAGE = 1000


def all_runs(uri: str) -> Iterator[Any]:
    """Yield every run that is not deleted."""
    with _client(uri) as client:
        for experiment in client.search_experiments():
            token = None
            while True:
                page = client.search_runs(
                    [experiment.experiment_id], max_results=_PAGE, page_token=token
                )
                yield from page
                token = page.token
                if not token:
                    break


@contextmanager
def _client(uri: str) -> Iterator[MlflowClient]:
    with warnings.catch_warnings():
        # MLflow's own use of its own libraries.
        warnings.simplefilter("ignore", SADeprecationWarning)
        yield MlflowClient(tracking_uri=uri)
