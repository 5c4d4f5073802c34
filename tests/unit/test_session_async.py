import asyncio
import sqlite3

import pytest

from dropzone.journal import (
    AsyncSessions,
    SessionConcurrencyError,
    SessionFileError,
    Sessions,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.sqlite"


def count(data):
    data["n"] = data.get("n", 0) + 1


def commits(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT number FROM commits").fetchone()[0]
    finally:
        connection.close()


def test_tasks_share_commits_and_lose_no_change(path):
    async def main():
        async with AsyncSessions(path) as sessions:
            made = await asyncio.gather(*(sessions.create("ann") for _ in range(300)))
            await asyncio.gather(*(sessions.update(one, count) for one in made * 2))
            found = await asyncio.gather(*(sessions.get(one.id) for one in made))
            assert {record.data["n"] for record in found} == {2}
            assert [record async for record in sessions.active(page=70)] == found
            assert (await sessions.stats()).active == 300

    asyncio.run(main())
    assert commits(path) < 900 / 10


def test_the_loop_goes_on_while_another_process_holds_the_file(path):
    async def main():
        async with AsyncSessions(path) as sessions:
            made = await sessions.create("ann")
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(sessions.update(made, count))
            for _ in range(50):
                await asyncio.sleep(0.001)
                assert (await sessions.check(made)).version == 1
            assert not waiting.done()
            other.execute("ROLLBACK")
            other.close()
            assert (await waiting).data == {"n": 1}

    asyncio.run(main())


def test_a_cancelled_task_leaves_the_record_usable(path):
    async def main():
        async with AsyncSessions(path) as sessions:
            made = await sessions.create("ann")
            tasks = [
                asyncio.create_task(sessions.update(made, count)) for _ in range(9)
            ]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            done = await sessions.update(made, count)
            assert 5 <= done.data["n"] <= 10
            assert done.version == done.data["n"] + 1

    asyncio.run(main())


def test_errors_are_those_of_the_twin(path):
    async def main():
        async with AsyncSessions(path) as sessions:
            made = await sessions.create("ann")
            with pytest.raises(SessionConcurrencyError):
                await sessions.update(made, count, expected_version=7)
            with pytest.raises(ZeroDivisionError):
                await sessions.update(made, lambda _: {"n": 1 / 0})
            await sessions.measure(made, "ms", 3)
            assert (await sessions.metrics(made))["ms"].mean == 3
            assert await sessions.get("nobody") is None
        with pytest.raises(SessionFileError, match="closed"):
            await sessions.touch(made)

    asyncio.run(main())
    with pytest.raises(SessionFileError, match="not open"):
        asyncio.run(AsyncSessions(path).stats())


def test_the_cleaner_is_a_task_that_can_be_stopped(path):
    async def main():
        async with AsyncSessions(path) as sessions:
            await sessions.create("ann", ttl=0.01)
            await sessions.start_cleaning(0.005)
            for _ in range(2000):
                if (await sessions.stats()).timeout:
                    break
                await asyncio.sleep(0.005)
            assert (await sessions.stats()).timeout == 1
            await sessions.stop_cleaning()
            assert len(asyncio.all_tasks()) == 1
            await sessions.start_cleaning(0.005)

    asyncio.run(main())


def test_every_method_has_its_twin():
    public = {name for name in vars(Sessions) if not name.startswith("_")}
    assert public <= set(vars(AsyncSessions))
