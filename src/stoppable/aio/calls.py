"""`submit`, `run`, `map`, `stream` and `options`: what a pool has, a group, and either with options."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from stoppable import calls
from stoppable.aio.ends import result
from stoppable.aio.mapping import Results
from stoppable.aio.streaming import Stream
from stoppable.bars import Style
from stoppable.future import Future
from stoppable.mapping import counted, submit_each, tasks_ahead

P = ParamSpec("P")
T = TypeVar("T")
_AHEAD = 4  # tasks of a map for each worker, if the caller does not say


def _options_of(
    method: Callable[Concatenate[calls.Calls, P], calls.Bound],
) -> Callable[[Callable[..., "Bound"]], Callable[Concatenate["Calls", P], "Bound"]]:
    """Tell type checkers that what is decorated takes the arguments of *method*."""
    return lambda function: function


class Calls:
    """Something that calls go through, and whose results are awaited.

    Args:
        target: that itself, whose `submit` does not wait.
        workers: how many run at once.
    """

    def __init__(self, target: calls.Calls, workers: int) -> None:
        self._target, self._workers = target, workers

    @_options_of(calls.Calls.options)
    def options(self, **options: Any) -> "Bound":
        """Return something with `submit`, `run`, `map` and `stream` that run calls here with these options.

        Args and Raises: as for `SubmitOptions`.
        """
        return Bound(self._target.options(**options), self._workers)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` called in a worker; return its future, for `result` to wait for.

        Does not wait. Arguments are pickled at once, in this thread. Raises: as for `ProcessPoolExecutor.submit`.
        """
        return self._target.submit(fn, *args, **kwargs)

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
    ) -> Results[T]:
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
            TypeError: *buffersize* is no integer, or one of *iterables* is none.
            ImportError: the library of *progress* is not there.
        """
        ahead = tasks_ahead(buffersize, chunksize) or _AHEAD * self._workers
        submit, meter = counted(self._target.submit, fn, iterables, chunksize, progress)
        return Results(submit_each(submit, fn, iterables, chunksize), ahead, chunksize > 1, meter)

    def stream(self, fn: Callable[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """Have `fn(*args, **kwargs)`, a generator, run in a worker; return an asynchronous iterator of its items.

        Does not wait; the task starts at once. Args and Raises: as for `ProcessPoolExecutor.stream`.
        """
        return Stream(self._target.stream(fn, *args, **kwargs))


class Bound(Calls):
    """Something that calls go through, with options for them; made by `options`."""
