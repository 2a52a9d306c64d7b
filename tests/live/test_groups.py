"""Task groups: who is stopped, what is raised at the end, and that nothing is left then."""

import concurrent.futures
import gc
import itertools
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable
from jobs import BOUND_S, LONG_S, running
from stoppable import (
    Future,
    ProcessPoolExecutor,
    Rung,
    StopKind,
    StopRequested,
    StopToken,
    TaskGroup,
    TaskStopped,
    TaskTimeout,
    WorkerDied,
)
from watching import await_file, say, until

SOON_S = 0.3


def kind_of(future: Future[Any]) -> StopKind:
    """Return why it was stopped; it must have ended by a stop."""
    assert future.stopped()
    reason = future.report.reason
    assert reason is not None
    return reason.kind


def raise_timeout() -> None:
    """Raise what a stop of another task looks like."""
    raise TaskStopped("an inner task was stopped")


class Odd(BaseException):
    pass


# --- the first failure -----------------------------------------------------------------------------


def test_a_group_gives_values_in_the_order_of_submission_and_raises_nothing() -> None:
    with running(2) as pool:
        with pool.task_group() as group:
            for number in range(5):
                group.submit(jobs.value, number)
        assert [future.result(0) for future in group.futures] == [0, 1, 2, 3, 4]
        assert [outcome.value for outcome in group.outcomes()] == [0, 1, 2, 3, 4]
        assert all(outcome.ok and outcome.error is None for outcome in group.outcomes())
        assert not group.token.is_set()


def test_the_first_failure_stops_the_siblings_and_names_itself(tmp_path: Path) -> None:
    """Behaviour 79. Those that run are asked, those that wait never start, and all have ended when it is raised.

    The worker of the failed one may have begun the next task by then, and no more than that one.
    """
    begun, trace = str(tmp_path / "begun"), tmp_path / "trace"
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(name="the work") as group:
                runs = group.submit(jobs.polite, begun)
                fails = group.submit(jobs.fail_after, begun, "no luck")
                group.submit(jobs.add_line, str(trace))
                waits = [group.submit(jobs.add_line, str(trace)) for _ in range(3)]
                # The block does not wait: leaving it does, and then all must have ended.
        assert all(future.done() for future in group.futures)
        assert [str(error) for error in caught.value.exceptions] == ["no luck"]
        assert "the work" in str(caught.value)
        assert caught.value.exceptions[0] is fails.exception()
        for future in (runs, *waits):
            assert kind_of(future) is StopKind.GROUP
            with pytest.raises(TaskStopped) as stop:
                future.result(0)
            assert stop.value.started is (future is runs)
            assert stop.value.reason == group.token.reason
            assert "fail_after('" in str(stop.value.reason)
            assert "ValueError: no luck" in str(stop.value.reason)
        assert [outcome.error for outcome in group.outcomes()][1] is fails.exception()
        assert [outcome.ok for outcome in group.outcomes()[3:]] == [False] * 3
    assert not trace.exists() or trace.read_text() == "ran\n"


def test_the_end_of_a_group_waits_until_a_stopped_task_has_cleaned_up(tmp_path: Path) -> None:
    """Behaviour 79. It is not enough that it was asked."""
    begun, stopping, release = (str(tmp_path / name) for name in ("begun", "stopping", "release"))
    with running(2) as pool:

        def let_go() -> None:
            await_file(stopping)
            assert not lingers.done()
            say(release)

        with pytest.raises(ExceptionGroup):
            with pool.task_group() as group:
                lingers = group.submit(jobs.linger, begun, stopping, release)
                group.submit(jobs.fail_after, begun, "no")
                thread = threading.Thread(target=let_go)
                thread.start()
        assert lingers.done()
        assert Path(release).exists()
        thread.join()


def test_failures_are_raised_together_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    """Behaviour 81. A failure while cleaning up after the stop of another is one of them."""
    begun = str(tmp_path / "begun")
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                group.submit(jobs.fail_in_cleanup, begun)
                group.submit(jobs.fail_after, begun, "the first")
        first, second = caught.value.exceptions
        assert str(first) == "the first"
        assert isinstance(second, ValueError)
        assert isinstance(second.__context__, StopRequested)


