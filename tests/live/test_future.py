"""What a future promises when its task is stopped: endings, facts, and when `done()` becomes true."""

import asyncio
import concurrent.futures
import os
import random
import signal
from concurrent.futures import CancelledError, InvalidStateError
from pathlib import Path

import pytest

import jobs
import quick
from jobs import BOUND_S, running
from stoppable import (
    Future,
    Rung,
    StopKind,
    StopPolicy,
    StopRequested,
    TaskStopped,
    TaskTimeout,
)
from watching import await_file, is_alive, say, until


def rungs(future: Future[object]) -> list[Rung]:
    return [rung for rung, _ in future.report.rungs]


def test_cancelling_a_running_task_is_true_at_once_and_cancelled_only_when_it_has_ended(tmp_path: Path) -> None:
    """Behaviours 37, 48. While it ends it is running, and nothing else."""
    begun, stopping, release = (str(tmp_path / name) for name in ("begun", "stopping", "release"))
    with running() as pool:
        future = pool.submit(jobs.linger, begun, stopping, release)
        await_file(begun)
        assert future.running()
        assert future.cancel() is True
        await_file(stopping)
        assert future.running()
        assert not future.done()
        assert not future.cancelled()
        assert not future.stopped()
        assert future.stop_requested
        assert future.cancel() is True
        say(release)
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK
        assert future.cancelled()
        assert future.done()
        assert future.stopped()
        assert not future.running()
        assert future.cancel() is True  # cancelled already: as the standard one


def test_a_task_that_finishes_before_its_cancellation_keeps_its_result() -> None:
    """Behaviours 37, 40, 49. A stop of what is done is False, sends nothing, and changes nothing."""
    with running() as pool:
        future = pool.submit(jobs.value, 3)
        assert future.result(BOUND_S) == 3
        before = pool.workers()
        assert future.cancel() is False
        assert future.stop() is False
        assert future.kill() is False
        assert future.stop_and_wait(0) is True
        assert pool.submit(jobs.pid).result(BOUND_S) in before
        assert pool.workers() == before
        assert future.result() == 3
        assert not future.stop_requested
        assert not future.stopped()
        assert (future.report.reason, future.report.rung, future.report.rungs) == (None, None, ())


def test_a_waiting_task_that_is_stopped_never_starts(tmp_path: Path) -> None:
    """Behaviour 38. It is cancelled at once, and its error has the reason."""
    begun, trace = str(tmp_path / "begun"), str(tmp_path / "trace")
    with running() as pool:
        blocker = pool.submit(jobs.polite, begun)
        await_file(begun)
        future = pool.submit(jobs.add_line, trace)
        assert future.stop("not needed") is True
        assert future.done()
        assert future.cancelled()
        assert future.stop() is False
        with pytest.raises(CancelledError) as caught:
            future.result()
        error = caught.value
        assert isinstance(error, TaskStopped)
        assert error.reason is not None
        assert (error.reason.kind, error.reason.message) == (StopKind.STOP, "not needed")
        assert (error.started, error.rung, error.confirmed) == (False, None, True)
        assert "add_line" in str(error)
        assert "before it started" in str(error)
        blocker.cancel()
        pool.submit(jobs.value, 1).result(BOUND_S)
    assert not Path(trace).exists()


def test_a_task_that_a_worker_has_but_has_not_begun_is_taken_back(tmp_path: Path) -> None:
    """Behaviour 39. Its body never runs, though its worker had it."""
    trace = str(tmp_path / "trace")
    with running() as pool:
        pool.submit(jobs.value, 1).result(BOUND_S)
        frozen = pool.workers()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            future = pool.submit(jobs.add_line, trace)
            until(future.running, "the task was sent")
            future.stop("too early")
            with pytest.raises(TaskStopped) as caught:
                future.result(BOUND_S)
            assert caught.value.started is False
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        assert pool.submit(jobs.value, 2).result(BOUND_S) == 2
    assert not Path(trace).exists()


