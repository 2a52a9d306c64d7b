"""Every exception of the project. One class for each thing a caller can do about it.

Facts are attributes; the text says what happened, how we know it, and what to do next.

A worker imports none of it, only what a task may meet (`stoppable.requested`): the futures of the standard
library cost it more than the rest of its start. `WorkerDied` must be a `BrokenProcessPool`, whose module costs
the whole of multiprocessing, so it lives in `stoppable.died` with its like, which are attributes of this module
all the same.
"""

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from stoppable.reason import StopReason
from stoppable.requested import StopInterrupt, StopRequested
from stoppable.rung import Rung

if TYPE_CHECKING:
    from stoppable.died import PoolBroken as PoolBroken
    from stoppable.died import RemoteTraceback as RemoteTraceback
    from stoppable.died import WorkerDied as WorkerDied
    from stoppable.died import WorkerStartError as WorkerStartError

__all__ = [
    "MemoryExceeded",
    "PoolBroken",
    "RemoteTraceback",
    "StopInterrupt",
    "StopRequested",
    "TaskStopped",
    "TaskTimeout",
    "WorkerDied",
    "WorkerStartError",
]


def __getattr__(name: str) -> Any:
    if name in ("PoolBroken", "RemoteTraceback", "WorkerDied", "WorkerStartError"):
        from stoppable import died

        return getattr(died, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class TaskFailure:
    """The facts that every error about a task carries, whatever became of it.

    Attributes:
        task: the task's name and arguments, short, or None if not known.
        stack: where the task was, as text, or None when it was not taken.
    """

    task: str | None
    stack: str | None


class TaskStopped(TaskFailure, CancelledError):
    """The task was stopped, and has really ended (see `confirmed`).

    Attributes:
        reason: why; None only if no reason could be read.
        rung: the last `Rung` that was needed; None when the task never started.
        partial: what the task last gave to `publish()`, or None.
        confirmed: False if its process was killed but never seen to die.
        started: False if the task never ran at all.
        task, stack: see `TaskFailure`.
    """

    def __init__(
        self,
        text: str | None = None,
        *,
        reason: StopReason | None = None,
        rung: Rung | None = None,
        partial: Any = None,
        confirmed: bool = True,
        started: bool = True,
        task: str | None = None,
        stack: str | None = None,
        **facts: Any,
    ) -> None:
        self.reason, self.rung, self.partial = reason, rung, partial
        self.confirmed, self.started, self.task, self.stack = confirmed, started, task, stack
        for name, value in facts.items():
            setattr(self, name, value)
        self._facts = {
            "reason": reason,
            "rung": rung,
            "partial": partial,
            "confirmed": confirmed,
            "started": started,
            "task": task,
            "stack": stack,
            **facts,
        }
        super().__init__(text if text is not None else self._text())

    def _text(self) -> str:
        who = self.task or "the task"
        why = f" ({self.reason})" if self.reason else ""
        if not self.started:
            return f"{who} was stopped before it started{why}"
        how = f" by {self.rung}" if self.rung else ""
        where = f"\nIt was at:\n{self.stack}" if self.stack else ""
        sure = "" if self.confirmed else "; its process was killed but not seen to end: it may still hold resources"
        return f"{who} was {self._verb()}{how}{why}{sure}{where}"

    def _verb(self) -> str:
        return "stopped"

    def __str__(self) -> str:
        # OSError.__str__ (through TimeoutError) would not show a single argument's facts; ours is the text.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args[0], self._facts)


class TaskTimeout(TaskStopped, TimeoutError):
    """The task's timeout or deadline passed, and it was stopped for that (`reason.kind` is deadline)."""

    def _text(self) -> str:
        if not self.started:
            return f"the deadline of {self.task or 'the task'} passed before it started"
        return super()._text()

    def _verb(self) -> str:
        return "out of time and stopped"


class MemoryExceeded(TaskStopped, MemoryError):
    """The task's processes used more memory than its limit, and it was stopped for that.

    Attributes:
        peak_bytes: the most that was measured; it may have been more between two looks.
        limit_bytes: the limit.
    """

    peak_bytes: int
    limit_bytes: int


def _rebuild(cls: type[TaskStopped], text: str, facts: dict[str, Any]) -> TaskStopped:
    return cls(text, **facts)
