"""A chunk: one piece of shared memory with 256 records in it, and how each byte is used.

1. Only the process that made a chunk gives out its records, and only it closes the descriptor that
   others find it by. A forked child has the memory, but is not the owner.
2. A record is given out again only if no other process can know of it: it was never pickled, and no
   fork happened while it was in use.
3. A chunk that is not, or no more, what a handle says is never used in its place (`nonce`).

Bytes: a page of header, then 64 for each record (flag, winner), then 16 slots of 512 for each
record's reasons. Only pages that are touched use memory: a record never stopped costs 64 bytes.
"""

import mmap
import os
import struct
import time
from typing import NamedTuple

from stoppable.flags import backing
from stoppable.flags.backing import Place
from stoppable.flags.process import Process

RECORDS = 256
SLOTS = 16
SLOT_BYTES = 512

_MAGIC = b"stopflg1"
_HEAD = struct.Struct("<8s16s")
_ORPHANED_AT = 32
_F64 = struct.Struct("<d")
_RECORDS_AT = 4096
_RECORD_BYTES = 64
_REASONS_AT = _RECORDS_AT + RECORDS * _RECORD_BYTES
SIZE_BYTES = _REASONS_AT + RECORDS * SLOTS * SLOT_BYTES


class Handle(NamedTuple):
    """What another process needs to find a record; it is what a pickle holds."""

    pid: int
    start: int
    fd: int
    path: str
    nonce: bytes
    record: int


class Chunk:
    """Shared memory with records.

    Attributes:
        memory: the bytes, mapped.
        place: where others find it.
        nonce: 16 random bytes, which are its name.
        owned: whether this process made it. A fork makes it False in the child.
        free: indices that may be given out; the owner's only.
        live: indices that are given out; the owner's only.
        pickled: whether a record of it was ever pickled; the owner's only.
        watched: whether the owner's death is watched for; other processes' only.
    """

    __slots__ = ("__weakref__", "free", "live", "memory", "nonce", "owned", "pickled", "place", "watched")

    def __init__(self, memory: mmap.mmap, place: Place, nonce: bytes, *, owned: bool) -> None:
        self.memory, self.place, self.nonce, self.owned = memory, place, nonce, owned
        self.free: list[int] = list(range(RECORDS - 1, -1, -1)) if owned else []
        self.live: set[int] = set()
        self.pickled = self.watched = False

    @classmethod
    def create(cls, owner: Process) -> "Chunk":
        """Return a new chunk of this process.

        Raises:
            OSError: the system has no more memory or no more file descriptors.
        """
        nonce = os.urandom(16)
        memory, place = backing.create(owner, nonce, SIZE_BYTES)
        _HEAD.pack_into(memory, 0, _MAGIC, nonce)
        return cls(memory, place, nonce, owned=True)

    @classmethod
    def attach(cls, handle: Handle) -> "Chunk | None":
        """Return the chunk that *handle* names, or None if it is not there any more."""
        place = Place(Process(handle.pid, handle.start), handle.fd, handle.path)
        memory = backing.attach(place, SIZE_BYTES)
        if memory is None or _HEAD.unpack_from(memory) != (_MAGIC, handle.nonce):
            return None
        return cls(memory, place, handle.nonce, owned=False)

    @classmethod
    def stand_in(cls, handle: Handle) -> "Chunk":
        """Return a chunk for one that cannot be had: private memory, all of it orphaned."""
        chunk = cls(
            mmap.mmap(-1, SIZE_BYTES),
            Place(Process(handle.pid, handle.start), handle.fd, handle.path),
            handle.nonce,
            owned=False,
        )
        chunk.orphaned_at = time.monotonic()
        chunk.watched = True  # there is nothing to watch for any more
        for index in range(RECORDS):
            chunk.memory[flag_at(index)] = 1
        return chunk

    def __del__(self) -> None:
        if self.owned and backing is not None:  # it is None at the interpreter's very end
            backing.drop(self.place)

    @property
    def owner(self) -> Process:
        """The process that made it."""
        return self.place.owner

    @property
    def orphaned_at(self) -> float:
        """When its owner was found dead, in seconds of the monotonic clock; 0.0 if it was not."""
        at: float = _F64.unpack_from(self.memory, _ORPHANED_AT)[0]
        return at

    @orphaned_at.setter
    def orphaned_at(self, now: float) -> None:
        _F64.pack_into(self.memory, _ORPHANED_AT, now)

    def handle(self, index: int) -> Handle:
        """Return what another process needs to find record *index*."""
        (pid, start), fd, path = self.place
        return Handle(pid, start, fd, path, self.nonce, index)


def flag_at(index: int) -> int:
    """Return the offset of a record's flag."""
    return _RECORDS_AT + index * _RECORD_BYTES


def winner_at(index: int) -> int:
    """Return the offset of the word that the one who stops a record claims."""
    return _RECORDS_AT + index * _RECORD_BYTES + 4


def slot_at(index: int, slot: int) -> int:
    """Return the offset of a reason's slot."""
    return _REASONS_AT + (index * SLOTS + slot) * SLOT_BYTES
