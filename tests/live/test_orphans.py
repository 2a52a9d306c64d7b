"""What a dead worker's task had started ends with it, whoever else ends at the same time."""

import os
import signal
import time
from pathlib import Path

import pytest

from stoppable import ProcessPoolExecutor, WorkerDied
from watching import await_file, is_alive, say, until


def fork_and_wait(path: str) -> None:
    """Leave a child in a session of its own, say who it is, and end when told to."""
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    say(path, f"{os.getpid()} {child}")
    await_file(f"{path}.end")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.slow
def test_a_killed_workers_children_end_also_when_another_worker_retires_in_the_same_moment(tmp_path: Path) -> None:
    """Behaviour 69. The warden finds both dead at once, and nothing tells whose child it was: all of them end."""
    paths = [tmp_path / "one", tmp_path / "two"]
    with ProcessPoolExecutor(2, max_tasks_per_child=1) as pool:
        tasks = [pool.submit(fork_and_wait, str(path)) for path in paths]
        found = [tuple(map(int, await_file(path).split())) for path in paths]
        # The kernel shows the dead in the order of their birth: the first to be seen is to be the one in peace.
        (older, _), (younger, child) = sorted(found)
        until(lambda: len(pool.workers()) == 3)
        process = pool._reactor.launcher._process  # type: ignore[union-attr]
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            say(f"{paths[[pid for pid, _ in found].index(older)]}.end")
            until(lambda: state(older) == "Z", "the older one has retired")
            os.kill(younger, signal.SIGKILL)
            until(lambda: state(younger) == "Z", "the younger one is dead")
        finally:
            os.kill(process.pid, signal.SIGCONT)
        lost = tasks[[pid for pid, _ in found].index(younger)]
        with pytest.raises(WorkerDied):
            lost.result(30)
        until(lambda: not is_alive(child), "its child has ended with it", 5)
