"""`track`: a loop that is stopped, and shown, by what it loops over.

It stands in innermost loops, as `check` does, so what it does for each item is what `check` and `progress` do, without
their calls.
"""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from stoppable.worker import intask
from stoppable.worker.page import DONE

T = TypeVar("T")


def track(iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
    """Yield what *iterable* gives; before each item, say how many are done as `progress` does, and `check`.

    So `for row in track(rows):` can be stopped between two rows, and is shown by `Future.progress` and `show_progress`.
    Of loops in one another, the outermost is what is shown. Outside a task it yields and checks, and shows nothing.

    Args:
        total: how many there are; None: as many as `len(iterable)` says, if it says so.

    Raises:
        StopRequested: the stop was asked for; every time that the next item is asked for, as from `check`.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    task = intask.current()
    if task is None or task.tracked:
        for item in iterable:
            intask.check()
            yield item
        return
    intask.progress(0, total)
    done = 0
    f64 = task.page.f64
    task.tracked = True
    try:
        for item in iterable:
            intask.check()
            yield item
            done += 1
            if intask._task is task:  # and not in a process that it has forked, nor in a task after it
                f64[DONE] = done
    finally:
        task.tracked = False
