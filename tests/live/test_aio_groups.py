"""Task groups and races on asyncio and Trio: the block is cancelled with its group, and all has ended when it is left."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

import jobs
import stoppable
from aio_pools import Run, cancel_again_and_again, files, running, there
from jobs import BOUND_S, LONG_S
from stoppable import StopKind, StopToken, TaskStopped, TaskTimeout, aio
from watching import await_file, is_alive, say, until

SOON_S = 0.3


def kind_of(future: stoppable.Future[Any]) -> StopKind:
    """Return why it was stopped; it must have ended by a stop."""
    assert future.stopped()
    reason = future.report.reason
    assert reason is not None
    return reason.kind


# --- a group of tasks -------------------------------------------------------------------------------


def test_a_group_gives_values_in_the_order_of_submission_and_raises_nothing(run: Run) -> None:
    async def main() -> None:
        async with running(2) as pool:
            async with pool.task_group(name="the work") as group:
                for number in range(5):
                    group.submit(jobs.value, number)
                assert await group.run(jobs.value, 5) == 5
                assert [value async for value in group.map(jobs.value, range(3), chunksize=2)] == [0, 1, 2]
                assert await group.options(name="mine").run(jobs.state_of_current) == (
                    await group.options(name="mine").run(jobs.state_of_current)
                )
                assert group.name == "the work"
            assert [future.result(0) for future in group.futures[:6]] == [0, 1, 2, 3, 4, 5]
            assert [outcome.ok for outcome in group.outcomes()] == [True] * 10
            assert not group.token.is_set()

    run(main)


def test_the_loop_goes_on_while_a_group_is_waited_for(run: Run, tmp_path: Path) -> None:
    """Behaviours 79, 147. Its tasks have ended when its block has been left."""
    begun, release = files(tmp_path, "begun", "release")

    async def main() -> None:
        async with running() as pool, anyio.create_task_group() as beside:

            async def let_go() -> None:
                await there(begun)
                say(release)

            beside.start_soon(let_go)
            async with pool.task_group() as group:
                group.submit(lambda: (say(begun), await_file(release)))
            assert group.futures[0].done()
            assert Path(release).exists()

    run(main)


def test_a_failure_stops_the_siblings_and_cancels_the_block(run: Run, tmp_path: Path) -> None:
    """Behaviours 79, 147. All has ended when the failures are raised, together."""
    begun, cleaned, trace = files(tmp_path, "begun", "cleaned", "trace")

    async def main() -> None:
        async with running(2) as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.task_group(name="the work") as group:
                    runs = group.submit(jobs.spin, begun, cleaned)
                    fails = group.submit(jobs.fail_after, begun, "no luck")
                    waits = [group.submit(jobs.add_line, trace) for _ in range(3)][1:]  # one may have begun
                    await anyio.sleep(LONG_S)
            assert Path(cleaned).exists()
            assert caught.value.exceptions == (fails.exception(),)
            assert "the work" in str(caught.value)
            assert {kind_of(future) for future in (runs, *waits)} == {StopKind.GROUP}
            await anyio.lowlevel.checkpoint()  # nothing is cancelled any more

    run(main)


def test_a_block_that_awaits_the_sibling_of_a_failure_is_no_failure_itself(run: Run, tmp_path: Path) -> None:
    """Behaviours 82, 147. The wait for it ends when the sibling has, as every cancelled one."""
    begun, stopping, release = files(tmp_path, "begun", "stopping", "release")

    async def main() -> None:
        async with running(2) as pool, anyio.create_task_group() as beside:

            async def let_go() -> None:
                await there(stopping)
                say(release)

            beside.start_soon(let_go)
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.task_group() as group:
                    group.submit(jobs.fail_after, begun, "why")
                    await group.run(jobs.linger, begun, stopping, release)
            assert [str(error) for error in caught.value.exceptions] == ["why"]
            assert Path(release).exists()

    run(main)


def test_a_failure_that_the_block_awaits_is_in_the_group_once(run: Run) -> None:
    """Behaviours 81, 82."""

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.task_group() as group:
                    await group.run(jobs.fail, "once")
            assert [str(error) for error in caught.value.exceptions] == ["once"]

    run(main)


def test_a_group_that_drains_or_ignores_leaves_its_block_alone(run: Run) -> None:
    """Behaviours 80, 147."""

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(ExceptionGroup):
                async with pool.task_group(on_error="drain") as group:
                    fails = group.submit(jobs.fail, "no")
                    with pytest.raises(ValueError, match="no"):
                        await aio.result(fails)
                    await anyio.sleep(0.01)
                    drained = group.submit(jobs.value, 1)
            assert kind_of(drained) is StopKind.GROUP
            async with pool.task_group(on_error="ignore") as group:
                group.submit(jobs.fail, "no")
                assert await group.run(jobs.value, 1) == 1
            assert [outcome.ok for outcome in group.outcomes()] == [False, True]

    run(main)


def test_a_condition_that_is_met_cancels_the_block_and_raises_nothing(run: Run, tmp_path: Path) -> None:
    """Behaviours 85, 147."""

    async def main() -> None:
        async with running(2) as pool:
            async with pool.task_group(stop_when=lambda future: future.result() == "found") as group:
                runs = group.submit(jobs.polite, str(tmp_path / "begun"))
                group.submit(jobs.value, "found")
                await anyio.sleep(LONG_S)
            assert kind_of(runs) is StopKind.GROUP

    run(main)


def test_a_block_that_raises_stops_its_tasks_and_is_in_the_group(run: Run, tmp_path: Path) -> None:
    """Behaviour 82."""
    begun, error = str(tmp_path / "begun"), KeyError("mine")

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.task_group() as group:
                    group.submit(jobs.polite, begun)
                    await there(begun)
                    raise error
            assert caught.value.exceptions == (error,)
            assert kind_of(group.futures[0]) is StopKind.GROUP

    run(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_block_left_by_an_end_of_the_program_stops_its_tasks_and_raises_it_bare(
    error: type[BaseException], tmp_path: Path
) -> None:
    """Behaviours 82, 87. Not even a failure changes that."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        with jobs.running(2) as executor:
            pool = aio.Pool(executor)
            with pytest.raises(error):
                async with pool.task_group(on_error="ignore") as group:
                    group.submit(jobs.polite, begun)
                    group.submit(jobs.fail, "no")
                    await there(begun)
                    raise error
            assert group.futures[0].stopped()

    anyio.run(main)


