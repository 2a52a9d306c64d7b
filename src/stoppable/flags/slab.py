"""The shared memory of this process: gives records out, takes them back, finds those of others.

1. Nothing is ever left behind: memory goes with the last record in it (up to `_LINGERING` chunks
   of dead records stay findable, since a pickle of one may still be on its way).
2. The lock is this process's own and is held for a few lines; nobody who finds it taken while
   giving back waits for it, because giving back happens in the garbage collector, anywhere.
3. After a fork the child owns no chunk, and makes its own.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from stoppable.flags import backing, kernel, process
from stoppable.flags.chunk import SLOTS, Chunk, Handle, flag_at, slot_at, winner_at

_LINGERING = 8

# What modules want done in a child after a fork. Only appended to, at import.
after_fork: list[Callable[[], None]] = [backing.after_fork, kernel.after_fork]

_chunks: dict[bytes, "weakref.ref[Chunk]"] = {}  # all that are mapped in this process, by nonce


class _Allocator:
    """What one process has to give out. A forked child gets a new one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.me = process.me()
        # Chunks that have something free. The last one is used first.
        self.partial: list[Chunk] = []
        # Chunks with no live record, kept because a pickle of one may still be read.
        self.lingering: deque[Chunk] = deque(maxlen=_LINGERING)


_allocator: _Allocator | None = None
_epoch = 0  # counts forks: a record made before one is known to the child too
_hooked = False


def epoch() -> int:
    """Return a number that changes with each fork, in the parent and in the child."""
    return _epoch


def take() -> tuple[Chunk, int, int]:
    """Return a chunk, the index of a record of it that is now the caller's, and the epoch.

    Raises:
        OSError: the system has no more memory or no more file descriptors.
    """
    global _allocator
    if _allocator is None:
        _hook()
        _allocator = _Allocator()
    allocator = _allocator
    with allocator.lock:
        born = _epoch
        if not allocator.partial:
            fresh = Chunk.create(allocator.me)
            _enter(fresh)
            allocator.partial.append(fresh)
        chunk = allocator.partial[-1]
        index = chunk.free.pop()
        chunk.live.add(index)
        if not chunk.free:
            allocator.partial.pop()
    return chunk, index, born


def give_back(chunk: Chunk, index: int, *, reusable: bool) -> None:
    """Take record *index* back. Never blocks; may be called by the garbage collector."""
    if reusable:
        _wipe(chunk, index)
        chunk.free.append(index)
    chunk.live.discard(index)
    if chunk.live and len(chunk.free) != 1:
        return
    # The chunk is empty, or has something free again. If the lock is taken, the next one does this.
    allocator = _allocator
    if allocator is None or not allocator.lock.acquire(blocking=False):
        return
    try:
        _settle(allocator, chunk)
    finally:
        allocator.lock.release()


def _settle(allocator: _Allocator, chunk: Chunk) -> None:
    partial = allocator.partial
    if chunk.free and chunk not in partial:
        partial.insert(0, chunk)
    idle = [each for each in partial if not each.live]
    if len(idle) == len(partial):
        # One stays, or a program that makes one flag at a time would map memory for each.
        del idle[-1:]
    for each in idle:
        partial.remove(each)
    if not chunk.free and not chunk.live:
        idle.append(chunk)
    allocator.lingering.extend(each for each in idle if each.pickled)


def find(handle: Handle) -> Chunk:
    """Return the chunk of *handle*; if it cannot be had any more, a private one that is all orphaned."""
    ref = _chunks.get(handle.nonce)
    chunk = None if ref is None else ref()
    if chunk is None:
        _hook()
        chunk = Chunk.attach(handle) or Chunk.stand_in(handle)
        # Another thread may have been faster: all copies in a process must share one memory.
        chunk = _enter(chunk)
    return chunk


def mapped() -> list[Chunk]:
    """Return all chunks that are mapped in this process."""
    return [chunk for ref in list(_chunks.values()) if (chunk := ref()) is not None]


def trim() -> None:
    """Close the chunks that no record is used of: no pickle of one can be read after that."""
    if _allocator is None:
        return
    with _allocator.lock:
        _allocator.lingering.clear()
        _allocator.partial[:] = [chunk for chunk in _allocator.partial if chunk.live]


def _enter(chunk: Chunk) -> Chunk:
    nonce = chunk.nonce

    def forget(ref: "weakref.ref[Chunk]") -> None:
        if _chunks.get(nonce) is ref:
            _chunks.pop(nonce, None)

    ref = weakref.ref(chunk, forget)
    while True:
        there = _chunks.setdefault(nonce, ref)
        found = there()
        if found is not None:
            return found
        forget(there)


def _wipe(chunk: Chunk, index: int) -> None:
    memory = chunk.memory
    at, winner = flag_at(index), winner_at(index)
    if memory[at : winner + 4] == bytes(8):
        return
    for slot in range(SLOTS):
        tag = slot_at(index, slot)
        if memory[tag : tag + 4] == bytes(4):
            break
        memory[tag : tag + 8] = bytes(8)
    memory[at : winner + 4] = bytes(8)


def _hook() -> None:
    global _hooked
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(before=_count_fork, after_in_parent=_count_fork, after_in_child=_forked)


def _count_fork() -> None:
    # Before and after: a record made between the two by another thread is in the child as well.
    global _epoch
    _epoch += 1


def _forked() -> None:
    global _allocator
    _count_fork()
    for chunk in mapped():
        chunk.owned = False
        chunk.watched = False
    _allocator = None
    for function in after_fork:
        function()
