"""The errors that need the standard executor's module, apart from the others because that is heavy to import."""

import signal
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from stoppable.errors import TaskFailure
from stoppable.reason import StopReason

if TYPE_CHECKING:

    class RemoteTraceback(Exception):
        """The traceback of an exception as it was in the worker: the `__cause__` of that exception here.

        It is the class that the standard executor uses, for the sake of programs that know it.
        """

        def __init__(self, tb: str) -> None: ...

else:
    try:
        from concurrent.futures.process import _RemoteTraceback as RemoteTraceback
    except ImportError:  # a private name there

        class RemoteTraceback(Exception):
            """The traceback of an exception as it was in the worker."""

            def __init__(self, tb):
                super().__init__(tb)
                self.tb = tb

            def __str__(self):
                return self.tb


class PoolBroken(BrokenProcessPool):
    """The pool can run nothing any more; make a new one. The text says why."""


class WorkerStartError(PoolBroken):
    """Workers cannot be started: an initializer failed, `__main__` cannot be imported, or no process is to be had."""


class WorkerDied(TaskFailure, BrokenProcessPool):
    """The worker of this one task died by itself, or was killed from outside; the pool goes on.

    Attributes:
        exitcode: the worker's exit code, or None if a signal ended it or it is not known.
        signal: the signal's number, or None.
        reason: the stop that was pending when it died, or None.
        task, stack: see `TaskFailure`.
    """

    def __init__(
        self,
        text: str | None = None,
        *,
        exitcode: int | None = None,
        signal: int | None = None,
        reason: StopReason | None = None,
        task: str | None = None,
        stack: str | None = None,
    ) -> None:
        self.exitcode, self.signal, self.reason, self.task, self.stack = exitcode, signal, reason, task, stack
        super().__init__(text if text is not None else self._text())

    def _text(self) -> str:
        who = self.task or "a task"
        if self.signal is not None:
            how = f"was killed by {signal_name(self.signal)}"
        elif self.exitcode is not None:
            how = f"exited with code {self.exitcode}"
        else:
            how = "is gone (how it ended is not known)"
        pending = f" A stop was pending ({self.reason})." if self.reason else ""
        return f"the worker running {who} {how}. Only this task is lost; the pool goes on.{pending}"

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {name: getattr(self, name) for name in ("exitcode", "signal", "reason", "task", "stack")}
        return _rebuild, (self.args[0], facts)


def signal_name(number: int) -> str:
    """Return the name of signal *number*, or `signal N` when it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _rebuild(text: str, facts: dict[str, Any]) -> WorkerDied:
    return WorkerDied(text, **facts)
