"""The pool on asyncio and Trio: waiting for tasks, and for the pool, without holding up the loop.

Only the waits are here. What starts and stops a task is the executor's, whose `submit` and `stop` never
block. That something has ended is told by the reactor's thread, which only wakes the loop.

Invariants:
1. A wait that is cancelled ends only when the work has: it stops the work, waits shielded, and then lets
   the cancellation pass. The ladder bounds that wait, so no clock is needed here.
2. A cancellation is neither swallowed nor made up. A task that somebody else stopped raises TaskStopped,
   which neither loop takes for its own cancellation.
3. No thread is started, and the reactor's never waits for the loop.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar

try:
    import anyio
    from anyio.lowlevel import checkpoint, checkpoint_if_cancelled, current_token
except ImportError as missing:
    raise ImportError("stoppable.aio needs anyio 4.11 or later: pip install 'stoppable[async]'") from missing

from stoppable import streaming
from stoppable.calls import Bound
from stoppable.executor import ProcessPoolExecutor
from stoppable.future import Future
from stoppable.mapping import submit_each, tasks_ahead

P = ParamSpec("P")
T = TypeVar("T")
Then = Callable[[Callable[[], object]], object]
_AHEAD = 4  # tasks of a map for each worker, if the caller does not say

__all__ = ["Pool", "Results", "Stream", "result"]


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
        await _wait(_told(_all_ended([future])), stop)
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
        self, fn: Callable[..., T], *iterables: Iterable[Any], chunksize: int = 1, buffersize: int | None = None
    ) -> "Results[T]":
        """Return an asynchronous iterator of `fn`'s results, in order, as `map(fn, *iterables)`.

        Nothing is begun before the first result is asked for.

        Args:
            iterables: are pulled in this thread, so they must not block.
            chunksize: calls that travel as one task.
            buffersize: pull at most so many calls ahead of the results taken; None: four tasks for each worker.

        Raises:
            ValueError: *chunksize* or *buffersize* is below 1.
            TypeError: *buffersize* is no integer.
        """
        ahead = tasks_ahead(buffersize, chunksize) or _AHEAD * self._executor._max_workers
        calls = zip(*iterables, strict=False)
        return Results(submit_each(self._target.submit, fn, calls, chunksize), ahead, chunksize > 1)

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
        over = _told(reactor.finished.then)
        if kind is None:
            await _wait(over, lambda: executor.stop("the wait for its tasks was cancelled"))
        else:
            await _outlast(over)
        executor.shutdown()  # joins the thread, which has nothing left to do
        return False


class Results(Generic[T]):
    """The results of `Pool.map`, in order: an asynchronous iterator.

    A call that fails, and a cancellation, end it: the tasks that are left are stopped, and have ended before
    the error is raised. `aclose()` does the same, and so `contextlib.aclosing`. One that is merely
    dropped, by a `break` say, stops its tasks too, but nobody waits for their end.
    """

    __slots__ = ("_ahead", "_begun", "_chunked", "_futures", "_stopped", "_values")

    def __init__(self, futures: Iterator[Future[Any]], ahead: int, chunked: bool) -> None:
        self._futures, self._ahead, self._chunked = futures, ahead, chunked
        self._begun: deque[Future[Any]] = deque()
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
            await _outlast(_told(_all_ended(self._stopped)))
            if isinstance(error, StopAsyncIteration):
                raise RuntimeError("a call raised StopAsyncIteration") from error  # it would pass for the end
            raise
        if not self._values:
            raise StopAsyncIteration
        return self._values.pop()

    async def aclose(self) -> None:
        """Stop the tasks whose results were not taken, and wait until they have ended, also when cancelled."""
        self._stop()
        await _wait(_told(_all_ended(self._stopped)), lambda: None)

    def __del__(self) -> None:
        self._stop()

    async def _take(self) -> list[T]:
        """Return the values of the next task, the first one last; none at the end."""
        self._fill()
        if not self._begun:
            return []
        # Taken off before it is waited for: who asks at the same time gets the next one.
        future = self._begun.popleft()
        value = await _outcome(future, lambda: self._stop(future))
        self._fill()
        return value[::-1] if self._chunked else [value]

    def _fill(self) -> None:
        self._begun.extend(islice(self._futures, self._ahead - len(self._begun)))

    def _stop(self, *taken: Future[Any]) -> None:
        self._futures, self._values = iter(()), []
        # The last one first: those that run are stopped when none is left that would start in their place.
        for future in reversed([*taken, *self._begun]):
            future.stop("the iterator of map was closed, or cancelled, or a call of it has failed")
        self._stopped.extend(self._begun)
        self._begun.clear()


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
                    await _told(inner._feed.then).wait()
        except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            inner.close()
            raise
        except BaseException:
            inner.close()
            await _outlast(_told(_all_ended([inner.future])))
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
        await _wait(_told(_all_ended([self._inner.future])), lambda: None)

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
            await _outlast(_told(_all_ended([self._inner.future])))
        return False


# --- waiting in a loop for what happens in another thread ---------------------------------------------


def _all_ended(futures: Sequence[Future[Any]]) -> Then:
    def then(call: Callable[[], object]) -> None:
        left = [None] * len(futures)

        def one_ended(_: object) -> None:
            left.pop()
            if not left:
                call()

        for future in futures:
            future.add_done_callback(one_ended)
        if not futures:
            call()

    return then


def _told(then: Then) -> anyio.Event:
    """Return an event that is set in this loop once what *then* tells of has happened, in whatever thread."""
    # The loop's own way, since `anyio.from_thread` would have the reactor's thread wait for the loop.
    loop: Any = current_token().native_token
    soon = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    event = anyio.Event()

    def wake() -> None:
        try:
            soon(event.set)
        except RuntimeError:
            pass  # the loop is over, and with it whoever waited

    then(wake)
    return event


async def _wait(event: anyio.Event, stop: Callable[[], object]) -> None:
    """Wait for *event*. Whatever breaks this wait has *stop* called, and is raised when the event has come."""
    try:
        await event.wait()
    except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
        stop()
        raise
    except BaseException:
        stop()
        await _outlast(event)
        raise


async def _outlast(event: anyio.Event) -> None:
    """Wait for *event*, however often this is cancelled. The caller raises something when it has come."""
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except anyio.get_cancelled_exc_class():
            # A second `Task.cancel()` of asyncio, which goes through the shield. `Task.cancelling()` counts it,
            # so `asyncio.timeout` and `TaskGroup` miss nothing by the one CancelledError that is raised.
            continue
