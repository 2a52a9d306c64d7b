"""Frames and pickles: bytes in, messages out. No socket is opened here, and nothing is decided.

A frame is a fixed head and a body. One socket joins the parent to one worker and nobody else, so a
torn frame can only be the last one, and costs only the task that it speaks of.

Pickles are only ever read from our own processes. Plain pickle is tried first: it is several times
faster, and it fails where by-value pickling is needed (lambdas, functions made in a notebook).
"""

import functools
import io
import mmap
import pickle
import struct
import sys
from collections import ChainMap
from collections.abc import Callable, MutableSequence
from contextlib import suppress
from enum import IntEnum
from pickle import PickleBuffer  # so that a process without the C `pickle`, which has none, says so at once
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import socket

_HEAD = struct.Struct("<BxxxIIxxxxQQ")  # kind, extra, position, task, size
pack_head, _unpack = _HEAD.pack, _HEAD.unpack_from  # of kind, extra, position, task, size
HEAD_BYTES = _HEAD.size
CHUNK_BYTES = 1 << 16
# Above any real body; a head that names more is not ours, and is refused before memory is taken for it.
MAX_BODY_BYTES = 1 << 40
MAX_SAID_BYTES = 1 << 20  # of what is said besides an answer; a longer text is cut
_PIPE = b"multiprocessing.connection"  # is in the pickle of a pipe's end, of which plain pickle takes only the number
# Up to here, memory for a body is taken at once. A longer one takes it as its bytes come: a head alone,
# which a broken worker can send, must not cost the parent a terabyte.
_AT_ONCE_BYTES = 1 << 24


class Kind(IntEnum):
    """What a frame says. The parent's come first."""

    SETUP = 1  # body: a pickled Setup
    TASK = 2  # body: `extra` bytes of options, then the packed call
    RETIRE = 3  # leave by yourself

    READY = 10
    BOOT_FAILED = 11  # body: text
    VALUE = 12  # body: the packed value
    ERROR = 13  # body: see `pack_error`; extra: length of its text
    STOPPED = 14  # body: the reason, and where the task was: `pack_stop` of the worker's loop
    PARTIAL = 15  # body: a pickled value given to publish()
    PROGRESS = 16  # body: two doubles, done and total
    UNSHIELDED = 17  # the task, which was asked to stop, has left its outermost shield
    ITEM = 18  # body: what a streaming task has yielded, packed
    # Not an answer, so of no task, though its body may name one: it may come before the first, and between two.
    SAID = 20  # body: a record, a warning or printed lines, as `extra` says: see `worker/relay.py`


# Set in `extra` of an answer.
UNFIT = 1 << 31  # the worker must not be given another task
UNBEGUN = 1 << 30  # of a STOPPED: a token of the task was set before it began, so its body never ran

# What each side may say, and the least and the most bytes of its body: all else is nonsense.
FROM_PARENT: dict[int, tuple[int, int]] = {
    Kind.SETUP: (1, MAX_BODY_BYTES),
    Kind.TASK: (1, MAX_BODY_BYTES),
    Kind.RETIRE: (0, 0),
}
FROM_WORKER: dict[int, tuple[int, int]] = {
    Kind.READY: (0, 0),
    Kind.BOOT_FAILED: (0, MAX_BODY_BYTES),
    Kind.VALUE: (1, MAX_BODY_BYTES),
    Kind.ERROR: (4, MAX_BODY_BYTES),
    Kind.STOPPED: (0, 1 << 12),
    Kind.PARTIAL: (1, MAX_BODY_BYTES),
    Kind.PROGRESS: (16, 16),
    Kind.UNSHIELDED: (0, 0),
    Kind.ITEM: (1, MAX_BODY_BYTES),
    Kind.SAID: (1, MAX_SAID_BYTES),
}
_NONE = (1, 0)


class WireError(Exception):
    """What came is not of our making: the peer is broken, and is not to be believed any more."""


class Frame(NamedTuple):
    kind: int
    extra: int
    position: int  # of a TASK: its place in what the worker is sent. Of an answer: microseconds that the task took
    task: int
    body: bytes | bytearray | memoryview  # not in quotes: those would be compiled, and the first compile() costs 5 ms


def head(kind: Kind, size: int, *, task: int = 0, position: int = 0, extra: int = 0) -> bytes:
    """Return the head of a frame whose body has *size* bytes."""
    return pack_head(kind, extra, position, task, size)


