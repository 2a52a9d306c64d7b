"""The warden's death is seen at once, whoever holds a copy of its socket."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

import chores
from stoppable import ProcessPoolExecutor, WorkerDied
from stoppable.shell.warden import Newborn, Warden
from watching import await_file, is_alive, say, until


@pytest.mark.slow
def test_a_warden_that_dies_while_a_newborn_holds_its_socket_is_missed_and_the_newborn_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 66. A worker that is halted before its first line neither hides the warden's death nor stays."""
    halt, born = tmp_path / "halt", tmp_path / "born"
    be_born = Warden._be_born

    def slow_birth(self: Warden, worker: int, sock_fd: int, page_fd: int) -> Newborn:
        if halt.exists():
            halt.unlink()
            say(born)
            os.kill(os.getpid(), signal.SIGSTOP)
        return be_born(self, worker, sock_fd, page_fd)

    monkeypatch.setattr(Warden, "_be_born", slow_birth)  # the warden is a fork of this process
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        task = pool.submit(chores.sleep, str(tmp_path / "begun"))
        busy = int(await_file(tmp_path / "begun"))
        until(lambda: len(pool.workers()) == 2, "the spare is there")
        halt.touch()
        os.kill(next(pid for pid in pool.workers() if pid != busy), signal.SIGKILL)
        newborn = int(await_file(born))
        process = pool._reactor.launcher._process  # type: ignore[union-attr]
        assert process is not None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            task.result(30)
        assert pool.submit(chores.double, 2).result(30) == 4
        until(lambda: not is_alive(newborn), "the newborn has ended", 5)
