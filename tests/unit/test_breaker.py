import threading

import pytest

from dropzone.errors import DocumentRejected, ServiceUnavailable
from dropzone.sessions.breaker import Breaker, BreakerPolicy
from dropzone.sessions.guard import Guard
from dropzone.sessions.health import Health

POLICY = BreakerPolicy(failures=3, first_pause=1.0, longest_pause=4.0)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(POLICY, clock=clock)


def opened(breaker):
    for _ in range(POLICY.failures):
        breaker.failed("It is down.")
    return breaker


class TestBreaker:
    def test_it_opens_after_failures_in_a_row(self, breaker):
        for _ in range(5):
            breaker.failed("down")
            breaker.failed("down")
            breaker.succeeded()
        assert breaker.opening is None
        assert opened(breaker).opening.reason == "It is down."

    def test_one_caller_looks_when_it_is_time(self, breaker, clock):
        opened(breaker)
        assert not breaker.take_turn()
        clock.now += 1.0
        assert [breaker.take_turn() for _ in range(3)] == [True, False, False]

    def test_pauses_double_while_looks_fail(self, breaker, clock):
        opened(breaker)
        pauses = []
        for _ in range(4):
            pauses.append(breaker.seconds_to_probe())
            clock.now += pauses[-1]
            assert breaker.take_turn()
            breaker.looked(Health(healthy=False, error="still down"))
        assert pauses == [1.0, 2.0, 4.0, 4.0]
        assert breaker.opening.reason == "still down"

    def test_a_healthy_look_lets_all_through(self, breaker):
        opened(breaker)
        breaker.looked(Health(healthy=True))
        assert breaker.opening is None
        assert breaker.seconds_to_probe() == 0

    def test_what_the_look_cannot_see_stops_the_asking_at_once_and_for_longer(
        self, breaker
    ):
        opened(breaker)
        breaker.looked(Health(healthy=True))
        breaker.failed("down all the same")
        assert breaker.seconds_to_probe() == 2.0
        breaker.succeeded()
        opened(breaker)
        assert breaker.seconds_to_probe() == 1.0


class Service:
    """Something that a guard stands before."""

    def __init__(self, **options):
        self.healthy = False
        self.looks = 0
        self.guard = Guard(
            "s3",
            address=lambda: "the store",
            look=self._look,
            counts=lambda error: isinstance(error, OSError),
            **options,
        )

    def _look(self):
        self.looks += 1
        return Health(healthy=self.healthy, error=None if self.healthy else "no")

    def fail(self, cause=None):
        with pytest.raises(ServiceUnavailable), self.guard.operation("put"):
            raise ServiceUnavailable("s3", "It is down.") from cause or OSError()

    def work(self, name="put"):
        with self.guard.operation(name):
            return True


class TestGuard:
    def test_a_service_that_is_down_is_not_asked(self):
        service = Service()
        for _ in range(5):
            service.fail()
        with pytest.raises(ServiceUnavailable) as caught:
            service.work()
        assert "is not asked since" in str(caught.value)
        assert "next look is in" in str(caught.value)
        assert "It is down." in str(caught.value)
        told = service.guard.stats()
        assert told.operations["put"].rejected == 1
        assert told.rejects_since is not None
        assert service.looks == 0

    def test_a_look_comes_before_the_next_operation(self):
        service = Service(policy=BreakerPolicy(failures=1, first_pause=0.0))
        service.fail()
        with pytest.raises(ServiceUnavailable, match="Last: no"):
            service.work()
        assert service.looks == 1
        service.healthy = True
        assert service.work()
        assert (service.looks, service.guard.health.healthy) == (2, True)

    def test_refusals_and_faults_of_one_caller_do_not_count(self):
        service = Service(policy=BreakerPolicy(failures=1))
        service.fail(cause=ValueError())
        for error in (DocumentRejected("no"), ValueError()):
            with pytest.raises(type(error)), service.guard.operation("put"):
                raise error
        assert service.guard.stats().rejects_since is None

    def test_a_refusal_is_an_answer(self):
        service = Service(policy=BreakerPolicy(failures=2))
        for _ in range(3):
            service.fail()
            with pytest.raises(DocumentRejected), service.guard.operation("put"):
                raise DocumentRejected("no")
        assert service.guard.stats().rejects_since is None

    def test_who_finds_all_places_taken_waits_and_is_then_told(self):
        service = Service(limit=1, patience=0.3)
        inside, leave = threading.Event(), threading.Event()

        def stay():
            with service.guard.operation("put"):
                inside.set()
                leave.wait(5)

        thread = threading.Thread(target=stay)
        thread.start()
        assert inside.wait(5)
        assert service.guard.stats().operations["put"].in_flight == 1
        with pytest.raises(ServiceUnavailable, match="1 calls to the store"):
            service.work()
        threading.Timer(0.05, leave.set).start()
        assert service.work()
        thread.join()

    def test_operations_are_counted_and_timed(self):
        service = Service()
        for _ in range(100):
            service.work()
        with pytest.raises(ValueError, match="x"), service.guard.operation("put"):
            raise ValueError("x")
        service.work("get")
        told = service.guard.stats().operations
        put = told["put"]
        assert (put.count, put.errors, put.in_flight) == (101, {"ValueError": 1}, 0)
        assert 0 < put.p50_seconds <= put.p95_seconds <= put.p99_seconds < 0.1
        assert put.p50_seconds < put.total_seconds < 1
        assert told["get"].count == 1
