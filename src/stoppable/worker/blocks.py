"""`blocks`: a loop over data, a file or a socket that is stopped between two blocks of it.

1. Each block begins with one `check`, before anything is taken from the source: so a stop loses nothing that was read,
   and costs at most the block under way.
2. Of a sequence nothing is copied but what its own slices copy.
3. A wait for bytes is ended by a stop wherever poll() knows of the bytes: at a socket, and at a file without a buffer.
   The kernel cannot wait for a descriptor and for a word of memory at once. A thread that does the one for the other
   would be cheaper while nothing comes; but a task may fork, and then it must have no threads that it did not start.
"""

import errno
import io
import math
import operator
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from stoppable.requested import StopRequested
from stoppable.worker import intask

if TYPE_CHECKING:
    import socket

# How late a stop may end a wait for bytes, at the worst. A wait costs twenty looks a second: some 0.2 % of a processor.
_LOOK_S = 0.05

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Reads(Protocol[T_co]):
    def read(self, size: int, /) -> T_co: ...


class _Slices(Protocol[T_co]):
    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> T_co: ...


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


@overload
def blocks(source: "socket.socket", size: int) -> Iterator[bytes]: ...
@overload
def blocks(source: _Reads[T], size: int) -> Iterator[T]: ...
@overload
def blocks(source: _Slices[T], size: int) -> Iterator[T]: ...
@overload
def blocks(source: Iterable[T], size: int) -> Iterator[tuple[T, ...]]: ...
def blocks(source: Any, size: int) -> Iterator[Any]:
    """Yield what is in *source*, in blocks; before each block, `check`.

    So `for block in blocks(file, 65536):` can be stopped between two blocks. Outside a task and any scope, nothing is
    special about it. It closes neither a file nor a socket; a generator that nobody else holds is closed by a stop.

    Args:
        source: a file that is open, in binary or as text: blocks are what its `read(size)` returns, to its end.
            A socket: what its `recv(size)` returns, until the other side has ended; datagrams have no end. Its own
            timeout holds for each block.
            A sequence, or an array with a shape (of numpy, say): slices of it; those of an array are views.
            Anything else that can be iterated over: tuples, as from `itertools.batched`.
        size: the most that a block has: of bytes, characters, items or rows. The last one may have fewer.

    Raises:
        StopRequested: the stop was asked for; every time that the next block is asked for, as from `check`. It ends a
            wait for bytes, too, at a socket and at a file without a buffer (`open(..., buffering=0)`).
        TypeError: *source* is none of those, or *size* is no whole number.
        ValueError: *size* is less than 1.
        TimeoutError: the socket's own timeout passed, and nothing came.
        BlockingIOError: the file or the socket does not block, and has nothing now.
    """
    size = _checked(size)
    sockets = sys.modules.get("socket")  # whoever has a socket has loaded it; a worker need not
    if sockets is not None and isinstance(source, sockets.socket):
        return _received(source, size)
    if callable(getattr(source, "read", None)):
        return _read(source, size)
    if _is_sliced(source):
        len(source)  # an array without dimensions has none, and says so now
        return _sliced(source, size)
    try:
        return _batched(iter(source), size)
    except TypeError:
        hint = "; open it first" if hasattr(source, "__fspath__") else ""
        kinds = "a file, a socket, a sequence, an array or an iterable"
        raise TypeError(f"blocks needs {kinds}, was given {source!r}{hint}") from None


def _checked(size: Any) -> int:
    try:
        whole = operator.index(size)
    except TypeError:
        raise TypeError(f"blocks needs a size that is a whole number, was {size!r}") from None
    if whole < 1:
        raise ValueError(f"blocks needs a size of at least 1, was {size!r}")
    return whole


def _is_sliced(source: Any) -> bool:
    if isinstance(source, Sequence):
        return not isinstance(source, deque)  # the one sequence that has no slices
    return hasattr(source, "shape") and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def _sliced(source: Any, size: int) -> Iterator[Any]:
    start = 0
    while True:
        intask.check()
        if start >= len(source):
            return
        yield source[start : start + size]
        start += size


def _batched(iterator: Iterator[T], size: int) -> Iterator[tuple[T, ...]]:
    try:
        while True:
            intask.check()
            block = tuple(islice(iterator, size))
            if not block:
                return
            yield block
    except StopRequested:
        # The traceback holds this frame. A generator that only we have is closed now, and not when that is dropped:
        # then its task may be over.
        del iterator
        raise


def _read(file: Any, size: int) -> Iterator[Any]:
    # A file with a buffer may have the bytes although poll() says that there are none.
    pollable = isinstance(file, io.FileIO)
    while True:
        intask.check()
        if pollable and intask.reachable():
            _await_bytes(file, math.inf)
        block = file.read(size)
        if block is None:
            raise BlockingIOError(errno.EAGAIN, f"blocks found nothing to read now in {file!r}, which does not block")
        if not block:
            return
        yield block


def _received(sock: "socket.socket", size: int) -> Iterator[bytes]:
    import socket

    endless = sock.type == socket.SOCK_DGRAM  # a datagram may be empty
    # TLS has a buffer of its own, and knows no flags.
    pending = getattr(sock, "pending", None)
    flags = 0 if pending is not None else getattr(socket, "MSG_DONTWAIT", 0)
    while True:
        intask.check()
        if sock.gettimeout() == 0 or not intask.reachable() or (pending is not None and pending()):
            block = sock.recv(size)
        else:
            block = _receive(sock, size, flags)
        if not block and not endless:
            return
        yield block


def _receive(sock: "socket.socket", size: int, flags: int) -> bytes:
    patience_s = sock.gettimeout()
    if patience_s is None and flags:
        try:
            return sock.recv(size, flags)  # a tenth of what it costs to ask poll() first
        except BlockingIOError:
            pass
    until = math.inf if patience_s is None else time.monotonic() + patience_s
    while True:
        _await_bytes(sock, until)
        try:
            return sock.recv(size, flags)
        except BlockingIOError:  # somebody else has taken them
            continue


def _await_bytes(source: _HasFileno, until: float) -> None:
    """Return once *source* can be read without waiting: bytes, its end, or an error.

    Raises:
        StopRequested: as `check` does.
        TimeoutError: it is *until*, by the monotonic clock.
    """
    while not _readable(source.fileno(), min(_LOOK_S, max(0.0, until - time.monotonic()))):
        intask.check()
        if time.monotonic() >= until:
            raise TimeoutError("timed out")


def _readable(fd: int, seconds: float) -> bool:
    import select

    if fd < 0:  # a socket that was closed: reading says so
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([fd], [], [], seconds)[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(math.ceil(seconds * 1000)))
