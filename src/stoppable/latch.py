"""Waiting that a Ctrl-C cannot break.

A KeyboardInterrupt can be raised in the main thread at any bytecode, also in the Python code of
`threading.Condition` and `threading.Event`: between having taken their inner lock and the block that
gives it back. Then whoever sets the event hangs, for ever, and that is our reactor (measured: of 800
interrupted waits on an Event, 8 hung the setter and 3 ended in "release unlocked lock"). So here:

1. A waiter holds nothing while it waits, nor while it begins or ends to.
2. The locks are C objects, whose `with` no signal can split.
3. The main thread sleeps in slices: a signal that comes just before a lock begins to sleep does not end
   that sleep, and a Ctrl-C would be heeded only when what one waits for has happened.
"""

import _thread
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_SLICE_S = 0.1
_LOOK_S = 0.2  # how long somebody may hold a lock before we look what he does
_MAKING = _thread.RLock()  # held for a line
# Files whose code may hold the lock of a future for a moment.
_HOLDERS = ("concurrent/futures/_base.py", "stoppable/future.py", "stoppable/bare.py")


class Sleepers:
    """Threads that wait until something is so."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: list[_thread.LockType] = []

    def wait(self, so: Callable[[], bool], timeout: float | None = None) -> bool:
        """Sleep until *so* returns True and `wake` was called after, at most *timeout* seconds; return so()."""
        if so():
            return True
        end = None if timeout is None else time.monotonic() + timeout
        slice_s = _SLICE_S if threading.current_thread() is threading.main_thread() else threading.TIMEOUT_MAX
        lock = _thread.allocate_lock()
        woken = lock.acquire()
        try:
            while True:
                if woken:  # before `so` is looked at again: who makes it so afterwards sees the lock
                    self._locks.append(lock)
                if so():
                    return True
                left = slice_s if end is None else min(slice_s, end - time.monotonic())
                if left <= 0:
                    return False
                woken = lock.acquire(True, left)
        finally:
            try:
                self._locks.remove(lock)
            except ValueError:
                pass

    def wake(self) -> None:
        """Wake all who sleep. Never blocks."""
        while self._locks:
            try:
                self._locks.pop().release()
            except (IndexError, RuntimeError):  # it has gone meanwhile, or was woken already
                pass


class Latch:
    """Something that happens once, as `threading.Event` without `clear()`."""

    __slots__ = ("_calls", "_happened", "_sleepers")

    def __init__(self) -> None:
        self._happened = False
        self._sleepers = Sleepers()
        self._calls: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Note that it has happened, and wake all who wait. Never blocks."""
        self._happened = True
        self._sleepers.wake()
        self._call()

    def then(self, call: Callable[[], object]) -> None:
        """Have *call* called once, in the thread that sets this; at once if it has happened. Never blocks."""
        self._calls.append(call)  # before the look, so that one of the two threads finds it
        if self._happened:
            self._call()

    def _call(self) -> None:
        while self._calls:
            try:
                call = self._calls.pop()
            except IndexError:  # the other thread has it
                return
            call()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has happened, at most *timeout* seconds; return whether it has."""
        return self._sleepers.wait(self.is_set, timeout)


class Bell:
    """What `threading.Event` is, for one who waits and may be broken off by a Ctrl-C."""

    __slots__ = ("_rung", "_sleepers")

    def __init__(self) -> None:
        self._rung = False
        self._sleepers = Sleepers()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._rung

    def set(self) -> None:
        """Set it, and wake all who wait. Never blocks."""
        self._rung = True
        self._sleepers.wake()

    def clear(self) -> None:
        """Let it be not set."""
        self._rung = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most *timeout* seconds; return whether it is."""
        return self._sleepers.wait(self.is_set, timeout)


class Waiters(list[Any]):
    """Those who wait for a future by `concurrent.futures.wait` or `as_completed`, each with an event of its own.

    Their event is a `threading.Event`, and stays with the future when a Ctrl-C breaks the wait off: with its inner lock held,
    now and then, and then the reactor, which sets it, would hang. So each is given a bell instead.
    """

    __slots__ = ()

    def append(self, waiter: Any) -> None:
        """Take in *waiter*, whose event nobody has waited for or set yet."""
        if isinstance(getattr(waiter, "event", None), threading.Event):
            waiter.event = Bell()
        super().append(waiter)


class Condition(_thread.RLock):  # type: ignore[misc]  # final in the stubs only
    """What `concurrent.futures` asks of a future's condition, without holding it while one waits."""

    __slots__ = ("sleepers",)

    def __init__(self) -> None:
        self.sleepers: Sleepers | None = None  # made by the first who waits: most futures are never waited for

    def notify_all(self) -> None:
        """Wake all who wait."""
        if self.sleepers is not None:
            self.sleepers.wake()

    def wait_until(self, so: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until *so*, at most *timeout* seconds; return so(). It does not take this lock."""
        if self.sleepers is None:
            with _MAKING:
                self.sleepers = self.sleepers or Sleepers()
        return self.sleepers.wait(so, timeout)

    def regained(self) -> "Condition":
        """Return this once nobody holds it; or one in its place, if whoever holds it does not know of it any more.

        `concurrent.futures.wait` and `as_completed` take the locks of all their futures one by one, and give them back one
        by one. A Ctrl-C in between leaves the rest held, for ever; and whoever ends such a future would wait for ever.
        """
        while not self.acquire(True, _LOOK_S):
            if self._forgotten():
                fresh = Condition()
                fresh.sleepers = self.sleepers
                return fresh
        self.release()
        return self

    def _forgotten(self) -> bool:
        """Say whether the thread that holds this waits in `Sleepers.wait`, or runs nothing that takes such locks."""
        owner = repr(self).partition("owner=")[2].partition(" ")[0]  # that is the only way to learn it
        if not owner.isdecimal() or owner == "0":
            return False
        frame = sys._current_frames().get(int(owner))
        while frame is not None:
            if frame.f_code is Sleepers.wait.__code__:
                return True
            if frame.f_code.co_filename.endswith(_HOLDERS):
                return False
            frame = frame.f_back
        return True