def test_a_dead_worker_and_a_call_that_does_not_pickle_are_failures(tmp_path: Path) -> None:
    """Behaviours 79, 81. Nothing of the pool's is an exception to the rule."""
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                group.submit(jobs.end_worker, 3)
        assert [type(error) for error in caught.value.exceptions] == [WorkerDied]
        with pytest.raises(ExceptionGroup) as unpickled:
            with pool.task_group() as group:
                group.submit(jobs.value, threading.Lock())
                refused = group.submit(jobs.value, 1)
                assert refused.done()  # the failure came before it
        assert [type(error) for error in unpickled.value.exceptions] == [TypeError]
        assert kind_of(refused) is StopKind.GROUP


def test_an_exception_of_a_task_that_is_no_exception_is_in_a_base_group() -> None:
    """Behaviour 46. SystemExit in a task is that task's failure and not the end of this program."""
    with running() as pool:
        with pytest.raises(BaseExceptionGroup) as caught:
            with pool.task_group() as group:
                group.submit(exit, 3)
        assert [type(error) for error in caught.value.exceptions] == [SystemExit]
        assert not isinstance(caught.value, ExceptionGroup)


# --- drain, ignore, stop_when ----------------------------------------------------------------------


def test_a_group_that_drains_lets_those_that_run_finish_and_starts_no_other(tmp_path: Path) -> None:
    """Behaviour 80."""
    begun, trace = str(tmp_path / "begun"), tmp_path / "trace"
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(on_error="drain") as group:
                runs = group.submit(jobs.use_token, begun, group.token)
                fails = group.submit(jobs.fail_after, begun, "no")
                group.submit(jobs.add_line, str(trace))  # the worker of the failed one may have begun it
                waits = group.submit(jobs.add_line, str(trace))
                until(waits.done)
                late = group.submit(jobs.add_line, str(trace))
                assert late.done()
                assert not runs.done()
                assert not group.token.is_set()
                assert kind_of(waits) is kind_of(late) is StopKind.GROUP
                group.stop("enough")  # a drain can still be stopped
        assert len(caught.value.exceptions) == 1
        assert fails.exception() is caught.value.exceptions[0]
    assert not trace.exists() or trace.read_text() in ("ran\n", "")  # opened, and then interrupted


