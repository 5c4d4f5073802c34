"""Measures session records: ``sessions.py records`` and ``sessions.py growth``."""

import asyncio
import gc
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from dropzone.journal import AsyncSessions, Sessions

#: What a record carries here: 120 bytes of JSON.
DATA = {"step": 3, "files": ["a.pdf", "b.pdf"], "model": "hash-v1", "note": "x" * 55}
#: What the original claims, in seconds and bytes; a fiftieth of the times is the aim.
ORIGINAL = {"create": 8e-3, "check": 2e-3, "update": 1e-3, "memory": 1843}

CALLS = ("create", "check", "update")


def change(data):
    data["step"] += 1


def disk(folder: Path) -> float:
    """Return the median seconds of one fdatasync of 4 KB over written blocks."""
    with (folder / "fsync").open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
        seconds = []
        for _ in range(100):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), random.randbytes(4096), 4096)
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def alone(sessions: Sessions) -> dict[str, float]:
    """Return the median seconds of one caller's calls, one after another."""
    made = []
    calls = {
        "create": lambda: made.append(sessions.create("a", data=DATA, lease="me")),
        "check": lambda: sessions.check(random.choice(made)),
        "update": lambda: sessions.update(random.choice(made), change),
        "touch": lambda: sessions.touch(random.choice(made)),
    }
    return {name: statistics.median(timed(call, 300)) for name, call in calls.items()}