def test_a_task_that_lets_the_stop_pass_is_stopped_by_ask_and_its_worker_is_kept(tmp_path: Path) -> None:
    """Behaviour 41. The error has rung and reason."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.polite, begun)
        worker = int(await_file(begun))
        future.stop("enough")
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK
        assert caught.value.reason is not None
        assert caught.value.reason.message == "enough"
        assert caught.value.reason.source.pid == os.getpid()
        assert caught.value.started
        with pytest.raises(TaskStopped):
            future.exception()  # the standard class raises here too
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        assert worker in pool.workers()


def test_a_task_that_catches_the_stop_and_returns_is_done_with_its_value(tmp_path: Path) -> None:
    """Behaviours 42, 43. Nothing further is sent to it."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.give_five, begun)
        worker = int(await_file(begun))
        future.stop()
        assert future.result(BOUND_S) == 5
        assert future.stop_requested
        assert not future.stopped()
        assert not future.cancelled()
        assert rungs(future) == [Rung.ASK]
        pool.submit(jobs.value, 1).result(BOUND_S)
        assert worker in pool.workers()
        assert rungs(future) == [Rung.ASK]


@pytest.mark.slow
def test_an_interrupt_that_races_with_the_return_hits_its_own_task_or_nothing() -> None:
    """Behaviour 44. A thousand times: a value or a stop, bystanders unhurt, no worker dead."""
    chance = random.Random(44)
    policy = StopPolicy(ask=0, interrupt=60)
    with running(3, policy=policy) as pool:
        ends = {"value": 0, "stopped": 0}
        for _ in range(100):
            # Some end before their stop comes, some long after it, whatever the machine.
            steps_of = [chance.randrange(most) for most in (40_000, 2_000_000) for _ in range(5)]
            targets = [pool.submit(quick.count_to, steps) for steps in steps_of]
            bystanders = [pool.submit(quick.count_to, steps) for steps in (1, 3_000, 10_000)]
            for target in targets:
                until(lambda: target.running() or target.done(), "it was sent")
                target.stop(at="interrupt")
            for target in targets:
                concurrent.futures.wait([target], BOUND_S)
                ends["stopped" if target.stopped() else "value"] += 1
                error = None if target.cancelled() else target.exception(0)
                assert error is None
            assert [each.result(BOUND_S) for each in bystanders] == [1, 3_000, 10_000]
    assert sum(ends.values()) == 1000
    assert ends["stopped"]
    assert ends["value"]


def test_an_error_that_somebody_made_of_an_interrupt_has_the_stop_as_its_context(tmp_path: Path) -> None:
    """Behaviour 45. Seen: numpy's import, in C, makes an ImportError of whatever is raised in it."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.make_another_of_an_interrupt, begun)
        await_file(begun)
        future.stop("why not", at="interrupt")
        with pytest.raises(ImportError, match="could not import it") as caught:
            future.result(BOUND_S)
        context = caught.value.__context__
        assert isinstance(context, StopRequested)
        assert context.reason is not None
        assert context.reason.message == "why not"


def test_an_exception_of_the_cleanup_is_the_outcome_with_the_stop_as_its_context(tmp_path: Path) -> None:
    """Behaviour 45."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.fail_in_cleanup, begun)
        await_file(begun)
        future.stop("why not")
        with pytest.raises(ValueError, match="cleanup failed") as caught:
            future.result(BOUND_S)
        context = caught.value.__context__
        assert isinstance(context, StopRequested)
        assert context.reason is not None
        assert context.reason.message == "why not"
        assert future.stop_requested
        assert not future.stopped()


def test_a_stop_raised_by_hand_without_a_stop_is_a_failure() -> None:
    """Behaviour 46."""
    with running() as pool:
        future = pool.submit(jobs.stop_by_hand)
        assert isinstance(future.exception(BOUND_S), StopRequested)
        assert not future.cancelled()
        assert not future.stopped()
        assert not future.stop_requested


@pytest.mark.slow
def test_a_swallowed_stop_is_raised_again_and_then_the_ladder_goes_on(tmp_path: Path) -> None:
    """Behaviour 47."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.swallow, begun)
        await_file(begun)
        future.stop(policy=StopPolicy(ask=0.4, interrupt=60))
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.INTERRUPT
        assert caught.value.partial == 3


def test_a_killed_task_is_done_only_when_its_process_is_gone(tmp_path: Path) -> None:
    """Behaviour 48."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        worker = int(await_file(begun))
        alive_at_end: list[bool] = []
        future.add_done_callback(lambda _: alive_at_end.append(is_alive(worker)))
        assert future.kill()
        with pytest.raises(TaskStopped):
            future.result(BOUND_S)
        until(lambda: alive_at_end, "the callback ran")
        assert alive_at_end == [False]


