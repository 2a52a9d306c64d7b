"""A pool inside a task of another pool."""

import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import chores
from stoppable import ProcessPoolExecutor, Rung, TaskStopped, WorkerDied
from watching import await_file, is_alive, say, until

METHODS = ("none", "fork", "spawn", "forkserver")


def _context(method: str) -> Any:
    return None if method == "none" else multiprocessing.get_context(method)


def _sum_inside(method: str, count: int) -> int:
    with ProcessPoolExecutor(2, mp_context=_context(method)) as pool:
        return sum(pool.map(chores.double, range(count)))


@pytest.mark.slow
@pytest.mark.parametrize("outer", METHODS)
def test_a_task_may_use_a_pool_of_its_own(outer: str) -> None:
    with ProcessPoolExecutor(2, mp_context=_context(outer)) as pool:
        tasks = [pool.submit(_sum_inside, "none", 10) for _ in range(4)]
        assert [task.result(60) for task in tasks] == [90] * 4


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["fork", "spawn"])
def test_a_task_may_use_a_pool_of_any_start_method(inner: str) -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(_sum_inside, inner, 10).result(60) == 90


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_outer_task_has_its_inner_tasks_stopped_first(method: str, tmp_path: Path) -> None:
    """Behaviour 101. The outer task sees them end as stopped, inside its own grace."""
    with ProcessPoolExecutor(1, mp_context=_context(method)) as pool:
        outer = pool.submit(chores.nested_polite, str(tmp_path / "outer"))
        inner = [int(pid) for pid in await_file(tmp_path / "outer").split()]
        outer.stop("outer")
        assert outer.result(60) == ["TaskStopped ask", "TaskStopped ask"]
        assert outer.report.rung is Rung.ASK
        until(lambda: not any(map(is_alive, inner)))


def _wait_for_an_inner_task(path: str) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(chores.polite, path).result()


@pytest.mark.slow
@pytest.mark.parametrize("at", [Rung.ASK, Rung.INTERRUPT])
def test_an_outer_task_that_lets_the_stop_of_an_inner_one_pass_is_stopped_and_not_failed(
    at: Rung, tmp_path: Path
) -> None:
    """Behaviours 101, 143. What it raised is the inner task's TaskStopped, for the outer one's reason."""
    with ProcessPoolExecutor(1) as pool:
        outer = pool.submit(_wait_for_an_inner_task, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        outer.stop("from above", at=at)
        with pytest.raises(TaskStopped, match="_wait_for_an_inner_task") as stop:
            outer.result(60)
        assert outer.cancelled()
        assert stop.value.reason is not None
        assert stop.value.reason.message == "from above"


def _start_what_ignores_sigterm(path: str) -> None:
    deaf = ["sh", "-c", "trap '' TERM HUP; echo; exec sleep 1000"]
    process = subprocess.Popen(deaf, start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    say(path, str(process.pid))
    time.sleep(chores.LONG_S)


def _start_it_inside(path: str) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(_start_what_ignores_sigterm, path).result()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_terminated_outer_task_leaves_nothing_of_its_inner_tasks_not_even_what_ignores_sigterm(
    method: str, tmp_path: Path
) -> None:
    """Behaviours 69, 101. A warden outlives the SIGTERM, and ends what is below it."""
    with ProcessPoolExecutor(1, mp_context=_context(method)) as pool:
        outer = pool.submit(_start_it_inside, str(tmp_path / "begun"))
        deaf = int(await_file(tmp_path / "begun"))
        outer.stop(at=Rung.TERMINATE)
        with pytest.raises(TaskStopped):
            outer.result(60)
        until(lambda: not is_alive(deaf), "what ignored SIGTERM has ended")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_outer_task_leaves_no_inner_worker(method: str, tmp_path: Path) -> None:
    """Behaviour 101."""
    with ProcessPoolExecutor(1, mp_context=_context(method)) as pool:
        outer = pool.submit(chores.nested, str(tmp_path / "outer"))
        inner = [int(pid) for pid in await_file(tmp_path / "outer").split()]
        assert all(map(is_alive, inner))
        outer.kill()
        with pytest.raises(TaskStopped):
            outer.result(60)
        until(lambda: not any(map(is_alive, inner)))
        assert pool.submit(chores.double, 1).result(30) == 2


@pytest.mark.slow
def test_an_outer_task_that_never_looks_is_interrupted_and_its_inner_tasks_end(tmp_path: Path) -> None:
    """Behaviour 101. The interrupt leaves the inner `with`, which stops what is in it."""
    with ProcessPoolExecutor(1, policy=chores.SHORT) as pool:
        outer = pool.submit(chores.nested, str(tmp_path / "outer"))
        inner = [int(pid) for pid in await_file(tmp_path / "outer").split()]
        outer.stop()
        with pytest.raises(TaskStopped):
            outer.result(60)
        until(lambda: not any(map(is_alive, inner)))


@pytest.mark.slow
def test_an_outer_worker_killed_from_outside_leaves_no_inner_worker(tmp_path: Path) -> None:
    """Behaviours 97, 101."""
    with ProcessPoolExecutor(1) as pool:
        outer = pool.submit(chores.nested, str(tmp_path / "outer"))
        inner = [int(pid) for pid in await_file(tmp_path / "outer").split()]
        workers = [pid for pid in pool.workers() if _is_above(pid, inner[0])]
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGKILL)
        with pytest.raises(WorkerDied):
            outer.result(60)
        until(lambda: not any(map(is_alive, inner)))


def _is_above(pid: int, other: int) -> bool:
    while other > 1:
        if other == pid:
            return True
        other = int(Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[1])
    return False
