"""The parser pool on real processes: what they give, survive and cannot do."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import samples
from dropzone.embed import make_embedder
from dropzone.errors import (
    DocumentRejected,
    ParserDied,
    ServiceUnavailable,
    Stopping,
)
from dropzone.executor import parsers, worker
from dropzone.executor.parsers import ParserPool, ParseTask
from dropzone.extract import sandbox

needs_landlock = pytest.mark.skipif(
    sandbox.landlock_version() == 0, reason="the kernel has no Landlock"
)


@contextlib.contextmanager
def pool_of(processes=1, *, memory_mb=600, timeout_seconds=20.0, **more):
    stop = threading.Event()
    pool = ParserPool(
        processes,
        memory_mb=memory_mb,
        timeout_seconds=timeout_seconds,
        stop=stop,
        **more,
    )
    try:
        yield pool, stop
    finally:
        pool.close()


@pytest.fixture(scope="module")
def pool():
    with pool_of() as (made, _):
        yield made


def parse(pool, content, doc_type="txt", **settings):
    fd = os.memfd_create("sample")
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        return pool.parse(ParseTask(fd, doc_type, **settings))
    finally:
        os.close(fd)


def until(condition):
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not happen within 5 seconds")


def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as listed:
        return {int(pid) for pid in listed.read().split()}


def test_a_document_comes_back_with_chunks_and_their_vectors(pool):
    text = samples.prose(4096)

    parsed = parse(pool, text.encode())

    assert parsed.notes == ()
    assert parsed.characters == len(text.strip())
    assert [piece.text for piece in parsed.chunks] == [
        text.strip()[piece.start : piece.end] for piece in parsed.chunks
    ]
    vectors = np.frombuffer(parsed.vectors, "<f2").reshape(-1, parsed.dims)
    same = make_embedder("hash-v1").embed_documents([c.text for c in parsed.chunks])
    assert vectors.shape == (len(parsed.chunks), parsed.dims)
    assert np.allclose(vectors, same, atol=1e-3)


def test_pages_headings_and_metadata_come_through(pool):
    pdf = parse(pool, samples.pdf(["one page", "two pages"], title="Both"), "pdf")
    word = parse(pool, samples.word([("Heading 1", "Top"), ("", "text")]), "docx")

    assert [piece.page for piece in pdf.chunks] == [1, 2]
    assert pdf.metadata == {"title": "Both", "pages": "2"}
    assert word.chunks[0].heading == "Top"


def test_a_file_without_text_has_no_chunks_but_a_reason(pool):
    parsed = parse(pool, bytes(5000))

    assert parsed.chunks == ()
    assert parsed.vectors == b""
    assert parsed.notes == ("binary",)


def test_the_offset_of_the_file_is_left_alone(pool):
    with open(__file__, "rb") as file:
        file.seek(100)
        parsed = pool.parse(ParseTask(file.fileno(), "txt"))

        assert file.tell() == 100
    assert parsed.chunks[0].start == 0


def test_settings_of_the_task_are_followed(pool):
    text = samples.prose(5000).encode()

    parsed = parse(pool, text, max_characters=1000, chunk_characters=200)

    assert parsed.characters <= 1000
    assert parsed.notes == ("truncated_text",)
    assert max(len(piece.text) for piece in parsed.chunks) <= 200


def test_a_rejection_keeps_its_words_and_the_process(pool):
    parse(pool, b"warm")
    before = children()

    with pytest.raises(DocumentRejected, match="needs a password") as caught:
        parse(pool, samples.encrypted_pdf(), "pdf")

    assert caught.value.hint
    assert children() == before


def test_what_a_parser_raises_is_told(pool):
    with pytest.raises(ParserDied, match="KeyError"):
        parse(pool, b"text", "nonsense")


@pytest.mark.parametrize(
    ("content", "doc_type", "error"),
    [
        (samples.pdf_bomb(600), "pdf", ParserDied),
        (samples.word_bomb(120), "docx", DocumentRejected),
        (samples.laughing_word(), "docx", None),
        (b"x" * 80_000_000, "json", None),
    ],
    ids=["pdf", "docx", "entities", "long"],
)
def test_a_bomb_costs_only_itself(pool, content, doc_type, error):
    with pytest.raises(error) if error else contextlib.nullcontext():
        parse(pool, content, doc_type)

    assert parse(pool, b"The next file.").chunks[0].text == "The next file."


def test_a_parser_out_of_memory_is_told_with_its_limit(pool):
    content = ("many words " * 20_000_000).encode()

    with pytest.raises(ParserDied, match="more than 600 MB") as caught:
        parse(pool, content, max_characters=10**9)

    assert "extract.memory_mb" in caught.value.hint


def test_an_endless_parser_is_stopped_at_its_time():
    with pool_of(timeout_seconds=0.5) as (pool, _):
        parse(pool, b"warm")
        began = time.monotonic()

        with pytest.raises(ParserDied, match=r"stopped after 0\.5 seconds"):
            parse(pool, samples.slow_html(), "html")

        assert time.monotonic() - began < 10
        assert parse(pool, b"The next file.").chunks


def test_a_files_time_grows_with_its_size(monkeypatch):
    monkeypatch.setattr(parsers, "_LEAST_SECONDS", 0.2)
    monkeypatch.setattr(parsers, "_SECONDS_PER_BYTE", 1e-7)
    content = samples.slow_html()
    with (
        pool_of(timeout_seconds=900) as (pool, _),
        pytest.raises(ParserDied, match=rf"after {0.2 + len(content) * 1e-7:g} second"),
    ):
        parse(pool, content, "html")


def test_the_processor_time_of_each_file_is_limited():
    with pool_of(timeout_seconds=7) as (pool, _):
        for _ in range(2):
            parse(pool, b"text")
            (_, process), *_ = pool._idle
            limits = Path(f"/proc/{process._process.pid}/limits").read_text()
            line = next(x for x in limits.splitlines() if x.startswith("Max cpu"))
            # What the process has used before, the file's seconds, and some to spare.
            assert 12 <= int(line.split()[3]) <= 15


def test_an_answer_that_is_too_big_is_refused(pool, monkeypatch):
    monkeypatch.setattr("dropzone.executor.process._MOST_VECTOR_BYTES", 1000)

    with pytest.raises(ParserDied, match="too big"):
        parse(pool, b"one chunk")


def test_a_process_killed_while_idle_is_replaced_in_silence(pool):
    parse(pool, b"warm")
    (_, process), *_ = pool._idle
    process.kill()

    until(process.has_hung_up)

    assert parse(pool, b"text").chunks


def test_a_parser_that_cannot_start_is_not_the_files_fault():
    with (
        pool_of(memory_mb=8) as (pool, _),
        pytest.raises(ServiceUnavailable, match="cannot be started"),
    ):
        parse(pool, b"text")


def test_files_are_parsed_side_by_side():
    with pool_of(2) as (pool, _):
        results = []
        texts = [samples.prose(4000, seed) for seed in range(40)]

        def work(part):
            results.extend((text, parse(pool, text.encode())) for text in part)

        threads = [threading.Thread(target=work, args=(texts[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(results) == 40
        assert all(parsed.chunks[0].text in text for text, parsed in results)
        assert len(pool._idle) == 2


def test_no_process_runs_before_the_first_file_nor_long_after_the_last():
    before = children()
    with pool_of(idle_seconds=0.05) as (pool, _):
        assert children() == before
        parse(pool, b"text")

        with pool._changed:
            assert pool._changed.wait_for(pool._all_ended, timeout=5)
        assert children() == before
        assert parse(pool, b"text").chunks


def test_a_process_is_replaced_after_many_files(monkeypatch):
    monkeypatch.setattr(parsers, "_FILES_PER_PROCESS", 2)
    with pool_of() as (pool, _):
        seen = set()
        before = children()
        for _ in range(4):
            parse(pool, b"text")
            seen |= children() - before

        assert pool._free == 1
        assert len(seen) == 2


def stopped_by(act):
    """Start a parse that would take minutes, act, and return what it raised."""
    with pool_of() as (pool, stop):
        parse(pool, b"warm")
        raised = []

        def work():
            try:
                parse(pool, samples.slow_html(), "html")
            except Stopping as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: pool._busy)
        began = time.monotonic()
        act(pool, stop)
        thread.join()
        assert time.monotonic() - began < 10
        assert not pool._busy
        return raised


def test_stopping_gives_running_work_back():
    assert stopped_by(lambda _, stop: stop.set())


def test_closing_gives_running_work_back_and_leaves_no_process():
    before = children()

    assert stopped_by(lambda pool, _: pool.close())

    assert children() == before


def test_a_closed_pool_takes_no_work():
    with pool_of() as (pool, stop):
        stop.set()
        with pytest.raises(Stopping):
            parse(pool, b"text")


def test_a_thread_that_waits_for_a_process_hears_the_stop():
    with pool_of(0) as (pool, stop):
        timer = threading.Timer(0.05, stop.set)
        timer.start()

        with pytest.raises(Stopping):
            parse(pool, b"text")
        timer.join()


def test_a_parser_ends_with_its_daemon():
    code = """
