"""Waiting for a pool's end at a terminal: the first Ctrl-C stops its tasks, a later one kills them.

No signal handler is installed: a press is a KeyboardInterrupt in the thread that waits here.
"""

import sys
import time
from typing import TYPE_CHECKING

from stoppable.core.events import Shutdown
from stoppable.reason import StopKind, new_reason
from stoppable.rung import Rung

if TYPE_CHECKING:
    from stoppable.shell.reactor import Reactor

# A terminal that repeats the key, or two processes that pass the signal on, send several at once.
_SECOND_PRESS_S = 0.5


def wait_out(reactor: "Reactor", left_by: type[BaseException] | None = None) -> None:
    """Have the pool take no more tasks, and wait until it is over.

    Args:
        reactor: of the pool.
        left_by: what the block is left by, if by an exception: then all tasks are stopped first.

    Raises:
        KeyboardInterrupt: it was pressed meanwhile, and *left_by* is none; raised once the pool is over.
    """
    # A press can come at any bytecode. So what is to be heeded stays noted until it is done, and doing
    # it twice does no harm; and nothing is outside `try` but assignments.
    todo, first_at, heeded, raised = left_by, None, None, None
    while True:
        try:
            if todo is not None and issubclass(todo, KeyboardInterrupt):
                # A press counts from when it came, not from when it was heeded: on a busy machine the
                # second can come before the first has been, and then it is still the second.
                now = time.monotonic()
                first_at = now if first_at is None else first_at
                rung = Rung.ASK if now - first_at < _SECOND_PRESS_S else Rung.KILL
                if heeded is None or heeded < rung:
                    _heed(reactor, rung)
                    heeded = rung
            elif todo is not None:
                reactor.stop_all(Rung.ASK, new_reason(StopKind.SHUTDOWN, f"left by {todo.__name__}"))
            todo = None
            reactor.post(Shutdown())
            reactor.join()
            break
        except KeyboardInterrupt as press:
            raised = raised or press
            todo = KeyboardInterrupt
    if raised is not None and left_by is None:
        raise raised


def _heed(reactor: "Reactor", rung: Rung) -> None:
    """Stop the pool's tasks at *rung* for a Ctrl-C; say so, and what the next one does, if it is the first."""
    reactor.stop_all(rung, new_reason(StopKind.INTERRUPT, "Ctrl-C"))
    if rung is Rung.ASK and (count := len(reactor.hands.tasks)):
        print(f"{reactor.name}: stopping {count} tasks; Ctrl-C again kills them", file=sys.stderr, flush=True)


def ctrl_c_ends_the_program() -> bool:
    """Say whether the program is ending for a KeyboardInterrupt that nothing caught."""
    if hasattr(sys, "ps1"):
        return False  # a session that went on after it
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return isinstance(last, KeyboardInterrupt)
