"""Watching for the death of the processes that own our flags.

One daemon thread in a process, started when the first flag of another process arrives, gone when
the last such flag is. It sleeps on pidfds (elsewhere it looks four times a second). When an owner
dies, all flags of it that this process has mapped are set, kind orphan, and their waiters woken.

It never keeps a flag alive, and never writes to a flag of an owner that lives.
"""

import os
import select
import sys
import threading
import time
import weakref

from stoppable.flags import slab
from stoppable.flags.chunk import RECORDS, Chunk
from stoppable.flags.process import Process, is_alive
from stoppable.flags.record import Record

_LOOK_S = 0.25  # only where there are no pidfds

_trusted: set[int] = set()


def trust_owner(pid: int) -> None:
    """Say that this process dies with process *pid* anyway, so that its flags need no watching.

    Forked children of this process do not inherit it.
    """
    _trusted.add(pid)


def watch(chunk: Chunk) -> None:
    """See to it that the flags of *chunk* are set when its owner dies. Cheap when it is seen to already."""
    if not (chunk.watched or chunk.owned or chunk.owner.pid in _trusted):
        _watch.add(chunk)


def orphan(chunk: Chunk) -> None:
    """Set all flags of *chunk*, whose owner is dead."""
    if not chunk.orphaned_at:
        chunk.orphaned_at = time.monotonic()
    for index in range(RECORDS):
        Record(chunk, index).orphan()


class _Watch:
    """The thread and what it watches. `lock` guards all but `pidfds`, which is the thread's own.

    The lock may be taken again by the thread that holds it: a chunk may go (`_gone`) in the garbage
    collector, at any line. Who finds it taken there does not wait for it: when the interpreter ends, our thread
    is frozen wherever it is, with the lock, perhaps, and the chunks go after that.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.chunks: set[weakref.ref[Chunk]] = set()
        self.thread: threading.Thread | None = None
        self.bell = -1  # written to wake the thread
        self.ear = -1  # the same number if it is an eventfd
        self.pidfds: dict[Process, int] = {}
        self.missed = False  # a chunk has gone, and nobody may have rung for it

    def add(self, chunk: Chunk) -> None:
        with self.lock:
            if self.thread is None:
                self.ear, self.bell = _new_bell()  # first, since it can fail, and then nothing watches
            chunk.watched = True
            self.chunks.add(weakref.ref(chunk, self._gone))
            if self.thread is not None:
                self._ring()
                return
            thread = threading.Thread(target=self._run, name="stoppable-owner-watch", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is leaving, or no more threads are to be had
                self._close_bell()
                chunk.watched = False
                return
            self.thread = thread

    def _gone(self, ref: "weakref.ref[Chunk]") -> None:
        self.chunks.discard(ref)
        self.missed = True  # before the lock is tried: the thread looks at it once it has given the lock back
        if self.lock.acquire(blocking=False):
            try:
                self._ring()
            finally:
                self.lock.release()

    def _ring(self) -> None:
        if self.bell >= 0:
            try:
                os.write(self.bell, b"\1\0\0\0\0\0\0\0")
            except OSError:  # a pipe that is full has rung already
                pass

    def _close_bell(self) -> None:
        ear, bell, self.ear, self.bell = self.ear, self.bell, -1, -1
        for fd in {ear, bell}:
            _close(fd)

    def _run(self) -> None:
        while self._look():
            if self.missed:
                self.missed = False
            else:
                self._sleep()

    def _look(self) -> bool:
        """Set the flags of dead owners; return whether there is anything left to watch."""
        with self.lock:
            chunks = [chunk for ref in list(self.chunks) if (chunk := ref()) is not None]
        owners = {chunk.owner for chunk in chunks}
        for process in owners:
            if self._has_ended(process):
                for chunk in chunks:
                    if chunk.owner == process:
                        orphan(chunk)
                        with self.lock:
                            self.chunks.discard(weakref.ref(chunk))
        with self.lock:
            needed = {chunk.owner for ref in list(self.chunks) if (chunk := ref()) is not None}
            for process in [process for process in self.pidfds if process not in needed]:
                _close(self.pidfds.pop(process))
            if self.chunks:
                return True
            self.thread = None
            self._close_bell()
            return False

    def _has_ended(self, process: Process) -> bool:
        fd = self.pidfds.get(process)
        if fd is None:
            fd = self.pidfds[process] = _open_pidfd(process.pid)
            # Only now: the id could have been given to another process before the pidfd was ours.
            return not is_alive(process)
        return _is_ready(fd) if fd >= 0 else not is_alive(process)

    def _sleep(self) -> None:
        if sys.platform == "win32":
            time.sleep(_LOOK_S)
            return
        poll = select.poll()
        poll.register(self.ear, select.POLLIN)
        for fd in self.pidfds.values():
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        poll.poll(_LOOK_S * 1000 if -1 in self.pidfds.values() else None)
        try:
            os.read(self.ear, 4096)
        except BlockingIOError:
            pass

    def forget(self) -> None:
        """After a fork, in the child: close what only the parent's thread used."""
        fds = {self.ear, self.bell, *self.pidfds.values()}
        for fd in fds:
            _close(fd)


def _new_bell() -> tuple[int, int]:
    if sys.platform == "linux":
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return fd, fd
    if sys.platform == "win32":
        return -1, -1  # select takes no pipes there
    ear, bell = os.pipe()
    os.set_blocking(ear, False)
    os.set_blocking(bell, False)
    return ear, bell


def _open_pidfd(pid: int) -> int:
    if sys.platform == "linux":
        try:
            return os.pidfd_open(pid)
        except OSError:  # it has ended, or a container forbids it
            return -1
    return -1


def _is_ready(fd: int) -> bool:
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _close(fd: int) -> None:
    if fd >= 0:
        try:
            os.close(fd)
        except OSError:
            pass


_watch = _Watch()


def _forked() -> None:
    global _watch
    _trusted.clear()
    _watch.forget()
    _watch = _Watch()


slab.after_fork.append(_forked)
