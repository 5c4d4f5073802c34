"""The bodies of uploads as they come in: slow, silent, cut off, too many."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dropzone.uploads.record import State, Upload, Wanted
from dropzone.web.problems import Problem
from dropzone.web.uploads import admission, bodies
from dropzone.web.uploads.bodies import Body
from dropzone.web.uploads.streams import MOST_OF_ONE, Stream, Streams


def part(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def sender(*messages: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    """Return what gives these messages, and then none for ever."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


async def read(body: Body) -> list[bytes]:
    found = []
    while block := await body.block():
        found.append(bytes(block))
    return found


def test_small_parts_come_together_in_blocks():
    body = Body(
        sender(*[part(b"x" * 1000)] * 300, part(b"y", more=False)), lambda: None
    )
    first, second = asyncio.run(read(body))
    assert len(first) >= bodies.BLOCK
    assert second.endswith(b"y")
    assert body.problem is None


def test_what_a_sender_who_falls_silent_brought_is_given_on(monkeypatch):
    monkeypatch.setattr(bodies, "STALLED_SECONDS", 0.05)
    monkeypatch.setattr(bodies, "_LOOK_SECONDS", 0.01)
    body = Body(sender(part(b"abc")), lambda: None)
    assert asyncio.run(read(body)) == [b"abc"]
    assert body.problem is not None
    assert body.problem.status == 408


def test_a_slow_sender_is_written_down_now_and_then(monkeypatch):
    monkeypatch.setattr(bodies, "_GATHER_SECONDS", 0.0)
    messages = [part(b"a"), part(b"b"), part(b"", more=False)]
    assert asyncio.run(read(Body(sender(*messages), lambda: None))) == [b"a", b"b"]


@pytest.mark.parametrize("silent", [True, False])
def test_a_refusal_ends_it_and_keeps_what_came(monkeypatch, silent):
    monkeypatch.setattr(bodies, "_LOOK_SECONDS", 0.01)
    messages = [part(b"a")] if silent else [part(b"a"), part(b"b")]
    told: list[Problem] = []
    body = Body(sender(*messages), lambda: told[0] if told else None)

    async def refuse() -> list[bytes]:
        reading = asyncio.create_task(read(body))
        await asyncio.sleep(0)
        told.append(Problem(401, "no longer"))
        return await reading

    assert b"".join(asyncio.run(refuse())).startswith(b"a")
    assert body.problem is told[0]


def test_a_client_that_goes_away_leaves_what_it_sent():
    gone = {"type": "http.disconnect"}
    body = Body(sender(part(b"abc"), gone), lambda: None)
    assert asyncio.run(read(body)) == [b"abc"]
    assert body.problem is not None


def test_one_caller_cannot_take_every_place():
    async def fill() -> None:
        streams = Streams()
        stream = Stream(sender(), lambda: None)
        opened = [
            streams.opened(str(number), "dora", stream) for number in range(MOST_OF_ONE)
        ]
        for one in opened:
            one.__enter__()
        with (
            pytest.raises(Problem, match="Too many"),
            streams.opened("one more", "dora", stream),
        ):
            pass
        with pytest.raises(Problem, match="Another request"):
            await streams.clear("0")
        with streams.opened("one more", "otto", stream):
            pass
        for one in opened:
            one.__exit__(None, None, None)
        await streams.clear("0")

    asyncio.run(fill())


def test_unfinished_uploads_are_counted_for_each_caller():
    wanted = Wanted("dora", b"x", 1)
    one = State(Upload("0" * 32, wanted, 0.0, 1), 0, 0.0)
    with pytest.raises(Problem, match="200 unfinished"):
        admission.check_count(wanted, [one] * admission.MOST_OF_ONE)
    other = Wanted("otto", b"x", 1)
    admission.check_count(other, [one] * admission.MOST_OF_ONE)
    with pytest.raises(Problem, match="all together 1000"):
        admission.check_count(other, [one] * admission.MOST)
