"""Pools whose workers come from a multiprocessing context: the same answers, the same rungs."""

import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import chores
from stoppable import Event, ProcessPoolExecutor, Rung, StopToken, TaskStopped
from stoppable.shell import channel
from watching import await_file, is_alive, say, until

METHODS = ("none", "fork", "spawn", "forkserver")
SHORT = chores.SHORT


def _context(method: str) -> Any:
    return None if method == "none" else multiprocessing.get_context(method)


def _wait_event(event: Event, path: str) -> bool:
    say(path)
    return event.wait(30)


def _wait_token(token: StopToken, path: str) -> str:
    say(path)
    token.wait(30)
    return str(token.reason)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_each_start_method_gives_the_same_answers(method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=_context(method)) as pool:
        assert list(pool.map(chores.double, range(50))) == [2 * n for n in range(50)]
        with pytest.raises(ValueError, match="oops"):
            pool.submit(chores.raises, "oops").result(30)
        assert pool.submit(chores.pid).result(30) not in (os.getpid(), 0)
        assert len(pool.submit(bytes, 10 << 20).result(60)) == 10 << 20


@pytest.mark.slow
@pytest.mark.parametrize("rung", [Rung.ASK, Rung.INTERRUPT, Rung.TERMINATE, Rung.KILL])
@pytest.mark.parametrize("method", METHODS)
def test_each_start_method_stops_at_each_rung(method: str, rung: Rung, tmp_path: Path) -> None:
    task = {
        Rung.ASK: chores.polite,
        Rung.INTERRUPT: chores.sleep,
        Rung.TERMINATE: chores.hold_gil,
        Rung.KILL: chores.stubborn,
    }[rung]
    with ProcessPoolExecutor(1, mp_context=_context(method), policy=SHORT) as pool:
        future = pool.submit(task, str(tmp_path / "begun"))
        worker = int(await_file(tmp_path / "begun"))
        future.stop("test")
        with pytest.raises(TaskStopped) as caught:
            future.result(60)
        assert caught.value.rung is rung
        assert caught.value.confirmed
        if rung >= Rung.INTERRUPT:
            until(lambda: not is_alive(worker), "the worker has gone")
        else:
            assert is_alive(worker)
        assert pool.submit(chores.double, 4).result(60) == 8


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_each_start_method_says_where_a_task_is_and_where_it_was_killed(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_STACK_WAIT_S", 10.0)
    with ProcessPoolExecutor(1, mp_context=_context(method)) as pool:
        future = pool.submit(chores.sleep, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        until(lambda: "in sleep" in (future.stack() or ""))
        future.kill()
        with pytest.raises(TaskStopped) as caught:
            future.result(60)
        assert "in sleep" in (caught.value.stack or "")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_each_start_method_kills_what_a_task_has_started(method: str, tmp_path: Path) -> None:
    """Behaviour 69."""
    with ProcessPoolExecutor(1, mp_context=_context(method)) as pool:
        future = pool.submit(chores.child_in_session, str(tmp_path / "begun"))
        worker = int(await_file(tmp_path / "begun"))
        below = [
            int(pid)
            for thread in Path(f"/proc/{worker}/task").iterdir()
            for pid in (thread / "children").read_text().split()
        ]
        assert below
        future.kill()
        with pytest.raises(TaskStopped):
            future.result(30)
        until(lambda: not any(map(is_alive, [worker, *below])))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_flags_and_tokens_reach_the_workers_of_each_start_method(method: str, tmp_path: Path) -> None:
    """Behaviour 22."""
    event, token = Event(), StopToken()
    with ProcessPoolExecutor(2, mp_context=_context(method)) as pool:
        waits = pool.submit(_wait_event, event, str(tmp_path / "event"))
        stops = pool.submit(_wait_token, token, str(tmp_path / "token"))
        await_file(tmp_path / "event")
        await_file(tmp_path / "token")
        event.set()
        token.stop("here")
        assert waits.result(30) is True
        assert stops.result(30) == "stop: here"


@pytest.mark.slow
def test_under_fork_the_initializer_may_get_what_does_not_pickle() -> None:
    secret = threading.Lock()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=chores.keep_args, initargs=(lambda: 42, secret)
    ) as pool:
        assert pool.submit(chores.kept_call).result(30) == 42


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS[1:])
def test_locks_and_queues_of_a_context_reach_its_workers_as_initargs(method: str) -> None:
    context = multiprocessing.get_context(method)
    lock, queue = context.Lock(), context.Queue()
    with ProcessPoolExecutor(2, mp_context=context, initializer=chores.keep_args, initargs=(lock, queue)) as pool:
        for task in [pool.submit(chores.use_lock_and_queue, n) for n in range(10)]:
            task.result(60)
        assert sorted(queue.get(timeout=30) for _ in range(10)) == list(range(10))
    queue.close()
    queue.join_thread()


@pytest.mark.slow
def test_a_manager_proxy_works_as_an_argument_in_the_default_context() -> None:
    with multiprocessing.get_context("spawn").Manager() as manager:
        shared = manager.dict()
        with ProcessPoolExecutor(1) as pool:
            for _ in range(5):
                pool.submit(chores.bump, shared, "n").result(30)
        assert dict(shared) == {"n": 5}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_as_many_tasks_run_at_once_after_kills_as_before(method: str, tmp_path: Path) -> None:
    """Behaviours 63, 66."""
    with ProcessPoolExecutor(2, mp_context=_context(method)) as pool:
        for n in range(3):
            victim = pool.submit(chores.sleep, str(tmp_path / f"victim{n}"))
            await_file(tmp_path / f"victim{n}")
            victim.kill()
            with pytest.raises(TaskStopped):
                victim.result(30)
        both = [pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / f"task{n}")) for n in range(2)]
        pids = {await_file(tmp_path / f"task{n}") for n in range(2)}
        assert len(pids) == 2
        say(tmp_path / "go", "on")
        assert [task.result(30) for task in both] == ["on", "on"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_is_replaced_after_its_number_of_tasks(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=_context(method), max_tasks_per_child=2) as pool:
        pids = [pool.submit(chores.pid).result(60) for _ in range(6)]
    counts = {pid: pids.count(pid) for pid in pids}
    assert max(counts.values()) <= 2


@pytest.mark.slow
def test_a_pool_works_in_a_daemonic_process() -> None:
    """The standard executor cannot: daemonic processes must have no children of multiprocessing's."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_pool_in, args=(queue,), daemon=True)
    process.start()
    assert queue.get(timeout=60) == [0, 2, 4]
    process.join(30)
    assert process.exitcode == 0
    process.close()
    queue.close()
    queue.join_thread()


def _pool_in(queue: Any) -> None:
    with ProcessPoolExecutor(2) as pool:
        queue.put(list(pool.map(chores.double, range(3))))
