"""Gives what the workers say to this process's own loggers, `warnings.showwarning`, `sys.stdout` and `sys.stderr`.

It has a thread of its own, which starts with the first thing said: a handler may be slow, wait or raise, and the
reactor must go on.

Invariants:
1. `take` never blocks and never raises. What finds no room is dropped and counted, and the count is told.
2. What one worker has said comes in its order. Nothing is said about the order of two workers.
3. Nothing that a handler raises ends the thread.
4. `close` waits for what has been taken, as long as at least one thing is handled in each `CLOSE_S`.
"""

import logging
import sys
import threading
import traceback
import warnings
from queue import SimpleQueue
from typing import TextIO

from stoppable import wire
from stoppable.wire import Frame
from stoppable.worker import relay
from stoppable.worker.relay import Said

log = logging.getLogger("stoppable")
MOST = 200_000  # things that wait
MOST_BYTES = 1 << 26
CLOSE_S = 5.0
_LOST = "%s: %d log records or printed lines of tasks were lost: too many waited"
# So that a format for the records of tasks takes ours, too.
_NO_TASK: dict[str, object] = {"task": None, "taskid": None, "context": {}}
_Waiting = tuple[int, "bytes | bytearray | memoryview"]


class Relay:
    """What waits to be handled, and the thread that does it.

    Args:
        name: of the pool.
        named: put the task's name before each printed line.
    """

    def __init__(self, name: str, named: bool = False) -> None:
        self._name, self._named = name, named
        self._queue: SimpleQueue[_Waiting | int | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._given = 0  # bytes, by the reactor
        self._handled = 0  # bytes, by our own thread
        self._count = 0  # things, by our own thread
        self._dropped = 0  # since there was no room any more, and not yet told

    # --- the reactor's thread ------------------------------------------------------------------

    def take(self, frame: Frame) -> None:
        """Have what is in *frame* handled soon; drop it if too much waits."""
        waits, bytes_wait = self._queue.qsize(), self._given - self._handled
        if self._dropped:
            if waits > MOST // 2 or bytes_wait > MOST_BYTES // 2:
                self._dropped += 1
                return
            self._tell_dropped()
        elif waits >= MOST or bytes_wait + len(frame.body) > MOST_BYTES or not self._start():
            self._dropped = 1
            return
        self._given += len(frame.body)
        self._queue.put((frame.extra, frame.body))

    def _tell_dropped(self) -> None:
        self._queue.put(self._dropped)
        self._dropped = 0

    def _start(self) -> bool:
        """Start the thread if there is none; False if none is to be had now."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"{self._name}-relay", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def close(self) -> None:
        """Wait until what was taken is handled; if nothing is for CLOSE_S seconds, leave the thread behind."""
        if self._thread is None:
            return
        if self._dropped:
            self._tell_dropped()
        self._queue.put(None)
        before = -1
        while self._thread.is_alive() and before != self._count:
            before = self._count
            self._thread.join(CLOSE_S)

    # --- its own thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if isinstance(item, int):
                    log.warning(_LOST, self._name, item, extra=_NO_TASK)
                else:
                    self._handled += len(item[1])
                    self._handle(item[0], Said(*wire.loads(item[1])))
            except BaseException:
                _complain()
            self._count += 1

    def _handle(self, kind: int, said: Said) -> None:
        if kind == relay.RECORD:
            record = _record(said, *said.what)
            logging.getLogger(record.name).handle(record)
        elif kind == relay.WARNING:
            _show(*said.what)
        elif kind in (relay.STDOUT, relay.STDERR):
            self._print(sys.stdout if kind == relay.STDOUT else sys.stderr, said)

    def _print(self, stream: TextIO | None, said: Said) -> None:
        if stream is None:
            return
        text = str(said.what, "utf-8", "replace")
        if self._named:
            who = said.task or said.process
            text = "".join(f"[{who}] {line}\n" for line in text.removesuffix("\n").split("\n"))
        stream.write(text)
        stream.flush()


def _record(said: Said, fields: dict[str, object], added: bytes | None) -> logging.LogRecord:
    record = logging.makeLogRecord(fields)
    if added is not None:
        try:
            record.__dict__.update(wire.loads(added))
        except Exception:
            log.exception(
                "what was added to a log record of a worker does not unpickle; it is left out", extra=_NO_TASK
            )
    for name, value in (("task", said.task), ("taskid", said.taskid or None), ("context", {})):
        record.__dict__.setdefault(name, value)
    return record


def _show(pickled: bytes, text: str, filename: str, lineno: int, line: str | None) -> None:
    """Show a warning as this process shows its own; one that cannot be read, as a UserWarning with its text."""
    try:
        message, category = wire.loads(pickled)
    except Exception:
        message, category = UserWarning(text), UserWarning
    warnings.showwarning(message, category, filename, lineno, None, line)


def _complain() -> None:
    """Print what a handler raised, as `logging` does."""
    if logging.raiseExceptions and sys.stderr is not None:
        try:
            traceback.print_exc()
        except BaseException:
            pass  # nobody can be told
