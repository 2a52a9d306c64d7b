"""The parent's end of one worker: its private socket, its page, and what was sent to it.

Used by the reactor's thread only. Nothing here blocks: what cannot be written now waits in order.
"""

import itertools
import logging
import math
import os
import socket
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from stoppable import parcel, wire
from stoppable.core.events import TaskId
from stoppable.parcel import Part
from stoppable.reason import StopReason
from stoppable.shell.control import NOT_NOW
from stoppable.shell.feed import Feed
from stoppable.wire import Frame, Kind
from stoppable.worker import loop, start, stream
from stoppable.worker import page as pages
from stoppable.worker.page import Page

log = logging.getLogger("stoppable")
_TASK = int(Kind.TASK)
_PARTS = 256  # at most so many in one sendmsg; Linux takes 1,024
# At most so many reads in a row: more than a socket holds by default. With 64, a worker that flooded its
# channel with small frames cost each of the others' results 0.3 s.
READS = 4
# Of a dead worker. More than any socket holds; not endless, since a process that its task left may still write.
LAST_READS = 1024
_ASK_S = 0.5  # far longer than anybody asks for
_STACK_WAIT_S = 0.25  # a busy machine may take so long to run the handler
_STACK_STEP_S = 0.0001
_IN_C_S = 0.01  # Python code comes to its handlers in less, once it has a CPU
_STACK_STILL = 30  # steps
_STATE_S = 0.005  # between two looks at what the worker does: each reads a file, and it may have to be waited for
_STILL = "TtXZ"  # stopped, traced or dead: it runs no handler, and nobody else is to wait for it
_OURS = (loop.__file__, stream.__file__)
_STACK_ENDS = (b" in <module>\n", b"  ...\n")  # the main thread's outermost frame, or the hundredth


