"""`stoppable.aio` on asyncio and Trio: a wait that is cancelled stops the work, and ends when the work has."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

import aio_jobs
import chores
import jobs
from aio_pools import Run, cancel_again_and_again, files, running, there
from jobs import PATIENT, QUICK
from stoppable import ProcessPoolExecutor, RemoteTraceback, Rung, StopToken, TaskStopped, TaskTimeout, WorkerDied, aio
from stoppable.flags import slab
from watching import await_file, is_alive, say, until

# --- run ----------------------------------------------------------------------------------------------


def test_a_call_gives_its_value_and_its_exception_with_the_workers_traceback(run: Run) -> None:
    async def main() -> None:
        async with running() as pool:
            assert await pool.run(int, "21", base=8) == 17
            with pytest.raises(ValueError, match="no such thing") as caught:
                await pool.run(jobs.fail, "no such thing")
            assert isinstance(caught.value.__cause__, RemoteTraceback)

    run(main)


def test_a_cancelled_await_ends_only_when_the_work_has(run: Run, tmp_path: Path) -> None:
    """Behaviour 48. The loop goes on meanwhile, and the worker is used again: it was asked."""
    begun, stopping, release = files(tmp_path, "begun", "stopping", "release")
    ended: list[str] = []

    async def main() -> None:
        async with running() as pool, anyio.create_task_group() as group:

            async def wait() -> None:
                try:
                    await pool.run(jobs.linger, begun, stopping, release)
                except anyio.get_cancelled_exc_class():
                    ended.append(stopping)
                    raise

            group.start_soon(wait)
            worker = int(await there(begun))
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await there(stopping)
                await anyio.sleep(0.05)
                assert not ended
                say(release)
        assert ended
        assert not is_alive(worker)

    run(main)


@pytest.mark.parametrize("task", [jobs.nap, jobs.polite])
def test_a_worker_that_was_asked_is_kept_and_one_that_was_interrupted_is_not(
    run: Run, task: Callable[[str], None], tmp_path: Path
) -> None:
    """Behaviour 63."""

    async def main() -> None:
        async with running() as pool:
            begun = str(tmp_path / "begun")
            with anyio.move_on_after(1000) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(pool.run, task, begun)
                    worker = int(await there(begun))
                    scope.cancel()
            assert scope.cancelled_caught
            after = await pool.run(jobs.pid)
            assert (after == worker) is (task is jobs.polite)

    run(main)


def test_a_call_that_hangs_in_c_does_not_outlast_its_cancelled_await(run: Run, tmp_path: Path) -> None:
    """Behaviour 57. The ladder is the bound of the wait."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running(policy=QUICK) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.run, chores.hold_gil, begun)
                worker = int(await there(begun))
                group.cancel_scope.cancel()
            assert not is_alive(worker)
            assert await pool.run(jobs.value, 1) == 1

    run(main)


