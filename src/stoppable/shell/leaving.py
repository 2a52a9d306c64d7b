"""Waiting for the end of pools and task groups at a terminal: the first Ctrl-C stops their tasks, a later one kills.

No signal handler is installed: a press is a KeyboardInterrupt in the thread that waits here. So is
`Terminated`, in a program that has asked for it; its tasks have been told then, and are only waited for.
"""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from stoppable.errors import StopRequested
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung
from stoppable.terminated import Terminated, end_by

# A terminal that repeats the key, or two processes that pass the signal on, send several at once.
_SECOND_PRESS_S = 0.5


class Leavable(Protocol):
    """What has tasks and comes to an end."""

    name: str

    def stop_all(self, rung: Rung, reason: StopReason) -> None:
        """Have all its tasks stopped, from *rung* on. Never blocks."""

    def unfinished(self) -> int:
        """Return how many of its tasks have not ended."""

    def wind_down(self) -> None:
        """Have it end when its tasks have. Never blocks; called again if it was interrupted."""

    def join(self) -> object:
        """Wait for its end."""


def wait_out(
    those: Sequence[Leavable],
    left_by: type[BaseException] | None = None,
    first: Callable[[], object] | None = None,
) -> None:
    """Have *those* take no more tasks, and wait until they are over.

    Args:
        those: the pools, or the group. They are stopped together, in the time of one ladder.
        left_by: what the block is left by, if by an exception: then all tasks are stopped first.
        first: called before all that, and once more if a Ctrl-C came in it.

    Raises:
        KeyboardInterrupt: it was pressed meanwhile, and *left_by* is none; raised once they are over.
        Terminated: a signal came meanwhile; raised once they are over.
    """
    # A press can come at any bytecode. So what is to be heeded stays noted until it is done, and doing
    # it twice does no harm; and nothing is outside `try` but assignments.
    todo, first_at, heeded = left_by, None, None
    raised: KeyboardInterrupt | Terminated | None = None
    while True:
        try:
            if first is not None:
                first()
                first = None
            if todo is not None and issubclass(todo, KeyboardInterrupt):
                # A press counts from when it came, not from when it was heeded: on a busy machine the
                # second can come before the first has been, and then it is still the second.
                now = time.monotonic()
                first_at = now if first_at is None else first_at
                rung = Rung.ASK if now - first_at < _SECOND_PRESS_S else Rung.KILL
                if heeded is None or heeded < rung:
                    _heed(those, rung, todo)
                    heeded = rung
            elif todo is not None:
                for each in those:
                    each.stop_all(Rung.ASK, new_reason(StopKind.SHUTDOWN, f"left by {todo.__name__}"))
            todo = None
            for each in those:
                each.wind_down()
            for each in those:
                each.join()
            break
        except KeyboardInterrupt as press:
            raised = raised or press
            todo = type(press)
        except Terminated as end:
            raised = end
    if isinstance(raised, Terminated) or (raised is not None and left_by is None):
        raise raised


def _heed(those: Sequence[Leavable], rung: Rung, press: type[KeyboardInterrupt]) -> None:
    """Stop all tasks at *rung* for a Ctrl-C; say so, and what the next one does, if it is the first."""
    inside = issubclass(press, StopRequested)  # no key was pressed: we are in a task, and are stopped
    reason = new_reason(StopKind.SHUTDOWN, "its task was interrupted") if inside else None
    for each in those:
        each.stop_all(rung, reason or new_reason(StopKind.INTERRUPT, "Ctrl-C"))
    for each in those:
        if rung is Rung.ASK and not inside and (count := each.unfinished()):
            print(f"{each.name}: stopping {count} tasks; Ctrl-C again kills them", file=sys.stderr, flush=True)


def ctrl_c_ends_the_program() -> bool:
    """Say whether the program is ending for a KeyboardInterrupt that nothing caught."""
    if hasattr(sys, "ps1"):
        return False  # a session that went on after it
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return isinstance(last, KeyboardInterrupt)


def wait_out_at_exit(pools: Callable[[], Sequence[Leavable]]) -> None:
    """Wait for *pools* at the interpreter's end; stop them first if the program ends for a Ctrl-C.

    An exception that came out of here would only be told as ignored, and the status would say that all went
    well. So one that comes now is told as any other, and the process ends by its signal.
    """
    pressed: KeyboardInterrupt | None = None
    while True:
        try:
            wait_out(pools(), KeyboardInterrupt if pressed or ctrl_c_ends_the_program() else None)
            break
        except KeyboardInterrupt as press:  # at the end of the wait, or before it had begun: then go back to it
            pressed = pressed or press
        except Terminated as end:
            end_by(end.signal)
    if pressed is not None:
        sys.excepthook(type(pressed), pressed, pressed.__traceback__)
        end_by(signal.SIGINT)