# --- stopped, out of time ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["group", "token", "thread"])
def test_a_group_that_is_stopped_cancels_its_block_and_raises_nothing(run: Run, how: str, tmp_path: Path) -> None:
    """Behaviours 83, 86, 147. Whoever stops it, in whatever thread or process."""
    begun, trace = str(tmp_path / "begun"), tmp_path / "trace"

    async def main() -> None:
        async with running(2) as pool:
            async with pool.task_group() as group:
                runs = group.submit(jobs.polite, begun)
                await there(begun)
                if how == "group":
                    assert group.stop("enough") is True
                    assert group.stop("again") is False
                elif how == "thread":
                    thread = threading.Thread(target=group.stop, args=("enough",))
                    thread.start()
                    thread.join()
                else:
                    group.submit(jobs.stop_token, group.token, "enough")
                await anyio.sleep(LONG_S)
            with pytest.raises(TaskStopped, match="enough"):
                runs.result(0)
            with pytest.raises(RuntimeError, match="over"):
                group.submit(jobs.add_line, str(trace))
        assert not trace.exists()

    run(main)


def test_a_block_that_waits_for_a_task_of_a_group_stopped_by_hand_ends_with_the_group(run: Run, tmp_path: Path) -> None:
    """Behaviours 83, 147. It makes no difference whether the stop or its own cancellation reaches it first."""

    async def main() -> None:
        async with running() as pool:
            for number in range(20):
                begun = str(tmp_path / f"begun{number}")
                async with anyio.create_task_group() as beside:
                    async with pool.task_group() as group:
                        token = group.token

                        async def stop(begun: str = begun, token: StopToken = token) -> None:
                            await there(begun)
                            token.stop("enough")

                        beside.start_soon(stop)
                        await group.run(jobs.polite, begun)
                    assert kind_of(group.futures[0]) is StopKind.STOP

    run(main)


