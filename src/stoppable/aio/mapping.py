"""`map`, whose results are awaited."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, Generic, Self, TypeVar

from anyio.lowlevel import checkpoint

from stoppable.aio.drawn import drawn
from stoppable.aio.ends import outcome
from stoppable.aio.loops import all_ended, outlast, told, wait
from stoppable.future import Future
from stoppable.showing import Meter

T = TypeVar("T")


class Results(Generic[T]):
    """The results of `Pool.map`, in order: an asynchronous iterator.

    A call that fails, and a cancellation, end it: the tasks that are left are stopped, and have ended before
    the error is raised. `aclose()` does the same, and so `contextlib.aclosing`. One that is merely
    dropped, by a `break` say, stops its tasks too, but nobody waits for their end. So it is with its bars.
    """

    __slots__ = ("_ahead", "_awaited", "_begun", "_chunked", "_futures", "_meter", "_painter", "_stopped", "_values")

    def __init__(self, futures: Iterator[Future[Any]], ahead: int, chunked: bool, meter: Meter | None) -> None:
        self._futures, self._ahead, self._chunked = futures, ahead, chunked
        self._meter, self._painter = meter, None if meter is None else meter.painter()
        self._begun: deque[Future[Any]] = deque()
        self._awaited = 0  # tasks taken off that, and waited for now
        self._stopped: list[Future[Any]] = []
        self._values: list[T] = []  # that have come, the next one last

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            if self._values:
                await checkpoint()
            else:
                self._values = await self._take()
        except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            self._stop()
            raise
        except BaseException as error:
            self._stop()
            await outlast(told(all_ended(self._stopped)))
            await drawn(self._painter, raising=True)
            if isinstance(error, StopAsyncIteration):
                raise RuntimeError("a call raised StopAsyncIteration") from error  # it would pass for the end
            raise
        if not self._values:
            if not self._awaited:  # else there are others who take its last results
                await drawn(self._painter)
            raise StopAsyncIteration
        return self._values.pop()

    async def aclose(self) -> None:
        """Stop the tasks whose results were not taken, and wait until they have ended, also when cancelled."""
        self._stop()
        try:
            await wait(told(all_ended(self._stopped)), lambda: None)
        except GeneratorExit:
            raise
        except BaseException:
            await drawn(self._painter, raising=True)
            raise
        await drawn(self._painter)

    def __del__(self) -> None:
        self._stop()

    async def _take(self) -> list[T]:
        """Return the values of the next task, the first one last; none at the end."""
        if self._painter is not None and not self._painter.begun:
            self._painter.start()
        self._fill()
        if not self._begun:
            return []
        # Taken off before it is waited for: who asks at the same time gets the next one.
        future = self._begun.popleft()
        self._awaited += 1
        try:
            value = await outcome(future, lambda: self._stop(future))
        finally:
            self._awaited -= 1
        self._fill()
        return value[::-1] if self._chunked else [value]

    def _fill(self) -> None:
        self._begun.extend(islice(self._futures, self._ahead - len(self._begun)))

    def _stop(self, *taken: Future[Any]) -> None:
        self._futures, self._values = iter(()), []
        if self._meter is not None:
            self._meter.leave()
        # The last one first: those that run are stopped when none is left that would start in their place.
        for future in reversed([*taken, *self._begun]):
            future.stop("the iterator of map was closed, or cancelled, or a call of it has failed")
        self._stopped.extend(self._begun)
        self._begun.clear()
        if self._painter is not None:
            self._painter.end()
