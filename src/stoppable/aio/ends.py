"""Waiting for a task's end, and stopping it when nobody waits any more."""

from collections.abc import Callable
from typing import TypeVar

from stoppable.aio.loops import all_ended, told, wait
from stoppable.future import Future

T = TypeVar("T")


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
    return await outcome(future, lambda: future.stop("the await of it was cancelled"))


async def outcome(future: Future[T], stop: Callable[[], object]) -> T:
    """Do as `result`; *stop* is called if this is cancelled, and stops the future at least."""
    try:
        await wait(told(all_ended([future])), stop)
    except BaseException:
        if future.done() and not future.stopped():
            future.result()  # raises, if that is how the task ended
        raise
    return future.result()
