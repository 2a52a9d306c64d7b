"""A record: one flag in shared memory, who set it, and why.

How a flag is set, in this order, each step a single store or system call:
1. a slot for the reason is claimed (its tag becomes the claimer's thread id), filled, marked full;
2. the winner word is claimed: exactly one claimer of all processes wins, its thread id names its slot;
3. winner or loser, the flag is set and all waiters are woken.
So a process killed anywhere leaves the flag unset, or set with its reason for good. Killed between 2
and 3, it has won but nobody sees it yet: the next to stop sets the flag for it, and loses.

A thread may start anew while it has a slot already: an exception ended its first try, or a signal
handler stops what the thread was just stopping. The newer try gives up the older one's slot, unless a
winner is known by then, so a thread id never names two slots that could both be meant.

A record never changes back (only `Event` clears a flag), and nothing here takes a lock.
"""

import struct
import threading
from collections.abc import Iterator

from stoppable.flags import kernel, slab
from stoppable.flags.chunk import SLOT_BYTES, SLOTS, Chunk, Handle, flag_at, slot_at, winner_at
from stoppable.flags.words import Word
from stoppable.reason import NOBODY, StopKind, StopReason

_ID = 0x3FFFFFFF  # the bits of a claimed word that are its winner's thread id
_TOMBSTONE = 0xFFFFFFFF  # the tag of a slot that was given up; no thread has this id
_TAG_BYTES = 8  # tag and full, four bytes each, before the reason itself
_U32 = struct.Struct("=I")


class _Lease:
    """The right to use a record: whoever holds the record, or only the `is_set` of its flag, holds this.

    Else a record could be given out again while somebody still looks at its flag.
    """

    __slots__ = ("chunk", "epoch", "index", "shared")

    def __init__(self, chunk: Chunk, index: int, epoch: int) -> None:
        self.chunk, self.index, self.epoch = chunk, index, epoch
        self.shared = False

    def __del__(self) -> None:
        if self.chunk.owned and slab is not None:  # it is None at the interpreter's very end
            slab.give_back(self.chunk, self.index, reusable=not self.shared and self.epoch == slab.epoch())


class Record:
    """One flag of a chunk.

    Attributes:
        flag: the word that is set, and waited for.
        chunk, index: where it is.
    """

    __slots__ = ("_lease", "chunk", "flag", "index")

    def __init__(self, chunk: Chunk, index: int, lease: _Lease | None = None) -> None:
        self.chunk, self.index, self._lease = chunk, index, lease
        self.flag = Word(chunk.memory, flag_at(index), lease or chunk)

    @classmethod
    def new(cls) -> "Record":
        """Return a record that nobody else has.

        Raises:
            OSError: the system has no more memory or no more file descriptors.
        """
        lease = _Lease(*slab.take())
        return cls(lease.chunk, lease.index, lease)

    @classmethod
    def find(cls, handle: Handle) -> "Record":
        """Return the record of *handle*; if it is gone, one that is set and orphaned."""
        return cls(slab.find(handle), handle.record)

    def share(self) -> Handle:
        """Return its handle for another process; the record is then never given out again."""
        if self._lease is not None:
            self._lease.shared = True
            self.chunk.pickled = True
        return self.chunk.handle(self.index)

    @property
    def key(self) -> tuple[bytes, int]:
        """The same for all copies in all processes, and for no other record."""
        return self.chunk.nonce, self.index

    def install(self, reason: StopReason) -> bool:
        """Set the flag for *reason*; return whether this was the one call that did."""
        self._write(reason.encode(SLOT_BYTES - _TAG_BYTES))
        won = self._winner().claim()
        self.flag.set_and_wake()
        return won

    def orphan(self) -> None:
        """Set the flag, for the death of the owner (`chunk.orphaned_at` is set), unless it is set already."""
        if not self.flag.is_set():
            self._winner().claim()
            self.flag.set_and_wake()

    def reason(self) -> StopReason | None:
        """Return why the flag is set, the same for ever; None if it is not."""
        if not self.flag.is_set():
            return None
        # The slot was written before the flag; on a weakly ordered processor it must be read after it.
        kernel.fence()
        winner = self._winner().value & _ID
        memory = self.chunk.memory
        for at, tag in self._slots():
            if winner and tag & _ID == winner and _U32.unpack_from(memory, at + 4)[0]:
                return StopReason.decode(memory[at + _TAG_BYTES : at + SLOT_BYTES])
        orphaned_at = self.chunk.orphaned_at
        if orphaned_at:
            pid = self.chunk.owner.pid
            return StopReason(StopKind.ORPHAN, f"process {pid}, which made it, has ended", NOBODY, orphaned_at)
        # More than sixteen stopped it in the same instant, and the winner found no slot.
        return StopReason(StopKind.STOP, None, NOBODY, 0.0)

    def _winner(self) -> Word:
        return Word(self.chunk.memory, winner_at(self.index))

    def _write(self, text: bytes) -> None:
        memory, me = self.chunk.memory, threading.get_native_id() & _ID
        # Listed before the winner is looked at: a handler that runs in between and wins has a newer slot.
        mine = [at for at, tag in self._slots() if tag & _ID == me]
        if self._winner().value:
            return
        for at in mine:
            _U32.pack_into(memory, at, _TOMBSTONE)
        for slot in range(SLOTS):
            at = slot_at(self.index, slot)
            if _U32.unpack_from(memory, at)[0] or not Word(memory, at).claim():
                continue
            memory[at + _TAG_BYTES : at + _TAG_BYTES + len(text)] = text
            _U32.pack_into(memory, at + 4, 1)
            return

    def _slots(self) -> Iterator[tuple[int, int]]:
        """Yield offset and tag of the slots in use: they are taken in order, so the first free one is the end."""
        for slot in range(SLOTS):
            at = slot_at(self.index, slot)
            tag = _U32.unpack_from(self.chunk.memory, at)[0]
            if not tag:
                return
            yield at, tag
