"""`map`: the standard results, and that whoever leaves it early leaves nothing running."""

import itertools
import operator
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from watching import await_file


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("buffersize", [None, 1, 4, 1000])
def test_results_come_in_order_whatever_the_chunks_and_the_buffer(chunksize: int, buffersize: int | None) -> None:
    with running(2) as pool:
        given = range(20)
        results = pool.map(operator.mul, given, range(1, 100), chunksize=chunksize, buffersize=buffersize)
        assert list(results) == list(map(operator.mul, given, range(1, 100)))
        assert list(pool.map(abs, [], chunksize=chunksize, buffersize=buffersize)) == []


@pytest.mark.parametrize("chunksize", [1, 5])
def test_an_endless_generator_is_pulled_only_as_far_as_the_buffer(chunksize: int) -> None:
    pulled = itertools.count()
    seen = 0

    def numbers() -> Iterator[int]:
        nonlocal seen
        for number in pulled:
            seen = number + 1
            yield number

    with running(2) as pool:
        results = pool.map(jobs.value, numbers(), buffersize=10, chunksize=chunksize)
        assert seen == 10
        assert list(itertools.islice(results, 25)) == list(range(25))
        assert seen <= 25 + 10 + chunksize
        results.close()  # type: ignore[attr-defined]


def test_a_map_that_is_closed_early_stops_what_is_left(tmp_path: Path) -> None:
    """Behaviour 93. The one worker is free again, and what waited never started."""
    paths = [str(tmp_path / str(number)) for number in range(5)]
    with running() as pool:
        results: Any = pool.map(value_or_polite, paths)
        assert next(results) == 0
        await_file(paths[1])
        results.close()
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        assert list(results) == []
    assert not any(Path(path).exists() for path in paths[2:])


def test_a_map_that_is_closed_in_the_middle_of_a_chunk_has_no_more_results() -> None:
    """Behaviour 93. Also for a loop that has begun."""
    with running() as pool:
        results: Any = pool.map(jobs.value, range(10), chunksize=5)
        taken = []
        for result in results:
            taken.append(result)
            if result == 1:
                results.close()
        assert taken == [0, 1]
        assert next(results, None) is None


def test_a_result_that_was_taken_is_held_by_nobody_else() -> None:
    with running() as pool:
        results = pool.map(Result, range(6), chunksize=3)
        for _ in range(6):
            taken = weakref.ref(next(results))
            assert taken() is None
        assert list(results) == []


class Result:
    """What can be referred to weakly."""

    def __init__(self, number: int) -> None:
        self.number = number


def value_or_polite(path: str) -> int:
    if Path(path).name != "0":
        jobs.polite(path)
    return 0


def test_a_map_that_is_dropped_stops_what_is_left(tmp_path: Path) -> None:
    """Behaviour 93. A `break` out of a loop is enough."""
    paths = [str(tmp_path / str(number)) for number in range(3)]
    with running() as pool:
        for result in pool.map(value_or_polite, paths):
            assert result == 0
            await_file(paths[1])
            break
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_an_exception_in_the_middle_is_raised_in_its_place_and_stops_the_rest(tmp_path: Path) -> None:
    """Behaviour 93."""
    with running() as pool:
        results = pool.map(divide_or_polite, [1, 2, 0, 5, 6], itertools.repeat(str(tmp_path / "begun")))
        assert [next(results), next(results)] == [10, 5]
        with pytest.raises(ZeroDivisionError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def divide_or_polite(by: int, begun: str) -> float:
    if by > 4:
        jobs.polite(f"{begun}{by}")
    return 10 / by


def test_a_chunk_with_an_exception_raises_it() -> None:
    with running() as pool:
        results = pool.map(divide, [1, 0, 2, 5], chunksize=2)
        with pytest.raises(ZeroDivisionError):
            next(results)


def divide(by: int) -> float:
    return 10 / by


@pytest.mark.slow
def test_a_map_that_runs_out_of_time_raises_timeout_error_and_stops_the_rest(tmp_path: Path) -> None:
    """Behaviour 93."""
    paths = [str(tmp_path / str(number)) for number in (1, 2)]
    with running() as pool:
        results = pool.map(value_or_polite, paths, timeout=0.5)
        with pytest.raises(TimeoutError) as caught:
            next(results)
        assert type(caught.value) is TimeoutError
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
    assert not Path(paths[1]).exists()


def test_options_hold_for_each_call_of_a_map(tmp_path: Path) -> None:
    with running() as pool:
        assert list(pool.options(name="counted").map(named, range(3))) == ["counted"] * 3


def named(_: object) -> str | None:
    return stoppable.current_token().name


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"chunksize": 0}, ValueError),
        ({"buffersize": 0}, ValueError),
        ({"buffersize": -1}, ValueError),
        ({"buffersize": 1.5}, TypeError),
        ({"buffersize": "3"}, TypeError),
    ],
)
def test_wrong_numbers_are_refused_before_anything_runs(wrong: dict[str, Any], error: type[Exception]) -> None:
    with running() as pool:
        with pytest.raises(error):
            pool.map(abs, [1], **wrong)
        assert pool.workers() == []
