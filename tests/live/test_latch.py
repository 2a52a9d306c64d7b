"""Waits that a signal breaks off at any instant, and a Ctrl-C that comes before the last was heeded."""

import concurrent.futures
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from stoppable import Future, Rung
from stoppable.latch import Latch, Sleepers
from stoppable.shell import leaving

TIMES = 1000
HANG_S = 20


class Alarm(Exception):
    """Raised by a signal handler, as KeyboardInterrupt is, where nobody expects it."""


@pytest.fixture
def alarms() -> Iterator[Callable[[int], None]]:
    def ring(*_: object) -> None:
        raise Alarm

    def soon(turn: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.00005 + turn % 97 * 0.000005)  # sweeps over the whole wait

    old = signal.signal(signal.SIGALRM, ring)
    yield soon
    signal.signal(signal.SIGALRM, old)


def in_time(function: Callable[[], object]) -> bool:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(HANG_S)
    return not thread.is_alive()


@pytest.mark.slow
def test_whoever_waits_for_futures_in_the_standard_way_has_an_event_that_no_signal_breaks(
    alarms: Callable[[int], None],
) -> None:
    """Behaviour 95. The waiter stays with the future when its wait is broken off; the reactor sets its event."""
    future: Future[int] = Future()
    with pytest.raises(concurrent.futures.TimeoutError):
        next(concurrent.futures.as_completed([future], 0.01))
    assert concurrent.futures.wait([future], 0.01).not_done == {future}
    with pytest.raises(Alarm):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        concurrent.futures.wait([future], HANG_S)
    (left,) = future._waiters  # what the standard library leaves behind
    assert not isinstance(left.event, threading.Event)
    for turn in range(TIMES):
        with pytest.raises(Alarm):
            alarms(turn)
            while True:
                left.event.wait(0.00002)
    assert in_time(lambda: future.set_result(1))
    assert left.event.is_set()
    assert concurrent.futures.wait([future], HANG_S).done == {future}


@pytest.mark.slow
def test_a_wait_that_a_signal_breaks_off_never_hangs_the_setter(alarms: Callable[[int], None]) -> None:
    """Behaviour 95. `threading.Event` fails this, once in about a hundred turns."""
    for turn in range(TIMES):
        latch = Latch()
        with pytest.raises(Alarm):
            alarms(turn)
            while True:
                latch.wait(0.00002)
        assert in_time(latch.set)
        assert latch.wait(0)


@pytest.mark.slow
def test_a_result_that_a_signal_breaks_off_leaves_the_future_free(alarms: Callable[[int], None]) -> None:
    """Behaviour 95. The standard future fails this: whoever sets its result hangs."""
    for turn in range(TIMES):
        future: Future[int] = Future()
        with pytest.raises(Alarm):
            alarms(turn)
            while True:
                try:
                    future.result(0.00002)
                except TimeoutError:
                    pass
        assert in_time(lambda future=future: future.set_result(7))  # type: ignore[misc]
        assert future.result(0) == 7


def test_a_sleeper_that_was_woken_too_early_sleeps_on_and_is_woken_again() -> None:
    sleepers, facts, ended = Sleepers(), [False], Latch()

    def sleep() -> None:
        assert sleepers.wait(lambda: facts[0], HANG_S)
        ended.set()

    thread = threading.Thread(target=sleep)
    thread.start()
    for _ in range(100):
        sleepers.wake()
        time.sleep(0)
    assert not ended.is_set()
    facts[0] = True
    sleepers.wake()
    assert ended.wait(HANG_S)
    thread.join()


def test_all_who_wait_are_woken() -> None:
    latch = Latch()
    seen: list[bool] = []
    threads = [threading.Thread(target=lambda: seen.append(latch.wait(HANG_S))) for _ in range(8)]
    for thread in threads:
        thread.start()
    latch.set()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8


def test_a_wait_that_runs_out_returns_false() -> None:
    assert Latch().wait(0.01) is False
    assert Latch().wait(0) is False


class Pool:
    """A reactor that is pressed on while it heeds a press."""

    name = "fake"

    def __init__(self, presses: list[float], clock: SimpleNamespace) -> None:
        self.presses, self.clock, self.stops = presses, clock, []  # type: ignore[var-annotated]

    def stop_all(self, rung: Rung, _: object) -> None:
        self._press()
        self.stops.append(rung)

    def wind_down(self) -> None: ...

    def unfinished(self) -> int:
        return 0

    def join(self) -> None:
        self._press()

    def _press(self) -> None:
        if self.presses:
            self.clock.now = self.presses.pop(0)
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("presses", "stops"),
    [
        ([], [Rung.ASK]),
        ([100.1], [Rung.ASK]),  # the duplicate comes before the first is heeded
        ([100.7], [Rung.KILL]),  # so does the second
        ([100.1, 100.2, 100.9], [Rung.KILL]),
    ],
)
def test_a_press_counts_from_when_it_came_not_from_when_it_was_heeded(
    presses: list[float], stops: list[Rung], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 95."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(leaving, "time", clock)
    pool: Any = Pool(presses, clock)
    leaving.wait_out([pool], KeyboardInterrupt)
    assert pool.stops == stops