def test_a_group_that_runs_out_of_time_raises_the_timeouts_of_its_tasks(run: Run, tmp_path: Path) -> None:
    """Behaviours 83, 90, 147. Its block is cancelled, and that is a timeout, too."""

    async def main() -> None:
        async with running(1) as pool:
            await pool.run(jobs.value, 1)
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.task_group(timeout=SOON_S) as group:
                    runs = group.submit(jobs.polite, str(tmp_path / "begun"))
                    waits = group.submit(jobs.value, 1)
            assert set(caught.value.exceptions) == {runs.exception(), waits.exception()}
            assert {type(error) for error in caught.value.exceptions} == {TaskTimeout}
            with pytest.raises(ExceptionGroup) as alone:
                async with pool.task_group(timeout=0.05):
                    await anyio.sleep(LONG_S)
            assert [type(error) for error in alone.value.exceptions] == [TimeoutError]
            async with pool.task_group(timeout=0.05, on_error="ignore") as group:
                await anyio.sleep(LONG_S)
            assert group.token.is_set()
            async with pool.task_group(timeout=0.01):  # nothing of it is stopped by that
                StopToken(timeout=0.05).wait()

    run(main)


def test_check_in_a_block_is_that_of_the_group(run: Run) -> None:
    """Behaviours 79, 82."""

    async def main() -> None:
        async with running() as pool:
            async with pool.task_group() as group:
                assert stoppable.current_token() == group.token
                group.stop()
                stoppable.check()
                raise AssertionError("check() raises here")
            stoppable.check()

    run(main)


# --- cancelled --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["block", "leaving"])
def test_a_group_that_is_cancelled_ends_when_its_tasks_have(run: Run, where: str, tmp_path: Path) -> None:
    """Behaviours 48, 148."""
    begun, stopping, release = files(tmp_path, "begun", "stopping", "release")
    ended: list[str] = []

    async def main() -> None:
        async with running() as pool, anyio.create_task_group() as beside:

            async def work() -> None:
                try:
                    async with pool.task_group() as group:
                        group.submit(jobs.linger, begun, stopping, release)
                        if where == "block":
                            await anyio.sleep(LONG_S)
                except anyio.get_cancelled_exc_class():
                    ended.append(where)
                    assert kind_of(group.futures[0]) is StopKind.GROUP
                    raise

            beside.start_soon(work)
            await there(begun)
            beside.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await there(stopping)
                await anyio.sleep(0.05)
                assert not ended
                say(release)
        assert ended

    run(main)


def test_a_failure_of_a_cancelled_group_is_raised_with_the_cancellation_as_its_context(
    run: Run, tmp_path: Path
) -> None:
    """Behaviour 148. As the error of the cleanup of a task that is awaited."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            with anyio.CancelScope() as scope:
                with pytest.raises(ExceptionGroup) as caught:
                    async with pool.task_group() as group:
                        group.submit(jobs.fail_in_cleanup, begun)
                        await there(begun)
                        scope.cancel()
                        await anyio.sleep(LONG_S)
                assert [type(error) for error in caught.value.exceptions] == [ValueError]
                with pytest.raises(anyio.get_cancelled_exc_class()):
                    await anyio.lowlevel.checkpoint()

    run(main)


def test_timeouts_of_the_loops_stop_a_group_and_raise_their_own_error(run: Run, tmp_path: Path) -> None:
    """Behaviour 148."""

    async def main() -> None:
        async with running() as pool:
            with pytest.raises(TimeoutError) as caught:
                with anyio.fail_after(0.1):
                    async with pool.task_group() as group:
                        group.submit(jobs.polite, str(tmp_path / "begun"))
            assert type(caught.value) is TimeoutError
            assert group.outcomes()[0].error is not None

    run(main)


def test_a_second_cancellation_of_an_asyncio_task_does_not_cut_the_wait_for_its_group_short(tmp_path: Path) -> None:
    """Behaviours 48, 148."""
    begun, stopping, release = files(tmp_path, "begun", "stopping", "release")

    async def main() -> None:
        async with running() as pool:

            async def work() -> None:
                async with pool.task_group() as group:
                    group.submit(jobs.linger, begun, stopping, release)

            task = asyncio.create_task(work())
            await cancel_again_and_again(task, begun, stopping, release)

    asyncio.run(main())


def test_asyncios_own_cancellation_is_neither_swallowed_nor_made_up(tmp_path: Path) -> None:
    """Behaviours 147, 148. Its count is what it was once the block's own has ended with the block."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with running() as pool:
            async with pool.task_group() as group:
                group.stop()
                await asyncio.sleep(LONG_S)
            assert task.cancelling() == 0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    async with pool.task_group() as group:
                        group.submit(jobs.polite, str(tmp_path / "begun"))
            assert task.cancelling() == 0

    asyncio.run(main())


