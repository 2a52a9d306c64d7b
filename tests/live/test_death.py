"""What is left when something dies: the parent, the warden, a worker."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import chores
import doomed
import jobs
from stoppable import ProcessPoolExecutor, TaskStopped, WorkerDied
from stoppable.shell.control import Control, Op
from watching import await_file, is_alive, name_of, say, until

METHODS = ("none", "fork", "spawn", "forkserver")


def test_a_guard_that_starts_after_the_parents_end_still_ends_whom_it_was_told_to_guard() -> None:
    """Behaviour 97. The parent can be killed while its guard is still starting."""
    parent = subprocess.Popen([sys.executable, "-c", ""])
    parent.wait(30)
    guarded = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pidfd = os.pidfd_open(guarded.pid)
        Control(ours).send(Op.GUARD, 0, guarded.pid, fds=(pidfd,))
        os.close(pidfd)
        program = f"from stoppable.shell.warden_main import main; main({theirs.fileno()}, {parent.pid}, range(0), True)"
        path = os.pathsep.join(sys.path)
        guard = subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": path}
        )
        try:
            assert guarded.wait(30) == -signal.SIGKILL
            assert guard.wait(30) == 0
        finally:
            for process in (guard, guarded):
                process.kill()
                process.wait(30)


def _warden(worker: int) -> int:
    text = Path(f"/proc/{worker}/stat").read_text()
    parent = int(text.rpartition(")")[2].split()[1])
    assert name_of(parent) == "stoppable-ward"
    return parent


@pytest.mark.slow
@pytest.mark.parametrize("method", ["none", "fork"])
def test_a_killed_warden_costs_the_running_tasks_and_no_other(method: str, tmp_path: Path) -> None:
    """The workers and what they had started are gone; those that waited run with another warden.

    What they had started carries the pool's mark, in whatever session, also with an environment of its own.
    """
    context = None if method == "none" else multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        running = pool.submit(doomed.with_family, str(tmp_path / "begun"))
        waiting = [pool.submit(chores.double, n) for n in range(5)]
        worker = int(await_file(tmp_path / "begun"))
        workers, warden = pool.workers(), _warden(worker)
        below = _below(worker)
        assert len(below) >= 7
        os.kill(warden, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            running.result(30)
        assert [task.result(30) for task in waiting] == [0, 2, 4, 6, 8]
        until(lambda: not any(map(is_alive, [*workers, *below])), f"none lives of {workers} {below}")
        assert pool.submit(chores.double, 4).result(30) == 8


@pytest.mark.slow
def test_an_interrupt_and_a_stack_need_no_warden(tmp_path: Path) -> None:
    """Behaviour 152. The pool has a handle of each of its first workers: it is quicker so, and a warden that stands still is not waited for."""
    with ProcessPoolExecutor(2) as pool:
        napping, other = pool.submit(jobs.nap, str(tmp_path / "begun")), pool.submit(jobs.nap, str(tmp_path / "too"))
        warden = _warden(int(await_file(tmp_path / "begun")))
        worker = int(await_file(tmp_path / "too"))
        os.kill(warden, signal.SIGSTOP)
        try:
            assert "in nap" in (napping.stack() or "")
            napping.stop(at="interrupt")
            with pytest.raises(TaskStopped):
                napping.result(30)
            other.kill()
            until(lambda: not is_alive(worker), "it is dead")
            assert not other.done()  # nobody has reaped it
        finally:
            os.kill(warden, signal.SIGCONT)
        with pytest.raises(TaskStopped):
            other.result(30)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_killed_guard_costs_nothing(method: str, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        running = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "begun"))
        await_file(tmp_path / "begun")
        guards: list[int] = []

        def there() -> bool:
            guards[:] = [pid for pid in _children(os.getpid()) if name_of(pid) == "stoppable-ward"]
            return bool(guards)

        until(there)  # it starts beside the workers, and may be slower
        assert len(guards) == 1
        os.kill(guards[0], signal.SIGKILL)
        until(lambda: not is_alive(guards[0]))
        say(tmp_path / "go", "yes")
        assert running.result(30) == "yes"
        assert pool.submit(chores.double, 4).result(30) == 8


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def _below(pid: int) -> list[int]:
    found = _children(pid)
    for each in found:
        found += _children(each)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_killed_from_outside_costs_only_its_task(method: str, tmp_path: Path) -> None:
    """Behaviours 65, 66."""
    context = None if method == "none" else multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        victim = pool.submit(chores.sleep, str(tmp_path / "victim"))
        other = pool.submit(chores.wait_for, str(tmp_path / "go"), str(tmp_path / "other"))
        waiting = [pool.submit(chores.double, n) for n in range(5)]
        worker = int(await_file(tmp_path / "victim"))
        await_file(tmp_path / "other")
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerDied) as caught:
            victim.result(30)
        assert caught.value.signal == signal.SIGKILL
        assert "SIGKILL" in str(caught.value)
        assert [task.result(30) for task in waiting] == [0, 2, 4, 6, 8]
        say(tmp_path / "go", "yes")
        assert other.result(30) == "yes"
        # As many run at once as before.
        both = [pool.submit(chores.wait_for, str(tmp_path / "stop"), str(tmp_path / f"both{n}")) for n in range(2)]
        for n in range(2):
            await_file(tmp_path / f"both{n}")
        say(tmp_path / "stop", "now")
        assert [task.result(30) for task in both] == ["now", "now"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_killed_from_outside_leaves_nothing_that_its_task_started(method: str, tmp_path: Path) -> None:
    """Behaviour 65. Under each start method: daemons and sessions of their own, too."""
    context = None if method == "none" else multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        victim = pool.submit(doomed.with_family, str(tmp_path / "begun"))
        worker = int(await_file(tmp_path / "begun"))
        below = _below(worker)
        assert len(below) >= 7
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            victim.result(30)
        until(lambda: not any(map(is_alive, below)), f"none lives of {below}")
        assert pool.submit(chores.double, 4).result(30) == 8


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_an_idle_worker_killed_from_outside_costs_nothing(method: str) -> None:
    context = None if method == "none" else multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        worker = pool.submit(chores.pid).result(30)
        os.kill(worker, signal.SIGKILL)
        assert pool.submit(chores.double, 4).result(30) == 8
        assert pool.submit(chores.pid).result(30) != worker


def test_os_exit_in_a_task_is_told_with_its_code() -> None:
    """Behaviour 65."""
    with ProcessPoolExecutor(1) as pool:
        lost, next_one = pool.submit(chores.exit_hard, 9), pool.submit(chores.double, 2)
        with pytest.raises(WorkerDied) as caught:
            lost.result(30)
        assert (caught.value.exitcode, caught.value.signal) == (9, None)
        assert next_one.result(30) == 4


def test_a_worker_that_leaves_with_code_0_in_a_task_has_died_too() -> None:
    with ProcessPoolExecutor(1) as pool:
        lost, next_one = pool.submit(chores.exit_hard, 0), pool.submit(chores.double, 2)
        with pytest.raises(WorkerDied) as caught:
            lost.result(30)
        assert caught.value.exitcode == 0
        assert next_one.result(30) == 4


@pytest.mark.slow
def test_a_segfault_is_told_by_the_name_of_its_signal(capfd: pytest.CaptureFixture[str]) -> None:
    """Behaviour 65."""
    with ProcessPoolExecutor(1) as pool:
        lost, next_one = pool.submit(chores.segfault), pool.submit(chores.double, 2)
        with pytest.raises(WorkerDied, match="SIGSEGV"):
            lost.result(30)
        assert next_one.result(30) == 4


@pytest.mark.slow
@pytest.mark.parametrize("at", ["pickling", "sending"])
def test_a_worker_killed_while_it_sends_100_mb_costs_only_its_task(at: str, tmp_path: Path) -> None:
    """Behaviours 64, 105."""
    size = 100 << 20
    with ProcessPoolExecutor(2) as pool:
        task = chores.slow_bytes if at == "pickling" else chores.big_after
        victim = pool.submit(task, str(tmp_path / "begun"), size)
        others = [pool.submit(chores.double, n) for n in range(20)]
        worker = int(await_file(tmp_path / "begun"))
        if at == "sending":
            read = pool._reactor.hands.channels  # type: ignore[union-attr]
            until(lambda: victim.done() or any(c.pid == worker and c._reader.torn for c in list(read.values())))
        os.kill(worker, signal.SIGKILL)
        try:
            value = victim.result(60)
        except WorkerDied as died:
            assert died.signal == signal.SIGKILL  # noqa: PT017  # either end is right, and only these two
        else:
            assert len(value) == size
        assert [other.result(30) for other in others] == [n + n for n in range(20)]
        assert len(pool.submit(bytes, size).result(60)) == size


@pytest.mark.slow
def test_what_a_dead_worker_had_sent_whole_is_delivered() -> None:
    """An answer that was sent completely counts, although its worker is dead when it is read."""
    with ProcessPoolExecutor(1) as pool:
        pool.submit(chores.double, 1).result(30)
        for n in range(30):
            task = pool.submit(chores.pid)
            assert is_alive(task.result(30)) or n >= 0
            os.kill(task.result(), signal.SIGKILL)
            assert pool.submit(chores.double, n).result(30) == 2 * n