def test_a_task_that_runs_while_its_group_drains_keeps_its_value(tmp_path: Path) -> None:
    """Behaviour 80."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(2) as pool:
        with pytest.raises(ExceptionGroup):
            with pool.task_group(on_error="drain") as group:
                runs = group.submit(wait_between, begun, release)
                group.submit(jobs.fail_after, begun, "no").add_done_callback(lambda _: say(release))
        assert runs.result(0) == "done"
        assert not runs.stop_requested


def wait_between(begun: str, release: str) -> str:
    say(begun)
    await_file(release, 60)
    stoppable.check()
    return "done"


def test_a_group_that_ignores_runs_all_and_raises_nothing() -> None:
    """Behaviour 80. What became of each is in its outcomes."""
    with running(2) as pool:
        with pool.task_group(on_error="ignore") as group:
            for number in range(6):
                if number % 2:
                    group.submit(jobs.fail, str(number))
                else:
                    group.submit(jobs.value, number)
        outcomes = group.outcomes()
        assert [outcome.value for outcome in outcomes] == [0, None, 2, None, 4, None]
        assert [str(outcome.error) for outcome in outcomes if not outcome.ok] == ["1", "3", "5"]


def test_a_condition_stops_the_rest_after_two_failures(tmp_path: Path) -> None:
    """Behaviour 85. It is asked in the order in which they end, and not again once it was true."""
    failures = itertools.count(1)
    asked: list[Future[Any]] = []

    def two_failed(future: Future[Any]) -> bool:
        asked.append(future)
        return future.exception() is not None and next(failures) == 2

    with running(1) as pool:
        with pool.task_group(on_error="ignore", stop_when=two_failed) as group:
            for text in "ab":
                group.submit(jobs.value, text)
                group.submit(jobs.fail, text)
            waits = group.submit(jobs.polite, str(tmp_path / "never"))
            more = group.submit(jobs.value, "c")
        outcomes = group.outcomes()
        assert len(outcomes) == 6
        assert [outcome.value for outcome in outcomes] == ["a", None, "b", None, None, None]
        assert [type(outcome.error) for outcome in outcomes[3:]] == [ValueError, TaskStopped, TaskStopped]
        assert kind_of(waits) is kind_of(more) is StopKind.GROUP
        assert asked == list(group.futures[:4])


def test_a_condition_that_raises_is_a_failure_whatever_the_group_ignores() -> None:
    with running() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(on_error="ignore", stop_when=lambda future: 1 / 0) as group:
                group.submit(jobs.value, 1)
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert "stop_when" in "".join(caught.value.exceptions[0].__notes__)
        assert group.futures[0].result(0) == 1


# --- the block raises ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyError, Odd])
def test_a_block_that_raises_stops_its_tasks_and_is_in_the_group(kind: type[BaseException], tmp_path: Path) -> None:
    """Behaviour 82."""
    begun, error = str(tmp_path / "begun"), kind("mine")
    with running() as pool:
        with pytest.raises(BaseExceptionGroup) as caught:
            with pool.task_group() as group:
                future = group.submit(jobs.polite, begun)
                await_file(begun)
                raise error
        assert caught.value.exceptions == (error,)
        assert isinstance(caught.value, ExceptionGroup) is isinstance(error, Exception)
        assert future.done()
        assert kind_of(future) is StopKind.GROUP


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_block_left_by_an_end_of_the_program_stops_its_tasks_and_raises_it_bare(
    error: type[BaseException], tmp_path: Path
) -> None:
    """Behaviour 82. As asyncio does; not even a failure changes that."""
    begun = str(tmp_path / "begun")
    with running(2) as pool:
        with pytest.raises(error):
            with pool.task_group(on_error="ignore") as group:
                future = group.submit(jobs.polite, begun)
                group.submit(jobs.fail, "no")
                await_file(begun)
                raise error
        assert future.done()
        assert future.stopped()


def test_a_failure_that_the_block_raises_again_is_in_the_group_once() -> None:
    """Behaviours 81, 82."""
    with running() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                group.submit(jobs.fail, "once").result()
        assert [str(error) for error in caught.value.exceptions] == ["once"]


def test_a_block_that_waits_for_a_sibling_of_a_failure_is_no_failure_itself(tmp_path: Path) -> None:
    """Behaviour 82. It sees the sibling stopped; what is raised is why."""
    begun = str(tmp_path / "begun")
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                runs = group.submit(jobs.polite, begun)
                group.submit(jobs.fail_after, begun, "why")
                runs.result()
        assert [str(error) for error in caught.value.exceptions] == ["why"]


def test_a_block_that_looks_learns_of_a_failure_and_ends_with_the_group(tmp_path: Path) -> None:
    """Behaviours 79, 82. `check()` and `sleep()` in the block are those of the group."""
    with running() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                assert stoppable.current_token() == group.token
                group.submit(jobs.fail, "no")
                stoppable.sleep(LONG_S)
        assert [str(error) for error in caught.value.exceptions] == ["no"]
        stoppable.check()  # it is over with the group


def test_a_block_may_return_early() -> None:
    """Behaviour 79. Its tasks end before the function does."""

    def work(pool: ProcessPoolExecutor) -> Future[Any]:
        with pool.task_group() as group:
            return group.submit(jobs.value, 1)
        raise AssertionError

    with running() as pool:
        assert work(pool).done()


def test_a_generator_that_is_closed_inside_its_group_stops_the_tasks(tmp_path: Path) -> None:
    def work(pool: ProcessPoolExecutor) -> Any:
        with pool.task_group() as group:
            future = group.submit(jobs.polite, str(tmp_path / "begun"))
            yield future

    with running() as pool:
        generator = work(pool)
        future = next(generator)
        await_file(tmp_path / "begun")
        generator.close()
        assert future.stopped()


# --- stopped by hand, out of time --------------------------------------------------------------------


def test_a_task_stopped_by_hand_does_not_fail_its_group(tmp_path: Path) -> None:
    """Behaviour 83. Nor does one that was killed."""
    with running(2) as pool:
        with pool.task_group() as group:
            tasks = [group.submit(jobs.polite, str(tmp_path / f"begun{n}")) for n in range(2)]
            other = group.submit(jobs.value, 1)
            for number, task in enumerate(tasks):
                await_file(tmp_path / f"begun{number}")
                task.stop("by hand", at=(Rung.ASK, Rung.KILL)[number])
        assert [task.stopped() for task in tasks] == [True, True]
        assert other.result(0) == 1
        assert not group.token.is_set()


def test_a_task_that_times_out_fails_its_group(tmp_path: Path) -> None:
    """Behaviour 83."""
    with running(2, initializer=jobs.value, initargs=(1,)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                late = group.options(timeout=SOON_S).submit(jobs.polite, str(tmp_path / "one"))
                other = group.submit(jobs.polite, str(tmp_path / "two"))
        assert caught.value.exceptions == (late.exception(),)
        assert isinstance(late.exception(), TaskTimeout)
        assert kind_of(other) is StopKind.GROUP
        with pytest.raises(BaseException) as split:
            raise caught.value
        assert split.value.split(TimeoutError)[1] is None  # `except* TimeoutError` takes it


def test_a_task_that_raises_a_stop_of_another_has_failed() -> None:
    """Behaviour 83. Nobody stopped this one."""
    with running() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                group.submit(raise_timeout)
        assert [type(error) for error in caught.value.exceptions] == [TaskStopped]
        assert not group.futures[0].stopped()


def test_a_group_stopped_by_hand_raises_nothing_and_gives_the_reason(tmp_path: Path) -> None:
    """Behaviours 83, 86."""
    trace = tmp_path / "trace"
    with running(1) as pool:
        with pool.task_group() as group:
            runs = group.submit(jobs.polite, str(tmp_path / "begun"))
            waits = group.submit(jobs.add_line, str(trace))
            await_file(tmp_path / "begun")
            assert group.stop("enough") is True
            assert group.stop("again") is False
            late = group.submit(jobs.add_line, str(trace))
            assert late.done()
            stoppable.sleep(LONG_S)  # what it raises ends with the block
        for future in (runs, waits, late):
            with pytest.raises(TaskStopped) as stop:
                future.result(0)
            assert stop.value.reason is not None
            assert (stop.value.reason.kind, stop.value.reason.message) == (StopKind.STOP, "enough")
            assert stop.value.started is (future is runs)
    assert not trace.exists()


def test_the_token_of_a_group_stops_it_from_a_task(tmp_path: Path) -> None:
    """Behaviours 15, 86. A group is a token: whoever has it can stop it, in any process."""
    with running(2) as pool:
        with pool.task_group() as group:
            runs = group.submit(jobs.polite, str(tmp_path / "begun"))
            assert group.submit(jobs.stop_token, group.token, "found it").result(BOUND_S) is True
        with pytest.raises(TaskStopped) as stop:
            runs.result(0)
        assert "found it" in str(stop.value.reason)


def test_a_group_that_runs_out_of_time_raises_the_timeouts_of_its_tasks(tmp_path: Path) -> None:
    """Behaviours 79, 83, 90. One that had not started is among them."""
    trace = tmp_path / "trace"
    with running(1, initializer=jobs.value, initargs=(1,)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(timeout=SOON_S) as group:
                runs = group.submit(jobs.polite, str(tmp_path / "begun"))
                waits = group.submit(jobs.add_line, str(trace))
        assert {type(error) for error in caught.value.exceptions} == {TaskTimeout}
        assert set(map(id, caught.value.exceptions)) == {id(runs.exception()), id(waits.exception())}
        assert kind_of(runs) is kind_of(waits) is StopKind.DEADLINE
        waits_error = waits.exception()
        assert isinstance(waits_error, TaskTimeout)
        assert waits_error.started is False
    assert not trace.exists()


def test_a_groups_timeout_that_stops_nothing_raises_nothing() -> None:
    """Behaviour 92. Though it passed while the block ran."""
    with running() as pool:
        with pool.task_group(timeout=0.01) as group:
            StopToken(timeout=0.05).wait()
        with pool.task_group(timeout=LONG_S) as group:
            group.submit(jobs.value, 1)
        assert group.futures[0].result(0) == 1
        with pool.task_group(deadline=time.monotonic() + LONG_S):
            pass


def test_a_block_that_its_groups_time_cuts_short_is_a_timeout() -> None:
    """Behaviour 92, the other way round."""
    with running() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(timeout=0.05):
                stoppable.sleep(LONG_S)
        assert [type(error) for error in caught.value.exceptions] == [TimeoutError]
        with pool.task_group(timeout=0.05, on_error="ignore") as group:
            stoppable.sleep(LONG_S)
        assert group.token.is_set()


def test_the_time_that_is_left_to_a_group_is_seen_by_its_tasks() -> None:
    """Behaviour 14. The token of a task is a child of the group's."""
    with running() as pool, pool.task_group(timeout=LONG_S) as group:
        remaining = group.submit(jobs.state_of_current).result(BOUND_S)["remaining"]
    assert 0 < remaining <= LONG_S