import os, threading
from dropzone.executor.parsers import ParserPool, ParseTask
pool = ParserPool(1, memory_mb=600, timeout_seconds=60, stop=threading.Event())
pool.parse(ParseTask(os.open(os.__file__, os.O_RDONLY), "txt"))
print(pool._idle[0][1]._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    daemon = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, check=False
    )

    with contextlib.suppress(ProcessLookupError):
        ended = os.pidfd_open(int(daemon.stdout))
        with open(ended):
            assert ended in select.select([ended], [], [], 5)[0]


PROBE = """
import os, resource, socket, subprocess, sys, threading
from dropzone.extract import sandbox
pair = socket.socketpair()
level = sandbox.lock_down()
def tried(act):
    try:
        act()
    except (OSError, RuntimeError) as error:
        return type(error).__name__
    return "done"
print(level)
print(tried(lambda: open("/etc/passwd").read()))
print(tried(lambda: open("/tmp/written", "w")))
print(tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])))))
print(tried(lambda: subprocess.run(["/bin/true"])))
print(tried(os.fork))
print(tried(lambda: os.kill(os.getppid(), 0)))
print(tried(lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU)))
print(tried(lambda: __import__("xberg")))
print(tried(threading.Thread(target=print, args=("thread",)).start))
"""


@needs_landlock
def test_a_locked_down_process_reaches_nothing_but_its_libraries():
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", PROBE, port],
            env=env, capture_output=True, text=True, check=True,
        )  # fmt: skip

    level, read, write, connect, *rest = done.stdout.splitlines()
    assert level.startswith("landlock")
    assert (read, write, connect) == ("PermissionError",) * 3
    if level == "landlock+seccomp":
        assert rest[:4] == ["PermissionError"] * 4
    assert rest[4] == "done"
    assert set(rest[5:]) == {"thread", "done"}


@needs_landlock
def test_the_pool_tells_how_its_parsers_are_confined(pool):
    parse(pool, b"text")

    assert pool.isolation.startswith("landlock")


def test_a_parser_sees_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with pool_of() as (fresh, _):
        parse(fresh, b"text")
        (_, process), *_ = fresh._idle
        with open(f"/proc/{process._process.pid}/environ", "rb") as environ:
            assert b"canary" not in environ.read()


def test_a_frame_carries_the_document(tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"Some text.")
    with open(path, "rb") as file:
        frame = b"".join(worker.answer(ParseTask(file.fileno(), "txt")))

    assert b"Some text." in frame
