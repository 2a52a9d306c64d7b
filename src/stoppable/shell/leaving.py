"""Waiting for a pool's end at a terminal: the first Ctrl-C stops its tasks, a later one kills them.

No signal handler is installed: a press is a KeyboardInterrupt in the thread that waits here.
"""

import sys
import time
from typing import TYPE_CHECKING

from stoppable.core.events import Shutdown
from stoppable.reason import StopKind, StopReason, new_reason
from stoppable.rung import Rung

if TYPE_CHECKING:
    from stoppable.shell.reactor import Reactor

# A terminal that repeats the key, or two processes that pass the signal on, send several at once.
_SECOND_PRESS_S = 0.5


def wait_out(reactor: "Reactor", first: StopReason | None = None) -> None:
    """Have the pool take no more tasks, and wait until it is over.

    Args:
        reactor: of the pool.
        first: stop all its tasks first, for this reason; a reason of kind interrupt says that Ctrl-C was pressed.

    Raises:
        KeyboardInterrupt: it was pressed meanwhile; raised once the pool is over.
    """
    raised: KeyboardInterrupt | None = None
    pressed_at = time.monotonic() if first is not None and first.kind is StopKind.INTERRUPT else None
    todo, rung = first, Rung.ASK
    while True:
        try:
            if todo is not None:
                if todo.kind is StopKind.INTERRUPT and rung is Rung.ASK:
                    _say(reactor)
                reactor.stop_all(rung, todo)
                todo = None
            reactor.post(Shutdown())
            reactor.join()
        except KeyboardInterrupt as press:
            now = time.monotonic()
            if pressed_at is not None and now - pressed_at < _SECOND_PRESS_S:
                continue
            raised = raised or press
            todo, rung = new_reason(StopKind.INTERRUPT, "Ctrl-C"), Rung.ASK if pressed_at is None else Rung.KILL
            pressed_at = now
        else:
            break
    if raised is not None and sys.exception() is None:
        raise raised


def _say(reactor: "Reactor") -> None:
    count = len(reactor.hands.tasks)
    if count:
        print(f"{reactor.name}: stopping {count} tasks; Ctrl-C again kills them", file=sys.stderr, flush=True)


def ctrl_c_ends_the_program() -> bool:
    """Say whether the program is ending for a KeyboardInterrupt that nothing caught."""
    if hasattr(sys, "ps1"):
        return False  # a session that went on after it
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return isinstance(last, KeyboardInterrupt)
