"""Streaming tasks on asyncio and Trio: the loop goes on, and a wait that is cancelled ends when the work has."""

import asyncio
import contextlib
import gc
import os
from pathlib import Path

import anyio
import pytest

import streams
from aio_pools import Run, running, there
from jobs import PATIENT
from stoppable import ProcessPoolExecutor, TaskStopped, WorkerDied, aio
from streams import noted
from watching import await_file, until


@pytest.mark.parametrize("buffersize", [1, 16])
def test_items_come_in_order_and_the_loop_goes_on(run: Run, buffersize: int) -> None:
    """Behaviour 124."""

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0)
                ticks += 1

        async with running() as pool, anyio.create_task_group() as group:
            group.start_soon(tick)
            stream = pool.options(buffersize=buffersize).stream(streams.count, 200)
            assert [item async for item in stream] == list(range(200))
            assert await aio.result(stream.future) == "200 counted"
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            assert ticks
            group.cancel_scope.cancel()

    run(main)


def test_the_generator_is_never_further_ahead_than_the_buffer(run: Run, tmp_path: Path) -> None:
    """Behaviour 114."""
    path = tmp_path / "noted"

    async def main() -> None:
        async with running() as pool, pool.options(buffersize=3).stream(streams.note_and_count, str(path)) as stream:
            for taken in range(20):
                assert await anext(stream) == taken
                assert noted(path) <= taken + 1 + 3

    run(main)


def test_what_was_yielded_before_the_end_comes_before_it(run: Run, tmp_path: Path) -> None:
    """Behaviour 115."""

    async def main() -> None:
        begun = tmp_path / "begun"
        ends: list[tuple[str, type[BaseException]]] = [("raise", ValueError), ("die", WorkerDied), ("nap", TaskStopped)]
        async with running() as pool:
            for end, kind in ends:
                stream = pool.stream(streams.count_then, end, 8, str(begun))
                if end == "nap":
                    begun.unlink()
                    await there(begun)
                    stream.future.kill("by somebody else")
                got: list[int] = []
                with pytest.raises(kind):
                    async for item in stream:
                        got.append(item)  # noqa: PERF401  # what came before the error is to be kept
                assert got == list(range(8))

    run(main)


def test_a_cancelled_wait_for_an_item_ends_when_the_task_has(run: Run, tmp_path: Path) -> None:
    """Behaviours 48, 124."""
    begun, stopping, release = (tmp_path / name for name in ("begun", "stopping", "release"))
    ended: list[str] = []

    async def main() -> None:
        async with running() as pool, anyio.create_task_group() as group:
            stream = pool.stream(streams.linger, str(begun), str(stopping), str(release))

            async def wait() -> None:
                try:
                    async for _ in stream:
                        raise AssertionError("an item came")
                finally:
                    ended.append("ended")

            group.start_soon(wait)
            await there(begun)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await there(stopping)
                assert not ended
                release.touch()
        assert ended
        assert stream.future.stopped()

    run(main)


def test_a_cancelled_wait_raises_what_went_wrong_in_the_cleanup(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        begun = tmp_path / "begun"
        async with running() as pool:
            stream = pool.stream(streams.fail_in_cleanup, str(begun))
            with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="cleanup failed"), flatten_subgroups=True):
                async with anyio.create_task_group() as group:
                    group.start_soon(anext, stream)
                    await there(begun)
                    group.cancel_scope.cancel()
            assert stream.future.done()

    run(main)


def test_closing_and_leaving_wait_for_the_tasks_end(run: Run, tmp_path: Path) -> None:
    """Behaviour 118."""

    async def main() -> None:
        async with running() as pool:
            for way in ("aclose", "block", "error"):
                cleaned = tmp_path / way
                stream = pool.stream(streams.tell_cleanup, str(cleaned))
                if way == "aclose":
                    assert await anext(stream) == 0
                    await stream.aclose()
                    await stream.aclose()
                else:
                    with contextlib.suppress(KeyError):
                        async with stream:
                            assert await anext(stream) == 0
                            if way == "error":
                                raise KeyError
                assert cleaned.read_text() == "StopRequested True"
                assert stream.future.stopped()
                assert [item async for item in stream] == []

    run(main)


def test_a_dropped_stream_stops_its_task(run: Run, tmp_path: Path) -> None:
    """Behaviour 118."""
    cleaned = tmp_path / "cleaned"

    async def main() -> None:
        async with running() as pool:
            async for item in pool.stream(streams.tell_cleanup, str(cleaned)):
                if item == 30:
                    break
            assert await there(cleaned) == "StopRequested True"

    run(main)


def test_two_consumers_get_each_item_once(run: Run) -> None:
    """Behaviour 123."""
    got: list[int] = []

    async def main() -> None:
        async with running() as pool:
            stream = pool.options(buffersize=2).stream(streams.count, 300)

            async def consume() -> None:
                async for item in stream:
                    got.append(item)  # noqa: PERF401  # at once, since both do

            async with anyio.create_task_group() as group:
                group.start_soon(consume)
                group.start_soon(consume)

    run(main)
    assert sorted(got) == list(range(300))


def test_a_stop_async_iteration_of_the_task_does_not_pass_for_the_end(run: Run) -> None:
    async def main() -> None:
        async with running() as pool:
            with pytest.raises(RuntimeError, match="raised StopAsyncIteration"):
                await anext(pool.stream(streams.stop_async_iteration))

    run(main)


@pytest.mark.slow
def test_a_loop_that_ends_with_a_stream_under_way_leaves_no_task(tmp_path: Path) -> None:
    """Behaviour 118. asyncio cancels what is left of it; the stream is dropped."""
    cleaned = tmp_path / "cleaned"
    executor = ProcessPoolExecutor(1, policy=PATIENT)

    async def consume(begun: asyncio.Event) -> None:
        async for _ in aio.Pool(executor).stream(streams.tell_cleanup, str(cleaned)):
            begun.set()

    async def main() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(consume(begun))
        await begun.wait()
        assert not task.done()

    asyncio.run(main())
    assert await_file(cleaned) == "StopRequested True"
    executor.shutdown()


@pytest.mark.slow
def test_many_streams_in_a_row_leave_nothing(run: Run) -> None:
    """Behaviour 122."""
    before = len(os.listdir("/proc/self/fd"))

    async def main() -> None:
        async with running(2) as pool:
            for number in range(60):
                stream = pool.options(buffersize=3).stream(streams.count, 20)
                if number % 3 == 0:
                    assert [item async for item in stream] == list(range(20))
                elif number % 3 == 1:
                    assert await anext(stream) == 0
                else:
                    async with stream:
                        assert await anext(stream) == 0
            del stream
            gc.collect()

    run(main)
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, "all descriptors are closed")
