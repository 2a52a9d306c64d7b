"""A paused task stands still with all its processes, no clock runs against it, and it can be stopped."""

import subprocess
import time
from pathlib import Path

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import Rung, TaskStopped
from watching import await_file, is_alive, say, until


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def nap_with_child(begun: str, release: str) -> str:
    """Start a process in a session of its own, say both ids, and wait without looking at the token."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        say(begun, f"{jobs.pid()} {child.pid}")
        return await_file(release, 60)
    finally:
        child.kill()
        child.wait()


def work(begun: str, steps: int) -> int:
    """Take *steps* tenths of a second, and look at the token."""
    stoppable.check()
    say(begun)
    for _ in range(steps):
        stoppable.check()
        time.sleep(0.1)
    return steps


def test_a_paused_task_stands_still_with_its_processes_until_it_is_resumed(tmp_path: Path) -> None:
    """Behaviour 99."""
    begun, release = str(tmp_path / "begun"), str(tmp_path / "release")
    with running() as pool:
        future = pool.submit(nap_with_child, begun, release)
        pids = [int(pid) for pid in await_file(begun).split()]
        assert not future.paused
        assert future.pause()
        until(lambda: [state(pid) for pid in pids] == ["T", "T"], "both stand still")
        assert future.paused
        assert future.running()
        assert future.stack() is None
        say(release, "free")
        assert future.resume()
        assert future.result(BOUND_S) == "free"
        assert not future.paused
        assert not future.pause()
        assert not future.resume()
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


@pytest.mark.parametrize("rung", list(Rung))
def test_a_stop_resumes_a_paused_task_and_ends_it(tmp_path: Path, rung: Rung) -> None:
    """Behaviour 99. An ask is heard, though the task stood still when it was said."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        future = pool.submit(jobs.polite, begun)
        worker = int(await_file(begun))
        future.pause()
        until(lambda: state(worker) == "T", "it stands still")
        future.stop(at=rung)
        with pytest.raises(TaskStopped) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is rung
        # Its ending may have been heard before the kill was carried out.
        until(lambda: is_alive(worker) == (rung is Rung.ASK))
        assert not future.paused


@pytest.mark.slow
def test_a_pause_counts_neither_for_the_timeout_nor_for_the_watchdog(tmp_path: Path) -> None:
    """Behaviour 99. It stood still for longer than each of them."""
    begun = str(tmp_path / "begun")
    with running(initializer=jobs.value, initargs=(1,)) as pool:
        future = pool.options(timeout=2.0, watchdog=1.9).submit(work, begun, 5)
        worker = int(await_file(begun))
        future.pause()
        until(lambda: state(worker) == "T", "it stands still")
        stoppable.StopToken(timeout=2.5).wait()
        assert not future.done()
        future.resume()
        assert future.result(BOUND_S) == 5


@pytest.mark.slow
def test_the_deadline_of_a_paused_task_goes_on_and_ends_it(tmp_path: Path) -> None:
    """Behaviour 99. As a shutdown that waits does not: a pool is not over while a task is paused."""
    begun = str(tmp_path / "begun")
    with running() as pool:
        pool.submit(jobs.value, 1).result(BOUND_S)
        future = pool.options(deadline=time.monotonic() + 5.0).submit(jobs.polite, begun)
        worker = int(await_file(begun))
        future.pause()
        until(lambda: state(worker) == "T", "it stands still")
        pool.shutdown(wait=False)
        with pytest.raises(stoppable.TaskTimeout) as caught:
            future.result(BOUND_S)
        assert caught.value.rung is Rung.ASK


def test_a_pending_task_is_not_paused(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with running() as pool:
        first = pool.submit(jobs.polite, begun)
        await_file(begun)
        second = pool.submit(jobs.value, 2)
        assert not second.pause()
        assert not second.resume()
        first.cancel()
        assert not first.pause(), "it is being stopped"
        assert second.result(BOUND_S) == 2
    assert not stoppable.Future().pause()
