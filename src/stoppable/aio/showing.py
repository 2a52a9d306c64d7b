"""Progress, shown for as long as a block of a coroutine runs."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal, Self

from stoppable.aio.drawn import drawn
from stoppable.aio.pool import Pool
from stoppable.bars import Style
from stoppable.executor import ProcessPoolExecutor
from stoppable.future import Future
from stoppable.showing import Painter, painter_of


class ProgressShown:
    """An `async with` block during which progress is shown; `show_progress` makes it."""

    __slots__ = ("_painter",)

    def __init__(self, painter: Painter) -> None:
        self._painter = painter

    async def __aenter__(self) -> Self:
        self._painter.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Show the last state, and end the thread that draws. Does not wait for tasks."""
        if kind is GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            self._painter.end()
        else:
            await drawn(self._painter, raising=kind is not None)
        return False


def show_progress(what: Pool | ProcessPoolExecutor | Iterable[Future[Any]], style: Style = "auto") -> ProgressShown:
    """Show on stderr how far a pool, or some futures, are, for use as `async with aio.show_progress(pool):`.

    It is `stoppable.show_progress`, whose block can be left without holding up the loop.

    Args and Raises: as for that.
    """
    return ProgressShown(painter_of(what.executor if isinstance(what, Pool) else what, style))
