"""A watchdog stops a task that gives no sign of life, and only if one was asked for."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import Rung, StopKind, TaskStopped, TaskTimeout

WATCHDOG_S = 0.5


def warm() -> None:
    """Have the workers import this module: a task's time includes the import of its function."""


WARM = {"initializer": warm}


def silent() -> str:
    time.sleep(3 * WATCHDOG_S)
    return "silent"


def beats_ahead() -> str:
    stoppable.beat(extend=1000)
    silent()
    return "beats_ahead"


def checks() -> str:
    end = time.monotonic() + 3 * WATCHDOG_S
    while time.monotonic() < end:
        stoppable.check()
        time.sleep(0.01)
    return "checks"


def sleeps() -> str:
    stoppable.sleep(3 * WATCHDOG_S)
    return "sleeps"


def shields() -> str:
    with stoppable.shield():
        silent()
    return "shields"


def checks_at_first(cleaned: str) -> None:
    for _ in range(100):
        stoppable.check()
    try:
        time.sleep(jobs.LONG_S)
    finally:
        jobs.say(cleaned)


@pytest.mark.slow
def test_a_task_that_gives_no_sign_of_life_is_interrupted_and_its_stack_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 100. It is a failure of its own kind: nobody cancelled it."""
    cleaned = tmp_path / "cleaned"
    with running(watchdog=WATCHDOG_S, **WARM) as pool:
        future = pool.submit(checks_at_first, str(cleaned))
        with pytest.raises(TaskStopped, match=r"no check\(\) or beat\(\) for 0.5 s") as caught:
            future.result(BOUND_S)
        error = caught.value
        assert error.reason is not None
        assert error.reason.kind is StopKind.WATCHDOG
        assert error.rung is Rung.INTERRUPT
        assert cleaned.exists()
        assert not isinstance(error, TaskTimeout)
        assert future.stopped()
        assert not future.cancelled()
        assert future.exception() is error
        stack = future.report.stack
        assert stack is not None
        assert "checks_at_first" in stack
        shown = [each.message for each in caplog.records if each.levelno == logging.WARNING and stack in each.message]
        assert len(shown) == 1


@pytest.mark.slow
@pytest.mark.parametrize("task", [beats_ahead, checks, sleeps, shields])
def test_a_task_that_gives_signs_of_life_is_left_alone(task: Callable[[], str]) -> None:
    """Behaviour 100."""
    with running(**WARM) as pool:
        assert pool.options(watchdog=WATCHDOG_S).submit(task).result(BOUND_S) == task.__name__


@pytest.mark.slow
def test_a_beat_of_an_earlier_task_does_not_count_for_the_next() -> None:
    """Behaviour 100. They run on one worker."""
    with running(**WARM) as pool:
        pool.submit(stoppable.beat, 1000.0).result(BOUND_S)
        with pytest.raises(TaskStopped):
            pool.options(watchdog=WATCHDOG_S).submit(time.sleep, jobs.LONG_S).result(BOUND_S)


@pytest.mark.slow
def test_no_watchdog_barks_unless_it_was_asked_for() -> None:
    """Behaviour 100."""
    with running(**WARM) as pool:
        assert pool.submit(silent).result(BOUND_S) == "silent"
    with running(watchdog=WATCHDOG_S, **WARM) as pool:
        assert pool.options(watchdog=float("inf")).submit(silent).result(BOUND_S) == "silent"


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError)])
def test_a_watchdog_that_is_no_time_is_refused(wrong: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="watchdog"):
        stoppable.ProcessPoolExecutor(1, watchdog=wrong)  # type: ignore[arg-type]
