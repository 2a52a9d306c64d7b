"""The page that the parent shares with one worker: facts that must be read or written without a message.

Every field has one writer, named below; the other side only reads. The worker's task can scribble
on it. So the parent believes no number here that could harm another worker's task, or itself: what
suffers is that task, and at worst those that were sent ahead to the same worker (they may wait until
they are stopped, or until that worker ends).

The claim, and how a task is recalled. The worker says `claimed = p` *before* it starts the task at
position p, and then looks whether `freeze` has moved. The parent, to take back the task at position
p, makes `freeze` odd, has the kernel run a memory barrier on every CPU that runs one of our workers,
and reads `claimed`. Either the barrier came before the worker's claim, and the worker sees the
freeze; or after it, and the parent sees the claim. So both can never believe that they have the
task. The parent then withdraws its offer of what it took back and makes `freeze` even. A claim therefore
costs the worker two stores and two loads, and no system call. Where the kernel has no such barrier
(`fenced` is False) the worker passes one of its own between the store and the load.

Invariants:
1. A position is claimed once, in order.  2. One that is not on offer is never run. (Marks of what was
   taken back, in a ring, came round behind a long task: the 257th of those stopped behind it was run.)
3. `asked_task` is written before `asked`, so who sees the flag finds out for whom it is.
"""

import fcntl
import os
import struct

from stoppable.flags.kernel import PORTABLE
from stoppable.flags.kernel import fence as _fence
from stoppable.flags.linux import map_shared, memfd
from stoppable.flags.waiting import wait_any
from stoppable.flags.words import Word
from stoppable.reason import StopReason

PAGE_BYTES = 4096
STACK_BYTES = 1 << 16  # stacks are written behind the page, in the same file
TEXT_BYTES = 1 << 14  # of these, for those that Python code writes; faulthandler's are behind them
DUMP_AT = PAGE_BYTES + TEXT_BYTES
STACK_END = b"\1"  # behind the text that Python code has written
TOTAL_BYTES = PAGE_BYTES + STACK_BYTES
RING = 96  # more tasks than are ever in one line (`core.pace`)
REASON_AT, REASON_BYTES = 512, 512
TOKEN_AT, TOKEN_BYTES = 1024, 3064
_OFFERS = 32  # by the parent, RING of them: the position that is to be run, of those that share the place
_LOW = 0xFFFFFFFF
_CLOSED = 1 << 31
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

# Indices of 4-byte fields.
CLAIMED = 0  # by the worker: the last position it claimed
FREEZE = 1  # by the parent: odd while it recalls
ASKED = 2  # by the parent (and cleared by the worker when stale): see `ask`
DUMPS = 3  # by the parent: 1 = faulthandler was asked for a stack; by the worker: 0 once it has rewound the file
ROOM = 26  # by the parent (and cleared by the worker before it looks): there may be room for what a stream yields
THAWED = 27  # by the parent: set while it does not recall, so that a worker can wait for that
TOKEN_SIZE = 28  # by the worker: bytes of the task's pickled token, 0 = it has none
# Indices of 8-byte fields.
ASKED_TASK = 2  # by the parent: the task that `asked` is for
CURRENT_TASK = 3  # by the worker: the task it runs, 0 = none
INTERRUPT_TASK = 4  # by the parent: the only task that an interrupt may hit
TOKEN_TASK = 5  # by the worker: the task whose token is at TOKEN_AT
BEAT_TASK = 11  # by the worker: the task that said BEAT_AT
HEARD_TASK = 15  # by the worker: the task whose interrupt has reached the gate
TAKEN = 511  # by the parent: how many items of which stream were taken, in one store: see `tell_taken`
# Indices of doubles.
STARTED_AT = 6  # by the worker, monotonic seconds
SHIELD_UNTIL = 7  # by the worker: 0 = no shield
BEAT_AT = 8  # by the worker: until when the task says that it is alive; may lie ahead
DONE, TOTAL = 9, 10  # by the worker: progress(); NaN = nothing said
# Indices of bytes.
LOOKED = 100  # by the worker (for a watchdog, cleared by the parent after it read it): looked at its token
HEARD = 2  # of that byte: since it was asked, too


