"""How a pool is left: shutdown, stop, terminate_workers, `with`, being forgotten, the end of the interpreter."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path

import pytest

import chores
from stoppable import ProcessPoolExecutor, Rung, StopKind, StopPolicy, TaskStopped
from watching import await_file, is_alive, say, until

SHORT = chores.SHORT


@pytest.mark.slow
def test_stopping_eight_stubborn_tasks_takes_one_ladder_and_starts_no_other(tmp_path: Path) -> None:
    """Behaviour 94. All ladders run side by side: each rung is climbed by all before the next by any."""
    policy = StopPolicy(ask=0.0, interrupt=0.5, terminate=0.5)
    with ProcessPoolExecutor(8, policy=policy) as pool:
        running = [pool.submit(chores.stubborn, str(tmp_path / f"task{n}")) for n in range(8)]
        for n in range(8):
            await_file(tmp_path / f"task{n}")
        waiting = [pool.submit(chores.append, str(tmp_path / "ran"), "x") for _ in range(20)]
        pool.stop("enough")
        assert not wait(waiting, 60).not_done
        assert all(task.cancelled() for task in waiting)
        for task in running:
            with pytest.raises(TaskStopped) as caught:
                task.result(60)
            assert caught.value.rung is Rung.KILL
            assert caught.value.reason is not None
            assert caught.value.reason.message == "enough"
        when: dict[Rung, list[float]] = {}
        for task in running:
            for rung, at in task.report.rungs:
                when.setdefault(rung, []).append(at)
        assert all(len(times) == 8 for times in when.values())
        assert max(when[Rung.INTERRUPT]) < min(when[Rung.TERMINATE])
        assert max(when[Rung.TERMINATE]) < min(when[Rung.KILL])
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_pool_can_be_used_after_stop(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, policy=SHORT) as pool:
        running = pool.submit(chores.polite, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        pool.stop()
        with pytest.raises(TaskStopped):
            running.result(30)
        assert pool.submit(chores.double, 3).result(30) == 6


@pytest.mark.slow
def test_with_left_by_an_exception_stops_a_task_that_never_checks(tmp_path: Path) -> None:
    """Behaviour 96."""
    with pytest.raises(KeyError), ProcessPoolExecutor(1, policy=SHORT) as pool:
        task = pool.submit(chores.sleep, str(tmp_path / "begun"))
        queued = pool.submit(chores.double, 1)
        await_file(tmp_path / "begun")
        raise KeyError("oops")
    assert task.cancelled()
    assert queued.cancelled()
    with pytest.raises(TaskStopped) as caught:
        task.result(0)
    assert caught.value.rung is Rung.INTERRUPT
    assert "KeyError" in str(caught.value.reason)


def test_with_left_normally_waits_for_all_tasks() -> None:
    with ProcessPoolExecutor(2) as pool:
        tasks = [pool.submit(chores.double, n) for n in range(50)]
    assert [task.result(0) for task in tasks] == [2 * n for n in range(50)]


@pytest.mark.slow
def test_a_pool_made_in_a_short_lived_thread_outlives_it(tmp_path: Path) -> None:
    """Behaviour 98. Also its running task, and a worker that is started later."""
    made: list[ProcessPoolExecutor] = []
    tasks: list[Future[str]] = []

    def make() -> None:
        made.append(ProcessPoolExecutor(2))
        tasks.append(made[0].submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun")))
        await_file(tmp_path / "begun")

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(30)
    with made[0] as pool:
        assert pool.submit(chores.double, 2).result(30) == 4
        say(tmp_path / "go", "on")
        assert tasks[0].result(30) == "on"


@pytest.mark.slow
def test_a_pool_under_a_context_made_in_a_short_lived_thread_outlives_it(tmp_path: Path) -> None:
    """Behaviour 98."""
    import multiprocessing

    for method in ("fork", "spawn"):
        made: list[ProcessPoolExecutor] = []

        def make(method: str = method, made: list[ProcessPoolExecutor] = made) -> None:
            made.append(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)))
            made[0].submit(chores.pid).result(30)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join(60)
        with made[0] as pool:
            worker = pool.submit(chores.pid).result(30)
            assert is_alive(worker)


def test_submit_after_shutdown_raises_as_the_standard_does() -> None:
    pool = ProcessPoolExecutor(1)
    pool.submit(chores.double, 1).result(30)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(chores.double, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(pool.map(chores.double, [1]))
    pool.shutdown()
    pool.shutdown(wait=False, cancel_futures=True)


def test_a_pool_that_was_never_used_starts_nothing_and_shuts_down() -> None:
    pool = ProcessPoolExecutor(3)
    assert pool.workers() == []
    pool.stop()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(chores.double, 1)


@pytest.mark.slow
def test_shutdown_without_wait_lets_the_tasks_end(tmp_path: Path) -> None:
    pool = ProcessPoolExecutor(1)
    task = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
    queued = pool.submit(chores.double, 5)
    await_file(tmp_path / "begun")
    pool.shutdown(wait=False)
    assert not task.done()
    say(tmp_path / "go", "on")
    assert task.result(30) == "on"
    assert queued.result(30) == 10


@pytest.mark.slow
def test_cancel_futures_cancels_what_has_not_started_and_nothing_else(tmp_path: Path) -> None:
    pool = ProcessPoolExecutor(1)
    task = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
    queued = [pool.submit(chores.append, str(tmp_path / "ran"), "x") for _ in range(5)]
    await_file(tmp_path / "begun")
    pool.shutdown(wait=False, cancel_futures=True)
    wait(queued, 30)
    assert all(each.cancelled() for each in queued)
    with pytest.raises(CancelledError):
        queued[0].result(0)
    say(tmp_path / "go", "on")
    assert task.result(30) == "on"
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["terminate_workers", "kill_workers"])
def test_workers_ended_by_force_end_their_tasks_and_the_pool(way: str, tmp_path: Path) -> None:
    pool = ProcessPoolExecutor(2)
    running = [pool.submit(chores.sleep, str(tmp_path / f"task{n}")) for n in range(2)]
    queued = pool.submit(chores.double, 1)
    for n in range(2):
        await_file(tmp_path / f"task{n}")
    workers = pool.workers()
    getattr(pool, way)()
    for task in running:
        with pytest.raises(TaskStopped) as caught:
            task.result(30)
        assert caught.value.rung is (Rung.KILL if way == "kill_workers" else Rung.TERMINATE)
    with pytest.raises(CancelledError):
        queued.result(30)
    until(lambda: not any(map(is_alive, workers)))
    with pytest.raises(RuntimeError):
        pool.submit(chores.double, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["terminate_workers", "kill_workers"])
def test_idle_workers_are_ended_by_force_too(way: str) -> None:
    pool = ProcessPoolExecutor(2)
    pool.submit(chores.double, 1).result(30)
    workers = pool.workers()
    assert workers
    getattr(pool, way)()
    until(lambda: not any(map(is_alive, workers)))


@pytest.mark.slow
def test_a_pool_that_is_forgotten_lets_its_tasks_end_and_leaves_nothing(tmp_path: Path) -> None:
    pool = ProcessPoolExecutor(1)
    task = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
    queued = pool.submit(chores.double, 5)
    await_file(tmp_path / "begun")
    workers = pool.workers()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    say(tmp_path / "go", "on")
    assert task.result(30) == "on"
    assert queued.result(30) == 10
    until(lambda: not any(map(is_alive, workers)))


def test_a_forgotten_idle_pool_leaves_nothing() -> None:
    pool = ProcessPoolExecutor(2)
    pool.submit(chores.double, 1).result(30)
    workers = pool.workers()
    del pool
    gc.collect()
    until(lambda: not any(map(is_alive, workers)))


def _run(program: str, *args: str, bound_s: float = 60) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", program, *args], env=env, capture_output=True, text=True, timeout=bound_s, check=False
    )


@pytest.mark.slow
def test_the_interpreter_waits_for_tasks_of_a_pool_that_was_not_shut_down(tmp_path: Path) -> None:
    program = (
        "import chores, stoppable, sys\n"
        "pool = stoppable.ProcessPoolExecutor(1)\n"
        "task = pool.submit(chores.wait_for, sys.argv[1], sys.argv[2])\n"
        "for n in range(3): pool.submit(chores.append, sys.argv[3], str(n))\n"
        "pool.submit(chores.print_line, 'printed by a task')\n"
        "chores.await_file(sys.argv[2])\n"
        "import threading\n"
        "threading.Thread(target=lambda: (chores.time.sleep(0.3), chores.say(sys.argv[1], 'go'))).start()\n"
        "print('end of main', flush=True)\n"
    )
    ended = _run(program, str(tmp_path / "go"), str(tmp_path / "begun"), str(tmp_path / "ran"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["end of main", "printed by a task"]
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2"]


@pytest.mark.slow
def test_a_pool_used_in_atexit_says_that_it_is_too_late(tmp_path: Path) -> None:
    program = (
        "import atexit, chores, stoppable\n"
        "def late():\n"
        "    try:\n"
        "        print(stoppable.ProcessPoolExecutor(1).submit(chores.double, 1).result(30))\n"
        "    except RuntimeError as error:\n"
        "        print('RuntimeError', error)\n"
        "atexit.register(late)\n"
    )
    ended = _run(program)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "shut" in ended.stdout


@pytest.mark.slow
def test_a_used_pool_asked_again_in_atexit_says_that_it_is_too_late() -> None:
    program = (
        "import atexit, chores, stoppable\n"
        "pool = stoppable.ProcessPoolExecutor(1)\n"
        "pool.submit(chores.double, 1).result(30)\n"
        "def late():\n"
        "    try:\n"
        "        print(pool.submit(chores.double, 1).result(10))\n"
        "    except RuntimeError as error:\n"
        "        print('RuntimeError', error)\n"
        "atexit.register(late)\n"
    )
    ended = _run(program)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("RuntimeError")
    assert "shut" in ended.stdout


@pytest.mark.slow
def test_a_thread_that_uses_a_pool_after_the_main_thread_has_ended_is_served_or_told_why_not() -> None:
    program = (
        "import chores, stoppable, threading, time\n"
        "pool = stoppable.ProcessPoolExecutor(1)\n"
        "def work():\n"
        "    print([pool.submit(chores.double, n).result(30) for n in range(5)])\n"
        "threading.Thread(target=work).start()\n"
    )
    ended = _run(program)
    # As with the standard executor, the interpreter closes its pools before it waits for threads.
    assert ended.returncode == 0
    said = ended.stdout + ended.stderr
    assert any(text in said for text in ("[0, 2, 4, 6, 8]", "cannot", "was stopped before it started (shutdown)"))


@pytest.mark.slow
def test_a_pool_may_be_used_from_many_threads_at_once() -> None:
    with ProcessPoolExecutor(2) as pool:
        outs: list[list[int]] = [[] for _ in range(16)]
        threads = [chores.submit_from_thread(pool, 100, out) for out in outs]
        for thread in threads:
            thread.join(90)
        assert outs == [[2 * n for n in range(100)]] * 16


@pytest.mark.slow
def test_a_callback_may_submit_stop_and_shut_down(tmp_path: Path) -> None:
    pool = ProcessPoolExecutor(1)
    inner: list[Future[int]] = []
    done = threading.Event()

    def submit_more(future: "Future[int]") -> None:
        inner.append(pool.submit(chores.double, future.result()))
        inner[0].add_done_callback(shut_down)

    def shut_down(_: "Future[int]") -> None:
        pool.shutdown(wait=True)  # must not wait for itself
        done.set()

    pool.submit(chores.double, 1).add_done_callback(submit_more)
    assert done.wait(30)
    assert inner[0].result(30) == 4
    pool.shutdown()


@pytest.mark.slow
def test_a_callback_that_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessPoolExecutor(1) as pool:

        def bad(_: "Future[int]") -> None:
            raise ValueError("in a callback")

        task = pool.submit(chores.double, 1)
        task.add_done_callback(bad)
        assert task.result(30) == 2
        assert pool.submit(chores.double, 2).result(30) == 4
    assert any("callback" in record.message for record in caplog.records)
    caplog.clear()  # its traceback holds the pool


@pytest.mark.slow
def test_each_of_1000_tasks_cancelled_at_once_ends_exactly_once(tmp_path: Path) -> None:
    """Behaviours 38, 39, 49."""
    ran = tmp_path / "ran"
    ends: list[Future[None]] = []
    with ProcessPoolExecutor(2, policy=SHORT) as pool:
        tasks = []
        for n in range(1000):
            task = pool.submit(chores.append, str(ran), str(n))
            task.add_done_callback(ends.append)
            if n % 3 != 0:
                task.cancel()
            tasks.append(task)
        wait(tasks, 90)
    assert all(task.done() for task in tasks)
    assert len(ends) == 1000
    assert {id(task) for task in ends} == {id(task) for task in tasks}
    lines = ran.read_text().split()
    assert len(lines) == len(set(lines)), "a task ran twice"
    for n, task in enumerate(tasks):
        if task.cancelled():
            with pytest.raises(TaskStopped) as caught:
                task.result(0)
            assert caught.value.started or str(n) not in lines
        else:
            assert task.result(0) is None
            assert str(n) in lines
    assert not any(task.cancelled() for task in tasks[::3])


@pytest.mark.slow
def test_tasks_cancelled_by_another_thread_while_they_start_end_exactly_once(tmp_path: Path) -> None:
    """Behaviours 39, 44, 49."""
    with ProcessPoolExecutor(2, policy=SHORT) as pool:
        line: list[Future[int]] = []
        over = threading.Event()

        def cancel_all() -> None:
            seen = 0
            while not over.is_set() or seen < len(line):
                if seen < len(line):
                    line[seen].cancel()
                    seen += 1

        thread = threading.Thread(target=cancel_all)
        thread.start()
        line.extend(pool.submit(chores.double, n) for n in range(1000))  # one by one: the thread sees each
        over.set()
        thread.join(90)
        wait(line, 90)
        for n, task in enumerate(line):
            if not task.cancelled():
                assert task.result(0) == 2 * n
        assert pool.submit(chores.double, 21).result(30) == 42


@pytest.mark.slow
def test_what_a_task_prints_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(chores.print_line, (f"<{n}>" for n in range(200))))
    # Lines of two processes may be mixed, as those of any two programs; nothing is missing or there twice.
    words = capfd.readouterr().out.replace("\n", "").replace("><", "> <").split()
    assert sorted(words) == sorted(f"<{n}>" for n in range(200))


@pytest.mark.slow
def test_a_worker_reads_nothing_from_stdin() -> None:
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(chores.read_stdin).result(30) == ("", "/dev/null")


@pytest.mark.slow
def test_a_map_iterator_that_is_closed_stops_what_is_left(tmp_path: Path) -> None:
    """Behaviour 93."""
    with ProcessPoolExecutor(1, policy=SHORT) as pool:
        results = pool.map(chores.append, [str(tmp_path / "ran")] * 3, ["a", "b", "c"])
        next(results)
        rest = pool.map(chores.polite, [str(tmp_path / f"task{n}") for n in range(50)])
        await_file(tmp_path / "task0")
        rest.close()  # type: ignore[attr-defined]
        assert list(rest) == []
        assert pool.submit(chores.double, 1).result(30) == 2
        assert not (tmp_path / "task49").exists()


@pytest.mark.slow
def test_a_map_iterator_that_is_dropped_unused_lets_its_tasks_run(tmp_path: Path) -> None:
    """As with the standard executor, where this is how people start calls whose results they do not want."""
    with ProcessPoolExecutor(1) as pool:
        pool.map(chores.append, [str(tmp_path / "ran")] * 3, ["a", "b", "c"])
        gc.collect()
    assert (tmp_path / "ran").read_text().split() == ["a", "b", "c"]


def test_the_reason_of_a_pool_stop_is_of_kind_shutdown(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, policy=SHORT) as pool:
        task = pool.submit(chores.polite, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        pool.stop("over")
        with pytest.raises(TaskStopped) as caught:
            task.result(30)
        assert caught.value.reason is not None
        assert (caught.value.reason.kind, caught.value.rung) == (StopKind.SHUTDOWN, Rung.ASK)


@pytest.mark.slow
def test_a_shutdown_that_waits_from_two_threads_returns_in_both(tmp_path: Path) -> None:
    pool = ProcessPoolExecutor(1)
    pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
    await_file(tmp_path / "begun")
    threads = [threading.Thread(target=pool.shutdown) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0)
    say(tmp_path / "go", "on")
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
