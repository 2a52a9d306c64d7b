"""What can be said of a task and of a policy, and what is refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

import jobs
from jobs import BOUND_S, running
from stoppable import ProcessPoolExecutor, Rung, StopPolicy, StopToken

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
    with pytest.raises(dataclasses.FrozenInstanceError):
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
