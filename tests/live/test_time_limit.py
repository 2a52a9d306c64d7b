"""`time_limit`: a deadline for a block, in a task and outside one, in any thread."""

import asyncio
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable
from jobs import BOUND_S, LONG_S, running
from stoppable import Rung, StopKind, StopRequested, StopToken, TaskStopped, current_token, time_limit
from stoppable.worker import intask
from watching import await_file, say

SHORT_S = 0.05


def test_a_block_that_looks_is_left_by_a_timeout_error_when_its_time_is_up() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"0\.05 s") as caught:
        with time_limit(SHORT_S) as scope:
            stoppable.sleep(LONG_S)
    assert scope.expired
    assert SHORT_S <= time.monotonic() - started < BOUND_S
    assert isinstance(caught.value.__cause__, StopRequested)
    with pytest.raises(TimeoutError):
        with time_limit(0):
            stoppable.check()


def test_a_block_in_time_raises_nothing_and_leaves_no_trace() -> None:
    with time_limit(LONG_S) as scope:
        stoppable.check()
        stoppable.sleep(0)
        assert current_token() == scope.token
        assert 0 < (current_token().remaining() or 0) <= LONG_S
    assert not scope.expired
    assert current_token() != scope.token
    assert intask._asked is intask._also is bool


def test_a_block_that_never_looks_is_not_interrupted_and_raises_nothing() -> None:
    with time_limit(SHORT_S) as scope:
        assert not scope.expired
        time.sleep(2 * SHORT_S)
    assert scope.expired
    stoppable.check()


def test_a_limit_that_passes_after_the_block_was_left_does_not_count() -> None:
    with time_limit(SHORT_S) as scope:
        pass
    time.sleep(2 * SHORT_S)
    assert not scope.expired


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_no_limit_is_none(seconds: Any) -> None:
    with time_limit(seconds) as scope:
        assert scope.token.deadline is None
        stoppable.check()
    assert not scope.expired


@pytest.mark.parametrize("seconds", [-1, math.nan, -math.inf])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="time_limit"):
        time_limit(seconds)


def test_a_limit_is_entered_once_and_known_then() -> None:
    limit = time_limit(1)
    for look in (lambda: limit.token, lambda: limit.expired):
        with pytest.raises(RuntimeError, match="not entered"):
            look()
    with limit:
        pass
    with pytest.raises(RuntimeError, match="once"):
        limit.__enter__()


def test_the_inner_limit_is_the_inner_blocks_only() -> None:
    with time_limit(LONG_S) as outer:
        with pytest.raises(TimeoutError):
            with time_limit(SHORT_S) as inner:
                stoppable.sleep(LONG_S)
        stoppable.check()
        assert current_token() == outer.token
    assert (inner.expired, outer.expired) == (True, False)


def test_the_outer_limit_passes_through_the_inner_block() -> None:
    seen = []
    with pytest.raises(TimeoutError):
        with time_limit(SHORT_S) as outer:
            try:
                with time_limit(LONG_S) as inner:
                    stoppable.sleep(LONG_S)
            except StopRequested as stop:
                seen.append(stop)
                raise
    assert len(seen) == 1
    assert (inner.expired, outer.expired) == (False, True)


def test_an_exception_of_the_block_is_not_replaced() -> None:
    for error in (KeyError("mine"), StopRequested()):
        with pytest.raises(type(error)) as caught:
            with time_limit(0):
                raise error
        assert caught.value is error


def test_each_thread_has_its_own_scopes() -> None:
    found: list[Any] = []

    def look() -> None:
        try:
            stoppable.check()
            with time_limit(SHORT_S):
                stoppable.sleep(LONG_S)
        except BaseException as error:
            found.append(error)

    with pytest.raises(TimeoutError):
        with time_limit(0):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            stoppable.check()
    assert [type(error) for error in found] == [TimeoutError]


def test_each_asyncio_task_has_its_own_scopes() -> None:
    async def look(seconds: float) -> bool:
        with time_limit(seconds) as scope:
            await asyncio.sleep(2 * SHORT_S)
            return scope.token.is_set() and scope.token == current_token()

    async def main() -> list[bool]:
        return await asyncio.gather(look(SHORT_S), look(LONG_S))

    assert asyncio.run(main()) == [True, False]


