"""Timeouts and deadlines: what they count, what they raise, and how asyncio's reach the task."""

import asyncio
import concurrent.futures
import gc
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import jobs
from jobs import BOUND_S, running
from stoppable import (
    Future,
    ProcessPoolExecutor,
    Rung,
    StopKind,
    StopPolicy,
    StopToken,
    TaskStopped,
    TaskTimeout,
    current_token,
)
from stoppable.shell import channel
from watching import await_file, is_alive, say, until

SOON_S = 0.5  # the task is at its work by then, if its module was imported before


def warm(**options: Any) -> AbstractContextManager[ProcessPoolExecutor]:
    """Give a pool whose workers have imported the tasks: a task's time includes the import of its function."""
    return running(initializer=jobs.value, initargs=(1,), **options)


def timed_out(future: Future[object]) -> TaskTimeout:
    with pytest.raises(TaskTimeout) as caught:
        future.result(BOUND_S)
    return caught.value


@pytest.mark.slow
def test_the_time_in_the_queue_does_not_count_for_a_timeout(tmp_path: Path) -> None:
    """Behaviour 89. It waited for twice its timeout, and ran."""
    release = str(tmp_path / "release")
    with warm() as pool:
        blocker = pool.submit(jobs.await_file, release)
        future = pool.options(timeout=SOON_S).submit(jobs.value, 1)
        StopToken(timeout=2 * SOON_S).wait()
        assert not future.done()
        say(release)
        assert future.result(BOUND_S) == 1
        blocker.result(BOUND_S)


@pytest.mark.slow
def test_a_deadline_that_passes_in_the_queue_means_that_the_task_never_starts(tmp_path: Path) -> None:
    """Behaviour 90."""
    begun, trace = str(tmp_path / "begun"), tmp_path / "trace"
    with running() as pool:
        blocker = pool.submit(jobs.polite, begun)
        await_file(begun)
        future = pool.options(deadline=time.monotonic() + 0.2).submit(jobs.add_line, str(trace))
        error = timed_out(future)
        assert error.started is False
        assert error.rung is None
        assert error.reason is not None
        assert error.reason.kind is StopKind.DEADLINE
        assert "add_line" in str(error)
        assert "before it started" in str(error)
        blocker.cancel()
        pool.submit(jobs.value, 1).result(BOUND_S)
    assert not trace.exists()


def test_a_deadline_that_has_passed_at_submission_means_that_the_task_never_starts(tmp_path: Path) -> None:
    """Behaviour 90. Also with a worker that waits for work."""
    trace = tmp_path / "trace"
    with running() as pool:
        pool.submit(jobs.value, 1).result(BOUND_S)
        for deadline in (time.monotonic(), 0.0, float("-inf")):
            error = timed_out(pool.options(deadline=deadline).submit(jobs.add_line, str(trace)))
            assert error.started is False
        pool.submit(jobs.value, 1).result(BOUND_S)
    assert not trace.exists()


@pytest.mark.slow
def test_a_timeout_is_a_timeout_error_and_a_cancelled_error_of_kind_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 91. It has rung, stack and the task's name; the future is not cancelled, it failed."""
    monkeypatch.setattr(channel, "_STACK_WAIT_S", 10.0)
    begun = str(tmp_path / "begun")
    with warm() as pool:
        future = pool.options(timeout=SOON_S, name="the nap").submit(jobs.nap, begun)
        for kind in (TimeoutError, concurrent.futures.CancelledError, TaskStopped, concurrent.futures.TimeoutError):
            with pytest.raises(kind):
                future.result(BOUND_S)
        error = timed_out(future)
        assert error.reason is not None
        assert error.reason.kind is StopKind.DEADLINE
        assert error.rung is Rung.INTERRUPT
        assert error.started
        assert error.stack is not None
        assert "nap" in error.stack
        assert error.stack in str(error)
        assert str(error).startswith("the nap(")
        assert "out of time" in str(error)
        assert future.exception() is error
        assert future.stopped()
        assert not future.cancelled()
        assert future.stop() is False


def test_a_task_that_looks_is_asked_when_its_time_is_out(tmp_path: Path) -> None:
    """Behaviour 91. A partial result is in the error."""
    with warm() as pool:
        error = timed_out(pool.options(timeout=SOON_S).submit(jobs.publish_and_be_polite, str(tmp_path / "begun")))
        assert error.rung is Rung.ASK
        assert error.partial == "half"


def test_a_value_that_is_returned_when_time_is_out_is_kept(tmp_path: Path) -> None:
    """A timeout is a stop like any other."""
    with warm(timeout=SOON_S) as pool:
        future = pool.submit(jobs.give_five, str(tmp_path / "begun"))
        assert future.result(BOUND_S) == 5
        assert future.stop_requested
        assert future.report.reason is not None
        assert future.report.reason.kind is StopKind.DEADLINE


