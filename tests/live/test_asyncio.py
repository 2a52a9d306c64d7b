"""asyncio with nothing of ours but the executor: what cancels the await stops the work.

asyncio's own future ends at once, so the work ends a little later, within its ladder.
"""

import asyncio
import concurrent.futures
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import chores
import jobs
from jobs import running
from stoppable import Future, ProcessPoolExecutor, TaskStopped, TaskTimeout
from watching import await_file, until


async def there(path: str) -> None:
    await asyncio.to_thread(await_file, path)


async def by_timeout(work: Awaitable[Any], begun: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await work


async def by_wait_for(work: Awaitable[Any], begun: str) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work, 0.3)


async def by_cancelled_task(work: Awaitable[Any], begun: str) -> None:
    async def wait() -> Any:
        return await work

    task = asyncio.create_task(wait())
    await there(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_failing_sibling(work: Awaitable[Any], begun: str) -> None:
    async def wait() -> Any:
        return await work

    async def fail() -> None:
        await there(begun)
        raise LookupError("the sibling")

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())


async def by_gather(work: Awaitable[Any], begun: str) -> None:
    both = asyncio.gather(work, asyncio.sleep(jobs.LONG_S))
    await there(begun)
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


def run_in_executor(pool: ProcessPoolExecutor, *call: Any) -> Awaitable[Any]:
    return asyncio.get_running_loop().run_in_executor(pool, *call)


def wrap_future(pool: ProcessPoolExecutor, *call: Any) -> Awaitable[Any]:
    return asyncio.wrap_future(pool.submit(*call))


@pytest.mark.parametrize("start", [run_in_executor, wrap_future])
@pytest.mark.parametrize("way", [by_timeout, by_wait_for, by_cancelled_task, by_failing_sibling, by_gather])
def test_whatever_cancels_the_await_stops_the_work(
    start: Callable[..., Awaitable[Any]], way: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """Behaviour 53."""
    begun, stopping, release = (str(tmp_path / name) for name in ("begun", "stopping", "release"))

    async def main() -> None:
        with running() as pool:
            work = start(pool, jobs.linger, begun, stopping, release)
            await there(begun)
            await way(work, begun)
            await there(stopping)  # the await is over and the work is being stopped
            Path(release).write_text("now")
            assert await start(pool, jobs.value, 1) == 1

    asyncio.run(main())


def test_work_that_hangs_in_c_ends_within_its_ladder_after_asyncio_has_gone_on(tmp_path: Path) -> None:
    """Behaviour 57."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        with running(policy=jobs.QUICK) as pool:
            future = pool.submit(chores.hold_gil, begun)
            await there(begun)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await asyncio.wrap_future(future)
            await asyncio.to_thread(until, future.cancelled, "it ended")  # asyncio passes the cancel on in its loop
            assert await run_in_executor(pool, jobs.value, 1) == 1

    asyncio.run(main())


def test_endings_reach_asyncio_as_its_own_rules_say(tmp_path: Path) -> None:
    """Behaviours 53, 91. A stop by somebody else is a CancelledError there, though nobody cancelled the caller."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        with running() as pool:
            future = pool.submit(jobs.polite, begun)
            await there(begun)
            future.stop("by somebody else")
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wrap_future(future)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            with pytest.raises(TaskStopped):
                future.result(0)
            with pytest.raises(TimeoutError) as caught:
                await asyncio.wrap_future(pool.options(timeout=0.05).submit(jobs.polite, begun))
            assert isinstance(caught.value, TaskTimeout)
            with pytest.raises(ValueError, match="its own"):
                await run_in_executor(pool, functools.partial(jobs.fail, "its own"))

    asyncio.run(main())


def test_a_thousand_awaits_that_are_cancelled_at_once_leave_the_pool_at_work(tmp_path: Path) -> None:
    """Behaviour 38."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        with running() as pool:
            first = pool.submit(jobs.polite, begun)
            await there(begun)
            futures: list[Future[None]] = []
            for _ in range(1000):
                futures.append(pool.submit(jobs.add_line, str(tmp_path / "trace")))
                waiting = asyncio.wrap_future(futures[-1])
                waiting.cancel()
                await asyncio.sleep(0)
            first.cancel()
            assert await run_in_executor(pool, jobs.value, 1) == 1
            concurrent.futures.wait(futures, jobs.BOUND_S)
            assert all(future.cancelled() for future in futures)
        assert not (tmp_path / "trace").exists()

    asyncio.run(main())
