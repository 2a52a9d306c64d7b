"""Task groups: tasks that start and end together, in one block.

Only what the block's owner sees is here: who is stopped and why is in `members.py`. `Group` is what all groups have,
`TaskGroup` is waited for by a thread; one that a coroutine waits for is in `aio`.
"""

import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, get_args

from stoppable.calls import Calls
from stoppable.flags.callbacks import Registration
from stoppable.flags.token import StopToken
from stoppable.frozen import Frozen
from stoppable.future import Future
from stoppable.latch import Sleepers
from stoppable.members import Left, Members, OnError, ending
from stoppable.options import SubmitOptions
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung
from stoppable.shell.leaving import wait_out
from stoppable.worker import intask
from stoppable.worker.scopes import Scope

T = TypeVar("T")


class Outcome(Frozen, Generic[T]):
    """What became of one task of a group.

    Attributes:
        value: what it returned; None if it did not.
        error: what ended it instead, TaskStopped if it was stopped; None if it returned.
    """

    __slots__ = ("value", "error")
    value: T | None
    error: BaseException | None

    def __init__(self, value: T | None, error: BaseException | None) -> None:
        super().__init__(value, error)

    @property
    def ok(self) -> bool:
        """Whether it returned a value."""
        return self.error is None


class Group(Calls):
    """What task groups have, however they are waited for.

    Attributes:
        name: shown in what it raises.
    """

    def __init__(
        self,
        to: Calls,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        on_error: OnError = "stop",
        stop_when: Callable[[Future[Any]], object] | None = None,
        name: str | None = None,
        kind: StopKind = StopKind.GROUP,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error must be 'stop', 'drain' or 'ignore', was {on_error!r}")
        if stop_when is not None and not callable(stop_when):
            raise TypeError(f"stop_when must be callable, was {stop_when!r}")
        SubmitOptions(timeout, deadline)  # refuses what is no time, now and not when it is entered
        self.name = name or "a task group"
        self._to, self._options = to, to._options
        self._limits = timeout, deadline
        self._on_error, self._stop_when, self._kind = on_error, stop_when, kind
        self._pid = os.getpid()
        self._made: Members | None = None
        self._watching: Registration | None = None

    # --- its tasks ---------------------------------------------------------------------------

    @property
    def token(self) -> StopToken:
        """The token that stops the group; those of its tasks are children of it."""
        return self._members.scope.token

    @property
    def futures(self) -> tuple[Future[Any], ...]:
        """The futures of its tasks, in the order of their submission."""
        return tuple(self._members.futures)

    def outcomes(self) -> list[Outcome[Any]]:
        """Return what became of each task, in the order of their submission.

        Raises:
            RuntimeError: the block has not been left yet, and there are tasks that have not ended.
        """
        futures = self.futures
        if not self._members.complete():
            raise RuntimeError(f"{self.name} has tasks that have not ended: leave its block first")
        errors = [ending(future) for future in futures]
        return [
            Outcome(future.result() if error is None else None, error)
            for future, error in zip(futures, errors, strict=True)
        ]

    def stop(self, reason: "str | StopReason | None" = None) -> bool:
        """Stop all its tasks, those that wait first; what is submitted from now on never starts.

        Does not wait. Being stopped by this is no failure of a task. `check()` and `sleep()` in the group's
        own block raise from now on, and what they raise ends with the block.

        Returns:
            True for the first stop of the group, whoever asked for it.
        """
        given = reason if isinstance(reason, StopReason) else new_reason(StopKind.STOP, reason)
        return self._members.stop(given)

    @property
    def _members(self) -> Members:
        if self._made is None:
            raise RuntimeError(f"{self.name} was not entered: use it as `with pool.task_group() as group:`")
        return self._made

    def _submit(
        self,
        options: SubmitOptions,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: Future[Any] | None = None,
        refused: StopReason | None = None,
    ) -> Future[Any]:
        members = self._members
        if os.getpid() != self._pid:
            raise RuntimeError(f"{self.name} belongs to process {self._pid}, of which this one is a fork")
        if options.scope is not members.scope.token:
            options = options.but(SubmitOptions(scope=members.scope.token))
        if future is None:
            future = Future()
        members.enter(future)
        given = False
        try:
            self._to._submit(options, fn, args, kwargs, future, refused or members.refusal())
            given = True
        finally:
            if not given:
                members.withdraw(future)
        members.submitted(future)
        return future

    # --- the block ---------------------------------------------------------------------------

    def _enter(self, ended: Callable[[], object], stopped: Callable[[], object] = lambda: None) -> None:
        """Begin the block.

        Args:
            ended: called, in whatever thread, whenever no task is left that has not ended; must not block.
            stopped: the same, when the group has been stopped.
        """
        if self._made is not None:
            raise RuntimeError(f"{self.name} was entered before; make a new one")
        scope = Scope(*self._limits, self.name)
        members = Members(scope, self.name, self._on_error, self._stop_when, self._kind, ended)

        def obey() -> None:
            members.obey()
            stopped()

        self._options = self._options.but(SubmitOptions(scope=scope.token))
        self._watching = scope.token.on_stop(obey)
        self._made = members
        scope.enter()

    def _leave(self) -> None:
        """End the block, whose tasks have ended, or belong to another process."""
        self._members.scope.leave()
        if self._watching is not None:
            self._watching.cancel()

    def _raise(self, error: BaseException | None, left: Left, given: BaseException | None) -> bool:
        """Raise what leaving the block by *error* raises; return whether *error* ends here.

        Args:
            given: what passes by itself, if this returns False: what Python has left the block by.
        """
        leaving = self._members.verdict(error, left)
        try:
            if leaving is not None and leaving is not given:
                raise leaving from None
            if leaving is None and (self._members.cut or left is Left.STOPPED):
                intask.check()  # a stop from outside may be why, and the task is not to go on as if all were well
            return leaving is None
        finally:
            del leaving, error, given  # no cycle: what is raised holds this frame


class TaskGroup(Group):
    """Tasks that start and end together; made by `ProcessPoolExecutor.task_group`, which says what it does.

    It has `submit`, `options` and `map`, as a pool has; they may be called in any thread, and from futures'
    callbacks, until the block has been left.

    Attributes:
        name: shown in what it raises.
    """

    def __init__(self, to: Calls, **options: Any) -> None:
        super().__init__(to, **options)
        self._sleepers = Sleepers()

    def __enter__(self) -> Self:
        self._enter(self._sleepers.wake)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Wait for all tasks, stopping them first if left by an exception; raise what failed."""
        if os.getpid() != self._pid:
            self._leave()
            return False  # a forked child: the tasks are its parent's
        members = self._members
        left = members.left_by(error)
        try:
            wait_out([self], kind if left is Left.PRESSED else None, partial(members.block_left, error, left))
        finally:
            self._leave()
        return self._raise(error, left, error)

    # --- what `wait_out` asks for ----------------------------------------------------------------

    def stop_all(self, rung: Rung, reason: StopReason) -> None:
        """Stop all its tasks, from *rung* on."""
        self._members.stop(reason, rung)

    def unfinished(self) -> int:
        """Return how many of its tasks have not ended."""
        return self._members.unended

    def wind_down(self) -> None:
        """Do nothing: it ends with its last task, and its tasks may submit until then."""

    def join(self) -> None:
        """Wait for all its tasks, and take no more."""
        for future in self.futures:
            future._left_by(threading.get_ident())
        while not self._members.close():
            self._sleepers.wait(self._members.complete)


class Race(Generic[T]):
    """What a race is, whoever waits for it: a group of runners that the first value stops.

    Args:
        timeout: seconds; as for `ProcessPoolExecutor.race`.
    """

    def __init__(self, timeout: float | None) -> None:
        self._first: list[Future[T]] = []
        self._wrong: Exception | None = None
        self.options: dict[str, Any] = {
            "timeout": timeout,
            "on_error": "ignore",
            "stop_when": self._won,
            "name": "a race",
            "kind": StopKind.RACE,
        }

    def _won(self, future: Future[T]) -> bool:
        if future.exception() is None:
            self._first.append(future)
        return bool(self._first)

    def start(self, group: Group, calls: Iterable[Callable[[], T]]) -> None:
        """Have *calls* run in *group*, until one has won."""
        try:
            for call in calls:
                group.submit(call)
                if group.token.is_set():
                    break
        except Exception as problem:  # not a runner's: it is to leave as it is, once the runners have ended
            self._wrong = problem
            group.stop()

    def result(self, group: Group) -> T:
        """Return the value of the first, once *group* was left; or raise."""
        if self._wrong is not None:
            raise self._wrong
        if self._first:
            return self._first[0].result()
        errors = [error for outcome in group.outcomes() if (error := outcome.error) is not None]
        if not errors:
            raise ValueError("a race needs at least one call")
        raise BaseExceptionGroup("nobody won the race", errors)


def race(to: Calls, calls: Iterable[Callable[[], T]], timeout: float | None) -> T:
    """Run *calls* through *to*; see `ProcessPoolExecutor.race`."""
    running = Race[T](timeout)
    with TaskGroup(to, **running.options) as group:
        running.start(group, calls)
    return running.result(group)
