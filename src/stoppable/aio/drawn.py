"""Waiting for what is drawn in a thread."""

from stoppable.aio.loops import outlast, told, wait_at_most
from stoppable.showing import Painter

_DRAWN_S = 5.0  # how long a terminal that takes nothing may hold up who ends a bar


async def drawn(painter: Painter | None, *, raising: bool = False) -> None:
    """Have *painter* draw the last state, and wait for that; but not for ever, as the terminal may take nothing.

    Args:
        raising: the caller raises something afterwards, so no cancellation need come out of this.
    """
    if painter is None:
        return
    painter.end()
    over = told(painter.finished.then)
    await (outlast if raising else wait_at_most)(over, _DRAWN_S)
    if over.is_set():
        painter.join()
