"""What a streaming task has yielded and nobody has taken: filled by the reactor's thread, emptied by any.

The worker learns from its page how many were taken: the number is written each time, and its sleep is
ended each time that half of the bound is free again, since waking it costs as much as taking an item.

Invariants:
1. It holds at most *bound* items, whatever the worker sends.
2. The page is written only between `attach` and `detach`, and a page has at most one feed. The reactor sees
   to that: it attaches at the first item of a task, when it has read all that the tasks before it said.
3. The lock is held for a few lines, which run no code of the user's. It is re-entrant, for signal handlers.
"""

import _thread
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from stoppable.latch import Sleepers

if TYPE_CHECKING:
    from stoppable.worker.page import Page

Raw = bytes | bytearray | memoryview


class Feed:
    """At most *bound* packed items, in order.

    Attributes:
        over: the task has ended: nothing more comes.
        closed: nobody wants any more.
        taker: the thread that asked for an item last, if it can wait for nothing else meanwhile.
    """

    __slots__ = (
        "_bound",
        "_calls",
        "_come",
        "_items",
        "_lock",
        "_page",
        "_rung",
        "_sleepers",
        "_task",
        "closed",
        "over",
        "taker",
    )

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._items: deque[Raw] = deque()
        self._come = 0  # items so far. How many were taken follows from it, also if a Ctrl-C came in `take`
        self._rung = 0  # how many were taken when the worker was woken last
        self._page: Page | None = None
        self._task = 0
        self._lock = _thread.RLock()
        self._sleepers = Sleepers()
        self._calls: list[Callable[[], object]] = []
        self.over = self.closed = False
        self.taker: int | None = None

    # --- the reactor's thread ----------------------------------------------------------------

    def attach(self, page: "Page", task: int) -> None:
        """Tell the worker of *page*, which runs *task*, from now on what was taken."""
        with self._lock:
            self._page, self._task = page, task
            if self.closed:
                self._tell(wake=True)

    def detach(self) -> None:
        """Tell the worker nothing more."""
        with self._lock:
            self._page = None

    def put(self, item: Raw) -> bool:
        """Add *item*; False if there is no room for it."""
        with self._lock:
            if not self.closed:
                if len(self._items) >= self._bound:
                    return False
                self._items.append(item)
                self._come += 1
        self._wake()
        return True

    def end(self, _: object = None) -> None:
        """Note that the task has ended."""
        self.over = True
        self.detach()
        self._wake()

    # --- any thread --------------------------------------------------------------------------

    def take(self) -> Raw | None:
        """Take the next item; None if there is none now."""
        with self._lock:
            if not self._items:
                return None
            item = self._items.popleft()
            if self._page is not None:
                self._tell(wake=self._taken() - self._rung >= self._bound // 2)
        return item

    def close(self) -> None:
        """Drop what is here and what still comes, and let the worker wait for nobody. A second call does nothing."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._items.clear()
            if self._page is not None:
                self._tell(wake=True)
        self._wake()

    def ready(self) -> bool:
        """Say whether there is something, or nothing more will be."""
        return bool(self._items) or self.over or self.closed

    def wait(self) -> None:
        """Wait until `ready`."""
        with self._lock:
            # Only if a Ctrl-C has come between the taking of an item and the telling of it.
            if self._page is not None and self._come - self._rung >= self._bound and not self._items:
                self._tell(wake=True)
        self._sleepers.wait(self.ready)

    def wait_over(self) -> None:
        """Wait until the task has ended."""
        self._sleepers.wait(lambda: self.over)

    def then(self, call: Callable[[], object]) -> None:
        """Have *call* called once, in the thread that makes this `ready`; at once if it is. Never blocks."""
        self._calls.append(call)  # before the look, so that one of the two threads finds it
        if self.ready():
            self._call()

    def _taken(self) -> int:
        return self._come - len(self._items)

    def _tell(self, *, wake: bool) -> None:
        """Write what was taken. The caller holds the lock."""
        page = self._page
        assert page is not None
        page.tell_taken(self._task, self._taken(), closed=self.closed)
        if wake:
            self._rung = self._taken()
            page.room.set_and_wake()

    def _wake(self) -> None:
        self._sleepers.wake()
        self._call()

    def _call(self) -> None:
        while self._calls:
            try:
                call = self._calls.pop()
            except IndexError:  # another thread has it
                return
            call()
