"""Stretches of code with a token of their own: `time_limit`, and the blocks of task groups.

1. The token of the innermost scope of the context is the one that the in-task functions look at.
2. It is a child of the token outside, so a stop from there, or an earlier deadline, reaches it.
3. A scope ends nothing by itself: it acts where its code looks.

A context is that of `contextvars`: a thread has its own, and so has each asyncio task.
"""

import math
from types import TracebackType
from typing import Literal, Self

from stoppable.flags.token import StopToken
from stoppable.reason import StopKind, StopReason
from stoppable.requested import StopRequested
from stoppable.worker import intask


class Scope:
    """A stretch of code with a token of its own.

    Args and Raises: as for `StopToken`; *timeout* counts from here.

    Attributes:
        token: its own.
        outer: the one outside it; None outside any scope and task.
    """

    __slots__ = ("_deadline", "outer", "token")

    def __init__(self, timeout: float | None, deadline: float | None, name: str | None) -> None:
        own = StopToken(timeout=timeout, deadline=deadline, name=name)
        self._deadline = own.deadline
        self.outer = intask.innermost_token()
        self.token = own if self.outer is None else self.outer.child(deadline=self._deadline, name=name)

    def enter(self) -> None:
        """Begin it, in this context."""
        intask.enter_scope(self.token)

    def leave(self) -> None:
        """End it, in the context that began it."""
        intask.leave_scope(self.token, self.outer)

    def outer_asked(self) -> bool:
        """Say whether a stop was asked for outside it."""
        task = intask.current()
        return (self.outer is not None and self.outer.is_set()) or (task is not None and task.asked())

    def timed_out(self) -> bool:
        """Say whether its own time was what set its token."""
        reason = self.token.reason
        return reason is not None and reason.kind is StopKind.DEADLINE and reason.at == self._deadline

    def owns(self, error: BaseException | None) -> bool:
        """Say whether *error* is the stop of this scope, and of none outside it."""
        return isinstance(error, StopRequested) and self.set_for(error.reason)

    def set_for(self, reason: StopReason | None) -> bool:
        """Say whether it was stopped for *reason*, and nothing outside it was stopped."""
        return reason is not None and not self.outer_asked() and reason == self.token.reason


class TimeLimit:
    """A block with a time limit; `time_limit` makes it."""

    __slots__ = ("_expired", "_scope", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"time_limit needs seconds >= 0, or None, was {seconds!r}")
        self._seconds = seconds
        self._scope: Scope | None = None
        self._expired: bool | None = None  # once it was left

    @property
    def token(self) -> StopToken:
        """The token that is set when the time is up, or a stop comes from outside: `current_token()` of the block."""
        return self._entered().token

    @property
    def expired(self) -> bool:
        """Whether the time was up before the block was left; also if nothing in it noticed."""
        return self._entered().timed_out() if self._expired is None else self._expired

    def _entered(self) -> Scope:
        if self._scope is None:
            raise RuntimeError("this time limit was not entered: use it as `with time_limit(...) as scope:`")
        return self._scope

    def __enter__(self) -> Self:
        if self._scope is not None:
            raise RuntimeError("a time limit is used once; make a new one")
        self._scope = Scope(None if self._seconds == math.inf else self._seconds, None, None)
        self._scope.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        scope = self._entered()
        scope.leave()
        self._expired = scope.timed_out()
        if self._expired and scope.owns(error):
            raise TimeoutError(f"the block took longer than its {self._seconds:g} s") from error
        return False


def time_limit(seconds: float | None) -> TimeLimit:
    """Give a block *seconds* of time, from when it is entered; for use as `with time_limit(5) as scope:`.

    When they are up, `check()` and `sleep()` in the block raise, and its `current_token()` is set. What
    they raise leaves the block as TimeoutError; a stop from outside passes unchanged, also when both have come.
    It works in a task and outside one, in any thread. It does *not* interrupt code that never looks:
    that is what the `timeout` of a task is for.

    Args:
        seconds: None and `math.inf`: no limit.

    Raises:
        ValueError: *seconds* is negative or NaN.
        TimeoutError: at the end of the block, if it was left because its time was up.
    """
    return TimeLimit(seconds)