@pytest.mark.slow
def test_what_a_group_has_found_by_its_deadline_is_kept(tmp_path: Path) -> None:
    """Behaviours 77, 80. Values of those that returned, partial results of the others."""
    begun = str(tmp_path / "begun")
    with running(1, initializer=jobs.value, initargs=(1,)) as pool:
        with pool.task_group(timeout=3.0, on_error="ignore") as group:
            group.submit(jobs.value, "whole")
            group.submit(jobs.publish_and_be_polite, begun)
        first, second = group.outcomes()
        assert first.value == "whole"
        assert isinstance(second.error, TaskTimeout)
        assert second.error.partial == "half"


# --- before, after, beside ---------------------------------------------------------------------------


def test_a_group_that_was_left_takes_nothing_more() -> None:
    """Behaviour 86."""
    with running() as pool:
        with pool.task_group() as group:
            pass
        with pytest.raises(RuntimeError, match="over"):
            group.submit(jobs.value, 1)
        with pytest.raises(RuntimeError, match="over"):
            group.options(name="late").submit(jobs.value, 1)
        with pytest.raises(RuntimeError, match="entered before"):
            group.__enter__()
        assert group.futures == ()
        assert group.outcomes() == []


def test_a_group_that_was_not_entered_takes_nothing() -> None:
    """Behaviour 86."""
    with running() as pool:
        group = pool.task_group()
        for use in (lambda: group.submit(jobs.value, 1), lambda: group.token, group.stop, group.outcomes):
            with pytest.raises(RuntimeError, match="not entered"):
                use()


