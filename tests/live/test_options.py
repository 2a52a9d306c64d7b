"""What can be said of a task and of a policy, and what is refused."""

import math
from pathlib import Path
from typing import Any

import pytest

import jobs
from jobs import BOUND_S, running
from stoppable import Future, ProcessPoolExecutor, Rung, StopKind, StopPolicy, StopToken, TaskStopped, TaskTimeout
from watching import await_file, say

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("name", ["ask", "interrupt", "terminate"])
@pytest.mark.parametrize("wrong", [-1, -0.001, NAN, "1", None, True, -INF])
def test_a_grace_that_is_no_time_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name):
        StopPolicy(**{name: wrong})


def test_a_policy_is_a_value_that_does_not_change() -> None:
    policy = StopPolicy(ask=1, interrupt=0, terminate=INF)
    assert policy == StopPolicy(1, 0, INF)
    assert [policy.grace_s(rung) for rung in Rung] == [1, 0, INF, INF]
    assert StopPolicy(interruptible=False).grace_s(Rung.INTERRUPT) == 0
    with pytest.raises(AttributeError, match="does not change"):
        policy.ask = 2  # type: ignore[misc]
    assert sum(StopPolicy().grace_s(rung) for rung in list(Rung)[:3]) == 9


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"timeout": -1}, ValueError),
        ({"timeout": NAN}, ValueError),
        ({"timeout": -INF}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"timeout": True}, TypeError),
        ({"deadline": NAN}, ValueError),
        ({"deadline": "noon"}, TypeError),
        ({"deadline": True}, TypeError),
        ({"policy": 5}, TypeError),
        ({"token": object()}, TypeError),
        ({"on_stopped": 1}, TypeError),
        ({"on_done": 1}, TypeError),
        ({"name": 1}, TypeError),
    ],
)
def test_a_wrong_option_is_refused_by_name_before_anything_is_submitted(
    wrong: dict[str, Any], error: type[Exception]
) -> None:
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(error, match=next(iter(wrong))):
            pool.options(**wrong)
        assert pool.workers() == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"timeout": -1}, ValueError), ({"timeout": NAN}, ValueError), ({"policy": 3}, TypeError)],
)
def test_a_pool_refuses_what_its_tasks_refuse(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ProcessPoolExecutor(1, **wrong)


def test_an_unknown_option_is_refused() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError):
        pool.options(time_out=1)  # type: ignore[call-arg]


def test_options_do_not_stick_to_the_pool() -> None:
    with running() as pool:
        bound = pool.options(name="once", timeout=1000)
        assert bound.submit(jobs.state_of_current).result(BOUND_S)["name"] == "once"
        assert pool.submit(jobs.state_of_current).result(BOUND_S)["name"] == "state_of_current"
        assert pool.submit(jobs.state_of_current).result(BOUND_S)["remaining"] is None


def test_a_keyword_of_the_call_is_never_taken_for_an_option(tmp_path: Path) -> None:
    """`timeout`, `name` and the like are the called function's."""
    with running() as pool:
        assert pool.submit(keywords, timeout=1, name="x", token=None, fn=2).result(BOUND_S) == {
            "timeout": 1,
            "name": "x",
            "token": None,
            "fn": 2,
        }


def keywords(**given: Any) -> dict[str, Any]:
    return given


def test_infinite_times_mean_none() -> None:
    with running(timeout=INF) as pool:
        bound = pool.options(timeout=INF, deadline=INF, token=StopToken())
        assert bound.submit(jobs.state_of_current).result(BOUND_S)["remaining"] is None


def test_options_over_options_keep_what_they_do_not_say() -> None:
    with running() as pool:
        bound = pool.options(name="first", timeout=1000)
        assert bound.options(name="second").submit(jobs.state_of_current).result(BOUND_S)["name"] == "second"
        assert bound.options(name="second").submit(jobs.state_of_current).result(BOUND_S)["remaining"] is not None