def test_a_trio_nursery_in_the_block_is_cancelled_with_it_and_its_other_errors_stay(tmp_path: Path) -> None:
    """Behaviours 82, 147, 148."""
    begun = str(tmp_path / "begun")

    async def fail_late() -> None:
        try:
            await trio.sleep(LONG_S)
        finally:
            raise KeyError("late")

    async def main() -> None:
        async with running(2) as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.task_group() as group:
                    group.submit(jobs.fail_after, begun, "the first")
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep, LONG_S)
                        nursery.start_soon(fail_late)
                        await trio.lowlevel.checkpoint()
                        say(begun)
            first, second = caught.value.exceptions
            assert str(first) == "the first"
            assert isinstance(second, ExceptionGroup)
            assert [type(error) for error in second.exceptions] == [KeyError]
            with trio.move_on_after(0.1) as scope:
                async with pool.task_group() as group, trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, LONG_S)
                    nursery.start_soon(trio.sleep, LONG_S)
            assert scope.cancelled_caught

    trio.run(main)


# --- one in another ---------------------------------------------------------------------------------


def test_the_stop_of_a_group_reaches_the_one_inside_it(run: Run, tmp_path: Path) -> None:
    """Behaviours 88, 147. What is after the inner block is not run."""
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:
            async with pool.task_group() as outer:
                async with pool.task_group() as inner:
                    runs = inner.submit(jobs.polite, begun)
                    await there(begun)
                    outer.stop("all of it")
                    await anyio.sleep(LONG_S)
                raise AssertionError("the outer block is stopped")
            with pytest.raises(TaskStopped, match="all of it"):
                runs.result(0)

    run(main)


def test_a_failure_handled_in_an_inner_group_never_reaches_the_outer_one(run: Run) -> None:
    """Behaviour 88."""

    async def main() -> None:
        async with running() as pool:
            async with pool.task_group() as outer:
                with pytest.raises(ExceptionGroup):
                    async with pool.task_group() as inner:
                        inner.submit(jobs.fail, "no")
                        await anyio.sleep(LONG_S)
                assert await outer.run(jobs.value, 1) == 1
            assert not outer.token.is_set()

    run(main)


# --- before, after, beside --------------------------------------------------------------------------


def test_a_group_that_was_left_or_not_entered_takes_nothing(run: Run) -> None:
    """Behaviour 86."""

    async def main() -> None:
        async with running() as pool:
            group = pool.task_group()
            with pytest.raises(RuntimeError, match="not entered"):
                group.submit(jobs.value, 1)
            async with group:
                pass
            with pytest.raises(RuntimeError, match="over"):
                await group.run(jobs.value, 1)
            with pytest.raises(RuntimeError, match="entered before"):
                await group.__aenter__()
            with pytest.raises(ValueError, match="on_error"):
                pool.task_group(on_error="raise")  # type: ignore[arg-type]

    run(main)


