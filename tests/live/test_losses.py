"""What a dead worker costs while stops are under way, and a worker that cannot be killed."""

import functools
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable.shell.engine
from jobs import BOUND_S, running
from stoppable import Future, Rung, TaskStopped, WorkerDied
from stoppable.shell.control import Op
from stoppable.shell.launch import WardenLauncher
from watching import await_file, is_alive, say, until


def stopped(future: Future[Any]) -> TaskStopped:
    """Return the error of a task that is to be stopped soon."""
    with pytest.raises(TaskStopped) as caught:
        future.result(BOUND_S)
    return caught.value


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_large_result_harms_no_other_task(tmp_path: Path) -> None:
    """Behaviour 64. The reader is held back, so that the kill comes while the result is being written."""
    begun = str(tmp_path / "begun")
    with running(2) as pool:
        other = pool.submit(jobs.value, bytes(10_000_000))
        other.result(BOUND_S)
        future = pool.submit(jobs.large, begun, 100_000_000)
        trigger = pool.submit(jobs.await_file, begun)

        def kill_while_it_writes(_: object) -> None:
            until(lambda: worker_is_writing(pool.workers()), "the worker waits for its reader")
            future.kill()

        trigger.add_done_callback(kill_while_it_writes)
        after = [pool.submit(jobs.value, number) for number in range(10)]
        assert stopped(future).rung is Rung.KILL
        assert [each.result(BOUND_S) for each in after] == list(range(10))
        assert len(pool.submit(jobs.value, bytes(10_000_000)).result(BOUND_S)) == 10_000_000


def worker_is_writing(pids: list[int]) -> bool:
    """Say whether one of the processes sleeps in a write to a full socket, or in a send to one."""
    places = []
    for pid in pids:
        try:
            places.append(Path(f"/proc/{pid}/wchan").read_text())
        except OSError:
            continue
    return any("sock_alloc_send" in place or "wait_for" in place for place in places) or not any(places)


@pytest.mark.parametrize(
    ("how", "exitcode", "number", "word"),
    [
        (functools.partial(jobs.end_worker, 3), 3, None, "code 3"),
        (jobs.segfault, None, signal.SIGSEGV, "SIGSEGV"),
        (functools.partial(signal.raise_signal, signal.SIGKILL), None, signal.SIGKILL, "SIGKILL"),
    ],
)
def test_a_worker_that_dies_in_the_grace_of_an_ask_has_died_and_was_not_stopped(
    how: Callable[[], object], exitcode: int | None, number: int | None, word: str, tmp_path: Path
) -> None:
    """Behaviour 65. The error has exit code or signal, and the stop that was pending."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.die_in_cleanup, begun, how)
        await_file(begun)
        future.stop("enough")
        with pytest.raises(WorkerDied) as caught:
            future.result(BOUND_S)
        error = caught.value
        assert (error.exitcode, error.signal) == (exitcode, number)
        assert error.reason is not None
        assert error.reason.message == "enough"
        assert word in str(error)
        assert "die_in_cleanup" in str(error)
        assert not future.cancelled()
        assert not future.stopped()
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_a_worker_killed_from_outside_costs_its_own_task_only(tmp_path: Path) -> None:
    """Behaviour 66. The others go on, and the number of workers is restored."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running(2) as pool:
        unhurt = pool.submit(jobs.await_file, release)
        lost = pool.submit(jobs.nap, begun)
        worker = int(await_file(begun))
        until(lambda: len(pool.workers()) == 3, "both workers and the spare are there")
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerDied) as caught:
            lost.result(BOUND_S)
        assert caught.value.signal == signal.SIGKILL
        assert caught.value.reason is None
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        until(lambda: len(pool.workers()) == 3 and worker not in pool.workers(), "it was replaced")
        say(release, "free")
        assert unhurt.result(BOUND_S) == "free"


@pytest.mark.slow
def test_the_late_end_of_a_worker_that_was_given_up_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 67. Nothing of it stays: no process id in the pool's list, no descriptor."""
    begun = str(tmp_path / "begun")
    deliver = WardenLauncher.deliver

    def harmless(self: WardenLauncher, op: Op, worker: int) -> None:
        if op is not Op.KILL:
            deliver(self, op, worker)

    monkeypatch.setattr(
        stoppable.shell.engine, "Machine", functools.partial(stoppable.shell.engine.Machine, kill_s=0.3)
    )
    monkeypatch.setattr(WardenLauncher, "deliver", harmless)
    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        worker = int(await_file(begun))
        before = len(os.listdir("/proc/self/fd"))
        future.kill()
        assert not stopped(future).confirmed
        assert worker in pool.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: worker not in pool.workers(), "its end was taken in")
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        until(lambda: len(os.listdir("/proc/self/fd")) <= before, "its descriptors are closed")


@pytest.mark.slow
def test_a_worker_that_cannot_be_killed_is_given_up_and_its_seat_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Behaviour 67. The error says that the end was not seen."""
    begun = str(tmp_path / "begun")
    deliver = WardenLauncher.deliver

    def harmless(self: WardenLauncher, op: Op, worker: int) -> None:
        if op is not Op.KILL:
            deliver(self, op, worker)

    impatient = functools.partial(stoppable.shell.engine.Machine, kill_s=0.3)
    monkeypatch.setattr(stoppable.shell.engine, "Machine", impatient)
    monkeypatch.setattr(WardenLauncher, "deliver", harmless)
    with running() as pool:
        future = pool.submit(jobs.nap, begun)
        worker = int(await_file(begun))
        future.kill()
        error = stopped(future)
        assert (error.rung, error.confirmed, error.started) == (Rung.KILL, False, True)
        assert "not seen to end" in str(error)
        assert is_alive(worker)
        errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1
        assert str(worker) in errors[0]
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1
        assert future.cancelled()
    until(lambda: not is_alive(worker), "the end of the pool is the end of it")
