"""The functions that a task may call, inside one and outside; the tokens that reach it; and how it is watched."""

import concurrent.futures
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import chores
import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import Future, Report, Rung, StopKind, StopToken, TaskStopped, WorkerDied
from stoppable.shell import channel
from watching import await_file, until


def stopped(future: Future[Any]) -> TaskStopped:
    with pytest.raises(TaskStopped) as caught:
        future.result(BOUND_S)
    return caught.value


# --- outside a task --------------------------------------------------------------------------------


def test_the_functions_of_a_task_do_nothing_special_outside_one() -> None:
    """Library code may call them freely."""
    stoppable.check()
    stoppable.sleep(0)
    stoppable.sleep(0.001)
    stoppable.publish(threading.Lock())  # not even pickled: there is nobody to give it to
    stoppable.progress(1, 2)
    stoppable.beat()
    stoppable.beat(5)
    with stoppable.shield():
        stoppable.check()
    token = stoppable.current_token()
    assert not token.is_set()
    assert token != stoppable.current_token()
    token.stop()
    stoppable.check()  # it is nobody's token


@pytest.mark.parametrize("wrong", [-1, float("nan")])
def test_a_wrong_time_is_refused_outside_a_task_as_inside(wrong: float) -> None:
    with pytest.raises(ValueError, match="sleep"):
        stoppable.sleep(wrong)
    with pytest.raises(ValueError, match="beat"):
        stoppable.beat(wrong)
    with running() as pool:
        assert "sleep" in str(pool.submit(stoppable.sleep, wrong).exception(BOUND_S))
        assert "beat" in str(pool.submit(stoppable.beat, wrong).exception(BOUND_S))


def test_the_functions_are_silent_in_a_task_that_nobody_stops() -> None:
    with running() as pool:
        assert pool.submit(jobs.beat_and_check, 1.0).result(BOUND_S) == "beaten"
        state = pool.submit(jobs.state_of_current).result(BOUND_S)
        assert (state["same"], state["set"], state["remaining"]) == (True, False, None)
        assert "state_of_current" in state["name"]
        state = pool.options(timeout=1000, name="mine").submit(jobs.state_of_current).result(BOUND_S)
        assert state["name"] == "mine"
        assert 900 < state["remaining"] <= 1000


def test_a_stop_of_one_task_is_not_seen_by_the_next(tmp_path: Path) -> None:
    """Neither by check() nor by the token, in the same worker."""
    with running() as pool:
        for number in range(5):
            future = pool.submit(jobs.polite, str(tmp_path / str(number)))
            await_file(tmp_path / str(number))
            future.stop()
            assert stopped(future).rung is Rung.ASK
            assert pool.submit(jobs.beat_and_check, 0.0).result(BOUND_S) == "beaten"
            assert pool.submit(jobs.state_of_current).result(BOUND_S)["set"] is False


# --- tokens ------------------------------------------------------------------------------------------


def test_a_token_given_with_options_stops_the_task(tmp_path: Path) -> None:
    """Its reason is the task's. A task that does not look is taken up the ladder for it."""
    token = StopToken()
    with running(2) as pool:
        bound = pool.options(token=token)
        polite, deaf = (bound.submit(job, str(tmp_path / job.__name__)) for job in (jobs.polite, jobs.nap))
        for job in (jobs.polite, jobs.nap):
            await_file(tmp_path / job.__name__)
        token.stop("the batch is off")
        for future, rung in ((polite, Rung.ASK), (deaf, Rung.INTERRUPT)):
            error = stopped(future)
            assert error.rung is rung
            assert error.reason == token.reason
            assert future.cancelled()
            assert future.stop_requested


