"""A value as parts that are sent one after the other: its pickle, and its big buffers beside it.

An array that is pickled is copied into the pickle, and copied out of it again. Here (pickle protocol
5) a buffer of 64 KB or more is sent as it is, and what is unpickled looks straight into the memory
that the bytes were received in. That memory belongs to nobody else, so it can be written, and it is
freed when the last view of it goes.

The bytes go through the socket, not through a memfd: measured, a socket is about half as fast for 100 MB
(and no slower for 8 MB), but there are no descriptors that many waiting tasks could use up, and none
that a killed process could leave with us.

As bytes: a plain pickle, which begins with 0x80; or, if there are buffers beside it, a head that begins
with 0, the sizes, the pickle, and the buffers, each at a multiple of 64 bytes.
"""

import pickle
import struct
from pickle import PickleBuffer
from typing import Any

from stoppable import wire

Part = bytes | memoryview
BIG_BYTES = wire.CHUNK_BYTES  # so that what holds a buffer is always received into memory of its own
ALIGN = 64  # what arrays like best
_HEAD = struct.Struct("<BxxxIQ")  # 0, number of buffers, size of the pickle
_SIZE = struct.Struct("<Q")


def pack(value: Any, *, by_value: bool = False, copy: bool) -> tuple[Part, ...]:
    """Return *value* as parts.

    Args:
        by_value: pickle what `__main__` defines by value, since the reader cannot import it.
        copy: take copies of the buffers; else they must not change until they are sent.

    Raises:
        Exception: it does not pickle.
    """
    beside: list[memoryview] = []

    def inside(buffer: PickleBuffer) -> bool:
        """Say whether *buffer* goes into the pickle."""
        try:
            raw = buffer.raw()
        except BufferError:  # its bytes do not lie together
            return True
        if raw.nbytes < BIG_BYTES:
            return True
        beside.append(raw)
        return False

    pickled = wire.dumps(value, by_value=by_value, beside=beside, inside=inside)
    if not beside:
        return (pickled,)
    head = _HEAD.pack(0, len(beside), len(pickled)) + b"".join(_SIZE.pack(each.nbytes) for each in beside) + pickled
    parts: list[Part] = [head + padding(len(head))]
    for each in beside:
        parts.append(_copy(each) if copy else each)
        if rest := padding(each.nbytes):
            parts.append(rest)
    return tuple(parts)


def _copy(buffer: memoryview) -> memoryview:
    room = wire.fresh(buffer.nbytes)
    room[:] = buffer
    return room


def size(parts: tuple[Part, ...]) -> int:
    """Return how many bytes *parts* are."""
    return len(parts[0]) if len(parts) == 1 else sum(len(part) for part in parts)


def unpack(body: "bytes | bytearray | memoryview") -> Any:
    """Return the value that *body* was packed from.

    Raises:
        Exception: it does not unpickle.
    """
    if body[0]:
        return pickle.loads(body)
    view = memoryview(body)
    _, count, pickled = _HEAD.unpack_from(view)
    sizes = [size for (size,) in _SIZE.iter_unpack(view[_HEAD.size : _HEAD.size + count * _SIZE.size])]
    start = _HEAD.size + count * _SIZE.size
    at = start + pickled
    buffers = []
    for each in sizes:
        at += -at % ALIGN
        buffers.append(view[at : at + each])
        at += each
    return pickle.loads(view[start : start + pickled], buffers=buffers)


def padding(size_bytes: int) -> bytes:
    """Return the zeros that fill *size_bytes* up to where a buffer may begin."""
    return bytes(-size_bytes % ALIGN)