def timed(call, times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return seconds


def threads(sessions: Sessions, count: int, each: int) -> dict:
    """Return seconds and CPU seconds of each call, of so many threads at once."""
    made = [[] for _ in range(count)]

    def create(mine):
        mine.append(sessions.create("a", data=DATA, lease="me"))

    def check(mine):
        sessions.check(random.choice(mine))

    def update(mine):
        sessions.update(mine[-1], change)

    def update_any(_mine):
        sessions.update(random.choice(random.choice(made)), change)

    return {
        call.__name__: shared(lambda: at_once(call, made, each), count * each)  # noqa: B023
        for call in (create, check, update, update_any)
    }


def shared(run, calls: int) -> tuple[float, float]:
    cpu, begun = time.process_time(), time.perf_counter()
    run()
    wall = time.perf_counter() - begun
    return wall / calls, (time.process_time() - cpu) / calls


def at_once(call, made: list, each: int) -> None:
    """Let every thread call so often."""

    def work(mine):
        for _ in range(each):
            call(mine)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


async def tasks(path: Path, count: int, each: int) -> dict:
    """As ``threads``, with tasks of one event loop."""
    found = {}
    async with AsyncSessions(path) as sessions:
        made = [[] for _ in range(count)]

        async def create(mine):
            mine.append(await sessions.create("a", data=DATA, lease="me"))

        async def check(mine):
            await sessions.check(random.choice(mine))

        async def update(mine):
            await sessions.update(mine[-1], change)

        async def update_any(_mine):
            await sessions.update(random.choice(random.choice(made)), change)

        for call in (create, check, update, update_any):

            async def work(mine, call=call):
                for _ in range(each):
                    await call(mine)

            cpu, begun = time.process_time(), time.perf_counter()
            await asyncio.gather(*(work(mine) for mine in made))
            wall = time.perf_counter() - begun
            used = time.process_time() - cpu
            found[call.__name__] = (wall / count / each, used / count / each)
    return found


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory(folder: Path, records: int = 50_000) -> float:
    """Return the bytes of resident memory for each active record in the cache."""
    path = folder / "memory.sqlite"
    asyncio.run(fill(path, records))
    # A fresh process: what this one has freed would take the records in.
    code = f"import session_records as s; print(s.cached({str(path)!r}))"
    command = [sys.executable, "-c", code]
    here = Path(__file__).parent
    return float(subprocess.run(command, cwd=here, stdout=-1, check=True).stdout)


def cached(path: str) -> float:
    with Sessions(path, cached=10_000_000) as sessions:
        ids = [record.id for record in sessions.active()]
        # The connection's own page cache, 2 MB, fills here.
        for name in ids[:1000]:
            sessions.get(name)
        gc.collect()
        before = resident()
        for name in ids[1000:]:
            sessions.get(name)
        gc.collect()
        return (resident() - before) / (len(ids) - 1000)


async def fill(path: Path, records: int, at_once: int = 1000) -> None:
    async with AsyncSessions(path, cached=0) as sessions:

        async def work(number):
            for _ in range(number, records, at_once):
                await sessions.create(f"owner{number % 100}", data=DATA, lease="me")

        await asyncio.gather(*(work(number) for number in range(at_once)))


def records(options) -> dict:
    figures = {"aim_us": {n: us(ORIGINAL[n] / 50) for n in CALLS}}
    with tempfile.TemporaryDirectory(prefix="dropzone-bench-") as name:
        folder = Path(name)
        figures["fdatasync_us"] = us(disk(folder))
        with Sessions(folder / "alone.sqlite") as sessions:
            single = alone(sessions)
        figures["one_caller_us"] = {name: us(value) for name, value in single.items()}
        rounds = []
        for number in range(options.rounds):
            with Sessions(folder / f"threads{number}.sqlite") as sessions:
                rounds.append(threads(sessions, options.threads, options.each))
        figures[f"{options.threads}_threads_us"] = told(rounds)
        rounds = [
            asyncio.run(tasks(folder / f"tasks{number}.sqlite", options.tasks, 20))
            for number in range(options.rounds)
        ]
        figures[f"{options.tasks}_tasks_us"] = told(rounds)
        figures["memory_bytes"] = round(memory(folder))
    figures["original_memory_bytes"] = ORIGINAL["memory"]
    return {**figures, "load": os.getloadavg()[0]}


def told(rounds: list[dict]) -> dict:
    """Return the best and the median round of each call, and the CPU of the best."""
    return {
        name: {
            "best": us(min(found[name][0] for found in rounds)),
            "median": us(statistics.median(found[name][0] for found in rounds)),
            "cpu": us(min(found[name][1] for found in rounds)),
        }
        for name in rounds[0]
    }


def us(seconds: float) -> float:
    return round(seconds * 1e6, 1)


def growth(options) -> dict:
    """Return how long calls take in files of growing size."""
    found = {}
    for size in (10_000, 100_000, 1_000_000)[: options.sizes]:
        with tempfile.TemporaryDirectory(prefix="dropzone-bench-") as name:
            found[f"{size:,}"] = grown(Path(name) / "s.sqlite", size)
    return found


def grown(path: Path, size: int) -> dict:
    begun = time.perf_counter()
    asyncio.run(fill(path, size))
    filled = time.perf_counter() - begun
    # Nothing in memory: it would hide how large the file is.
    with Sessions(path, cached=0) as sessions:
        sessions.stats()
        owner = timed(lambda: next(sessions.active("owner7", page=100)), 50)
        begun = time.perf_counter()
        asyncio.run(fill(path, 10_000))
        more = time.perf_counter() - begun
        figures = {
            "create_us": us(filled / size),
            "create_10,000_more_us": us(more / 10_000),
            "active_page_of_100_us": us(statistics.median(owner)),
            "stats_us": us(statistics.median(timed(sessions.stats, 50))),
            "nothing_to_clean_us": us(
                statistics.median(timed(lambda: sessions.cleanup(3600), 20))
            ),
        }
        ids = [record.id for record in sessions.active("owner7", page=500)][:5000]
        figures["get_us"] = us(
            statistics.median(timed(lambda: sessions.get(random.choice(ids)), 2000))
        )
        begun = time.perf_counter()
        ended = sessions.cleanup(0)
        figures["clean_each_us"] = us((time.perf_counter() - begun) / ended)
        figures["file_bytes_each"] = round(path.stat().st_size / ended)
    return figures
