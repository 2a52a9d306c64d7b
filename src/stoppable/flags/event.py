"""`Event`: `threading.Event`, but for all processes that hold it.

1. Looking takes no lock and makes no system call; `is_set` is a C method bound to the memory.
2. No lock is ever held, so a process killed anywhere leaves it right for the others.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from stoppable.flags import kernel, live, owner
from stoppable.flags.chunk import Handle
from stoppable.flags.collect import pickled
from stoppable.flags.record import Record


class Event:
    """A flag that any process may set, clear, look at and wait for.

    It may be sent to other processes in any way: as an argument, inside data or a closure, through a queue,
    or by fork. All copies are equal and are the same flag. It belongs to the process that made it: when
    that process ends, the flag is set for good measure, so that nobody waits for ever.

    Attributes:
        is_set: call it to learn whether the flag is set. It costs less than `threading.Event.is_set`.

    Raises:
        OSError: the system has no more memory or no more file descriptors.
    """

    __slots__ = ("__weakref__", "_record", "is_set")

    is_set: Callable[[], bool]
    _record: Record

    def __init__(self) -> None:
        self._adopt(Record.new())

    def _adopt(self, record: Record) -> None:
        self._record = record
        self.is_set = record.flag.is_set
        live.enter(self)

    def _records(self) -> Sequence[Record]:
        return (self._record,)

    def set(self) -> None:
        """Set the flag and wake everybody who waits for it. Once it returns, every process sees it set."""
        self._record.flag.set_and_wake()

    def clear(self) -> None:
        """Reset the flag; waiters sleep until it is set again."""
        self._record.flag.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the flag is set; return True, or False if *timeout* seconds passed before that.

        True also if it was set and has been cleared again since (on Linux; elsewhere a flag that is
        set for less than 10 ms may be missed).

        Raises:
            ValueError: *timeout* is NaN.
        """
        if self.is_set():
            return True
        return kernel.wait((self._record.flag,), until(timeout))

    def __eq__(self, other: object) -> bool:
        return self._record.key == other._record.key if isinstance(other, Event) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._record.key)

    def __copy__(self) -> "Event":
        return self

    def __deepcopy__(self, memo: Any) -> "Event":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        pickled(self)
        return _found, (tuple(self._record.share()),)

    def __repr__(self) -> str:
        state = "set" if self.is_set() else "unset"
        return f"<stoppable.Event at {id(self):#x}: {state}>"


def _found(handle: tuple[Any, ...]) -> Event:
    event = Event.__new__(Event)
    event._adopt(Record.find(Handle(*handle)))
    owner.watch(event._record.chunk)
    return event


def until(timeout_s: float | None) -> float | None:
    """Return the time of the monotonic clock that is *timeout_s* from now; None for no limit.

    Raises:
        ValueError: it is NaN.
    """
    if timeout_s is None:
        return None
    if math.isnan(timeout_s):
        raise ValueError("a timeout must be seconds, was NaN")
    return time.monotonic() + timeout_s
