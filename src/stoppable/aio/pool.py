"""The pool, whose end is awaited."""

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from stoppable.aio.calls import Calls
from stoppable.aio.groups import TaskGroup, race
from stoppable.aio.loops import outlast, told, wait
from stoppable.executor import ProcessPoolExecutor
from stoppable.future import Future
from stoppable.groups import Group, Race
from stoppable.members import OnError

T = TypeVar("T")


class Pool(Calls):
    """A pool of processes whose tasks, and whose end, are awaited, on asyncio or Trio.

    `async with Pool(executor) as pool` owns the executor: it is shut down at the end, as by its own `with`, but
    the loop goes on meanwhile. Without `async with`, shutting it down is the caller's.

    Args:
        executor: does the work. It may be used directly, too, and be in several of these.
    """

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        super().__init__(executor, executor._max_workers)
        self._executor = executor

    @property
    def executor(self) -> ProcessPoolExecutor:
        """The pool of processes itself. Its `submit` and `stop` do not block; its `with`, and `shutdown()`, do."""
        return self._executor

    def task_group(
        self,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        on_error: OnError = "stop",
        stop_when: Callable[[Future[Any]], object] | None = None,
        name: str | None = None,
    ) -> TaskGroup:
        """Return a group of tasks that start and end together, for use as `async with pool.task_group() as group:`.

        It is that of `ProcessPoolExecutor.task_group`, but for its block: that is cancelled when the group is
        stopped, be it by a failure, its time or `stop()`, as asyncio's and Trio's are. This cancellation ends
        with the block. When the block is cancelled from outside, the tasks are stopped, and have ended before
        the cancellation passes; if some fail, that is raised instead.

        Args and Raises: as for that.
        """
        group = Group(
            self._executor, timeout=timeout, deadline=deadline, on_error=on_error, stop_when=stop_when, name=name
        )
        return TaskGroup(group, self._workers)

    async def race(self, calls: Iterable[Callable[[], T]], *, timeout: float | None = None) -> T:
        """Run *calls* at once, return the value of the first that returns one, and stop the others.

        It returns once all have really ended, also when it is cancelled.

        Args and Raises: as for `ProcessPoolExecutor.race`.
        """
        return await race(Race(timeout), self._executor, self._workers, calls)

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
