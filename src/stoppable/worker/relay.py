"""What a worker says besides its answers: log records, warnings and printed lines, sent to the parent.

`install` puts a handler on the root logger, a function in place of `warnings.showwarning`, and, if it was asked
for, two streams in place of `sys.stdout` and `sys.stderr`. `logging` and `warnings` are in every worker
already (`concurrent.futures` imports them), so this loads nothing.

Invariants:
1. A fork of the worker never writes to the channel: it says what it has to say on its own stderr or stdout.
2. No lock is held while code of the user's runs. The handler has none, since `Loop.say` keeps the frames apart: with
   one, a signal handler that logs in the middle of a frame could wait for a thread that waits for that frame.
3. What cannot be sent fails no task; only the interrupt of the task, which can land in any of its code, passes.
4. No record is handled twice: if a handler that was added in the worker takes it, it is not sent.
"""

import io
import logging
import os
import pickle
import sys
import warnings
from _thread import get_ident
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

from stoppable import wire
from stoppable.worker import intask
from stoppable.worker.loop import Loop
from stoppable.worker.setup import Setup

# What a SAID frame is, in its `extra`.
RECORD, WARNING, STDOUT, STDERR = range(4)

_LONGEST = 1 << 16  # characters of one text, if the whole does not fit into a frame
_LONGEST_LINE = 1 << 16  # bytes: what goes on is sent as a line of its own
_OURS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_formatter = logging.Formatter()


class Said(NamedTuple):
    """What was said, and in which task (None: in none)."""

    task: str | None
    taskid: int
    process: str  # its name
    what: Any  # of a record: its fields, and a pickle of those that were added; of output: bytes


class _Teller:
    """Sends what this process says."""

    def __init__(self, loop: Loop, pool: str) -> None:
        self.loop, self.pid = loop, os.getpid()
        self.process = f"{pool}-{self.pid}"
        self.streams: list[_Lines] = []

    def tell(self, kind: int, what: Any) -> None:
        """Send *what*.

        Raises:
            Exception: it does not pickle, or is too long.
        """
        task = intask.current()
        name, number = (None, 0) if task is None else (task.name, task.id)
        body = pickle.dumps((name, number, self.process, what), 5)
        if len(body) > wire.MAX_SAID_BYTES:
            raise ValueError("too long to be sent")
        try:
            self.loop.say(wire.Kind.SAID, body, 0, kind)
        except OSError:
            pass  # the parent is gone, and the loop will find out

    @property
    def forked(self) -> bool:
        """Whether this is a fork of the worker, so that the channel is not its own."""
        return os.getpid() != self.pid

    def end_lines(self) -> None:
        """Send the lines that were begun, at the end of a task."""
        for stream in self.streams:
            stream.end_lines()


# --- log records ------------------------------------------------------------------------------


class _Relay(logging.Handler):
    """Sends each record to the parent."""

    def __init__(self, teller: _Teller) -> None:
        super().__init__()
        self._teller = teller

    def createLock(self) -> None:  # noqa: N802  # logging's name for it
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        passed: bool | logging.LogRecord = self.filter(record)  # since Python 3.12 a filter may give another record
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        if self._teller.forked:
            last = logging.lastResort
            if last is not None and record.levelno >= last.level:
                last.handle(record)
        elif not self._taken_here(record):
            try:
                fields, added = self._fields(record)
                try:
                    self._teller.tell(RECORD, (fields, added))
                except ValueError:
                    self._teller.tell(RECORD, (_shortened(fields), None))
            except Exception:
                self.handleError(record)  # to stderr, as a handler does whose record cannot be formatted

    def _taken_here(self, record: logging.LogRecord) -> bool:
        """Say whether a handler that somebody has added in this worker takes it."""
        known = logging.root.manager.loggerDict.get(record.name)
        logger: logging.Logger | None = known if isinstance(known, logging.Logger) else logging.root
        while logger is not None:
            for handler in logger.handlers:
                if handler is not self and record.levelno >= handler.level and _is_real(handler):
                    return True
            logger = logger.parent if logger.propagate else None
        return False

    def _fields(self, record: logging.LogRecord) -> tuple[dict[str, Any], bytes | None]:
        """Return the record's fields with its text made, and a pickle of those that are not `logging`'s own."""
        fields = {name: value for name, value in vars(record).items() if name in _OURS}
        fields["msg"], fields["args"], fields["exc_info"] = record.getMessage(), None, None
        if record.exc_info and not record.exc_text:
            fields["exc_text"] = _formatter.formatException(record.exc_info)
        added = {name: value for name, value in vars(record).items() if name not in _OURS}
        task = intask.current()
        fields["context"] = {} if task is None else task.context  # a record from a pool in this task has its own, added
        if record.process == self._teller.pid:
            fields["processName"] = self._teller.process
        return fields, _pickled(added) if added else None