class Page:
    """One shared page; both sides use this class, each writing only its own fields."""

    __slots__ = ("_freezes", "_map", "asked", "f64", "fenced", "looked", "room", "thawed", "u8", "u32", "u64")

    def __init__(self, fd: int) -> None:
        """Map the page in the file *fd*, which may be closed afterwards."""
        self._map = map_shared(fd, TOTAL_BYTES)
        self.u8 = memoryview(self._map)
        head = self.u8[:PAGE_BYTES]
        self.u32, self.u64, self.f64 = head.cast("I"), head.cast("Q"), head.cast("d")
        self.asked = Word(self._map, ASKED * 4)
        self.room = Word(self._map, ROOM * 4)
        self.thawed = Word(self._map, THAWED * 4)
        self._freezes = 0  # the parent's: what it wrote last, since a task may have written something else there
        self.fenced = True  # the worker's: the parent's fences reach this process
        self.looked = self.u8[LOOKED : LOOKED + 1]

    @staticmethod
    def make() -> int:
        """Return the file descriptor of a new page: memory with no name, gone with its last user.

        Raises:
            OSError: no descriptor or no memory is to be had, or there is no memfd_create here.
        """
        try:
            fd = memfd("stoppable-page", os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise OSError(error.errno, f"memfd_create: {error.strerror}") from None
        try:
            os.ftruncate(fd, TOTAL_BYTES)
            # A file that shrinks kills by SIGBUS whoever looks at it; one that grows eats memory for stacks.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(fd)
            raise
        return fd

    # --- the parent's side -------------------------------------------------------------------

    def offer(self, position: int) -> None:
        """Let *position* be run. The caller sees to it that no other one with its place in the ring is on offer."""
        self.u32[_OFFERS + position % RING] = position

    def recall(self, position: int) -> bool:
        """Take back the task at *position*; False if the worker has claimed it."""
        u32 = self.u32
        if u32[CLAIMED] >= position:
            return False  # that it has cannot change, so there is nothing to freeze
        self.thawed.clear()
        self._freeze()
        _fence()
        taken = u32[CLAIMED] < position
        if taken:
            u32[_OFFERS + position % RING] = 0
        _fence()
        self._freeze()
        self.thawed.set_and_wake()
        return taken

    def _freeze(self) -> None:
        self._freezes = (self._freezes + 1) % (1 << 32)
        self.u32[FREEZE] = self._freezes

    def ask(self, task: int, reason: StopReason) -> None:
        """Set the flag that *task* looks at, and wake it if it sleeps on it."""
        raw = reason.encode(REASON_BYTES - 4)
        self.u8[REASON_AT + 4 : REASON_AT + 4 + len(raw)] = raw
        self.u32[REASON_AT // 4] = len(raw)
        self.u64[ASKED_TASK] = task
        self.asked.set_and_wake()

    def tell_taken(self, task: int, taken: int, *, closed: bool) -> None:
        """Say that *taken* items of the stream *task* were taken; *closed*: what else comes is not kept, nor counted.

        Task and number are one store, so the worker never sees those of two streams mixed.
        """
        self.u64[TAKEN] = (task & _LOW) << 32 | (_CLOSED if closed else taken % _CLOSED)

    # --- the worker's side -------------------------------------------------------------------

    def untaken(self, task: int, sent: int) -> int:
        """Return how many of the *sent* items of the stream *task* count as not taken."""
        told = self.u64[TAKEN]
        if told >> 32 != task & _LOW:
            return sent  # it is of a stream before this one
        return 0 if told & _CLOSED else (sent - told) % _CLOSED

    def claim(self, position: int, seen: int) -> tuple[bool, int]:
        """Claim *position*; return (not recalled, the freeze that was seen).

        *seen* is what the previous call returned; 0 at first.
        """
        u32 = self.u32
        u32[CLAIMED] = position
        if not self.fenced:
            _fence()
        freeze = u32[FREEZE]
        if freeze != seen:
            while freeze % 2:
                # The parent is between its two steps, some microseconds; if it was killed there,
                # this process ends with it.
                wait_any([self.thawed], 1.0)
                freeze = u32[FREEZE]
            _fence()
        return u32[_OFFERS + position % RING] == position, freeze

    def forget_stale_ask(self, task: int) -> bool:
        """Return whether *task* is asked to stop; if the flag is of an earlier task, lower it.

        *task* may be an earlier one itself, whose thread has outlived it: the flag is then left to the one that runs.
        """
        u64 = self.u64
        if u64[ASKED_TASK] == task:
            return True
        if u64[ASKED_TASK] == u64[CURRENT_TASK]:
            return False
        self.asked.clear()
        # The parent writes the task and then the flag; we lower the flag and then read the task.
        # Without a fence here, both could miss each other and an ask would be lost.
        _fence()
        if u64[ASKED_TASK] in (task, u64[CURRENT_TASK]):
            self.asked.set_and_wake()
        return u64[ASKED_TASK] == task

    def reason(self) -> StopReason | None:
        """Return the reason of the last ask, or None if it cannot be read."""
        size = self.u32[REASON_AT // 4]
        if not 0 < size <= REASON_BYTES - 4:
            return None
        try:
            return StopReason.decode(self.u8[REASON_AT + 4 : REASON_AT + 4 + size])
        except (IndexError, struct.error):
            return None

    def bind_token(self, task: int, raw: bytes) -> bool:
        """Show the pickled token of *task* to the parent; False if it does not fit."""
        if len(raw) > TOKEN_BYTES:
            return False
        self.u64[TOKEN_TASK] = 0
        self.u8[TOKEN_AT : TOKEN_AT + len(raw)] = raw
        self.u32[TOKEN_SIZE] = len(raw)
        self.u64[TOKEN_TASK] = task
        _fence()
        return True

    def bound_token(self, task: int) -> bytes | None:
        """Return what `bind_token` showed for *task*, or None. To be called when its flag has been set."""
        if PORTABLE:
            _fence()  # else the kernel has set the flag by an atomic exchange: nothing after that is read before it
        size = self.u32[TOKEN_SIZE]
        if self.u64[TOKEN_TASK] != task or size > TOKEN_BYTES:
            return None
        return bytes(self.u8[TOKEN_AT : TOKEN_AT + size])
