"""`stream`: a task that yields, as an iterator of what it yields.

Items are unpickled in the thread that takes them. What keeps the worker from running ahead is in
`shell/feed.py`; what runs the generator, in `worker/stream.py`.

Invariants:
1. An item that was yielded before the task's end is handed out before that end is raised, however it came,
   unless the stream was closed.
2. A stream that nobody holds any more has been stopped: neither the reactor nor the future holds it.
"""

import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from stoppable import parcel
from stoppable.errors import StopRequested
from stoppable.future import Future
from stoppable.options import SubmitOptions
from stoppable.reason import StopReason
from stoppable.rung import Rung
from stoppable.shell.feed import Feed, Raw
from stoppable.shell.leaving import wait_out
from stoppable.worker.stream import Streamed

T = TypeVar("T")
BUFFERSIZE = 16
_CLOSED = "its stream was closed"


class Stream(Iterator[T], Generic[T]):
    """What a streaming task yields, in order: an iterator, and a `with` block that waits for the task's end.

    Made by `stream` of a pool. When the items are used up, it raises what ended the task, as `Future.result`
    does, at each further call; for a task that returned, that is StopIteration, with what it returned. A stop
    keeps what was yielded before it, and so does a worker that dies.

    Closing it stops the task; so do leaving its block and dropping it. Several threads may iterate over it: each
    item goes to one of them.

    Attributes:
        future: the task's. Its result is what the generator returned. Holding it does not hold the stream.
    """

    __slots__ = ("__weakref__", "_feed", "_pid", "future")

    def __init__(self, future: Future[Any], feed: Feed) -> None:
        self.future, self._feed, self._pid = future, feed, os.getpid()

    def __next__(self) -> T:
        """Return the next item; wait for it.

        Raises:
            StopIteration: the task has returned, and all was taken; or this was closed.
            TaskStopped, TaskTimeout, WorkerDied, BaseException: as for `Future.result`.
            RuntimeError: this is a fork of the process that the stream belongs to.
        """
        feed = self._feed
        if os.getpid() != self._pid:
            raise RuntimeError(f"this stream belongs to process {self._pid}, of which this one is a fork")
        feed.taker = threading.get_ident()
        while True:
            raw, ended = self._poll()
            if raw is not None:
                return self._read(raw)
            if ended:
                raise StopIteration(self._end())
            feed.wait()

    def close(self) -> None:
        """Stop the task, and drop what was yielded and not taken. Does not wait; a second call changes nothing."""
        feed: Feed | None = getattr(self, "_feed", None)
        if feed is None or os.getpid() != self._pid:
            return
        feed.close()
        if not feed.over:
            self.future.stop(_CLOSED)

    def __del__(self) -> None:
        self.close()

    def _poll(self) -> tuple[Raw | None, bool]:
        """Return the next item if there is one now, and whether there will be none any more."""
        feed = self._feed
        over = feed.over  # before the look: what came before the end is there then
        raw = feed.take()
        return raw, raw is None and (over or feed.closed)

    def _read(self, raw: Raw) -> T:
        try:
            item: T = parcel.unpack(raw)
        except BaseException as error:
            error.add_note("(raised while an item of the stream was unpickled; the stream goes on)")
            raise
        return item

    def _end(self) -> Any:
        """Return what the task returned, or raise what ended it; None if this was closed."""
        if self._feed.closed:
            return None
        try:
            return self.future.result()
        except (StopIteration, StopAsyncIteration) as error:  # it would pass for the end
            raise RuntimeError(f"the task of the stream raised {type(error).__name__}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Stop the task if it has not ended, and wait until it has: its ladder bounds that.

        What came of it is in `future`, and not raised here. While this waits, a second Ctrl-C kills the task.
        """
        self.close()
        if os.getpid() == self._pid:
            pressed = isinstance(error, KeyboardInterrupt) and not isinstance(error, StopRequested)
            wait_out([_Leaving(self.future, self._feed)], kind if pressed else None)
        return False


class _Leaving:
    """A stream that is being left, as `wait_out` wants it."""

    name = "a stream"

    def __init__(self, future: Future[Any], feed: Feed) -> None:
        self._future, self._feed = future, feed

    def stop_all(self, rung: Rung, reason: StopReason) -> None:
        self._future.stop(reason, at=rung)

    def unfinished(self) -> int:
        return int(not self._feed.over)

    def wind_down(self) -> None:
        """Do nothing: it has been stopped."""

    def join(self) -> None:
        self._feed.wait_over()


def start_stream(
    submit: Callable[..., Future[Any]],
    options: SubmitOptions,
    fn: Callable[..., Iterator[T]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Stream[T]:
    """Submit the task of a stream, and return the stream.

    Raises:
        RuntimeError, BrokenProcessPool: as for `submit` of a pool.
    """
    bound = options.buffersize or BUFFERSIZE
    future: Future[Any] = Future()
    future._feed = feed = Feed(bound)
    future.add_done_callback(feed.end)
    submit(options, Streamed(fn, bound), args, kwargs, future)
    return Stream(future, feed)
