"""Streaming tasks, whose items are awaited."""

from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from anyio.lowlevel import checkpoint

from stoppable import streaming
from stoppable.aio.loops import all_ended, outlast, told, wait
from stoppable.future import Future

T = TypeVar("T")


class Stream(Generic[T]):
    """What a streaming task yields, in order: an asynchronous iterator, and an `async with` block.

    It is `stoppable.Stream`, whose items are awaited. A cancelled wait for one stops the task, and ends when the
    task has. Leaving its block, and `aclose()`, do the same; one that is merely dropped stops its task, too, but
    nobody waits for the end.
    """

    __slots__ = ("_inner",)

    def __init__(self, stream: streaming.Stream[T]) -> None:
        self._inner = stream

    @property
    def future(self) -> Future[Any]:
        """The task's future. Its result is what the generator returned."""
        return self._inner.future

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        inner = self._inner
        raw, ended = None, False
        try:
            await checkpoint()
            while raw is None and not ended:
                raw, ended = inner._poll()
                if raw is None and not ended:
                    await told(inner._feed.then).wait()
        except GeneratorExit:  # the loop has dropped us: nothing may be awaited any more
            inner.close()
            raise
        except BaseException:
            inner.close()
            await outlast(told(all_ended([inner.future])))
            if not inner.future.stopped():
                inner.future.result()  # raises, if that is how the task ended
            raise
        if raw is None:
            inner._end()
            raise StopAsyncIteration
        return inner._read(raw)

    async def aclose(self) -> None:
        """Stop the task if it has not ended, and wait until it has, also when cancelled; drop what was not taken."""
        self._inner.close()
        await wait(told(all_ended([self._inner.future])), lambda: None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Do as `aclose`. What came of the task is in `future`, and not raised here."""
        if kind is GeneratorExit:
            self._inner.close()
        elif kind is None:
            await self.aclose()
        else:
            self._inner.close()
            await outlast(told(all_ended([self._inner.future])))
        return False
