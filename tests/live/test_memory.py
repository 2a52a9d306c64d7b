"""Limits of memory: of a task with all its processes, and of a worker between its tasks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jobs
import stoppable
from jobs import BOUND_S, running
from stoppable import MemoryExceeded, Rung, StopKind, WorkerDied
from stoppable.options import size_bytes
from stoppable.shell import lookout
from stoppable.shell.launch import WardenLauncher
from stoppable.shell.news import Born, News
from stoppable.shell.reactor import Reactor
from stoppable.shell.weigh import weigh
from watching import await_file, is_alive, say, until

MB = 1_000_000
EATER = f"b = bytearray({400 * MB}); import time; time.sleep(1000)"


def eat(size: int) -> None:
    food = bytearray(size)
    time.sleep(jobs.LONG_S)
    del food


def have_children_eat(begun: str) -> None:
    """Start two processes, one in a session of its own, that each take 400 MB."""
    children = [subprocess.Popen([sys.executable, "-c", EATER], start_new_session=own) for own in (False, True)]
    say(begun, " ".join(str(child.pid) for child in children))
    stoppable.sleep(jobs.LONG_S)


kept: list[bytearray] = []


def grow(size: int) -> int:
    kept.append(bytearray(size))
    return os.getpid()


def exceeded(future: "stoppable.Future[Any]") -> MemoryExceeded:
    with pytest.raises(MemoryExceeded) as caught:
        future.result(BOUND_S)
    return caught.value


def test_a_task_over_its_limit_ends_with_its_peak_and_others_complete(tmp_path: Path) -> None:
    """Behaviour 106."""
    release = str(tmp_path / "release")
    with running(2) as pool:
        other = pool.options(memory="1GB").submit(jobs.await_file, release)
        future = pool.options(memory="200MB", name="the eater").submit(eat, 300 * MB)
        error = exceeded(future)
        assert (error.rung, error.limit_bytes) == (Rung.KILL, 200 * MB)
        assert 200 * MB < error.peak_bytes < 400 * MB
        assert error.reason is not None
        assert error.reason.kind is StopKind.MEMORY
        assert f"{error.peak_bytes / MB:.1f} MB" in str(error)
        assert "200.0 MB" in str(error)
        assert "the eater" in str(error)
        assert isinstance(error, MemoryError)
        assert future.stopped()
        assert not future.cancelled()
        say(release, "free")
        assert other.result(BOUND_S) == "free"


def test_the_memory_of_subprocesses_counts_and_they_are_gone_before_the_future_is_done(tmp_path: Path) -> None:
    """Behaviours 69, 106. No process has more than the limit, all together have."""
    begun = str(tmp_path / "begun")
    with running(memory=600 * MB) as pool:
        future = pool.submit(have_children_eat, begun)
        children = [int(pid) for pid in await_file(begun).split()]
        alive_at_the_end: list[bool] = []
        future.add_done_callback(lambda _: alive_at_the_end.extend(map(is_alive, children)))
        assert exceeded(future).peak_bytes > 600 * MB
        until(lambda: alive_at_the_end, "the callback ran")
        assert alive_at_the_end == [False, False]
        assert pool.submit(jobs.value, 1).result(BOUND_S) == 1


def test_a_limit_holds_though_the_warden_says_late_who_was_born(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 106. On a busy machine the worker may be ready first; it gets nothing then until its process is known."""
    born: list[Born] = []
    news = WardenLauncher.news

    def late(launcher: WardenLauncher) -> Iterator[News]:
        for each in news(launcher):
            if isinstance(each, Born):
                born.append(each)
                launcher.living[each.worker] = None
            else:
                yield each

    def tell(reactor: Reactor) -> None:
        for each in born:
            reactor.launcher.living[each.worker] = each.pid
            reactor.hands._hear_news(each)

    monkeypatch.setattr(WardenLauncher, "news", late)
    with running() as pool:
        future = pool.options(memory="200MB").submit(eat, 300 * MB)
        reactor: Any = pool._reactor
        until(lambda: born and any(channel.ready for channel in list(reactor.hands.channels.values())))
        reactor.call(lambda: tell(reactor))
        assert exceeded(future).limit_bytes == 200 * MB


def test_a_look_that_took_long_on_a_busy_machine_is_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 106. Only what it cost is, by twenty times; were it the time that has passed, the next would come after 40 s."""
    looks: list[float] = []

    def slow_once(_pid: int, _limit_bytes: int) -> int:
        looks.append(time.monotonic())
        time.sleep(2.0 if len(looks) == 1 else 0.0)
        return 0

    monkeypatch.setattr(lookout, "weigh", slow_once)
    watching = lookout.Lookout(lambda *_: None)
    try:
        watching.watch(1, os.getpid(), MB)
        until(lambda: len(looks) >= 2, "it has looked again")
    finally:
        watching.close()


def test_a_worker_that_the_system_kills_for_memory_has_died() -> None:
    """Behaviour 106."""
    with running(memory="1GB") as pool:
        future = pool.submit(signal.raise_signal, signal.SIGKILL)
        with pytest.raises(WorkerDied) as caught:
            future.result(BOUND_S)
        assert caught.value.signal == signal.SIGKILL


def test_memory_that_processes_share_is_counted_once(tmp_path: Path) -> None:
    """Behaviour 106. A fork has all its parent's memory, and costs nothing."""
    food = bytearray(100 * MB)
    ready = str(tmp_path / "ready")
    child = os.fork()
    if child == 0:
        say(ready)
        signal.pause()
        os._exit(0)
    try:
        await_file(ready)
        both = weigh(os.getpid(), 0)
        most = weigh(os.getpid(), 10**15)
        assert most - both > 90 * MB
        assert both > len(food)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_worker_that_has_grown_too_large_is_replaced_between_tasks_and_nothing_is_lost() -> None:
    """Behaviour 106."""
    with running(max_worker_memory="150MB") as pool:
        small = [pool.submit(grow, 1).result(BOUND_S) for _ in range(2)]
        assert small[0] == small[1]
        futures = [pool.submit(grow, 200 * MB) for _ in range(5)]
        pids = [future.result(BOUND_S) for future in futures]
        assert len(set(pids)) == 5
        assert pool.submit(jobs.pid).result(BOUND_S) != pids[-1]


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512 * MB), ("2GiB", 2 << 30), ("1.5 GB", 1500 * MB), ("64KiB", 65536), ("100kB", 100_000), ("7B", 7)],
)
def test_a_size_may_be_said_with_its_unit(text: str, size: int) -> None:
    assert size_bytes("memory", text) == size


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        *[(text, ValueError) for text in ("512", "512mb", "MB", "-1MB", "1,5GB", "1e3MB", " 1MB", "1 MB ", "0MB", "")],
        *[(0, ValueError), (-5, ValueError), (1.5, TypeError), (True, TypeError), (b"1MB", TypeError)],
    ],
)
def test_what_is_no_size_is_refused(wrong: Any, error: type[Exception]) -> None:
    for name in ("memory", "max_worker_memory"):
        with pytest.raises(error, match=name):
            stoppable.ProcessPoolExecutor(1, **{name: wrong})
    with pytest.raises(error, match="memory"):
        stoppable.ProcessPoolExecutor(1).options(memory=wrong)
