"""Ctrl-C at a terminal, and the signal state that a worker starts with."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import chores
import pressed
from stoppable import ProcessPoolExecutor, Rung, TaskStopped, WorkerDied
from terminal import Terminal
from watching import await_file, is_alive, say, until


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(pressed, request.param, str(tmp_path))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("terminal", ["result", "leaving"], indirect=True)
def test_one_ctrl_c_stops_gently_and_an_immediate_duplicate_is_ignored(terminal: Terminal, tmp_path: Path) -> None:
    """Behaviour 95. Workers see no SIGINT: what ends the tasks is the ask, and they may clean up."""
    terminal.expect("ready")
    terminal.press()
    # Not before: a press that comes while Python still unwinds to the end of the `with` is not ours to ignore.
    terminal.expect("Ctrl-C again kills them")
    terminal.press("press 2")
    (tmp_path / "go").touch()
    assert terminal.end() == 130, terminal.text
    assert terminal.text.count("end: cleaned up ask") == 2
    assert terminal.text.count("Traceback") == 1
    assert "stopping 2 tasks; Ctrl-C again kills them" in terminal.text


@pytest.mark.slow
@pytest.mark.parametrize("terminal", ["result", "leaving"], indirect=True)
def test_a_second_ctrl_c_after_half_a_second_kills(terminal: Terminal) -> None:
    """Behaviour 95."""
    terminal.expect("ready")
    terminal.press()
    time.sleep(0.7)  # what is tested is this interval
    terminal.press("press 2")
    assert terminal.end() == 130, terminal.text
    assert terminal.text.count("end: stopped kill interrupt") == 2
    assert terminal.text.count("Traceback") == 1


@pytest.mark.slow
@pytest.mark.parametrize("terminal", ["bare"], indirect=True)
def test_ctrl_c_ends_a_program_whose_pool_is_in_no_with(terminal: Terminal, tmp_path: Path) -> None:
    """Behaviour 95. The interpreter waits for pools at its end; after a Ctrl-C it stops them first."""
    terminal.expect("ready")
    worker = int(await_file(tmp_path / "begun"))
    terminal.press("Traceback")
    assert terminal.end() == 130, terminal.text
    assert terminal.text.count("Traceback") == 1
    until(lambda: not is_alive(worker))


@pytest.mark.slow
def test_a_sigint_to_the_group_of_the_parent_reaches_no_worker(tmp_path: Path) -> None:
    """Behaviour 95."""
    with ProcessPoolExecutor(1) as pool:
        task = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        worker = int(await_file(tmp_path / "begun"))
        assert os.getpgid(worker) != os.getpgid(0)
        assert os.getsid(worker) != os.getsid(0)
        say(tmp_path / "go", "on")
        assert task.result(30) == "on"


@pytest.mark.slow
def test_a_sigint_from_elsewhere_does_not_hurt_a_worker(tmp_path: Path) -> None:
    """A signal alone means nothing: only the page says for which task an interrupt is."""
    with ProcessPoolExecutor(1) as pool:
        idle = pool.submit(chores.pid).result(30)
        os.kill(idle, signal.SIGINT)
        task = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        busy = int(await_file(tmp_path / "begun"))
        os.kill(busy, signal.SIGINT)
        say(tmp_path / "go", "on")
        assert task.result(30) == "on"
        assert {idle, busy} <= set(pool.workers())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "fork", "spawn", "forkserver"])
def test_a_worker_starts_with_signals_as_a_new_program_has_them(method: str) -> None:
    """Behaviour 109."""
    import multiprocessing

    context = None if method == "none" else multiprocessing.get_context(method)
    old = signal.signal(signal.SIGUSR1, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    read, write = os.pipe()
    os.set_blocking(write, False)
    wakeup = signal.set_wakeup_fd(write)
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            seen = pool.submit(chores.signals_seen).result(60)
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, old)
        os.close(read)
        os.close(write)
    assert seen == {"sigterm": True, "sigusr1": True, "mask": [], "wakeup": -1, "leads_group": True}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "fork", "spawn"])
def test_a_program_that_blocks_all_signals_is_told_of_the_ends_of_its_workers(method: str, tmp_path: Path) -> None:
    """Behaviour 156. The fork server of multiprocessing is left out: if it starts so, it never hears of an end itself."""
    import multiprocessing

    context = None if method == "none" else multiprocessing.get_context(method)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            task = pool.submit(chores.sleep, str(tmp_path / "begun"))
            os.kill(int(await_file(tmp_path / "begun")), signal.SIGKILL)
            with pytest.raises(WorkerDied) as caught:
                task.result(30)
            assert caught.value.signal == signal.SIGKILL
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "fork"])
def test_terminating_a_worker_never_runs_the_parents_asyncio_handler(method: str, tmp_path: Path) -> None:
    """Behaviour 109."""
    import multiprocessing

    context = None if method == "none" else multiprocessing.get_context(method)
    heard: list[int] = []

    async def main() -> Rung | None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, heard.append, 1)
        try:
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                task = pool.submit(chores.sleep, str(tmp_path / "begun"))
                await asyncio.to_thread(await_file, tmp_path / "begun")
                task.stop(at="terminate")
                with pytest.raises(TaskStopped) as caught:
                    await asyncio.wait_for(asyncio.to_thread(task.result, 30), 60)
                assert await asyncio.to_thread(pool.submit(chores.double, 1).result, 30) == 2
                await asyncio.sleep(0)
                return caught.value.rung
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    assert asyncio.run(main()) is Rung.TERMINATE
    assert heard == []


@pytest.mark.slow
def test_ctrl_c_in_a_with_stops_the_tasks_and_passes_on(tmp_path: Path) -> None:
    """Behaviours 95, 96."""
    with pytest.raises(KeyboardInterrupt), ProcessPoolExecutor(1, policy=chores.SHORT) as pool:
        task = pool.submit(chores.polite, str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        task.result(30)
    with pytest.raises(TaskStopped) as caught:
        task.result(0)
    assert caught.value.rung is Rung.ASK
    assert caught.value.reason is not None
    assert str(caught.value.reason.kind) == "interrupt"