def test_a_shield_holds_a_limit_back_in_a_task() -> None:
    with running() as pool:
        assert pool.submit(shielded).result(BOUND_S) == "silent inside, raised after"


def shielded() -> str:
    try:
        with time_limit(0):
            with stoppable.shield():
                stoppable.check()
            inside = "silent inside"
            stoppable.check()
    except TimeoutError:
        return f"{inside}, raised after"
    return "nothing raised"


def test_a_limit_in_a_task_ends_the_block_and_not_the_task() -> None:
    with running() as pool:
        future = pool.submit(give_up)
        assert future.result(BOUND_S) == ["timed out", "went on", None, True]
        assert not future.stop_requested
        assert pool.submit(jobs.state_of_current).result(BOUND_S)["remaining"] is None


def give_up() -> list[Any]:
    said: list[Any] = []
    before = current_token()
    try:
        with time_limit(SHORT_S):
            stoppable.sleep(LONG_S)
    except TimeoutError:
        said.append("timed out")
    stoppable.check()
    return [*said, "went on", current_token().reason, current_token() == before]


def test_a_stop_from_outside_passes_a_limit_unchanged_also_when_both_have_come(tmp_path: Path) -> None:
    with running() as pool:
        for seconds in (LONG_S, 0.01):
            begun, stopping = str(tmp_path / f"begun{seconds}"), str(tmp_path / f"stopping{seconds}")
            future = pool.submit(stopped_in_limit, begun, stopping, seconds)
            await_file(begun)
            future.stop("from outside")
            with pytest.raises(TaskStopped, match="from outside") as stop:
                future.result(BOUND_S)
            assert stop.value.rung is Rung.ASK


def stopped_in_limit(begun: str, stopping: str, seconds: float) -> None:
    with time_limit(seconds) as scope:
        while seconds < 1 and not scope.expired:
            time.sleep(0.01)
        token = intask.task_token()
        say(begun)
        token.wait(60)
        stoppable.check()


def test_a_limit_left_behind_in_a_task_does_not_reach_the_next() -> None:
    with running() as pool:
        first = pool.submit(leave_behind)
        assert first.result(BOUND_S) == pool.submit(jobs.pid).result(BOUND_S)
        assert pool.submit(jobs.state_of_current).result(BOUND_S)["remaining"] is None
        assert pool.submit(check_and_return, 5).result(BOUND_S) == 5


_kept: list[Any] = []


def leave_behind() -> int:
    limit = time_limit(0)
    limit.__enter__()
    _kept.append(limit)
    return jobs.pid()


def check_and_return(value: int) -> int:
    stoppable.check()
    return value


def test_a_pool_in_a_task_is_stopped_by_the_task_and_not_by_a_limit_around_it() -> None:
    """Behaviour 101. The pool may be used beyond the block in which it was made."""
    with running() as pool:
        assert pool.submit(pool_in_limit).result(BOUND_S) == "works"


def pool_in_limit() -> str:
    inner = stoppable.ProcessPoolExecutor(1)
    with time_limit(SHORT_S):
        inner.submit(jobs.value, 1).result(BOUND_S)
    future = inner.submit(stoppable.sleep, 3 * SHORT_S)
    future.result(BOUND_S)
    inner.shutdown()
    return "works"


def test_a_stop_of_the_token_of_a_limit_is_no_timeout() -> None:
    with pytest.raises(StopRequested, match="by hand") as caught:
        with time_limit(LONG_S) as scope:
            scope.token.stop("by hand")
            stoppable.sleep(LONG_S)
    assert not scope.expired
    assert caught.value.reason is not None
    assert caught.value.reason.kind is StopKind.STOP


def test_a_token_of_a_limit_may_be_a_parent() -> None:
    with time_limit(SHORT_S) as scope:
        child = scope.token.child()
        assert StopToken.any_of(child).wait(BOUND_S)
    assert child.reason == scope.token.reason
