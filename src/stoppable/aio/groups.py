"""Task groups whose block is a coroutine's.

Who is stopped, and why, is the same as for `stoppable.TaskGroup`. What is added: the block is cancelled when its
group is stopped, since a coroutine that awaits something else would not look.
"""

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from stoppable import calls
from stoppable.aio.calls import Calls
from stoppable.aio.loops import Bell, in_loop, outlast, told, wait
from stoppable.flags.token import StopToken
from stoppable.future import Future
from stoppable.groups import Group, Outcome, Race
from stoppable.members import Left
from stoppable.reason import StopKind, StopReason, new_reason

T = TypeVar("T")


class TaskGroup(Calls):
    """Tasks that start and end together; made by `Pool.task_group`, which says what it does.

    It has `submit`, `run`, `options`, `map` and `stream`, as a pool has, until the block has been left.
    """

    def __init__(self, group: Group, workers: int) -> None:
        super().__init__(group, workers)
        self._group = group
        self._block = anyio.CancelScope()
        self._bell = Bell()  # rung when no task is left that has not ended

    @property
    def name(self) -> str:
        """Shown in what it raises."""
        return self._group.name

    @property
    def token(self) -> StopToken:
        """The token that stops the group; those of its tasks are children of it."""
        return self._group.token

    @property
    def futures(self) -> tuple[Future[Any], ...]:
        """The futures of its tasks, in the order of their submission."""
        return self._group.futures

    def outcomes(self) -> list[Outcome[Any]]:
        """Return what became of each task, in the order of their submission.

        Raises:
            RuntimeError: the block has not been left yet, and there are tasks that have not ended.
        """
        return self._group.outcomes()

    def stop(self, reason: str | StopReason | None = None) -> bool:
        """Stop all its tasks, those that wait first, and cancel its block; what is submitted from now on never starts.

        Does not wait, and may be called in any thread. Being stopped by this is no failure of a task.

        Returns:
            True for the first stop of the group, whoever asked for it.
        """
        return self._group.stop(reason)

    async def __aenter__(self) -> Self:
        self._group._enter(ended=self._bell.ring, stopped=in_loop(self._block.cancel))
        self._block.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Wait for all tasks, stopping them first if left by an exception; raise what failed."""
        given, group = error, self._group
        if os.getpid() != group._pid:
            group._leave()
            return False  # a forked child: the tasks, and the loop, are its parent's
        members = group._members
        try:
            error, left = self._left_by(kind, error, trace)
            if left is Left.PRESSED:
                members.stop(new_reason(StopKind.INTERRUPT, "Ctrl-C"))
            members.block_left(error, left)
            if kind is GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
                return False
            try:
                await self._wait_out(error)
            except anyio.get_cancelled_exc_class() as cancelled:
                error, left = cancelled, Left.PASSING
        finally:
            group._leave()
        try:
            return group._raise(error, left, given)
        finally:
            del error, given  # no cycle: what is raised holds this frame

    def _left_by(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> tuple[BaseException | None, Left]:
        """Close the block's cancel scope; return what is left of *error*, and what that means."""
        try:
            if self._block.__exit__(kind, error, trace) and error is not None:
                return None, Left.STOPPED
        except BaseException as rest:
            if kind is not GeneratorExit:  # then it is a complaint, since there may be no loop any more
                error = rest  # Trio's way to take its own exceptions out of a group of several
        if kind is GeneratorExit:
            return error, Left.PASSING
        return error, Left.PASSING if _is_cancellation(error) else self._group._members.left_by(error)

    async def _wait_out(self, error: BaseException | None) -> None:
        """Wait until all tasks have ended, and take no more. Raise a cancellation, unless *error* is raised anyway."""
        members = self._group._members
        cancelled: BaseException | None = None

        def stop() -> None:
            members.stop(members.because(f"the wait for {self.name} was cancelled"))

        while True:
            over = told(self._bell.then)
            if members.complete():
                over.set()
            if error is not None or cancelled is not None:
                await outlast(over)
            else:
                try:
                    await wait(over, stop)
                except anyio.get_cancelled_exc_class() as why:
                    cancelled = why
            if members.close():
                break
        if cancelled is not None:
            raise cancelled


def _is_cancellation(error: BaseException | None) -> bool:
    """Say whether *error* is a cancellation of the loop's, or a group of nothing but those."""
    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return error.split(cancelled)[1] is None
    return isinstance(error, cancelled)


async def race(race: Race[T], to: calls.Calls, workers: int, runners: Iterable[Callable[[], T]]) -> T:
    """Run *runners* through *to*; see `Pool.race`."""
    group = Group(to, **race.options)
    async with TaskGroup(group, workers):
        race.start(group, runners)
    return race.result(group)
