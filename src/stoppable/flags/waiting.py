"""Waiting for words of shared memory. Never holds a lock, never looks at what a word means."""

import time
from collections.abc import Sequence

from stoppable.flags import kernel
from stoppable.flags.words import Word


def wait_any(words: Sequence[Word], timeout_s: float | None) -> bool:
    """Sleep until one of *words* is set (True) or *timeout_s* seconds are over (False).

    Args:
        words: one or more; past 128 they are polled every 20 ms, since the kernel takes no more.
        timeout_s: None waits for as long as it takes.
    """
    return wait_until(words, None if timeout_s is None else time.monotonic() + timeout_s)


def wait_until(words: Sequence[Word], until: float | None) -> bool:
    """Do as `wait_any`, up to an absolute time of `time.monotonic()`."""
    return kernel.wait(words, until)
