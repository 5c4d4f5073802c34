"""Measures the daemon from outside; see README.md. Usage: run.py NAME [--files N]."""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg  # noqa: TID251 looks at the database from outside

from dropzone.embedded import running

DEADLINE = 300.0


def wait_for(condition, what, seconds=DEADLINE, pause=0.002):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)  # noqa: TID251 polls a condition, with a deadline
    raise SystemExit(f"did not happen in {seconds:.0f} s: {what}")


@contextlib.contextmanager
def daemon(base: Path) -> Iterator[subprocess.Popen]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DROPZONE")}
    with (base / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dropzone", "run"],
            cwd=base,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: running(base / "drop_zones/state/services"), "services")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def text(seed: int, size: int = 4000) -> str:
    """Return prose-like text: random words of a fixed vocabulary, in sentences."""
    pick = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(pick.choices(letters, k=pick.randint(3, 9))) for _ in range(400)]
    out, length = [], 0
    while length < size:
        sentence = " ".join(pick.choices(words, k=pick.randint(6, 18))) + ". "
        out.append(sentence.capitalize() + ("\n\n" if pick.random() < 0.15 else ""))
        length += len(out[-1])
    return "".join(out)[:size]


def tree(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                rest = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(rest[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += parents.get(one, [])
    return found


def cpu_by_name(pid: int) -> Counter:
    """Return the CPU seconds of the tree by role, reaped children included."""
    found: Counter = Counter()
    for one in tree(pid):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{one}/stat").read_text()
            words = stat.rpartition(")")[2].split()
            ticks = sum(int(value) for value in words[11:15])
            found[role(one, pid)] += ticks / os.sysconf("SC_CLK_TCK")
    return found


def role(pid: int, daemon_pid: int) -> str:
    told = command(pid)
    roles = {"postgres": "postgres", "rclone": "rclone", "track_child": "mlflow"}
    named = (name for word, name in roles.items() if word in told)
    return "daemon" if pid == daemon_pid else next(named, "parsers")


def cpu_seconds(pid: int) -> float:
    return sum(cpu_by_name(pid).values())


def memory_mb(pid: int) -> dict[str, float]:
    """Return resident and proportional memory of one process in MB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"Rss", "Pss"}:
            found[name] = int(value.split()[0]) / 1024
    return found


def connect(base: Path):
    found = running(base / "drop_zones/state/services")
    assert found
    return psycopg.connect(found.addresses.database_url, autocommit=True)


def drop(base: Path, name: str, content: str) -> None:
    aside = base / "aside"
    aside.write_text(content)
    aside.rename(base / "drop_zones/input" / name)


def latency(base: Path, _options) -> None:
    with daemon(base):
        seconds = []
        for number in range(40):
            token = f"latency{number:04}"
            drop(base, f"{token}.txt", text(number) + f" {token}")
            begun = time.monotonic()
            if number == 0:
                # The schema is made with the first file.
                wait_for((base / f"drop_zones/processed/{token}.txt").exists, token)
                connection = connect(base)
            query = (
                "SELECT 1 FROM dropzone.chunks"
                " WHERE tsv @@ plainto_tsquery('english', %s) LIMIT 1"
            )
            wait_for(lambda: connection.execute(query, [token]).fetchone(), token)  # noqa: B023
            seconds.append(time.monotonic() - begun)
            time.sleep(0.3)  # noqa: TID251 lets the daemon become idle again
        connection.close()
    later = seconds[1:]
    show("latency", {
        "files": len(later),
        "first_ms": round(seconds[0] * 1000),
        "median_ms": round(statistics.median(later) * 1000),
        "max_ms": round(max(later) * 1000),
    })  # fmt: skip


def throughput(base: Path, options) -> None:
    files = options.files
    source = base / "source"
    source.mkdir()
    for number in range(files):
        (source / f"doc{number:05}.txt").write_text(text(number))
    with daemon(base) as process:
        drop(base, "warm.txt", "the first file makes the schema")
        wait_for((base / "drop_zones/processed/warm.txt").exists, "warm up")
        before, begun = cpu_by_name(process.pid), time.monotonic()
        source.rename(base / "drop_zones/input/source")
        done = base / "drop_zones/processed/source"
        wait_for(
            lambda: done.exists() and len(os.listdir(done)) == files, "all", pause=0.02
        )
        wall = time.monotonic() - begun
        used = cpu_by_name(process.pid)
        used.subtract(before)
        with connect(base) as connection:
            chunks = connection.execute(
                "SELECT count(*) FROM dropzone.chunks"
            ).fetchone()
    show("throughput", {
        "files": files,
        "chunks": chunks[0],
        "seconds": round(wall, 2),
        "files_per_second": round(files / wall),
        "cpu_seconds": {name: round(seconds, 2) for name, seconds in used.items()},
        "files_per_cpu_second": round(files / sum(used.values())),
    })  # fmt: skip


def memory(base: Path, _options) -> None:
    with daemon(base) as process:
        drop(base, "a.txt", text(1))
        wait_for((base / "drop_zones/processed/a.txt").exists, "first file")
        wait_for(lambda: "tracked" in (base / "daemon.log").read_text(), "tracked")
        tracker = next(
            pid for pid in tree(process.pid) if "track_child" in command(pid)
        )
        figures = {
            "daemon": memory_mb(process.pid),
            "mlflow_process": memory_mb(tracker),
        }
        wait_for(
            lambda: tracker not in tree(process.pid), "MLflow's process ends", 90, 0.2
        )
        figures["daemon_idle"] = memory_mb(process.pid)
        figures["whole_tree_pss"] = sum(
            memory_mb(pid)["Pss"] for pid in tree(process.pid)
        )
        before, begun = cpu_seconds(process.pid), time.monotonic()
        time.sleep(20)  # noqa: TID251 the idle daemon is what is measured
        share = (cpu_seconds(process.pid) - before) / (time.monotonic() - begun)
        figures["idle_cpu_percent"] = round(100 * share, 2)
    show("memory", figures)


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def commands(base: Path, _options) -> None:
    figures = {}
    with daemon(base):
        drop(base, "a.txt", text(1))
        wait_for((base / "drop_zones/processed/a.txt").exists, "first file")
        for words in (["--help"], ["status"], ["jobs"], ["search", "word"]):
            seconds = []
            for _ in range(7):
                begun = time.monotonic()
                subprocess.run(
                    [Path(sys.executable).parent / "dropzone", *words],
                    cwd=base,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
                seconds.append(time.monotonic() - begun)
            figures[" ".join(words)] = f"{statistics.median(seconds):.3f} s"
    show("commands", figures)


def show(name: str, figures) -> None:
    print(json.dumps({"benchmark": name, **figures}, indent=2))


def main() -> None:
    names = {f.__name__: f for f in (latency, throughput, memory, commands)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dropzone-bench-") as folder:
        base = Path(folder)
        (base / "drop_zones/input").mkdir(parents=True)
        names[options.name](base, options)


if __name__ == "__main__":
    main()
