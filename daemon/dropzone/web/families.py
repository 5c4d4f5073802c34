"""Makes metric families, each with its help, in few words."""

import itertools
from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from dropzone.measures import BOUNDS, Durations
from dropzone.sessions.stats import OperationStats

#: The values of the labels, and the value.
Rows = Iterable[tuple[Sequence[str], float]]


def counter(name: str, told: str, labels: Sequence[str], rows: Rows) -> Metric:
    """Return a counter; ``_total`` is added to its name."""
    family = CounterMetricFamily(name, told, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def gauge(name: str, told: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, told, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def one(name: str, told: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return gauge(name, told, (), [((), value)])


def histogram(
    name: str,
    told: str,
    labels: Sequence[str],
    rows: Iterable[tuple[Sequence[str], Durations]],
) -> Metric:
    family = HistogramMetricFamily(name, told, labels=labels)
    bounds = [*(str(float(bound)) for bound in BOUNDS), "+Inf"]
    for values, durations in rows:
        counts, total = durations.told()
        below = [float(count) for count in itertools.accumulate(counts)]
        buckets = list(zip(bounds, below, strict=True))
        family.add_metric(values, buckets, total)
    return family


def summary(
    name: str,
    told: str,
    labels: Sequence[str],
    rows: Iterable[tuple[Sequence[str], OperationStats]],
) -> Metric:
    """Return a summary of those that were let through."""
    family = SummaryMetricFamily(name, told, labels=labels)
    for values, stats in rows:
        family.add_metric(values, stats.count - stats.rejected, stats.total_seconds)
        named = dict(zip(labels, values, strict=True))
        for quantile, seconds in (
            ("0.5", stats.p50_seconds),
            ("0.95", stats.p95_seconds),
            ("0.99", stats.p99_seconds),
        ):
            if seconds is not None:
                family.add_sample(name, {**named, "quantile": quantile}, seconds)
    return family
