"""The functions that the measured pools run. At the top of a module, so that every pool can send them by name."""

import itertools
import os
import time
from typing import Any


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


def bytes_of(array: Any) -> int:
    """Take an array; return how large it was."""
    return int(array.nbytes)


def array_of(size_bytes: int) -> Any:
    """Return an array of *size_bytes*."""
    import numpy as np

    return np.ones(size_bytes // 8)


def hold(kind: str, path: str, flag: Any = None) -> None:
    """Run for ever in the way *kind* says; whoever has *path* open for reading sees its end when this process ends.

    A polling task returns when its flag is set, and closes the path.
    """
    fd = os.open(path, os.O_WRONLY)
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
    os.close(fd)


def own_poll(path: str) -> None:
    """Look at the task's own token, as `stoppable` tasks do, until it says stop."""
    import stoppable

    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"1")
    try:
        while True:
            stoppable.check()
    finally:
        os.close(fd)


def own_sleep(path: str) -> None:
    """Sleep on the task's own token, as `stoppable` tasks do."""
    import stoppable

    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"1")
    try:
        stoppable.sleep(1000)
    finally:
        os.close(fd)