def test_timeouts_of_the_loops_stop_the_work_and_raise_their_own_error(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with running() as pool:
            with pytest.raises(TimeoutError) as caught:
                with anyio.fail_after(0.1):
                    await pool.run(jobs.polite, str(tmp_path / "one"))
            assert type(caught.value) is TimeoutError
            with anyio.move_on_after(0.1) as scope:
                await pool.run(jobs.polite, str(tmp_path / "two"))
            assert scope.cancelled_caught
            assert await pool.run(jobs.value, 2) == 2

    run(main)


def test_the_pools_own_timeout_is_a_timeout_error_and_no_cancellation(run: Run, tmp_path: Path) -> None:
    """Behaviours 89, 90, 91. From the start of the task's execution; a deadline includes the queue."""

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(TimeoutError) as caught:
                await pool.options(timeout=0.05).run(jobs.polite, str(tmp_path / "begun"))
            assert isinstance(caught.value, TaskTimeout)
            with pytest.raises(TaskTimeout) as late:
                await pool.options(deadline=0.0).run(jobs.value, 1)
            assert not late.value.started
            await anyio.lowlevel.checkpoint()  # nothing is cancelled

    run(main)


def test_nothing_is_started_in_a_scope_that_is_cancelled_already(run: Run, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    async def main() -> None:
        async with running() as pool:
            await pool.run(jobs.value, 1)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.run(jobs.add_line, str(trace))
            assert scope.cancelled_caught
            assert await pool.run(jobs.value, 1) == 1
        assert not trace.exists()

    run(main)


def test_a_stop_by_somebody_else_is_an_error_and_no_cancellation_of_the_caller(run: Run, tmp_path: Path) -> None:
    """Behaviours 53, 77."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            future = pool.executor.submit(jobs.publish_and_be_polite, begun)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:

                    async def wait() -> None:
                        with pytest.raises(TaskStopped) as caught:
                            await aio.result(future)
                        assert not isinstance(caught.value, anyio.get_cancelled_exc_class())
                        assert caught.value.reason is not None
                        assert caught.value.reason.message == "by somebody else"
                        assert (caught.value.rung, caught.value.partial) == (Rung.ASK, "half")

                    group.start_soon(wait)
                    await there(begun)
                    future.stop("by somebody else")
                await anyio.lowlevel.checkpoint()
            assert not scope.cancelled_caught

    run(main)


def test_a_stop_by_somebody_else_fails_a_task_group_as_any_error_does(run: Run, tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with anyio.create_task_group() as group:
                    group.start_soon(pool.run, jobs.polite, begun)
                    await there(begun)
                    pool.executor.stop("enough")
            assert [type(error) for error in caught.value.exceptions] == [TaskStopped]

    run(main)


def test_a_worker_that_dies_is_an_error_of_its_own_task_only(run: Run) -> None:
    """Behaviour 66."""

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(WorkerDied) as caught:
                await pool.run(jobs.end_worker, 5)
            assert caught.value.exitcode == 5
            assert await pool.run(jobs.value, 1) == 1

    run(main)


def test_the_reason_of_a_cancelled_await_reaches_the_future_and_on_stopped(run: Run, tmp_path: Path) -> None:
    """Behaviour 76. It is called once, also if only the await was cancelled."""
    begun = str(tmp_path / "begun")
    told: list[Any] = []

    async def main() -> None:
        async with running() as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.options(on_stopped=told.append).run, jobs.polite, begun)
                await there(begun)
                group.cancel_scope.cancel()
        until(lambda: told, "it was called: after the loop was told, so maybe later")
        assert len(told) == 1
        assert told[0].report.reason.message == "the await of it was cancelled"

    run(main)


# --- what comes of a task whose await was cancelled -----------------------------------------------------


def test_a_value_that_comes_after_the_cancellation_stays_in_the_future(run: Run, tmp_path: Path) -> None:
    """Behaviours 42, 49. The cancellation is raised all the same."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            future = pool.executor.submit(jobs.give_five, begun)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(aio.result, future)
                    await there(begun)
                    scope.cancel()
            assert scope.cancelled_caught
            assert future.done()
            assert await aio.result(future) == 5

    run(main)


def test_an_error_of_the_cleanup_is_raised_with_the_cancellation_as_its_context(run: Run, tmp_path: Path) -> None:
    """Behaviour 45. An error is never lost, as in any coroutine."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with anyio.create_task_group() as group:
                    group.start_soon(pool.run, jobs.fail_in_cleanup, begun)
                    await there(begun)
                    group.cancel_scope.cancel()
            (error,) = caught.value.exceptions
            assert isinstance(error, ValueError)

    run(main)


def test_a_shield_in_the_task_is_waited_for(run: Run, tmp_path: Path) -> None:
    """Behaviours 70, 72. What is shielded is done to its end, and its value is there."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            future = pool.executor.submit(jobs.shielded, begun, 60)
            async with anyio.create_task_group() as group:
                group.start_soon(aio.result, future)
                await there(begun)
                group.cancel_scope.cancel()
            first, silent, left, stop = future.result(0)
            assert (first, silent, left) == (True, "silent", "left")
            assert "the await of it was cancelled" in stop

    run(main)


# --- task groups of the loops ---------------------------------------------------------------------------


def test_a_failing_sibling_in_a_task_group_stops_the_work_before_the_group_ends(run: Run, tmp_path: Path) -> None:
    """Behaviour 79. With the loop's own groups: nothing of ours is needed for it."""
    begun, cleaned = files(tmp_path, "begun", "cleaned")

    async def main() -> None:
        async with running(2) as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with anyio.create_task_group() as group:
                    group.start_soon(pool.run, jobs.spin, begun, cleaned)
                    await there(begun)
                    group.start_soon(pool.run, jobs.fail, "the sibling")
            assert Path(cleaned).exists()
            assert [str(error) for error in caught.value.exceptions] == ["the sibling"]

    run(main)


def test_a_trio_nursery_stops_the_work_of_a_failing_siblings_task(tmp_path: Path) -> None:
    """Behaviour 79."""
    begun, cleaned = files(tmp_path, "begun", "cleaned")

    async def main() -> None:
        async with running(2) as pool:
            with pytest.raises(ExceptionGroup):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pool.run, jobs.spin, begun, cleaned)
                    await there(begun)
                    nursery.start_soon(pool.run, jobs.fail, "the sibling")
            assert Path(cleaned).exists()
            with trio.move_on_after(0.05) as scope:
                await pool.run(jobs.nap, str(tmp_path / "again"))
            assert scope.cancelled_caught

    trio.run(main)


def test_an_asyncio_task_group_stops_the_work_of_a_failing_siblings_task(tmp_path: Path) -> None:
    """Behaviour 79."""
    begun, cleaned = files(tmp_path, "begun", "cleaned")

    async def main() -> None:
        async with running(2) as pool:
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(pool.run(jobs.spin, begun, cleaned))
                    await there(begun)
                    group.create_task(pool.run(jobs.fail, "the sibling"))
            assert Path(cleaned).exists()

    asyncio.run(main())


def test_asyncio_timeouts_stop_the_work_and_leave_the_caller_uncancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with running() as pool:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.1):
                    await pool.run(jobs.polite, str(tmp_path / "one"))
            assert type(caught.value) is TimeoutError
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.run(jobs.nap, str(tmp_path / "two")), 0.1)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    asyncio.run(main())