def test_outcomes_of_what_has_not_ended_are_refused(tmp_path: Path) -> None:
    with running() as pool, pool.task_group() as group:
        future = group.submit(jobs.polite, str(tmp_path / "begun"))
        with pytest.raises(RuntimeError, match="not ended"):
            group.outcomes()
        future.cancel()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"deadline": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"on_error": "raise"}, ValueError),
        ({"stop_when": 1}, TypeError),
    ],
)
def test_a_wrong_argument_is_refused_when_the_group_is_made(wrong: dict[str, Any], error: type[Exception]) -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(error):
        pool.task_group(**wrong)


def test_a_group_has_options_and_a_map_of_its_own() -> None:
    with running(2) as pool:
        with pool.task_group() as group:
            state = group.options(name="mine", timeout=LONG_S).submit(jobs.state_of_current)
            values = group.map(jobs.value, range(5), chunksize=2)
            assert len(group.futures) == 4
        assert list(values) == [0, 1, 2, 3, 4]
        assert state.result(0)["name"] == "mine"


def test_a_task_with_a_token_of_its_own_follows_both(tmp_path: Path) -> None:
    with running() as pool:
        for who in ("group", "own"):
            own = StopToken()
            with pool.task_group() as group:
                future = group.options(token=own).submit(jobs.polite, str(tmp_path / who))
                await_file(tmp_path / who)
                (group.token if who == "group" else own).stop(who)
            with pytest.raises(TaskStopped, match=who):
                future.result(0)


