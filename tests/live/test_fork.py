"""Forks: of the process that has a pool, and of a task. The child neither uses nor closes what it inherited."""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import chores
from stoppable import ProcessPoolExecutor, Rung, TaskStopped
from watching import await_file, is_alive, until


def _in_fork(work: Callable[[], object]) -> int:
    """Run *work* in a forked child; return the child's exit code, 0 if it raised nothing."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(30)
            work()
            code = 0
        except BaseException as error:
            os.write(2, f"in the fork: {error!r}\n".encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "fork", "spawn"])
def test_a_forked_child_of_the_parent_cannot_use_the_pool_and_does_not_harm_it(method: str, tmp_path: Path) -> None:
    """Behaviour 111."""
    context = None if method == "none" else multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        running = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        await_file(tmp_path / "begun")

        def use() -> None:
            with pytest.raises(RuntimeError, match="fork"):
                pool.submit(chores.double, 1)
            pool.stop()
            pool.terminate_workers()
            pool.shutdown()
            pool.__exit__(ValueError, ValueError(), None)

        assert _in_fork(use) == 0
        assert _in_fork(lambda: pool.__exit__(None, None, None)) == 0
        chores.say(tmp_path / "go", "on")
        assert running.result(30) == "on"
        assert pool.submit(chores.double, 1).result(30) == 2


@pytest.mark.slow
def test_a_future_in_a_forked_child_stops_nothing(tmp_path: Path) -> None:
    """Behaviour 111."""
    with ProcessPoolExecutor(1) as pool:
        running = pool.submit(chores.look_until_there, str(tmp_path / "go"), str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        assert _in_fork(lambda: (running.cancel(), running.kill(), running.stack())) == 0
        chores.say(tmp_path / "go", "on")
        assert running.result(30) == "on"
        assert not running.stop_requested


@pytest.mark.slow
def test_a_forked_child_that_exits_or_forgets_the_pool_ends_nothing(tmp_path: Path) -> None:
    """Behaviour 111."""
    pools = [ProcessPoolExecutor(1)]
    running = pools[0].submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
    await_file(tmp_path / "begun")

    def forget() -> None:
        pools.clear()
        gc.collect()

    assert _in_fork(forget) == 0
    child = multiprocessing.get_context("fork").Process(target=gc.collect)  # ends as multiprocessing's children do
    child.start()
    child.join(30)
    assert child.exitcode == 0
    child.close()
    assert pools[0].submit(chores.double, 0).cancel() in (True, False)
    chores.say(tmp_path / "go", "on")
    assert running.result(30) == "on"
    pools[0].shutdown()


@pytest.mark.slow
def test_a_forked_child_may_make_a_pool_of_its_own() -> None:
    """Behaviour 111."""
    with ProcessPoolExecutor(1) as outer:
        assert outer.submit(chores.double, 1).result(30) == 2

        def make() -> None:
            with ProcessPoolExecutor(1) as pool:
                assert pool.submit(chores.double, 2).result(20) == 4

        assert _in_fork(make) == 0
        assert outer.submit(chores.double, 3).result(30) == 6


@pytest.mark.slow
def test_a_forked_child_that_lives_on_does_not_keep_the_pool_alive() -> None:
    """Behaviour 111. It holds copies of every socket; the pool's end must not wait for them."""
    pool = ProcessPoolExecutor(1)
    worker = pool.submit(chores.pid).result(30)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        pool.shutdown()
        until(lambda: not is_alive(worker))
    finally:
        os.close(read)
        os.close(write)
        os.waitpid(child, 0)


@pytest.mark.slow
def test_a_child_forked_by_a_task_does_not_answer_for_it(tmp_path: Path) -> None:
    """Behaviour 111."""
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(chores.fork_and_return, str(tmp_path / "child")).result(30) == "parent"
        assert (tmp_path / "child").exists()
        task = pool.submit(chores.fork_and_use_functions, str(tmp_path / "child2"))
        assert task.result(30) == "parent"
        assert (tmp_path / "child2").exists()
        assert task.partial() is None
        assert pool.submit(chores.double, 1).result(30) == 2


@pytest.mark.slow
def test_a_child_forked_by_a_task_ends_with_a_killed_task(tmp_path: Path) -> None:
    """Behaviours 69, 111."""
    with ProcessPoolExecutor(1) as pool:
        task = pool.submit(_fork_and_sleep, str(tmp_path / "child"))
        child = int(await_file(tmp_path / "child"))
        task.kill()
        with pytest.raises(TaskStopped) as caught:
            task.result(30)
        assert caught.value.rung is Rung.KILL
        until(lambda: not is_alive(child))


def _fork_and_sleep(path: str) -> None:
    if os.fork() == 0:
        os.setsid()
        chores.sleep(path)
    chores.sleep()
