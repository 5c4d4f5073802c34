import threading
import time

import pytest

from dropzone.errors import Stopping
from dropzone.retry import Retry, RetryPolicy

FAST = RetryPolicy(seconds=5, first_pause=0.001, longest_pause=0.002)


def is_os_error(error):
    return isinstance(error, OSError)


class Flaky:
    def __init__(self, failures, error=None):
        self.calls = 0
        self.failures = failures
        self.error = error or OSError("down")

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


def test_a_named_error_is_repeated_until_it_works():
    assert Retry(FAST, transient=is_os_error).call(Flaky(3)) == 4


def test_any_other_error_is_raised_at_once():
    flaky = Flaky(3, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        Retry(FAST, transient=is_os_error).call(flaky)
    assert flaky.calls == 1


def test_the_original_error_comes_out_when_time_is_up():
    error = OSError("down")
    policy = RetryPolicy(seconds=0.05, first_pause=0.01, longest_pause=0.02)
    began = time.monotonic()
    with pytest.raises(OSError, match="down") as caught:
        Retry(policy, transient=is_os_error).call(Flaky(10**6, error))
    assert caught.value is error
    assert time.monotonic() - began < 5


def test_a_pause_ends_when_the_daemon_stops():
    stop = threading.Event()
    slow = RetryPolicy(seconds=100, first_pause=50, longest_pause=50)
    retry = Retry(slow, transient=is_os_error, stop=stop)
    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopping):
        retry.call(Flaky(1))
    assert time.monotonic() - began < 5


def test_a_call_within_a_call_keeps_its_own_count():
    retry = Retry(FAST, transient=is_os_error)
    outer = Flaky(2)

    def both():
        inner = retry.call(Flaky(3))
        return outer(), inner

    assert retry.call(both) == (3, 4)


def test_threads_share_one_object():
    retry = Retry(FAST, transient=is_os_error)
    results = []

    def work():
        results.extend(retry.call(Flaky(2)) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [3] * 160
