"""A pool for the tests on asyncio and Trio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jobs import PATIENT
from stoppable import ProcessPoolExecutor, aio


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
