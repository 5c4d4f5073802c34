"""What is logged, in the shapes and sizes that MLflow takes."""
# ruff: noqa: TID251 - one of the modules that own the MLflow client.

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from mlflow.entities import Metric, Param

#: Numbers by name, or numbers for the steps 0, 1, 2...
Metrics: TypeAlias = Mapping[str, float | Sequence[float]]
#: Columns with their values, or rows with their columns.
Table: TypeAlias = Mapping[str, Sequence[object]] | Sequence[Mapping[str, object]]

# What the tracking stores take at once.
_PARAM_CHARACTERS = 6000
_TAG_CHARACTERS = 5000
_PARAMS_AT_ONCE = 100
_METRICS_AT_ONCE = 800
_PARTS = frozenset(
    {"name", "params", "metrics", "tags", "artifacts", "tables", "experiment"}
)


def parts_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a run that was given as one mapping.

    Raises:
        ValueError: one of them has an unknown name.

    """
    if unknown := sorted(set(run) - _PARTS):
        known = ", ".join(sorted(_PARTS))
        raise ValueError(f"A run has no part {unknown[0]!r}; known: {known}.")
    return dict(run)


def places_of(
    artifacts: Iterable[str | PathLike[str]] | Mapping[Any, str],
) -> Iterator[tuple[Path, str]]:
    """Yield each file and its folder within the run."""
    if isinstance(artifacts, Mapping):
        for path, folder in artifacts.items():
            yield Path(path), folder
    else:
        for path in artifacts:
            yield Path(path), ""


def tag_texts(tags: Mapping[str, object]) -> dict[str, Any]:
    return {key: str(value)[:_TAG_CHARACTERS] for key, value in tags.items()}


def requests(
    params: Mapping[str, object], metrics: Metrics, at: float
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield metrics and parameters for one request after the other, one at least."""
    numbers = iter(list(_metrics(metrics, millis(at))))
    texts = iter(
        [Param(key, str(value)[:_PARAM_CHARACTERS]) for key, value in params.items()]
    )
    first = True
    while True:
        some = list(islice(numbers, _METRICS_AT_ONCE))
        told = list(islice(texts, _PARAMS_AT_ONCE))
        if not (first or some or told):
            return
        first = False
        yield some, told


def at_step(metrics: Mapping[str, float], step: int, at: float) -> Iterator[list[Any]]:
    """Yield the values of one step for one request after the other."""
    numbers = (Metric(k, float(v), millis(at), step) for k, v in metrics.items())
    while some := list(islice(numbers, _METRICS_AT_ONCE)):
        yield some


def table_text(table: Table) -> str:
    """Return a table as MLflow's page reads it."""
    if isinstance(table, Mapping):
        columns = list(table)
        rows = [list(row) for row in zip(*table.values(), strict=True)]
    else:
        columns = list(dict.fromkeys(name for row in table for name in row))
        rows = [[row.get(name) for name in columns] for row in table]
    return json.dumps({"columns": columns, "data": rows})


def shown_with(shown: str | None, name: str) -> str:
    """Return the tag that lists a run's tables, with one more."""
    entry = {"path": name, "type": "table"}
    known = json.loads(shown) if shown else []
    return json.dumps(known if entry in known else [*known, entry])


def millis(seconds: float) -> int:
    return int(seconds * 1000)


def _metrics(metrics: Metrics, at: int) -> Iterator[Any]:
    for key, value in metrics.items():
        # Also numpy's, which are no Sequence.
        steps: Any = value if hasattr(value, "__len__") else [value]
        for step, number in enumerate(steps):
            yield Metric(key, float(number), at, step)
