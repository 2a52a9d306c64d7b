"""Gathering the tokens that a pickle contains, so that whoever sends it can keep them alive."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Local(threading.local):
    sink: list[object] | None = None


_local = _Local()


@contextmanager
def collect() -> Iterator[list[object]]:
    """Yield a list to which every `StopToken` and `Event` pickled in this thread meanwhile is added.

    A token pickled twice is in it twice. An inner `collect` takes what is pickled inside it.
    """
    before = _local.sink
    found: list[object] = []
    _local.sink = found
    try:
        yield found
    finally:
        _local.sink = before


def pickled(flag: object) -> None:
    """Note that *flag* is being pickled."""
    sink = _local.sink
    if sink is not None:
        sink.append(flag)