def test_the_timeout_of_a_pool_is_for_tasks_without_their_own(tmp_path: Path) -> None:
    """Infinity is one of their own."""
    with warm(timeout=SOON_S) as pool:
        assert timed_out(pool.submit(jobs.polite, str(tmp_path / "one"))).rung is Rung.ASK
        longer = pool.options(timeout=1000).submit(jobs.state_of_current).result(BOUND_S)
        assert 500 < longer["remaining"] <= 1000
        assert pool.options(timeout=float("inf")).submit(jobs.state_of_current).result(BOUND_S)["remaining"] is None
        assert pool.submit(jobs.state_of_current).result(BOUND_S)["remaining"] <= SOON_S


def test_a_timeout_works_for_a_pool_that_is_used_in_another_thread(tmp_path: Path) -> None:
    ends: list[BaseException | None] = []

    def use() -> None:
        with running() as pool:
            ends.append(pool.options(timeout=0.1).submit(jobs.nap, str(tmp_path / "begun")).exception(BOUND_S))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(2 * BOUND_S)
    assert [type(end) for end in ends] == [TaskTimeout]


def test_the_earlier_of_timeout_and_deadline_counts(tmp_path: Path) -> None:
    with running() as pool:
        late = time.monotonic() + 1000
        assert timed_out(pool.options(timeout=0.1, deadline=late).submit(jobs.nap, str(tmp_path / "one"))).started
        soon = time.monotonic() + 0.3
        assert timed_out(pool.options(timeout=1000, deadline=soon).submit(jobs.polite, str(tmp_path / "two")))


@pytest.mark.slow
def test_time_that_runs_out_while_the_call_is_still_being_read_interrupts_it_too(tmp_path: Path) -> None:
    """The interrupt waits for the function to be called, and is not lost."""
    begun, ran = str(tmp_path / "begun"), tmp_path / "ran"
    with running() as pool:
        future = pool.options(timeout=0.1).submit(jobs.spin, begun, SlowToRead(str(ran)))
        error = timed_out(future)
        assert error.rung is Rung.INTERRUPT
        assert not Path(begun).exists()
        assert not ran.exists()


class SlowToRead:
    """Takes as long to unpickle as it takes until its task's stop was asked for, and a little more."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return read_slowly, (self.path,)


def read_slowly(path: str) -> str:
    from stoppable.worker import page as pages
    from stoppable.worker.gate import Gate

    (gate,) = (each for each in gc.get_objects() if isinstance(each, Gate))
    until(lambda: gate.page.u64[pages.INTERRUPT_TASK] == gate.page.u64[pages.CURRENT_TASK], "the interrupt was sent")
    StopToken(timeout=0.1).wait()
    return path


@pytest.mark.slow
def test_the_policy_of_a_task_is_what_its_timeout_climbs(tmp_path: Path) -> None:
    policy = StopPolicy(ask=0, interrupt=0, terminate=0)
    with running() as pool:
        error = timed_out(pool.options(timeout=0.1, policy=policy).submit(jobs.polite, str(tmp_path / "begun")))
        assert error.rung is Rung.KILL


# --- asyncio -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("cancel", ["timeout", "cancel"])
def test_asyncio_stops_a_task_that_runs_in_the_executor(cancel: str, tmp_path: Path) -> None:
    """Behaviour 37. `loop.run_in_executor` unchanged: `asyncio.timeout`, or a cancelled task, really stops it."""
    begun = str(tmp_path / "begun")

    async def main(pool: concurrent.futures.Executor) -> int:
        loop = asyncio.get_running_loop()
        if cancel == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as limit:
                    call = loop.run_in_executor(pool, jobs.nap, begun)
                    worker = int(await asyncio.to_thread(await_file, begun))
                    limit.reschedule(loop.time())
                    await call
            return worker
        call = loop.run_in_executor(pool, jobs.nap, begun)
        worker = int(await asyncio.to_thread(await_file, begun))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return worker

    with running() as pool:
        worker = asyncio.run(main(pool))
        until(lambda: not is_alive(worker), "the interrupted worker was replaced")
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


@pytest.mark.slow
def test_asyncio_gets_values_and_errors_as_from_the_standard_executor() -> None:
    async def main(pool: concurrent.futures.Executor) -> list[object]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            loop.run_in_executor(pool, jobs.value, 1),
            loop.run_in_executor(pool, jobs.fail, "no"),
            asyncio.wrap_future(pool.submit(jobs.value, 2)),
            return_exceptions=True,
        )

    with running() as pool:
        one, error, two = asyncio.run(main(pool))
        assert (one, two) == (1, 2)
        assert isinstance(error, ValueError)


@pytest.mark.slow
def test_a_task_that_sees_first_that_its_time_is_up_says_where_it_was() -> None:
    """Behaviour 91. The parent has not asked for its stack then."""
    with warm() as pool:
        pool.submit(get_ready).result(BOUND_S)
        token = StopToken(timeout=3.0)  # a busy machine's start of the task included
        future = pool.options(token=token).submit(look_until_stopped)
        error = timed_out(future)
        assert error.stack is not None
        assert "look_until_stopped" in error.stack
        assert error.reason == token.reason


def get_ready() -> None:
    """Have the worker import this module."""


def look_until_stopped() -> None:
    token = current_token()
    while True:
        token.check()
