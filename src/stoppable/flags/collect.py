"""Gathering the tokens that a pickle contains, so that whoever sends it can keep them alive."""

import threading


class _Local(threading.local):
    sink: list[object] | None = None


_local = _Local()


class collect:  # noqa: N801  # used as a function, as contextlib.suppress is
    """Within `with collect() as found`, every `StopToken` and `Event` that this thread pickles is added to *found*.

    A token pickled twice is in it twice. An inner `collect` takes what is pickled inside it.
    """

    __slots__ = ("_before",)

    # A class and not a generator: it is in the path of every submit, and costs a third.
    def __enter__(self) -> list[object]:
        self._before = _local.sink
        found: list[object] = []
        _local.sink = found
        return found

    def __exit__(self, *_: object) -> None:
        _local.sink = self._before


def pickled(flag: object) -> None:
    """Note that *flag* is being pickled."""
    sink = _local.sink
    if sink is not None:
        sink.append(flag)
