"""Instants at which an interrupt may come to a task. Importable, so that they pickle by name."""

import gc
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import stoppable
from stoppable import Event

LOOP_S = 0.02  # an instant is repeated for so long: an interrupt lands somewhere in it
LONG_S = 1000.0
_ANY = "wave"  # a small module of the standard library that nothing here needs


def spin(times: int) -> None:
    for _ in range(times):
        pass


def value(number: int) -> int:
    return number * 3 + 1


def once(folder: str, number: int) -> int:
    """Say that this ran; a second run of the same number raises."""
    os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_EXCL))
    return value(number)


# --- the instants --------------------------------------------------------------------------------


def at_a_shields_exit() -> None:
    with stoppable.shield(5):
        spin(20)


def in_an_import() -> None:
    sys.modules.pop(_ANY, None)
    importlib.import_module(_ANY)


class _Dropped:
    def __del__(self) -> None:
        spin(50)


def in_a_del() -> None:
    _Dropped()


class _Cycle:
    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        spin(20)


def in_the_collector() -> None:
    for _ in range(20):
        _Cycle()
    gc.collect(0)


def _generator() -> Iterator[int]:
    try:
        while True:
            yield 1
    finally:
        spin(50)


def at_a_generators_close() -> None:
    made = _generator()
    next(made)
    made.close()  # type: ignore[attr-defined]


_lock = threading.Lock()


def at_a_locks_release() -> None:
    with _lock:
        spin(5)


def in_a_finally() -> None:
    try:
        spin(5)
    finally:
        spin(50)


def in_an_except() -> None:
    try:
        raise KeyError("mine")
    except KeyError:
        spin(50)


def in_a_publish() -> None:
    stoppable.publish(bytes(100))


def in_a_big_publish() -> None:
    stoppable.publish(bytes(300_000))


def at_a_fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


REPEATED: dict[str, Callable[[], None]] = {
    function.__name__.replace("_", " "): function
    for function in (
        at_a_shields_exit,
        in_an_import,
        in_a_del,
        in_the_collector,
        at_a_generators_close,
        at_a_locks_release,
        in_a_finally,
        in_an_except,
        in_a_publish,
        in_a_big_publish,
        at_a_fork,
    )
}


def repeat(instant: str, begun: Event, folder: str, number: int) -> None:
    """Be at this instant again and again, and then wait for the interrupt: it may not get lost."""
    function = REPEATED[instant]
    once(folder, number)
    begun.set()
    end = time.monotonic() + LOOP_S
    while time.monotonic() < end:
        function()
    time.sleep(LONG_S)


def brief(begun: Event, folder: str, number: int, times: int) -> int:
    """Return soon after it began."""
    said = once(folder, number)
    begun.set()
    spin(times)
    return said


class _Slow:
    """Its pickle takes a moment to make."""

    def __init__(self, number: int, times: int) -> None:
        self.number, self.times = number, times

    def __reduce__(self) -> tuple[Any, ...]:
        spin(self.times)
        return value, (self.number,)


def slowly_pickled(begun: Event, folder: str, number: int, times: int) -> _Slow:
    once(folder, number)
    begun.set()
    return _Slow(number, times)
