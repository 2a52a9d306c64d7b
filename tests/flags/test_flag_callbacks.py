"""on_stop: behaviours 29-36."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable

import pytest

from stoppable.flags import StopToken


def until(fact: Callable[[], bool], at_most_s: float = 30) -> None:
    end = time.monotonic() + at_most_s
    while not fact():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)


def servants() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "stoppable-callbacks"]


def test_a_callback_runs_once_though_stop_is_called_again() -> None:
    """Behaviour 29."""
    token, calls, last = StopToken(), list[int](), threading.Event()
    token.on_stop(last.set)
    token.on_stop(lambda: calls.append(1))
    for _ in range(5):
        token.stop()
    assert last.wait(60)
    assert calls == [1]


def test_the_last_registered_is_called_first() -> None:
    """Behaviour 30."""
    token, order, last = StopToken(), list[int](), threading.Event()
    token.on_stop(last.set)
    child = token.child()
    for number in range(10):
        (token if number % 2 else child).on_stop(lambda number=number: order.append(number))
    token.stop()
    assert last.wait(60)
    assert order == list(range(9, -1, -1))


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_is_logged_and_the_others_run(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 31."""
    token, last = StopToken(), threading.Event()

    def fail() -> None:
        raise error(3)

    token.on_stop(last.set)
    token.on_stop(fail)
    with caplog.at_level(logging.ERROR, "stoppable"):
        assert token.stop() is True
        assert last.wait(60)
    [record] = caplog.records
    assert record.name == "stoppable"
    assert record.exc_info is not None
    assert record.exc_info[0] is error
    caplog.clear()  # the traceback holds the token


def test_a_callback_that_blocks_does_not_delay_stop() -> None:
    """Behaviour 32."""
    token, began, go_on = StopToken(), threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        go_on.wait(60)

    with token.on_stop(block):
        assert token.stop() is True
        assert began.wait(60)
        assert token.stop() is False
        go_on.set()


def test_a_late_callback_runs_but_not_in_the_registering_thread() -> None:
    """Behaviour 33."""
    token, seen, ran = StopToken(), list[str](), threading.Event()
    token.stop()
    token.on_stop(lambda: (seen.append(threading.current_thread().name), ran.set()))
    assert ran.wait(60)
    assert seen == ["stoppable-callbacks"]


def test_a_passed_deadline_calls_back_too() -> None:
    ran = threading.Event()
    token = StopToken(timeout=0.03)
    token.child().on_stop(ran.set)
    assert ran.wait(60)


def test_cancel_tells_whether_it_prevented() -> None:
    """Behaviour 34."""
    token, calls, last = StopToken(), list[int](), threading.Event()
    done = token.on_stop(last.set)
    registration = token.on_stop(lambda: calls.append(1))
    assert registration.cancel() is True
    assert registration.cancel() is False
    token.stop()
    assert last.wait(60)
    until(lambda: "ran" in repr(done))
    assert done.cancel() is False
    assert calls == []


@pytest.mark.slow
def test_exactly_one_of_ran_and_prevented() -> None:
    """Behaviour 35."""
    last = StopToken()
    calls: list[int] = []
    prevented = set()
    for number in range(10_000):
        token = last.child()
        registration = token.on_stop(lambda number=number: calls.append(number))
        if number % 3:
            token.stop()
        if registration.cancel():
            prevented.add(number)
        else:
            assert number % 3
    until(lambda: not servants())
    assert len(calls) == len(set(calls))
    assert prevented.isdisjoint(calls)
    assert prevented.union(calls) == set(range(10_000))


def test_callbacks_cancel_themselves_and_others_without_deadlock() -> None:
    """Behaviour 36."""
    token, answers, last = StopToken(), list[bool](), threading.Event()
    token.on_stop(last.set)
    other = token.on_stop(lambda: answers.append(False))
    registrations = []

    def cancel_both() -> None:
        with registrations[0]:  # leaving it in the callback itself must not wait for the callback
            answers.append(registrations[0].cancel())
        answers.append(other.cancel())

    registrations.append(token.on_stop(cancel_both))
    token.stop()
    assert last.wait(60)
    assert answers == [False, True]


def test_leaving_the_block_waits_for_a_running_callback() -> None:
    """Behaviour 36."""
    token, began, ended = StopToken(), threading.Event(), list[bool]()

    def slow() -> None:
        began.set()
        time.sleep(0.1)
        ended.append(True)

    with token.on_stop(slow):
        token.stop()
        assert began.wait(60)
    assert ended == [True]


def test_leaving_the_block_cancels() -> None:
    token, calls = StopToken(), list[int]()
    with token.on_stop(lambda: calls.append(1)):
        pass
    token.stop()
    until(lambda: not servants())
    assert calls == []


def test_the_thread_goes_with_the_last_registration() -> None:
    token = StopToken()
    one, two = token.on_stop(print), token.child().on_stop(print)
    assert len(servants()) == 1
    one.cancel()
    two.cancel()
    until(lambda: not servants())


def test_more_words_than_one_thread_can_wait_for_take_more_threads() -> None:
    tokens = [StopToken() for _ in range(300)]
    calls: list[int] = []
    for number, token in enumerate(tokens):
        token.on_stop(lambda number=number: calls.append(number))
    assert len(servants()) == 3
    for token in reversed(tokens):
        token.stop()
    until(lambda: len(calls) == 300 and not servants())
    assert sorted(calls) == list(range(300))


def test_a_callback_may_register_another() -> None:
    token, ran = StopToken(), threading.Event()
    token.on_stop(lambda: token.on_stop(ran.set))
    token.stop()
    assert ran.wait(60)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError):
        StopToken().on_stop(5)


def in_a_child(token: StopToken, registration: object, answers: "multiprocessing.SimpleQueue[object]") -> None:
    ran = threading.Event()
    token.on_stop(ran.set)
    cancelled = registration.cancel()
    answers.put("ready")
    answers.put((cancelled, ran.wait(60), os.getpid()))


def test_a_forked_child_has_callbacks_of_its_own_only() -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    token, calls, last = StopToken(), list[int](), threading.Event()
    token.on_stop(last.set)
    registration = token.on_stop(lambda: calls.append(os.getpid()))
    child = context.Process(target=in_a_child, args=(token, registration, answers))
    child.start()
    assert answers.get() == "ready"
    token.stop()
    assert answers.get() == (False, True, child.pid)
    child.join()
    assert last.wait(60)
    assert calls == [os.getpid()]
    answers.close()
