"""What the tasks of a chaos run do, and the log in which each says so. Runs in the workers: it must stay light.

A record is one write at the end of a shared file, which the kernel makes whole and in order for all
processes. So a record's place in the file is a clock: what was written after a task's future was done
lies behind the size that the file had then.
"""

import itertools
import os
import signal
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

RECORD = struct.Struct("<BxxxIIId")  # what, task, process, child, monotonic seconds
BEGUN, ENDED, BEAT, CHILD, SHIELDED, UNSHIELDED = range(1, 7)
_STEP_S = 0.004
_FORK_LIFE_S = 3.0  # of what a stopped task leaves running when nothing harsher than an interrupt ends it

_logs: dict[str, int] = {}


def note(log: str, what: int, number: int, child: int = 0) -> None:
    """Say in *log* that this process does *what* for task *number*."""
    fd = _logs.get(log)
    if fd is None:
        fd = _logs[log] = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.write(fd, RECORD.pack(what, number, os.getpid(), child, time.monotonic()))


def perform(log: str, number: int, kind: str, size: int, lasts_s: float, extra: Any = None) -> tuple[int, Any]:
    """Be task *number*; return its number and what its kind makes."""
    note(log, BEGUN, number)
    value = DEEDS[kind](log, number, size, lasts_s, extra)
    note(log, ENDED, number)
    return number, value


def start(boot_deaths: int) -> None:
    """Be the initializer, which ends some processes. Neighbours in number are spared, for three in a row break a pool."""
    if boot_deaths and os.getpid() % boot_deaths == 0:
        os._exit(41)


