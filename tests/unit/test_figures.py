import time

import pytest

from dropzone.figures import Steps, median
from dropzone.measures import BOUNDS, Measures


def of(**counts):
    made = [0] * (len(BOUNDS) + 1)
    for bound, count in counts.items():
        made[int(bound[1:])] = count
    return made


@pytest.mark.parametrize(
    ("counts", "total", "seconds"),
    [
        (of(), 0.0, None),
        (of(b0=10), 0.008, 0.0008),
        (of(b1=2, b2=2), 0.01, 0.0025),
        (of(b0=1, b9=8), 6.0, (0.5 + 0.5 * 3.5 / 8)),
        (of(b0=1, b17=3), 9000.0, BOUNDS[-1]),
        (of(b17=3), 9000.0, 3000.0),
    ],
)
def test_the_median_of_counted_times(counts, total, seconds):
    found = median(counts, total)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


def test_steps_tell_their_rate_their_time_and_the_longest_work():
    measures = Measures().zone("default")
    steps = Steps(measures)
    assert list(steps.told()) == ["claim", "store", "index", "release", "track"]
    assert steps.told()["store"]["median_seconds"] is None
    now = time.monotonic()
    measures.step("store", now - 0.2, ["a", "b", "c"], until=now)
    measures.doing.begin("store", "d", b"papers/w\xffhale.pdf")
    since = time.time()
    measures.doing.begin("store", "e", b"later.pdf")
    # Tried again after an outage: it goes on.
    measures.doing.begin("store", "d", b"papers/w\xffhale.pdf")
    told = steps.told()["store"]
    assert (told["done"], told["working"]) == (3, 2)
    assert told["a_minute"] == pytest.approx(180, rel=0.5)
    assert told["median_seconds"] == pytest.approx(0.2, abs=0.05)
    assert told["longest"]["job"] == "d"
    assert told["longest"]["path_quoted"] == "papers/w%FFhale.pdf"
    assert told["longest"]["since"] <= since
    measures.doing.end("store", ["d", "e", "unknown"])
    assert steps.told()["store"]["longest"] is None


def test_a_batch_is_no_job():
    measures = Measures().zone("default")
    measures.doing.begin("track", "batch", b"3 files in papers")
    work = Steps(measures).told()["track"]["longest"]
    assert (work["job"], work["batch"]) == (None, "batch")
    assert work["path"] == "3 files in papers"
