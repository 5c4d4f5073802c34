import asyncio
import threading

import anyio.to_thread
import pytest

from dropzone.web import turns
from dropzone.web.accounts import Caller
from dropzone.web.api import files
from dropzone.web.problems import Problem
from dropzone.web.turns import Turns
from dropzone.web_settings import Role

ANNA = Caller("anna", Role.READ, "bearer")
RITA = Caller("rita", Role.READ, "session")
NORA = Caller("nora", Role.READ, "local")


class Hanging:
    """What hangs until it is released, and counts who is in it."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self) -> str:
        self.begun.release()
        assert self.released.wait(60)
        return "answered"

    async def entered(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.begun.acquire, timeout=60)


@pytest.fixture
def hanging():
    made = Hanging()
    yield made
    made.released.set()


def test_one_caller_leaves_threads_for_others_and_no_server_holds_up_the_rest(hanging):
    async def main():
        mine = Turns()

        def ask(caller, call=hanging, *, servers=True):
            told = mine.run(caller, call, asks_servers=servers)
            return asyncio.create_task(told)

        asked = [ask(ANNA) for _ in range(8)]
        await hanging.entered(turns.MOST_OF_ONE)
        assert await ask(RITA, lambda: "at once") == "at once"
        asked += [ask(RITA) for _ in range(8)]
        await hanging.entered(turns.MOST_OF_ONE)
        for caller in (ANNA, RITA, NORA):
            assert await ask(caller, lambda: "at once", servers=False) == "at once"
        assert not any(task.done() for task in asked)
        assert not hanging.begun.acquire(blocking=False)
        hanging.released.set()
        assert set(await asyncio.gather(*asked)) == {"answered"}

    asyncio.run(main())


def test_who_waits_too_long_is_told_so_and_takes_no_place(hanging, monkeypatch):
    monkeypatch.setattr(turns, "_PATIENCE_FOR_SERVERS_SECONDS", 0.1)

    async def main():
        mine = Turns()

        async def refusal(caller):
            with pytest.raises(Problem) as refused:
                await mine.run(caller, hanging, asks_servers=True)
            assert int(refused.value.headers["retry-after"])
            return refused.value.status

        entered = []
        for caller in (ANNA, RITA):
            for _ in range(turns.MOST_OF_ONE):
                told = mine.run(caller, hanging, asks_servers=True)
                entered.append(asyncio.create_task(told))
                await hanging.entered(1)
        # Anna has her share; Nora would have one, and all threads are taken.
        assert await refusal(ANNA) == 429
        assert await refusal(NORA) == 503
        hanging.released.set()
        assert await asyncio.gather(*entered) == ["answered"] * 4
        for _ in range(9):
            assert await mine.run(NORA, hanging, asks_servers=True) == "answered"

    asyncio.run(main())


def test_who_asks_without_end_is_refused_at_once(hanging):
    async def main():
        mine = Turns()

        def ask():
            return asyncio.create_task(mine.run(ANNA, hanging, asks_servers=False))

        asked = [ask() for _ in range(turns.MOST_OF_ONE + turns.MOST_WAITING)]
        await hanging.entered(turns.MOST_OF_ONE)
        with pytest.raises(Problem) as refused:
            await ask()
        assert refused.value.status == 429
        hanging.released.set()
        assert set(await asyncio.gather(*asked)) == {"answered"}

    asyncio.run(main())


def test_downloads_from_a_disk_that_hangs_leave_threads_for_others(
    hanging, monkeypatch
):
    monkeypatch.setattr(files.os, "pread", lambda *_: hanging().encode())

    async def main():
        anyio.to_thread.current_default_thread_limiter().total_tokens = 4

        async def first() -> bytes:
            async for block in files._blocks(-1, 8):
                return block
            return b""

        reading = [asyncio.create_task(first()) for _ in range(9)]
        await hanging.entered(4)
        assert await anyio.to_thread.run_sync(lambda: "at once") == "at once"
        assert not any(task.done() for task in reading)
        hanging.released.set()
        assert set(await asyncio.gather(*reading)) == {b"answered"}

    asyncio.run(main())


def test_what_fails_or_is_cut_off_gives_its_place_back(hanging):
    async def main():
        mine = Turns()

        def broken():
            raise ValueError("broken")

        for _ in range(9):
            with pytest.raises(ValueError, match="broken"):
                await mine.run(ANNA, broken, asks_servers=False)
        held = [
            asyncio.create_task(mine.run(ANNA, hanging, asks_servers=False))
            for _ in range(turns.MOST_OF_ONE)
        ]
        await hanging.entered(turns.MOST_OF_ONE)
        waiting = asyncio.create_task(mine.run(ANNA, str, asks_servers=False))
        await asyncio.sleep(0)
        for task in (waiting, *held):
            task.cancel()
        assert await asyncio.gather(waiting, *held, return_exceptions=True)
        assert await mine.run(ANNA, lambda: "again", asks_servers=False) == "again"

    asyncio.run(main())
