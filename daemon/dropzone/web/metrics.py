"""``/metrics``: what Prometheus is told, gathered when it asks.

Labels are names of zones, steps, services, operations, outcomes and classes of errors,
of which there are few; never the name of a file or a collection.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dropzone import __version__
from dropzone.executor.parsers import ParserPool
from dropzone.measures import Measures
from dropzone.services import Services
from dropzone.sessions.stats import ServiceStats
from dropzone.web.families import counter, gauge, one, summary
from dropzone.web.zone_metrics import ZoneMetrics
from dropzone.zone_service import ZoneService

_SERVICE = ("service",)
_OPERATION = ("service", "operation")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the daemon that are asked. ``floor`` is what stays free, bytes.

    A reload may add zones and change the floor.

    ``spans`` counts the spans of traces by what became of them.
    """

    zones: Callable[[], Sequence[ZoneService]]
    services: Services
    parsers: ParserPool
    measures: Measures
    stale: Callable[[], Mapping[str, float]]
    spans: Callable[[], Mapping[str, int]]
    floor: Callable[[], int]


class Metrics:
    """Thread-safe. One for each daemon, with a registry of its own."""

    def __init__(self, parts: Parts) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Daemon(parts))
        self._registry.register(ZoneMetrics(parts.zones, parts.services, parts.floor))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def answer(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the format that ``accept`` asks for, and its name."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Daemon(Collector):
    """What is one for all zones."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> list[Metric]:
        """Name nothing: registering must not ask everybody for figures."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "dropzone_build_info",
            "The version of the daemon; always 1.",
            ("version", "python_version"),
            [((__version__, platform.python_version()), 1)],
        )
        yield one(
            "dropzone_stale_loops",
            "Loops of the daemon that have not moved for too long.",
            len(self._parts.stale()),
        )
        yield from self._own()
        yield from self._parsers()
        yield from self._embedded()
        yield from self._services()

    def _own(self) -> Iterator[Metric]:
        reload = self._parts.measures.reload
        yield one(
            "dropzone_config_last_reload_successful",
            "Whether the configuration in force is the last one that was read.",
            reload.succeeded,
        )
        yield one(
            "dropzone_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read.",
            reload.succeeded_at,
        )
        yield counter(
            "dropzone_notifications",
            "Messages to people since the start: delivered, and tries that failed.",
            ("outcome",),
            [((name,), n) for name, n in dict(self._parts.measures.messages).items()],
        )
        waiting = dict(self._parts.measures.messages_waiting)
        yield gauge(
            "dropzone_notifications_waiting",
            "Messages to people that a target did not take yet.",
            ("zone",),
            [((zone,), n) for zone, n in waiting.items()],
        )
        yield counter(
            "dropzone_trace_spans",
            "Spans of traces since the start, by what became of them.",
            ("outcome",),
            [((name,), n) for name, n in self._parts.spans().items()],
        )

    def _parsers(self) -> Iterator[Metric]:
        told = self._parts.parsers.figures()
        states = {"busy": told["busy"], "idle": told["alive"] - told["busy"]}
        yield gauge(
            "dropzone_parser_processes",
            "Parser processes that are there.",
            ("state",),
            [((state,), max(0, count)) for state, count in states.items()],
        )
        yield one(
            "dropzone_parser_processes_limit",
            "Parser processes there may be (executor.processes).",
            told["limit"],
        )
        yield counter(
            "dropzone_parser_starts",
            "Parser processes that were started since the start.",
            (),
            [((), told["starts"])],
        )
        yield counter(
            "dropzone_parser_deaths",
            "Files that crashed their parser or went over its limits since the start.",
            (),
            [((), told["deaths"])],
        )

    def _embedded(self) -> Iterator[Metric]:
        servers = self._parts.services.embedded_figures()
        yield gauge(
            "dropzone_embedded_service_up",
            "Whether the daemon's own server runs.",
            _SERVICE,
            [((name,), serves) for name, (serves, _) in servers.items()],
        )
        yield counter(
            "dropzone_embedded_service_restarts",
            "Starts of the daemon's own server because it had ended, since the start.",
            _SERVICE,
            [((name,), restarts) for name, (_, restarts) in servers.items()],
        )

    def _services(self) -> Iterator[Metric]:
        pool = self._parts.services.pool
        stats = pool.stats() if pool is not None else {}
        if "postgres" in stats and pool is not None:
            yield from _connections(pool.postgres.lender.figures())
        yield from _states(stats)
        yield from _operations(stats)


def _states(stats: Mapping[str, ServiceStats]) -> Iterator[Metric]:
    yield gauge(
        "dropzone_service_up",
        "Whether the service answered when it was last looked at.",
        _SERVICE,
        [
            ((name,), bool(one.health.healthy))
            for name, one in stats.items()
            if one.health.healthy is not None
        ],
    )
    yield gauge(
        "dropzone_service_breaker_open",
        "Whether the service is left alone because it keeps failing.",
        _SERVICE,
        [((name,), one.rejects_since is not None) for name, one in stats.items()],
    )
    yield gauge(
        "dropzone_service_failures_in_row",
        "Operations that failed by a fault of the service since one worked.",
        _SERVICE,
        [((name,), one.failures_in_row) for name, one in stats.items()],
    )


def _operations(stats: Mapping[str, ServiceStats]) -> Iterator[Metric]:
    every = [
        ((service, name), operation)
        for service, one in stats.items()
        for name, operation in one.operations.items()
    ]
    yield summary(
        "dropzone_service_operation_duration_seconds",
        "How long operations of the session pool took, retries included.",
        _OPERATION,
        every,
    )
    yield gauge(
        "dropzone_service_operations_in_flight",
        "Operations that are under way.",
        _OPERATION,
        [(labels, operation.in_flight) for labels, operation in every],
    )
    yield counter(
        "dropzone_service_operation_errors",
        "Operations that failed since the start, by the class of the error.",
        (*_OPERATION, "error"),
        [
            ((*labels, error), count)
            for labels, operation in every
            for error, count in operation.errors.items()
        ],
    )
    yield counter(
        "dropzone_service_operations_rejected",
        "Operations that were not let through to the service since the start.",
        _OPERATION,
        [(labels, operation.rejected) for labels, operation in every],
    )


def _connections(figures: Mapping[str, int]) -> Iterator[Metric]:
    states = {"idle": figures["idle"], "lent": figures["open"] - figures["idle"]}
    yield gauge(
        "dropzone_postgres_connections",
        "Connections of the daemon to Postgres.",
        ("state",),
        [((state,), max(0, count)) for state, count in states.items()],
    )
    yield one(
        "dropzone_postgres_connections_limit",
        "Connections there may be (postgres.pool_size).",
        figures["limit"],
    )
    yield one(
        "dropzone_postgres_waiting_threads",
        "Threads of the daemon that wait for a connection.",
        figures["waiting"],
    )
