"""Runs two daemons for an hour as a server nobody watches would; prints what grew.

Both get a file a second and bursts, reload their settings every minute, are scraped,
send messages, remove what is older than ten minutes, and run their own servers. The
first lives through the whole hour, and every five minutes one of its servers is killed.
The second is stopped and started every five minutes.

Usage: soak.py [--minutes 60] [--burst 300] [--seed 1] [--out FOLDER]. Run from the root
of the checkout. Exits with 1 when anything was lost, grew, or logged what no page of
docs/ explains.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.storm import any_file, processes_with
from chaos.supervisor import descendants
from daemons import ZoneOfTest, wait_for

SAMPLE_SECONDS = 10.0
RELOAD_SECONDS = 60.0
RESTART_SECONDS = 300.0
BURST_SECONDS = 180.0
# The first minutes load libraries and fill caches; growth is counted after them.
WARM = 0.25
GROWTH_RATIO = 1.05
GROWTH_MEGABYTES = 8.0
PATIENCE = 900.0
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory in megabytes: resident of the daemon, proportional of its family."""

    seconds: float
    pid: int
    daemon_mb: float
    family_mb: float
    descriptors: int
    threads: int
    processes: int
    journal_mb: float
    log_mb: float
    waiting: int


class Ground:
    """One zone, its daemon, its producer, and what was measured of them."""

    def __init__(self, base: Path, seed: int, burst: int) -> None:
        base.mkdir(parents=True)
        self.config = base / "config.yaml"
        self.messages = base / "messages.jsonl"
        self.zone = ZoneOfTest(base, {})
        del self.zone.environment["DROPZONE__RETRY__FIRST_PAUSE_SECONDS"]
        del self.zone.environment["DROPZONE__MLFLOW__BATCH_SECONDS"]
        self._configure(0)
        self.samples: list[Sample] = []
        self.dropped = self.reloads = self.restarts = self.scrapes = 0
        self._burst = burst
        self._chosen = random.Random(seed)
        self._earlier = [b"the first content of all"]
        self._begun = time.monotonic()
        self._daemon = self.zone.start()

    def drop(self, count: int) -> None:
        for _ in range(count):
            name, content = any_file(self.dropped, self._chosen, self._earlier)
            if not name.startswith("same/"):
                self._earlier = [*self._earlier[-50:], content]
                self.zone.drop(name, content)
                self.dropped += 1

    def burst(self) -> None:
        self.drop(self._burst)

    def reload(self) -> None:
        """Edit the file; the daemon sees it, and every second time is told besides."""
        self.reloads += 1
        self._configure(self.reloads)
        if self.reloads % 2:
            self._daemon.send_signal(signal.SIGHUP)

    def restart(self) -> None:
        self.zone.stop(self._daemon)
        self._daemon = self.zone.start()
        self.restarts += 1

    def kill_a_server(self) -> None:
        """Kill the embedded Postgres and S3 server in turn, with their sessions."""
        name = ("postgres", "rclone")[self.restarts % 2]
        for pid in processes_with(str(self.zone.root / "state" / "services"), name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.restarts += 1

    def scrape(self) -> None:
        """Read the metrics as Prometheus does, and ask whether all loops go round."""
        url = self.zone.report().get("web", {}).get("url")
        for path in ("metrics", "healthz") if url else ():
            with urllib.request.urlopen(  # noqa: S310 the daemon on this machine
                f"{url}/{path}", timeout=30
            ) as answer:
                assert answer.status == 200
                answer.read()
                self.scrapes += 1

    def sample(self) -> None:
        self.scrape()
        pid, state = self._daemon.pid, self.zone.root / "state"
        family = [pid, *descendants(pid)]
        self.samples.append(
            Sample(
                seconds=round(time.monotonic() - self._begun, 1),
                pid=pid,
                daemon_mb=_kilobytes(pid, "status", "VmRSS") / 1000,
                family_mb=sum(_kilobytes(p, "smaps_rollup", "Pss") for p in family)
                / 1000,
                descriptors=len(os.listdir(f"/proc/{pid}/fd")),
                threads=len(os.listdir(f"/proc/{pid}/task")),
                processes=len(family),
                journal_mb=_megabytes(state / "journal.sqlite"),
                log_mb=_megabytes(self.zone.base / "daemon.log"),
                waiting=sum(len(names) for _, _, names in os.walk(self.zone.input)),
            )
        )

    def finish(self) -> list[str]:
        """Let it end, and return what is wrong."""
        self.zone.wait_for_ends(self.dropped, PATIENCE)
        self.sample()
        self.zone.stop(self._daemon)
        last = self.zone.start("--once")
        wait_for(lambda: last.poll() is not None, "the last run is logged", PATIENCE)
        wrong = []
        ended = len(self.zone.receipts())
        if ended != self.dropped:
            wrong.append(
                f"{self.dropped} files were dropped, {ended} receipts are there"
            )
        proof = self.zone.command("verify", "--deep")
        if proof.returncode:
            wrong.append(f"verify: {proof.stdout}{proof.stderr}")
        return wrong

    def close(self) -> None:
        self.zone.close()

    def _configure(self, number: int) -> None:
        aside = self.config.with_suffix(".aside")
        aside.write_text(
            "log:\n  format: json\n"
            f"mlflow:\n  batch_files: {1000 + number % 2}\n"
            f"limits:\n  free_megabytes: {256 + number % 3}\n"
            "retention:\n  processed_days: 0.007\n  failed_days: 0.007\n"
            "  every_seconds: 60\n"
            f"notifications:\n  command: [tee, --append, {self.messages}]\n"
        )
        aside.rename(self.config)


def _kilobytes(pid: int, file: str, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def _megabytes(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_size / 1e6
    return 0.0


def _every(
    seconds: float, act: Callable[[], None], stop: threading.Event
) -> threading.Thread:
    def run() -> None:
        while not stop.wait(seconds):
            act()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def grown(samples: list[Sample]) -> Iterator[str]:
    """Name what the last quarter has more of than the one after the warming up.

    Both are of one process each, where one lived long enough.
    """
    last = samples[-1].seconds
    for name in ("daemon_mb", "family_mb", "descriptors", "threads", "processes"):
        quarters = [
            statistics.median(
                getattr(sample, name)
                for sample in samples
                if begin * last <= sample.seconds < end * last
            )
            for begin, end in ((WARM, 2 * WARM), (1 - WARM, 1.0))
        ]
        early, late = quarters
        allowance = GROWTH_MEGABYTES if name.endswith("_mb") else 3
        verdict = "grew" if late > early * GROWTH_RATIO + allowance else "flat"
        print(f"  {name}: {early:.1f} -> {late:.1f} ({verdict})")
        if verdict == "grew":
            yield f"{name} grew from {early:.1f} to {late:.1f}"


def unexplained(log: str, guide: str) -> Iterator[str]:
    """Name what the log says that the guide does not, and count what it says."""
    told: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            yield f"not a log line: {line[:200]}"
            continue
        told[entry["level"], entry["event"]] += 1
    for (level, event), count in sorted(told.items()):
        print(f"  {level:8} {count:6} {event}")
        if f"`{event}`" not in guide:
            yield f"no page explains the event {event!r}"


def blow(lasting: Ground, restarted: Ground, minutes: float) -> list[Exception]:
    stop = threading.Event()
    broken: list[Exception] = []

    def guarded(act: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                act()
            except (subprocess.SubprocessError, AssertionError, OSError) as error:
                broken.append(error)
                stop.set()

        return run

    threads = []
    for ground in (lasting, restarted):
        # One at a time each, so that no signal meets a process that is just replaced.
        turn = threading.Lock()
        for seconds, act in (
            (1.0, lambda g=ground: g.drop(1)),
            (BURST_SECONDS, ground.burst),
            (RELOAD_SECONDS, ground.reload),
            (SAMPLE_SECONDS, ground.sample),
            (
                RESTART_SECONDS,
                ground.restart if ground is restarted else ground.kill_a_server,
            ),
        ):
            threads.append(_every(seconds, guarded(_in_turn(turn, act)), stop))
    stop.wait(minutes * 60)
    stop.set()
    for thread in threads:
        thread.join(120)
    return broken


def _in_turn(turn: threading.Lock, act: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with turn:
            act()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--burst", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    grounds = {
        name: Ground(options.out / name, options.seed + index, options.burst)
        for index, name in enumerate(("lasting", "restarted"))
    }
    wrong: list[str] = []
    try:
        wrong += map(repr, blow(*grounds.values(), options.minutes))
        for name, ground in grounds.items():
            wrong += _judge(name, ground, options.out)
    finally:
        for ground in grounds.values():
            ground.close()
    print("\n".join(wrong) or "nothing is wrong")
    sys.exit(bool(wrong))


def _judge(name: str, ground: Ground, out: Path) -> list[str]:
    wrong = ground.finish()
    done = (
        f"{ground.dropped} files, {ground.reloads} reloads, {ground.restarts} restarts"
    )
    print(f"{name}: {done}")
    with (out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)])
        writer.writeheader()
        writer.writerows(map(asdict, ground.samples))
    wrong += grown(ground.samples)
    wrong += unexplained(ground.zone.log(), OPERATIONS.read_text())
    return [f"{name}: {what}" for what in wrong]


if __name__ == "__main__":
    main()