def _pickled(added: dict[str, Any]) -> bytes:
    """Return *added* pickled, as text what does not pickle."""
    try:
        return pickle.dumps(added, 5)
    except Exception:
        sent = {}
        for name, value in added.items():
            try:
                pickle.dumps(value, 5)
                sent[name] = value
            except Exception:
                sent[name] = f"{value!r:.500}"
        return pickle.dumps(sent, 5)


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    cut = dict(fields)
    for name in ("msg", "exc_text", "stack_info"):
        text = cut.get(name)
        if isinstance(text, str) and len(text) > _LONGEST:
            cut[name] = f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"
    return cut


def _is_real(handler: logging.Handler) -> bool:
    """Say whether it writes anything: a library's NullHandler does not."""
    return not isinstance(handler, logging.NullHandler)


def levels() -> dict[str, int]:
    """Return the levels of this process's loggers, the root's under "", and of `logging.disable` under " "."""
    manager = logging.root.manager
    found = {"": logging.root.level, " ": manager.disable}
    for name, logger in list(manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            found[name] = logger.level
    return found


def _set_levels(given: dict[str, int]) -> None:
    for name, level in given.items():
        if name == " ":
            logging.disable(level)
        else:
            logging.getLogger(name or None).setLevel(level)


# --- warnings ---------------------------------------------------------------------------------


def _show_in_parent(teller: _Teller) -> Callable[..., None]:
    shown_here = warnings.showwarning

    def showwarning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if file is not None or teller.forked:
            shown_here(message, category, filename, lineno, file, line)
            return
        try:
            what = pickle.dumps((message, category), 5)
        except Exception:
            what = b""
        try:
            teller.tell(WARNING, (what, f"{category.__name__}: {message}"[:_LONGEST], filename, lineno, line))
        except Exception:
            shown_here(message, category, filename, lineno, None, line)

    return showwarning


# --- printed lines ----------------------------------------------------------------------------


class _Lines(io.RawIOBase):
    """Takes bytes and sends whole lines; those of threads are kept apart."""

    def __init__(self, teller: _Teller, kind: int, fd: int) -> None:
        self._teller, self._kind, self._fd = teller, kind, fd
        self._begun: dict[int, bytes] = {}  # thread -> its line so far

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd  # for those who hand it to a process that they start

    def write(self, data: Any) -> int:
        raw = bytes(data)
        if self._teller.forked:
            self._begun.clear()  # what the worker had begun is the worker's
            _write_all(self._fd, raw)
            return len(raw)
        me = get_ident()
        whole, newline, rest = (self._begun.get(me, b"") + raw).rpartition(b"\n")
        while len(rest) > _LONGEST_LINE:  # what is left is never empty, so its end makes no empty line
            whole, newline, rest = whole + newline + rest[:_LONGEST_LINE], b"\n", rest[_LONGEST_LINE:]
        if rest:
            self._begun[me] = rest
        else:
            self._begun.pop(me, None)
        if newline:
            self._tell(whole + newline)
        return len(raw)

    def end_lines(self) -> None:
        while self._begun:
            try:
                _, begun = self._begun.popitem()
            except KeyError:
                return  # its thread has ended it meanwhile
            self._tell(begun + b"\n")

    def _tell(self, lines: bytes) -> None:
        """Send *lines*, in pieces that end where a line does."""
        most = wire.MAX_SAID_BYTES // 2
        while len(lines) > most:
            end = lines.rfind(b"\n", 0, most) + 1
            self._teller.tell(self._kind, lines[:end] or lines[:most] + b"\n")
            lines = lines[end or most :]
        self._teller.tell(self._kind, lines)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _stream(lines: _Lines, errors: str) -> TextIO:
    # What is behind it takes each write at once, so nothing waits in it that a fork could write a second time.
    return io.TextIOWrapper(lines, "utf-8", errors, newline="\n", write_through=True)  # type: ignore[type-var]


# --- start ------------------------------------------------------------------------------------

_relay: _Relay | None = None


def install(loop: Loop, setup: Setup) -> None:
    """Have this worker say to the parent what *setup* tells it to. To be called before `__main__` is imported.

    Then a `logging.basicConfig` at the top of the script does nothing here: not even empty the parent's log file.
    """
    global _relay
    teller = _Teller(loop, setup.name)
    if setup.levels is not None:
        _relay = _Relay(teller)
        own_handlers_only(setup)
        warnings.showwarning = _show_in_parent(teller)
    if setup.lines:
        teller.streams = [_Lines(teller, STDOUT, 1), _Lines(teller, STDERR, 2)]
        sys.stdout = _stream(teller.streams[0], "replace")
        sys.stderr = _stream(teller.streams[1], "backslashreplace")
        loop.at_end = teller.end_lines


def own_handlers_only(setup: Setup) -> None:
    """Take off all handlers that came from the parent, by a fork or by importing what it imports: it has them itself.

    They are not closed, as the file behind one may be the parent's, too.
    """
    if _relay is None or setup.levels is None:
        return
    loggers = [each for each in list(logging.root.manager.loggerDict.values()) if isinstance(each, logging.Logger)]
    for logger in loggers:
        if any(map(_is_real, logger.handlers)):
            logger.handlers = [each for each in logger.handlers if not _is_real(each)]
            logger.propagate = True
    logging.root.handlers = [_relay]
    _set_levels(setup.levels)
