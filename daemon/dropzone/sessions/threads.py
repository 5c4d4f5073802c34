"""Coroutines over calls that wait in threads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_ITEMS_AT_ONCE = 1000


class Threads:
    """The threads in which the calls of one pool of sessions wait.

    A call whose coroutine is cancelled is not awaited any more, but goes on to its end
    in its thread, where it gives back what it holds.
    """

    def __init__(self, most: int) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix="sessions")

    async def run(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what ``function`` returns."""
        loop = asyncio.get_running_loop()
        call = partial(function, *args, **kwargs)
        return await loop.run_in_executor(self._executor, call)

    async def items(self, iterator: Iterator[T]) -> AsyncIterator[T]:
        """Yield what ``iterator`` yields, a thousand at a time."""
        while some := await self.run(_next_of, iterator):
            for item in some:
                yield item

    def close(self) -> None:
        """Take no more calls; those under way go on to their end."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _next_of(iterator: Iterator[T]) -> list[T]:
    return list(islice(iterator, _ITEMS_AT_ONCE))
