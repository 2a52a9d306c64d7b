"""The worker's loop: one task at a time, in the main thread, until told to leave.

Invariants:
1. An answer is written whole before the next task is claimed.
2. The gate is open only while the task's own code runs (and its last few bytecodes around it).
3. Nothing that a task raises ends the loop: BaseException is caught at the task's border, once.
4. A forked child of a task never reads or writes the channel, and never goes on with the loop.
5. Frames never mix, though any thread may `say` something, and so may a signal handler in the middle of a write.
"""

import _thread
import math
import os
import pickle
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stoppable import parcel, wire
from stoppable.callee import Unpacker
from stoppable.parcel import Part
from stoppable.reason import StopKind
from stoppable.requested import StopRequested
from stoppable.wire import Frame, Kind
from stoppable.worker import intask
from stoppable.worker import page as pages
from stoppable.worker.bodies import DEFAULT, Options, pack_error, pack_progress, pack_stop, without_ours
from stoppable.worker.context import bind
from stoppable.worker.gate import Gate
from stoppable.worker.memory import own_bytes
from stoppable.worker.page import Page

_NOTHING = object()
_LONGEST_US = (1 << 32) - 1  # that an answer can say it took


class Loop:
    """The state of one worker process."""

    def __init__(self, sock: socket.socket, page: Page, gate: Gate, stack_fd: int) -> None:
        self.sock, self.page, self.gate, self.stack_fd = sock, page, gate, stack_fd
        self.reader = wire.Reader(wire.FROM_PARENT)
        self.inbox: deque[Frame] = deque()
        self.calls = Unpacker()
        self.seen = 0  # the freeze last seen by claim
        self.began = 0.0  # its last task; the task can write into the page, and not here
        self.pid = os.getpid()
        self.max_bytes: int | None = None  # what this process may have between tasks
        self.full = False  # it has more: it claims no other task
        self.thread = _thread.get_ident()
        self.lock = _thread.RLock()  # held by who writes, but by the main thread only if `shared`
        self.shared = False  # another thread has said something; by any thread
        self.writing = False  # the main thread is writing, and will look at `aside`; by the main thread
        self.aside: deque[bytes] = deque()  # whole frames to be written; by any thread
        self.at_end: Callable[[], object] | None = None  # called when a task has ended, before it is answered for

    def send(
        self, kind: Kind, body: "Part | tuple[Part, ...]", task: int = 0, extra: int = 0, position: int = 0
    ) -> None:
        """Write a whole frame, from the main thread. No interrupt lands meanwhile."""
        gate, shared = self.gate, False
        gate.seal()
        try:
            parts = body if isinstance(body, tuple) else (body,)
            size = parcel.size(parts)
            head = wire.pack_head(kind, extra, position, task, size)
            self.writing = True
            if self.shared:
                shared = self.lock.acquire()
            if size < wire.CHUNK_BYTES:
                self.sock.sendall(head + parts[0])
            else:
                self.sock.sendall(head)
                for part in parts:
                    self.sock.sendall(part)
            if shared:
                self.lock.release()
                shared = False
            self.writing = False
            if self.aside:
                self._write_aside()
        except BaseException:
            # A handler of the task's own may raise in the middle of a frame. Then whatever came next would be
            # taken for its rest, and waited for: so nothing more comes.
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            if shared:
                self.lock.release()
            self.writing = False
            gate.unseal()

    def say(self, kind: Kind, body: "Part | tuple[Part, ...]", task: int = 0, extra: int = 0) -> None:
        """Write a whole frame that answers nothing: from any thread, and also from inside another write.

        While the main thread is writing, it is left to that: see `_write_aside`.
        """
        mine = _thread.get_ident() == self.thread
        if mine and not self.writing:
            self.send(kind, body, task, extra)
            return
        whole = b"".join(body) if isinstance(body, tuple) else bytes(body)
        self.aside.append(wire.head(kind, len(whole), task=task, extra=extra) + whole)
        if not mine:
            self.shared = True
            self._write_aside()

    def _write_aside(self) -> None:
        """Write the frames that were put aside.

        The main thread says that it writes, and then looks whether it shares the channel; only if so does it take
        the lock, which costs half as much as the rest of a `send`. Another thread puts its frame aside, says that
        the channel is shared, and then looks whether the main thread writes. So either the main thread takes the lock, or the
        other thread sees that it writes and goes; and the main thread looks at what was put aside after it has said that it
        writes no more. (The interpreter's lock keeps each of these steps whole, and all in one order.)
        """
        mine = _thread.get_ident() == self.thread
        while self.aside and not self.writing:
            if mine:
                self.writing = True
            try:
                with self.lock:
                    while self.aside:
                        self.sock.sendall(self.aside.popleft())
            except BaseException:
                with suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)  # as in `send`
                raise
            finally:
                if mine:
                    self.writing = False

    def next_frame(self) -> Frame | None:
        """Wait for the parent's next frame; None when the parent has closed the channel."""
        while not self.inbox:
            frames: list[Frame] = []
            if not self.reader.read(self.sock, frames):
                return None
            self.inbox.extend(frames)
        return self.inbox.popleft()

    def run(self) -> bool:
        """Run tasks until told to leave; return False if nobody said so, but the parent is gone."""
        while True:
            if not self.inbox:
                _flush()
            frame = self.next_frame()
            if frame is None or frame.kind != Kind.TASK:
                return frame is not None
            if self.full:
                continue  # the parent takes back what it has sent, as it does from any unfit worker
            claimed, self.seen = self.page.claim(frame.position, self.seen)
            if claimed:
                self.run_task(frame)

    def run_task(self, frame: Frame) -> None:
        """Run one claimed task and answer for it."""
        page, gate, id, body = self.page, self.gate, frame.task, frame.body
        gate.reset()
        page.f64[pages.STARTED_AT] = self.began = time.monotonic()
        page.u8[pages.LOOKED] = 0
        page.u64[pages.CURRENT_TASK] = id
        if page.u32[pages.DUMPS]:
            os.lseek(self.stack_fd, pages.DUMP_AT, os.SEEK_SET)
            page.u32[pages.DUMPS] = 0
        options = DEFAULT
        try:
            if frame.extra:
                options = Options(*wire.loads(memoryview(body)[: frame.extra]))
                for token in options.tokens:
                    # Whoever sets a token tells this task's future only then: it may have come here meanwhile.
                    if token.is_set():
                        self._answer(Kind.STOPPED, pack_stop(token.reason, None), id, wire.UNBEGUN)
                        page.u64[pages.CURRENT_TASK] = 0
                        return
                body = memoryview(body)[frame.extra :]
            call = self.calls.unpack(body)
            task = intask.Running(id, call[0], page, gate, self.say)
            if frame.extra:
                self._inform(task, options)
                if options.carried:
                    call = bind(options.carried, call)
        except BaseException as unreadable:
            unreadable.add_note("(raised while the worker read the task's function and arguments)")
            self._answer_error(id, unreadable, None)
            page.u64[pages.CURRENT_TASK] = 0
            return
        del body, frame
        intask.enter(task)
        if options.looked:
            page.u8[pages.LOOKED] = 1
        value, error = self._call(task.id, call)
        del call
        if os.getpid() != self.pid:
            _leave_fork(error)
        if self.at_end is not None:
            self.at_end()
        if task.token is not None and task.told():
            task.token.stop(task.reason())  # others may hold it, and the parent sets it only while the task runs
        intask.leave()
        if task.reported:
            done, total = page.f64[pages.DONE], page.f64[pages.TOTAL]
            page.f64[pages.DONE] = math.nan  # what the next task will not have said
            self.send(Kind.PROGRESS, pack_progress(done, total), task.id)
        if error is None:
            self._answer_value(task.id, value)
        elif task.asked() and _is_stop_of(task, error):
            self._answer_stopped(task, error)
        else:
            self._answer_error(task.id, error, task)
        page.u64[pages.CURRENT_TASK] = 0

    def _inform(self, task: intask.Running, options: Options) -> None:
        """Let *task* know what was said of it."""
        task.given, task.tokens = options.name, options.tokens
        task.deadline, task.watched = options.deadline, options.watched
        if options.context:
            task.context = options.context
        if options.timeout_s is not None:
            until = self.began + options.timeout_s
            task.deadline = until if task.deadline is None else min(task.deadline, until)

    def _call(self, task: int, call: tuple[Callable[..., Any], Any, Any]) -> tuple[Any, BaseException | None]:
        """Call it with the gate open; return (value, None) or (anything, error)."""
        gate = self.gate
        value: Any = _NOTHING
        try:
            try:
                function, args, kwargs = call
                del call
                gate.open(task)
                value = function(*args, **kwargs)
            finally:
                gate.task = 0
        except BaseException as error:
            # An interrupt may have come after the value, or in `finally` before its only statement:
            # then the gate is still open here, but it has landed and cannot land twice.
            gate.task = 0
            if value is _NOTHING:
                return None, error
        return value, None

    # --- answers -----------------------------------------------------------------------------

    def _answer(self, kind: Kind, body: "Part | tuple[Part, ...]", task: int, extra: int = 0) -> None:
        if self.max_bytes is not None and own_bytes() > self.max_bytes:
            self.full = True
            extra |= wire.UNFIT
        if self.gate.landed:
            extra |= wire.UNFIT
        took_us = int((time.monotonic() - self.began) * 1e6)
        self.send(kind, body, task, extra, min(took_us, _LONGEST_US))

    def _answer_value(self, task: int, value: Any) -> None:
        try:
            body = parcel.pack(value, copy=False)
        except BaseException as error:
            error.add_note(f"(raised while the worker pickled the task's result, a {type(value).__qualname__})")
            self._answer_error(task, error, None)
            return
        self._answer(Kind.VALUE, body, task)

    def _answer_stopped(self, task: intask.Running, error: BaseException) -> None:
        reason = task.reason()
        # Why the parent has asked, it knows; and if time was up, it has asked for the stack, which may not have come.
        known = task.told() and reason is not None and reason.kind is not StopKind.DEADLINE
        self._answer(Kind.STOPPED, b"" if known else pack_stop(reason, error), task.id)

    def _answer_error(self, task: int, error: BaseException, running: "intask.Running | None") -> None:
        import traceback  # for a tenth of a worker's start, and most tasks never need it

        text = "".join(traceback.format_exception(type(error), error, without_ours(error)))
        context = None
        if running is not None and running.asked():
            context = _stop_in_context(error)
            if context is None and self.gate.landed:
                # Somebody caught the interrupt and went on: numpy makes an ImportError of one that hits its import.
                context = StopRequested(running.reason())
        error.__traceback__ = None  # its frames hold the task's locals, and some pickles try to take them along
        try:
            raw = wire.dumps((error, context))
        except BaseException as pickling:
            kind = f"{type(error).__module__}.{type(error).__qualname__}"
            lost = pickle.PicklingError(f"the task raised a {kind} that does not pickle ({pickling}): {error!r:.500}")
            raw = wire.dumps((lost, context))
        self._answer(Kind.ERROR, pack_error(text, raw), task)


