"""A standard future that costs a tenth of one to make: what most futures never need is made when it is asked for.

The standard class keeps its state under `_condition`; an executor is expected to move it, so the few private
names used here are those that `concurrent.futures` itself uses across its modules.

While a future has no condition, whoever changes its state holds one lock that all such futures share. So he is over
before there is a condition, or sees it, and then holds that.
"""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stoppable.latch import Condition, Waiters

T = TypeVar("T")
ENDED = frozenset((CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED))
# Re-entrant, for signal handlers. Held for a line or two, which run no code of the user's.
UNOWNED = threading.RLock()


class BareFuture(concurrent.futures.Future[T], Generic[T]):
    """A standard future, as far as one sees. Its class holds what most never change."""

    _state = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _own: Condition | None = None  # see `_condition`
    _waiters: Any = ()
    _done_callbacks: Any = ()
    _afterwards: Callable[[], object] | None = None  # called after the callbacks, if there are any

    def __init__(self) -> None:
        """Make one that is pending."""
        # Not `super().__init__()`: it makes a `threading.Condition`, which costs as much as the rest of a submit.

    if not TYPE_CHECKING:  # to a type checker it is the attribute that the standard class declares

        @property
        def _condition(self) -> Condition:
            """All of a condition that the standard class uses."""
            if self._own is None:
                waiters, own = Waiters(), Condition()
                with UNOWNED:
                    if self._own is None:  # from here to the end of the block no signal handler can run
                        self._waiters = waiters
                        self._own = own
            return self._own

    def _regain(self) -> None:
        """See to it that the condition can be taken; called before it is."""
        own = self._own
        if own is not None:
            if own.acquire(False):
                own.release()
            else:
                self._own = own.regained()

    def done(self) -> bool:
        """Return whether the task has ended."""
        return self._state in ENDED

    def cancelled(self) -> bool:
        """Return whether the task has ended as cancelled."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        """Return whether a worker runs the task, or is about to."""
        return self._state == RUNNING

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """Call *fn* with this future once it is done: at once if it is, else in the thread that ends it."""
        self._regain()
        with self._condition:
            if not self._done_callbacks:
                self._done_callbacks = []
        super().add_done_callback(fn)

    def _invoke_callbacks(self) -> None:
        try:
            super()._invoke_callbacks()  # type: ignore[misc]
        finally:
            if self._afterwards is not None:
                self._afterwards()

    def _wait_done(self, timeout: float | None) -> None:
        """Wait until it has ended.

        Raises:
            TimeoutError: *timeout* seconds have passed.
        """
        condition: Any = self._condition if self._state not in ENDED else None
        if condition is not None and not condition.wait_until(self.done, timeout):
            raise TimeoutError

    def _finish_value(self, value: T) -> None:
        """End with *value*, if it has not ended."""
        with UNOWNED:
            if self._own is None and self._state not in ENDED:
                self._result = value
                self._state = FINISHED
                return  # there is no condition, so there is no waiter and no callback
        self._regain()
        with self._condition:
            if self._state in ENDED:
                return
            self._result = value
            self._state = FINISHED
            for waiter in self._waiters:
                waiter.add_result(self)
            self._condition.notify_all()
        if self._done_callbacks:
            self._invoke_callbacks()