class Reader:
    """Cuts a stream of bytes into frames. A body over 64 KB is read straight into its own buffer.

    Args:
        said: what the other side may say, `FROM_PARENT` or `FROM_WORKER`.
    """

    __slots__ = ("_big", "_filled", "_head", "_rest", "_said", "dry")

    def __init__(self, said: dict[int, tuple[int, int]]) -> None:
        self._said = said
        self._rest = b""  # read, and not a whole frame yet
        self._head: tuple[int, ...] | None = None  # of the big body being read
        self._big = memoryview(b"")
        self._filled = 0
        self.dry = False  # the last read got less than it had room for, so nothing more was there

    @property
    def torn(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._head is not None or bool(self._rest)

    def read(self, sock: "socket.socket", frames: MutableSequence[Frame]) -> bool:
        """Read once from *sock* and append whole frames to *frames*; False at the end of the stream.

        Raises:
            BlockingIOError: nothing is there now.
            WireError: the bytes are no frames of ours. What came whole before them is in *frames*.
        """
        if self._head is not None:
            got = sock.recv_into(self._big[self._filled :])
            self._filled += got
            if self._filled == len(self._big):
                kind, extra, position, task, _ = self._head
                frames.append(Frame(kind, extra, position, task, self._big))
                self._head, self._big, self._filled = None, memoryview(b""), 0
            self.dry = self._head is not None
            return got > 0
        data = sock.recv(CHUNK_BYTES)
        if data:
            self._cut(self._rest + data if self._rest else data, frames)
        self.dry = len(data) < CHUNK_BYTES
        return bool(data)

    def _cut(self, data: bytes, frames: MutableSequence[Frame]) -> None:
        said, start, end = self._said, 0, len(data)
        while end - start >= HEAD_BYTES:
            kind, extra, position, task, size = fields = _unpack(data, start)
            least, most = said.get(kind, _NONE)
            if not least <= size <= most:
                raise WireError(f"no frame that we expect: kind {kind}, {size} bytes")
            body = start + HEAD_BYTES
            start = body + size
            if start <= end:
                frames.append(Frame(kind, extra, position, task, data[body:start]))
            elif size > CHUNK_BYTES:
                self._begin_big(fields, memoryview(data)[body:], size)
            else:
                start = body - HEAD_BYTES
                break
        self._rest = data[start:]

    def _begin_big(self, fields: tuple[int, ...], begun: memoryview, size: int) -> None:
        try:
            room = fresh(size)
        except (MemoryError, OSError):
            raise WireError(f"no memory for a body of {size} bytes") from None
        room[: len(begun)] = begun
        self._head, self._big, self._filled = fields, room, len(begun)
        begun.release()


def fresh(size_bytes: int) -> memoryview:
    """Return memory of one's own that can be written, and goes with its last view.

    Raises:
        MemoryError, OSError: there is none.
    """
    if size_bytes <= _AT_ONCE_BYTES:
        return memoryview(bytearray(size_bytes))
    room = mmap.mmap(-1, size_bytes, access=mmap.ACCESS_COPY)
    # Pages of 2 MB: to touch 4 KB for the first time costs more than to fill them (100 MB: three times as fast).
    with suppress(AttributeError, OSError):  # it is a wish: not every kernel, and not every system, knows it
        room.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(room)


def main_is_importable() -> bool:
    """Say whether a worker can run our `__main__` again and find the same names in it."""
    main = sys.modules.get("__main__")
    if main is None or hasattr(sys, "ps1") or sys.flags.interactive:
        return False
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        # A package run by -m: as in multiprocessing, its __main__ is not run again.
        return not spec.name.endswith(".__main__")
    path = getattr(main, "__file__", None)
    # A folder or zip file run as a program: like a package, it is not run again.
    return path is not None and not path.startswith("<") and not path.endswith("__main__.py")


def dumps(
    value: Any,
    *,
    by_value: bool = False,
    beside: "list[memoryview] | None" = None,
    inside: "Callable[[PickleBuffer], bool] | None" = None,
) -> bytes:
    """Pickle *value*: plainly if that can be, else as multiprocessing does, else with cloudpickle.

    Args:
        by_value: pickle what `__main__` defines by value, since the reader cannot import it.
        inside: called with each buffer that could stay out of the pickle; True: it goes in.
        beside: what *inside* has kept out; emptied when the pickling begins anew.

    Raises:
        Exception: no way works; it is the plain way's error, whose text names the culprit.
    """
    try:
        raw = pickle.dumps(value, 5, buffer_callback=inside)
    except Exception as plain:
        for way in (_cloud,) if by_value else (_forking, _cloud):
            try:
                return way(value, beside, inside)
            except Exception:
                continue
        raise plain from None
    # Whatever refers to `__main__` names it. Most values do not, and by value they would cost ten times as much.
    if by_value and b"__main__" in raw:
        return _cloud(value, beside, inside)
    return _forking(value, beside, inside) if _PIPE in raw else raw


def _forking(value: Any, beside: "list[memoryview] | None", inside: "Callable[[PickleBuffer], bool] | None") -> bytes:
    """Pickle what holds a pipe's end or a socket: this process keeps a copy of it for who unpickles that."""
    from multiprocessing.reduction import ForkingPickler

    if beside is not None:
        beside.clear()
    file = io.BytesIO()
    ForkingPickler(file, 5, True, inside).dump(value)
    return file.getvalue()


def _cloud(value: Any, beside: "list[memoryview] | None", inside: "Callable[[PickleBuffer], bool] | None") -> bytes:
    if beside is not None:
        beside.clear()
    file = io.BytesIO()
    _cloud_pickler()(file, 5, buffer_callback=inside).dump(value)
    return file.getvalue()


@functools.cache
def _cloud_pickler() -> Any:
    """Return cloudpickle's pickler, which here can pickle what multiprocessing's can."""
    from multiprocessing.reduction import ForkingPickler

    import cloudpickle

    tables = cloudpickle.Pickler.dispatch_table, ForkingPickler(io.BytesIO()).dispatch_table
    return type("Pickler", (cloudpickle.Pickler,), {"dispatch_table": ChainMap(*tables)})


loads = pickle.loads
