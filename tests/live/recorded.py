"""Bars that note what they are told instead of drawing it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stoppable import bars
from stoppable.bars import View


class Recorded:
    """What was drawn, by which threads, and how often that was ended."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.threads: set[int] = set()
        self.closed = 0

    def make(self, title: str, style: str = "auto") -> "Recorded":
        return self

    def draw(self, view: View) -> None:
        self.views.append(view)
        self.threads.add(threading.get_ident())

    def close(self) -> None:
        self.closed += 1


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Have all bars recorded, which must have been ended once when this is over, as must the thread that draws."""
    made = Recorded()
    monkeypatch.setattr(bars, "make", made.make)
    yield made
    assert made.closed == bool(made.views)
    assert not drawing()


def drawing() -> list[threading.Thread]:
    """Return the threads that draw."""
    return [thread for thread in threading.enumerate() if thread.name == "stoppable-progress"]
