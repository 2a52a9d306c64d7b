"""What an Event promises: threading.Event's contract."""

import copy
import math
import pickle
import threading
import time

import pytest

from stoppable.flags import Event, kernel


def make(kind: str) -> "threading.Event | Event":
    return threading.Event() if kind == "threading" else Event()


@pytest.mark.parametrize("kind", ["threading", "stoppable"])
def test_both_events_pass_the_same_contract(kind: str) -> None:
    """Behaviour 27."""
    event = make(kind)
    assert event.is_set() is False
    assert event.wait(0) is False
    assert event.wait(-1) is False
    assert event.set() is None
    assert event.set() is None
    assert event.is_set() is True
    assert event.wait() is True
    assert event.clear() is None
    assert event.clear() is None
    assert event.is_set() is False
    assert event.wait(timeout=0.01) is False
    assert "unset" in repr(event)
    event.set()
    assert "unset" not in repr(event)


@pytest.mark.parametrize("kind", ["threading", "stoppable"])
def test_one_set_wakes_all_waiters(kind: str) -> None:
    event = make(kind)
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(event.wait(60))) for _ in range(5)]
    for thread in threads:
        thread.start()
    event.set()
    for thread in threads:
        thread.join()
    assert woken == [True] * 5


@pytest.mark.skipif(kernel.PORTABLE, reason="a poll may miss a short set; the docstring says so")
def test_a_waiter_learns_of_a_set_that_was_cleared_at_once() -> None:
    event = Event()
    for _ in range(50):
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(event.wait(60)))
        thread.start()
        while not is_asleep(thread):
            time.sleep(0.0005)
        event.set()
        event.clear()
        thread.join()
        assert answers == [True]


def is_asleep(thread: threading.Thread) -> bool:
    with open(f"/proc/self/task/{thread.native_id}/wchan") as file:
        if file.read().startswith("futex"):
            # A thread that waits for the GIL sleeps on a futex too, but a private one with a bit set.
            with open(f"/proc/self/task/{thread.native_id}/syscall") as call:
                return call.read().split()[2:3] == ["0x9"]
    return False


def test_copies_are_the_same_flag() -> None:
    event = Event()
    other = pickle.loads(pickle.dumps(event))
    assert other == event
    assert hash(other) == hash(event)
    assert other is not event
    assert Event() != event
    assert event != 1
    assert copy.copy(event) == event == copy.deepcopy({"e": event})["e"]
    other.set()
    assert event.is_set()
    event.clear()
    assert not other.is_set()


def test_a_nan_is_no_timeout() -> None:
    with pytest.raises(ValueError):
        Event().wait(math.nan)


def test_a_huge_timeout_is_for_ever() -> None:
    event = Event()
    threading.Timer(0.02, event.set).start()
    assert event.wait(1e300) is True


def test_an_interrupt_handler_runs_while_its_process_waits() -> None:
    import signal

    event = Event()
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: (seen.append(number), event.set()))
    alarm = signal.setitimer(signal.ITIMER_REAL, 0.03)
    try:
        assert event.wait(60) is True
        assert seen == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *alarm)
        signal.signal(signal.SIGALRM, before)
