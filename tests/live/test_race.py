"""`race`: the first value wins, and all the others have ended when it is returned."""

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import ProcessPoolExecutor, StopKind, TaskStopped, TaskTimeout
from watching import await_file, is_alive, say


def value_after(path: str, value: Any) -> Any:
    await_file(path, 60)
    return value


def test_the_first_value_is_returned_and_the_others_are_stopped(tmp_path: Path) -> None:
    """Behaviour 84. One that fails loses, and one that waits never starts."""
    begun, trace = str(tmp_path / "begun"), tmp_path / "trace"
    with running(3) as pool:
        calls = [
            partial(jobs.fail, "too weak"),
            partial(jobs.polite, begun),
            partial(value_after, begun, "won"),
            *(partial(value_after, str(trace), "late") for _ in range(20)),
        ]
        assert pool.race(calls) == "won"
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_a_loser_learns_that_it_lost_and_has_ended_when_the_race_returns(tmp_path: Path) -> None:
    """Behaviour 84. Its cleanup is waited for."""
    begun, why = str(tmp_path / "begun"), tmp_path / "why"
    with running(2) as pool:
        assert pool.race([partial(tell_why, begun, str(why)), partial(value_after, begun, 1)]) == 1
        assert why.read_text().startswith(str(StopKind.RACE))


def tell_why(begun: str, path: str) -> None:
    try:
        jobs.polite(begun)
    except stoppable.StopRequested as stop:
        say(path, str(stop.reason))
        raise


def test_a_loser_that_does_not_listen_is_ended_by_its_ladder(tmp_path: Path) -> None:
    """Behaviour 84. The race takes as long as that."""
    begun = str(tmp_path / "begun")
    with running(2, policy=jobs.QUICK) as pool:
        assert pool.race([partial(jobs.ignore_all, begun), partial(value_after, begun, 1)]) == 1
        assert not is_alive(int(await_file(begun)))


def test_a_race_that_nobody_wins_raises_all_that_went_wrong() -> None:
    """Behaviour 84. In the order of the calls."""
    with running(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            pool.race([partial(jobs.fail, text) for text in "abc"])
        assert [str(error) for error in caught.value.exceptions] == ["a", "b", "c"]


@pytest.mark.parametrize("calls", [[], (), iter(())])
def test_a_race_of_nobody_is_a_value_error(calls: Any) -> None:
    """Behaviour 84."""
    with running() as pool, pytest.raises(ValueError, match="at least one"):
        pool.race(calls)


def test_a_race_that_takes_too_long_raises_the_timeouts(tmp_path: Path) -> None:
    """Behaviour 84."""
    with running(1, initializer=jobs.value, initargs=(1,)) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            pool.race([partial(jobs.polite, str(tmp_path / str(n))) for n in range(2)], timeout=0.3)
        assert [type(error) for error in caught.value.exceptions] == [TaskTimeout] * 2
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match="timeout"):
                pool.race([int], timeout=wrong)


def test_a_race_that_others_stop_raises_the_stops(tmp_path: Path) -> None:
    """Behaviours 83, 84. It has no value to return."""

    def stop_it() -> Iterator[Any]:
        yield partial(jobs.polite, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        pool.stop("no races here")

    with running() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            pool.race(stop_it())
        assert [type(error) for error in caught.value.exceptions] == [TaskStopped]


def test_a_value_that_is_none_or_false_wins() -> None:
    """Behaviour 84."""
    with running(2) as pool:
        for value in (None, False, 0):
            assert pool.race([partial(jobs.value, value)]) is value


def test_a_race_takes_no_more_calls_than_it_needs() -> None:
    """Behaviour 84. They may be endless."""
    with running(2) as pool:
        assert pool.race(partial(jobs.value, 1) for _ in itertools.count()) == 1


def test_an_iterable_that_raises_stops_the_race(tmp_path: Path) -> None:
    """Behaviour 82."""

    def calls() -> Iterator[Any]:
        yield partial(jobs.polite, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        raise KeyError("no more")

    with running() as pool:
        with pytest.raises(KeyError, match="no more"):
            pool.race(calls())
        assert pool.race([os.getpid]) != os.getpid()


def test_many_races_return_a_value_of_theirs() -> None:
    """Behaviour 84."""
    with running(2) as pool:
        for number in range(50):
            assert pool.race([partial(jobs.value, (number, n)) for n in range(4)])[0] == number


def test_a_race_in_a_shut_down_pool_is_refused() -> None:
    pool = ProcessPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.race([int])
