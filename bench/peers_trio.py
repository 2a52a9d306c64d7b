"""The measured pools that live in an event loop; Trio's, for all of them."""

from collections.abc import Iterator
from typing import Any

from peer import Body, Cannot, Fn, Peer


class _Call:
    """A call that runs in a nursery: what ends it, and how it ended."""

    def __init__(self) -> None:
        import trio

        self.scope, self.over = trio.CancelScope(), trio.Event()
        self.result: Any = None
        self.error: Exception | None = None


class _Async(Peer):
    """A pool for Trio: a handle is a child of the nursery that a case runs in."""

    no_queue = "it has no queue: a call that waits is a task of the event loop"

    def run(self, body: Body) -> Any:
        import trio

        async def main() -> Any:
            self.limiter = self._limiter()
            async with trio.open_nursery() as self.nursery:
                try:
                    return await body()
                except Exception as error:  # out of the nursery it would come in a group
                    return error
                finally:
                    self.nursery.cancel_scope.cancel()

        result = trio.run(main)
        if isinstance(result, Exception):
            raise result
        return result

    def _limiter(self) -> Any:
        raise NotImplementedError

    async def readable(self, fd: int) -> None:
        import trio

        await trio.lowlevel.wait_readable(fd)

    async def sleep(self, seconds: float) -> None:
        import trio

        await trio.sleep(seconds)

    def submit(self, fn: Fn, *args: Any) -> _Call:
        handle = _Call()
        self.nursery.start_soon(self._follow, handle, fn, args)
        return handle

    async def _follow(self, handle: _Call, fn: Fn, args: tuple[Any, ...]) -> None:
        try:
            with handle.scope:
                handle.result = await self.call(fn, *args)
        except Exception as error:
            handle.error = error
        finally:
            handle.over.set()

    async def ended(self, handle: _Call) -> Any:
        await handle.over.wait()
        if handle.error is not None:
            raise handle.error
        return handle.result

    async def all_of(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        import trio

        results: list[Any] = [None] * len(calls)

        async def one(number: int, call: tuple[Any, ...]) -> None:
            results[number] = await self.call(*call)

        async with trio.open_nursery() as nursery:
            for number, call in enumerate(calls):
                nursery.start_soon(one, number, call)
        return results

    def get(self, handle: Any) -> Any:
        raise Cannot("no way to wait for a call outside an event loop")

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        raise Cannot("no map")

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        raise Cannot("no map")

    def stop(self, handle: _Call) -> None:
        handle.scope.cancel()

    def close(self) -> None: ...


class TrioParallel(_Async):
    package = "trio-parallel"
    imports = "import trio_parallel"

    def _limiter(self) -> Any:
        import trio

        return trio.CapacityLimiter(self.workers)

    async def call(self, fn: Fn, *args: Any) -> Any:
        import trio_parallel

        return await trio_parallel.run_sync(fn, *args, kill_on_cancel=True, limiter=self.limiter)


class AnyioProcess(_Async):
    package = "anyio"
    imports = "import anyio.to_process"

    @classmethod
    def load(cls) -> None:
        super().load()
        import anyio._backends._trio  # noqa: F401 (loaded at the first call otherwise)

    def _limiter(self) -> Any:
        import anyio

        return anyio.CapacityLimiter(self.workers)

    async def call(self, fn: Fn, *args: Any) -> Any:
        import anyio.to_process

        return await anyio.to_process.run_sync(fn, *args, cancellable=True, limiter=self.limiter)
