"""What the parent and the warden say to each other: one small message a packet, over a socket that keeps packets whole."""

import array
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

_MESSAGE = struct.Struct("<Bxxxiq")
_MAX_FDS = 2
# A full socket, or no memory in the kernel for one more message: what is kept and sent again.
NOT_NOW = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class Op(IntEnum):
    """What a message says. `who` is a worker's id; GUARD has a process id as its value."""

    SPAWN = 1  # with two descriptors, the worker's socket and its page; value: the process to let die first, or 0
    INTERRUPT = 2
    TERMINATE = 3
    KILL = 4
    STACK = 5
    GUARD = 6  # with its pidfd: end this process, too, when the parent is gone
    SUSPEND = 7  # have the worker's whole tree stand still
    CONTINUE = 8
    DUMP = 9  # STACK in another way

    BORN = 10  # value: the process id; perhaps with its pidfd
    EXITED = 11  # value: the status as os.waitpid gives it
    FAILED = 12  # value: the errno of the fork that failed


class Message(NamedTuple):
    op: int
    who: int
    value: int


class Control:
    """One end of the control socket. Never blocks; what cannot be sent now waits in order."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()

    def send(self, op: Op, who: int, value: int = 0, fds: tuple[int, ...] = ()) -> None:
        """Send a message, or queue it when the other end is slow. *fds* may be closed afterwards.

        Raises:
            OSError: the other end is gone, or the descriptors cannot be copied.
        """
        packet = _MESSAGE.pack(op, value, who)
        if self._waiting or not self._try(packet, fds):
            copies: list[int] = []
            try:
                copies.extend(map(os.dup, fds))  # which keeps those that were made before one fails
            except OSError:
                _close(copies)
                raise
            self._waiting.append((packet, tuple(copies)))

    def _try(self, packet: bytes, fds: tuple[int, ...]) -> bool:
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([packet], extra)
        except OSError as error:
            if error.errno in NOT_NOW:
                return False
            raise
        return True

    @property
    def waiting(self) -> bool:
        """Whether messages wait for the socket to become writable."""
        return bool(self._waiting)

    def flush(self) -> None:
        """Send what waits, as far as it goes.

        Raises:
            OSError: the other end is gone; what waited is dropped.
        """
        try:
            while self._waiting:
                packet, fds = self._waiting[0]
                if not self._try(packet, fds):
                    return
                self._waiting.popleft()
                _close(fds)
        except OSError:
            self._drop()
            raise

    def receive(self) -> tuple[Message, list[int]] | None:
        """Return the next message and its descriptors, or None at the end. An error is an end, too.

        Fewer descriptors than were sent come to a process that has no room for more.

        Raises:
            BlockingIOError: nothing is there now.
        """
        size = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
        try:
            packet, extra, _, _ = self.sock.recvmsg(_MESSAGE.size, size, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise
        except OSError:
            return None
        if len(packet) < _MESSAGE.size:
            return None
        fds = array.array("i")
        for level, kind, data in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        op, value, who = _MESSAGE.unpack(packet)
        return Message(op, who, value), list(fds)

    def close(self) -> None:
        """Close the socket and whatever waited to be sent with it."""
        self._drop()
        self.sock.close()

    def _drop(self) -> None:
        for _, fds in self._waiting:
            _close(fds)
        self._waiting.clear()


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
