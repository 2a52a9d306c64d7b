"""The functions that the measured pools run. At the top of a module, so that every pool can send them by name."""

import itertools
import multiprocessing
import os
import pickle
import time
from typing import Any

FLAG: Any = None  # set before a pool forks: its workers inherit it


def noop(_: object = None) -> None:
    """Do nothing."""


def spin(seconds: float) -> None:
    """Keep a processor busy for *seconds*."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def nap(seconds: float) -> None:
    """Sleep for *seconds*."""
    time.sleep(seconds)


def who(seconds: float) -> int:
    """Sleep, so that the other workers get their turn, and return this process's id."""
    time.sleep(seconds)
    return os.getpid()


def bytes_of(array: Any) -> int:
    """Take an array; return how large it was."""
    return int(array.nbytes)


def array_of(size_bytes: int) -> Any:
    """Return an array of *size_bytes*."""
    import numpy as np

    return np.ones(size_bytes // 8)


def hold(kind: str, path: str, flag: Any = None) -> None:
    """Run for ever in the way *kind* says, or until a flag is set: *flag*, or the one that was inherited.

    Whoever has *path* open for reading sees when this ends, by a return, an exception or the end of the process.
    """
    flag = FLAG if flag is None else flag
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, b"1")
        if kind == "poll":
            while not flag.is_set():
                pass
        elif kind == "wait":
            flag.wait()
        elif kind == "sleep":
            time.sleep(1000)
        elif kind == "loop":
            while True:
                pass
        elif kind == "c":
            _ = 1 in itertools.cycle([0])
    finally:
        os.close(fd)


def hold_sent(kind: str, path: str, authkey: bytes, flag: bytes) -> None:
    """Hold until a Manager's flag is set that came as a pickle: a worker that is no child of `multiprocessing` lacks the key."""
    multiprocessing.current_process().authkey = authkey
    hold(kind, path, pickle.loads(flag))


def hold_token(kind: str, path: str) -> None:
    """Look at the task's own token, or sleep on it, as `stoppable` tasks do, until it says stop."""
    import stoppable

    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, b"1")
        if kind == "poll":
            while True:
                stoppable.check()
        stoppable.sleep(1000)
    finally:
        os.close(fd)
