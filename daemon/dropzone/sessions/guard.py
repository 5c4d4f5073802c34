"""What every operation of a session passes: counted, limited, and stopped when vain."""

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType

from dropzone.errors import DocumentRejected, ServiceUnavailable, Stopping
from dropzone.sessions.breaker import Breaker, BreakerPolicy
from dropzone.sessions.health import Health
from dropzone.sessions.stats import ServiceStats, Tally

_SLICE_SECONDS = 0.2


class Guard:
    """The gate keeper of one service. Shared by all threads.

    Operations must not be nested: each may hold one of ``limit`` places.
    """

    def __init__(
        self,
        service: str,
        *,
        address: Callable[[], str],
        look: Callable[[], Health],
        counts: Callable[[BaseException], bool],
        limit: int | None = None,
        patience: float = 10.0,
        stop: threading.Event | None = None,
        policy: BreakerPolicy | None = None,
    ) -> None:
        """``look`` asks the service once, with short limits.

        ``counts`` says of a driver's error whether it is the service's fault, so that
        others would meet it too. Who finds ``limit`` operations under way waits for
        ``patience`` seconds at most; None is no limit.
        """
        self._service = service
        self._address = address
        self._look = look
        self._counts = counts
        self._limit = limit
        self._places = threading.Semaphore(limit) if limit is not None else None
        self._patience = patience
        self._stop = stop or threading.Event()
        self._breaker = Breaker(policy)
        self._tallies: dict[str, Tally] = {}
        self.health = Health()

    def update(self, *, limit: int, patience: float) -> None:
        """Take a new patience, and a higher limit; a lower one is not taken.

        Called by one thread.
        """
        self._patience = patience
        if self._places is not None and self._limit is not None:
            for _ in range(limit - self._limit):
                self._places.release()
            self._limit = max(limit, self._limit)

    def operation(self, name: str) -> "Operation":
        """Return the context of one operation; its errors must be ours by then.

        Raises:
            ServiceUnavailable: (on entering) the service kept failing, and the next
                look at it is not due; or too many operations are under way.

        """
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies.setdefault(name, Tally())
        return Operation(self, tally)

    @asynccontextmanager
    async def async_operation(self, name: str) -> AsyncIterator[None]:
        """Do the same for a coroutine. There is no limit: its own pool has one."""
        tally = self._tallies.setdefault(name, Tally())
        tally.begin()
        try:
            await self._admit_async()
        except BaseException as error:
            tally.reject(type(error).__name__)
            raise
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.ended(tally, began, error)
            raise
        self.ended(tally, began, None)

    def looked(self, health: Health) -> Health:
        """Note what a look at the service found, and return it."""
        self.health = health
        self._breaker.looked(health)
        return health

    def failed(self, error: BaseException) -> None:
        """Note an error that was met outside an operation."""
        if isinstance(error, ServiceUnavailable) and self._counts(
            error.__cause__ or error
        ):
            self._breaker.failed(error.message, error.hint)

    def stats(self) -> ServiceStats:
        opening = self._breaker.opening
        return ServiceStats(
            {name: tally.told() for name, tally in sorted(self._tallies.items())},
            self.health,
            self._breaker.failures,
            opening.since if opening else None,
            self._breaker.seconds_to_probe(),
        )

    def admit(self) -> None:
        """Return when the operation may begin; holds a place then."""
        if self._breaker.opening is not None:
            if self._breaker.take_turn():
                self._probe()
            self._refuse_while_open()
        places = self._places
        if places is not None and not places.acquire(blocking=False):
            self._wait_for_place(places)

    def ended(self, tally: Tally, began: float, error: BaseException | None) -> None:
        """Count an operation; ``began`` is of the performance counter."""
        seconds = time.perf_counter() - began
        # A caller who reads no further closes a stream by this.
        fine = error is None or isinstance(error, GeneratorExit)
        tally.end(seconds, None if fine else type(error).__name__)
        # Who refuses has answered.
        if error is None or fine or isinstance(error, DocumentRejected):
            self._breaker.succeeded()
        else:
            self.failed(error)

    def leave(self) -> None:
        """Give the place to another."""
        if self._places is not None:
            self._places.release()

    async def _admit_async(self) -> None:
        if self._breaker.opening is not None:
            import asyncio

            if self._breaker.take_turn():
                await asyncio.to_thread(self._probe)
            self._refuse_while_open()

    def _probe(self) -> None:
        health = Health(healthy=False)
        try:
            health = self._look()
        finally:
            # Also when the look itself breaks: the turn must come to an end.
            self.looked(health)

    def _wait_for_place(self, places: threading.Semaphore) -> None:
        until = time.monotonic() + self._patience
        while not places.acquire(timeout=_SLICE_SECONDS):
            if self._stop.is_set():
                raise Stopping("The wait for other calls is given up: we are stopping.")
            if time.monotonic() > until:
                raise ServiceUnavailable(
                    self._service,
                    f"{self._limit} calls to {self._address()} are under way, and none "
                    f"ended in {self._patience:.0f} seconds.",
                    hint="Use fewer threads, or raise the limit on calls at once.",
                )

    def _refuse_while_open(self) -> None:
        opening = self._breaker.opening
        if opening is None:
            return
        since = time.strftime("%H:%M:%S UTC", time.gmtime(opening.since))
        seconds = self._breaker.seconds_to_probe()
        raise ServiceUnavailable(
            self._service,
            f"{self._address()} failed again and again and is not asked since {since}; "
            f"the next look is in {seconds:.1f} seconds. Last: {opening.reason}",
            hint=opening.hint,
        )


class Operation:
    """One operation under way: a context manager, used once."""

    __slots__ = ("_began", "_guard", "_tally")

    def __init__(self, guard: Guard, tally: Tally) -> None:
        self._guard = guard
        self._tally = tally
        self._began = 0.0

    def __enter__(self) -> None:
        self._tally.begin()
        self._began = time.perf_counter()
        try:
            self._guard.admit()
        except BaseException as error:
            self._tally.reject(type(error).__name__)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._guard.leave()
        self._guard.ended(self._tally, self._began, error)
