"""Showing how far a pool, a list of futures, or a `map` is: what is known, looked at now and then, and given to bars.

What tasks say of themselves is read from memory that they share, so looking costs them nothing.

Invariants:
1. The reactor's thread draws nothing. `map` draws in the thread that iterates; `show_progress`, whose block has work
   of its own, and `stoppable.aio`, whose loop no terminal may hold up, in a thread that has ended when they have.
2. What goes wrong in drawing is logged once, and ends the drawing, never the work.
3. Nothing is written to stdout.
"""

import _thread
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from stoppable import bars
from stoppable.bars import Bars, Row, Style, View
from stoppable.future import Future
from stoppable.latch import Latch
from stoppable.worker.page import CURRENT_TASK

if TYPE_CHECKING:
    from stoppable.executor import ProcessPoolExecutor
    from stoppable.shell.reactor import Reactor

log = logging.getLogger("stoppable")
_EVERY_S = 0.1
_COST = 20  # drawing takes at most one part in so many of the time


class _Drawing:
    """Draws views at most every 100 ms, until something goes wrong in it."""

    def __init__(self, title: str, style: Style, view: Callable[[], View]) -> None:
        self._title, self._style, self._view = title, style, view
        self._bars: Bars | None = None  # made when there is something to show
        self._next_at = 0.0
        self._over = False

    def draw(self, *, now: bool = False) -> None:
        """Draw, if it is time to, or *now*."""
        began = time.monotonic()
        if self._over or (not now and began < self._next_at):
            return
        try:
            if self._bars is None:
                self._bars = bars.make(self._title, self._style)
                self._bars.draw(self._view())
                began = time.monotonic()  # what was imported for that is done with, and says nothing of the next time
            else:
                self._bars.draw(self._view())
        except Exception as error:
            self._failed(error)
        took = time.monotonic() - began
        self._next_at = began + took + max(_EVERY_S, _COST * took)

    def close(self) -> None:
        """Draw the last state, and leave the terminal as it was. A second call does nothing."""
        try:
            self.draw(now=True)
        finally:
            self._over, made, self._bars = True, self._bars, None
            try:
                if made is not None:
                    made.close()
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._over = True
        log.warning("progress cannot be shown any more; the work goes on", exc_info=error)


class Painter:
    """A thread that draws until it is told that this is enough.

    Attributes:
        finished: happens when the last state has been drawn, and the terminal is as it was.
    """

    def __init__(self, drawing: _Drawing) -> None:
        self._drawing = drawing
        self._thread: threading.Thread | None = None
        self._enough, self.finished = Latch(), Latch()

    @property
    def begun(self) -> bool:
        """Whether it has begun, or is never to begin."""
        return self._thread is not None or self._enough.is_set()

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: it has begun before, or was told to end.
        """
        if self.begun:
            raise RuntimeError("a block that shows progress is used once; make a new one")
        self._thread = threading.Thread(target=self._run, name="stoppable-progress", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Have the last state drawn, and no more. Does not wait; a second call does nothing."""
        self._enough.set()
        if self._thread is None:
            self.finished.set()

    def join(self) -> None:
        """Wait for the end of the thread, which has nothing left to do once it is `finished`."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._enough.wait(_EVERY_S):
                self._drawing.draw()
            self._drawing.close()
        finally:
            self.finished.set()


# --- of a pool, or of futures ------------------------------------------------------------------------------


def painter_of(what: "ProcessPoolExecutor | Iterable[Future[Any]]", style: Style) -> Painter:
    """Return what draws a pool, or futures.

    Raises:
        TypeError: *what* is neither.
        ValueError, ImportError: as for `show_progress`.
    """
    style = bars.style_of(style)
    if isinstance(what, Iterable):
        futures = list(what)
        return Painter(_Drawing("tasks", style, lambda: _view_of(futures)))
    if not hasattr(what, "statistics"):
        raise TypeError(f"show_progress() needs a pool or futures, was given {what!r}")
    base = what.statistics()
    ended = base.submitted - base.pending - base.running
    return Painter(_Drawing(what.name, style, lambda: _view_of_pool(what, ended)))


class ProgressShown:
    """A block during which progress is shown; `show_progress` makes it."""

    def __init__(self, painter: Painter) -> None:
        self._painter = painter

    def __enter__(self) -> Self:
        self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Show the last state, and end the thread. Does not wait for tasks."""
        painter = self._painter
        pressed: KeyboardInterrupt | None = None
        while not painter.finished.is_set():
            try:
                painter.end()
                painter.finished.wait()
            except KeyboardInterrupt as press:  # the terminal is put right first, which takes no time
                pressed = press
        painter.join()
        if pressed is not None and kind is None:
            raise pressed
        return False


