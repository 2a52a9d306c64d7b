"""A program with a pool, to see what is left of it: `python doomed.py BRAND METHOD SCENE ENDING FOLDER`.

METHOD is a start method, or `none`. It sets up the scene, prints `ready`, waits for a line, and ends as
it is told; or somebody kills it before.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import branding
import chores
import stoppable
from stoppable.shell import contexts
from watching import await_file, name_of, say, until

POLICY = stoppable.StopPolicy(ask=0.2, interrupt=0.2, terminate=0.2)
Pool = stoppable.ProcessPoolExecutor

# --- tasks ---------------------------------------------------------------------------------------


def stopped(path: str = "") -> None:
    """Be stopped, as by Ctrl-Z."""
    if path:
        say(path)
    os.kill(os.getpid(), signal.SIGSTOP)


def family() -> None:
    """Start all kinds of processes that are hard to find or to end."""
    sleeping = ["sleep", "1000"]
    subprocess.Popen(sleeping)
    subprocess.Popen(sleeping, start_new_session=True)
    subprocess.Popen(sleeping, start_new_session=True, env={})
    subprocess.Popen(["sh", "-c", "trap '' TERM HUP; exec sleep 1000"], start_new_session=True)
    subprocess.Popen(sleeping, start_new_session=True).send_signal(signal.SIGSTOP)
    chores.daemonise()
    fork_daemon()


def fork_daemon() -> None:
    """Leave a process that was only forked, twice, in a session of its own."""
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(chores.LONG_S)
        os._exit(0)
    os.waitpid(child, 0)


def with_family(path: str) -> None:
    family()
    chores.sleep(path)


def nested(path: str) -> None:
    """Run an inner pool: one task sleeps, one has a family."""
    with Pool(2, policy=POLICY) as pool:
        tasks = [pool.submit(chores.sleep, f"{path}.1"), pool.submit(with_family, f"{path}.2")]
        for n in (1, 2):
            await_file(f"{path}.{n}")
        say(path)
        for task in tasks:
            task.result()


# --- scenes --------------------------------------------------------------------------------------


def everything(pool: Pool, folder: Path) -> None:
    """An idle worker, and one in each state that is hard to end."""
    pool.submit(chores.double, 1).result(60)
    _begin(pool, folder, chores.sleep, chores.stubborn, stopped, with_family, nested)
    _begin(pool, folder, chores.hold_gil)  # last, since it takes a processor


def starting(pool: Pool, folder: Path) -> None:
    for n in range(7):
        pool.submit(with_family, str(folder / f"begun{n}"))


def climbing(pool: Pool, folder: Path) -> None:
    """A stop has come to its third rung, and the task ignores that."""
    policy = stoppable.StopPolicy(ask=0.0, interrupt=0.0, terminate=chores.LONG_S)
    task = pool.options(policy=policy).submit(chores.stubborn, str(folder / "begun"))
    await_file(folder / "begun")
    _begin(pool, folder, with_family)
    task.stop()
    until(lambda: task.report is not None and task.report.rung is stoppable.Rung.TERMINATE)


def leaving(pool: Pool, folder: Path) -> None:
    """A shutdown waits for the tasks."""
    _begin(pool, folder, chores.sleep, with_family)
    threading.Thread(target=pool.shutdown, daemon=True).start()
    until(lambda: not _takes_tasks(pool))


def _takes_tasks(pool: Pool) -> bool:
    try:
        pool.submit(chores.double, 1)
    except RuntimeError:
        return False
    return True


def sending(pool: Pool, folder: Path) -> None:
    """A result of 50 MB is on its way; it stays there, as whoever kills us stops us first."""
    pool.submit(chores.big_after, str(folder / "begun"), 50 << 20)


def sibling(pool: Pool, folder: Path) -> None:
    """A fork of ours lives on, with a copy of every descriptor."""
    _begin(pool, folder, chores.sleep, with_family)
    _fork_sibling(folder)


def _fork_sibling(folder: Path) -> None:
    if (child := os.fork()) == 0:
        os.close(1)
        time.sleep(chores.LONG_S)
        os._exit(0)
    say(folder / "sibling", str(child))


def unguarded(pool: Pool, folder: Path) -> None:
    """A worker has just been started, and its guard was not told; a fork of ours holds its socket."""

    def hang(*_: object) -> None:
        _fork_sibling(folder)
        time.sleep(chores.LONG_S)

    contexts._guard = hang  # type: ignore[assignment]  # in this process only: the worker imports its own
    pool.submit(chores.sleep)
    await_file(folder / "sibling")


def warden_stopped(pool: Pool, folder: Path) -> None:
    _begin(pool, folder, chores.sleep, with_family)
    for pid in _wardens():
        os.kill(pid, signal.SIGSTOP)


def warden_killed(pool: Pool, folder: Path) -> None:
    """Its warden was killed, and the pool has got over it."""
    _begin(pool, folder, chores.sleep, with_family)
    before = _wardens()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: (now := _wardens()) and not now & before)
    pool.submit(chores.double, 1).result(60)


def _wardens() -> set[int]:
    return {pid for pid in branding.bearers(int(sys.argv[1])) if name_of(pid) == "stoppable-ward"}


def _begin(pool: Pool, folder: Path, *tasks: Callable[[str], object]) -> None:
    for task in tasks:
        pool.submit(task, str(folder / task.__name__))
    for task in tasks:
        await_file(folder / task.__name__)


SCENES = {
    scene.__name__: scene
    for scene in (
        everything, starting, climbing, leaving, sending, sibling, unguarded, warden_stopped, warden_killed
    )
}  # fmt: skip


# --- endings -------------------------------------------------------------------------------------


def stop(pool: Pool) -> None:
    pool.stop()


def fail(_: Pool) -> None:
    raise RuntimeError("doomed")


def end_at_once(_: Pool) -> None:
    os._exit(3)


def be_killed(_: Pool) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be_terminated(_: Pool) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def crash(_: Pool) -> None:
    chores.segfault()


def become_another(_: Pool) -> None:
    os.execv("/bin/sh", ["sh", "-c", "exit 4"])


ENDINGS: dict[str, tuple[Callable[[Pool], None], int]] = {
    "stop": (stop, 0),
    "fail": (fail, 1),
    "exit": (end_at_once, 3),
    "exec": (become_another, 4),
    "SIGTERM": (be_terminated, -signal.SIGTERM),
    "SIGSEGV": (crash, -signal.SIGSEGV),
    "SIGKILL": (be_killed, -signal.SIGKILL),
}


def main(brand: str, method: str, scene: str, ending: str, folder: str) -> None:
    branding.take(int(brand))
    with _pool_of_a_thread_that_ends(method) as pool:
        SCENES[scene](pool, Path(folder))
        print("ready", flush=True)
        sys.stdin.readline()
        ENDINGS[ending][0](pool)


def _pool_of_a_thread_that_ends(method: str) -> Pool:
    """Make a pool, and start its first worker, in a thread that is gone when this returns."""
    made: list[Any] = []

    def make() -> None:
        context = None if method == "none" else multiprocessing.get_context(method)
        made.append(Pool(7, mp_context=context, policy=POLICY))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    pool: Pool = made[0]
    return pool


if __name__ == "__main__":
    main(*sys.argv[1:])
