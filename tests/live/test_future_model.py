"""A future made by hand is CPython's: whatever is done to both, both show the same."""

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stoppable import Future


class Raised(Exception):
    """What a task may raise; equal by its text, so that two futures can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Raised) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)


def outcome(call: Callable[[], Any]) -> Any:
    """Return what *call* gives, or the class and text of what it raises."""
    try:
        return call()
    except BaseException as error:
        text = str(error).replace("stoppable.", "").partition(" at 0x")[0]  # the repr of a future, in InvalidStateError
        return type(error), text


class BothFutures(RuleBasedStateMachine):
    """The same calls on a standard future and on ours."""

    @initialize()
    def make(self) -> None:
        self.futures: tuple[Any, Any] = (concurrent.futures.Future(), Future())
        self.told: tuple[list[Any], list[Any]] = ([], [])
        self.callbacks = 0
        self.ready: tuple[list[Any], list[Any]] = ([], [])

    def both(self, call: Callable[[Any], Any]) -> None:
        theirs, ours = (outcome(lambda future=future: call(future)) for future in self.futures)
        assert ours == theirs

    @rule()
    def cancel(self) -> None:
        self.both(lambda future: future.cancel())

    # Twice, the standard one ends the process's trust in it with a critical log line and an error.
    @precondition(lambda self: not self.futures[0].running() and not self.futures[0].done())
    @rule()
    def begin(self) -> None:
        self.both(lambda future: future.set_running_or_notify_cancel())

    @precondition(lambda self: self.futures[0]._state == "CANCELLED")
    @rule()
    def notify(self) -> None:
        self.both(lambda future: future.set_running_or_notify_cancel())

    @rule(value=st.integers())
    def set_result(self, value: int) -> None:
        self.both(lambda future: future.set_result(value))

    @rule(text=st.text(max_size=3))
    def set_exception(self, text: str) -> None:
        self.both(lambda future: future.set_exception(Raised(text)))

    @rule(timeout=st.sampled_from([0, 0.0, -1, 0.001]))
    def result(self, timeout: float) -> None:
        self.both(lambda future: future.result(timeout))
        self.both(lambda future: future.exception(timeout))

    @precondition(lambda self: self.futures[0].done() and self.futures[0]._state != "CANCELLED")
    @rule()
    def result_without_timeout(self) -> None:
        self.both(lambda future: future.result())

    @rule(breaks=st.booleans())
    def add_callback(self, breaks: bool) -> None:
        self.callbacks += 1
        number = self.callbacks
        for future, told in zip(self.futures, self.told, strict=True):

            def callback(which: Any, told: list[Any] = told, future: Any = future) -> None:
                told.append((number, which is future, which.done(), which.cancelled()))
                if breaks:
                    raise ValueError("a callback that breaks is logged, and the others run")

            future.add_done_callback(callback)

    @rule(how=st.sampled_from(["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"]))
    def wait(self, how: str) -> None:
        self.both(lambda future: len(concurrent.futures.wait([future], 0, how).done))
        self.both(lambda future: len(list(map(bool, [concurrent.futures.wait([future, future], 0).not_done]))))

    @rule()
    def as_completed(self) -> None:
        self.both(lambda future: [each is future for each in concurrent.futures.as_completed([future], 0)])

    @precondition(lambda self: self.futures[0].running())
    @rule(value=st.integers())
    def be_waited_for_in_a_thread_and_end(self, value: int) -> None:
        """Each is waited for by `result` and by `wait`, and then ends."""
        for future in self.futures:
            got: list[Any] = []
            threads = [
                threading.Thread(target=lambda f=future: got.append(f.result(60))),
                threading.Thread(target=lambda f=future: got.append(len(concurrent.futures.wait([f], 60).done))),
            ]
            for thread in threads:
                thread.start()
            future.set_result(value)
            for thread in threads:
                thread.join(60)
            assert sorted(got) == sorted([value, 1])

    @invariant()
    def they_show_the_same(self) -> None:
        for name in ("done", "running", "cancelled"):
            self.both(lambda future, name=name: getattr(future, name)())
        assert self.told[0] == self.told[1]
        self.both(lambda future: repr(future).partition(" state=")[2])


BothFutures.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestBothFutures = pytest.mark.slow(BothFutures.TestCase)