def test_a_second_cancellation_of_an_asyncio_task_does_not_cut_its_wait_short(tmp_path: Path) -> None:
    """Behaviour 48. anyio's shields do not hold back `Task.cancel()`; ours must."""
    begun, stopping, release = files(tmp_path, "begun", "stopping", "release")

    async def main() -> None:
        async with running() as pool:
            task = asyncio.create_task(pool.run(jobs.linger, begun, stopping, release))
            await cancel_again_and_again(task, begun, stopping, release)
            assert task.cancelling() == 4

    asyncio.run(main())


def test_a_coroutine_that_its_loop_has_dropped_stops_its_task(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with jobs.running() as executor:
        told: list[Any] = []
        pool = aio.Pool(executor).options(on_stopped=told.append)
        loop = asyncio.new_event_loop()
        waiting = pool.run(jobs.polite, begun)

        async def begin() -> None:
            await anyio.lowlevel.checkpoint()
            waiting.send(None)  # as far as its first wait

        loop.run_until_complete(begin())
        await_file(begun)
        waiting.close()
        loop.close()
        until(lambda: told, "the task was stopped")


def test_one_executor_serves_loops_in_several_threads() -> None:
    async def main(backend: str) -> None:
        assert [await pool.run(jobs.value, (backend, number)) for number in range(20)] == [
            (backend, number) for number in range(20)
        ]
        seen.append(backend)

    seen: list[str] = []
    with jobs.running(2) as executor:
        pool = aio.Pool(executor)
        threads = [
            threading.Thread(target=anyio.run, args=(main, backend), kwargs={"backend": backend})
            for backend in ("asyncio", "trio", "asyncio", "trio")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seen) == ["asyncio", "asyncio", "trio", "trio"]


# --- map ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("buffersize", [None, 1, 4])
def test_the_results_of_map_come_in_order(run: Run, chunksize: int, buffersize: int | None) -> None:
    async def main() -> None:
        async with running(2) as pool:
            results = pool.map(pow, range(20), [2] * 30, chunksize=chunksize, buffersize=buffersize)
            assert [value async for value in results] == [number**2 for number in range(20)]
            assert [value async for value in results] == []
            assert [value async for value in pool.map(abs, [])] == []

    run(main)


def test_map_pulls_an_endless_generator_only_as_far_as_its_buffer(run: Run) -> None:
    """Behaviour 112."""
    pulled = 0

    def numbers() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    async def main() -> None:
        async with running(2) as pool:
            results = pool.map(jobs.value, numbers(), buffersize=10)
            assert pulled == 0
            for number in range(1, 26):
                assert await anext(results) == number
                assert pulled <= number + 10
            await results.aclose()
            before = pulled
            results = pool.map(jobs.value, numbers())
            assert await anext(results) == before + 1
            assert pulled <= before + 1 + 4 * 2
            await results.aclose()

    run(main)


def test_a_map_that_is_closed_early_has_stopped_what_is_left_when_it_is_closed(run: Run, tmp_path: Path) -> None:
    """Behaviour 93."""
    paths = files(tmp_path, *map(str, range(8)))

    async def main() -> None:
        async with running() as pool:
            results = pool.map(aio_jobs.value_or_polite, paths, buffersize=5)
            assert await anext(results) == 0
            await there(paths[1])
            await results.aclose()
            await results.aclose()
            assert await pool.run(jobs.value, 1) == 1
            assert [value async for value in results] == []
        assert not any(Path(path).exists() for path in paths[2:])

    run(main)


def test_a_map_that_is_left_by_a_break_stops_what_is_left(run: Run, tmp_path: Path) -> None:
    """Behaviour 93. Though nobody closed it."""
    paths = files(tmp_path, *map(str, range(8)))

    async def main() -> None:
        async with running() as pool:
            async for value in pool.map(aio_jobs.value_or_polite, paths):
                assert value == 0
                await there(paths[1])
                break
            gc.collect()
            assert await pool.run(jobs.value, 1) == 1

    run(main)


def test_a_cancelled_map_ends_when_all_its_tasks_have(run: Run, tmp_path: Path) -> None:
    """Behaviour 93."""
    paths = files(tmp_path, *(f"polite-{number}" for number in range(6)))

    async def main() -> None:
        async with running(2) as pool:
            results = pool.map(aio_jobs.value_or_polite, paths)
            async with anyio.create_task_group() as group:
                group.start_soon(anext, results)
                await there(paths[0])
                await there(paths[1])
                group.cancel_scope.cancel()
            assert [value async for value in results] == []
            assert await pool.run(jobs.value, 1) == 1
        assert not any(Path(path).exists() for path in paths[2:])

    run(main)


def test_a_call_of_map_that_fails_stops_the_others_before_its_error_is_raised(run: Run, tmp_path: Path) -> None:
    """Behaviour 93."""
    paths = files(tmp_path, "fails", "other", "third", "fourth")

    async def main() -> None:
        async with running(2) as pool:
            results = pool.map(aio_jobs.fail_when_another_runs, paths, [paths[1]] * 4)
            with pytest.raises(ValueError, match="it fails"):
                await anext(results)
            assert [future.cancelled() for future in results._stopped] == [True] * 3

    run(main)


def test_a_call_that_raises_what_ends_an_async_for_does_not_pass_for_the_end(run: Run) -> None:
    async def main() -> None:
        async with running() as pool:
            with pytest.raises(RuntimeError, match="StopAsyncIteration"):
                async for _ in pool.map(aio_jobs.end_iteration, [1, 2]):
                    pass

    run(main)


def test_arguments_of_map_are_checked_at_once_and_its_input_may_fail(run: Run, tmp_path: Path) -> None:
    def broken() -> Any:
        yield str(tmp_path / "polite")
        raise LookupError("no more input")

    async def main() -> None:
        async with running() as pool:
            for wrong in ({"chunksize": 0}, {"buffersize": 0}):
                with pytest.raises(ValueError, match="must be >= 1"):
                    pool.map(abs, [1], **wrong)
            with pytest.raises(TypeError, match="integer"):
                pool.map(abs, [1], buffersize=1.5)  # type: ignore[arg-type]
            for chunksize in (1, 2):
                with pytest.raises(TypeError, match="iter"):
                    pool.map(abs, 1, chunksize=chunksize)  # type: ignore[arg-type]
            with pytest.raises(LookupError, match="no more input"):
                await anext(pool.map(aio_jobs.value_or_polite, broken()))
            assert await pool.run(jobs.value, 1) == 1

    run(main)


# --- the pool's end ---------------------------------------------------------------------------------------


def test_leaving_the_pool_waits_for_its_tasks_while_the_loop_goes_on(run: Run, tmp_path: Path) -> None:
    """Behaviour 48."""
    begun, release = files(tmp_path, "begun", "release")
    futures = []

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def let_go() -> None:
                await there(begun)
                await anyio.sleep(0.05)
                say(release, "free")  # the loop runs, though the pool is being left

            group.start_soon(let_go)
            async with running() as pool:
                futures.append(pool.executor.submit(aio_jobs.wait_for, begun, release))
                await there(begun)
        assert futures[0].result(0) == "free"
        assert pool.executor.workers() == []
        with pytest.raises(RuntimeError, match="shutdown"):
            await pool.run(jobs.value, 1)

    run(main)


def test_leaving_the_pool_by_an_exception_stops_its_tasks_first(run: Run, tmp_path: Path) -> None:
    """Behaviour 96."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        with pytest.raises(LookupError, match="the body"):
            async with aio.Pool(ProcessPoolExecutor(1, policy=PATIENT)) as pool:
                future = pool.executor.submit(jobs.polite, begun)
                await there(begun)
                raise LookupError("the body")
        assert future.cancelled()
        assert future.report.reason is not None
        assert future.report.reason.message == "left by LookupError"

    run(main)


def test_an_error_of_the_body_is_not_lost_when_the_wait_for_the_pool_is_cancelled(run: Run, tmp_path: Path) -> None:
    """Behaviour 96."""

    async def main() -> None:
        with anyio.CancelScope() as scope, pytest.raises(LookupError, match="the body"):
            async with aio.Pool(ProcessPoolExecutor(1, policy=PATIENT)) as pool:
                future = pool.executor.submit(jobs.polite, str(tmp_path / "begun"))
                scope.cancel()
                raise LookupError("the body")
        assert future.cancelled()

    run(main)


def test_a_cancelled_wait_for_the_pool_stops_its_tasks_and_outlasts_them(run: Run, tmp_path: Path) -> None:
    """Behaviours 48, 96."""
    begun, stopping, release = files(tmp_path, "begun", "stopping", "release")

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def cancel() -> None:
                    with anyio.CancelScope(shield=True):
                        await there(begun)
                        scope.cancel()
                        await there(stopping)
                        say(release)

                group.start_soon(cancel)
                async with running() as pool:
                    future = pool.executor.submit(jobs.linger, begun, stopping, release)
        assert scope.cancelled_caught
        assert future.cancelled()
        assert pool.executor.workers() == []

    run(main)


def test_a_pool_that_was_never_used_or_is_shut_down_is_left_at_once(run: Run) -> None:
    async def main() -> None:
        async with aio.Pool(ProcessPoolExecutor(1)):
            pass
        async with aio.Pool(ProcessPoolExecutor(1)) as pool:
            await pool.run(jobs.value, 1)
            pool.executor.shutdown()

    run(main)


def test_an_executor_that_is_only_borrowed_stays_open(run: Run) -> None:
    async def main() -> None:
        assert await aio.Pool(executor).run(jobs.value, 3) == 3

    with jobs.running() as executor:
        run(main)
        run(main)


# --- nothing is left, nothing is loaded ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_thousand_cancelled_awaits_leave_nothing(run: Run, tmp_path: Path) -> None:
    """Behaviours 20, 39, 41. No process, thread, descriptor or record of the flag. Most waited; 200 ran and were asked."""

    async def main() -> None:
        async with running() as pool:

            async def cancel_running() -> None:
                token = StopToken()
                future = pool.executor.options(token=token).submit(aio_jobs.say_and_sleep, token)
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:
                        group.start_soon(aio.result, future)
                        while future.progress is None:
                            await anyio.sleep(0.001)
                        scope.cancel()
                assert future.cancelled()

            async def cancel_waiting() -> None:
                with anyio.move_on_after(0.0005) as scope:
                    await pool.run(jobs.add_line, str(tmp_path / "trace"))
                assert scope.cancelled_caught

            async def round_of(count: int) -> None:
                for _ in range(count // 5):
                    await cancel_running()
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:
                        begun = str(tmp_path / f"begun-{count}")
                        group.start_soon(pool.run, jobs.polite, begun)  # so the one worker is busy
                        await there(begun)
                        for _ in range(count * 4 // 5):
                            await cancel_waiting()
                        scope.cancel()

            await round_of(10)
            before = counts(pool)
            await round_of(1000)
            until(lambda: counts(pool) == before, "what was there before is there again, and nothing more")
        assert not (tmp_path / "trace").exists()

    run(main)


def counts(pool: aio.Pool) -> dict[str, int]:
    gc.collect()
    slab.trim()
    reactor = pool.executor._reactor
    assert reactor is not None
    return {
        "workers": len(pool.executor.workers()),
        "tasks": len(reactor.hands.tasks),
        "records": sum(len(chunk.live) for chunk in slab.mapped()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    }


def test_without_anyio_the_import_says_what_to_install() -> None:
    program = "import sys; sys.modules['anyio'] = None\nimport stoppable, stoppable.executor\nfrom stoppable import aio"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'stoppable[async]'" in done.stderr.splitlines()[-1]
    assert "stoppable.executor" not in done.stderr.splitlines()[-1]


def test_the_pool_loads_no_event_loop() -> None:
    program = """import sys, stoppable
with stoppable.ProcessPoolExecutor(1) as pool: assert pool.submit(abs, -1).result() == 1
print(*sys.modules)"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "stoppable.executor" in loaded
    assert not {"asyncio", "anyio", "trio"} & set(loaded)
