"""Watches the memory of the tasks that have a limit, in a thread of its own, which only looks and reports.

Not in the reactor's: asking for a large process takes long (see `weigh.py`), and asking for one that hangs
in the kernel may hang. It looks every 50 to 250 ms, sooner where more of the limit is used, and never takes
more than a twentieth of a processor. What counts is the processor's time and not the clock's: on a machine with ten
busy programs a look of 9 ms was over after 360, and a task stayed above its limit for 30 s since the next look was far off.
With no such task it sleeps; before the first one there is no thread.
"""

import threading
import time
from collections.abc import Callable

from stoppable.shell.weigh import weigh

LEAST_S, MOST_S = 0.05, 0.25
_SHARE = 20  # a look that took 0.1 s of a processor is followed by 2 s without one
_JOIN_S = 1.0


class _Watched:
    """A task that has a limit."""

    __slots__ = ("due", "limit_bytes", "pid")

    def __init__(self, pid: int, limit_bytes: int) -> None:
        self.pid, self.limit_bytes, self.due = pid, limit_bytes, 0.0


class Lookout:
    """The tasks whose memory is watched. `watch`, `forget` and `close` may be called by any one thread.

    Args:
        report: called in the lookout's thread with a task and the bytes that its processes have.
    """

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report = report
        self._watched: dict[int, _Watched] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, task: int, pid: int, limit_bytes: int) -> None:
        """Look at the process *pid* and its descendants from now on, for *task*."""
        with self._changed:
            self._watched[task] = _Watched(pid, limit_bytes)
            self._changed.notify()
            if self._thread is None:
                # A daemon: a look that hangs in the kernel must not keep the program from its end.
                self._thread = threading.Thread(target=self._run, name="stoppable-lookout", daemon=True)
                self._thread.start()

    def forget(self, task: int) -> None:
        """Look for *task* no more."""
        with self._changed:
            self._watched.pop(task, None)

    def close(self) -> None:
        """End the thread; one that hangs in a look is left behind."""
        with self._changed:
            self._closed = True
            self._watched.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                task, watched = self._next()
            if watched is None:
                return
            began = time.thread_time()
            size_bytes = weigh(watched.pid, watched.limit_bytes)
            took_s = time.thread_time() - began
            room = max(0.0, 1.0 - size_bytes / watched.limit_bytes)
            watched.due = time.monotonic() + max(_SHARE * took_s, LEAST_S + (MOST_S - LEAST_S) * room)
            if watched is self._watched.get(task):
                self._report(task, size_bytes)

    def _next(self) -> tuple[int, _Watched | None]:
        """Wait until a task is due; return it, or None at the end. The caller holds the condition."""
        while not self._closed:
            due = min(self._watched.items(), key=lambda item: item[1].due, default=None)
            wait_s = None if due is None else due[1].due - time.monotonic()
            if due is not None and wait_s is not None and wait_s <= 0:
                return due
            self._changed.wait(wait_s)
        return 0, None