def show_progress(what: "ProcessPoolExecutor | Iterable[Future[Any]]", style: Style = "auto") -> ProgressShown:
    """Show on stderr how far a pool, or some futures, are, for use as `with show_progress(pool):`.

    It shows how many tasks have ended, of how many, and for each running task that calls `progress()` or uses `track()` how
    far that is. It waits for nothing: what is to be shown must be waited for in the block.

    Args:
        what: a pool, of which those tasks count that end or are submitted from now on; or futures, `group.futures` say.
        style: "rich", "tqdm", or "line": a line of text every five seconds. "auto": rich if stderr is a terminal
            and rich is there, tqdm in a notebook, else lines.

    Raises:
        ValueError: there is no such *style*.
        ImportError: its library is not there: `pip install 'stoppable[progress]'`.
    """
    return ProgressShown(painter_of(what, style))


def _view_of_pool(pool: "ProcessPoolExecutor", before: int) -> View:
    reactor = pool._reactor
    if reactor is None:
        return View(0, None, [])
    done = reactor.hands.verdicts.tally.ended - before
    return View(done, done + reactor.unfinished(), list(_running(reactor)))


def _view_of(futures: list[Future[Any]]) -> View:
    rows = []
    for future in futures:
        said = future.progress if future.running() else None
        if said is not None and future._task is not None:
            rows.append(Row(future._task.id, future._task.name, *said))
    return View(sum(future.done() for future in futures), len(futures), rows)


def _running(reactor: "Reactor") -> Iterator[Row]:
    """Yield the running tasks that say how far they are, by what the workers' pages say."""
    tasks = reactor.hands.tasks
    for channel in list(reactor.hands.channels.values()):
        task = tasks.get(channel.page.u64[CURRENT_TASK])
        said = None if task is None else channel.progress(task.id)
        if task is not None and said is not None:
            yield Row(task.id, task.name, *said)


# --- of a map ----------------------------------------------------------------------------------------------


class Meter:
    """How far a `map` is. Drawn by the thread that iterates over its results, while it waits and when it takes one.

    Or, in a loop, by its `painter`.

    Args:
        total: calls; None: not known.
        style: of the bars.
    """

    def __init__(self, title: str, total: int | None, style: Style) -> None:
        self._total = total
        self._done = 0
        self._lock = _thread.allocate_lock()
        self._calls: dict[int, int] = {}  # of the tasks that have not ended
        self._reactor: Reactor | None = None
        self._drawing = _Drawing(title, style, self._view)

    def painter(self) -> Painter:
        """Return what draws it in a thread of its own."""
        return Painter(self._drawing)

    def count(self, future: Future[Any], calls: int) -> Future[Any]:
        """Count *future*, which has so many *calls*, when it has ended; return it."""
        if future._task is None:  # it does not pickle
            with self._lock:
                self._done += calls
        else:
            self._reactor = future._reactor
            self._calls[future._task.id] = calls
            future.add_done_callback(self._ended)
        return future

    def wait(self, future: Future[Any], end: float | None) -> None:
        """Wait for *future*, until the time *end* at most, and draw meanwhile."""
        self._drawing.draw()
        while not future.done():
            left = _EVERY_S if end is None else min(_EVERY_S, end - time.monotonic())
            if left <= 0:
                return
            concurrent.futures.wait([future], left)
            self._drawing.draw()
        self._ended(future)  # its callbacks may still be to come

    def leave(self) -> None:
        """Count no more: what ends from now on was stopped, and a bar that ran to its end by that would be a lie."""
        with self._lock:
            self._calls.clear()

    def close(self) -> None:
        """Draw the last state, and end drawing."""
        self._drawing.close()

    def _ended(self, future: Any) -> None:
        """Count it, in whatever thread: nothing is drawn here."""
        if future._task is not None:
            with self._lock:
                self._done += self._calls.pop(future._task.id, 0)

    def _view(self) -> View:
        rows = [] if self._reactor is None else [row for row in _running(self._reactor) if row.task in self._calls]
        return View(self._done, self._total, rows)