def _is_stop_of(task: "intask.Running", error: BaseException) -> bool:
    """Say whether *error* is the stop of *task*: raised in it, or by a task of its own that was stopped for the same."""
    if isinstance(error, StopRequested):
        return True
    errors = sys.modules.get("stoppable.errors")  # not there, unless the task has a pool
    return errors is not None and isinstance(error, errors.TaskStopped) and error.reason == task.reason()


def _stop_in_context(error: BaseException) -> StopRequested | None:
    """Return the stop that *error* was raised in the cleanup of, if any."""
    seen = 0
    link: BaseException | None = error
    while link is not None and seen < 50:
        if isinstance(link, StopRequested) and link is not error:
            return StopRequested(link.reason)
        link, seen = link.__context__ or link.__cause__, seen + 1
    return None


def _leave_fork(error: BaseException | None) -> None:
    """End a child that the task forked and that came back out of the task's function."""
    if error is not None and not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    _flush()
    os._exit(0 if error is None else 1)


def _flush() -> None:
    """Write out what tasks printed: a worker may be killed at any moment after."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass  # there is none, it was closed, or nobody reads it


def chunk(function: Callable[..., Any], items: list[Any], bare: bool) -> list[Any]:
    """Call *function* with each of *items*, or with what is in it if they are not *bare*; several calls of `map` as one task."""
    return [function(item) for item in items] if bare else [function(*item) for item in items]