def test_a_callback_may_submit_while_the_group_is_waited_for(run: Run) -> None:
    """Behaviour 86. The group ends with the last of them."""

    async def main() -> None:
        async with running() as pool:
            async with pool.task_group() as group:
                first = group.submit(jobs.value, 0)
                first.add_done_callback(lambda _: (StopToken(timeout=0.1).wait(), group.submit(jobs.value, 1)))
            assert [outcome.value for outcome in group.outcomes()] == [0, 1]

    run(main)


def test_a_group_whose_loop_has_dropped_it_stops_its_tasks(tmp_path: Path) -> None:
    """Behaviour 148. Nobody can wait for them then."""
    begun = str(tmp_path / "begun")
    with jobs.running() as executor:
        pool = aio.Pool(executor)
        futures: list[Any] = []
        loop = asyncio.new_event_loop()

        async def work() -> None:
            async with pool.task_group() as group:
                futures.append(group.submit(jobs.polite, begun))
                await asyncio.sleep(LONG_S)

        waiting = work()

        async def begin() -> None:
            # As far as its first wait. In a context of its own: what anyio knows of a scope that was never left
            # keeps the task that entered it, for ever, and its context with it.
            contextvars.copy_context().run(waiting.send, None)

        try:
            loop.run_until_complete(begin())
            await_file(begun)
            waiting.close()
        finally:
            loop.close()
        until(futures[0].done)
        assert kind_of(futures[0]) is StopKind.GROUP


def test_an_async_generator_that_is_closed_inside_its_group_stops_the_tasks(run: Run, tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")

    async def main() -> None:
        async with running() as pool:

            async def work() -> AsyncIterator[Any]:
                async with pool.task_group() as group:
                    future = group.submit(jobs.polite, begun)
                    await there(begun)
                    yield future

            generator: Any = work()
            future = await anext(generator)
            await generator.aclose()
            with pytest.raises(TaskStopped):
                await aio.result(future)
            async with pool.task_group() as group:  # the loop's cancel scopes are as they were
                group.stop()
                await anyio.sleep(LONG_S)

    run(main)


def test_a_group_that_was_left_keeps_nothing_alive(run: Run) -> None:
    async def main() -> None:
        async with running() as pool:
            gc.collect()
            gc.disable()
            try:
                with pytest.raises(ExceptionGroup):
                    async with pool.task_group() as group:
                        group.submit(jobs.fail, "no")
                        await anyio.sleep(LONG_S)
                seen = weakref.ref(group)
                del group
                until(lambda: seen() is None)
            finally:
                gc.enable()

    run(main)


# --- races ------------------------------------------------------------------------------------------


def test_the_first_value_is_returned_and_the_others_have_ended(run: Run, tmp_path: Path) -> None:
    """Behaviours 84, 149."""
    begun, trace = files(tmp_path, "begun", "trace")

    async def main() -> None:
        async with running(2, policy=jobs.QUICK) as pool:
            won = await pool.race(
                [partial(jobs.fail, "too weak"), partial(jobs.ignore_all, begun), partial(after, begun, "won")]
            )
            assert won == "won"
            assert not is_alive(int(await_file(begun)))
            with pytest.raises(ExceptionGroup) as caught:
                await pool.race([partial(jobs.fail, text) for text in "abc"])
            assert [str(error) for error in caught.value.exceptions] == ["a", "b", "c"]
            with pytest.raises(ValueError, match="at least one"):
                await pool.race([])
            with pytest.raises(ExceptionGroup) as late:
                await pool.race([partial(jobs.polite, trace)], timeout=SOON_S)
            assert [type(error) for error in late.value.exceptions] == [TaskTimeout]

    run(main)


def after(path: str, value: Any) -> Any:
    await_file(path, BOUND_S)
    return value


def test_a_race_that_is_cancelled_ends_when_its_runners_have(run: Run, tmp_path: Path) -> None:
    """Behaviours 48, 149."""
    begun, cleaned = files(tmp_path, "begun", "cleaned")

    async def main() -> None:
        async with running() as pool, anyio.create_task_group() as beside:
            beside.start_soon(pool.race, [partial(jobs.spin, begun, cleaned)])
            await there(begun)
            beside.cancel_scope.cancel()
        assert Path(cleaned).exists()

    run(main)