class Channel:
    """One worker as the parent sees it."""

    def __init__(self, worker: int) -> None:
        """Make the socket pair and the page.

        Raises:
            OSError: descriptors or memory are not to be had.
        """
        self.worker = worker
        self.pid: int | None = None
        self.ready = False
        self.dead = False  # the worker is gone: what it has left is all that will come
        self.failed = False  # it could not be written to, though the worker may live
        self.killed = False  # that has been ordered
        self.ended = False  # its socket has nothing more to say
        self.positions: dict[int, int] = {}  # task -> position, of the sent and not yet answered
        # Read and not yet taken. A queue, since taking one can lead to reading more: they are taken in order.
        self.inbox: deque[Frame] = deque()
        # Who asks ahead, in whatever thread, finds its task running, and asks it, before the reactor can ask the next one.
        self.asking = threading.RLock()  # re-entrant for signal handlers
        self._fed: Feed | None = None  # that its last items were of
        # The last that a task of this worker was stopped by: kept, as to map its memory takes longer than all the rest.
        self.token: Any = None
        self._next = 1
        self._outbox: deque[Part] = deque()
        self._reader = wire.Reader(wire.FROM_WORKER)
        self._stack_at = 0
        self.page_fd = Page.make()
        try:
            self.page = Page(self.page_fd)
            self.page.f64[pages.DONE] = math.nan
            self.sock, self.theirs = socket.socketpair()
        except BaseException:
            os.close(self.page_fd)
            raise
        self.sock.setblocking(False)

    def launched(self) -> None:
        """Close what only the worker needs; it has its own copies now."""
        self.theirs.close()
        os.close(self.page_fd)
        self.page_fd = -1

    def close(self) -> None:
        """Close the parent's end."""
        if self.page_fd >= 0:
            self.launched()
        self.sock.close()
        self._outbox.clear()
        self._fed = self.token = None

    # --- writing -----------------------------------------------------------------------------

    def send_task(self, task: int, options: bytes, call: tuple[Part, ...]) -> None:
        """Send a task; it starts when those sent before it have ended."""
        positions, position = self.positions, self._next
        if positions and position - next(iter(positions.values())) >= pages.RING:
            position = self._place(position)
        self._next = position + 1
        positions[task] = position
        self.page.offer(position)
        if options:
            options += parcel.padding(len(options))  # what is behind a pickle's end is not looked at
        size = len(options) + parcel.size(call)
        head = wire.pack_head(_TASK, len(options), position, task, size)
        if size < wire.CHUNK_BYTES:
            self._outbox.append(head + options + call[0])
        else:
            self._outbox.append(head + options)
            self._outbox.extend(call)

    def _place(self, position: int) -> int:
        """Return the first from *position* on whose place in the page's ring is free: those of a line may lie far apart."""
        held = {each % pages.RING for each in self.positions.values()}
        assert len(held) < pages.RING, "a line is shorter than the ring"
        while position % pages.RING in held:
            position += 1
        return position

    def write(self, data: bytes) -> None:
        """Queue *data*; `flush` writes it."""
        self._outbox.append(data)

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for `flush`."""
        return bool(self._outbox)

    def flush(self) -> None:
        """Write what waits, as far as it goes: one system call for all of it, if the socket has the room."""
        outbox = self._outbox
        while outbox:
            parts = [outbox[0]] if len(outbox) == 1 else list(itertools.islice(outbox, _PARTS))
            try:
                sent = self.sock.sendmsg(parts)
            except OSError as error:
                if error.errno not in NOT_NOW:
                    outbox.clear()  # if the worker is gone, its exit will tell what became of its tasks
                    self.failed = not isinstance(error, ConnectionError)
                return
            for part in parts:
                if sent < len(part):
                    outbox[0] = memoryview(part)[sent:]
                    return
                sent -= len(part)
                outbox.popleft()

    # --- reading -----------------------------------------------------------------------------

    def read(self, limit: int = READS) -> None:
        """Add the whole frames that are there now to the inbox; sets `ended` at the end of the stream.

        Raises:
            WireError: what came is not from a worker of ours. What was whole before it is in the inbox.
        """
        try:
            for _ in range(0 if self.ended else limit):
                if not self._reader.read(self.sock, self.inbox):
                    self.ended = True
                    break
                if self._reader.dry and not self.dead:
                    break  # to ask again would cost as much as to read it
        except BlockingIOError:
            pass
        except wire.WireError:
            self.ended = True
            raise
        except OSError:
            self.ended = True

    def feed(self, feed: Feed | None, task: int, item: "bytes | bytearray | memoryview") -> None:
        """Give *feed* an item that *task* has yielded; a worker that sends what has no place is not heard any more."""
        if feed is not None and feed is not self._fed:
            # First the one before, whose task has ended: its consumers must not write over what is told of this one.
            if self._fed is not None:
                self._fed.detach()
            self._fed = feed
            feed.attach(self.page, task)
        if feed is None or not feed.put(item):
            log.error("worker %s (pid %s) yields what nobody has room for, and is killed", self.worker, self.pid)
            self.ended = True
            self.inbox.clear()

    # --- facts -------------------------------------------------------------------------------

    def recall(self, task: int) -> bool:
        """Take back a sent task that has not started; False if it has."""
        position = self.positions.get(task)
        if position is None:
            return True  # it was never written
        if not self.page.recall(position):
            return False
        del self.positions[task]
        return True

    def claimed(self) -> TaskId | None:
        """Return the task that the worker has started and not answered, or None."""
        last = self.page.u32[pages.CLAIMED]
        for task, position in self.positions.items():
            if position <= last:
                return TaskId(task)
        return None

    def started_at(self, task: int) -> float | None:
        """Return when the worker started *task*, or None if it does not run it now."""
        page = self.page
        if page.u64[pages.CURRENT_TASK] == task:
            # A task that writes into its page must not bring a NaN, or the future, into everybody's deadlines.
            return min(max(0.0, page.f64[pages.STARTED_AT]), time.monotonic())
        return None

    def ask(self, task: int, reason: StopReason) -> None:
        """Set the flag that *task* looks at, and say for whom it is and why."""
        if not self.asking.acquire(timeout=_ASK_S):
            # A Ctrl-C came just after another thread had got it, or that thread is in a signal handler that waits.
            self.asking = threading.RLock()
            self.asking.acquire()
        try:
            self.page.ask(task, reason)
        finally:
            self.asking.release()

    def is_deaf(self, task: int) -> bool:
        """Say whether the worker runs *task* and no interrupt for it has reached its gate."""
        return self.started_at(task) is not None and self.page.u64[pages.HEARD_TASK] != task

    def sign_of_life(self, task: int) -> float:
        """Return when *task*, which runs here, was last known to be alive; 0.0 if nothing was heard since the last call.

        It may lie ahead, if the task said so. The worker says that it looks by a byte alone, since its
        `check()` cannot take the time; so a look counts from the call that finds it. It is cleared only
        when it was found, so none is overwritten unseen.
        """
        page, now = self.page, time.monotonic()
        seen = 0.0
        if page.u8[pages.LOOKED]:
            page.u8[pages.LOOKED] = 0
            seen = now
        if page.f64[pages.SHIELD_UNTIL] > now:
            seen = now  # nothing can be raised in a shield, and its own limit bounds it
        return max(seen, page.f64[pages.BEAT_AT]) if page.u64[pages.BEAT_TASK] == task else seen

    def progress(self, task: int) -> tuple[float, float | None] | None:
        """Return what *task* said with progress() last, or None if it said nothing or does not run here."""
        page = self.page
        done, total = page.f64[pages.DONE], page.f64[pages.TOTAL]
        if page.u64[pages.CURRENT_TASK] != task or math.isnan(done):
            return None
        return done, None if math.isnan(total) else total

    def request_text(self) -> None:
        """Make room for the stack that Python code writes; to be called just before STACK is delivered."""
        self.page.u8[pages.PAGE_BYTES : pages.DUMP_AT] = bytes(pages.TEXT_BYTES)

    def read_text(self) -> tuple[str | None, bool]:
        """Return that stack, and whether another way may do better.

        That is so if the worker has had the signal for a while and does nothing but C code. If it has not, it had no CPU, or
        was stopped; then the other way would do no better, and might do harm.
        """
        began = time.monotonic()
        look_at, delivered_at = began + _IN_C_S, math.inf
        while (now := time.monotonic()) < began + _STACK_WAIT_S:
            time.sleep(_STACK_STEP_S)
            raw = bytes(self.page.u8[pages.PAGE_BYTES : pages.DUMP_AT]).partition(b"\0")[0]
            if raw.endswith(pages.STACK_END):
                return _without_ours(raw[:-1].decode("utf-8", "replace")), False
            if now > look_at and delivered_at == math.inf:
                look_at = now + _STATE_S
                state, pending = self._state()
                if state in _STILL:
                    break
                if not pending >> (start.STACK_SIGNAL - 1) & 1:
                    delivered_at = now
            if now - delivered_at > _IN_C_S:
                return None, True
        return None, False

    def _state(self) -> tuple[str, int]:
        """Return what the worker does, as one letter of the kernel's, and which signals wait for it to run."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return "X", 0  # it is gone
        facts = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        pending = int(facts.get("SigPnd", "0"), 16) | int(facts.get("ShdPnd", "0"), 16)
        return facts.get("State", "X")[:1], pending

    def request_dump(self) -> None:
        """Make room for a stack of faulthandler's; to be called just before DUMP is delivered."""
        page = self.page
        if page.u32[pages.DUMPS] == 0:
            self._stack_at = 0
        page.u32[pages.DUMPS] = 1
        at = pages.DUMP_AT + self._stack_at
        if page.u8[at]:  # of one that came too late; else all of it is as it was
            page.u8[at:] = bytes(pages.TOTAL_BYTES - at)

    def read_dump(self) -> str | None:
        """Return the stack that faulthandler writes, or None if it does not within 250 ms.

        Its writer is a signal handler in C, which can tell nobody that it has finished: so this looks
        until the outermost frame is there, or else until the text has stood still for a while.
        """
        at = pages.DUMP_AT + self._stack_at
        began = time.monotonic()
        look_at = began + _IN_C_S
        size = still = 0
        while (now := time.monotonic()) < began + _STACK_WAIT_S:
            time.sleep(_STACK_STEP_S)
            if now > look_at:
                look_at = now + _STATE_S
                if self._state()[0] in _STILL:
                    break
            raw = bytes(self.page.u8[at:]).partition(b"\0")[0]
            still = still + 1 if raw and len(raw) == size else 0
            size = len(raw)
            if raw.endswith(_STACK_ENDS) or still == _STACK_STILL:
                self._stack_at += size
                return _without_ours(raw.decode("utf-8", "replace"))
        return None


def _without_ours(stack: str) -> str:
    """Leave out the frames of the worker's own loop, which stand below each task's and say nothing; and of who writes stacks."""
    kept: list[str] = []
    ours = False
    for line in stack.splitlines():
        ours = line.startswith("  File") and (ours or any(f'"{file}"' in line for file in _OURS))
        if not ours and f'"{start.__file__}"' not in line:
            kept.append(line)
    return "\n".join(kept).strip()
