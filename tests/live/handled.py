"""A program with signal handlers, to be ended by a signal: `python handled.py SCENE FOLDER`."""

import asyncio
import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import chores
import stoppable
from stoppable import ProcessPoolExecutor, StopPolicy
from stoppable.shell.tree import children
from watching import name_of, once_it_waits, say

ENDLESS = StopPolicy(ask=chores.LONG_S)


def say_line(*words: object) -> None:
    """Print a line in one piece: a task and the program print to the same pipe."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def tidy(folder: str) -> None:
    """Say that it begins; once asked, say why."""
    stoppable.check()
    try:
        say(Path(folder, f"begun{os.getpid()}"))
        stoppable.sleep(chores.LONG_S)
    except stoppable.StopRequested as stop:
        say_line("task:", stop.reason)
        say(Path(folder, "asked"))
        raise


def lingering(folder: str) -> None:
    """Go on although asked."""
    stoppable.check()
    say(Path(folder, f"begun{os.getpid()}"))
    chores.stubborn()


def shielded(folder: str) -> None:
    with stoppable.shield(chores.LONG_S):
        say(Path(folder, f"begun{os.getpid()}"))
        time.sleep(chores.LONG_S)


def ready(folder: str, count: int = 1) -> None:
    while len(list(Path(folder).glob("begun*[0-9]"))) < count:
        time.sleep(0.01)
    say_line("ready", os.getpid())


def tell(task: stoppable.Future[None]) -> None:
    try:
        task.result(0)
    except stoppable.TaskStopped as stop:
        say_line("end:", stop.rung, stop.reason)
    except TimeoutError:
        say_line("end: not yet")


def in_with(function: Callable[[str], None], folder: str, policy: StopPolicy = StopPolicy()) -> None:
    """Wait for a result in a `with`; a second task waits for its turn, a third comes when all is over."""
    tasks: list[stoppable.Future[None]] = []
    pool = ProcessPoolExecutor(1, policy=policy)
    try:
        with pool:
            tasks = [pool.submit(function, folder) for _ in range(2)]
            ready(folder)
            tasks[0].result()
    finally:
        for task in tasks:
            tell(task)
        say_line("finally")


def caught(folder: str) -> None:
    """End in another way than by the signal."""
    try:
        in_with(tidy, folder)
    except stoppable.Terminated as end:
        say_line("caught", end, end.code)


def late(folder: str) -> None:
    """Submit after the signal."""
    pool = ProcessPoolExecutor(1)
    task = pool.submit(tidy, folder)
    try:
        ready(folder)
        task.result()
    finally:
        try:
            pool.submit(print, "never printed").result(30)
        except (stoppable.TaskStopped, RuntimeError):
            say_line("refused")


def in_c(folder: str) -> None:
    """Be in C code that no signal ends, and that does not hold the GIL."""
    with ProcessPoolExecutor(1) as pool:
        pool.submit(tidy, folder)
        ready(folder)
        mutex = ctypes.create_string_buffer(256)
        libc = ctypes.CDLL(None)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_lock(mutex)


def in_asyncio(folder: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1) as pool:
            waiting = loop.run_in_executor(pool, tidy, folder)
            try:
                await asyncio.to_thread(ready, folder)
                await waiting
            except asyncio.CancelledError:
                say_line("cancelled")
                raise

    asyncio.run(main())


def at_exit(folder: str) -> None:
    """Come to the end of the program while a task runs."""
    pool = ProcessPoolExecutor(1)
    pool.submit(tidy, folder)
    ready(folder)


class SleepsInTheEnd:
    """Python drops whatever is raised in its destructor."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __del__(self) -> None:
        ready(self.folder)
        time.sleep(1000)


def in_destructor(folder: str) -> None:
    pool = ProcessPoolExecutor(1)
    pool.submit(tidy, folder)
    held = SleepsInTheEnd(folder)
    del held
    time.sleep(1000)


def in_shutdown(folder: str) -> None:
    pool = ProcessPoolExecutor(1)
    pool.submit(tidy, folder)
    ready(folder)
    pool.shutdown()


def leaving(folder: str) -> None:
    """Leave the `with` while a task runs that takes its time to end."""
    pool = ProcessPoolExecutor(1)
    task = pool.submit(slow_to_end, folder)
    try:
        with pool:
            once_it_waits(lambda: ready(folder))
    finally:
        tell(task)


def slow_to_end(folder: str) -> None:
    stoppable.check()
    try:
        say(Path(folder, f"begun{os.getpid()}"))
        stoppable.sleep(chores.LONG_S)
    finally:
        time.sleep(0.5)


def orphans(folder: str) -> None:
    """Be process 1, and kill the warden of a task that has a child."""
    pool = ProcessPoolExecutor(1)
    task = pool.submit(chores.child, str(Path(folder, "begun1")))
    ready(folder)
    os.kill(next(pid for pid in children(1) if name_of(pid) == "stoppable-ward"), signal.SIGKILL)
    try:
        task.result(60)
    except stoppable.WorkerDied:
        pool.shutdown()
    say_line("left:", children(1))


def install() -> None:
    """Be a task that wants handlers."""
    stoppable.install_signal_handlers()


SCENES: dict[str, Callable[[str], None]] = {
    "leaving": leaving,
    "orphans": orphans,
    "with": functools.partial(in_with, tidy, policy=ENDLESS),
    "lingering": functools.partial(in_with, lingering, policy=ENDLESS),
    "shielded": functools.partial(in_with, shielded),
    "caught": caught,
    "late": late,
    "c": in_c,
    "asyncio": in_asyncio,
    "exit": at_exit,
    "destructor": in_destructor,
    "shutdown": in_shutdown,
    "bare": functools.partial(in_with, tidy),
}

if __name__ == "__main__":
    scene, folder = sys.argv[1:3]
    if scene != "bare":
        stoppable.install_signal_handlers(grace_s=float(sys.argv[3]) if len(sys.argv) > 3 else 1000.0)
    if scene == "late":
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    SCENES[scene](folder)
