"""What the reactor waits for: many descriptors that are ready do not keep it from its mail."""

import os
from collections import Counter

import pytest

from stoppable.shell.watch import _AT_ONCE, READ, Watch

MANY = 100


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="epoll and eventfd are of Linux")
def test_a_wait_calls_a_few_handlers_and_the_next_ones_go_round() -> None:
    """A stop is looked at between two waits: with 500 workers that all have answers, it must not wait for all of them."""
    watch, called = Watch(), Counter[int]()
    fds = [os.eventfd(1) for _ in range(MANY)]  # ready, and they stay so
    try:
        for fd in fds:
            watch.put(fd, READ, lambda _, fd=fd: called.update([fd]))
        for turn in range(1, -(-MANY // _AT_ONCE) + 1):
            watch.wait(0.0)
            assert called.total() <= turn * _AT_ONCE
        assert set(called) == set(fds)
    finally:
        watch.close()
        for fd in fds:
            os.close(fd)
