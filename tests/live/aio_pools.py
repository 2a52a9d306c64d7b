"""A pool for the tests on asyncio and Trio, and what they all need."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from jobs import PATIENT
from stoppable import ProcessPoolExecutor, aio
from watching import say


@asynccontextmanager
async def running(workers: int = 1, **options: Any) -> AsyncIterator[aio.Pool]:
    """Give a pool; a failed test does not wait for its patient ladders."""
    options.setdefault("policy", PATIENT)
    executor = ProcessPoolExecutor(workers, **options)
    try:
        async with aio.Pool(executor) as pool:
            try:
                yield pool
            except BaseException:
                executor.kill_workers()
                raise
    finally:
        executor.shutdown()


Main = Callable[[], Awaitable[None]]
Run = Callable[[Main], None]


async def there(path: str | Path) -> str:
    """Wait for a file as `await_file` does, and let the loop go on meanwhile."""
    with anyio.fail_after(20):
        while not Path(path).exists():
            await anyio.sleep(0.01)
    return Path(path).read_text()


def files(folder: Path, *names: str) -> list[str]:
    return [str(folder / name) for name in names]


async def cancel_again_and_again(task: "asyncio.Task[None]", begun: str, stopping: str, release: str) -> None:
    """Cancel an asyncio task that waits for `jobs.linger`, four times; it must end only once that was released."""
    await there(begun)
    task.cancel()
    await there(stopping)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    say(release)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
