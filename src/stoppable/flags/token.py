"""`StopToken`: a flag that is set once, for a reason, and that stops all tokens made from it.

1. Once set, for ever set, for the same reason in every process.
2. Stop flows down only: a child holds its own record and all those above it, and looks at each. Nothing is
   pushed, so a child that is made, dropped or killed costs its parents nothing.
3. A deadline is a time of the monotonic clock, and whoever looks compares it: nobody need be awake for it.
4. The reason is decided by whoever first stops the token or asks why it is set: the earliest cause
   by its time (`StopReason.at`), an explicit stop before a deadline of the same instant. It is then
   written down in the token's own record, where all others read it.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from stoppable.flags import kernel, live, owner
from stoppable.flags.chunk import Handle
from stoppable.flags.collect import pickled
from stoppable.flags.event import until
from stoppable.flags.record import Record
from stoppable.flags.words import Word
from stoppable.reason import NOBODY, StopKind, StopReason, new_reason
from stoppable.requested import StopRequested

if TYPE_CHECKING:
    from stoppable.flags.callbacks import Registration

_monotonic = time.monotonic


class StopToken:
    """What a task looks at to learn that it should stop; whoever holds a copy can stop it.

    It may be sent to other processes in any way: as an argument, inside data or a closure, through a queue,
    or by fork. All copies are equal and are the same token. It belongs to the process that made it: when
    that process ends, the token is set, kind orphan.

    Args:
        timeout: seconds from now after which it is set by itself, kind deadline; None or inf: never.
        deadline: the same as a time of `time.monotonic()`. The earlier of the two counts.
        name: shown in its repr.

    Attributes:
        is_set: call it to learn whether a stop was asked for. It never blocks and never raises, and
            costs about as much as `threading.Event.is_set`, without a system call.
        name: as given, or None.

    Raises:
        ValueError: *timeout* is negative or NaN, or *deadline* is NaN.
        OSError: the system has no more memory or no more file descriptors.
    """

    __slots__ = ("__weakref__", "_above", "_deadline", "_own", "_reason", "is_set", "name")

    is_set: Callable[[], bool]
    name: str | None
    _own: Record
    _above: tuple[Record, ...]  # nearest first
    _deadline: float  # the earliest of its own and all above; inf if there is none
    _reason: StopReason | None  # what was read once never changes

    def __init__(self, *, timeout: float | None = None, deadline: float | None = None, name: str | None = None) -> None:
        self._adopt(Record.new(), (), _earlier(timeout, deadline), name)

    def _adopt(self, own: Record, above: tuple[Record, ...], deadline: float, name: str | None) -> None:
        self._own, self._above, self._deadline, self.name, self._reason = own, above, deadline, name, None
        self.is_set = _look(own, above, deadline)
        live.enter(self)

    # --- asking ----------------------------------------------------------------------------

    def stop(self, reason: str | StopReason | None = None) -> bool:
        """Set the token and wake all who wait for it or for a token made from it.

        Once it returns, every process that holds one of them sees it set. It waits for nothing else: no
        callback, no task. A later call, in any process, changes nothing.

        Args:
            reason: a message of a few hundred characters (longer ones are cut), or a whole `StopReason`.

        Returns:
            True for exactly one call in all processes; False if the token was set already, also by its
            deadline or by a token above it.
        """
        if self.is_set():
            self._decide()
            return False
        if not isinstance(reason, StopReason):
            if reason is not None and not isinstance(reason, str):
                raise TypeError(f"a reason must be a str or a StopReason, was {reason!r}")
            reason = new_reason(StopKind.STOP, reason)
            if reason.at > self._deadline:
                self._decide()
                return False
        return self._own.install(reason)

    def set(self) -> None:
        """Stop the token, without a message: the name that `Event` has for it."""
        self.stop()

    def clear(self) -> None:
        """Do nothing: a token that is not set is clear, and one that is set stays so.

        Raises:
            RuntimeError: the token is set.
        """
        if self.is_set():
            raise RuntimeError("a StopToken stays set once it is; make a new one, or use stoppable.Event")

    # --- facts -----------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the token is set; return True, or False if *timeout* seconds passed before that.

        Raises:
            ValueError: *timeout* is NaN.
        """
        if self.is_set():
            return True
        end = until(timeout)
        if self._deadline != math.inf:
            end = self._deadline if end is None else min(end, self._deadline)
        return kernel.wait(self._sources(), end) or self.is_set()

    @property
    def reason(self) -> StopReason | None:
        """Why it is set, the same for ever and in every process; None as long as it is not."""
        reason = self._reason
        if reason is None and self.is_set():
            reason = self._decide()
        return reason

    @property
    def deadline(self) -> float | None:
        """When it is set by itself, in seconds of `time.monotonic()`: the earliest of its own and of all
        tokens above; None if there is none."""
        return None if self._deadline == math.inf else self._deadline

    def remaining(self) -> float | None:
        """Return the seconds left: 0.0 once it is set, None if it has no deadline.

        So it can be given to most functions of the standard library as their *timeout*.
        """
        if self.is_set():
            return 0.0
        return None if self._deadline == math.inf else max(0.0, self._deadline - _monotonic())

    # --- in the task -----------------------------------------------------------------------

    def check(self) -> None:
        """Raise if a stop was asked for.

        Raises:
            StopRequested: it was. Every time, until the task lets it pass.
        """
        if self.is_set():
            raise StopRequested(self.reason)

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the token is set.

        Raises:
            StopRequested: it is set, or was while this slept.
            ValueError: *seconds* is negative or NaN.
        """
        if not seconds >= 0:
            raise ValueError(f"sleep needs seconds >= 0, was {seconds!r}")
        if self.wait(seconds):
            raise StopRequested(self.reason)

    def on_stop(self, fn: Callable[[], object]) -> "Registration":
        """Call *fn* with no arguments once the token is set, in a thread of this process made for that.

        Also if it is set already. Never in the thread that stops, nor in the one that registers. The
        last registered is called first. What it raises is logged. Not inherited by a forked child.
        """
        from stoppable.flags.callbacks import register

        return register(self, fn)

    # --- making others ---------------------------------------------------------------------

    def child(
        self, *, timeout: float | None = None, deadline: float | None = None, name: str | None = None
    ) -> "StopToken":
        """Return a token that is set when this one is, for its reason, and can be stopped alone.

        Args and Raises: as for `StopToken`. A deadline later than this token's changes nothing.
        """
        return StopToken.any_of(self, timeout=timeout, deadline=deadline, name=name)

    @staticmethod
    def any_of(
        *tokens: "StopToken", timeout: float | None = None, deadline: float | None = None, name: str | None = None
    ) -> "StopToken":
        """Return a token that is set when any of *tokens* is, for its reason, and can be stopped alone.

        Args and Raises: as for `StopToken`. ValueError too if there are no *tokens*.
        """
        if not tokens:
            raise ValueError("any_of needs at least one token")
        above: dict[tuple[bytes, int], Record] = {}
        for token in tokens:
            for record in token._records():
                above.setdefault(record.key, record)
        earliest = min(_earlier(timeout, deadline), *(token._deadline for token in tokens))
        made = StopToken.__new__(StopToken)
        made._adopt(Record.new(), tuple(above.values()), earliest, name)
        for record in above.values():
            # In a forked child: it looks at the flags of the tokens above, and not at those tokens.
            owner.watch(record.chunk)
        return made

    # --- being a value ---------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        raise TypeError("a StopToken is neither true nor false; use is_set()")

    def __eq__(self, other: object) -> bool:
        return self._own.key == other._own.key if isinstance(other, StopToken) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._own.key)

    def __copy__(self) -> "StopToken":
        return self

    def __deepcopy__(self, memo: Any) -> "StopToken":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        pickled(self)
        handles = tuple(tuple(record.share()) for record in self._records())
        return _found, (handles, self._deadline, self.name)

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        reason = self.reason
        state = "unset" if reason is None else f"set ({reason})"
        return f"<stoppable.StopToken{name} at {id(self):#x}: {state}>"

    # --- inside ----------------------------------------------------------------------------

    def _records(self) -> tuple[Record, ...]:
        return (self._own, *self._above)

    def _sources(self) -> list[Word]:
        return [record.flag for record in self._records()]

    def _decide(self) -> StopReason | None:
        """Write down why it is set, if nobody has; return what is written."""
        own = self._own
        if not own.flag.is_set():
            causes = self._causes()
            if not causes:
                return None
            own.install(_first(causes))
        reason = own.reason()
        if reason is not None and reason.kind is StopKind.ORPHAN:
            # Whoever set it for its owner's death knew of the record only, and not of what is above this token.
            reason = _first([reason, *self._causes()])
        self._reason = reason
        return reason

    def _causes(self) -> list[StopReason]:
        """Return why it is set, apart from its own record."""
        causes = [reason for record in self._above if (reason := record.reason()) is not None]
        if self._deadline <= _monotonic():
            # The same for whoever finds it out, and for each token with this deadline.
            causes.append(StopReason(StopKind.DEADLINE, None, NOBODY, self._deadline))
        return causes


def _first(causes: list[StopReason]) -> StopReason:
    return min(causes, key=lambda cause: (cause.at, cause.kind is StopKind.DEADLINE))


def _found(handles: tuple[tuple[Any, ...], ...], deadline: float, name: str | None) -> StopToken:
    records = [Record.find(Handle(*handle)) for handle in handles]
    token = StopToken.__new__(StopToken)
    token._adopt(records[0], tuple(records[1:]), deadline, name)
    for record in records:
        owner.watch(record.chunk)
    return token


def _look(own: Record, above: Sequence[Record], deadline: float) -> Callable[[], bool]:
    """Return the cheapest function that tells whether any of them is set or the deadline has passed."""
    mine = own.flag.is_set
    if not above:
        return mine if deadline == math.inf else lambda: mine() or _monotonic() >= deadline
    parent = above[0].flag.is_set
    if len(above) == 1:
        if deadline == math.inf:
            return lambda: mine() or parent()
        return lambda: mine() or parent() or _monotonic() >= deadline
    others = tuple(record.flag.is_set for record in above[1:])
    if len(others) == 1 and deadline == math.inf:
        grandparent = others[0]
        return lambda: mine() or parent() or grandparent()

    def is_set() -> bool:
        if mine() or parent():
            return True
        for other in others:
            if other():
                return True
        return _monotonic() >= deadline

    return is_set


def _earlier(timeout: float | None, deadline: float | None) -> float:
    end = math.inf
    if timeout is not None:
        if not timeout >= 0:
            raise ValueError(f"timeout must be seconds >= 0, or None, was {timeout!r}")
        end = _monotonic() + timeout
    if deadline is not None:
        if math.isnan(deadline):
            raise ValueError("deadline must be a time of time.monotonic(), or None, was NaN")
        end = min(end, deadline)
    return end
