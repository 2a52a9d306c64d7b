"""Everywhere else: the same functions as `linux`, by a file lock and a bounded poll.

The lock guards only `claim`, is let go by the system when its holder dies, and is never waited for
longer than two seconds; readers, waiters and `set_and_wake` take none.

Weaker than `linux`: a signal handler that claims while its own thread is in `claim` waits those two
seconds and loses; an event that is set for less than 10 ms may be missed by those who wait.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stoppable.flags import polling, private_dir
from stoppable.flags.cell import Cell

_LOCK_WAIT_S = 2.0
# A file lock is held by a process, not by a thread, so threads need this as well. A new one after each fork.
_mutex = threading.Lock()


def claim(cell: Cell) -> bool:
    """Make *cell* the caller's if it is nobody's; return whether it was."""
    if cell.value:
        return False
    with _locked() as held:
        if not held or cell.value:
            return False
        cell.value = threading.get_native_id() & 0x3FFFFFFF or 1
        return True


def set_and_wake(cell: Cell) -> None:
    """Set *cell* to 1; those who wait see it at their next look."""
    cell.value = 1


def wait(cells: Sequence[Cell], until: float | None) -> bool:
    """Look at *cells* until one is set (True), or until the monotonic clock is at *until* (False)."""
    return polling.wait(cells, until)


def join_fence() -> bool:
    """Return False: there is no fence between processes here."""
    return False


def fence() -> None:
    """Order the caller's own loads and stores; of other processes it promises nothing."""
    with threading.Lock():
        pass


def after_fork() -> None:
    """Forget a mutex that a thread of the parent may have held."""
    global _mutex
    _mutex = threading.Lock()


@contextmanager
def _locked() -> Iterator[bool]:
    end = time.monotonic() + _LOCK_WAIT_S
    if not _mutex.acquire(timeout=_LOCK_WAIT_S):
        yield False
        return
    try:
        fd = os.open(private_dir.path("lock"), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            # Closing the file lets the lock go.
            yield _lock_file(fd, end)
        finally:
            os.close(fd)
    finally:
        _mutex.release()


def _lock_file(fd: int, end: float) -> bool:
    while not _try_lock(fd):
        if time.monotonic() >= end:
            return False
        time.sleep(0.001)
    return True


if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        # lockf, not flock: a flock would stay with a child forked meanwhile.
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
