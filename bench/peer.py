"""What the cases ask of a pool. Written so that a case is written once, for pools that block and for pools in a loop.

A case is a coroutine. A pool that blocks never suspends it: its methods are `async` in name only. A pool for Trio
runs it in an event loop, one for the whole case, because anyio's workers end with their loop.
"""

import select
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

Fn = Callable[..., Any]
Body = Callable[[], Coroutine[Any, Any, Any]]


class Cannot(Exception):
    """This pool has no way to do that."""


class Peer:
    """A pool of *workers* processes. `submit` returns a handle, `get` waits for its result."""

    package: str | None = None  # on the package index; None: part of Python or of this project
    imports = ""  # the statement that a program needs before it can make the pool
    no_queue = ""  # why a task that was submitted cannot wait in the pool; empty: it can
    handles = True  # whether there is something to wait for, or to await, for each call
    forks = False  # whether a worker inherits what this process has

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @classmethod
    def load(cls) -> None:
        """Import what the pool needs, so that no measurement of a pool counts that too."""
        exec(cls.imports)

    def run(self, body: Body) -> Any:
        """Run a case to its end and return what it returns."""
        try:
            body().send(None)
        except StopIteration as end:
            return end.value
        raise RuntimeError("a case was suspended in a pool that blocks")

    async def readable(self, fd: int) -> None:
        """Wait until there is something to read, or the end, in *fd*."""
        select.select([fd], [], [])

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def submit(self, fn: Fn, *args: Any) -> Any:
        return self.pool.submit(fn, *args)  # type: ignore[attr-defined]

    def get(self, handle: Any) -> Any:
        return handle.result()

    async def ended(self, handle: Any) -> Any:
        """Wait for the result of a handle."""
        return self.get(handle)

    async def call(self, fn: Fn, *args: Any) -> Any:
        """Run one call and return its result."""
        return self.get(self.submit(fn, *args))

    async def all_of(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        """Make all calls at once and return their results."""
        handles = [self.submit(*call) for call in calls]
        return [self.get(handle) for handle in handles]

    def map(self, fn: Fn, items: list[Any], chunk: int) -> list[Any]:
        return list(self.pool.map(fn, items, chunksize=chunk))  # type: ignore[attr-defined]

    def stream(self, fn: Fn, items: Iterator[Any]) -> Iterator[Any]:
        """Return the results one by one, in the pool's way for an input that is too long to be read at once."""
        return iter(self.pool.map(fn, items))  # type: ignore[attr-defined]

    def stop(self, handle: Any) -> None:
        """End the running task by force; return at once."""
        raise Cannot("no way to end a running task")

    def interrupt(self, handle: Any) -> None:
        """Raise in the running task; return at once."""
        raise Cannot("no way to raise in a running task")

    def close(self) -> None:
        self.pool.shutdown()  # type: ignore[attr-defined]
