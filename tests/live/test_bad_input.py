"""What cannot work: each with a clear error that names it, at once or on that future alone, and no hang."""

import math
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any, NoReturn

import pytest

import chores
from stoppable import ProcessPoolExecutor, StopToken
from watching import await_file, say


class Trap:
    """Pickles; its copy cannot be made."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, ()


class TwoArguments(Exception):
    """Pickles, and does not unpickle: the classical mistake."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class Locked(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("locked inside")
        self.lock = threading.Lock()


def _explode() -> NoReturn:
    raise ValueError("this copy cannot be made")


def _return_lock() -> object:
    return threading.Lock()


def _return_trap() -> Trap:
    return Trap()


def _raise_two() -> NoReturn:
    raise TwoArguments("first", "second")


def _raise_locked() -> NoReturn:
    raise Locked


def _raise(error: type[BaseException]) -> NoReturn:
    raise error("by hand")


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1) as made:
        made.submit(chores.double, 1).result(30)
        yield made


@pytest.mark.parametrize("bad", [0, -1, -(10**30)])
def test_less_than_one_worker_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        ProcessPoolExecutor(bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"max_workers": 1.5},
        {"max_workers": "2"},
        {"max_workers": True},
        {"initializer": 3},
        {"initargs": 3},
        {"max_tasks_per_child": 1.5},
        {"max_tasks_per_child": "1"},
        {"policy": 3.0},
        {"timeout": "1"},
        {"mp_context": "spawn"},
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(bad))):
        ProcessPoolExecutor(**bad)


@pytest.mark.parametrize("bad", [{"timeout": math.nan}, {"timeout": -1}, {"max_tasks_per_child": 0}])
def test_a_value_out_of_range_is_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ProcessPoolExecutor(**bad)


@pytest.mark.parametrize("bad", [{"timeout": math.nan}, {"timeout": -0.1}, {"deadline": math.nan}])
def test_a_time_that_is_none_is_refused_for_a_task(bad: dict[str, Any], pool: ProcessPoolExecutor) -> None:
    """Behaviour 13."""
    with pytest.raises(ValueError, match=next(iter(bad))):
        pool.options(**bad)


@pytest.mark.parametrize(
    "bad", [{"timeout": "1"}, {"deadline": "1"}, {"policy": 1}, {"token": object()}, {"on_stopped": 1}]
)
def test_an_option_of_the_wrong_type_is_refused_by_name(bad: dict[str, Any], pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError, match=next(iter(bad))):
        pool.options(**bad)


def test_calling_what_is_no_function_fails_that_future(pool: ProcessPoolExecutor) -> None:
    with pytest.raises(TypeError, match="not callable"):
        pool.submit(3).result(30)  # type: ignore[arg-type]


def test_an_argument_that_does_not_pickle_fails_that_future(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    task = pool.submit(chores.double, threading.Lock())
    with pytest.raises(TypeError, match="pickle") as caught:
        task.result(30)
    assert any("double" in note for note in caught.value.__notes__)
    assert pool.submit(chores.double, 2).result(30) == 4


def test_a_function_that_does_not_pickle_fails_that_future(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    lock = threading.Lock()

    def locked() -> None:
        lock.acquire()

    with pytest.raises(Exception, match=r"pickle|local object"):
        pool.submit(locked).result(30)
    assert pool.submit(chores.double, 2).result(30) == 4


def test_an_argument_that_does_not_unpickle_fails_that_future(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    with pytest.raises(ValueError, match="this copy cannot be made") as caught:
        pool.submit(chores.double, Trap()).result(30)
    assert any("function and arguments" in note for note in caught.value.__notes__)
    assert pool.submit(chores.double, 2).result(30) == 4


def test_a_result_that_does_not_pickle_fails_that_future(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    with pytest.raises(TypeError, match="pickle") as caught:
        pool.submit(_return_lock).result(30)
    assert any("result" in note for note in caught.value.__notes__)
    assert pool.submit(chores.double, 2).result(30) == 4


def test_a_result_that_does_not_unpickle_fails_that_future(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    with pytest.raises(ValueError, match="this copy cannot be made"):
        pool.submit(_return_trap).result(30)
    assert pool.submit(chores.double, 2).result(30) == 4


def test_an_exception_that_does_not_unpickle_is_named_in_the_error(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    with pytest.raises(Exception, match="TwoArguments") as caught:
        pool.submit(_raise_two).result(30)
    assert "first second" in str(caught.value) or "first second" in str(caught.value.__cause__)
    assert pool.submit(chores.double, 2).result(30) == 4


def test_an_exception_that_does_not_pickle_is_named_in_the_error(pool: ProcessPoolExecutor) -> None:
    """Behaviour 108."""
    with pytest.raises(Exception, match="Locked"):
        pool.submit(_raise_locked).result(30)
    assert pool.submit(chores.double, 2).result(30) == 4


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_tasks_own_exit_is_an_ordinary_exception(error: type[BaseException], pool: ProcessPoolExecutor) -> None:
    """Behaviour 46."""
    with pytest.raises(error, match="by hand"):
        pool.submit(_raise, error).result(30)
    assert pool.submit(chores.double, 2).result(30) == 4


@pytest.mark.slow
def test_a_function_whose_module_is_not_in_the_worker_fails_that_future(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 108."""
    import sys
    import types

    ghost = types.ModuleType("ghost_module")
    exec("def haunt():\n    return 1\n", ghost.__dict__)
    monkeypatch.setitem(sys.modules, "ghost_module", ghost)
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(ModuleNotFoundError, match="ghost_module"):
            pool.submit(ghost.haunt).result(30)
        assert pool.submit(chores.double, 2).result(30) == 4


@pytest.mark.slow
def test_a_token_of_a_dead_process_stops_the_task(tmp_path: Path) -> None:
    """Behaviour 26. Its owner is gone, so it reads set; the task never starts, or ends at once."""
    with ProcessPoolExecutor(1) as maker:
        token = maker.submit(StopToken).result(30)
        maker.submit(chores.double, 1).result(30)
    with ProcessPoolExecutor(1) as pool:
        assert token.wait(30)
        task = pool.options(token=token).submit(chores.polite, str(tmp_path / "begun"))
        wait([task], 30)
        assert task.cancelled()
        assert "orphan" in str(task._stop_error)


@pytest.mark.slow
def test_a_queued_task_costs_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    """Behaviour 112. Measured about 2 KB a task on Python 3.13, its future included; 6 KB is the bound."""
    count = 20_000
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tasks = [pool.submit(chores.double, 1) for _ in range(count)]
            pool.submit(chores.double, 1).running()
            each = (tracemalloc.get_traced_memory()[0] - before) / count
        finally:
            tracemalloc.stop()
        print(f"{each:.0f} bytes for each queued task")
        pool.stop()
        assert not wait(tasks, 100).not_done
        say(tmp_path / "go", "on")
        wait([first], 30)
    assert each < 6_000


@pytest.mark.slow
def test_map_over_an_endless_generator_pulls_only_what_its_buffer_holds() -> None:
    """Behaviour 112."""
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    with ProcessPoolExecutor(2) as pool:
        results = pool.map(chores.double, endless(), buffersize=10)
        for n in range(1, 101):
            assert next(results) == 2 * n
            assert pulled <= n + 10
        results.close()  # type: ignore[attr-defined]