def test_tasks_may_be_submitted_by_other_threads_and_by_callbacks() -> None:
    """Behaviour 86. Leaving waits for those, too."""
    more: list[Future[int]] = []
    with running(2) as pool:
        with pool.task_group() as group:
            first = group.submit(jobs.value, 1)
            first.add_done_callback(lambda _: more.append(group.submit(jobs.value, 2)))
            thread = threading.Thread(target=lambda: more.append(group.submit(jobs.value, 3)))
            thread.start()
            thread.join()
            first.result(BOUND_S)
            until(lambda: len(more) == 2)
        assert sorted(future.result(0) for future in more) == [2, 3]
        assert set(more) < set(group.futures)


def test_the_callback_of_the_last_task_may_submit_more_while_the_group_is_waited_for() -> None:
    """Behaviour 86. Not even a slow one comes too late."""
    with running() as pool:
        with pool.task_group() as group:
            first = group.submit(jobs.value, 0)
            first.add_done_callback(lambda _: (time.sleep(0.1), group.submit(jobs.value, 1)))
        assert [outcome.value for outcome in group.outcomes()] == [0, 1]


def test_tasks_of_the_pool_that_are_not_in_the_group_are_left_alone(tmp_path: Path) -> None:
    """Behaviour 79."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(2) as pool:
        other = pool.submit(wait_between, begun, release)
        await_file(begun)
        with pytest.raises(ExceptionGroup):
            with pool.task_group() as group:
                group.submit(jobs.fail, "no")
        assert not other.stop_requested
        say(release)
        assert other.result(BOUND_S) == "done"


def test_a_pool_that_is_stopped_ends_its_groups_without_a_failure(tmp_path: Path) -> None:
    """Behaviours 83, 94. Stopped by hand is stopped by hand."""
    with running() as pool:
        with pool.task_group() as group:
            future = group.submit(jobs.polite, str(tmp_path / "begun"))
            await_file(tmp_path / "begun")
            pool.stop("all of it")
        assert kind_of(future) is StopKind.SHUTDOWN


def test_a_pool_that_is_shut_down_meanwhile_refuses_the_group_more_and_ends_what_it_has(tmp_path: Path) -> None:
    """Behaviours 82, 86. The refusal is the block's failure."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        with pool.task_group() as group:
            future = group.submit(wait_between, begun, release)
            await_file(begun)
            pool.shutdown(wait=False)
            with pytest.raises(RuntimeError, match="after shutdown"):
                group.submit(jobs.value, 1)
            assert group.futures == (future,)
            say(release)
        assert future.result(0) == "done"


def test_a_thousand_members_end_with_the_first_failure() -> None:
    """Behaviour 79. And the pool works on."""
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group() as group:
                group.submit(jobs.fail, "no")
                for number in range(1000):
                    group.submit(jobs.value, number)
        assert len(caught.value.exceptions) == 1
        assert all(future.done() for future in group.futures)
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


class Big:
    pass


def test_a_group_that_is_dropped_takes_its_results_along() -> None:
    """Without waiting for the garbage collector."""
    with running() as pool:
        with pool.task_group() as group:
            group.submit(Big)
        result = weakref.ref(group.futures[0].result(0))
        until(lambda: pool.submit(jobs.value, 1).result(BOUND_S) == 1)  # the reactor has let go of it
        gc.disable()
        try:
            del group
            assert result() is None
        finally:
            gc.enable()