def test_hooks_of_the_pool_are_called_for_every_task_that_has_none_of_its_own(tmp_path: Path) -> None:
    """Behaviour 141."""
    ended: list[Future[Any]] = []
    stopped: list[Future[Any]] = []
    own: list[Future[Any]] = []
    begun = str(tmp_path / "begun")
    with running(on_done=ended.append, on_stopped=stopped.append) as pool:
        first = pool.submit(jobs.value, 1)
        named = pool.options(name="other").submit(jobs.fail, "no")
        other = pool.options(on_done=own.append).submit(jobs.value, 2)
        last = pool.submit(jobs.polite, begun)
        await_file(begun)
        last.stop()
    assert ended == [first, named, last]
    assert stopped == [last]
    assert own == [other]
    reports = [each.report for each in (first, named, last)]
    assert [report.name for report in reports] == ["value", "other", "polite"]
    assert all(report.seconds is not None and 0 <= report.seconds < BOUND_S for report in reports)


def test_a_task_whose_worker_has_died_has_a_name_and_no_time() -> None:
    """Behaviour 141."""
    with running() as pool:
        future = pool.submit(jobs.end_worker, 3)
        assert future.exception(BOUND_S) is not None
    assert (future.report.name, future.report.seconds) == ("end_worker", None)


def test_on_done_is_called_once_for_every_end() -> None:
    """Value, failure, stop before the start, and a call that does not pickle."""
    ended: list[Future[Any]] = []
    with running() as pool:
        bound = pool.options(on_done=ended.append)
        token = StopToken()
        token.stop()
        futures = [
            bound.submit(jobs.value, 1),
            bound.submit(jobs.fail, "no"),
            bound.options(token=token).submit(jobs.value, 1),
            bound.submit(jobs.value, Unpicklable()),
        ]
    assert sorted(map(id, ended)) == sorted(map(id, futures))
    assert all(future.done() for future in ended)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("not me")


def test_a_token_that_was_set_before_lets_nothing_start(tmp_path: Path) -> None:
    """Behaviour 38. A worker was idle."""
    trace, stopped = tmp_path / "trace", []
    token = StopToken()
    token.stop("too late")
    with running() as pool:
        pool.submit(jobs.value, 1).result(BOUND_S)
        future = pool.options(token=token, on_stopped=stopped.append).submit(jobs.add_line, str(trace))
        assert future.done()
        with pytest.raises(TaskStopped) as caught:
            future.result()
        assert caught.value.started is False
        assert caught.value.reason == token.reason
        assert str(caught.value).startswith("add_line('")
        assert stopped == [future]
        late = pool.options(token=StopToken(timeout=0)).submit(jobs.add_line, str(trace))
        with pytest.raises(TaskTimeout) as timeout:
            late.result()
        assert timeout.value.started is False
        assert not late.cancelled()
    assert not trace.exists()


@pytest.mark.slow
def test_a_task_whose_token_was_set_while_it_waited_never_begins_though_nobody_told_its_future(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 38. Who sets a token tells the futures after that, and the worker may be free sooner."""
    release, trace = tmp_path / "release", tmp_path / "trace"
    token = StopToken()
    with running(1) as pool:
        pool.submit(jobs.await_file, str(release))
        waits = pool.options(token=token).submit(jobs.add_line, str(trace))
        monkeypatch.setattr(Future, "stop", lambda *_, **__: True)
        token.stop("enough")
        say(release)
        with pytest.raises(TaskStopped) as caught:
            waits.result(BOUND_S)
        assert caught.value.started is False
        assert caught.value.rung is None
        assert caught.value.reason == token.reason
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
    assert not trace.exists()


@pytest.mark.slow
def test_a_token_that_runs_out_of_time_while_its_task_waits_is_a_timeout(tmp_path: Path) -> None:
    """Behaviour 90. It is no other than a deadline of the task."""
    release, trace = str(tmp_path / "release"), tmp_path / "trace"
    with running() as pool:
        blocker = pool.submit(jobs.await_file, release)
        token = StopToken(timeout=0.05)
        future = pool.options(token=token).submit(jobs.add_line, str(trace))
        with pytest.raises(TaskTimeout) as caught:
            future.result(BOUND_S)
        assert caught.value.started is False
        assert caught.value.reason is not None
        assert caught.value.reason.kind is StopKind.DEADLINE
        say(release)
        blocker.result(BOUND_S)
    assert not trace.exists()