def test_what_arrives_after_the_outcome_changes_nothing(tmp_path: Path) -> None:
    """Behaviour 49. Neither a stop, nor the death of the worker, nor the end of the pool."""
    begun = str(tmp_path / "begun")
    told: list[object] = []
    with running() as pool:
        valued = pool.submit(jobs.pid)
        worker = valued.result(BOUND_S)
        stopped = pool.submit(jobs.polite, begun)
        stopped.add_done_callback(told.append)
        await_file(begun)
        stopped.stop("first")
        with pytest.raises(TaskStopped) as caught:
            stopped.result(BOUND_S)
        os.kill(worker, signal.SIGKILL)
        for late in (valued, stopped):
            late.stop("late", at="kill")
            late.kill()
            with pytest.raises(InvalidStateError):
                late.set_result(0)
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
    assert valued.result() == worker
    with pytest.raises(TaskStopped) as again:
        stopped.result()
    assert again.value is caught.value
    assert told == [stopped]


def test_a_kill_during_the_ask_kills_and_a_gentle_stop_changes_nothing(tmp_path: Path) -> None:
    """Behaviour 50. The first reason stays, and only the rungs that were climbed are in the report."""
    begun, stopping, release = (str(tmp_path / name) for name in ("begun", "stopping", "release"))
    with running() as pool:
        future = pool.submit(jobs.linger, begun, stopping, release)
        await_file(begun)
        assert future.stop("first")
        await_file(stopping)
        assert future.stop("second")
        assert rungs(future) == [Rung.ASK]
        assert future.kill("third")
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.KILL
        assert caught.value.reason is not None
        assert caught.value.reason.message == "first"
        assert rungs(future) == [Rung.ASK, Rung.KILL]


def test_a_task_that_stops_itself_is_stopped_at_its_next_check(tmp_path: Path) -> None:
    """Behaviour 51."""
    silent = tmp_path / "silent"
    with running() as pool:
        future = pool.submit(jobs.stop_myself, str(silent))
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.reason is not None
        assert caught.value.reason.message == "by myself"
        assert caught.value.reason.source.pid != os.getpid()
        assert caught.value.rung is Rung.ASK
        assert future.stop_requested
        assert future.report.reason == caught.value.reason
    assert not silent.exists()


def test_a_result_that_is_waited_for_too_briefly_stops_nothing(tmp_path: Path) -> None:
    """Behaviour 52."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.polite, begun)
        await_file(begun)
        with pytest.raises(TimeoutError) as caught:
            future.result(timeout=0.1)
        assert type(caught.value) is TimeoutError
        with pytest.raises(TimeoutError):
            future.exception(timeout=0.01)
        assert future.running()
        assert not future.done()
        assert not future.stop_requested
        assert future.stop_and_wait(BOUND_S)


def test_wait_and_as_completed_and_wrap_future_take_stopped_futures_as_ended(tmp_path: Path) -> None:
    """Behaviour 53."""
    begun, late = str(tmp_path / "begun"), str(tmp_path / "late")

    async def awaited(future: Future[None]) -> str:
        try:
            await asyncio.wait_for(asyncio.wrap_future(future), BOUND_S)
        except asyncio.CancelledError:
            return "cancelled"
        except TaskTimeout:
            return "timed out"
        return "value"

    with running(2) as pool:
        stopped = pool.submit(jobs.polite, begun)
        await_file(begun)
        expired = pool.options(timeout=0.05).submit(jobs.polite, late)
        stopped.stop()
        done, rest = concurrent.futures.wait([stopped, expired], BOUND_S)
        assert (done, rest) == ({stopped, expired}, set())
        assert set(concurrent.futures.as_completed([stopped, expired], BOUND_S)) == {stopped, expired}
        first, _ = concurrent.futures.wait([stopped, expired], BOUND_S, concurrent.futures.FIRST_EXCEPTION)
        assert first
        assert asyncio.run(awaited(stopped)) == "cancelled"
        assert asyncio.run(awaited(expired)) == "timed out"


def test_a_stopped_task_runs_only_once(tmp_path: Path) -> None:
    """Behaviour 54. It is not tried again, whichever rung ended it."""
    with running(policy=jobs.QUICK) as pool:
        for rung in Rung:
            begun, trace = str(tmp_path / f"begun-{rung}"), tmp_path / f"trace-{rung}"
            future = pool.submit(add_line_and_nap, begun, str(trace))
            await_file(begun)
            future.stop(at=rung)
            with pytest.raises(TaskStopped):
                future.result(BOUND_S)
            assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
            assert trace.read_text() == "ran\n"


def add_line_and_nap(begun: str, trace: str) -> None:
    jobs.add_line(trace)
    jobs.nap(begun)