def test_a_forked_child_leaves_the_group_to_its_parent(tmp_path: Path) -> None:
    """Behaviour 111."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        child = 0
        with pool.task_group() as group:
            future = group.submit(wait_between, begun, release)
            await_file(begun)
            child = os.fork()
            if child == 0:
                try:
                    try:
                        group.submit(jobs.value, 1)
                    except RuntimeError:
                        group.__exit__(None, None, None)  # must not wait
                        os._exit(7)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert not future.done()
            say(release)
        assert future.result(0) == "done"


# --- nested --------------------------------------------------------------------------------------------


def test_a_stop_of_the_outer_group_reaches_the_inner_one(tmp_path: Path) -> None:
    """Behaviour 88. Its reason goes with it, and only the outer group raises."""
    begun = str(tmp_path / "begun")
    passed = []
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(name="outer") as outer:
                outer.submit(jobs.fail_after, begun, "outer")
                with pool.task_group(name="inner") as inner:
                    future = inner.submit(jobs.polite, begun)
                passed.append("the inner group")
        assert passed == []  # a stop passed through: nobody takes the inner group for done
        assert [str(error) for error in caught.value.exceptions] == ["outer"]
        assert kind_of(future) is StopKind.GROUP
        assert "fail_after" in str(future.report.reason)


def test_a_failure_that_is_handled_in_the_inner_group_does_not_reach_the_outer(tmp_path: Path) -> None:
    """Behaviour 88."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(2) as pool:
        with pool.task_group() as outer:
            runs = outer.submit(wait_between, begun, release)
            await_file(begun)
            try:
                with pool.task_group() as inner:
                    inner.submit(jobs.fail, "handled")
            except* ValueError:
                pass
            assert not outer.token.is_set()
            say(release)
        assert runs.result(0) == "done"


def test_the_time_of_the_outer_group_is_no_failure_of_the_inner_one(tmp_path: Path) -> None:
    """Behaviours 88, 92. The outer one says that its time was up."""
    with running(1, initializer=jobs.value, initargs=(1,)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            with pool.task_group(timeout=SOON_S):
                with pool.task_group() as inner:
                    future = inner.submit(jobs.polite, str(tmp_path / "begun"))
        assert [type(error) for error in caught.value.exceptions] == [TimeoutError]
        assert isinstance(future.exception(), TaskTimeout)


def group_in_task(begun: str, ended: str) -> str:
    """Run a group whose task waits; say how that ended."""
    with ProcessPoolExecutor(1, policy=jobs.PATIENT) as pool:
        try:
            with pool.task_group() as group:
                future = group.submit(jobs.polite, begun)
        finally:
            say(ended, f"{kind_of(future)} {future.report.reason}")
    return "went on"


@pytest.mark.slow
def test_a_stop_of_a_task_reaches_the_group_in_it_and_ends_the_task(tmp_path: Path) -> None:
    """Behaviours 88, 101. The inner task shows the outer one's reason, and the outer is stopped, not failed."""
    begun, ended = str(tmp_path / "begun"), str(tmp_path / "ended")
    with running() as pool:
        future = pool.submit(group_in_task, begun, ended)
        await_file(begun)
        future.stop("from above")
        with pytest.raises(TaskStopped) as stop:
            future.result(BOUND_S)
        assert stop.value.rung is Rung.ASK
        assert "from above" in await_file(ended)


def sum_in_group(count: int) -> int:
    with ProcessPoolExecutor(2) as pool:
        with pool.task_group() as group:
            futures = [group.submit(jobs.value, number) for number in range(count)]
        return sum(future.result(0) for future in futures)


@pytest.mark.slow
def test_a_task_may_use_a_group() -> None:
    with running() as pool:
        assert pool.submit(sum_in_group, 10).result(BOUND_S) == 45


# --- many at once ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_stops_raced_against_submissions_leave_no_task_behind(tmp_path: Path) -> None:
    """Behaviours 79, 86. Whatever came first, each has ended when the group is left, and a stopped one says why."""
    with running(2, policy=stoppable.StopPolicy()) as pool:
        for round in range(100):
            with pool.task_group() as group:
                stopper = threading.Thread(target=group.stop, args=("race",))
                for number in range(20):
                    if number == round % 20:
                        stopper.start()
                    group.submit(stoppable.sleep, LONG_S)
            stopper.join()
            for future in group.futures:
                assert future.done()
                with pytest.raises(TaskStopped) as stop:
                    future.result(0)
                assert stop.value.reason is not None
                assert stop.value.reason.message == "race"


def test_as_completed_and_wait_take_the_futures_of_a_group() -> None:
    """Behaviour 53."""
    with running(2) as pool, pool.task_group() as group:
        futures = [group.submit(jobs.value, number) for number in range(4)]
        assert sorted(future.result() for future in concurrent.futures.as_completed(futures, BOUND_S)) == [0, 1, 2, 3]


def test_a_group_is_a_public_class() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert isinstance(pool.task_group(), TaskGroup)