def test_a_token_given_with_options_may_be_stopped_in_another_process(tmp_path: Path) -> None:
    """Here by another task of the pool."""
    token = StopToken()
    with running(2) as pool:
        future = pool.options(token=token).submit(jobs.nap, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        assert pool.submit(jobs.stop_token, token, "from afar").result(BOUND_S) is True
        error = stopped(future)
        assert error.rung is Rung.INTERRUPT
        assert error.reason is not None
        assert error.reason.message == "from afar"
        assert error.reason.source.pid in pool.workers()


def test_a_task_that_is_stopped_leaves_the_token_it_was_given_alone(tmp_path: Path) -> None:
    """Stop flows down only: the task's own token is a child of it."""
    token = StopToken()
    with running() as pool:
        bound = pool.options(token=token)
        future = bound.submit(jobs.polite, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        future.stop()
        stopped(future)
        assert not token.is_set()
        assert bound.submit(jobs.value, 1).result(BOUND_S) == 1


def test_a_token_that_is_set_already_stops_the_task(tmp_path: Path) -> None:
    """Whether it has started by then or not."""
    token = StopToken()
    token.stop("too late")
    with running() as pool:
        future = pool.options(token=token).submit(jobs.polite, str(tmp_path / "begun"))
        error = stopped(future)
        assert error.reason is not None
        assert error.reason.message == "too late"


def test_a_task_that_was_handed_its_token_has_looked(tmp_path: Path) -> None:
    """It gets the grace of the ask, which here is a minute."""
    token = StopToken()
    with running() as pool:
        future = pool.options(token=token).submit(jobs.use_token, str(tmp_path / "begun"), token)
        await_file(tmp_path / "begun")
        token.stop()
        assert stopped(future).rung is Rung.ASK


def test_the_stop_of_a_future_is_not_heard_through_a_token_of_someone_elses(tmp_path: Path) -> None:
    """A token among the arguments is only an argument: the task that looks at nothing else is deaf."""
    token = StopToken()
    with running() as pool:
        future = pool.submit(jobs.use_token, str(tmp_path / "begun"), token)
        await_file(tmp_path / "begun")
        future.cancel()
        assert stopped(future).rung is Rung.INTERRUPT
        assert not token.is_set()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_that_the_task_gives_its_token_hears_the_stop(method: str, tmp_path: Path) -> None:
    """With the reason, and before the task has ended."""
    begun, heard = tmp_path / "begun", tmp_path / "heard"
    with running() as pool:
        future = pool.submit(jobs.hand_on_token, str(begun), str(heard), method)
        await_file(begun)
        future.stop("all of you")
        assert await_file(heard) == "stop: all of you"
        assert future.result(BOUND_S) == "exit code 0"


@pytest.mark.slow
def test_a_program_that_the_task_starts_hears_the_stop_through_a_pickled_token(tmp_path: Path) -> None:
    begun, heard = tmp_path / "begun", tmp_path / "heard"
    with running() as pool:
        future = pool.submit(start_program, str(begun), str(heard))
        await_file(begun)
        future.stop("the program too")
        assert await_file(heard) == "stop: the program too"
        assert future.result(BOUND_S) == 0


def start_program(begun: str, heard: str) -> int:
    program = (
        "import pickle, sys; sys.path[:0] = pickle.load(sys.stdin.buffer); token = pickle.load(sys.stdin.buffer); "
        f"import jobs; jobs.wait_in_process(token, {begun!r}, {heard!r})"
    )
    said = pickle.dumps(sys.path) + pickle.dumps(stoppable.current_token())
    return subprocess.run([sys.executable, "-c", program], input=said, timeout=60).returncode


def test_a_callback_of_the_tasks_token_is_called_in_the_task(tmp_path: Path) -> None:
    called = tmp_path / "called"
    with running() as pool:
        future = pool.submit(register_and_wait, str(tmp_path / "begun"), str(called))
        await_file(tmp_path / "begun")
        future.stop()
        assert future.result(BOUND_S) == "called"


def register_and_wait(begun: str, called: str) -> str:
    from watching import say

    ran = threading.Event()

    def hook() -> None:
        say(called)
        ran.set()

    stoppable.current_token().on_stop(hook)
    say(begun)
    return "called" if ran.wait(60) else "silent"


# --- being watched -----------------------------------------------------------------------------------


def test_the_stack_of_a_sleeping_task_shows_where_it_sleeps(tmp_path: Path) -> None:
    """Again each time it is asked for; None when the task does not run."""
    with running() as pool:
        future = pool.submit(jobs.nap, str(tmp_path / "begun"))
        waiting = pool.submit(jobs.value, 1)
        await_file(tmp_path / "begun")
        assert waiting.stack() is None
        for _ in range(3):
            until(lambda: "in nap" in (future.stack() or ""), "the stack shows the task")
        future.kill()
        stopped(future)
        assert future.stack() is None
        assert waiting.result(BOUND_S) == 1
        assert waiting.stack() is None


def test_the_stack_of_a_busy_task_is_seen_a_thousand_times_and_does_it_no_harm(tmp_path: Path) -> None:
    """faulthandler, which walks the frames at any instant, ended such a task by SIGSEGV after some eighty."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.call_all_the_time, begun)
        await_file(begun)
        seen = [future.stack() for _ in range(1000)]
        assert future.running()
        told = [stack for stack in seen if stack is not None]  # there is none if it had no CPU for 250 ms
        assert told
        assert [stack for stack in told if "in call_all_the_time" not in stack or "stoppable/worker" in stack] == []
        future.kill()
        stopped(future)


def test_the_stacks_of_all_threads_of_a_task_are_seen(tmp_path: Path) -> None:
    with running() as pool:
        future = pool.submit(jobs.nap_in_two_threads, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        stack = future.stack() or ""
        assert len(re.findall(r"in nap$", stack, re.MULTILINE)) == 2
        assert stack.index("Thread 0x") < stack.index("Current thread 0x") < stack.index("in nap_in_two_threads")
        future.kill()
        stopped(future)


def test_the_stack_of_a_task_in_c_code_that_holds_the_gil_is_seen(tmp_path: Path) -> None:
    """In a loop in C, and in a regular expression."""
    with running(2) as pool:
        for job in (chores.hold_gil, jobs.match_for_ever):
            begun = str(tmp_path / job.__name__)
            future = pool.submit(job, begun)
            await_file(begun)
            until(lambda: f"in {job.__name__}" in (future.stack() or ""), "the stack shows the task")
            future.kill()
            stopped(future)


def test_the_report_tells_reason_rungs_and_the_stack_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing while nobody has asked."""
    monkeypatch.setattr(channel, "_STACK_WAIT_S", 10.0)
    with running() as pool:
        future = pool.submit(jobs.ignore_all, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        assert future.report == Report(None, (), None, "ignore_all")
        assert future.report.rung is None
        future.stop("enough", policy=jobs.QUICK)
        error = stopped(future)
        report = future.report
        assert report.reason == error.reason
        assert report.rung is Rung.KILL is error.rung
        assert [rung for rung, _ in report.rungs][-3:] == [Rung.INTERRUPT, Rung.TERMINATE, Rung.KILL]
        assert report.stack is not None
        assert report.stack == error.stack
        assert "ignore_all" in report.stack
        assert "stoppable/worker" not in report.stack.replace("\\", "/")


# --- the errors --------------------------------------------------------------------------------------


def test_the_error_of_a_stopped_task_tells_everything_and_pickles(tmp_path: Path) -> None:
    with running() as pool:
        future = pool.submit(jobs.publish_then_nap, str(tmp_path / "begun"), "half of it")
        await_file(tmp_path / "begun")
        future.kill("no more")
        error = stopped(future)
    assert isinstance(error, concurrent.futures.CancelledError)
    assert error.task is not None
    assert error.task.startswith("publish_then_nap(")
    assert "'half of it'" in error.task
    assert (error.rung, error.partial, error.confirmed, error.started) == (Rung.KILL, "half of it", True, True)
    assert str(error.rung) == "kill"
    assert error.reason is not None
    assert (error.reason.kind, error.reason.message) == (StopKind.STOP, "no more")
    for word in ("publish_then_nap(", "stopped by kill", "stop: no more"):
        assert word in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is TaskStopped
    assert str(copy) == str(error)
    facts = ("reason", "rung", "partial", "confirmed", "started", "task", "stack")
    assert [getattr(copy, fact) for fact in facts] == [getattr(error, fact) for fact in facts]


def test_long_arguments_are_short_in_the_error(tmp_path: Path) -> None:
    with running() as pool:
        future = pool.submit(jobs.publish_then_nap, str(tmp_path / "begun"), "x" * 5_000, "y" * 1_000_000)
        await_file(tmp_path / "begun")
        future.kill()
        assert len(str(stopped(future).task)) < 400


@pytest.mark.parametrize(
    ("job", "args", "exitcode", "number", "said"),
    [
        (jobs.end_worker, (3,), 3, None, "exited with code 3"),
        (jobs.end_worker, (0,), 0, None, "exited with code 0"),
        (jobs.segfault, (), None, signal.SIGSEGV, "SIGSEGV"),
    ],
)
def test_the_error_of_a_dead_worker_tells_how_it_died_and_pickles(
    job: Any, args: tuple[Any, ...], exitcode: int | None, number: int | None, said: str
) -> None:
    with running() as pool:
        error = pool.submit(job, *args).exception(BOUND_S)
        assert isinstance(error, WorkerDied)
        assert (error.exitcode, error.signal, error.reason) == (exitcode, number, None)
        assert said in str(error)
        assert job.__name__ in str(error)
        assert "the pool goes on" in str(error)
        copy = pickle.loads(pickle.dumps(error))
        assert (copy.exitcode, copy.signal, copy.task, str(copy)) == (exitcode, number, error.task, str(error))
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_an_exception_of_the_task_comes_with_the_workers_traceback() -> None:
    with running() as pool:
        error = pool.submit(jobs.fail, "as it should").exception(BOUND_S)
        assert isinstance(error, ValueError)
        assert isinstance(error.__cause__, stoppable.RemoteTraceback)
        assert "in fail" in str(error.__cause__)
        assert "as it should" in str(error.__cause__)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_whatever_the_task_raises_is_its_ordinary_outcome(kind: type[BaseException]) -> None:
    """It ends no worker and stops nothing."""
    with running() as pool:
        worker = pool.submit(os.getpid).result(BOUND_S)
        future = pool.submit(raise_it, kind)
        error = future.exception(BOUND_S)
        assert type(error) is kind
        assert error.args == ("by hand",)
        assert not future.cancelled()
        assert not future.stopped()
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        assert worker in pool.workers()


def raise_it(kind: type[BaseException]) -> None:
    raise kind("by hand")