def blob(number: int, size: int) -> bytes:
    """Return *size* bytes that no other task has."""
    pattern = b"%016d\n" % number
    return (pattern * (size // len(pattern) + 1))[:size]


# --- that end by themselves --------------------------------------------------------------------


def _noop(_log: str, number: int, _size: int, _lasts_s: float, _extra: Any) -> Any:
    return number * 7


def _nap(_log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    time.sleep(lasts_s)
    return number * 7


def _spin(_log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    end = time.monotonic() + lasts_s
    while time.monotonic() < end:
        pass
    return number * 7


def _bytes(_log: str, number: int, size: int, _lasts_s: float, _extra: Any) -> Any:
    return blob(number, size)


def _array(_log: str, number: int, size: int, _lasts_s: float, _extra: Any) -> Any:
    import numpy as np

    return np.arange(number, number + size // 8, dtype="int64")


def _carry(_log: str, number: int, size: int, _lasts_s: float, extra: Any) -> Any:
    return len(extra), extra == blob(number, size)


# --- that fail ---------------------------------------------------------------------------------


class Locked(Exception):
    """Does not pickle, in no way."""

    def __init__(self) -> None:
        import threading

        super().__init__("locked")
        self.lock = threading.Lock()


class TwoArguments(Exception):
    """Pickles, and does not unpickle: it is made anew with one argument."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class Unreadable:
    """Pickles, and raises ZeroDivisionError when it is unpickled; or ends that process."""

    def __init__(self, deadly: int = 0) -> None:
        self.deadly = deadly

    def __reduce__(self) -> Any:
        return (os._exit, (self.deadly,)) if self.deadly else (divmod, (1, 0))


def _raise(_log: str, number: int, _size: int, _lasts_s: float, _extra: Any) -> NoReturn:
    raise ValueError(number)


def _exit_call(_log: str, number: int, _size: int, _lasts_s: float, _extra: Any) -> NoReturn:
    raise SystemExit(number)


def _bad_result(_log: str, _number: int, _size: int, _lasts_s: float, _extra: Any) -> Any:
    return Locked().lock


def _result_unreadable(_log: str, _number: int, _size: int, _lasts_s: float, _extra: Any) -> Any:
    return Unreadable()


def _bad_error(_log: str, _number: int, _size: int, _lasts_s: float, _extra: Any) -> NoReturn:
    raise Locked


def _error_unreadable(_log: str, number: int, _size: int, _lasts_s: float, _extra: Any) -> NoReturn:
    raise TwoArguments(number, 2)


# --- that end their worker ---------------------------------------------------------------------


def exit_code(number: int) -> int:
    """Return the exit code of task *number*, if it is one that exits."""
    return number % 100 + 1


def _exit(_log: str, number: int, _size: int, _lasts_s: float, _extra: Any) -> NoReturn:
    os._exit(exit_code(number))


def _segfault(_log: str, _number: int, _size: int, _lasts_s: float, _extra: Any) -> None:
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what faulthandler would say of it
    ctypes.string_at(0)


def _kill_self(_log: str, _number: int, _size: int, _lasts_s: float, _extra: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- that last ---------------------------------------------------------------------------------


def _polite(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    import stoppable

    end = time.monotonic() + lasts_s
    while time.monotonic() < end:
        note(log, BEAT, number)
        stoppable.sleep(_STEP_S)
    return number * 7


def _catches(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    import stoppable

    try:
        return _polite(log, number, 0, lasts_s, None)
    except stoppable.StopRequested:
        return number * 7


def _swallows(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + lasts_s
    while time.monotonic() < end:
        try:
            note(log, BEAT, number)
            time.sleep(_STEP_S)
        except BaseException:
            continue
    # Else the next task of this worker could not be terminated.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return number * 7


def _gil(_log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    """Hold the GIL in C: about 5 s for the endless one, whose stop kills it long before."""
    deque(itertools.repeat(None, int(min(lasts_s, 10.0) * 1e8)), maxlen=0)
    return number * 7


def _publishes(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    import stoppable

    end = time.monotonic() + lasts_s
    count = 0
    while count == 0 or time.monotonic() < end:
        stoppable.publish((number, count))
        stoppable.progress(count)
        note(log, BEAT, number)
        time.sleep(_STEP_S)
        count += 1
    return number * 7


def _shields(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    import stoppable

    end = time.monotonic() + lasts_s
    while time.monotonic() < end:
        with stoppable.shield(30):
            note(log, SHIELDED, number)
            time.sleep(_STEP_S * (1 + number % 5))
            note(log, UNSHIELDED, number)
        stoppable.check()
    return number * 7


def _forks(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    child = os.fork()
    if child == 0:
        _beat_on(log, number)
    try:
        note(log, CHILD, number, child)
        _nap(log, number, 0, lasts_s, None)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return number * 7


def _beat_on(log: str, number: int) -> NoReturn:
    try:
        os.setsid()
        end = time.monotonic() + _FORK_LIFE_S
        while time.monotonic() < end:
            note(log, BEAT, number)
            time.sleep(_STEP_S)
    finally:
        os._exit(0)


def _daemons(log: str, number: int, _size: int, lasts_s: float, _extra: Any) -> Any:
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "setsid sleep 300 >/dev/null 2>&1 </dev/null &"], os.environ)
    os.waitpid(child, 0)
    return _polite(log, number, 0, lasts_s, None)


DEEDS: dict[str, Callable[[str, int, int, float, Any], Any]] = {
    "noop": _noop,
    "nap": _nap,
    "spin": _spin,
    "bytes": _bytes,
    "array": _array,
    "carry": _carry,
    "raise": _raise,
    "exit_call": _exit_call,
    "bad_result": _bad_result,
    "result_unreadable": _result_unreadable,
    "bad_error": _bad_error,
    "error_unreadable": _error_unreadable,
    "bad_argument": _noop,
    "argument_unreadable": _noop,
    "exit": _exit,
    "segfault": _segfault,
    "kill_self": _kill_self,
    "argument_kills": _noop,
    "polite": _polite,
    "catches": _catches,
    "deaf": _nap,
    "swallows": _swallows,
    "gil": _gil,
    "publishes": _publishes,
    "shields": _shields,
    "forks": _forks,
    "daemons": _daemons,
}
