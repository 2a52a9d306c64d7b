"""The pool on asyncio and Trio: waiting for tasks, and for the pool, without holding up the loop.

Only the waits are here. What starts and stops a task is the executor's, whose `submit` and `stop` never
block. That something has ended is told by the reactor's thread, which only wakes the loop.

Invariants:
1. A wait that is cancelled ends only when the work has: it stops the work, waits shielded, and then lets
   the cancellation pass. The ladder bounds that wait, so no clock is needed here.
2. A cancellation is neither swallowed nor made up. A task that somebody else stopped raises TaskStopped,
   which neither loop takes for its own cancellation.
3. The reactor's thread never waits for the loop, and none is started but by `progress`, whose drawing may take its time.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar

try:
    from anyio.lowlevel import checkpoint, checkpoint_if_cancelled
except ImportError as missing:
    raise ImportError("stoppable.aio needs anyio 4.11 or later: pip install 'stoppable[async]'") from missing

from stoppable import streaming
from stoppable.bars import Style
from stoppable.calls import Bound
from stoppable.executor import ProcessPoolExecutor
from stoppable.future import Future
from stoppable.loops import all_ended, outlast, told, wait, wait_at_most
from stoppable.mapping import counted, submit_each, tasks_ahead
from stoppable.showing import Meter, Painter, painter_of

P = ParamSpec("P")
T = TypeVar("T")
_AHEAD = 4  # tasks of a map for each worker, if the caller does not say
_DRAWN_S = 5.0  # how long a terminal that takes nothing may hold up who ends a bar

__all__ = ["Pool", "ProgressShown", "Results", "Stream", "result", "show_progress"]


async def result(future: Future[T]) -> T:
    """Wait for a task's end; return its value or raise what ended it.

    When this is cancelled, it stops the task, waits until the task has really ended, and then raises the
    cancellation. That takes as long as the task's ladder at most, and nothing shortens it. What came of the
    task all the same: a value stays in the future, and is not returned; an error of the task's own (of
    its cleanup, say) is raised, with the cancellation as its context.

    Args:
        future: what `submit` of a pool has returned. Any number may wait for it, in several loops too.

    Raises:
        TaskStopped, TaskTimeout, WorkerDied, BaseException: as for `Future.result`.
    """
    return await _outcome(future, lambda: future.stop("the await of it was cancelled"))


async def _outcome(future: Future[T], stop: Callable[[], object]) -> T:
    """Do as `result`; *stop* is called if this is cancelled, and stops the future at least."""
    try:
        await wait(told(all_ended([future])), stop)
    except BaseException:
        if future.done() and not future.stopped():
            future.result()  # raises, if that is how the task ended
        raise
    return future.result()


def _options_of(
    method: Callable[Concatenate[ProcessPoolExecutor, P], Bound],
) -> Callable[[Callable[..., "Pool"]], Callable[Concatenate["Pool", P], "Pool"]]:
    """Tell type checkers that what is decorated takes the arguments of *method*."""
    return lambda function: function


class Pool:
    """A pool of processes whose tasks, and whose end, are awaited, on asyncio or Trio.

    `async with Pool(executor) as pool` owns the executor: it is shut down at the end, as by its own `with`, but
    the loop goes on meanwhile. Without `async with`, shutting it down is the caller's.

    Args:
        executor: does the work. It may be used directly, too, and be in several of these.
    """

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor
        self._target: ProcessPoolExecutor | Bound = executor

    @property
    def executor(self) -> ProcessPoolExecutor:
        """The pool of processes itself. Its `submit` and `stop` do not block; its `with`, and `shutdown()`, do."""
        return self._executor

    @_options_of(ProcessPoolExecutor.options)
    def options(self, **options: Any) -> "Pool":
        """Return this pool with options for the calls that go through it.

        Args and Raises: as for `SubmitOptions`.
        """
        pool = Pool(self._executor)
        pool._target = self._executor.options(**options)
        return pool

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Have `fn(*args, **kwargs)` called in a worker; return its value or raise what ended it.

        Cancelling this stops the task: see `result`. Arguments are pickled at once, in this thread.

        Raises:
            RuntimeError: the pool is shut down.
            TaskStopped, TaskTimeout, WorkerDied, BaseException: as for `Future.result`.
        """
        await checkpoint_if_cancelled()  # else a task would be started only to be stopped
        return await result(self._target.submit(fn, *args, **kwargs))

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool | Style = False,
    ) -> "Results[T]":
        """Return an asynchronous iterator of `fn`'s results, in order, as `map(fn, *iterables)`.

        Nothing is begun before the first result is asked for.

        Args:
            iterables: are pulled in this thread, so they must not block.
            chunksize: calls that travel as one task.
            buffersize: pull at most so many calls ahead of the results taken; None: four tasks for each worker.
            progress: show on stderr how many calls have ended, and how far running tasks say they are, from the first
                result that is asked for to the iterator's end; or the style of that, as for `show_progress`.

        Raises:
            ValueError: *chunksize* or *buffersize* is below 1, or *progress* is no style.
            TypeError: *buffersize* is no integer.
            ImportError: the library of *progress* is not there.
        """
        ahead = tasks_ahead(buffersize, chunksize) or _AHEAD * self._executor._max_workers
        submit, meter = counted(self._target.submit, fn, iterables, chunksize, progress)
        return Results(submit_each(submit, fn, iterables, chunksize), ahead, chunksize > 1, meter)

    def stream(self, fn: Callable[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs) -> "Stream[T]":
        """Have `fn(*args, **kwargs)`, a generator, run in a worker; return an asynchronous iterator of its items.

        Does not wait; the task starts at once. Args and Raises: as for `ProcessPoolExecutor.stream`.
        """
        return Stream(self._target.stream(fn, *args, **kwargs))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Wait for all tasks. If left by an exception, or cancelled meanwhile, stop them first."""
        executor = self._executor
        executor.shutdown(wait=False)
        reactor = executor._reactor
        if reactor is None or reactor.pid != os.getpid():
            return False
        if kind is not None:
            executor.stop(f"left by {kind.__name__}")
        if kind is GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            return False
        over = told(reactor.finished.then)
        if kind is None:
            await wait(over, lambda: executor.stop("the wait for its tasks was cancelled"))
        else:
            await outlast(over)
        executor.shutdown()  # joins the thread, which has nothing left to do
        return False


class Results(Generic[T]):
    """The results of `Pool.map`, in order: an asynchronous iterator.

    A call that fails, and a cancellation, end it: the tasks that are left are stopped, and have ended before
    the error is raised. `aclose()` does the same, and so `contextlib.aclosing`. One that is merely
    dropped, by a `break` say, stops its tasks too, but nobody waits for their end. So it is with its bars.
    """

    __slots__ = ("_ahead", "_awaited", "_begun", "_chunked", "_futures", "_meter", "_painter", "_stopped", "_values")

    def __init__(self, futures: Iterator[Future[Any]], ahead: int, chunked: bool, meter: Meter | None) -> None:
        self._futures, self._ahead, self._chunked = futures, ahead, chunked
        self._meter, self._painter = meter, None if meter is None else meter.painter()
        self._begun: deque[Future[Any]] = deque()
        self._awaited = 0  # tasks taken off that, and waited for now
        self._stopped: list[Future[Any]] = []
        self._values: list[T] = []  # that have come, the next one last

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            if self._values:
                await checkpoint()
            else:
                self._values = await self._take()
        except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            self._stop()
            raise
        except BaseException as error:
            self._stop()
            await outlast(told(all_ended(self._stopped)))
            await _end(self._painter, raising=True)
            if isinstance(error, StopAsyncIteration):
                raise RuntimeError("a call raised StopAsyncIteration") from error  # it would pass for the end
            raise
        if not self._values:
            if not self._awaited:  # else there are others who take its last results
                await _end(self._painter)
            raise StopAsyncIteration
        return self._values.pop()

    async def aclose(self) -> None:
        """Stop the tasks whose results were not taken, and wait until they have ended, also when cancelled."""
        self._stop()
        try:
            await wait(told(all_ended(self._stopped)), lambda: None)
        except GeneratorExit:
            raise
        except BaseException:
            await _end(self._painter, raising=True)
            raise
        await _end(self._painter)

    def __del__(self) -> None:
        self._stop()

    async def _take(self) -> list[T]:
        """Return the values of the next task, the first one last; none at the end."""
        if self._painter is not None and not self._painter.begun:
            self._painter.start()
        self._fill()
        if not self._begun:
            return []
        # Taken off before it is waited for: who asks at the same time gets the next one.
        future = self._begun.popleft()
        self._awaited += 1
        try:
            value = await _outcome(future, lambda: self._stop(future))
        finally:
            self._awaited -= 1
        self._fill()
        return value[::-1] if self._chunked else [value]

    def _fill(self) -> None:
        self._begun.extend(islice(self._futures, self._ahead - len(self._begun)))

    def _stop(self, *taken: Future[Any]) -> None:
        self._futures, self._values = iter(()), []
        if self._meter is not None:
            self._meter.leave()
        # The last one first: those that run are stopped when none is left that would start in their place.
        for future in reversed([*taken, *self._begun]):
            future.stop("the iterator of map was closed, or cancelled, or a call of it has failed")
        self._stopped.extend(self._begun)
        self._begun.clear()
        if self._painter is not None:
            self._painter.end()


class Stream(Generic[T]):
    """What a streaming task yields, in order: an asynchronous iterator, and an `async with` block.

    It is `stoppable.Stream`, whose items are awaited. A cancelled wait for one stops the task, and ends when the
    task has. Leaving its block, and `aclose()`, do the same; one that is merely dropped stops its task, too, but
    nobody waits for the end.
    """

    __slots__ = ("_inner",)

    def __init__(self, stream: streaming.Stream[T]) -> None:
        self._inner = stream

    @property
    def future(self) -> Future[Any]:
        """The task's future. Its result is what the generator returned."""
        return self._inner.future

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        inner = self._inner
        raw, ended = None, False
        try:
            await checkpoint()
            while raw is None and not ended:
                raw, ended = inner._poll()
                if raw is None and not ended:
                    await told(inner._feed.then).wait()
        except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            inner.close()
            raise
        except BaseException:
            inner.close()
            await outlast(told(all_ended([inner.future])))
            if not inner.future.stopped():
                inner.future.result()  # raises, if that is how the task ended
            raise
        if raw is None:
            inner._end()
            raise StopAsyncIteration
        return inner._read(raw)

    async def aclose(self) -> None:
        """Stop the task if it has not ended, and wait until it has, also when cancelled; drop what was not taken."""
        self._inner.close()
        await wait(told(all_ended([self._inner.future])), lambda: None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Do as `aclose`. What came of the task is in `future`, and not raised here."""
        if kind is GeneratorExit:
            self._inner.close()
        elif kind is None:
            await self.aclose()
        else:
            self._inner.close()
            await outlast(told(all_ended([self._inner.future])))
        return False


# --- progress -----------------------------------------------------------------------------------------


class ProgressShown:
    """An `async with` block during which progress is shown; `show_progress` makes it."""

    __slots__ = ("_painter",)

    def __init__(self, painter: Painter) -> None:
        self._painter = painter

    async def __aenter__(self) -> Self:
        self._painter.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Show the last state, and end the thread that draws. Does not wait for tasks."""
        if kind is GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            self._painter.end()
        else:
            await _end(self._painter, raising=kind is not None)
        return False


def show_progress(what: Pool | ProcessPoolExecutor | Iterable[Future[Any]], style: Style = "auto") -> ProgressShown:
    """Show on stderr how far a pool, or some futures, are, for use as `async with aio.show_progress(pool):`.

    It is `stoppable.show_progress`, whose block can be left without holding up the loop.

    Args and Raises: as for that.
    """
    return ProgressShown(painter_of(what.executor if isinstance(what, Pool) else what, style))


async def _end(painter: Painter | None, *, raising: bool = False) -> None:
    """Have *painter* draw the last state, and wait for that; but not for ever, as the terminal may take nothing.

    Args:
        raising: the caller raises something afterwards, so no cancellation need come out of this.
    """
    if painter is None:
        return
    painter.end()
    over = told(painter.finished.then)
    await (outlast if raising else wait_at_most)(over, _DRAWN_S)
    if over.is_set():
        painter.join()
